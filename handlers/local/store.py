"""State in one SQLite file, safe for threads and processes, kept once a write has returned whatever kills them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid, Error, ResourceLimit, SourceAuth, SourceError, SourceTimeout, StateConflict
from core.ports import ABSENT, Change, Delete, Item, Put

SCHEMA = 1
"""What this release reads and writes, kept in the file as PRAGMA user_version."""

MAX_BODY = 350_000
_PURGE_EVERY = 200
_LEAST_FREE = 65_536  # bytes: SQLite's shared memory grows by half of this
_TABLES = """
CREATE TABLE items (
    partition TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, body TEXT NOT NULL, expires REAL,
    PRIMARY KEY (partition, key)
) WITHOUT ROWID;
CREATE INDEX items_expiring ON items (expires) WHERE expires IS NOT NULL;
"""
_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode  # json.dumps would make one each time
_LIVE = "(expires IS NULL OR expires > ?)"
_GET = f"SELECT version, body, expires FROM items WHERE partition = ? AND key = ? AND {_LIVE}"  # noqa: S608 (constants)
_RANGE = f"SELECT key, version, body, expires FROM items WHERE partition = ? AND key >= ? AND {_LIVE}"  # noqa: S608 (names quoted or ours, values bound)
_UPSERT = (
    "INSERT INTO items VALUES (?, ?, ?, ?, ?) ON CONFLICT (partition, key) DO UPDATE "
    "SET version = excluded.version, body = excluded.body, expires = excluded.expires"
)
_INSERT = f"{_UPSERT} WHERE items.expires <= ?"
_SAME = f"partition = ? AND key = ? AND version = ? AND {_LIVE}"
_UPDATE = f"UPDATE items SET version = ?, body = ?, expires = ? WHERE {_SAME}"  # noqa: S608 (names quoted or ours, values bound)
_DELETE = "DELETE FROM items WHERE partition = ? AND key = ?"
_DELETE_SAME = f"DELETE FROM items WHERE {_SAME}"  # noqa: S608 (names quoted or ours, values bound)
_PURGE = (
    "DELETE FROM items WHERE (partition, key) IN "
    "(SELECT partition, key FROM items WHERE expires IS NOT NULL AND expires <= ? LIMIT 1000)"
)


class LocalStore:
    """``core.ports.Store`` in the file ``path``, opened (and created, folder mode 0700) at the first use.

    ``busy_s``: how long to wait for another process's write. ``clock``: seconds since the epoch.
    Raises ConfigInvalid for a file of a newer release or of another program, SourceTimeout when it stays locked,
    SourceAuth when the system refuses it, SourceError when it is damaged or the disk is full.
    """

    def __init__(self, path: Path, *, busy_s: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._busy_s = busy_s
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._writes = 0

    def get(self, partition: str, key: str) -> Item | None:
        with self._open() as db:
            row = db.execute(_GET, (partition, key, self._clock())).fetchone()
        return None if row is None else Item(partition, key, row[0], json.loads(row[1]), row[2])

    def query(
        self,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Sequence[Item]:
        sql = _RANGE
        values: list[object] = [partition, first, self._clock()]
        if last is not None:
            sql += " AND key <= ?"
            values.append(last)
        sql += " ORDER BY key DESC LIMIT ?" if descending else " ORDER BY key LIMIT ?"
        values.append(-1 if limit is None else limit)
        with self._open() as db:
            rows = db.execute(sql, values).fetchall()
        return [Item(partition, key, version, json.loads(body), expires) for key, version, body, expires in rows]

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        bodies = [encoded(partition, change) for change in changes]
        now = self._clock()
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            versions = [_apply(db, partition, change, body, now) for change, body in zip(changes, bodies, strict=True)]
            self._writes += 1
            if self._writes % _PURGE_EVERY == 0:
                db.execute(_PURGE, (now,))
            db.execute("COMMIT")
        return versions

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one statement or transaction; what is unfinished at the end is rolled back."""
        with self._lock:
            try:
                db = self._connected()
                try:
                    yield db
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
            except (sqlite3.Error, OSError) as error:
                raise _explained(error, self.path) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():  # a connection must not cross a fork
            self._connection = _connect(self.path, self._busy_s)
            self._pid = os.getpid()
        return self._connection


def encoded(partition: str, change: Change) -> str:
    """The body as text, '' for a Delete. Raises ResourceLimit for one that is too large for any cloud."""
    if isinstance(change, Delete):
        return ""
    text = _compact(change.body)
    if len(text) > MAX_BODY and (size := _utf8_size(change.body)) > MAX_BODY:
        raise ResourceLimit(
            f"The state {partition}/{change.key} would take {size:,} bytes; at most {MAX_BODY:,} can be stored.",
            partition=partition,
            key=change.key,
        )
    return text


def _utf8_size(body: Mapping[str, Any]) -> int:
    """The size that every cloud counts; what is stored here is ASCII, so that any text of Python's fits."""
    return len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _apply(db: sqlite3.Connection, partition: str, change: Change, body: str, now: float) -> str:
    """Apply one change inside the open transaction; return its new version."""
    if isinstance(change, Delete):
        return _remove(db, partition, change, now)
    version = os.urandom(8).hex()  # never reused, so that a deleted and re-made item is another one
    if change.expect is None:
        db.execute(_UPSERT, (partition, change.key, version, body, change.expires_at))
    else:
        if change.expect == ABSENT:
            done = db.execute(_INSERT, (partition, change.key, version, body, change.expires_at, now))
        else:
            done = db.execute(_UPDATE, (version, body, change.expires_at, partition, change.key, change.expect, now))
        if done.rowcount != 1:
            raise _conflict(partition, change)
    return version


def _remove(db: sqlite3.Connection, partition: str, change: Delete, now: float) -> str:
    if change.expect is None:
        db.execute(_DELETE, (partition, change.key))
        return ""
    if change.expect == ABSENT:
        if db.execute(_GET, (partition, change.key, now)).fetchone() is not None:
            raise _conflict(partition, change)
        return ""
    done = db.execute(_DELETE_SAME, (partition, change.key, change.expect, now))
    if done.rowcount != 1:
        raise _conflict(partition, change)
    return ""


def _conflict(partition: str, change: Put | Delete) -> StateConflict:
    return StateConflict(
        f"The state {partition}/{change.key} was changed by another run. Try again.",
        partition=partition,
        key=change.key,
    )


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _connect(path: Path, busy_s: float) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    until = time.monotonic() + busy_s
    while True:
        db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db, path)
            return db
        except sqlite3.OperationalError as error:
            db.close()
            # Two first users at once: switching to the log is refused at once instead of waiting for the other.
            if not _locked(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        except BaseException:
            db.close()
            raise


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if _version(db, path) == 0:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        if _version(db, path) == 0:
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
    # A killed process loses nothing. A power cut may take back the last moments, as a whole: the latest slot is run
    # again and its messages carry the same ids, but an alarm that was told and is found again at a later slot has
    # another id, and a silence set in these moments is gone. FULL would keep them, for about 0.1 ms CPU a run.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 8000")  # pages: a checkpoint waits for the disk


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The file's schema, 0 for an empty one; ConfigInvalid where it is not ours to touch."""
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = int(db.execute("PRAGMA user_version").fetchone()[0])  # after the tables: another may just make both
    if version > SCHEMA:
        raise ConfigInvalid(
            f"The state file {path} has version {version}; this release knows versions up to {SCHEMA}. "
            "Upgrade OmniSentinel to the release that wrote it, or choose another state folder (OMNI_STATE_DIR).",
            file=str(path),
            version=version,
            known=SCHEMA,
        )
    if version == 0 and tables:
        raise ConfigInvalid(
            f"The file {path} is a SQLite database of another program, not a state file. "
            "Choose another state folder (OMNI_STATE_DIR).",
            file=str(path),
        )
    return version


def _locked(error: sqlite3.Error) -> bool:
    return _primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LEAST_FREE
    except OSError:
        return False


def _explained(error: sqlite3.Error | OSError, path: Path) -> Error:
    """What a user can do about it. SQLite's own words are kept: they hold no values."""
    code = _primary(error) if isinstance(error, sqlite3.Error) else 0
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SourceTimeout(
            f"The state file {path} stayed locked by another process. Try again; if it lasts, see who holds it open.",
            file=str(path),
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return SourceError(
            f"The state file {path} is damaged or not a state file ({error}). Restore it from a backup, or move it "
            "away to begin without history: alerts that are firing would then be told again.",
            file=str(path),
        )
    number = getattr(error, "errno", None)
    # SQLite cannot tell a full disk where it needs room for its shared memory: it says that it cannot write.
    if (
        code == sqlite3.SQLITE_FULL
        or number in (errno.ENOSPC, errno.EDQUOT)
        or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent))
    ):
        return SourceError(
            f"The disk is full: nothing could be written to the state file {path}. Free some space and try again.",
            file=str(path),
        )
    if number == errno.EROFS:
        return SourceAuth(
            f"The state file {path} is on a file system that is mounted read-only. Mount it for writing, or choose "
            "another state folder (OMNI_STATE_DIR).",
            file=str(path),
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN) or (
        isinstance(error, PermissionError)
    ):
        return SourceAuth(
            f"No permission to read and write the state file {path} and its folder ({error}). "
            "Allow it, or choose another state folder (OMNI_STATE_DIR).",
            file=str(path),
        )
    return SourceError(f"The state file {path} cannot be used: {error}.", file=str(path))
