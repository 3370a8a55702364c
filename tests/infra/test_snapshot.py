"""A SQLite database in a bundle is whole, and one that a function can open."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import ConfigInvalid
from infra import bundle as bundling
from infra import snapshot as copying
from infra.contents import project_files
from infra.snapshot import is_database, snapshot
from tests.runtimes.places import python313


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A database whose second row is still in the log of a writer that has it open."""
    path = tmp_path / "live.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t (id INTEGER)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("INSERT INTO t VALUES (2)")
        assert path.with_name("live.db-wal").stat().st_size > 0
        yield path


def rows(database: bytes) -> list[int]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(database)
        return [row[0] for row in connection.execute("SELECT id FROM t ORDER BY id")]


def test_what_is_still_in_the_log_is_copied(busy: Path, tmp_path: Path) -> None:
    before = busy.read_bytes()
    snapshot(busy, tmp_path / "copy.db")
    copy = (tmp_path / "copy.db").read_bytes()
    assert rows(copy) == [1, 2]
    assert copy[18:20] == b"\x01\x01", "not in WAL mode: a disk that is read-only has no place for a log"
    assert not list(tmp_path.glob("copy.db-*"))
    assert busy.read_bytes() == before


def test_the_same_bytes_whether_or_not_the_log_was_written_back(busy: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        snapshot(busy, tmp_path / name)
    with closing(sqlite3.connect(busy)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    snapshot(busy, tmp_path / "three")
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two", "three")}) == 1


def test_one_that_cannot_be_read_is_said_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_PATIENCE_S", 0.1)
    locked = tmp_path / "locked.db"
    with closing(sqlite3.connect(locked, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (id INTEGER)")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigInvalid, match=r"locked\.db cannot be copied.*locked"):
            snapshot(locked, tmp_path / "copy.db")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + os.urandom(4096))
    with pytest.raises(ConfigInvalid, match=r"damaged\.db cannot be copied"):
        snapshot(damaged, tmp_path / "copy.db")


def test_a_database_is_known_by_its_content(busy: Path, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("id,name\n")
    (tmp_path / "empty.db").touch()
    assert [is_database(tmp_path / n) for n in ("live.db", "text.db", "empty.db")] == [True, False, False]


def test_a_bundle_has_the_newest_rows(busy: Path, tmp_path: Path) -> None:
    (tmp_path / "omni.yaml").write_text("""\
version: 1
sources:
  shop: {connector: sqlite, url: "sqlite:///live.db"}
principals:
  local: {roles: [admin]}
""")
    assert project_files(tmp_path).left == (), "its log is not left out"
    python313()
    out = tmp_path.with_name(tmp_path.name + "-out")
    first, again = (bundling.build("gcp", tmp_path, out / f"{n}.zip", offline=True) for n in (1, 2))
    assert first.digest == again.digest
    assert not first.left_out
    with zipfile.ZipFile(first.path) as archive:
        assert rows(archive.read("project/live.db")) == [1, 2]
        assert not [name for name in archive.namelist() if "live.db-" in name]
