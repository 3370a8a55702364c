"""Masks: what is shown instead, that NULL stays NULL, and that no value makes one fail."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from core.errors import ConfigInvalid
from core.model import Column
from core.policy.grants import Mask, masked_type
from core.policy.mask import expression


def masked(kind: Any, column_type: str, *values: Any, width: float = 0.0) -> list[Any]:
    column = Column("c", column_type)
    sql = expression(column, Mask(kind, width), "salt").sql(dialect="duckdb")
    connection = duckdb.connect(":memory:")
    connection.execute(f"CREATE TABLE t (n BIGINT, c {column_type})")
    connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
    rows = connection.execute(f"SELECT {sql} AS c, typeof({sql}) FROM t ORDER BY n").fetchall()
    assert {kind for _, kind in rows} == {masked_type(column, Mask(kind, width))}
    return [value for value, _ in rows]


def test_null_and_redact() -> None:
    assert masked("null", "BIGINT", 1, None) == [None, None]
    assert masked("redact", "VARCHAR", "x", None) == ["***", None]


def test_hash_is_stable_salted_and_unlike_the_value() -> None:
    first, second, other, nothing = masked("hash", "VARCHAR", "a", "a", "b", None)
    assert first == second != other
    assert nothing is None
    assert len(first) == 64
    assert first != duckdb.sql("SELECT sha256('a')").fetchall()[0][0]


def test_last4_shows_nothing_of_short_values() -> None:
    assert masked("last4", "VARCHAR", "1234567890", "1234", "", None) == ["****7890", "****", "****", None]


def test_year() -> None:
    import datetime

    assert masked("year", "DATE", datetime.date(1980, 5, 17), None) == [datetime.date(1980, 1, 1), None]
    assert masked("year", "VARCHAR", "1980-05-17", "no date", None) == ["1980-01-01", None, None]
    with pytest.raises(ConfigInvalid):
        masked("year", "BIGINT", 1980)


def test_bucket() -> None:
    assert masked("bucket", "DOUBLE", 1234.5, -5.0, None, width=100) == [1200.0, -100.0, None]
    assert masked("bucket", "BIGINT", 57) == [50.0]
    assert masked("bucket", "VARCHAR", "no number", "12") == [None, 10.0]
