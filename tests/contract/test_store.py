"""What ``core.ports.Store`` promises, line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from core.errors import StateConflict
from core.ports import ABSENT, Delete, Item, Put, Store

ROOT = Path(__file__).resolve().parents[2]


def _keys(items: object) -> list[str]:
    return [i.key for i in items]


def test_nothing_is_there_at_first(store: Store) -> None:
    assert store.get("p", "k") is None
    assert list(store.query("p")) == []


def test_what_was_written_is_read_back(store: Store) -> None:
    body = {
        "text": "grüße \u2028 🙂 \x00 \"'",
        "none": None,
        "yes": True,
        "whole": 2**53,
        "minus": -7,
        "part": 0.1,
        "tiny": 1e-300,
        "empty": "",
        "list": [1, "a", None, [], {}],
        "map": {"a": {"b": [False]}},
    }
    (version,) = store.write("p", [Put("k", body)])
    found = store.get("p", "k")
    assert found == Item("p", "k", version, body, None)
    assert json.loads(json.dumps(found.body)) == body  # plain JSON types, whatever the store keeps
    assert [type(found.body[k]) for k in ("whole", "part", "yes")] == [int, float, bool]
    assert list(store.query("p")) == [found]


def test_partitions_are_apart(store: Store) -> None:
    store.write("p", [Put("k", {"in": "p"})])
    store.write("pp", [Put("k", {"in": "pp"})])
    assert store.get("p", "k").body == {"in": "p"}
    assert _keys(store.query("p")) == ["k"]
    assert store.get("q", "k") is None


def test_a_put_without_expectation_replaces(store: Store) -> None:
    (first,) = store.write("p", [Put("k", {"n": 1})])
    (second,) = store.write("p", [Put("k", {"n": 2})])
    assert first != second
    found = store.get("p", "k")
    assert found is not None
    assert (found.version, found.body) == (second, {"n": 2})


def test_absent_means_absent(store: Store) -> None:
    store.write("p", [Put("k", {"n": 1}, expect=ABSENT)])
    with pytest.raises(StateConflict):
        store.write("p", [Put("k", {"n": 2}, expect=ABSENT)])
    assert store.get("p", "k").body == {"n": 1}


def test_a_version_is_good_once(store: Store) -> None:
    (first,) = store.write("p", [Put("k", {"n": 1})])
    (second,) = store.write("p", [Put("k", {"n": 2}, expect=first)])
    for change in (Put("k", {"n": 3}, expect=first), Delete("k", expect=first)):
        with pytest.raises(StateConflict):
            store.write("p", [change])
    assert store.get("p", "k").version == second


def test_a_version_does_not_come_back_with_the_key(store: Store) -> None:
    (first,) = store.write("p", [Put("k", {"n": 1})])
    store.write("p", [Delete("k")])
    store.write("p", [Put("k", {"n": 1})])
    with pytest.raises(StateConflict):
        store.write("p", [Put("k", {"n": 2}, expect=first)])


def test_a_version_of_nothing_is_a_conflict(store: Store) -> None:
    (version,) = store.write("p", [Put("k", {})])
    store.write("p", [Delete("k", expect=version)])
    for change in (Put("k", {}, expect=version), Delete("k", expect=version)):
        with pytest.raises(StateConflict):
            store.write("p", [change])
    assert store.get("p", "k") is None


def test_delete(store: Store) -> None:
    (version,) = store.write("p", [Put("k", {})])
    assert list(store.write("p", [Delete("k", expect=version)])) == [""]
    assert store.get("p", "k") is None
    assert list(store.write("p", [Delete("k")])) == [""]  # what is not there is deleted already


def test_versions_come_in_the_order_of_the_changes(store: Store) -> None:
    store.write("p", [Put("gone", {})])
    versions = list(store.write("p", [Put("b", {}), Delete("gone"), Put("a", {})]))
    assert versions[1] == ""
    assert [store.get("p", "b").version, store.get("p", "a").version] == [versions[0], versions[2]]


BROKEN = [Put("guard", {}, expect="stale"), Put("there", {}, expect=ABSENT), Delete("guard", expect="stale")]


@pytest.mark.parametrize("guard", BROKEN)
def test_all_or_nothing(store: Store, guard: Put | Delete) -> None:
    (kept, _) = store.write("p", [Put("guard", {"n": 1}), Put("there", {"n": 1})])
    changes = [Put("new", {}), Put("old", {"n": 2}), Delete("victim"), guard]
    store.write("p", [Put("old", {"n": 1}), Put("victim", {})])
    for order in (changes, list(reversed(changes))):
        with pytest.raises(StateConflict):
            store.write("p", order)
    assert store.get("p", "new") is None
    assert store.get("p", "old").body == {"n": 1}
    assert store.get("p", "victim") is not None
    assert store.get("p", "guard").version == kept


def test_a_hundred_changes_at_once(store: Store) -> None:
    versions = store.write("p", [Put(f"k{i:03d}", {"n": i}) for i in range(100)])
    assert len(set(versions)) == 100
    assert [i.body["n"] for i in store.query("p")] == list(range(100))
    store.write("p", [Delete(f"k{i:03d}") for i in range(100)])
    assert list(store.query("p")) == []


def test_a_large_body(store: Store) -> None:
    body = {"text": "ä" * 100_000, "more": "x" * 100_000}
    store.write("p", [Put("k", body)])
    assert store.get("p", "k").body == body


def test_long_and_strange_names(store: Store) -> None:
    names = ["k" * 512, "a/b?c#d%e", "spaces in it", "ünï", "🙂" * 100, "'; DROP TABLE items; --", "%", "_"]
    for name in names:
        store.write(name, [Put(name, {"name": name})])
    for name in names:
        assert store.get(name, name).body == {"name": name}
        assert _keys(store.query(name)) == [name]


# UTF-8 order is the order of code points: an emoji (4 bytes) sorts after U+FFEE (3 bytes), unlike in UTF-16.
ORDERED = ["A", "B", "a", "a!", "a/", "a/1", "a/10", "a/2", "a0", "aa", "b", "z", "~", "é", "ﾮ", "🙂"]


def test_order_is_by_utf8_bytes(store: Store) -> None:
    assert sorted(ORDERED, key=str.encode) == ORDERED
    store.write("p", [Put(k, {}) for k in reversed(ORDERED)])
    assert _keys(store.query("p")) == ORDERED
    assert _keys(store.query("p", descending=True)) == ORDERED[::-1]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("a", None, ORDERED[2:]),
        ("a/", "a0", ["a/", "a/1", "a/10", "a/2", "a0"]),
        ("a/", "a/1", ["a/", "a/1"]),
        ("", "B", ["A", "B"]),
        ("b", "b", ["b"]),
        ("c", "d", []),
        ("z", "a", []),
        ("🙂", None, ["🙂"]),
        ("ﾯ", None, ["🙂"]),
    ],
)
def test_a_range_includes_both_ends(store: Store, first: str, last: str | None, expected: list[str]) -> None:
    store.write("p", [Put(k, {}) for k in ORDERED])
    assert _keys(store.query("p", first, last)) == expected
    assert _keys(store.query("p", first, last, descending=True)) == expected[::-1]


def test_limit(store: Store) -> None:
    store.write("p", [Put(k, {}) for k in "abcde"])
    assert _keys(store.query("p", limit=2)) == ["a", "b"]
    assert _keys(store.query("p", limit=2, descending=True)) == ["e", "d"]
    assert _keys(store.query("p", "b", "d", limit=9)) == ["b", "c", "d"]


def test_a_query_returns_everything(store: Store) -> None:
    """More than one page of any cloud's answer (1 MB on DynamoDB)."""
    for i in range(12):
        store.write("p", [Put(f"k{i:02d}-{j}", {"text": "x" * 60_000}) for j in range(2)])
    found = store.query("p")
    assert len(found) == 24
    assert _keys(found) == sorted(_keys(found))
    assert len(store.query("p", limit=20, descending=True)) == 20


def test_expired_items_are_not_there(store: Store) -> None:
    now = time.time()
    store.write("p", [Put("past", {}, expires_at=now - 5), Put("future", {}, expires_at=now + 3600), Put("never", {})])
    assert store.get("p", "past") is None
    assert _keys(store.query("p")) == ["future", "never"]
    assert _keys(store.query("p", descending=True, limit=5)) == ["never", "future"]
    assert store.get("p", "future").expires_at == pytest.approx(now + 3600, abs=1)


def test_expired_items_do_not_use_up_a_limit(store: Store) -> None:
    past = time.time() - 5
    store.write("p", [Put(f"a{i}", {}, expires_at=past) for i in range(20)] + [Put("b", {}), Put("c", {})])
    assert _keys(store.query("p", limit=2)) == ["b", "c"]


def test_an_expired_item_is_absent_to_a_write(store: Store) -> None:
    (version,) = store.write("p", [Put("k", {"n": 1}, expires_at=time.time() - 5)])
    for change in (Put("k", {"n": 2}, expect=version), Delete("k", expect=version)):
        with pytest.raises(StateConflict):
            store.write("p", [change])
    store.write("p", [Put("k", {"n": 3}, expect=ABSENT)])
    assert store.get("p", "k").body == {"n": 3}


def test_a_put_takes_an_expiry_away(store: Store) -> None:
    store.write("p", [Put("k", {}, expires_at=time.time() - 5)])
    store.write("p", [Put("k", {})])
    assert store.get("p", "k").expires_at is None


def test_threads_share_a_store(store: Store, offered: ModuleType) -> None:
    threads, rounds = (8, 20) if getattr(offered, "PARALLEL", True) else (3, 5)
    store.write("p", [Put("k", {"n": 0})])
    failures: list[BaseException] = []

    def count() -> None:
        try:
            for _ in range(rounds):
                add_one(store)
        except Exception as error:  # noqa: BLE001 a thread's failure is told by the test
            failures.append(error)

    running = [threading.Thread(target=count) for _ in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert failures == []
    assert store.get("p", "k").body == {"n": threads * rounds}


def test_of_many_who_create_one_wins(store: Store) -> None:
    won: list[int] = []
    start = threading.Barrier(6)

    def create(i: int) -> None:
        start.wait()
        try:
            store.write("p", [Put("k", {"by": i}, expect=ABSENT), Put(f"own{i}", {})])
            won.append(i)
        except StateConflict:
            pass

    running = [threading.Thread(target=create, args=(i,)) for i in range(6)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert len(won) == 1
    assert store.get("p", "k").body == {"by": won[0]}
    assert _keys(store.query("p", "own", "own~")) == [f"own{won[0]}"]


CHILD = """
import importlib, sys
from tests.contract.test_store import add_one
module, address, rounds = sys.argv[1:]
store = importlib.import_module(module).reopen(address)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(rounds)):
    add_one(store)
"""


def test_processes_share_a_store(store: Store, offered: ModuleType) -> None:
    if not hasattr(offered, "reopen"):
        pytest.skip(f"{offered.__name__} cannot be reopened by another process")
    processes, rounds = (4, 25) if getattr(offered, "PARALLEL", True) else (2, 5)
    store.write("p", [Put("k", {"n": 0})])
    command = [sys.executable, "-c", CHILD, offered.__name__, offered.address(store), str(rounds)]
    running = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        for p in running:
            assert p.stdout is not None
            assert p.stdout.readline() == b"ready\n"
        for p in running:
            assert p.stdin is not None
            p.stdin.write(b"go\n")
            p.stdin.flush()
        assert [p.wait(60) for p in running] == [0] * processes
    finally:
        for p in running:
            p.kill()
            p.communicate()
    assert store.get("p", "k").body == {"n": processes * rounds}


def add_one(store: Store) -> None:
    """Count up by compare-and-set, again and again until it holds."""
    while True:
        item = store.get("p", "k")
        assert item is not None
        try:
            store.write("p", [Put("k", {"n": item.body["n"] + 1}, expect=item.version)])
            return
        except StateConflict:
            continue
