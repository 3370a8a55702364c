"""What ``core.ports.Objects`` promises."""

from __future__ import annotations

import threading
import time

import pytest

from core.errors import StateConflict
from core.ports import Objects


def test_nothing_is_there_at_first(objects: Objects) -> None:
    assert objects.get("a") is None
    objects.delete("a")


@pytest.mark.parametrize("name", ["a", "a/b/c", "../../etc/passwd", "/abs", "ü 🙂", "x" * 500, "a%2Fb", ".", ".."])
def test_a_blob_is_read_back(objects: Objects, name: str) -> None:
    objects.put(name, b"\0\xff" * 1000)
    objects.put(name + "/inner", b"")
    assert objects.get(name) == b"\0\xff" * 1000
    assert objects.get(name + "/inner") == b""
    objects.delete(name)
    assert objects.get(name) is None
    assert objects.get(name + "/inner") == b""


def test_a_put_replaces(objects: Objects) -> None:
    objects.put("a", b"1")
    objects.put("a", b"2")
    assert objects.get("a") == b"2"


def test_only_if_absent(objects: Objects) -> None:
    objects.put("a", b"1", only_if_absent=True)
    with pytest.raises(StateConflict):
        objects.put("a", b"2", only_if_absent=True)
    assert objects.get("a") == b"1"


def test_expired_blobs_are_not_there(objects: Objects) -> None:
    objects.put("a", b"1", expires_at=time.time() - 5)
    objects.put("b", b"1", expires_at=time.time() + 3600)
    assert objects.get("a") is None
    assert objects.get("b") == b"1"
    objects.put("a", b"2", only_if_absent=True)
    assert objects.get("a") == b"2"


def test_of_many_who_create_one_wins(objects: Objects) -> None:
    objects.put("a", b"expired", expires_at=time.time() - 5)
    won: list[bytes] = []
    start = threading.Barrier(6)

    def create(i: int) -> None:
        start.wait()
        try:
            objects.put("a", b"%d" % i, only_if_absent=True)
            won.append(b"%d" % i)
        except StateConflict:
            pass

    running = [threading.Thread(target=create, args=(i,)) for i in range(6)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert len(won) == 1
    assert objects.get("a") == won[0]
