"""The SELECT by which a sieve keeps what is permitted of a fetched table."""

from __future__ import annotations

from sqlglot import exp

from core.model import EVERY_ROW, AllOf, AnyOf, Condition, Table
from core.policy import condition, mask
from core.policy.gate import PermittedScan

FETCHED = "raw"
"""The name of the fetched table in it."""


def select(permitted: PermittedScan, salt: str) -> str:
    """DuckDB SQL: the permitted rows, and of them the columns that may be shown, in order, masked. It cannot fail."""
    table = permitted.scan.table
    shown: list[exp.Expr] = []
    for name in permitted.shown:
        column = table.column(name)
        if column is None:
            raise AssertionError(f"scan of {table.full_name} names an unknown column")
        rule = permitted.masks.get(name.lower())
        value = mask.expression(column, rule, salt) if rule else exp.column(name, quoted=True)
        shown.append(exp.alias_(value, name, quoted=True))
    query = exp.select(*shown).from_(FETCHED).where(condition.tree(_again(permitted.rows, table), table))
    return query.sql(dialect="duckdb")


def _again(rows: Condition, table: Table) -> Condition:
    """What of the condition can be judged here. A raw column is text here, and its source has judged its values."""
    if isinstance(rows, AllOf | AnyOf):
        return type(rows)(tuple(_again(part, table) for part in rows.parts))
    column = table.column(rows.column)
    return EVERY_ROW if column is not None and column.raw else rows


def needs_salt(permitted: PermittedScan) -> bool:
    return any(one.kind == "hash" for one in permitted.masks.values())
