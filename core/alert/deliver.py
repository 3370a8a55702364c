"""Sends what an alert owes, message by message: mark sending, send, mark what came of it. Waits live in the outbox.

Each mark is written before or after the send it is about, so a run that dies leaves a message that is owed, or one
marked ``sending``, which is sent again under the same id. Counted before sending, attempts end even for a message
that kills its sender.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    """What a drain did, and how many messages are still owed. ``dead``: those given up, oldest first."""

    delivered: int = 0
    dead: list[dead.Entry] = field(default_factory=list)
    owed: int = 0

    def facts(self) -> dict[str, Any]:
        """As reports show it: ``given_up`` says of each dead message what became of it, where there are any."""
        shown: dict[str, Any] = {"delivered": self.delivered, "owed": self.owed, "dead": len(self.dead)}
        return {**shown, "given_up": self.dead} if self.dead else shown


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

    def is_due(self, view: View) -> bool:
        """Whether a drain would do anything now."""
        now = self._clock()
        owed = view.owed()
        if not owed:
            return False
        if is_silenced(view.silence, now):
            return any(not m.progress.get("held") for m in owed)
        return bool(dropped(owed, view.silence, now)) or any(self._ready(owed, now))

    def drain(self, claim: Claim) -> Delivered:
        """Send everything that is due and give the claim back."""
        done = Delivered()
        budget = Deadline(self._run_s)
        self._hold_or_drop(claim)
        tried: set[tuple[str, str]] = set()
        while claim.held and not is_silenced(claim.view.silence, self._clock()) and budget.left() > 0:
            ready = [m for m in self._ready(claim.view.owed(), self._clock()) if _identity(m) not in tried]
            if not ready:
                break
            tried.add(_identity(ready[0]))
            self._deliver(claim, ready[0], done, last=len(ready) == 1)
        claim.release()
        done.owed = len(claim.view.owed())
        return done

    def _ready(self, owed: Iterable[Owed], now: datetime) -> list[Owed]:
        """Those that may be sent now: due, and not behind an earlier one of their stream."""
        ready: list[Owed] = []
        taken: set[tuple[str, str, bool]] = set()
        for m in owed:
            if m.stream in taken:
                continue
            taken.add(m.stream)
            if m.progress["status"] == "sending" or m.progress["at"] <= now.timestamp():
                ready.append(m)
        return ready

    def _hold_or_drop(self, claim: Claim) -> None:
        now, silence, owed = self._clock(), claim.view.silence, claim.view.owed()
        if is_silenced(silence, now):
            fresh = [m for m in owed if not m.progress.get("held")]
            for part in _batched(fresh):
                for m in part:
                    m.progress["held"] = True
                claim.settle(part, [])
            return
        for gone in _batched(dropped(owed, silence, now)):
            records = [_record(m, reason, self._clock()) for m, reason in gone]
            for m, _ in gone:
                m.progress.clear()
            claim.settle([m for m, _ in gone], records)

    def _deliver(self, claim: Claim, m: Owed, done: Delivered, *, last: bool) -> None:
        m.progress["status"] = "sending"
        m.progress["attempts"] += 1
        claim.settle([m], [], hold=self._send_s)
        error, detail = self._attempt(m)
        now = self._clock()
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
            m.progress.update(status="owed", at=now.timestamp() + self._wait(m, error), error=_brief(error))
        # A message that left its stream may let the next one of it go: only then is there more to do.
        more = not last or (not m.progress and any(o.stream == m.stream and o.progress for o in claim.view.owed()))
        claim.settle([m], record, lost=lost, hold=0.0 if more else None)

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

    def _wait(self, m: Owed, error: Error) -> float:
        policy = self._policy
        backoff: float = min(policy.first_retry * 2.0 ** min(m.progress["attempts"] - 1, 40), policy.max_retry)
        asked = 0.0 if error.retry_after_ms is None else error.retry_after_ms / 1000
        return max(backoff, min(asked, MAX_RETRY_AFTER_S))


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
