"""Which predicates of a query each scan may be narrowed by, and why the others stay behind.

A predicate ``column op literal`` goes down when it must hold for every row that the reference contributes to the
answer: it is a conjunct of WHERE of the SELECT that reads the table, or of the ON of an inner join; and through a
derived table or a CTE that is used once, when that passes the column through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from core.model import Compare, Operator, Scalar
from core.query.asked import Asked, microseconds
from core.query.portable import asked_of, constant_moment
from core.query.values import NOW_MARK
from core.source.literal import pushable

if TYPE_CHECKING:
    from core.query.parse import Statement
    from core.query.plan import BoundRef

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


@dataclass(slots=True)
class Narrowing:
    """``kept``: (predicate, why it was not pushed) for EXPLAIN. ``loose``: something pushed is wider than asked."""

    narrow: list[Compare] = field(default_factory=list)
    loose: bool = False
    kept: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Predicate:
    """``qualifier`` is '' for a bare column. ``loose``: wider than the text says."""

    qualifier: str
    column: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]
    text: str
    loose: bool = False


def narrowings(statement: Statement, bound: Sequence[BoundRef]) -> dict[str, Narrowing]:
    """For each bound reference (by its fresh name) what narrows it."""
    result = {b.name: Narrowing() for b in bound}
    by_node = {id(b.ref.node): b for b in bound}
    uses = _cte_uses(statement.tree)
    for select in statement.tree.find_all(exp.Select):
        for predicate in _incoming(select, uses):
            _give(select, predicate, by_node, result)
        for conjunct, readers in _conjuncts(select):
            found = _as_predicates(conjunct)
            if not found:
                _report(select, conjunct, by_node, result)
            for predicate in found:
                _give(select, predicate, by_node, result, readers)
    return result


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """``column`` of the reference ``name`` has to equal ``other_column`` of ``other`` in every row of the answer."""

    name: str
    column: str
    other: str
    other_column: str


def equal_columns(statement: Statement, bound: Sequence[BoundRef]) -> list[JoinedColumns]:
    """Equalities between columns of two references of one SELECT, by which the first may be narrowed to keys."""
    by_node = {id(b.ref.node): b for b in bound}
    found: list[JoinedColumns] = []
    for select in statement.tree.find_all(exp.Select):
        here = [b for node in _tables(select) if (b := by_node.get(id(node))) and not _renames_columns(node)]
        for conjunct, readers in _conjuncts(select):
            if not isinstance(conjunct, exp.EQ):
                continue
            sides = [_owner(conjunct.this, here), _owner(conjunct.expression, here)]
            for one, other in (sides, sides[::-1]):
                if one is None or other is None or one[0] is other[0]:
                    continue
                if readers is None or id(one[0].ref.node) in readers:
                    found.append(JoinedColumns(one[0].name, one[1], other[0].name, other[1]))
    return found


def _owner(node: exp.Expr, here: Sequence[BoundRef]) -> tuple[BoundRef, str] | None:
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        return None
    owners = [
        (b, column.name)
        for b in here
        if node.table.lower() in ("", b.ref.alias.lower()) and (column := b.visible.table.column(node.name)) is not None
    ]
    return owners[0] if len(owners) == 1 else None


def _tables(select: exp.Select) -> Iterator[exp.Expr]:
    from_ = select.args.get("from_")
    if from_ is not None:
        yield from_.this
    for join in select.args.get("joins") or []:
        yield join.this


def _give(
    select: exp.Select,
    predicate: _Predicate,
    by_node: dict[int, BoundRef],
    result: dict[str, Narrowing],
    readers: set[int] | None = None,
) -> None:
    owners = [
        b
        for node in _tables(select)
        if (b := by_node.get(id(node))) is not None
        and not node.args.get("pivots")
        and not node.args.get("sample")
        and (not predicate.qualifier or predicate.qualifier.lower() == b.ref.alias.lower())
        and b.visible.table.column(predicate.column) is not None
        and not _renames_columns(node)
    ]
    if len(owners) != 1:
        return
    owner = owners[0]
    if readers is not None and id(owner.ref.node) not in readers:
        result[owner.name].kept.append((predicate.text, "it stands in the ON of an outer join"))
        return
    column = owner.visible.table.column(predicate.column)
    if column is None:
        return
    values = predicate.value if isinstance(predicate.value, tuple) else (predicate.value,)
    if predicate.op not in column.operators:
        offered = ", ".join(column.operators) or "nothing"
        why = f"{owner.visible.table.full_name}.{column.name} can be filtered at its source by {offered}"
        result[owner.name].kept.append((predicate.text, why))
    elif not all(pushable(value, column.type.upper()) for value in values):
        result[owner.name].kept.append((predicate.text, f"its value is no plain {column.type}"))
    else:
        result[owner.name].narrow.append(Compare(column.name, predicate.op, predicate.value))
        result[owner.name].loose |= predicate.loose or column.operators[predicate.op] != "exact"


def _renames_columns(node: exp.Expr) -> bool:
    alias = node.args.get("alias")
    return bool(alias is not None and alias.args.get("columns"))


# ── conjuncts ────────────────────────────────────────────────────────────────────────────────────────────────────


def _conjuncts(select: exp.Select) -> Iterator[tuple[exp.Expr, set[int] | None]]:
    """Conjuncts of WHERE (for every table: each comparison rejects the NULLs an outer join adds) and of inner ONs."""
    where = select.args.get("where")
    if where is not None and not _has_full_join_only(select):
        for part in _split(where.this):
            yield part, None
    for join in select.args.get("joins") or []:
        on = join.args.get("on")
        if on is None:
            continue
        side, kind = str(join.side or "").upper(), str(join.kind or "").upper()
        method = str(join.args.get("method") or "").upper()
        if method:
            continue
        inner = not side and kind in ("", "INNER", "CROSS") and not _later_outer(select)
        readers = None if inner else {id(join.this)} if side == "LEFT" or kind in ("SEMI",) else set()
        for part in _split(on):
            yield part, readers


def _has_full_join_only(select: exp.Select) -> bool:
    """POSITIONAL and ASOF joins pair rows by place: dropping a row on one side changes the other's partner."""
    return any(
        str(j.args.get("method") or "").upper() in ("POSITIONAL", "ASOF") for j in select.args.get("joins") or []
    )


def _later_outer(select: exp.Select) -> bool:
    return any(str(j.side or "").upper() in ("RIGHT", "FULL") for j in select.args.get("joins") or [])


def _split(node: exp.Expr) -> Iterator[exp.Expr]:
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, exp.And):
            stack += [top.expression, top.this]
        elif isinstance(top, exp.Paren):
            stack.append(top.this)
        else:
            yield top


def _as_predicates(node: exp.Expr) -> list[_Predicate]:
    """The comparisons that a conjunct stands for: BETWEEN stands for two; empty where it is something else."""
    if isinstance(node, exp.Between):
        low = exp.GTE(this=node.this, expression=node.args["low"])
        high = exp.LTE(this=node.this, expression=node.args["high"])
        both = [_as_predicate(low), _as_predicate(high)]
        return [p for p in both if p is not None] if None not in both else []
    found = _as_predicate(node)
    return [found] if found is not None else []


def _as_predicate(node: exp.Expr) -> _Predicate | None:
    text = node.sql(dialect="duckdb")
    if (
        isinstance(node, exp.In)
        and isinstance(node.this, exp.Column)
        and node.expressions
        and not node.args.get("query")
    ):
        values = [_constant(item) for item in node.expressions]
        if all(found for found, _ in values):
            return _Predicate(node.this.table, node.this.name, "in", tuple(v for _, v in values), text)
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
    return _Predicate(left.table, left.name, op, value, text, loose)


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


def all_exact(select: exp.Select, found: Narrowing) -> bool:
    """Whether the source applies every conjunct of WHERE exactly, so that a LIMIT may go down with them."""
    where = select.args.get("where")
    conjuncts = list(_split(where.this)) if where is not None else []
    pushed = sum(len(_as_predicates(conjunct)) for conjunct in conjuncts)
    complete = all(_as_predicates(conjunct) for conjunct in conjuncts)
    return complete and pushed == len(found.narrow) and not found.kept and not found.loose


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


def _report(select: exp.Select, node: exp.Expr, by_node: dict[int, BoundRef], result: dict[str, Narrowing]) -> None:
    qualifiers = {c.table.lower() for c in node.find_all(exp.Column)}
    for table in _tables(select):
        b = by_node.get(id(table))
        if b is not None and (b.ref.alias.lower() in qualifiers or "" in qualifiers):
            text = node.sql(dialect="duckdb")
            result[b.name].kept.append((text, "it is not a comparison of one column with a constant"))


# ── from outer queries ───────────────────────────────────────────────────────────────────────────────────────────


def _cte_uses(tree: exp.Expr) -> dict[str, list[exp.Table]]:
    uses: dict[str, list[exp.Table]] = {}
    for table in tree.find_all(exp.Table):
        if not table.db and isinstance(table.this, exp.Identifier):
            uses.setdefault(table.name.lower(), []).append(table)
    return uses


def _incoming(select: exp.Select, uses: dict[str, list[exp.Table]], depth: int = 0) -> Iterator[_Predicate]:
    """Predicates of the one query that reads this SELECT as a derived table or CTE, as predicates on its columns."""
    if depth > 20 or not _passes_rows(select):
        return
    reader = _reader(select, uses)
    if reader is None:
        return
    outer = reader.find_ancestor(exp.Select)
    if outer is None or not any(node is reader for node in _tables(outer)):
        return
    alias = (reader.alias or reader.name).lower()
    alone = len(list(_tables(outer))) == 1
    candidates = [p for part, readers in _conjuncts(outer) if readers is None for p in _as_predicates(part)]
    candidates += list(_incoming(outer, uses, depth + 1))
    for predicate in candidates:
        if predicate.qualifier.lower() == alias or (not predicate.qualifier and alone):
            inner = _through(select, predicate)
            if inner is not None:
                yield inner


def _passes_rows(select: exp.Select) -> bool:
    """No clause that makes an outer predicate mean something else below it."""
    stops = ("group", "having", "qualify", "limit", "offset", "distinct", "windows", "sample")
    return not any(select.args.get(arg) for arg in stops) and all(row_wise(e) for e in select.expressions)


_ROW_WISE = frozenset(
    """
    Add Alias And Between Boolean Case Cast Coalesce Column DPipe DataType DataTypeParam DateTrunc Div EQ Extract
    GT GTE Identifier If ILike In Interval Is JSONExtract JSONExtractScalar JSONPath JSONPathKey JSONPathRoot
    JSONPathSubscript LT LTE Length Like Literal Lower Mod Mul NEQ Neg Not Null Or Paren Round Star Sub Substring
    TimestampTrunc Trim TryCast Upper Var
    """.split()
)


def row_wise(node: exp.Expr) -> bool:
    """Whether an output has one value for each row: a list of what is known to, for an engine has many aggregates."""
    return all(type(part).__name__ in _ROW_WISE for part in node.walk())


def _reader(select: exp.Select, uses: dict[str, list[exp.Table]]) -> exp.Expr | None:
    parent = select.parent
    if isinstance(parent, exp.Subquery) and _is_plain(parent):
        return parent
    if isinstance(parent, exp.CTE):
        with_ = parent.parent
        alias: Any = parent.args.get("alias")
        readers = uses.get(parent.alias.lower(), [])
        if isinstance(with_, exp.With) and not with_.recursive and len(readers) == 1 and not alias.args.get("columns"):
            return readers[0] if _is_plain(readers[0]) else None
    return None


def _is_plain(node: exp.Expr) -> bool:
    """A reference that shows the rows and columns of what it reads as they are."""
    return not _renames_columns(node) and not any(
        node.args.get(arg) for arg in ("pivots", "sample", "joins", "laterals")
    )


def _through(select: exp.Select, predicate: _Predicate) -> _Predicate | None:
    """The predicate on what the select list shows under that name."""
    shown = [e for e in select.expressions if e.alias_or_name.lower() == predicate.column.lower()]
    if len(shown) == 1:
        inner = shown[0].this if isinstance(shown[0], exp.Alias) else shown[0]
        if isinstance(inner, exp.Column) and isinstance(inner.this, exp.Identifier):
            return _Predicate(inner.table, inner.name, predicate.op, predicate.value, predicate.text)
        return None
    stars = [e for e in select.expressions if isinstance(e, exp.Star) and not any(e.args.values())]
    if not shown and len(stars) == 1:
        return _Predicate("", predicate.column, predicate.op, predicate.value, predicate.text)
    return None
