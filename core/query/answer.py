"""One ask from SQL to rows: parse -> bind -> plan -> permit -> fetch -> sieve -> engine, or one fragment in a database.

The order of things, and nothing else. What plans is imported where it is needed: a kept plan needs none of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from core.deadline import Deadline
from core.errors import Error, SourceError
from core.model import Answer, Ask, Progress
from core.query import asked
from core.query.prepared import PlanCache, Prepared, key_of
from core.settings import Settings
from core.source.base import Fetching, Fragment, Ledger, SqlSource

if TYPE_CHECKING:
    from core.policy.gate import PermittedScan, View, Visible
    from core.query.engine import Session
    from core.query.fetch import Streams
    from core.query.kept import EngineWork, KeptPlan
    from core.query.plan import Plan
    from core.query.sieve import Sieve
    from core.source.catalog import Catalog


class Answering:
    """The work of one ask. ``facts`` is what the audit may say of it, at any point.

    ``view``: makes the catalog as the asker sees it. ``salt``: gives the salt of hash masks. ``digest``: the project's.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        settings: Settings,
        catalog: Catalog,
        plans: PlanCache,
        digest: str,
        salt: Callable[[], str],
        view: Callable[[Deadline], View],
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._plans = plans
        self._digest = digest
        self._salt = salt
        self._view = view
        self._ask = ask
        self._deadline = Deadline(ask.timeout_s)
        self._started = time.perf_counter()
        self._ledger = Ledger()
        self._progress = progress
        self._tables: list[str] = []
        self._masked: tuple[str, ...] = ()
        self._filtered: list[str] = []

    def run(self) -> Answer:
        """The answer; raises core.errors."""
        try:
            return self._run()
        except SourceError as error:
            if not error.details.get("catalog_changed"):
                raise
        # A table is not what the catalog remembers: look again, once.
        self._catalog.forget()
        self._ledger = Ledger()
        return self._run()

    def _run(self) -> Answer:
        key = key_of(self._ask, self._digest)
        kept = self._plans.get(key) if self._settings.pushdown else None
        if kept is not None and not isinstance(kept, Prepared):
            work = self._still(kept)
            if work is not None:
                return self._from_engine(work)
            kept = None
        if kept is None or self._schema_version(kept.source) != kept.schema:
            planned, _ = self._planned()
            if not isinstance(planned, Prepared):
                return self._from_engine(self._keep_plan(key, planned))
            kept = self._keep(key, planned)
        try:
            return self._from_database(kept)
        except _OverflowError:
            # SQLite's integers end at 64 bits, or turn into floats there; the engine's do not.
            scans, _ = self._planned(fragments=False)
            return self._from_engine(self._work(cast("Plan", scans)))

    def _keep(self, key: str, planned: Prepared) -> Prepared:
        version = self._schema_version(planned.source)
        if version:
            planned = replace(planned, schema=version)
            self._plans.put(key, planned, self._ask.now)
        return planned

    def _keep_plan(self, key: str, planned: Plan) -> EngineWork:
        from core.query.kept import keep

        work = self._work(planned)
        kept = keep(planned, work, self._texts()) if self._settings.pushdown else None
        if kept is None:
            return work
        self._plans.put(key, kept, self._ask.now)
        return replace(work, sifts=kept.sifts)

    def facts(self) -> dict[str, Any]:
        """Tables, masks and cost so far; no row."""
        return {
            "tables": self._tables,
            "filtered": self._filtered,
            "masked": list(self._masked),
            "elapsed_ms": self._elapsed(),
            "calls": sum(t.calls for t in self._ledger.tallies.values()),
        }

    # ── deciding ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _still(self, kept: KeptPlan) -> EngineWork | None:
        """The work of an earlier plan, judged anew, or None where what it rests on is another by now."""
        found = kept.visible(self._view(self._deadline))
        if found is None:
            return None
        self._reads(found)
        try:
            return kept.work(found, self._ask.principal, self._texts())
        except OverflowError:
            return None

    def _work(self, planned: Plan) -> EngineWork:
        from core.policy.gate import permit
        from core.query.kept import EngineWork

        names = {b.name: b.ref.alias for b in planned.bound}
        return EngineWork(planned.engine_sql(), permit(planned.scans, self._ask.principal), names, {})

    def _texts(self) -> dict[str, str]:
        return asked.texts(self._ask.now, self._ask.timezone)

    def _reads(self, found: Sequence[Visible]) -> None:
        self._tables = sorted({v.table.full_name for v in found})
        self._filtered = sorted({v.table.full_name for v in found if v.decision.restricts_rows})

    def _schema_version(self, name: str) -> str:
        """'' for sources that cannot say: their plans are not kept."""
        source: Any = self._catalog.source(name)
        ask = getattr(source, "schema_version", None)
        return str(ask(self._deadline)) if ask is not None else ""

    def _planned(self, *, fragments: bool = True) -> tuple[Plan | Prepared, str]:
        from core.query import fragment, plan
        from core.query.names import HasSchemas, within
        from core.query.parse import parse
        from core.query.qualify import qualify

        ask = self._ask
        statement = parse(ask.sql, dialect=ask.dialect, params=ask.params, now=ask.now, timezone=ask.timezone)
        if ask.private_source is not None and any(ref.source for ref in statement.refs):
            source = cast(HasSchemas, self._catalog.source(ask.private_source))
            within(statement.tree, statement.refs, ask.private_source, source.default_schema(self._deadline))
        bound = plan.bind(statement, self._view(self._deadline))
        self._reads([b.visible for b in bound])
        qualify(statement, bound)
        private = {ask.private_source} if ask.private_source else set()
        databases = self._databases({b.visible.table.source for b in bound} | private)
        if ask.dialect != "duckdb":
            return fragment.native(statement, bound, databases, ask.private_source, self._deadline), ""
        if not fragments:
            return plan.plan(statement, bound), ""
        if not self._settings.pushdown:
            return plan.plan(statement, bound).without_pushdown(), "pushdown is switched off"
        found, why_not = fragment.from_duckdb(statement, bound, databases, self._deadline)
        if found is not None:
            return found, ""
        return plan.plan(statement, bound), why_not

    def _databases(self, sources: set[str]) -> dict[str, SqlSource]:
        found = {}
        for name in sources:
            source = self._catalog.source(name)
            if source is not None and source.kind == "sql":
                found[name] = cast(SqlSource, source)
        return found

    # ── doing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _from_database(self, planned: Prepared) -> Answer:
        self._tables, self._filtered = list(planned.tables), list(planned.filtered)
        self._masked = planned.masked
        source = cast(SqlSource, self._catalog.source(planned.source))
        params = planned.params(self._ask.now, self._ask.timezone)
        fragment = Fragment(planned.source, planned.sql, params, max_rows=self._settings.max_rows)
        try:
            result = source.run(fragment, self._fetching())
        except SourceError as error:
            if planned.types and "integer overflow" in error.message:
                raise _OverflowError from None
            raise
        whole = [i for i, kind in enumerate(planned.types) if kind in ("BIGINT", "HUGEINT", "INTEGER")]
        if any(isinstance(row[i], float) for row in result.rows for i in whole):
            raise _OverflowError
        now = datetime.now(UTC)
        for table in planned.tables:
            self._ledger.fetched(table, now, 0.0, False)
        types = planned.types or tuple(kind or '"NULL"' for _, kind in result.columns)
        columns = [(name, kind) for (name, _), kind in zip(result.columns, types, strict=True)]
        return self._answer(columns, _as_typed(result.rows, planned), frozenset())

    def _from_engine(self, work: EngineWork) -> Answer:
        from core.query import engine
        from core.query.sieve import Sieve

        permitted = work.permit
        self._masked = permitted.masked
        sieve = Sieve(self._salt() if permitted.masked else "")
        sources = {p.scan.table.source: self._catalog.source(p.scan.table.source) for p in permitted.scans}
        with sieve, engine.Session(self._deadline, self._limits(engine), self._ask.timezone, work.names) as session:
            session.verify(work.sql, work.names)
            with _Feed(work, cast(Mapping[str, Any], sources), self._fetching(), sieve, session) as feed:
                columns, rows, complete = feed.run(self._ask.row_limit)
        hidden = frozenset(s for s in permitted.restricted_sources if cast(Any, sources[s]).kind != "sql")
        return self._answer(columns, rows, hidden, complete=complete, fetched=sieve.rows)

    def _limits(self, engine: Any) -> Any:
        s = self._settings
        return engine.Limits(s.memory_limit, s.threads, s.max_rows, s.max_result_bytes)

    def _fetching(self) -> Fetching:
        return Fetching(
            deadline=self._deadline,
            ledger=self._ledger,
            max_calls=self._settings.max_calls,
            connections=self._settings.fetch_connections,
            max_staleness_ms=self._ask.max_staleness_ms or 0,
            progress=self._progress,
        )

    def _answer(
        self,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        hidden: frozenset[str],
        *,
        complete: bool = True,
        fetched: int | None = None,
    ) -> Answer:
        limit = self._ask.row_limit
        warnings = list(self._ledger.warnings)
        if limit is not None and len(rows) > limit:
            rows, complete = rows[:limit], False
        if not complete:
            warnings.append(f"Cut at {limit} rows, as asked; there are more.")
        return Answer(
            columns=tuple(columns),
            rows=rows,
            complete=complete,
            warnings=tuple(warnings),
            freshness=dict(self._ledger.freshness),
            stats=self._stats(hidden, len(rows) if fetched is None else fetched),
            masked=self._masked,
            trace_id=self._ask.request_id,
        )

    def _stats(self, hidden: frozenset[str], fetched: int) -> dict[str, Any]:
        """What it cost. Where rows were hidden only after the fetch, its size would tell how many: null."""
        tallies = self._ledger.tallies
        open_ = {name: t for name, t in tallies.items() if name not in hidden}
        partial = len(open_) != len(tallies)
        return {
            "elapsed_ms": self._elapsed(),
            "calls": None if partial else sum(t.calls for t in tallies.values()),
            "rows_fetched": None if partial else fetched,
            "bytes_fetched": None if partial else sum(t.bytes for t in tallies.values()),
            "cache_hits": sum(t.cache_hits for t in tallies.values()),
            "sources": {
                name: {"calls": t.calls if name in open_ else None, "elapsed_ms": round(t.elapsed_ms, 1)}
                for name, t in sorted(tallies.items())
            },
        }

    def _elapsed(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 1)

    # ── explaining ───────────────────────────────────────────────────────────────────────────────────────────────

    def explain(self) -> dict[str, Any]:
        """The plan as JSON; see the explain module."""
        from core.policy.gate import permit
        from core.query import engine, explain

        planned, why_scans = self._planned()
        if isinstance(planned, Prepared):
            dialect = cast(SqlSource, self._catalog.source(planned.source)).dialect
            return explain.of_fragment(planned, dialect)
        sql = planned.engine_sql()
        engine.verify(sql, [b.name for b in planned.bound])
        return explain.of_scans(planned, permit(planned.scans, self._ask.principal), sql, why_scans, self._catalog)


class _OverflowError(Exception):
    """A whole number left what SQLite can count to."""


class _Feed:
    """Gives the engine every permitted scan. All start at once, but those that look up keys of another."""

    def __init__(
        self,
        work: EngineWork,
        sources: Mapping[str, Any],
        fetching: Fetching,
        sieve: Sieve,
        session: Session,
    ) -> None:
        self._work = work
        self._sources = sources
        self._fetching = fetching
        self._sieve = sieve
        self._session = session
        self._opened: list[Streams] = []

    def __enter__(self) -> _Feed:
        return self

    def __exit__(self, *_: object) -> None:
        for streams in self._opened:
            streams.close()

    def run(self, row_limit: int | None) -> tuple[tuple[tuple[str, str], ...], list[tuple[Any, ...]], bool]:
        """Read and run; where a stream failed, its own error is raised and not the engine's about it."""
        scans, session = self._work.permit.scans, self._session
        try:
            self._add([p for p in scans if p.lookup is None])
            self._add([p.looked_up(session.keys(p.lookup.other, p.lookup.other_column)) for p in scans if p.lookup])
            return session.run(self._work.sql, row_limit)
        except Error as error:
            failed = [cause for streams in self._opened if (cause := streams.error()) is not None]
            raise (failed or [error])[0] from None

    def _add(self, scans: Sequence[PermittedScan]) -> None:
        from core.query.engine import Table
        from core.query.fetch import open_scans

        if not scans:
            return
        streams = open_scans([(p.scan, p.rows) for p in scans], self._sources, self._fetching)
        self._opened.append(streams)
        # Those that are read whole come first: a lookup needs them.
        for p in sorted(scans, key=lambda p: p.single_read):
            alias = p.scan.alias
            rows = self._sieve.apply(p, streams[alias], self._work.sifts.get(alias))
            self._session.add(Table(alias, rows, p.single_read))


def _as_typed(rows: Sequence[tuple[Any, ...]], planned: Prepared) -> Sequence[tuple[Any, ...]]:
    """Values that SQLite has no type for as themselves: dates and times came as ISO text, decimals as floats."""
    readers: dict[int, Callable[[Any], Any]] = {}
    for index, kind in enumerate(planned.types):
        if kind in _FROM_ISO:
            readers[index] = _FROM_ISO[kind]
    for index, text in planned.decimals.items():
        readers[index] = partial(_constant, Decimal(text))
    if not readers:
        return rows
    return [tuple(v if v is None or i not in readers else readers[i](v) for i, v in enumerate(row)) for row in rows]


def _constant(value: Decimal, _: Any) -> Decimal:
    return value


_FROM_ISO: Mapping[str, Callable[[Any], Any]] = {"DATE": date.fromisoformat, "TIMESTAMP": datetime.fromisoformat}
