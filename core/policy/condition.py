"""A row condition as a sqlglot tree: literals are nodes, never spliced text, and evaluating it can never fail.

Used where rows are filtered in DuckDB and where a whole query runs inside a database.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from core.model import AllOf, AnyOf, Compare, Condition, Scalar, Table

_NUMBER = re.compile(
    r"(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w*INT\w*|FLOAT|DOUBLE|REAL|DECIMAL.*|NUMERIC.*|INT\d*)$", re.I
)
_TEXT = re.compile(r"(VARCHAR|TEXT|JSON|UUID|CHAR.*|STRING)$", re.I)
_COMPARISONS: dict[str, type[exp.Binary]] = {
    "=": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}


def tree(condition: Condition, table: Table) -> exp.Expr:
    """The condition over ``table``'s columns; a value that cannot be of the column's type makes its part false."""
    if isinstance(condition, AllOf):
        parts = [tree(part, table) for part in condition.parts]
        return exp.paren(exp.and_(*parts)) if parts else exp.Boolean(this=True)
    if isinstance(condition, AnyOf):
        parts = [tree(part, table) for part in condition.parts]
        return exp.paren(exp.or_(*parts)) if parts else exp.Boolean(this=False)
    return _compare(condition, table)


def _compare(compare: Compare, table: Table) -> exp.Expr:
    column = table.column(compare.column)
    if column is None:
        return exp.Boolean(this=False)
    node = exp.column(column.name, quoted=True)
    values = compare.value if isinstance(compare.value, tuple) else (compare.value,)
    typed = [literal for value in values if (literal := typed_literal(value, column.type)) is not None]
    if compare.op == "in":
        return exp.In(this=node, expressions=typed) if typed else exp.Boolean(this=False)
    if compare.op == "not in":
        known = exp.Not(this=exp.Is(this=node.copy(), expression=exp.Null()))
        return exp.and_(known, exp.Not(this=exp.In(this=node, expressions=typed))) if typed else known
    if not typed:
        return exp.Boolean(this=False)
    if compare.op in _COMPARISONS:
        return _COMPARISONS[compare.op](this=node, expression=typed[0])
    return _text_match(node, str(compare.value), compare.op) if _TEXT.match(column.type) else exp.Boolean(this=False)


def _text_match(node: exp.Column, text: str, op: str) -> exp.Expr:
    """Spelled with substr and length, which mean the same in every dialect (LIKE does not)."""
    wanted = exp.Literal.string(text)
    if op == "contains":
        found = exp.StrPosition(this=node, substr=wanted)
        return exp.GT(this=found, expression=exp.Literal.number(0))
    if op == "starts with":
        start: exp.Expr = exp.Literal.number(1)
        part = exp.Substring(this=node, start=start, length=exp.Literal.number(len(text)))
    else:
        start = exp.Add(this=exp.Length(this=node.copy()), expression=exp.Literal.number(1 - len(text)))
        part = exp.Substring(this=node, start=exp.paren(start))
    return exp.EQ(this=part, expression=wanted)


def typed_literal(value: Scalar, column_type: str) -> exp.Expr | None:
    """``value`` as a literal of the column's type, or None where no value of that type equals it."""
    if value is None:
        return None
    kind = column_type.upper()
    if kind == "BOOLEAN":
        return exp.Boolean(this=value) if isinstance(value, bool) else None
    if _NUMBER.match(kind):
        return _number(value)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return _moment(value, kind)
    if isinstance(value, bool):
        return exp.Literal.string("true" if value else "false")
    return exp.Literal.string(str(value)) if isinstance(value, str | int | float) else None


def _number(value: Scalar) -> exp.Expr | None:
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    literal = exp.Literal.number(format(abs(number), "f"))
    return exp.Neg(this=literal) if number < 0 else literal


def _moment(value: Scalar, kind: str) -> exp.Expr | None:
    if not isinstance(value, str):
        return None
    try:
        if kind == "DATE":
            text = date.fromisoformat(value).isoformat()
        else:
            text = datetime.fromisoformat(value).isoformat(sep=" ")
    except ValueError:
        return None
    return exp.cast(exp.Literal.string(text), kind, dialect="duckdb")
