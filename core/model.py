"""The nouns: frozen dataclasses that pass between the floors. No behaviour beyond small derived facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

# ── who ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified identity. ``attributes`` are what policies may compare with as ``$user.NAME``."""

    name: str
    roles: frozenset[str] = frozenset()
    teams: tuple[str, ...] = ()
    tenant: str = "default"
    attributes: Mapping[str, Any] = field(default_factory=dict)


# ── what a source offers ─────────────────────────────────────────────────────────────────────────────────────────

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in"]
Faith = Literal["exact", "superset"]
"""How faithfully a source applies an operator: superset may return more rows, so the predicate stays in the engine."""


@dataclass(frozen=True, slots=True)
class Column:
    """``type`` is a DuckDB type name. ``operators`` says what the source can filter by this column, and how well.

    ``required``: the table cannot be read without an ``=`` or ``in`` on this column.
    ``hidden``: not part of ``*`` (``_raw``).
    ``raw``: read as text whatever its values are, so that its type tells nothing of them.
    """

    name: str
    type: str
    operators: Mapping[Operator, Faith] = field(default_factory=dict)
    required: bool = False
    hidden: bool = False
    doc: str = ""
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``inferred``: what the source reads off the values: the columns' "types" (CSV), or the "columns" too (JSON)."""

    source: str
    name: str
    columns: tuple[Column, ...]
    doc: str = ""
    inferred: Literal["", "types", "columns"] = ""

    @property
    def full_name(self) -> str:
        return f"{self.source}.{self.name}"

    def column(self, name: str) -> Column | None:
        """The column of that name, case-insensitively."""
        wanted = name.lower()
        return next((c for c in self.columns if c.name.lower() == wanted), None)


# ── predicates: what a policy's row filter and a narrowed scan are made of ──────────────────────────────────────

Scalar = str | int | float | bool | None
Comparison = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "starts with", "ends with"]


@dataclass(frozen=True, slots=True)
class Compare:
    """``column op value``; ``value`` is a tuple for ``in`` and ``not in``. A NULL column never satisfies it."""

    column: str
    op: Comparison
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when empty."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """False when empty."""

    parts: tuple[Condition, ...] = ()


Condition = Compare | AllOf | AnyOf
EVERY_ROW = AllOf()
NO_ROW = AnyOf()
EVERY_OBJECT = AnyOf((EVERY_ROW,))
"""Every row too. A JSON table then has its columns key by key, as for those who may see some of its rows only."""


# ── one scan: what is read from one table reference ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Scan:
    """One table reference of a query.

    ``columns``: what the query and the gate need, in the table's order.
    ``narrow``: predicates the source may apply; only Compare with =, !=, <, <=, >, >=, in, on declared operators.
    Never trusted: all are applied again behind the fetch.
    ``limit``: at most so many rows are needed; set only where nothing behind the fetch can drop a row.
    ``rows``: others are hidden from the asker, and neither they nor their absence may be the cause of an error.
    ``masked``: columns (lower case) whose values the asker does not get: one that is not of its type is NULL, no error.
    ``blank``: those of them that need not be read at all, for NULL is all that becomes of them.
    """

    alias: str
    table: Table
    columns: tuple[str, ...]
    narrow: tuple[Compare, ...] = ()
    limit: int | None = None
    rows: Condition = EVERY_ROW
    masked: frozenset[str] = frozenset()
    blank: frozenset[str] = frozenset()


class BatchStream(Protocol):
    """A lazy stream of Arrow record batches: an Arrow C stream that is read once, one batch at a time."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class Progress(Protocol):
    """Told of each page so that a terminal can show a long fetch. Must be cheap and never raise."""

    def __call__(self, source: str, table: str, *, rows: int, calls: int, total_calls: int | None) -> None: ...


@dataclass(slots=True)
class Tally:
    """What one source cost in one ask. Mutable on purpose: the fetch threads add to it (under the ledger's lock)."""

    calls: int = 0
    rows: int = 0
    bytes: int = 0
    cache_hits: int = 0
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """When the oldest part of a table's data was fetched."""

    fetched_at: datetime
    age_ms: float
    from_cache: bool


# ── one ask ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. ``now`` is the instant that now() and current_date mean, in ``timezone``.

    ``private_source``: set for alerts that bring their own database: only this source is visible, and all of it.
    """

    sql: str
    principal: Principal
    now: datetime
    timezone: str = "UTC"
    params: Mapping[str, Any] = field(default_factory=dict)
    dialect: str = "duckdb"
    timeout_s: float = 30.0
    max_staleness_ms: int | None = None
    row_limit: int | None = None
    origin: str = "cli"
    request_id: str = ""
    private_source: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``rows`` are tuples of Python values in the order of ``columns`` ((name, DuckDB type) pairs)."""

    columns: tuple[tuple[str, str], ...]
    rows: Sequence[tuple[Any, ...]]
    complete: bool = True
    warnings: tuple[str, ...] = ()
    freshness: Mapping[str, Freshness] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    masked: tuple[str, ...] = ()
    trace_id: str = ""

    def records(self) -> Iterator[dict[str, Any]]:
        names = [name for name, _ in self.columns]
        return (dict(zip(names, row, strict=True)) for row in self.rows)


# ── one alert ────────────────────────────────────────────────────────────────────────────────────────────────────

Severity = Literal["OK", "WARN", "ALERT"]
Outcome = Literal["OK", "WARN", "ALERT", "NO_DATA", "ERROR"]
OnTrouble = Literal["keep", "ok", "alert", "error"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert as validated. Durations are seconds.

    ``pending_for``: how long it must be bad before it fires. ``of``: (m, n), bad in m of the last n slots.
    ``key``: columns that make one instance per row. ``recovered``: tell when it is over.
    ``channels``: names of the project's channels. ``private_source``: see Ask.
    """

    name: str
    query: str
    schedule: str | None
    timezone: str
    principal: Principal
    channels: tuple[str, ...] = ()
    pending_for: float = 0.0
    of: tuple[int, int] | None = None
    key: tuple[str, ...] = ()
    severity: str | None = None
    repeat_every: float | None = None
    on_error: OnTrouble = "error"
    no_data: OnTrouble = "error"
    recovered: bool = True
    timeout_s: float = 30.0
    dialect: str = "duckdb"
    description: str = ""
    runbook: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    private_source: str | None = None
    place: str = ""

    def as_ask(self, slot: datetime, request_id: str) -> Ask:
        """The question of this alert at ``slot``: time is the slot, so a repeat and a backtest ask the same."""
        return Ask(
            sql=self.query,
            principal=self.principal,
            now=slot,
            timezone=self.timezone,
            dialect=self.dialect,
            timeout_s=self.timeout_s,
            origin=f"alert:{self.name}",
            request_id=request_id,
            private_source=self.private_source,
        )


@dataclass(frozen=True, slots=True)
class Channel:
    """Where messages go. ``options`` as in omni.yaml, references to secrets still unresolved (``secret:NAME``)."""

    name: str
    type: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How owed messages are retried: by default for a day. Waits live in the outbox; seconds."""

    attempts: int = 150
    first_retry: float = 15.0
    max_retry: float = 600.0
