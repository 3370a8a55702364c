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

    def send(self, body: Mapping[str, Any]) -> None:
        now = self._clock()
        self._store().write(WAITING, [Put(_key(now), {"body": dict(body), "receives": 0})])

    def take(self, work: Callable[[Any], object]) -> int:
        """Give every message that is due to ``work``, and forget it when that returns. Returns how many were given.

        One that raised comes again after a while; after ten times it is among the dead. One whose job another worker
        holds comes again as well, and that does not count: a long job is none that failed.
        """
        given = 0
        for item in self._store().query(WAITING, last=_key(self._clock(), end=True), limit=_BATCH):
            given += 1
            try:
                work(item.body.get("body"))
            except Exception as error:  # noqa: BLE001 (whatever it was, the message must not be lost)
                self._again(item, error)
            else:
                self._store().write(WAITING, [Delete(item.key)])
        return given

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
    """A thread that takes from the queue until it is stopped; what it does not finish is there for the next."""

    def __init__(self, queue: LocalQueue, work: Callable[[Any], object], idle_s: float = 0.5) -> None:
        self._queue, self._work, self._idle_s = queue, work, idle_s
        self._failures = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="omni-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        self._stop.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                given = self._queue.take(self._work)
                self._failures = 0
            except Error as error:
                _log.error("the queue cannot be read: %s: %s", error.code, error.message)
                given = self._failed()
            except Exception:  # noqa: BLE001 (this thread is the only worker: it has to go on)
                _log.exception("the worker met a defect")
                given = self._failed()
            if not given:
                # Twice as long after each failure: a store that is out of reach for a night does not fill the log.
                self._stop.wait(min(self._idle_s * 2.0 ** min(self._failures, 20), LONGEST_IDLE_S))

    def _failed(self) -> int:
        self._failures += 1
        return 0
