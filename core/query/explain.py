"""What a query would do: calls, pushed and kept predicates, rows filtered, columns masked. No row is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.model import Compare, Scan
from core.policy.gate import Permit, PermittedScan, PlannedScan

if TYPE_CHECKING:
    from core.query.plan import Plan
    from core.query.prepared import Prepared
    from core.source.catalog import Catalog


def of_fragment(planned: Prepared, dialect: str) -> dict[str, Any]:
    """A query that one database answers alone."""
    return {
        "runs_in": planned.source,
        "dialect": dialect,
        "sql": planned.shown,
        "why": "every table is in this database and every expression means the same there",
        "calls": 1,
        "scans": [],
        "masked": list(planned.masked),
        "rows_filtered": list(planned.filtered),
    }


def of_scans(planned: Plan, permitted: Permit, sql: str, why: str, catalog: Catalog) -> dict[str, Any]:
    """A query that the engine computes over scans."""
    names = {b.name: b.ref.alias for b in planned.bound}
    scans = [
        _scan(p, q, b.ref.alias, catalog, names)
        for p, q, b in zip(planned.scans, permitted.scans, planned.bound, strict=True)
    ]
    known = [s["calls"] for s in scans]
    return {
        "runs_in": "engine",
        "dialect": "duckdb",
        "sql": sql,
        "why": why,
        "calls": sum(known) if all(isinstance(n, int) for n in known) else None,
        "scans": scans,
        "masked": list(permitted.masked),
        "rows_filtered": sorted({q.scan.table.full_name for q in permitted.scans if q.restricted}),
    }


def _scan(
    planned: PlannedScan, permitted: PermittedScan, alias: str, catalog: Catalog, names: Mapping[str, str]
) -> dict[str, Any]:
    scan = permitted.scan
    source = catalog.source(scan.table.source)
    kind = source.kind if source is not None else "unknown"
    return {
        "table": scan.table.full_name,
        "as": alias,
        "columns": list(permitted.shown),
        "pushed": [text(c) for c in planned.scan.narrow],
        "not_pushed": [{"predicate": predicate, "why": why} for predicate, why in planned.not_pushed],
        "limit": scan.limit,
        "calls": _calls(scan, kind),
        "calls_note": _calls_note(scan, kind) if permitted.lookup is None else _lookup_note(permitted, names),
        "reads": "as a stream, stopping when the engine has enough"
        if permitted.single_read
        else "whole, kept in memory",
        "freshness": "live",
    }


def _lookup_note(permitted: PermittedScan, names: Mapping[str, str]) -> str:
    lookup = permitted.lookup
    if lookup is None:
        return ""
    return f"one chain of pages for each {lookup.column} that {names[lookup.other]}.{lookup.other_column} has"


def _calls(scan: Scan, kind: str) -> int | None:
    return 1 if kind in ("sql", "files") else None


def _calls_note(scan: Scan, kind: str) -> str:
    if kind != "rest":
        return "one read"
    chains = 1
    for compare in scan.narrow:
        if compare.op == "in" and isinstance(compare.value, tuple):
            chains *= max(1, len(compare.value))
    return f"{chains} chain{'s' if chains > 1 else ''} of pages; their number shows while fetching"


def text(compare: Compare) -> str:
    value = compare.value
    shown = f"({', '.join(_literal(v) for v in value)})" if isinstance(value, tuple) else _literal(value)
    return f"{compare.column} {compare.op} {shown}"


def _literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
