"""The laptop's queue: nothing is lost, nothing waits behind what is not due, and the worker goes on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from core.errors import SourceError, StateConflict
from core.ports import Put
from handlers.local.queue import DEAD, RECEIVES, WAITING, LocalQueue, Worker
from handlers.local.store import LocalStore


class Place:
    def __init__(self, folder: Path) -> None:
        self.now = 1_000_000.0
        self.store = LocalStore(folder / "state.db", clock=lambda: self.now)
        self.queue = LocalQueue(lambda: self.store, lambda: self.now)

    def take(self, error: Exception | None = None) -> list[Any]:
        seen: list[Any] = []

        def work(body: Any) -> None:
            seen.append(body)
            if error is not None:
                raise error

        self.queue.take(work)
        return seen


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_one_that_failed_comes_again_and_later_each_time_until_it_is_dead(place: Place) -> None:
    place.queue.send({"job": "a"})
    waits = []
    for _ in range(RECEIVES):
        started = place.now
        while not place.take(SourceError("away")):
            place.now += 1
        waits.append(place.now - started)
    assert waits == sorted(waits) and waits[0] == 0
    place.now += 3_600
    assert place.take() == []
    (dead,) = place.store.query(DEAD)
    assert dead.body["body"] == {"job": "a"} and dead.expires_at is not None


def test_a_job_that_another_holds_is_none_that_failed(place: Place) -> None:
    place.queue.send({"job": "a"})
    for _ in range(RECEIVES * 3):
        assert place.take(StateConflict("held")) == [{"job": "a"}]
        place.now += 60
    assert place.take() == [{"job": "a"}]


def test_what_waits_blocks_nobody(place: Place) -> None:
    for n in range(120):
        place.queue.send({"job": n})
    for _ in range(3):
        place.take(StateConflict("held"))
    place.queue.send({"job": "new"})
    assert place.take() == [{"job": "new"}]


def test_what_is_no_message_of_ours_does_not_end_the_worker(place: Place) -> None:
    place.store.write(WAITING, [Put("0", {"x": 1})])
    done: list[Any] = []

    def work(body: Any) -> None:
        if body is None:
            raise ValueError("no message")
        done.append(body)

    worker = Worker(place.queue, work, idle_s=0.01)
    worker.start()
    place.queue.send({"job": "a"})
    until = time.monotonic() + 10
    while not done and time.monotonic() < until:
        time.sleep(0.01)
    worker.stop()
    assert done == [{"job": "a"}]
    (left,) = place.store.query(WAITING)
    assert left.body["receives"] == 1


def test_a_store_that_is_out_of_reach_is_asked_less_and_less_often(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    naps: list[float] = []
    worker = Worker(place.queue, lambda _: None)
    answers: list[Exception | int] = [SourceError("away")] * 9 + [ValueError("a defect"), 0]

    def take(work: object, stopped: object) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if not answers:
            worker._stop.set()

    monkeypatch.setattr(place.queue, "take", take)
    monkeypatch.setattr(worker._stop, "wait", nap)
    worker._run()
    assert naps == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 0.5]
    assert len(caplog.records) == 10


def test_a_long_question_does_not_hold_up_the_others_and_each_is_given_once(place: Place) -> None:
    long, done = threading.Event(), []

    def work(body: Any) -> None:
        if body["job"] == "long":
            assert long.wait(20)
        done.append(body["job"])

    for name in ("long", *map(str, range(20))):
        place.queue.send({"job": name})
        place.now += 0.001
    worker = Worker(place.queue, work, idle_s=0.01)
    worker.start()
    until = time.monotonic() + 20
    while len(done) < 20 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(done, key=int) == [str(n) for n in range(20)]
    assert not worker.stop(0.1), "one goes on"
    long.set()
    assert worker.stop(20.0)
    assert done[20:] == ["long"] and not place.store.query(WAITING)


def test_who_is_stopped_begins_no_other_message(place: Place) -> None:
    for n in range(3):
        place.queue.send({"job": n})
    seen: list[Any] = []
    assert place.queue.take(seen.append, lambda: len(seen) >= 1) == 1
    assert len(place.store.query(WAITING)) == 2
