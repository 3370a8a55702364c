"""A row condition as a sqlglot tree: literals are nodes, never spliced text, and evaluating it can never fail.

Used where rows are filtered in DuckDB and where a whole query runs inside a database. What a literal means beside a
column is decided in ``source.literal``, as for the conditions that sources apply themselves.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sqlglot import exp

from core.model import AllOf, AnyOf, Compare, Condition, Table
from core.source.literal import CANNOT, coerce, fitted

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
    node: exp.Expr = exp.column(column.name, quoted=True)
    if column.type.upper() == "JSON":
        # As text: beside JSON the engine would read the policy's text as JSON, and fail.
        node = exp.Anonymous(this="json_extract_string", expressions=[node, exp.Literal.string("$")])
    kind = column.type.upper()
    given = compare.value if isinstance(compare.value, tuple) else (compare.value,)
    values = [coerce(value, kind) for value in given]
    fitting = [value for value in values if value is not CANNOT]
    known = exp.Not(this=exp.Is(this=node.copy(), expression=exp.Null()))
    if compare.op == "in":
        equal = [literal(one[1]) for v in fitting if not isinstance(one := fitted("=", v, kind), bool)]
        return exp.In(this=node, expressions=equal) if equal else exp.Boolean(this=False)
    # What is excluded has to be understood: a literal of another type satisfies nothing, in NOT IN as in !=.
    if len(fitting) < len(values):
        return exp.Boolean(this=False)
    if compare.op == "not in":
        other = [literal(one[1]) for v in fitting if not isinstance(one := fitted("!=", v, kind), bool)]
        return exp.and_(known, exp.Not(this=exp.In(this=node, expressions=other))) if other else known
    if isinstance(compare.value, tuple) or not fitting:
        return exp.Boolean(this=False)
    if compare.op in _COMPARISONS:
        one = fitted(compare.op, fitting[0], kind)
        if isinstance(one, bool):
            return known if one else exp.Boolean(this=False)
        return _COMPARISONS[one[0]](this=node, expression=literal(one[1]))
    return _text_match(node, str(values[0]), compare.op) if kind == "VARCHAR" else exp.Boolean(this=False)


def _text_match(node: exp.Expr, text: str, op: str) -> exp.Expr:
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


def literal(value: Any) -> exp.Expr:
    """A coerced value (``source.literal.coerce``) as a node of the type that it compares as."""
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, float):
        # Its digits alone would be a decimal, or a whole number of any length, and compared as such.
        return exp.cast(exp.Literal.string(repr(value)), "DOUBLE", dialect="duckdb")
    if isinstance(value, int | Decimal):
        if isinstance(value, int) and abs(value) >= 2**63:
            # Without its sign the least of a type is none of it.
            return exp.cast(exp.Literal.string(str(value)), "HUGEINT", dialect="duckdb")
        if isinstance(value, Decimal) and value.as_tuple().exponent == -38:
            # The zero before its point would be a digit too many.
            return exp.cast(exp.Literal.string(format(value, "f")), "DECIMAL(38, 38)", dialect="duckdb")
        number = exp.Literal.number(format(abs(Decimal(str(value))), "f"))
        return exp.Neg(this=number) if value < 0 else number
    if isinstance(value, datetime):
        kind = "TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP"
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), kind, dialect="duckdb")
    if isinstance(value, date):
        return exp.cast(exp.Literal.string(value.isoformat()), "DATE", dialect="duckdb")
    if isinstance(value, time):
        return exp.cast(exp.Literal.string(value.isoformat()), "TIME", dialect="duckdb")
    return exp.Literal.string(str(value))
