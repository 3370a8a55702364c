"""The sweep: find the slots that nobody ran, deliver what is due for every alert ever known, free dead leases.

It ends in time: a function that is cut off would begin with the same alerts the next time and never reach the others.
Missed slots have a thread of their own, one after another, for each may take the engine's memory; some threads deliver,
first what was not tried yet, then what has waited longest. A channel that hangs is tried by those who are at it at the
moment, and not again in this sweep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import random
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from core.alert import missed, schedule, state
from core.alert.deliver import Delivered, Round, log_defect
from core.alert.missed import GRACE
from core.alert.outbox import Outbox, View
from core.alert.slot import iso
from core.deadline import Deadline
from core.errors import Error, Internal, StateConflict
from core.model import Rule

if TYPE_CHECKING:
    from core.alert.run import Watcher

CATCH_UP = timedelta(days=1)
"""The latest missed slot is still run within this time; older ones are only recorded."""

_THREADS = 8


def sweep(watcher: Watcher, rules: Sequence[Rule], now: datetime, seconds: float) -> dict[str, Any]:
    """Begin things for ``seconds``. Return {"drained", "delivered", "owed", "dead", "missed": [names], "ran": [names],
    "errors": [{alert, code, message}], "given_up"?, "put_off"?: [entries of ``core.alert.dead``], "later"?}.

    ``drained``: alerts with something due. ``later``: alerts for which there was no time, where there are any; the next
    sweep begins with them. One alert's error never keeps the others from their turn.
    """
    return _Sweep(watcher, rules, now, seconds).done()


@dataclass(frozen=True, slots=True)
class _Turn:
    """One alert that there is something to do for. ``due``: the slot to catch up with, if any."""

    view: View
    rule: Rule | None
    since: datetime
    due: datetime | None


class _Sweep:
    def __init__(self, watcher: Watcher, rules: Sequence[Rule], now: datetime, seconds: float) -> None:
        self._seconds = seconds
        self._watcher = watcher
        self._rules = rules
        self._now = now
        self._within = Round(Deadline(seconds, watcher.monotonic).left)
        self._lock = Lock()
        self._out: dict[str, Any] = {
            "drained": 0, "delivered": 0, "owed": 0, "dead": 0, "missed": [], "ran": [], "errors": []
        }  # fmt: skip

    def done(self) -> dict[str, Any]:
        known = self._watcher.register(self._rules)
        by_name = {rule.name: rule for rule in self._rules}
        seen = _read(self._watcher.outbox, sorted(known))
        late: list[tuple[datetime, float, _Turn]] = []
        owing: list[tuple[tuple[bool, float], float, _Turn]] = []
        for name in sorted(known):
            with self._guarded(name):
                turn, urgency = self._looked_at(seen[name], by_name.get(name), known[name].since)
                if turn.due is not None:
                    late.append((turn.due, random(), turn))
                elif urgency is not None:
                    owing.append((urgency, random(), turn))
                else:
                    self._out["owed"] += len(turn.view.owed())
        self._take_turns(deque(turn for *_, turn in sorted(late)), deque(turn for *_, turn in sorted(owing)))
        for told in ("missed", "ran"):
            self._out[told].sort()
        self._out["errors"].sort(key=lambda error: str(error["alert"]))
        return self._out

    def _looked_at(
        self, seen: View | Exception, rule: Rule | None, since: datetime
    ) -> tuple[_Turn, tuple[bool, float] | None]:
        if isinstance(seen, Exception):
            raise seen
        outbox = self._watcher.outbox
        due = None
        if rule is not None and rule.enabled and rule.schedule and not outbox.holder(seen):
            due = schedule.previous_at_or_before(rule.schedule, rule.timezone, self._now - GRACE)
            if missed.is_ahead(seen.state, self._now):  # what was judged is unknown: only the latest, for a fresh start
                done = max(since, self._now - CATCH_UP)
            else:
                done = max(since, missed.accounted(seen.state) or since)
            if due is not None and due <= done:
                due = None
        urgency = self._watcher.delivery.urgency(seen)
        if urgency is None and _is_left_behind(outbox, seen):
            urgency = (False, 0.0)
        return _Turn(seen, rule, since, due), urgency

    def _take_turns(self, late: deque[_Turn], owing: deque[_Turn]) -> None:
        """All of them, as long as there is time. One alert alone needs no threads."""
        many = min(_THREADS, len(owing) + (1 if late else 0)) - 1
        others = [Thread(target=self._take, args=(owing,), daemon=True) for _ in range(many)]
        for thread in others:
            thread.start()
        self._take(late)
        self._take(owing)
        for thread in others:
            thread.join()

    def _take(self, turns: deque[_Turn]) -> None:
        while True:
            try:
                turn = turns.popleft()
            except IndexError:
                return
            if self._has_time(turn):
                with self._guarded(turn.view.name):
                    self._do(turn)
                continue
            with self._lock:
                self._out["later"] = self._out.get("later", 0) + 1
                self._out["owed"] += len(turn.view.owed())

    def _has_time(self, turn: _Turn) -> bool:
        """A slot is caught up with where its query may still end, and in the first half of the time in any case."""
        left = self._within.left()
        if turn.due is None or turn.rule is None:
            return left > 0
        return left > min(turn.rule.timeout_s, self._seconds / 2)

    def _do(self, turn: _Turn) -> None:
        watcher, view, name = self._watcher, turn.view, turn.view.name
        if turn.due is not None and turn.rule is not None:
            self._catch_up(turn.rule, turn.since, view, turn.due)
            view = watcher.outbox.read(name)
        if watcher.delivery.is_due(view, self._within):
            with self._lock:
                self._out["drained"] += 1
            self._count(watcher.drain(name, self._within))
            view = watcher.outbox.read(name)
        elif _is_left_behind(watcher.outbox, view):
            watcher.outbox.claim(view, 0.0).release()
        with self._lock:
            self._out["owed"] += len(view.owed())

    def _catch_up(self, rule: Rule, since: datetime, view: View, due: datetime) -> None:
        """Run the latest slot that nobody ran, if it is recent: that run tells of the ones before it. Else all of them
        are recorded and told as missed."""
        if self._now - due <= CATCH_UP:
            done = self._watcher.run(rule, due, within=self._within)
            self._count(done)
            self._note("ran", rule)
            if any(event["kind"] == "missed" for event in done["events"]):
                self._note("missed", rule)
        else:
            skipped = missed.before(due, rule, view.state, since)[: missed.MOST - 1]
            self._count(self._record_missed(rule, view, [*skipped, due]).facts())
            self._note("missed", rule)

    def _record_missed(self, rule: Rule, view: View, skipped: Sequence[datetime]) -> Delivered:
        watcher = self._watcher
        item, event = state.missed(view.state, skipped, rule, capped=len(skipped) >= missed.MOST)
        record = {"kind": "missed", "at": iso(watcher.clock()), **event["missed"]}
        with watcher.holding(watcher.outbox.claim(view, 0.0)) as claim:
            claim.commit(item, [event], rule.channels, [record])
            return watcher.delivery.drain(claim, self._within)

    def _note(self, what: str, rule: Rule) -> None:
        with self._lock:
            self._out[what].append(rule.name)

    def _count(self, done: Mapping[str, Any]) -> None:
        with self._lock:
            out = self._out
            out["delivered"] += done["delivered"]
            out["dead"] += done["dead"]
            for told in ("given_up", "put_off"):
                if done.get(told):
                    out[told] = [*out.get(told, ()), *done[told]]

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except StateConflict:
            pass  # a run holds it and does what is due itself
        except Error as error:
            self._failed(name, error.code, error.message)
        except Exception as error:  # noqa: BLE001 one alert's defect must not stop the sweep of the others
            log_defect(f"sweeping alert {name}", error)
            self._failed(name, Internal.code, f"Unexpected {type(error).__name__}; the log says where.")

    def _failed(self, name: str, code: str, message: str) -> None:
        with self._lock:
            self._out["errors"].append({"alert": name, "code": code, "message": message})


def _read(outbox: Outbox, names: Sequence[str]) -> dict[str, View | Exception]:
    """Every alert as it is, or why it cannot be read. Most have nothing to do, and a cloud's store answers each in
    milliseconds: some threads take that out of each minute. What is done about a view fails where it is out of date."""
    found: dict[str, View | Exception] = {}

    def some(part: Sequence[str]) -> None:
        for name in part:
            try:
                found[name] = outbox.read(name)
            except Exception as error:  # noqa: BLE001 raised again where this alert has its turn
                found[name] = error

    parts = [names[start::_THREADS] for start in range(_THREADS)] if len(names) > 2 * _THREADS else [names]
    others = [Thread(target=some, args=(part,), daemon=True) for part in parts[1:]]
    for thread in others:
        thread.start()
    some(parts[0])
    for thread in others:
        thread.join()
    return found


def _is_left_behind(outbox: Outbox, view: View) -> bool:
    """Whether a run that has ended still holds it."""
    return view.lease is not None and bool(view.lease.body["holder"]) and not outbox.holder(view)
