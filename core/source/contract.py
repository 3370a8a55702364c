"""The test of the Source contract, shipped with the contract: a new connector is checked by it on recorded data.

It reads a table whole, then once more for every declared operator with values taken from the data, and compares
with what DuckDB makes of the same predicate on the whole.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from core.deadline import Deadline
from core.errors import Error
from core.model import Column, Compare, Operator, Scalar, Scan, Table
from core.source.base import Fetching, Ledger, Source

SAMPLES = 4
ALL = 10_000_000
Row = tuple[Any, ...]


class ContractError(AssertionError):
    """The source does not keep the contract; the message names the table, the column and the operator."""


def check_source(
    source: Source,
    table: str,
    *,
    bind: Sequence[Compare] = (),
    other_paging: Source | None = None,
    seconds: float = 60.0,
) -> int:
    """Check one table of ``source`` and return how many reads were compared. Raises ContractError.

    ``bind``: values for the required columns. ``other_paging``: the same data served in pages of another size.
    """
    found = _described(source, table, seconds)
    whole = _Whole(source, found, tuple(bind), seconds)
    whole.check_types()
    whole.check_projection()
    whole.check_required()
    whole.check_limit()
    if other_paging is not None:
        other = _Whole(other_paging, _described(other_paging, table, seconds), tuple(bind), seconds)
        whole.expect_same(other.rows, "read in pages of another size")
    for column in found.columns:
        for op, faith in column.operators.items():
            whole.check_operator(column, op, exact=faith == "exact")
    return whole.reads


def _described(source: Source, name: str, seconds: float) -> Table:
    deadline = Deadline(seconds)
    found = source.table(name.upper(), deadline)
    if found is None or source.table(name.lower(), deadline) != found:
        raise ContractError(f"{source.name}.{name} is not found in another case")
    if found.name not in source.table_names(deadline):
        raise ContractError(f"{source.name}.{name} is not among table_names()")
    if source.table("no_such_table_here", deadline) is not None:
        raise ContractError(f"{source.name} describes a table that is not there")
    if len({c.name.lower() for c in found.columns}) != len(found.columns):
        raise ContractError(f"{found.full_name} has two columns of one name")
    if source.kind == "rest" and not (found.columns[-1].name == "_raw" and found.columns[-1].hidden):
        raise ContractError(f"{found.full_name} does not end with a hidden _raw")
    return found


class _Whole:
    """A table with all its rows."""

    def __init__(self, source: Source, table: Table, bind: tuple[Compare, ...], seconds: float) -> None:
        self.source, self.table, self.bind, self.seconds = source, table, bind, seconds
        self.reads = 0
        self.duckdb = _connect()
        self.names = tuple(c.name for c in table.columns)
        self.types: list[tuple[str, str]] = []
        self.rows = self.read(self.scan())

    def scan(self, *narrow: Compare, columns: tuple[str, ...] = (), limit: int | None = None) -> Scan:
        return Scan("checked", self.table, columns or self.names, (*self.bind, *narrow), limit)

    def read(self, scan: Scan) -> list[Row]:
        import duckdb

        self.reads += 1
        stream = self.source.open(scan, Fetching(Deadline(self.seconds), Ledger(), max_calls=ALL))
        self.duckdb.register("read", stream)
        try:
            self.types = [(r[0], r[1]) for r in self.duckdb.execute("DESCRIBE read").fetchall()]
            found: list[Row] = self.duckdb.execute("SELECT * FROM read").fetchall()
            return found
        except duckdb.Error:
            raise getattr(stream, "error", None) or ContractError("the stream broke without an error") from None
        finally:
            self.duckdb.unregister("read")

    def check_types(self) -> None:
        alias = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
        shown = [(n, alias.get(t, t)) for n, t in self.types]
        declared = [(c.name, c.type) for c in self.table.columns]
        if shown != declared:
            wrong = [f"{d[0]} is {s[1]}, declared {d[1]}" for s, d in zip(shown, declared, strict=False) if s != d]
            raise ContractError(f"{self.table.full_name}: {'; '.join(wrong) or 'other columns than declared'}")

    def check_projection(self) -> None:
        for i, name in enumerate(self.names):
            if not _same(self.read(self.scan(columns=(name,))), [(row[i],) for row in self.rows]):
                raise ContractError(f"{self.table.full_name}: {name} alone differs from {name} beside the others")

    def check_required(self) -> None:
        if not any(c.required for c in self.table.columns):
            return
        unbound = Scan("checked", self.table, self.names)
        try:
            self.read(unbound)
        except Error:
            return
        raise ContractError(f"{self.table.full_name} can be read without its required columns")

    def check_limit(self) -> None:
        for limit in {1, 2, max(1, len(self.rows) - 1)}:
            got = self.read(self.scan(limit=limit))
            if len(got) < min(limit, len(self.rows)) or Counter(map(_key, got)) - Counter(map(_key, self.rows)):
                raise ContractError(f"{self.table.full_name}: LIMIT {limit} gives {len(got)} of {len(self.rows)} rows")

    def check_operator(self, column: Column, op: Operator, *, exact: bool) -> None:
        values = _samples(self.rows, self.names.index(column.name), column.type)
        given: list[Scalar | tuple[Scalar, ...]] = list(values)
        if op == "in":
            given = [tuple(values), (values[0],)] if values else []
        for value in given:
            compare = Compare(column.name, op, value)
            if any(c.column == column.name and c.op == op for c in self.bind):
                continue
            got = self.read(self.scan(compare))
            expected = self._by_duckdb(compare, column.type)
            lost = Counter(map(_key, expected)) - Counter(map(_key, got))
            if lost:
                raise ContractError(f"{self.table.full_name}: {column.name} {op} loses {lost.total()} rows")
            if exact and len(got) != len(expected):
                extra = len(got) - len(expected)
                raise ContractError(f"{self.table.full_name}: {column.name} {op} is not exact: {extra} rows too many")

    def _by_duckdb(self, compare: Compare, kind: str) -> list[Row]:
        """The rows that satisfy ``compare``, as DuckDB itself compares a column of that type with the literal."""
        index = self.names.index(compare.column)
        values = compare.value if isinstance(compare.value, tuple) else (compare.value,)
        casts = ", ".join(f"CAST(${i + 2} AS {kind})" for i in range(len(values)))
        test = f"CAST($1 AS {kind}) {compare.op} {'(' + casts + ')' if compare.op == 'in' else casts}"
        found = [self.duckdb.execute(f"SELECT {test}", [row[index], *values]).fetchall() for row in self.rows]
        return [row for row, verdict in zip(self.rows, found, strict=True) if verdict == [(True,)]]

    def expect_same(self, rows: list[Row], how: str) -> None:
        if not _same(rows, self.rows):
            raise ContractError(f"{self.table.full_name} {how}: {len(rows)} rows, {len(self.rows)} expected")


def _connect() -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _key(row: Row) -> str:
    return json.dumps([repr(v) for v in row])


def _same(some: list[Row], others: list[Row]) -> bool:
    return Counter(map(_key, some)) == Counter(map(_key, others))


def _samples(rows: Sequence[Row], index: int, kind: str) -> list[Scalar]:
    """A few values of the column as literals of a query: the smallest, the largest and some between."""
    found = sorted({v for row in rows if (v := _literal(row[index])) is not None}, key=lambda v: (str(type(v)), v))
    step = max(1, len(found) // SAMPLES)
    return [*found[::step][:SAMPLES], *found[-1:]]


def _literal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool) else (None if value is None else str(value))
