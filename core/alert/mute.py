"""Silences: judged when a message is about to be delivered, never in the state. Pure.

While a silence lasts, messages are held. When it is over, an episode that is still on is told then; one that began
and ended inside the silence is dropped with a record in the history; repeats that were held are superseded, as is one
that a later one follows. What may already have reached its receiver is never dropped.

A silence (JSON-ready): {"from", "until" (seconds since the epoch), "because", "by"}. It stays after its end, so that
what was held can still be judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.alert.event import OF_RULE, OPENING, is_repeat
from core.alert.slot import parse

Silence = Mapping[str, Any]


@dataclass(slots=True)
class Owed:
    """One message that is owed: an event (of a chunk of the outbox), a channel, and how far it got.

    ``progress`` is {"status": "owed" | "sending", "attempts", "at" (not before, seconds since the epoch), "held"?}.
    """

    chunk: str
    event: dict[str, Any]
    channel: str
    progress: dict[str, Any]

    @property
    def stream(self) -> tuple[str, str, bool]:
        """Where order matters: within an episode of it a recovery never overtakes the alarm that it ends."""
        return self.channel, self.event["instance"], self.event["kind"] in OF_RULE

    @property
    def episode(self) -> tuple[str, str, bool, str]:
        return (*self.stream, self.event["since"])


def is_silenced(silence: Silence | None, now: datetime) -> bool:
    return silence is not None and now.timestamp() < silence["until"]


def dropped(owed: Iterable[Owed], silence: Silence | None, now: datetime) -> list[tuple[Owed, str]]:
    """Messages that will never be sent, with the reason: ``silenced`` or ``superseded``."""
    if is_silenced(silence, now):
        return []
    owed = list(owed)
    held = [m for m in owed if m.progress.get("held")] if silence is not None else []
    unseen = {m.episode for m in held if silence is not None and _began_and_ended_inside(m, silence)}
    gone = {id(m): "superseded" for m in _outdated(owed)}
    for m in held:
        if m.episode in unseen:
            gone[id(m)] = "silenced"
        elif is_repeat(m.event) and not m.progress["attempts"]:
            gone[id(m)] = "superseded"
    return [(m, gone[id(m)]) for m in owed if id(m) in gone]


def _outdated(owed: Sequence[Owed]) -> list[Owed]:
    """Repeats that nobody was sent, and after which another of their episode is owed: it says the same, and later."""
    found: list[Owed] = []
    newer: set[tuple[str, str, bool, str]] = set()
    for m in reversed(owed):
        if is_repeat(m.event):
            if m.episode in newer and not m.progress["attempts"]:
                found.append(m)
            newer.add(m.episode)
    return found


def _began_and_ended_inside(m: Owed, silence: Silence) -> bool:
    over = m.event.get("over")
    return (
        m.event["kind"] in OPENING
        and not m.progress["attempts"]
        and over is not None
        and parse(over).timestamp() <= silence["until"]
    )
