"""Messages that were given up: kept where a person looks, for nobody was told. Pure.

The item ``lost`` of an alert's partition: {"dead": [entry, ...]}, newest first. An entry (JSON-ready)::

    {"alert", "id", "channel", "kind", "instance", "attempts", "error": {"code", "message"}, "at"}

It stays until the next episode of its instance (or of the rule's health) begins, or for ``DAYS``. The history keeps the
whole message for longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from core.alert.event import OF_RULE, OPENING, Event, message_id
from core.alert.mute import Owed
from core.alert.slot import iso, parse

DAYS = 30
KEPT = 10

Entry = dict[str, Any]


def entry(m: Owed, error: Mapping[str, str], now: datetime) -> Entry:
    """What is kept of a message that is given up."""
    return {
        "alert": m.event["alert"],
        "id": message_id(m.event, m.channel),
        "channel": m.channel,
        "kind": m.event["kind"],
        "instance": m.event["instance"],
        "attempts": m.progress["attempts"],
        "error": dict(error),
        "at": iso(now),
    }


def kept(body: Mapping[str, Any] | None, now: datetime) -> list[Entry]:
    """The entries of the item ``lost`` that are still worth showing."""
    return [e for e in (body or {}).get("dead", ()) if now - parse(e["at"]) < timedelta(days=DAYS)]


def added(entries: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """The newest entries with ``new`` (oldest first) among them."""
    return [*reversed(new), *entries][:KEPT]


def after(entries: Sequence[Entry], events: Iterable[Event]) -> list[Entry]:
    """What remains when these events have begun new episodes."""
    begun = {_about(e) for e in events if e["kind"] in OPENING}
    return [e for e in entries if _about(e) not in begun]


def put_off(entry: Entry) -> str:
    """One line for a log or a terminal, of a message that failed and is tried again."""
    error = entry["error"]
    return (
        f"{entry['alert']}: the message {entry['kind']!r} to channel {entry['channel']!r} was not taken at attempt "
        f"{entry['attempts']} and is owed: {error['code']}: {error['message']}"
    )


def sentence(entry: Entry) -> str:
    """One line for a log or a terminal, of a message that was given up."""
    tries = "1 attempt" if entry["attempts"] == 1 else f"{entry['attempts']} attempts"
    error = entry["error"]
    return (
        f"{entry['alert']}: the message {entry['kind']!r} to channel {entry['channel']!r} is dead, given up after "
        f"{tries}: {error['code']}: {error['message']}"
    )


def _about(of: Mapping[str, Any]) -> tuple[str, bool]:
    return of["instance"], of["kind"] in OF_RULE
