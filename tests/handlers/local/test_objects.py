"""Blobs in a folder: whole or not there, and one winner even over an expired one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from core.errors import StateConflict
from handlers.local.objects import LocalObjects


def test_of_many_who_create_over_an_expired_one_exactly_one_wins(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "objects")
    for turn in range(60):
        name = f"a{turn}"
        objects.put(name, b"expired", expires_at=time.time() - 5)
        won: list[bytes] = []
        start = threading.Barrier(4)

        def create(i: int, name: str = name, won: list[bytes] = won, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                objects.put(name, b"%d" % i, only_if_absent=True)
            except StateConflict:
                return
            won.append(b"%d" % i)

        threads = [threading.Thread(target=create, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(won) == 1
        assert objects.get(name) == won[0]


def test_nothing_half_written_is_left_or_shown(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "objects")
    objects.put("a", b"1")
    (tmp_path / "objects" / "part~dead").write_bytes(b"half")
    assert objects.get("part~dead") is None
    objects.put("a", b"2")
    assert sorted(p.name for p in (tmp_path / "objects").iterdir()) == ["lock~", "o~a", "part~dead"]


def test_what_has_expired_leaves_the_disk_with_a_later_put(tmp_path: Path) -> None:
    now = [1_000.0]
    objects = LocalObjects(tmp_path, clock=lambda: now[0])
    objects.put("a", b"1", expires_at=1_010.0)
    objects.put("b", b"1")
    now[0] = 1_100.0
    objects.put("c", b"1", expires_at=2_000.0)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith("~")) == ["o~b", "o~c"]
