"""The SELECT by which a sieve keeps what is permitted of a fetched table."""

from __future__ import annotations

from sqlglot import exp

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
    query = exp.select(*shown).from_(FETCHED).where(condition.tree(permitted.rows, table))
    return query.sql(dialect="duckdb")


def needs_salt(permitted: PermittedScan) -> bool:
    return any(one.kind == "hash" for one in permitted.masks.values())
