"""What a conjunct of a query says of one column: ``column op constant``, read from the tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlglot import exp

from core.model import Operator, Scalar
from core.query.asked import Asked, microseconds
from core.query.moments import asked_of, constant_moment
from core.query.values import NOW_MARK

_OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_TEXT_CASTS = (exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.TEXT, exp.DType.VARCHAR)
_MIRRORED: dict[Operator, Operator] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Predicate:
    """``qualifier`` is '' for a bare column. ``loose``: wider than the text says."""

    qualifier: str
    column: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]
    text: str
    loose: bool = False


def conjuncts_of(node: exp.Expr) -> Iterator[exp.Expr]:
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, exp.And):
            stack += [top.expression, top.this]
        elif isinstance(top, exp.Paren):
            stack.append(top.this)
        else:
            yield top


def predicates_of(node: exp.Expr) -> list[Predicate]:
    """The comparisons that a conjunct stands for: BETWEEN stands for two; empty where it is something else."""
    if isinstance(node, exp.Between) and not node.args.get("symmetric"):
        low = exp.GTE(this=node.this, expression=node.args["low"])
        high = exp.LTE(this=node.this, expression=node.args["high"])
        both = [_as_predicate(low), _as_predicate(high)]
        return [p for p in both if p is not None] if None not in both else []
    found = _as_predicate(node)
    return [found] if found is not None else []


def _as_predicate(node: exp.Expr) -> Predicate | None:
    text = node.sql(dialect="duckdb")
    if (
        isinstance(node, exp.In)
        and isinstance(node.this, exp.Column)
        and node.expressions
        and not node.args.get("query")
    ):
        values = [_constant(item) for item in node.expressions]
        if all(found for found, _ in values):
            return Predicate(node.this.table, node.this.name, "in", tuple(v for _, v in values), text)
        return None
    op = _OPERATORS.get(type(node))
    if op is None:
        return None
    left, right = node.this, node.expression
    if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
        left, right, op = right, left, _MIRRORED[op]
    found, value = _constant(right)
    loose = False
    if not found and op in _WIDENED:
        value = _widened(right, op)
        found = loose = value is not None
    if not isinstance(left, exp.Column) or not isinstance(left.this, exp.Identifier) or not found or value is None:
        return None
    return Predicate(left.table, left.name, op, value, text, loose)


_WIDENED: Mapping[Operator, int] = {">": -1, ">=": -1, "<": 1, "<=": 1}
_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400, "WEEK": 604_800}
_MARGIN = timedelta(hours=3)
"""A day of a zone has 23 to 25 hours; the engine knows the zone, and cuts what is too much."""


def _widened(node: exp.Expr, op: Operator) -> str | None:
    """``now() - INTERVAL 7 DAY`` as an instant that is early (for >) or late (for <) enough in any zone, or None."""
    if isinstance(node, exp.Paren):
        return _widened(node.this, op)
    step = node.expression if isinstance(node, exp.Add | exp.Sub) else None
    base = node.this if step is not None else None
    if not isinstance(step, exp.Interval) or not isinstance(base, exp.Cast) or not isinstance(base.this, exp.Literal):
        return None
    count, unit = step.this, str(step.args.get("unit") or "").upper().rstrip("S")
    if base.to.this != exp.DType.TIMESTAMPTZ or unit not in _SECONDS or not isinstance(count, exp.Literal):
        return None
    try:
        start = datetime.fromisoformat(base.this.name)
        length = timedelta(seconds=float(count.name) * _SECONDS[unit])
        shift = (length if isinstance(node, exp.Add) else -length) + _WIDENED[op] * _MARGIN
        if start.tzinfo is None:
            return None
        text = (start + shift).isoformat(sep=" ")
    except (ValueError, OverflowError):
        return None
    kind = base.meta.get(NOW_MARK)
    return Asked(text, kind, microseconds(shift)) if kind else text


def _constant(node: exp.Expr) -> tuple[bool, Scalar]:
    if isinstance(node, exp.Paren):
        return _constant(node.this)
    if isinstance(node, exp.Boolean):
        return True, bool(node.this)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        found, value = _constant(node.this)
        return found, -value if isinstance(value, int | float) else None
    if isinstance(node, exp.Literal):
        if node.is_string:
            return True, node.name
        try:
            return True, int(node.name)
        except ValueError:
            # Text to float and back: more digits than a float holds are not pushed.
            value = float(node.name)
            whole = "e" not in node.name.lower() and Decimal(repr(value)) == Decimal(node.name)
            return (True, value) if whole else (False, None)
    moment = constant_moment(node)
    if moment is not None:
        return True, Asked(moment.iso(), *asked_of(moment)) if moment.asked else moment.iso()
    if isinstance(node, exp.Cast) and node.to.this in _TEXT_CASTS and isinstance(node.this, exp.Literal):
        kind = node.meta.get(NOW_MARK)
        return node.this.is_string, Asked(node.this.name, kind) if kind else node.this.name
    return False, None
