"""Plans for the engine that are kept: what reading and planning made of a question, without its answer to "who may".

The gate is asked anew each time: a kept plan names its tables as the question does, and is only used where each is
still seen just as it was when the plan was made. What is saved is the parser.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from core.model import Compare, Scalar, Scan
from core.policy.gate import Lookup, Permit, PlannedScan, View, Visible, permit
from core.query import asked
from core.query.asked import Asked

if TYPE_CHECKING:
    from core.model import Principal
    from core.query.plan import Plan


@dataclass(frozen=True, slots=True)
class EngineWork:
    """What is to be done for one ask: ``sql`` for the engine over the scans of ``permit``.

    ``names``: fresh name of each reference -> its name in the question. ``sifts``: the sieve's SELECT by fresh name,
    where it is known.
    """

    sql: str
    permit: Permit
    names: Mapping[str, str]
    sifts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KeptRead:
    """One reference: ``source`` and ``table`` as the question names it, ``seen`` what the gate showed of it."""

    source: str | None
    table: str
    seen: str
    alias: str
    name: str
    columns: tuple[str, ...]
    narrow: tuple[Compare, ...]
    limit: int | None
    single_read: bool
    lookup: Lookup | None
    sift: str | None


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """``sql`` has ``marker`` and a kind where a text of the time of asking belongs."""

    sql: str
    marker: str
    reads: tuple[KeptRead, ...]

    def visible(self, view: View) -> list[Visible] | None:
        """What each reference reads, or None where one is seen otherwise by now. Raises as ``View.find``."""
        found = [view.find(read.source, read.table) for read in self.reads]
        same = all(seen(v) == read.seen for v, read in zip(found, self.reads, strict=True))
        return found if same else None

    def work(self, found: Sequence[Visible], principal: Principal, texts: Mapping[str, str]) -> EngineWork:
        """For the tables of ``visible`` and the time of ``texts``. Raises OverflowError where a calendar ends."""
        scans = [
            PlannedScan(_scan(read, visible, texts), visible, read.single_read, lookup=read.lookup)
            for read, visible in zip(self.reads, found, strict=True)
        ]
        return EngineWork(
            sql=filled(self.sql, self.marker, texts),
            permit=permit(scans, principal),
            names={read.alias: read.name for read in self.reads},
            sifts=self.sifts,
        )

    @property
    def sifts(self) -> dict[str, str]:
        return {read.alias: read.sift for read in self.reads if read.sift is not None}

    def body(self) -> dict[str, Any]:
        return {"sql": self.sql, "marker": self.marker, "reads": [_read_body(read) for read in self.reads]}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> KeptPlan:
        return cls(body["sql"], body["marker"], tuple(_read_of(read) for read in body["reads"]))


def keep(planned: Plan, work: EngineWork, texts: Mapping[str, str]) -> KeptPlan | None:
    """What is kept of a plan made at the time of ``texts``, or None where that time might stay in it.

    ``work``: what the plan is for its asker at that time.
    """
    from core.policy.sifting import needs_salt, select

    marker = f"omni_{os.urandom(12).hex()}_"  # nobody can write it into the question
    template = planned.engine_sql(marker)
    if filled(template, marker, texts) != work.sql or any(f"'{text}'" in template for text in texts.values()):
        return None
    reads = []
    for b, scan, p in zip(planned.bound, planned.scans, work.permit.scans, strict=True):
        sift = select(p, "") if (p.masks or p.restricted) and not needs_salt(p) else None
        reads.append(
            KeptRead(
                b.ref.source,
                b.ref.table,
                seen(b.visible),
                b.name,
                b.ref.alias,
                scan.scan.columns,
                scan.scan.narrow,
                scan.scan.limit,
                scan.single_read,
                scan.lookup,
                sift,
            )
        )
    return KeptPlan(template, marker, tuple(reads))


def filled(template: str, marker: str, texts: Mapping[str, str]) -> str:
    for kind in asked.KINDS:
        template = template.replace(marker + kind, texts[kind])
    return template


def seen(visible: Visible) -> str:
    """A digest of the table, as it is and as its asker sees it, and of the decision about its rows."""
    told = repr((visible.origin, visible.table, visible.decision))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _scan(read: KeptRead, visible: Visible, texts: Mapping[str, str]) -> Scan:
    narrow = tuple(_at(compare, texts) for compare in read.narrow)
    return Scan(read.alias, visible.table, read.columns, narrow, read.limit)


def _at(compare: Compare, texts: Mapping[str, str]) -> Compare:
    def value(given: Scalar) -> Scalar:
        return asked.text(texts, given.kind, given.shift) if isinstance(given, Asked) else given

    given = compare.value
    return replace(compare, value=tuple(map(value, given)) if isinstance(given, tuple) else value(given))


# ── as JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_body(read: KeptRead) -> dict[str, Any]:
    def value(given: Any) -> Any:
        if isinstance(given, tuple):
            return [value(item) for item in given]
        return {"kind": given.kind, "shift": given.shift} if isinstance(given, Asked) else given

    return {
        **{name: getattr(read, name) for name in KeptRead.__slots__},
        "narrow": [[c.column, c.op, value(c.value)] for c in read.narrow],
        "lookup": asdict(read.lookup) if read.lookup is not None else None,
    }


def _read_of(body: Mapping[str, Any]) -> KeptRead:
    def value(given: Any) -> Any:
        if isinstance(given, list):
            return tuple(value(item) for item in given)
        return Asked("", given["kind"], given["shift"]) if isinstance(given, dict) else given

    return KeptRead(**{
        **body,
        "columns": tuple(body["columns"]),
        "narrow": tuple(Compare(column, op, value(given)) for column, op, given in body["narrow"]),
        "lookup": Lookup(**body["lookup"]) if body["lookup"] is not None else None,
    })  # fmt: skip
