"""An alert's state and the messages it owes, in one partition of the store, written under one fenced lease.

Partition ``alert:<name>``:
    history/...          see ``history``
    item                 the state, see ``state``
    lease                {"holder", "fence", "until"}; every write of a run names its version, so a run that lost the
                         lease cannot write any more: not the state, not a mark, not a message
    lost                 messages that were given up, see ``dead``
    mute                 the silence, see ``mute``
    owed/<fence>/<part>  {"events": [{...event, "to": {channel: progress}}]}
The partition ``alerts`` lists every alert that ever ran, {"since", "plan"}: so a sweep finds what a removed one still
owes, and since when a schedule (see ``missed.plan``) is known to be in force.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.alert import dead, history
from core.alert.event import CLOSING, Event
from core.alert.mute import Owed
from core.alert.slot import iso, parse
from core.alert.state import SHAPE
from core.errors import ConfigInvalid, ResourceLimit, StateConflict
from core.ports import ABSENT, Change, Delete, Item, Owner, Put, Store

REGISTRY = "alerts"
_CHUNK_EVENTS = 25
_CHUNK_SIZE = 150_000
_ITEM_SIZE = 340_000
_MAX_CHANGES = 100


def partition(name: str) -> str:
    return f"alert:{name}"


@dataclass(frozen=True, slots=True)
class Known:
    """An alert of the registry. ``plan``: '' where it is not run by time, None where nobody has noted it yet."""

    since: datetime
    plan: str | None
    version: str


@dataclass(slots=True)
class View:
    """What an alert's partition held at one reading, history aside."""

    name: str
    item: Item | None = None
    lease: Item | None = None
    lost: Item | None = None
    mute: Item | None = None
    chunks: dict[str, Item] = field(default_factory=dict)

    def saw(self, key: str, item: Item | None) -> None:
        """Note what is under ``key`` now; None: nothing any more."""
        if key in ("item", "lease", "lost", "mute"):
            setattr(self, key, item)
        elif key.startswith("owed/"):
            if item is None:
                self.chunks.pop(key, None)
            else:
                self.chunks[key] = item

    @property
    def state(self) -> Mapping[str, Any] | None:
        if self.item is None:
            return None
        if self.item.body.get("v", SHAPE) > SHAPE:
            raise ConfigInvalid(
                f"The state of alert {self.name!r} was written by a later release, which this one cannot read. "
                "Upgrade OmniSentinel to it.",
                alert=self.name,
            )
        return self.item.body

    @property
    def silence(self) -> Mapping[str, Any] | None:
        return None if self.mute is None else self.mute.body

    def dead(self, now: datetime) -> list[dead.Entry]:
        """The newest messages that were given up, newest first."""
        return dead.kept(None if self.lost is None else self.lost.body, now)

    def owed(self) -> list[Owed]:
        """The messages owed, oldest first. They share the chunks' bodies: change them only under a claim."""
        return [
            Owed(key, event, channel, progress)
            for key, chunk in self.chunks.items()
            for event in chunk.body["events"]
            for channel, progress in event["to"].items()
        ]


class Outbox:
    """Reads and claims alerts. ``lease_s``: how long a run holds one at least before others may take over."""

    def __init__(self, store: Store, owner: Owner, clock: Callable[[], datetime], lease_s: float) -> None:
        self.store = store
        self._owner = owner
        self._clock = clock
        self._lease_s = lease_s

    def read(self, name: str) -> View:
        view = View(name)
        for item in self.store.query(partition(name), "item", "owed0"):
            view.saw(item.key, item)
        return view

    def holder(self, view: View) -> str:
        """Who holds the alert now; '' for nobody, or for one whose lease is over or who has certainly ended."""
        lease = {} if view.lease is None else view.lease.body
        holder = str(lease.get("holder", ""))
        if not holder or lease["until"] <= self._clock().timestamp() or self._owner.gone(holder):
            return ""
        return holder

    def known(self) -> dict[str, Known]:
        """Every alert that ever ran or was registered."""
        return {i.key: _known(i) for i in self.store.query(REGISTRY)}

    def known_as(self, name: str) -> Known | None:
        item = self.store.get(REGISTRY, name)
        return None if item is None else _known(item)

    def register(self, notes: Mapping[str, tuple[datetime, str | None, str]]) -> None:
        """Note of alerts since when which plan is in force, over the version that was seen (ABSENT: none). Where
        another process was first, its note stays."""
        puts = [
            Put(name, {"since": iso(since)} if plan is None else {"since": iso(since), "plan": plan}, expect=version)
            for name, (since, plan, version) in notes.items()
        ]
        for start in range(0, len(puts), _MAX_CHANGES):
            part = puts[start : start + _MAX_CHANGES]
            try:
                self.store.write(REGISTRY, part)
            except StateConflict:
                for put in part if len(part) > 1 else ():  # another run noted some of them: the others one by one
                    with suppress(StateConflict):
                        self.store.write(REGISTRY, [put])

    def claim(self, view: View, seconds: float, plan: str | None = None) -> Claim:
        """Take the alert for what ``view`` shows, for ``seconds`` beyond the usual; StateConflict if it is held.

        ``plan``: noted where nobody knows the alert yet.
        """
        holder = self.holder(view)
        if holder:
            raise StateConflict(
                f"Alert {view.name!r} is held by another run ({holder}). It is done there, or try again later.",
                alert=view.name,
                holder=holder,
            )
        if view.lease is None and view.item is None and self.store.get(REGISTRY, view.name) is None:
            self.register({view.name: (self._clock(), plan, ABSENT)})
        fence = 1 + (0 if view.lease is None else int(view.lease.body["fence"]))
        claim = Claim(self.store, view, self._owner.name(), fence, self._clock, self._lease_s)
        claim.write([], hold=seconds)
        return claim


class Claim:
    """An alert held by this run. Every write renews the lease or gives it back, and fails if it was taken over."""

    def __init__(
        self, store: Store, view: View, holder: str, fence: int, clock: Callable[[], datetime], lease_s: float
    ) -> None:
        self.view = view
        self.fence = fence
        self.held = False
        self._store = store
        self._holder = holder
        self._clock = clock
        self._lease_s = lease_s
        self._lease = ABSENT if view.lease is None else view.lease.version
        self._records = 0

    def write(self, changes: Sequence[Change], *, hold: float | None = 0.0) -> Sequence[str]:
        """Write ``changes`` and the lease at once: held for ``hold`` seconds beyond lease_s, or (None) given back."""
        until = 0.0 if hold is None else self._clock().timestamp() + self._lease_s + hold
        lease = {"holder": "" if hold is None else self._holder, "fence": self.fence, "until": until}
        self.held = False  # should the write fail, whether it was done is unknown; only success says we hold it
        versions = self._store.write(partition(self.view.name), [Put("lease", lease, expect=self._lease), *changes])
        self._lease = versions[0]
        self.held = hold is not None
        return versions[1:]

    def commit(
        self,
        state: dict[str, Any],
        events: Sequence[Event],
        channels: Sequence[str],
        records: Sequence[history.Record],
        *,
        release: bool = False,
    ) -> None:
        """One atomic write: the state, what is owed now, and the records of it.

        ``release``: give the lease back with it, where nothing is due. Raises ResourceLimit when it is too much.
        """
        view, now = self.view, self._clock()
        if len(state["instances"]) > 100 and _size(state) > _ITEM_SIZE:
            raise ResourceLimit(
                f"The state of alert {view.name!r} would be larger than {_ITEM_SIZE:,} bytes with "
                f"{len(state['instances'])} instances. Return fewer rows, or shorter key columns.",
                alert=view.name,
            )
        told = [e for e in events if e["tell"]] if channels else []
        chunks = self._chunks(told, channels, now)
        room = _MAX_CHANGES - 3 - len(records) - len(chunks)
        if room < 0:
            raise ResourceLimit(
                f"Alert {view.name!r} has {len(told)} messages to tell at once, more than can be stored. "
                "Return fewer rows, or shorten its description and labels.",
                alert=view.name,
            )
        changed = self._end_episodes([e for e in events if e["kind"] in CLOSING], room)
        changes: list[Change] = [Put("item", state, expect=ABSENT if view.item is None else view.item.version)]
        changes += [Put(key, body, expect=ABSENT) for key, body in chunks.items()]
        changes += [Put(key, view.chunks[key].body, expect=view.chunks[key].version) for key in changed]
        changes += [self.record(record, quiet=not events and "error" not in state) for record in records]
        changes += self._lost(dead.after(view.dead(now), events), now)
        self._write_seen(changes, hold=None if release and not told else 0.0)

    def settle(
        self,
        done: Sequence[Owed],
        records: Sequence[history.Record],
        *,
        lost: Sequence[dead.Entry] = (),
        hold: float | None = 0.0,
    ) -> None:
        """Write what changed of these messages' progress; those without progress are owed no more.

        ``lost``: those of them that were given up, kept where a person looks.
        """
        view = self.view
        for m in done:
            if not m.progress:
                m.event["to"].pop(m.channel, None)
        changes: list[Change] = []
        for key in dict.fromkeys(m.chunk for m in done):
            body = {"events": [e for e in view.chunks[key].body["events"] if e["to"]]}
            version = view.chunks[key].version
            changes.append(Put(key, body, expect=version) if body["events"] else Delete(key, expect=version))
        now = self._clock()
        changes += [self.record(r) for r in records]
        changes += self._lost(dead.added(view.dead(now), lost), now)
        self._write_seen(changes, hold=hold)

    def see_mute(self) -> None:
        """Look at the silence again: a person may set one at any time, without the lease."""
        self.view.saw("mute", self._store.get(partition(self.view.name), "mute"))

    def release(self) -> None:
        """Give the alert back; no write where it is not held."""
        if self.held:
            self.write([], hold=None)

    def record(self, record: history.Record, *, quiet: bool = False) -> Put:
        self._records += 1
        return history.entry(self._clock(), self.fence, self._records, record, quiet=quiet)

    def _write_seen(self, changes: Sequence[Change], *, hold: float | None) -> None:
        """Write, and note in the view what is there now."""
        where = partition(self.view.name)
        for change, version in zip(changes, self.write(changes, hold=hold), strict=True):
            item = Item(where, change.key, version, change.body) if isinstance(change, Put) else None
            self.view.saw(change.key, item)

    def _lost(self, entries: Sequence[dead.Entry], now: datetime) -> list[Change]:
        """What it takes to keep these entries, and no others."""
        old = self.view.lost
        if list(entries) == (old.body["dead"] if old else []):
            return []
        if not entries:
            return [Delete("lost", expect=old.version if old else None)]
        until = now.timestamp() + dead.DAYS * 86_400
        return [Put("lost", {"dead": list(entries)}, expect=old.version if old else ABSENT, expires_at=until)]

    def _chunks(self, told: Sequence[Event], channels: Sequence[str], now: datetime) -> dict[str, dict[str, Any]]:
        chunks: list[list[Event]] = []
        size = _CHUNK_SIZE
        for e in told:
            to = {c: {"status": "owed", "attempts": 0, "at": now.timestamp()} for c in channels}
            length = _size(e) + 200 * len(channels)
            if size + length > _CHUNK_SIZE or len(chunks[-1]) >= _CHUNK_EVENTS:
                chunks.append([])
                size = 0
            size += length
            chunks[-1].append({**e, "to": to})
        return {f"owed/{self.fence:012d}/{i:03d}": {"events": events} for i, events in enumerate(chunks)}

    def _end_episodes(self, closing: Sequence[Event], room: int) -> list[str]:
        """Note in what is held of an episode when it ended; return the chunks that changed, at most ``room``.

        One that is not noted is told after the silence although it began and ended inside: too much, never too little.
        """
        ended = {(e["instance"], e["since"]): e["slot"] for e in closing}
        changed: list[str] = []
        for key, chunk in self.view.chunks.items():
            held = [e for e in chunk.body["events"] if any(p.get("held") for p in e["to"].values())]
            over = [e for e in held if (e["instance"], e["since"]) in ended and "over" not in e]
            if over and len(changed) < room:
                changed.append(key)
                for e in over:
                    e["over"] = ended[e["instance"], e["since"]]
        return changed


def _known(item: Item) -> Known:
    return Known(parse(item.body["since"]), item.body.get("plan"), item.version)


def _size(body: Mapping[str, Any]) -> int:
    """Bytes of UTF-8 that the body takes in a store."""
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
