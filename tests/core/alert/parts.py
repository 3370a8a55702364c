"""Small real parts for the tests of the watch half: a store in memory, a query with a script, a clock to turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from core.alert.run import Watcher
from core.deadline import Deadline
from core.errors import StateConflict
from core.model import Answer, Ask, DeliveryPolicy, Principal, Rule
from core.ports import ABSENT, Change, Delete, Item, Owner, Put

START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
LEASE_S = 120.0


class MemoryStore:
    """``core.ports.Store`` in a dict; versions count up per key, so that equal stories leave equal stores."""

    def __init__(self, now: Callable[[], datetime] = lambda: START) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self.writes = 0
        self._now = now
        self._counts: dict[tuple[str, str], int] = {}

    def get(self, partition: str, key: str) -> Item | None:
        item = self.items.get((partition, key))
        if item is None or (item.expires_at is not None and item.expires_at <= self._now().timestamp()):
            return None
        return Item(item.partition, item.key, item.version, json.loads(json.dumps(item.body)), item.expires_at)

    def query(
        self,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Sequence[Item]:
        keys = sorted((k for p, k in self.items if p == partition), key=str.encode, reverse=descending)
        chosen = [k for k in keys if k.encode() >= first.encode() and (last is None or k.encode() <= last.encode())]
        return [i for i in (self.get(partition, k) for k in chosen) if i is not None][:limit]

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        assert len(changes) <= 100
        assert len({c.key for c in changes}) == len(changes)
        for c in changes:
            found = self.get(partition, c.key)
            if c.expect is not None and c.expect != (ABSENT if found is None else found.version):
                raise StateConflict(f"{partition}/{c.key} was changed")
        self.writes += 1
        return [self._apply(partition, c) for c in changes]

    def _apply(self, partition: str, change: Put | Delete) -> str:
        at = (partition, change.key)
        if isinstance(change, Delete):
            self.items.pop(at, None)
            return ""
        body = json.dumps(change.body, ensure_ascii=False)
        assert len(body.encode()) <= 350_000
        self._counts[at] = self._counts.get(at, 0) + 1
        version = str(self._counts[at])
        self.items[at] = Item(partition, change.key, version, json.loads(body), change.expires_at)
        return version


class NamedOwner:
    """An owner that knows which others have ended."""

    def __init__(self, name: str = "me", ended: set[str] | None = None) -> None:
        self._name = name
        self._ended = ended if ended is not None else set()

    def name(self) -> str:
        return self._name

    def gone(self, owner: str) -> bool:
        return owner in self._ended


class Receiver:
    """Takes messages; ``fails`` maps a channel to the errors it answers next."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.fails: dict[str, list[Exception]] = {}
        self.detail = ""

    def __call__(self, message: dict[str, Any], channel: str, deadline: Deadline) -> SimpleNamespace:
        assert message["channel"] == channel
        assert deadline.left() > 0
        if self.fails.get(channel):
            raise self.fails[channel].pop(0)
        self.messages.append(json.loads(json.dumps(message)))
        return SimpleNamespace(detail=self.detail)

    def told(self) -> list[tuple[str, str]]:
        """(kind, channel) of every message so far."""
        return [(m["kind"], m["channel"]) for m in self.messages]

    def kinds(self) -> list[str]:
        return [m["kind"] for m in self.messages]


def answer(*rows: tuple[Any, ...], columns: Sequence[str] = ("status", "actual_value", "threshold")) -> Answer:
    return Answer(tuple((c, "VARCHAR") for c in columns), list(rows))


class World:
    """One watcher over a store in memory. ``says`` is what the query answers: an Answer, or an error to raise."""

    def __init__(self, *, delivery: DeliveryPolicy | None = None, owner: Owner | None = None) -> None:
        self.now = START
        self.store = MemoryStore(lambda: self.now)
        self.receiver = Receiver()
        self.says: Answer | Exception = answer(("OK", 1, 10))
        self.asked: list[Ask] = []
        self.watcher = self.another(owner or NamedOwner(), delivery)

    def another(self, owner: Owner, delivery: DeliveryPolicy | None = None) -> Watcher:
        """One more process over the same store."""
        policy = delivery or DeliveryPolicy()
        return Watcher(
            self.store,
            owner,
            self._ask,
            self.receiver,
            lambda: self.now,
            policy,
            LEASE_S,
            sleep=self._sleep,
            monotonic=lambda: self.now.timestamp(),
        )

    def run(self, rule: Rule, minutes: float = 1.0) -> dict[str, Any]:
        """Let time pass, then run at this minute."""
        self.pass_time(minutes * 60)
        return self.watcher.run(rule, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _sleep(self, seconds: float) -> None:
        self.pass_time(seconds)

    def _ask(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def rule(name: str = "revenue", **changes: Any) -> Rule:
    facts: Mapping[str, Any] = {
        "query": "SELECT 'OK' AS status",
        "schedule": "* * * * *",
        "timezone": "Europe/Berlin",
        "principal": Principal("bot"),
        "channels": ("hook",),
        **changes,
    }
    return Rule(name, **facts)


def hold(world: World, holder: str = "other") -> Callable[[], None]:
    """Another process takes the alert; returns how it gives it back."""
    other = world.another(NamedOwner(holder))
    claim = other.outbox.claim(other.outbox.read("revenue"), 30.0)
    return claim.release


OK = answer(("OK", 1, 10))
WARN = answer(("WARN", 11, 10))
ALERT = answer(("ALERT", 20, 10))
NOTHING = answer()
