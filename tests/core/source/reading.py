"""Reads a source in a test as the engine would: through the Arrow stream."""

from __future__ import annotations

from typing import Any

import duckdb

from core.deadline import Deadline
from core.model import EVERY_ROW, Compare, Condition, Scan, Table
from core.source.base import Fetching, Ledger, Source


def fetching(seconds: float = 20.0, **more: Any) -> Fetching:
    return Fetching(Deadline(seconds), Ledger(), **more)


def table(source: Source, name: str) -> Table:
    found = source.table(name, Deadline(20))
    assert found is not None, name
    return found


def scan(source: Source, name: str, *columns: str, narrow: tuple[Compare, ...] = (), limit: int | None = None) -> Scan:
    found = table(source, name)
    return Scan("t", found, columns or tuple(c.name for c in found.columns if not c.hidden), narrow, limit)


def rows(
    source: Any,
    name: str,
    *columns: str,
    narrow: tuple[Compare, ...] = (),
    limit: int | None = None,
    where: Condition = EVERY_ROW,
    fetch: Fetching | None = None,
) -> list[tuple[Any, ...]]:
    """All rows as Python values; the source's own error where its stream fails."""
    asked = scan(source, name, *columns, narrow=narrow, limit=limit)
    used = fetch or fetching()
    stream = source.open(asked, used) if where == EVERY_ROW else source.open_filtered(asked, where, used)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", stream)
        try:
            return connection.execute("SELECT * FROM t").fetchall()
        except duckdb.Error:
            assert stream.error is not None
            raise stream.error from None
        finally:
            stream.close()
