"""The audit chain: appended by many at once, and every kind of tampering is found."""

from __future__ import annotations

import heapq
import json
import random
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from core.audit import Audit
from core.errors import Error, RateLimitExhausted, StateConflict
from core.ports import Change, Item
from handlers.local.store import LocalStore
from tests.core.alert.parts import START, MemoryStore

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def audit(path: Path) -> Audit:
    return Audit(LocalStore(path), lambda: datetime.now(UTC))


def filled(path: Path) -> Audit:
    log = audit(path)
    for number in range(5):
        log.append("default", {"event": "intent", "number": number})
    return log


def test_records_follow_one_another(path: Path) -> None:
    log = filled(path)
    assert [r["sequence"] for r in log.records()] == [1, 2, 3, 4, 5]
    assert log.verify() == []


def test_writers_on_one_machine_share_the_log(path: Path) -> None:
    logs = [audit(path) for _ in range(4)]

    def write(log: Audit) -> None:
        for _ in range(25):
            log.append("default", {"event": "x"})

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(logs[0].records())) == 100
    assert audit(path).verify() == []


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        ("UPDATE items SET body = replace(body, '\"number\":2', '\"number\":7') WHERE key LIKE '%3'", "record 4"),
        ("DELETE FROM items WHERE key LIKE '%0003'", "record 3 is missing"),
        ("DELETE FROM items WHERE key LIKE '%0005'", "cut"),
        ("DELETE FROM items WHERE key = '~head'", "head is missing"),
        (
            "UPDATE items SET body = (SELECT body FROM items i WHERE i.key LIKE '%0002') WHERE key LIKE '%0003'",
            "record 3 is missing",
        ),
        (
            "UPDATE items SET body = replace(body, '\"number\":4', '\"number\":9') WHERE key LIKE '%0005'",
            "cut or changed",
        ),
    ],
)
def test_tampering_is_found(path: Path, tampering: str, says: str) -> None:
    filled(path)
    with sqlite3.connect(path) as db:
        assert db.execute(tampering).rowcount == 1
    db.close()
    found = audit(path).verify()
    assert len(found) == 1
    assert says in found[0].what


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        (
            'UPDATE items SET body = replace(body, \'"event":"x"\', \'"event":"y"\') WHERE key LIKE \'%0001\'',
            "record 2 of",
        ),
        ("DELETE FROM items WHERE key LIKE '%0001'", "record 1 of chain 7 is missing"),
        ("DELETE FROM items WHERE key LIKE '%0003'", "chain 7 ends at record 2"),
        ("DELETE FROM items WHERE key = '~head'", "head of chain 7 is missing"),
        ("DELETE FROM items", "head of chain 7 is missing"),
    ],
)
def test_tampering_with_another_chain_is_found(path: Path, tampering: str, says: str) -> None:
    log = filled(path)
    log._chain["default"] = 7
    log._heads.clear()
    for _ in range(3):
        log.append("default", {"event": "x"})
    assert (log.verify(), len(list(log.records()))) == ([], 8)
    where = "AND" if "WHERE" in tampering else "WHERE"
    with sqlite3.connect(path) as db:
        assert db.execute(f"{tampering} {where} partition = 'audit-07:default'").rowcount > 0
    db.close()
    (found,) = audit(path).verify()
    assert says in found.what


def test_the_chains_are_read_as_one_by_time(path: Path) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    logs = [Audit(LocalStore(path), lambda: now[0]) for _ in range(3)]
    for number, log in enumerate(logs):
        log._chain["default"] = number or None
    for number in range(30):
        now[0] += timedelta(seconds=1)
        logs[number * 7 % 3].append("default", {"event": "x", "number": number})
    assert [r["number"] for r in logs[0].records()] == list(range(30))
    assert [r["number"] for r in logs[0].records(since=now[0] - timedelta(seconds=4))] == [25, 26, 27, 28, 29]


def test_a_log_of_one_chain_goes_on(path: Path) -> None:
    """As every earlier release wrote it: read as it is, and appended to where nobody is in the way."""
    filled(path)
    assert audit(path).append("default", {"event": "x"}) == 6
    assert audit(path).verify() == []


def test_a_thousand_appends_at_once_succeed() -> None:
    """A store that takes 5 ms for a read and 12 ms for a write, in time that is only counted."""
    crowd = Crowd(1_000)
    assert crowd.failed == []
    assert crowd.seconds < 5.0
    log = Audit(crowd.store, lambda: START)
    assert log.verify() == []
    requests = [(r["event"], r["request"]) for r in log.records()]
    assert len(requests) == len(set(requests)) == 2_000


def test_a_store_that_asks_to_wait_is_asked_again() -> None:
    store, naps = MemoryStore(), []
    busy = [RateLimitExhausted("slow down", retry_after_ms=1_500)] * 2
    inner = store.write

    def write(partition: str, changes: Sequence[Change]) -> Sequence[str]:
        if busy:
            raise busy.pop()
        return inner(partition, changes)

    store.write = write  # type: ignore[method-assign] (one method of a double)
    assert Audit(store, lambda: START, sleep=naps.append).append("default", {}) == 1
    assert naps == [1.5, 1.5]


def test_patience_ends() -> None:
    store, now = MemoryStore(), [0.0]

    def nap(seconds: float) -> None:
        now[0] += seconds

    def write(partition: str, changes: Sequence[Change]) -> Sequence[str]:
        raise StateConflict("another was first")

    store.write = write  # type: ignore[method-assign] (one method of a double)
    log = Audit(store, lambda: START, patience_s=20.0, sleep=nap, monotonic=lambda: now[0])
    with pytest.raises(RateLimitExhausted, match="too busy"):
        log.append("default", {})
    assert 18.0 < now[0] <= 20.0


class Crowd:
    """``count`` processes that each write two records at the same moment, in threads of which one goes on at a time:
    the one whose time is next. The same seed is the same story."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.failed: list[Error] = []
        self.seconds = 0.0
        self.store = MemoryStore(lambda: START)
        self._queue: list[tuple[float, int]] = []
        self._turn = [threading.Semaphore(0) for _ in range(count)]
        self._yielded = threading.Semaphore(0)
        threads = [threading.Thread(target=self._write, args=(i, seed), daemon=True) for i in range(count)]
        self._queue = [(0.0, i) for i in range(count)]
        for thread in threads:
            thread.start()
        while self._queue:
            self.seconds, who = heapq.heappop(self._queue)
            self._turn[who].release()
            self._yielded.acquire()

    def wait(self, who: int, seconds: float) -> None:
        heapq.heappush(self._queue, (self.seconds + seconds, who))
        self._yielded.release()
        self._turn[who].acquire()

    def _write(self, who: int, seed: int) -> None:
        self._turn[who].acquire()
        log = Audit(
            SlowStore(self, who),
            lambda: START + timedelta(seconds=self.seconds),
            sleep=lambda seconds: self.wait(who, seconds),
            monotonic=lambda: self.seconds,
            chance=random.Random(seed * 100_000 + who),
        )
        try:
            for event in ("intent", "outcome"):
                log.append("default", {"event": event, "request": who})
        except Error as error:
            self.failed.append(error)
        self._yielded.release()


class SlowStore:
    """The crowd's store as one process has it: half of the time goes on the way there, half on the way back."""

    def __init__(self, crowd: Crowd, who: int) -> None:
        self._crowd = crowd
        self._who = who

    def get(self, partition: str, key: str) -> Item | None:
        return self._after(0.005, lambda: self._crowd.store.get(partition, key))

    def query(self, partition: str, first: str = "", last: str | None = None, **how: Any) -> Sequence[Item]:
        return self._after(0.005, lambda: self._crowd.store.query(partition, first, last, **how))

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        return self._after(0.012, lambda: self._crowd.store.write(partition, changes))

    def _after(self, seconds: float, done: Callable[[], T]) -> T:
        self._crowd.wait(self._who, seconds / 2)
        try:
            return done()
        finally:
            self._crowd.wait(self._who, seconds / 2)


def test_tenants_have_chains_of_their_own(path: Path) -> None:
    log = filled(path)
    log.append("other", {"event": "x"})
    assert len(list(log.records("other"))) == 1
    assert log.verify("other") == []


def test_a_record_holds_no_row(path: Path) -> None:
    """What an ask returned is nowhere in its record."""
    from core import bootstrap, project
    from core.model import Principal
    from core.settings import Settings
    from handlers.local.platform import platform

    folder = path.parent / "p"
    (folder / "policies").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "omni.yaml").write_text("version: 1\nsources: {d: {connector: files, path: data}}\n")
    (folder / "policies" / "p.yaml").write_text('table: "*"\nrows: [{roles: [admin]}]\n')
    (folder / "data" / "t.csv").write_text("a\nvery-private-value\n")
    app = bootstrap.build(Settings(), platform(Settings(), {}, folder), project.load(folder, {}))
    answer = app.ask(app.request("SELECT a FROM d.t", Principal("x", frozenset({"admin"}))))
    assert answer.rows == [("very-private-value",)]
    text = json.dumps([dict(r) for r in app.audit.records()])
    assert "very-private-value" not in text
    assert '"rows": 1' in text
