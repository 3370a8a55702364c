"""A row condition filters the same rows wherever it is applied: in SQLite, in DuckDB behind a fetch, and in Python."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.deadline import Deadline
from core.model import AllOf, AnyOf, Column, Compare, Condition, Scan, Table
from core.policy import condition
from core.source.base import Fetching, Ledger
from core.source.sqlite import SqliteSource

COLUMNS = (
    Column("i", "BIGINT"),
    Column("f", "DOUBLE"),
    Column("s", "VARCHAR"),
    Column("b", "BOOLEAN"),
    Column("d", "DATE"),
)
TABLE = Table("shop", "t", COLUMNS)
ROWS: list[tuple[Any, ...]] = [
    (1, 1.5, "a", True, "2026-01-01"),
    (2, -0.5, "A", False, "2026-06-30"),
    (None, None, None, None, None),
    (10, 1e10, "a'b", True, "1999-12-31"),
    (0, 0.0, "", False, "2026-01-02"),
    (9, 2.0, "10", None, None),
]
VALUES: list[Any] = [1, 1.5, "1", "a", "A", "", "x'y", True, False, "2026-01-01", "no date", -0.5, 10**20, "a'b"]
OPS = ["=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with"]
CONDITIONS: list[Condition] = [
    *(Compare(c.name, op, v) for c, op, v in itertools.product(COLUMNS, OPS, VALUES)),
    *(
        Compare(c.name, op, v)
        for c in COLUMNS
        for op in ("in", "not in")
        for v in ((), (1, 2), ("a", 1), ("x",), (True,))
    ),
    AllOf(),
    AnyOf(),
    AllOf((Compare("i", ">", 0), AnyOf((Compare("s", "=", "a"), Compare("b", "=", True))))),
    Compare("nothing", "=", 1),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("condition") / "t.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (n INTEGER, i INTEGER, f REAL, s TEXT, b BOOLEAN, d DATE)")
        db.executemany("INSERT INTO t VALUES (?,?,?,?,?,?)", [(n, *row) for n, row in enumerate(ROWS)])
    db.close()
    engine = duckdb.connect(":memory:")
    engine.execute("CREATE TABLE t (n BIGINT, i BIGINT, f DOUBLE, s VARCHAR, b BOOLEAN, d DATE)")
    engine.executemany("INSERT INTO t VALUES (?,?,?,?,?,?)", [(n, *row) for n, row in enumerate(ROWS)])
    return SqliteSource("shop", lambda: Path(path)), engine


def test_sources_and_sieve_agree_on_every_row(both: Any) -> None:
    source, engine = both
    table = source.table("t", Deadline(5))
    for case in CONDITIONS:
        sql = f"SELECT n FROM t WHERE {condition.tree(case, TABLE).sql(dialect='duckdb')} ORDER BY n"
        sieved = [n for (n,) in engine.execute(sql).fetchall()]
        stream = source.open_filtered(Scan("x", table, ("n",)), case, Fetching(Deadline(5), Ledger()))
        pushed = sorted(n for batch in stream for n in batch.column(0).to_pylist())
        assert sieved == pushed, case


def test_null_never_satisfies(both: Any) -> None:
    _, engine = both
    for case in CONDITIONS:
        if isinstance(case, Compare):
            sql = f"SELECT count(*) FROM t WHERE n = 2 AND {condition.tree(case, TABLE).sql(dialect='duckdb')}"
            assert engine.execute(sql).fetchone() == (0,), case


def test_values_are_literals_whatever_they_hold() -> None:
    hostile = "x') OR 1=1 --"
    sql = condition.tree(Compare("s", "=", hostile), TABLE).sql(dialect="duckdb")
    assert duckdb.sql(f"SELECT 1 FROM (SELECT 'y' AS s) WHERE {sql}").fetchall() == []
    assert duckdb.sql(f"SELECT 1 FROM (SELECT $${hostile}$$ AS s) WHERE {sql}").fetchall() == [(1,)]
