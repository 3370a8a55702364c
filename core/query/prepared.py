"""Plans that are kept: a query that one database answers alone is planned once per change of anything it rests on.

Parsing and gating need sqlglot, whose import alone costs more than a whole alert. What they made of a query, for one
principal under one project and one schema, is kept in the store, so that a cold process can run it at once. Nothing
that depends on the time of asking is in it: current_date and its kin are parameters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.model import Ask
from core.ports import Put, Store
from core.stamp import stamp

PARTITION = "plans"
DAYS = 30
NOW = "omni_now_"
_CODE = (
    "query/names.py",
    "query/values.py",
    "query/vet.py",
    "query/allowed.py",
    "query/fragment.py",
    "query/parse.py",
    "query/plan.py",
    "query/portable.py",
    "query/prepared.py",
    "policy/condition.py",
    "policy/gate.py",
    "policy/grants.py",
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
        """``values``, and those of ``moments``: dates and times of the asker's zone, in the text form of ``iso``."""
        if not self.moments:
            return dict(self.values)
        local = now.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
        return {**self.values, **{name: moment_value(name, local) for name in self.moments}}


def moment_name(kind: str, offset: int) -> str:
    """``omni_now_day_m1``: one day before today; ``omni_now_moment_p0``: the local time."""
    return f"{NOW}{kind}_{'m' if offset < 0 else 'p'}{abs(offset)}"


def moment_value(name: str, local: datetime) -> str:
    kind, _, offset = name.removeprefix(NOW).rpartition("_")
    if kind == "moment":
        return local.isoformat(sep=" ")
    days = -int(offset[1:]) if offset[0] == "m" else int(offset[1:])
    return (local.date() + timedelta(days=days)).isoformat()


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
        self._known: dict[str, Prepared] = {}

    def get(self, key: str) -> Prepared | None:
        found = self._known.get(key)
        if found is None:
            item = self._store.get(PARTITION, key)
            if item is None:
                return None
            found = self._known[key] = _from_body(item.body)
        return found

    def put(self, key: str, prepared: Prepared, now: datetime) -> None:
        self._known[key] = prepared
        body: dict[str, Any] = {name: getattr(prepared, name) for name in Prepared.__slots__}
        body["decimals"] = {str(k): v for k, v in prepared.decimals.items()}
        self._store.write(PARTITION, [Put(key, body, expires_at=now.timestamp() + DAYS * 86_400)])


def _from_body(body: Mapping[str, Any]) -> Prepared:
    lists = {k: tuple(body[k]) for k in ("tables", "filtered", "masked", "moments", "types")}
    decimals = {int(k): v for k, v in body["decimals"].items()}
    return Prepared(
        body["source"], body["sql"], body["shown"], body["values"], decimals=decimals, schema=body["schema"], **lists
    )
