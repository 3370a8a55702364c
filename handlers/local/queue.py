"""The laptop's queue, kept in the store, and the worker of ``omni serve`` that takes from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import Error, StateConflict
from core.ports import Delete, Item, Put, Store
from core.request import new_id

WAITING = "queue/waiting"
DEAD = "queue/dead"
RECEIVES = 10
"""After so many deliveries that failed a message is put among the dead ones, where nothing takes it."""
RETRY_S = 5.0
DEAD_S = 30 * 86_400.0
"""How long a dead message is kept to be looked at."""
_BATCH = 50
LONGEST_IDLE_S = 60.0
_log = logging.getLogger("omni.worker")


class LocalQueue:
    """Messages in the order they came, in one partition of the store."""

    def __init__(self, store: Callable[[], Store], clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._in_hand: set[str] = set()
        self._lock = threading.Lock()

    def send(self, body: Mapping[str, Any]) -> None:
        now = self._clock()
        self._store().write(WAITING, [Put(_key(now), {"body": dict(body), "receives": 0})])

    def take(self, work: Callable[[Any], object], stopped: Callable[[], bool] = lambda: False) -> int:
        """Give every message that is due to ``work``, and forget it when that returns. Returns how many were given.

        Several threads may take at once: each message is given to one of them. ``stopped``: begin no other message.
        One that raised comes again after a while; after ten times it is among the dead. One whose job another worker
        took over comes again as well, and that does not count: a long job is none that failed.
        """
        given = 0
        for item in self._store().query(WAITING, last=_key(self._clock(), end=True), limit=_BATCH):
            if stopped():
                break
            if self._takes(item.key):
                given += 1
                try:
                    self._give(item, work)
                finally:
                    with self._lock:
                        self._in_hand.discard(item.key)
        return given

    def _takes(self, key: str) -> bool:
        """Whether no other thread has it. One that was done with since it was read is not there any more."""
        with self._lock:
            if key in self._in_hand or self._store().get(WAITING, key) is None:
                return False
            self._in_hand.add(key)
            return True

    def _give(self, item: Item, work: Callable[[Any], object]) -> None:
        try:
            work(item.body.get("body"))
        except Exception as error:  # noqa: BLE001 (whatever it was, the message must not be lost)
            self._again(item, error)
        else:
            self._store().write(WAITING, [Delete(item.key)])

    def _again(self, item: Item, error: Exception) -> None:
        if not isinstance(error, Error):
            _log.error("a message of the queue failed", exc_info=error)
        store, now = self._store(), self._clock()
        receives = int(item.body.get("receives", 0)) + (not isinstance(error, StateConflict))
        if receives >= RECEIVES:
            _log.error("a message was given up after %d deliveries: %s", receives, item.body.get("body"))
            store.write(DEAD, [Put(item.key, dict(item.body), expires_at=now + DEAD_S)])
            store.write(WAITING, [Delete(item.key)])
            return
        due = now + RETRY_S * max(receives, 1)
        try:
            # Under the time at which it is due, so that what waits stands behind what does not.
            store.write(WAITING, [Delete(item.key, item.version), Put(_key(due), {**item.body, "receives": receives})])
        except StateConflict:
            return  # another process on this store had it as well


def _key(at: float, *, end: bool = False) -> str:
    """Keys in the order in which messages are due. ``end``: behind all that are due by then."""
    return f"{int(at * 1e6):020d}-{'g' if end else new_id()}"


class Worker:
    """Threads that take from the queue until they are stopped; what they do not finish is there for the next.

    Several, so that one long question does not hold up everybody's.
    """

    def __init__(self, queue: LocalQueue, work: Callable[[Any], object], idle_s: float = 0.5, threads: int = 3) -> None:
        self._queue, self._work, self._idle_s = queue, work, idle_s
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"omni-worker-{n}", daemon=True) for n in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float = 5.0) -> bool:
        """Begin nothing more, and wait a while for what is under way. True where all of it has ended."""
        self._stop.set()
        until = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            given = 0
            try:
                given = self._queue.take(self._work, self._stop.is_set)
                failures = 0
            except Error as error:
                _log.error("the queue cannot be read: %s: %s", error.code, error.message)
                failures += 1
            except Exception:  # noqa: BLE001 (this thread has to go on)
                _log.exception("the worker met a defect")
                failures += 1
            if not given:
                # Twice as long after each failure: a store that is out of reach for a night does not fill the log.
                self._stop.wait(min(self._idle_s * 2.0 ** min(failures, 20), LONGEST_IDLE_S))
