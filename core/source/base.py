"""The contract between the query path and a source: what is there, and a lazy stream of it.

Three kinds keep it: ``rest`` (declarative connectors), ``sql`` (databases), ``files``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from core.deadline import Deadline
from core.errors import SourceError
from core.model import BatchStream, Condition, Freshness, Progress, Scan, Table, Tally


@dataclass(slots=True)
class Ledger:
    """What an ask cost so far, by source, and what its caller should know. Shared by the fetch threads."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    freshness: dict[str, Freshness] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, source: str, *, calls: int = 0, rows: int = 0, size: int = 0, hits: int = 0, ms: float = 0.0) -> None:
        with self.lock:
            t = self.tallies.setdefault(source, Tally())
            t.calls += calls
            t.rows += rows
            t.bytes += size
            t.cache_hits += hits
            t.elapsed_ms += ms

    def fetched(self, table: str, at: datetime, age_ms: float, from_cache: bool) -> None:
        """Note when a part of ``table`` was fetched; the oldest part counts."""
        with self.lock:
            old = self.freshness.get(table)
            if old is None or age_ms > old.age_ms:
                self.freshness[table] = Freshness(at, age_ms, from_cache)

    def warn(self, text: str) -> None:
        with self.lock:
            if text not in self.warnings:
                self.warnings.append(text)


@dataclass(frozen=True, slots=True)
class Fetching:
    """What every read of one ask shares. ``max_calls`` bounds the requests of the whole ask."""

    deadline: Deadline
    ledger: Ledger
    max_calls: int = 1_000
    connections: int = 8
    max_staleness_ms: int = 0
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A whole SELECT for one SQL source, already in its dialect, gated and regenerated from the tree.

    ``params``: values for the ``:name`` placeholders in ``sql``.
    """

    source: str
    sql: str
    params: Mapping[str, Any] = field(default_factory=dict)
    max_rows: int = 100_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A fragment's result. ``columns`` are (name, DuckDB type or '' when the driver does not say)."""

    columns: tuple[tuple[str, str], ...]
    rows: Sequence[tuple[Any, ...]]


def same_name(table: str, columns: Sequence[str]) -> SourceError:
    """The error for a table that has two columns of one name but for case."""
    shown = " and ".join(sorted(columns))
    return SourceError(
        f"{table} has columns whose names differ in case only: {shown}. A query could not tell them apart, nor could a "
        "policy. Rename one, or make a view that does.",
        table=table,
        columns=sorted(columns),
    )


class Source(Protocol):
    """One configured source of a project.

    The caller guarantees: scans name tables and columns this source listed; ``narrow`` only operators it declared;
    every stream is closed or exhausted before the deadline ends.
    The result must: contain every row that satisfies ``narrow`` (and may contain more); keep column order and types
    as declared; raise an Error instead of ending early; count its calls, bytes and rows in the ledger.
    Where a table is no longer what ``table`` said, SourceError has ``catalog_changed: True`` in its details: whoever
    remembers the catalog has to forget it, and may then ask once more.
    """

    name: str
    connector: str
    kind: str  # "rest" | "sql" | "files"

    def table_names(self, deadline: Deadline) -> Sequence[str]: ...

    def table(self, name: str, deadline: Deadline) -> Table | None:
        """Describe one table (name matched case-insensitively), or None where there is none."""
        ...

    def open(self, scan: Scan, fetching: Fetching) -> BatchStream:
        """Start reading. Rows come as Arrow, columns exactly ``scan.columns`` in that order."""
        ...


class SqlSource(Source, Protocol):
    """A database: it can also filter rows by a policy's condition, and run whole fragments."""

    dialect: str  # sqlglot's name of its dialect

    def open_filtered(self, scan: Scan, rows: Condition, fetching: Fetching) -> BatchStream:
        """As ``open``, but rows outside ``rows`` never leave the database (nor can they cause an error)."""
        ...

    def permitted(
        self,
        table: Table,
        columns: Sequence[tuple[str, str]] | None,
        rows: Condition,
        params: dict[str, Any],
        deadline: Deadline,
    ) -> str:
        """``SELECT columns FROM table WHERE rows`` in its dialect, to stand in brackets in a fragment's FROM.

        ``columns``: (name, expression in the dialect), or None for all as they are.
        ``rows`` filters exactly as in ``open_filtered``; its values go
        into ``params``. Where rows are filtered, the end is a fence that the planner moves no predicate across.
        """
        ...

    def run(self, fragment: Fragment, fetching: Fetching) -> Rows: ...
