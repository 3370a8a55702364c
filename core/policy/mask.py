"""Masks as DuckDB expressions. They run before rows enter the engine, so the engine never holds what they hide."""

from __future__ import annotations

from sqlglot import exp

from core.errors import ConfigInvalid
from core.model import Column
from core.policy.grants import Mask

_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")


def expression(column: Column, mask: Mask, salt: str) -> exp.Expr:
    """The masked value of ``column``. NULL stays NULL; no value can make it fail.

    ``hash`` is SHA-256 over a salt of the project and the text: equal values stay equal within one project, and a
    table of hashes made elsewhere does not match. ``bucket`` is the lower bound of the value's bucket.
    """
    node = exp.column(column.name, quoted=True)
    text = exp.cast(node, "VARCHAR", dialect="duckdb")
    kind = column.type.upper()
    if mask.kind == "null":
        return exp.cast(exp.Null(), column.type, dialect="duckdb")
    if mask.kind == "redact":
        return _unless_null(node, exp.Literal.string("***"))
    if mask.kind == "hash":
        salted = exp.DPipe(this=exp.Literal.string(salt), expression=text)
        return _unless_null(node, exp.Anonymous(this="sha256", expressions=[salted]))
    if mask.kind == "last4":
        return _unless_null(node, _last4(text))
    if mask.kind == "year" and kind == "VARCHAR":
        # A text that is a date, or NULL: what types a file's values have is not told of a masked column.
        day = exp.TryCast(this=node, to=exp.DataType.build("DATE", dialect="duckdb"))
        start = exp.Anonymous(this="date_trunc", expressions=[exp.Literal.string("year"), day])
        return exp.cast(exp.cast(start, "DATE", dialect="duckdb"), "VARCHAR", dialect="duckdb")
    if mask.kind == "year":
        if kind not in _MOMENTS:
            raise ConfigInvalid(
                f"The mask 'year' needs a date or timestamp; {column.name} is {column.type}.", key=column.name
            )
        return exp.cast(
            exp.Anonymous(this="date_trunc", expressions=[exp.Literal.string("year"), node]),
            column.type,
            dialect="duckdb",
        )
    if mask.kind == "bucket":
        return _bucket(text, mask.width or 10.0)
    raise ConfigInvalid(f"The mask {mask.kind!r} has no value to show.", key=column.name)


def _unless_null(node: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.Case().when(exp.Not(this=exp.Is(this=node.copy(), expression=exp.Null())), value)


def _last4(text: exp.Expr) -> exp.Expr:
    """Stars of a fixed number and the last four characters; values of four or fewer show none of them."""
    length = exp.Anonymous(this="length", expressions=[text.copy()])
    shown = exp.DPipe(
        this=exp.Literal.string("****"),
        expression=exp.Anonymous(this="right", expressions=[text.copy(), exp.Literal.number(4)]),
    )
    return (
        exp.Case().when(exp.GT(this=length, expression=exp.Literal.number(4)), shown).else_(exp.Literal.string("****"))
    )


def _bucket(text: exp.Expr, width: float) -> exp.Expr:
    number = exp.TryCast(this=text, to=exp.DataType.build("DOUBLE", dialect="duckdb"))
    size = exp.Literal.number(repr(width))
    ratio = exp.Anonymous(this="floor", expressions=[exp.Anonymous(this="divide", expressions=[number, size])])
    return exp.Mul(this=ratio, expression=size.copy()) if width != 1 else ratio
