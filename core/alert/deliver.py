"""Sends what an alert owes, message by message: mark sending, send, mark what came of it. Waits live in the outbox.

Each mark is written before or after the send it is about, so a run that dies leaves a message that is owed, or one
marked ``sending``, which is sent again under the same id. Counted before sending, attempts end even for a message
that kills its sender.

Order holds within an episode. A newer episode waits for an older one's message on its channel until that has failed
``_OVERTAKEN_AFTER`` times, and then goes only once the older one was tried again just before: after an outage all are
told in order, and a message that is refused for ever holds up nobody.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from core.alert import dead, history
from core.alert.event import message_id
from core.alert.mute import Owed, dropped, is_silenced
from core.alert.outbox import Claim, View
from core.alert.slot import iso
from core.deadline import Deadline
from core.errors import CallerError, Error, Internal
from core.model import DeliveryPolicy

MAX_RETRY_AFTER_S = 3600.0
_OVERTAKEN_AFTER = 3
_SLOW = 0.25  # of the time for one message: a failure that took as long is that of a channel that hangs
_AVOIDED_S = 60.0
_BATCH = 45
_T = TypeVar("_T")
_log = logging.getLogger("omni.alert")

Send = Callable[[dict[str, Any], str, Deadline], object]
"""Hands one message (an event with ``id`` and ``channel``) to a channel, or raises an Error. A ``detail`` of what it
returns goes into the history.

Given up at once: errors that are not retryable and not the caller's (a bad setting may be mended meanwhile).
"""


@dataclass(slots=True)
class Delivered:
    """What a drain did, and how many messages are still owed. ``dead``: those given up, ``failed``: those that failed
    now and are still owed; both oldest first."""

    delivered: int = 0
    failed: list[dead.Entry] = field(default_factory=list)
    dead: list[dead.Entry] = field(default_factory=list)
    owed: int = 0

    def facts(self) -> dict[str, Any]:
        """As reports show it: ``given_up`` and ``put_off`` say of each such message what became of it, where there are
        any."""
        shown: dict[str, Any] = {"delivered": self.delivered, "owed": self.owed, "dead": len(self.dead)}
        told = {"given_up": self.dead, "put_off": self.failed}
        return {**shown, **{name: entries for name, entries in told.items() if entries}}


@dataclass(slots=True)
class Round:
    """What the drains of one sweep share: how long something may be begun, and the channels that hung in it.

    What is owed to a channel that hung is left to the next round, and that counts as no attempt. A run by itself leaves
    it to a sweep where the channel has hung in this process within the last minute.
    """

    left: Callable[[], float]
    hung: set[str] = field(default_factory=set)


class Delivery:
    """``send_s``: time for one message. ``run_s``: after that, a run leaves the rest to the next sweep."""

    def __init__(
        self, send: Send, clock: Callable[[], datetime], policy: DeliveryPolicy, send_s: float, run_s: float
    ) -> None:
        self._send = send
        self._clock = clock
        self._policy = policy
        self._send_s = send_s
        self._run_s = run_s
        self._hung: dict[str, float] = {}

    def round(self, seconds: float) -> Round:
        """Of a run by itself that has so much time: the last message that it begins may end within it."""
        return Round(Deadline(max(0.0, seconds - self._send_s)).left, self._lately_hung())

    def is_due(self, view: View, within: Round | None = None) -> bool:
        """Whether a drain would do anything now."""
        return self.urgency(view, within) is not None

    def urgency(self, view: View, within: Round | None = None) -> tuple[bool, float] | None:
        """Which of several alerts to drain first, the smallest; None where nothing is due: what was not tried yet
        before what has failed, then what has waited longest."""
        now, owed = self._clock(), view.owed()
        if is_silenced(view.silence, now):
            return None if all(m.progress.get("held") for m in owed) else (False, 0.0)
        if dropped(owed, view.silence, now):
            return False, 0.0
        ready = self._ready(owed, now, (), within.hung if within else ())
        return min(((m.progress["attempts"] > 0, m.progress["at"]) for m in ready), default=None)

    def drain(self, claim: Claim, within: Round | None = None) -> Delivered:
        """Send everything that is due and give the claim back."""
        done = Delivered()
        budget = Deadline(self._run_s)
        within = within or Round(budget.left, self._lately_hung())
        tried: set[tuple[str, str]] = set()
        while claim.held and claim.view.owed():
            claim.see_mute()
            if is_silenced(claim.view.silence, self._clock()):
                self._hold(claim)
                break
            self._drop(claim)
            if not min(budget.left(), within.left()) > 0:
                break
            ready = self._ready(claim.view.owed(), self._clock(), tried, within.hung)
            if not ready:
                break
            tried.add(_identity(ready[0]))
            self._deliver(claim, ready[0], done, within, last=len(ready) == 1)
        claim.release()
        done.owed = len(claim.view.owed())
        return done

    def _ready(
        self, owed: Iterable[Owed], now: datetime, tried: Collection[tuple[str, str]], hung: Collection[str]
    ) -> list[Owed]:
        """Those that may be sent now, one a stream at most."""
        heads: dict[tuple[str, str, bool], dict[str, Owed]] = {}
        for m in owed:
            if m.channel not in hung:
                heads.setdefault(m.stream, {}).setdefault(m.event["since"], m)  # the first of each episode, by age
        found = (self._next(list(episodes.values()), now, tried) for episodes in heads.values())
        return [m for m in found if m is not None]

    def _next(self, heads: Sequence[Owed], now: datetime, tried: Collection[tuple[str, str]]) -> Owed | None:
        """Of the first messages of a stream's episodes, oldest first, the one that may be sent now."""
        for m in heads:
            if self._due(m, now) and _identity(m) not in tried:
                if m is heads[0] or _identity(heads[0]) in tried:
                    return m
                # What has failed is tried once more just before it is overtaken, unless its receiver said when.
                return None if heads[0].progress.get("asked") else heads[0]
            if m.progress["attempts"] < _OVERTAKEN_AFTER:
                return None
        return None

    def _due(self, m: Owed, now: datetime) -> bool:
        wait: float = m.progress["at"] - now.timestamp()
        # No wait is as long: the clock was set back.
        if m.progress["status"] == "sending":
            return True
        return wait <= 0 or wait > max(MAX_RETRY_AFTER_S, self._policy.max_retry)

    def _hold(self, claim: Claim) -> None:
        for part in _batched([m for m in claim.view.owed() if not m.progress.get("held")]):
            for m in part:
                m.progress["held"] = True
            claim.settle(part, [])

    def _drop(self, claim: Claim) -> None:
        for gone in _batched(dropped(claim.view.owed(), claim.view.silence, self._clock())):
            records = [_record(m, reason, self._clock()) for m, reason in gone]
            for m, _ in gone:
                m.progress.clear()
            claim.settle([m for m, _ in gone], records)

    def _deliver(self, claim: Claim, m: Owed, done: Delivered, within: Round, *, last: bool) -> None:
        begun = self._clock()
        early = not self._due(m, begun)
        m.progress["status"] = "sending"
        m.progress["attempts"] += not early
        claim.settle([m], [], hold=self._send_s)
        error, detail = self._attempt(m)
        now = self._clock()
        if error is not None and (now - begun).total_seconds() >= self._send_s * _SLOW:
            within.hung.add(m.channel)
            self._hung[m.channel] = now.timestamp()
        record: list[history.Record] = []
        lost: list[dead.Entry] = []
        if error is None:
            record = [{**_record(m, "sent", now), "detail": detail}]
            m.progress.clear()
            done.delivered += 1
        elif self._given_up(m, error):
            record = [_record(m, "dead", now, error)]
            lost = [dead.entry(m, _brief(error), now)]
            m.progress.clear()
            done.dead += lost
        else:
            self._put_off(m, error, now, early=early)
            done.failed.append(dead.entry(m, _brief(error), now))
        # A message that left its stream, or failed in it, may let the next one go: only then is there more to do.
        more = not last or any(o.stream == m.stream and o.progress and o is not m for o in claim.view.owed())
        claim.settle([m], record, lost=lost, hold=0.0 if more else None)

    def _lately_hung(self) -> set[str]:
        now = self._clock().timestamp()
        return {channel for channel, at in tuple(self._hung.items()) if 0 <= now - at < _AVOIDED_S}

    def _put_off(self, m: Owed, error: Error, now: datetime, *, early: bool) -> None:
        """An attempt before its time leaves that time as it is, unless the receiver now asks for a longer wait."""
        asked = 0.0 if error.retry_after_ms is None else min(error.retry_after_ms / 1000, MAX_RETRY_AFTER_S)
        policy = self._policy
        backoff: float = min(policy.first_retry * 2.0 ** min(m.progress["attempts"] - 1, 40), policy.max_retry)
        at = now.timestamp() + max(asked, 0.0 if early else backoff)
        m.progress.update(status="owed", at=max(at, m.progress["at"]) if early else at, error=_brief(error))
        m.progress.pop("asked", None)
        if asked > 0:
            m.progress["asked"] = True

    def _attempt(self, m: Owed) -> tuple[Error | None, str]:
        """What went wrong, and what the channel said."""
        message = {k: v for k, v in m.event.items() if k not in ("to", "tell", "over")}
        message.update(id=message_id(m.event, m.channel), channel=m.channel)
        try:
            result = self._send(message, m.channel, Deadline(self._send_s))
        except Error as error:
            return error, ""
        except Exception as error:  # noqa: BLE001 a defect in a channel must not keep the others from being told
            log_defect(f"sending {message['id']}", error)
            return Internal(f"Sending failed with an unexpected {type(error).__name__}; the log says where."), ""
        return None, str(getattr(result, "detail", ""))[:500]

    def _given_up(self, m: Owed, error: Error) -> bool:
        permanent = not error.retryable and not isinstance(error, CallerError | Internal)
        return permanent or m.progress["attempts"] >= self._policy.attempts


def _batched(messages: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """As many at a time as one write has room for: each may change an item of its own, and add a record."""
    for start in range(0, len(messages), _BATCH):
        yield messages[start : start + _BATCH]


def _identity(m: Owed) -> tuple[str, str]:
    return str(m.event["id"]), m.channel


def _record(m: Owed, status: str, now: datetime, error: Error | None = None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "delivery",
        "at": iso(now),
        "id": message_id(m.event, m.channel),
        "channel": m.channel,
        "about": m.event["kind"],
        "slot": m.event["slot"],
        "status": status,
        "attempts": m.progress["attempts"],
    }
    if error is not None:
        record["error"] = _brief(error)
    if status == "dead":
        record["event"] = {k: v for k, v in m.event.items() if k != "to"}
    return record


def _brief(error: Error) -> Mapping[str, str]:
    return {"code": error.code, "message": error.message[:500]}


def log_defect(doing: str, error: BaseException) -> None:
    """Log where an unexpected exception came from, without its text, which may quote rows or secrets."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    where = " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))
    _log.error("unexpected %s while %s: %s", type(error).__name__, doing, where)
