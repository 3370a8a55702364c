"""Plans that are kept: a question is read and planned once per change of anything its plan rests on.

Parsing and planning need sqlglot, whose import alone costs more than a whole alert. What they made of a question, for
one principal under one project, is kept in the store, so that a cold process can run it at once. Nothing that depends
on the time of asking is in it. ``Prepared`` is a whole query that one database answers; ``kept`` has the others.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.model import Ask
from core.ports import Put, Store
from core.query import asked
from core.stamp import stamp

if TYPE_CHECKING:
    from core.query.kept import KeptPlan

PARTITION = "plans"
DAYS = 30
KNOWN = 1_000
"""How many plans a process keeps at hand."""

_CODE = (
    "query/allowed.py",
    "query/asked.py",
    "query/attributes.py",
    "query/bounds.py",
    "query/fragment.py",
    "query/kept.py",
    "query/moments.py",
    "query/names.py",
    "query/narrow.py",
    "query/parse.py",
    "query/plan.py",
    "query/portable.py",
    "query/predicates.py",
    "query/prepared.py",
    "query/qualify.py",
    "query/rowids.py",
    "query/sqlite_text.py",
    "query/values.py",
    "query/vet.py",
    "policy/condition.py",
    "policy/gate.py",
    "policy/grants.py",
    "policy/mask.py",
    "policy/sifting.py",
    "source/literal.py",
    "source/sqlite_types.py",
)


_canonical = json.JSONEncoder(default=repr, sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """A fragment, gated. ``values``: of the policy's row conditions. ``shown``: the SQL without what policies put in.

    ``moments``: names of the parameters that stand for the time of asking.

    ``types``: DuckDB type by output column where the plan knows it. ``decimals``: output columns that are decimal
    constants, by position. ``schema``: the version of the source's schema that it was planned against.
    """

    source: str
    sql: str
    shown: str
    values: Mapping[str, Any]
    tables: tuple[str, ...]
    filtered: tuple[str, ...]
    masked: tuple[str, ...]
    moments: tuple[str, ...]
    types: tuple[str, ...]
    decimals: Mapping[int, str]
    schema: str

    def params(self, now: datetime, timezone: str) -> dict[str, Any]:
        """``values``, and the texts of ``moments``: dates and times of the asker's zone."""
        if not self.moments:
            return dict(self.values)
        texts = asked.texts(now, timezone)
        return {**self.values, **{name: asked.value(name, texts) for name in self.moments}}

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: getattr(self, name) for name in Prepared.__slots__}
        return {**found, "decimals": {str(k): v for k, v in self.decimals.items()}}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Prepared:
        lists = {k: tuple(body[k]) for k in ("tables", "filtered", "masked", "moments", "types")}
        decimals = {int(k): v for k, v in body["decimals"].items()}
        return cls(body["source"], body["sql"], body["shown"], body["values"], decimals=decimals,
                   schema=body["schema"], **lists)  # fmt: skip


def key_of(ask: Ask, project_digest: str) -> str:
    """All that a plan rests on but the schema: code, project (policies included), question, asker."""
    who = ask.principal
    parts = [
        stamp(*_CODE),
        project_digest,
        ask.sql,
        ask.dialect,
        dict(ask.params),
        ask.private_source,
        who.name,
        sorted(who.roles),
        who.teams,
        who.tenant,
        dict(who.attributes),
    ]
    return hashlib.sha256(_canonical(parts).encode()).hexdigest()


class PlanCache:
    """Plans by key: in this process, behind it in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, Prepared | KeptPlan] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Prepared | KeptPlan | None:
        found = self._known.get(key)
        if found is None:
            item = self._store.get(PARTITION, key)
            if item is None:
                return None
            found = _from_body(item.body)
        self._know(key, found)
        return found

    def put(self, key: str, plan: Prepared | KeptPlan, now: datetime) -> None:
        self._know(key, plan)
        self._store.write(PARTITION, [Put(key, plan.body(), expires_at=now.timestamp() + DAYS * 86_400)])

    def _know(self, key: str, plan: Prepared | KeptPlan) -> None:
        with self._lock:
            self._known[key] = plan
            self._known.move_to_end(key)
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)


def _from_body(body: Mapping[str, Any]) -> Prepared | KeptPlan:
    if "reads" in body:
        from core.query.kept import KeptPlan

        return KeptPlan.of(body)
    return Prepared.of(body)
