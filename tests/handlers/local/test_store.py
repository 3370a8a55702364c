"""The laptop's state file: durable, shared by processes, and clear about what is wrong with it."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import ConfigInvalid, Error, ResourceLimit, SourceAuth, SourceError, SourceTimeout, StateConflict
from core.ports import Put
from handlers.local.store import SCHEMA, LocalStore, _explained

ROOT = Path(__file__).resolve().parents[3]


def made(path: Path) -> LocalStore:
    store = LocalStore(path / "deep" / ".omni" / "state.db", busy_s=0.2)
    store.write("p", [Put("k", {"n": 1})])
    return store


def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / ".omni" / "state.db")
    assert list(tmp_path.iterdir()) == []
    store.get("p", "k")
    assert stat.S_IMODE((tmp_path / ".omni").stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_it_outlives_its_process(tmp_path: Path) -> None:
    made(tmp_path).close()
    assert made(tmp_path).get("p", "k") is not None


def test_a_power_cut_leaves_a_whole_file(tmp_path: Path) -> None:
    store = made(tmp_path)
    with store._open() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone()[0] >= 1  # OFF would not order the log before the file


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    store = made(tmp_path)
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 6}")
    db.close()
    before = store.path.read_bytes()
    for use in (lambda: store.get("p", "k"), lambda: store.write("p", [Put("k", {})])):
        with pytest.raises(ConfigInvalid) as caught:
            use()
        for text in (str(SCHEMA + 6), f"up to {SCHEMA}", str(store.path), "Upgrade"):
            assert text in caught.value.message
    assert store.path.read_bytes() == before


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE orders (id)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigInvalid, match="another program"):
        LocalStore(path).write("p", [Put("k", {})])
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [b"not a database, but long enough" * 40, b"SQLite format 3\0" + b"\xff" * 5_000])
def test_a_damaged_file_says_so(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(damage)
    with pytest.raises(SourceError) as caught:
        LocalStore(path).get("p", "k")
    assert str(path) in caught.value.message
    assert "backup" in caught.value.message
    assert path.read_bytes() == damage


def test_damage_in_the_middle(tmp_path: Path) -> None:
    store = made(tmp_path)
    store.write("p", [Put(f"k{i}", {"text": "x" * 3_000}) for i in range(90)])
    store.close()
    content = bytearray(store.path.read_bytes())
    content[8_192 : len(content) - 4_096] = b"\xa5" * (len(content) - 12_288)
    store.path.write_bytes(content)
    with pytest.raises(SourceError, match="damaged"):
        store.query("p")


def test_a_locked_file_is_waited_for_and_then_said(tmp_path: Path) -> None:
    store = made(tmp_path)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.get("p", "k") is not None  # readers do not wait
    with pytest.raises(SourceTimeout, match="locked") as caught:
        store.write("p", [Put("k", {"n": 2})])
    assert caught.value.retryable
    other.execute("ROLLBACK")
    other.close()
    store.write("p", [Put("k", {"n": 2})])


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = made(tmp_path)
    with store._open() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SourceError, match="disk is full"):
        store.write("p", [Put("k", {"n": 2}), Put("big", {"text": "x" * 100_000})])
    assert store.get("p", "k").body == {"n": 1}
    assert store.get("p", "big") is None
    with store._open() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    store.write("p", [Put("big", {"text": "x" * 100_000})])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SourceAuth, match="OMNI_STATE_DIR"):
        LocalStore(tmp_path / ".omni" / "state.db").get("p", "k")


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(Error) as caught:
        LocalStore(tmp_path / "state.db").get("p", "k")
    assert str(tmp_path / "state.db") in caught.value.message


def test_a_body_too_large_for_every_cloud_is_refused_here_too(tmp_path: Path) -> None:
    store = made(tmp_path)
    with pytest.raises(ResourceLimit, match=r"p/k"):
        store.write("p", [Put("k", {"text": "x" * 350_000})])
    with pytest.raises(ValueError, match="JSON"):
        store.write("p", [Put("k", {"n": float("nan")})])
    assert store.get("p", "k").body == {"n": 1}


def test_expired_items_leave_the_file(tmp_path: Path) -> None:
    store = made(tmp_path)
    store.write("p", [Put(f"old{i}", {}, expires_at=time.time() - 1) for i in range(50)])
    for i in range(250):
        store.write("p", [Put("k", {"n": i})])
    with store._open() as db:
        assert db.execute("SELECT count(*) FROM items").fetchone() == (1,)


def test_a_fork_opens_its_own_connection(tmp_path: Path) -> None:
    store = made(tmp_path)
    parents = store._connection
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.write("p", [Put("from child", {})])
            code = 0 if store._connection is not parents else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get("p", "from child") is not None


def test_many_first_users_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    failures: list[Exception] = []

    def first(i: int) -> None:
        start.wait()
        try:
            LocalStore(tmp_path / ".omni" / "state.db", busy_s=30).write("p", [Put(f"k{i}", {})])
        except Error as error:
            failures.append(error)

    threads = [threading.Thread(target=first, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
    assert len(LocalStore(tmp_path / ".omni" / "state.db").query("p")) == 8


KILLED = """
import sys
from pathlib import Path
from types import SimpleNamespace
from core.ports import Put
from handlers.local.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
i = 0
while True:
    i += 1
    store.write("p", [Put("a", {"n": i}), Put("b", {"n": i}), Put(f"row{i}", {"text": "x" * 1000})])
    print(i, flush=True)
"""


def test_kill_nine_leaves_whole_writes_only(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = 0
        for _ in range(60):
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest, _err = child.communicate()
        said = int(rest.split()[-1]) if rest.split() else said
        store = LocalStore(path)
        a, b = store.get("p", "a"), store.get("p", "b")
        assert a is not None
        assert b is not None
        assert a.body == b.body
        assert a.body["n"] >= said  # what was answered for is there
        assert store.get("p", f"row{a.body['n']}") is not None
        store.close()


def test_the_file_holds_plain_json(tmp_path: Path) -> None:
    """So that a person can look at it, and a later release read it."""
    store = made(tmp_path)
    store.write("alert:a", [Put("item", {"text": "ü"})])
    store.close()
    db = sqlite3.connect(store.path)
    (row,) = db.execute("SELECT partition, key, body, expires FROM items WHERE partition = 'alert:a'").fetchall()
    db.close()
    assert (row[0], row[1], json.loads(row[2]), row[3]) == ("alert:a", "item", {"text": "ü"}, None)


def test_a_conflict_says_what_to_do(tmp_path: Path) -> None:
    store = made(tmp_path)
    with pytest.raises(StateConflict, match="Try again") as caught:
        store.write("p", [Put("k", {}, expect="other")])
    assert caught.value.details == {"partition": "p", "key": "k"}


def test_a_disk_error_on_a_full_disk_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says where its shared memory finds no room."""
    said = sqlite3.OperationalError("disk I/O error")
    said.sqlite_errorcode = sqlite3.SQLITE_IOERR | 19 << 8
    for free, words in ((0, "The disk is full"), (10**9, "disk I/O error")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert words in _explained(said, tmp_path / "state.db").message


def test_a_read_only_file_system_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(SourceAuth, match="read-only"):
        LocalStore(tmp_path / "state.db").get("a", "b")
