"""The loop of ``omni serve``: fires each alert at its slots, and sweeps at the start and every minute.

What was handled is in the store, not here: a slot that passed while this was down is found by the sweep, which runs
the latest and records the others as missed.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from core.alert import schedule
from core.alert.dead import put_off, sentence
from core.alert.deliver import log_defect
from core.alert.missed import GRACE
from core.errors import Error, StateConflict
from core.model import Rule

_LONGEST_WAIT_S = 20.0  # so that a clock that was set, or a machine that slept, is noticed
_log = logging.getLogger("omni.scheduler")


class Plan:
    """Which slots are due. Knows no clock and waits for nothing."""

    def __init__(self, rules: Iterable[Rule], now: datetime) -> None:
        self._rules = {r.name: r for r in rules if r.enabled and r.schedule}
        self._next = {name: self._after(name, now) for name in self._rules}

    def due(self, now: datetime) -> list[tuple[str, datetime]]:
        """Take the slots that have come, oldest first, one per alert; those later than GRACE are left to the sweep."""
        out: list[tuple[str, datetime]] = []
        for name, slot in self._next.items():
            if slot > now:
                continue
            rule = self._rules[name]
            latest = schedule.previous_at_or_before(str(rule.schedule), rule.timezone, now) or slot
            if latest == slot and now - slot <= GRACE:
                out.append((name, slot))
            self._next[name] = self._after(name, now)
        return sorted(out, key=lambda found: found[1])

    def wake(self) -> datetime | None:
        """When the next slot comes; None where no alert has a schedule."""
        return min(self._next.values(), default=None)

    def _after(self, name: str, now: datetime) -> datetime:
        rule = self._rules[name]
        return schedule.next_after(str(rule.schedule), rule.timezone, now)


class App(Protocol):
    """The part of ``core.app.App`` that is called here."""

    def watch(
        self, name: str, slot: datetime | None, *, dry_run: bool = False, wait_s: float = 0.0
    ) -> dict[str, Any]: ...

    def sweep(self) -> dict[str, Any]: ...


class Scheduler:
    """``start()`` returns at once; ``stop()`` ends it. Runs go on in ``workers`` daemon threads.

    A run cut off by the end of the process is safe: what it owes is on record, and its lease is seen to be dead.
    """

    def __init__(
        self,
        app: App,
        rules: Iterable[Rule],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        workers: int = 4,
        sweep_every_s: float = 60.0,
    ) -> None:
        self._app = app
        self._rules = list(rules)
        self._clock = clock
        self._sweep_every = timedelta(seconds=sweep_every_s)
        self._workers = workers
        self._jobs: queue.SimpleQueue[tuple[str, datetime | None]] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._busy: dict[str, datetime | None] = {}  # job -> the slot that waits for it to end, if any
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Sweep, then fire what comes due."""
        loops: list[Callable[[], None]] = [self._loop, *[self._work] * self._workers]
        for i, loop in enumerate(loops):
            thread = threading.Thread(target=loop, name=f"omni-scheduler-{i}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, wait_s: float = 2.0) -> bool:
        """Begin nothing more; wait up to ``wait_s`` for what is running. True where all of it has ended."""
        self._stopped.set()
        for _ in self._threads:
            self._jobs.put((_END, None))
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, wait_s)

    def _loop(self) -> None:
        plan = Plan(self._rules, self._clock())
        next_sweep = self._clock()
        while not self._stopped.is_set():
            now = self._clock()
            for name, slot in plan.due(now):
                self._submit(name, slot)
            # A clock that was set back must not stop the sweeps for as long.
            if now >= next_sweep or next_sweep - now > self._sweep_every:
                self._submit(_SWEEP, None)
                next_sweep = now + self._sweep_every
            wake = min(next_sweep, plan.wake() or next_sweep)
            self._stopped.wait(min(max((wake - self._clock()).total_seconds(), 0.0), _LONGEST_WAIT_S))

    def _submit(self, name: str, slot: datetime | None) -> None:
        """Queue a job; while the same one runs, only its latest slot is kept."""
        with self._changed:
            if name in self._busy:
                self._busy[name] = slot
                return
            self._busy[name] = None
        self._jobs.put((name, slot))

    def _work(self) -> None:
        while True:
            name, slot = self._jobs.get()
            if name == _END:
                return
            try:
                if not self._stopped.is_set():
                    self._do(name, slot)
            finally:
                self._ended(name)

    def _ended(self, name: str) -> None:
        with self._changed:
            waiting = self._busy.pop(name, None)
            self._changed.notify_all()
        if waiting is not None and not self._stopped.is_set():
            self._submit(name, waiting)

    def _do(self, name: str, slot: datetime | None) -> None:
        try:
            if name == _SWEEP:
                done = self._app.sweep()
                for error in done["errors"]:
                    _log.warning("sweep: alert %s: %s %s", error["alert"], error["code"], error["message"])
            else:
                done = self._app.watch(name, slot)
            for entry in done.get("given_up", ()):
                _log.error("%s", sentence(entry))
            for entry in done.get("put_off", ()):
                _log.warning("%s", put_off(entry))
        except StateConflict:
            _log.info("%s: run elsewhere; the sweep sees to it", _said(name))
        except Error as error:
            _log.error("%s: %s %s", _said(name), error.code, error.message)
        except Exception as error:  # noqa: BLE001 the loop outlives a defect in one run; it is logged
            log_defect(f"running {_said(name)}", error)


def _said(name: str) -> str:
    return "the sweep" if name == _SWEEP else f"alert {name}"


# Not names that an alert can have.
_SWEEP = "\0sweep"
_END = "\0end"
