"""Runs the tests inside policy files: who sees which row, decided by the very expression that filters rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from core.model import Column, Table
from core.policy import condition
from core.policy.gate import columns_of
from core.policy.grants import TablePolicy, decide


@dataclass(frozen=True, slots=True)
class Result:
    """One expectation: ``row`` should be seen (or hidden) by ``user``; ``passed`` says whether it is."""

    table: str
    user: str
    row: Mapping[str, Any]
    should_see: bool
    passed: bool
    place: str


def run(policies: Iterable[TablePolicy], lookup: Callable[[str], Table | None]) -> list[Result]:
    """Run every test of ``policies``. ``lookup``: the true table of ``source.table``, or None where unknown."""
    import duckdb

    every = list(policies)
    results: list[Result] = []
    with duckdb.connect(":memory:") as connection:
        for policy in every:
            for test in policy.tests:
                for row, should_see in [*((r, True) for r in test.sees), *((r, False) for r in test.hides)]:
                    sees = _sees(connection, every, policy.table, test.user, row, lookup(policy.table))
                    results.append(
                        Result(policy.table, test.user.name, row, should_see, sees == should_see, test.place)
                    )
    return results


def _sees(
    connection: Any, policies: list[TablePolicy], name: str, user: Any, row: Mapping[str, Any], known: Table | None
) -> bool:
    decision = decide(policies, name, user)
    if decision is None:
        return False
    table = _table(name, row, columns_of(decision.rows), known)
    values = {key.lower(): value for key, value in row.items()}
    shown = [exp.alias_(_typed(values.get(c.name.lower()), c.type), c.name, quoted=True) for c in table.columns]
    query = exp.select("1").from_(exp.select(*shown).subquery("row")).where(condition.tree(decision.rows, table))
    return bool(connection.execute(query.sql(dialect="duckdb")).fetchall())


def _table(name: str, row: Mapping[str, Any], tested: set[str], known: Table | None) -> Table:
    columns: dict[str, Column] = {}
    for key in [*row, *tested]:
        found = known.column(key) if known is not None else None
        columns.setdefault(key.lower(), found or Column(key, _kind(row.get(key))))
    source, _, table = name.partition(".")
    return Table(source, table, tuple(columns.values()))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return "BIGINT"
    return "DOUBLE" if isinstance(value, float) else "VARCHAR"


def _typed(value: Any, kind: str) -> exp.Expr:
    literal: exp.Expr = exp.Null() if value is None else exp.Literal.string(str(value))
    return exp.cast(literal, kind, dialect="duckdb")
