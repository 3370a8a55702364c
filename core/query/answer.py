"""One ask from SQL to rows: parse -> bind -> plan -> permit -> fetch -> sieve -> engine, or one fragment in a database.

The order of things, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from core.deadline import Deadline
from core.errors import Error
from core.model import Answer, Ask, Progress
from core.policy.gate import Permit, View, permit
from core.query import fragment, plan
from core.query.parse import parse
from core.settings import Settings
from core.source.base import Fetching, Fragment, Ledger, SqlSource

if TYPE_CHECKING:
    from core.query.fragment import FragmentPlan
    from core.query.plan import Plan
    from core.source.catalog import Catalog


class Answering:
    """The work of one ask. ``facts`` is what the audit may say of it, at any point."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        salt: Callable[[], str],
        ask: Ask,
        deadline: Deadline,
        progress: Progress | None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._salt = salt
        self._ask = ask
        self._deadline = deadline
        self._started = time.perf_counter()
        self._ledger = Ledger()
        self._progress = progress
        self._tables: list[str] = []
        self._masked: tuple[str, ...] = ()
        self._filtered: list[str] = []

    def run(self, view: View) -> Answer:
        """The answer; raises core.errors."""
        planned, why_scans = self._planned(view)
        if isinstance(planned, fragment.FragmentPlan):
            return self._from_database(planned)
        return self._from_engine(planned)

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

    def _planned(self, view: View) -> tuple[Plan | FragmentPlan, str]:
        ask = self._ask
        statement = parse(ask.sql, dialect=ask.dialect, params=ask.params, now=ask.now, timezone=ask.timezone)
        bound = plan.bind(statement, view)
        self._tables = sorted({b.visible.table.full_name for b in bound})
        self._filtered = sorted({b.visible.table.full_name for b in bound if b.visible.decision.restricts_rows})
        dialects = self._dialects({b.visible.table.source for b in bound})
        if ask.dialect != "duckdb":
            return fragment.native(statement, bound, dialects), ""
        found, why_not = fragment.from_duckdb(statement, bound, dialects)
        if found is not None:
            return found, ""
        return plan.plan(statement, bound), why_not

    def _dialects(self, sources: set[str]) -> dict[str, str]:
        found = {}
        for name in sources:
            source = self._catalog.source(name)
            if source is not None and source.kind == "sql":
                found[name] = cast(SqlSource, source).dialect
        return found

    # ── doing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _from_database(self, planned: FragmentPlan) -> Answer:
        self._masked = planned.masked
        source = cast(SqlSource, self._catalog.source(planned.source))
        result = source.run(
            Fragment(planned.source, planned.sql, max_rows=self._settings.max_rows), self._fetching()
        )
        rows = _with_decimals(result.rows, planned.decimals)
        now = datetime.now(UTC)
        for table in planned.tables:
            self._ledger.fetched(table, now, 0.0, False)
        return self._answer(result.columns, rows, frozenset())

    def _from_engine(self, planned: Plan) -> Answer:
        from core.query import engine
        from core.query.fetch import filters_rows, open_scans
        from core.query.sieve import Sieve

        sql = planned.engine_sql()
        engine.verify(sql, [b.name for b in planned.bound])
        permitted = permit(planned.scans, self._ask.principal)
        self._masked = permitted.masked
        sieve = Sieve(self._salt() if permitted.masked else "")
        sources = {p.scan.table.source: self._catalog.source(p.scan.table.source) for p in permitted.scans}
        scans = [(p.scan, p.rows) for p in permitted.scans]
        with open_scans(scans, cast(Mapping[str, Any], sources), self._fetching()) as streams:
            try:
                tables = [
                    engine.Table(p.scan.alias, sieve.apply(p, streams[p.scan.alias]), p.single_read)
                    for p in permitted.scans
                ]
                columns, rows, complete = engine.run(
                    sql,
                    tables,
                    deadline=self._deadline,
                    limits=self._limits(engine),
                    timezone=self._ask.timezone,
                    row_limit=self._ask.row_limit,
                    names={b.name: b.ref.alias for b in planned.bound},
                )
            except Error as error:
                raise streams.error() or error from None
            finally:
                sieve.close()
        hidden = frozenset(s for s in permitted.restricted_sources if not filters_rows(cast(Any, sources[s])))
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
        """What it cost. Where rows were hidden only after the fetch, calls and bytes would tell how many: null."""
        tallies = self._ledger.tallies
        open_ = {name: t for name, t in tallies.items() if name not in hidden}
        partial = len(open_) != len(tallies)
        return {
            "elapsed_ms": self._elapsed(),
            "calls": None if partial else sum(t.calls for t in tallies.values()),
            "rows_fetched": fetched,
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

    def explain(self, view: View) -> dict[str, Any]:
        """The plan as JSON: see ``explain.describe``."""
        from core.query import explain

        planned, why_scans = self._planned(view)
        if isinstance(planned, fragment.FragmentPlan):
            return explain.of_fragment(planned)
        from core.query import engine

        sql = planned.engine_sql()
        engine.verify(sql, [b.name for b in planned.bound])
        permitted: Permit = permit(planned.scans, self._ask.principal)
        return explain.of_scans(planned, permitted, sql, why_scans, self._catalog)


def _with_decimals(rows: Sequence[tuple[Any, ...]], decimals: Mapping[int, str]) -> Sequence[tuple[Any, ...]]:
    """Decimal constants of the query as themselves: a database without decimals returned them as floats."""
    if not decimals:
        return rows
    return [tuple(Decimal(decimals[i]) if i in decimals else v for i, v in enumerate(row)) for row in rows]


