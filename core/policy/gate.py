"""The one door: what a principal may see of the catalog, and the Permit without which nothing is fetched or run.

Two steps of one decision. ``View`` is the catalog as the principal may see it: planning happens against it, so a
plan cannot mention what is hidden. ``permit`` then binds rows and masks to every scan of the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from core.deadline import Deadline
from core.errors import EntitlementDenied, SqlRejected
from core.model import EVERY_OBJECT, EVERY_ROW, AllOf, AnyOf, Column, Compare, Condition, Principal, Scalar, Scan, Table
from core.policy.grants import Decision, Mask, TablePolicy, decide, masked_type, reaches
from core.source.literal import coerce


class Catalog(Protocol):
    def table(self, source: str, name: str, deadline: Deadline) -> Table | None: ...

    def table_for(self, source: str, name: str, rows: Condition, deadline: Deadline) -> Table | None: ...

    def names(self, source: str, deadline: Deadline) -> Sequence[str]: ...

    def source_names(self) -> Sequence[str]: ...

    def sources_with(self, name: str, deadline: Deadline, among: Sequence[str]) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Visible:
    """``table``: as its asker sees it, denied columns absent and masked types; ``origin``: as it is."""

    table: Table
    origin: Table
    decision: Decision


class View:
    """The catalog of one principal. ``private_source``: this source only, and all of it (see model.Ask)."""

    def __init__(
        self,
        catalog: Catalog,
        policies: Sequence[TablePolicy],
        principal: Principal,
        deadline: Deadline,
        private_source: str | None = None,
        private: Iterable[str] = (),
    ) -> None:
        self._catalog = catalog
        self._policies = policies
        self._principal = principal
        self._deadline = deadline
        self._private_source = private_source
        self._private = frozenset(private)

    def sources(self) -> Sequence[str]:
        """Those of which a policy may show something: of others not even an error is heard."""
        if self._private_source is not None:
            return [self._private_source]
        open_ = [name for name in self._catalog.source_names() if name not in self._private]
        return [name for name in open_ if reaches(self._policies, name, self._principal)]

    def find(self, source: str | None, name: str) -> Visible:
        """The visible table of that name; a bare name resolves where exactly one source has it.

        Raises EntitlementDenied, with one text for "does not exist" and "not allowed".
        """
        if source is not None:
            found = self._lookup(source, name)
            if found is None:
                raise denied(f"{source}.{name}")
            return found
        matches = [v for s in self._candidates(name) if (v := self._lookup(s, name)) is not None]
        if not matches:
            raise denied(name)
        if len(matches) > 1:
            names = ", ".join(v.table.full_name for v in matches)
            raise SqlRejected(f"The table name {name!r} is ambiguous: {names}. Write source.table.", table=name)
        return matches[0]

    def names(self, source: str) -> list[str]:
        """Visible tables of a source."""
        known = next((s for s in self.sources() if s.lower() == source.lower()), None)
        if known is None:
            return []
        return [n for n in self._catalog.names(known, self._deadline) if self._decide(f"{known}.{n}") is not None]

    def _candidates(self, name: str) -> list[str]:
        allowed = [s for s in self.sources() if self._decide(f"{s}.{name}") is not None]
        if len(allowed) <= 1:
            return allowed
        having = {s.lower() for s in self._catalog.sources_with(name, self._deadline, allowed)}
        return [s for s in allowed if s.lower() in having]

    def _decide(self, full_name: str) -> Decision | None:
        if self._private_source is not None:
            return Decision()
        return decide(self._policies, full_name, self._principal)

    def _lookup(self, source: str, name: str) -> Visible | None:
        known = next((s for s in self.sources() if s.lower() == source.lower()), None)
        if known is None:
            return None
        # Policy first: a source is not even touched for a table that is not allowed.
        decision = self._decide(f"{known}.{name}")
        if decision is None:
            return None
        if decision.restricts_rows:
            # Rows that are hidden must not decide which columns and types there are.
            origin = self._catalog.table_for(known, name, decision.rows, self._deadline)
        else:
            origin = self._catalog.table(known, name, self._deadline)
        if origin is not None and origin.inferred == "columns" and decision.masks and not decision.restricts_rows:
            # DuckDB's own reading of JSON has keys, and whole documents, under other names than a mask's.
            origin = self._catalog.table_for(known, name, EVERY_OBJECT, self._deadline)
        if origin is None:
            return None
        origin = _untold(origin, decision)
        return Visible(_as_seen(origin, decision), origin, decision)


def denied(name: str) -> EntitlementDenied:
    return EntitlementDenied(
        f"There is no table {name!r} for you: it does not exist or you may not read it. "
        "`omni tables` lists what you may read; ask for a policy if it is missing.",
        table=name,
    )


def _untold(origin: Table, decision: Decision) -> Table:
    """The table as it is read for this asker: where values decide on types and columns, masked ones do not.

    A masked column is text then; in JSON it is there, behind the others, whether or not any object has the key.
    """
    masked = sorted(name for name, mask in decision.masks.items() if mask.kind != "deny")
    if not origin.inferred or not decision.masks:
        return origin
    if origin.inferred == "types":
        texts = [replace(c, type="VARCHAR", operators={}, raw=True) for c in origin.columns]
        kept = [t if t.name.lower() in masked else c for c, t in zip(origin.columns, texts, strict=True)]
        return replace(origin, columns=tuple(kept))
    # The one column of what are no objects with keys is the whole document, which repeats what the masks hide.
    whole = [c.name for c in origin.columns] == ["json"]
    others = [] if whole else [c for c in origin.columns if c.name.lower() not in masked]
    return replace(origin, columns=(*others, *(Column(name, "VARCHAR", raw=True) for name in masked)))


def _as_seen(origin: Table, decision: Decision) -> Table:
    columns: list[Column] = []
    any_mask = bool(decision.masks)
    for column in origin.columns:
        mask = decision.masks.get(column.name.lower())
        if mask is None:
            # The raw document repeats what the masks hide.
            if column.hidden and any_mask:
                continue
            columns.append(column)
        elif mask.kind != "deny":
            # A masked column narrows nothing: its source would compare the true value.
            columns.append(replace(column, type=masked_type(column, mask), operators={}))
    return replace(origin, columns=tuple(columns))


# ── the permit ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Lookup:
    """A join on a required column: ``column`` is read for the values that ``other_column`` of ``other`` has."""

    column: str
    other: str
    other_column: str


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """A scan as planned against the view. ``single_read``: the engine reads it once, so it may stay a stream."""

    scan: Scan
    visible: Visible
    single_read: bool = True
    not_pushed: tuple[tuple[str, str], ...] = ()
    lookup: Lookup | None = None


@dataclass(frozen=True, slots=True)
class PermittedScan:
    """What fetch and sieve may do: read ``scan`` (of the true table), keep ``rows``, replace by ``masks``.

    ``shown``: the columns that may go on; a row condition may read more than its asker sees.
    """

    scan: Scan
    shown: tuple[str, ...]
    rows: Condition
    masks: Mapping[str, Mask]
    single_read: bool
    restricted: bool
    lookup: Lookup | None = None

    def looked_up(self, keys: tuple[Scalar, ...]) -> PermittedScan:
        """The same scan for these keys of its lookup, without those that no permitted row can have."""
        if self.lookup is None:
            raise AssertionError("a scan without a lookup takes no keys")
        by_keys = Compare(self.lookup.column, "in", keys)
        narrow = (*self.scan.narrow, *_allowed_values((by_keys,), self.rows, self.scan.table))
        return replace(self, scan=replace(self.scan, narrow=narrow), lookup=None)


_SEAL = object()


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to fetch and run exactly this. Only ``permit`` makes one.

    ``restricted_sources``: those that something is hidden of, rows or values. How much they sent would tell its size.
    """

    principal: Principal
    scans: tuple[PermittedScan, ...]
    masked: tuple[str, ...]
    restricted_sources: frozenset[str]
    seal: object = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("a Permit is made by gate.permit only")


def permit(scans: Sequence[PlannedScan], principal: Principal) -> Permit:
    """Bind the decision to every scan. Raises EntitlementDenied and SqlRejected (a required column is masked)."""
    permitted = tuple(_permit_scan(planned) for planned in scans)
    masked = sorted(
        {
            f"{p.scan.table.full_name}.{column}"
            for p in permitted
            for column in p.scan.columns
            if column.lower() in p.masks
        }
    )
    decisions = [(planned.visible.table.source, planned.visible.decision) for planned in scans]
    restricted = frozenset(source for source, decision in decisions if decision.restricts_rows or decision.masks)
    return Permit(principal, permitted, tuple(masked), restricted, _SEAL)


def _permit_scan(planned: PlannedScan) -> PermittedScan:
    decision, origin = planned.visible.decision, planned.visible.origin
    masks = {c.lower(): m for c in planned.scan.columns if (m := decision.masks.get(c.lower())) is not None}
    if any(mask.kind == "deny" for mask in masks.values()):
        raise denied(origin.full_name)
    narrow = _allowed_values(planned.scan.narrow, decision.rows, origin)
    limit = planned.scan.limit if not decision.restricts_rows else None
    needed = set(planned.scan.columns) | {c.name for name in columns_of(decision.rows) if (c := origin.column(name))}
    columns = tuple(c.name for c in origin.columns if c.name in needed)
    judged = {name.lower() for name in columns_of(decision.rows)}
    masked = frozenset(c.lower() for c in columns if c.lower() in decision.masks)
    scan = replace(
        planned.scan,
        table=origin,
        columns=columns,
        narrow=narrow,
        limit=limit,
        rows=decision.rows,
        masked=masked,
        blank=frozenset(c for c in masked if decision.masks[c].kind == "null" and c not in judged),
    )
    shown = tuple(c for c in columns if c in planned.scan.columns)
    return PermittedScan(
        scan, shown, decision.rows, masks, planned.single_read, decision.restricts_rows, planned.lookup
    )


def columns_of(condition: Condition) -> set[str]:
    if isinstance(condition, Compare):
        return {condition.column}
    return {name for part in condition.parts for name in columns_of(part)}


def _allowed_values(narrow: tuple[Compare, ...], rows: Condition, table: Table) -> tuple[Compare, ...]:
    """Drop keys that no permitted row can have, so that a source is never asked about what is hidden.

    A repository outside the policy would otherwise tell "not found" from "found but filtered".
    """
    if rows == EVERY_ROW:
        return narrow
    result = []
    for compare in narrow:
        column = table.column(compare.column)
        if compare.op in ("=", "in") and column is not None:
            values = compare.value if isinstance(compare.value, tuple) else (compare.value,)
            kept = tuple(v for v in values if possible(rows, column, v))
            if len(kept) != len(values):
                compare = Compare(compare.column, "in", kept)
        result.append(compare)
    return tuple(result)


def possible(condition: Condition, column: Column, value: Scalar) -> bool:
    """Could a row with ``column = value`` satisfy ``condition``? True when in doubt.

    A required column is a key of its API, and APIs take keys in any case: one that a policy excludes is excluded in
    every case.
    """
    if isinstance(condition, AllOf):
        return all(possible(part, column, value) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(possible(part, column, value) for part in condition.parts)
    if condition.column.lower() != column.name.lower():
        return True
    given = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    found = coerce(value, column.type.upper())
    wanted = [coerce(v, column.type.upper()) for v in given]
    if condition.op in ("=", "in"):
        return found in wanted
    if condition.op in ("!=", "not in"):
        if column.required and isinstance(found, str):
            return found.casefold() not in [str(w).casefold() for w in wanted]
        return found not in wanted
    if isinstance(found, str) and len(wanted) == 1 and isinstance(wanted[0], str):
        if condition.op == "starts with":
            return found.startswith(wanted[0])
        if condition.op == "ends with":
            return found.endswith(wanted[0])
        if condition.op == "contains":
            return wanted[0] in found
    return True
