"""State in a PostgreSQL database, for several machines that run ``omni``: tables ``omni_items`` and ``omni_objects``.

``OMNI_STORE_TABLE=postgresql://HOST/DB``, or ``secret:NAME`` where the URL holds a password.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError, SourceTimeout, StateConflict
from core.ports import ABSENT, Change, Delete, Item
from handlers.local.store import encoded

if TYPE_CHECKING:
    import psycopg

CONNECT_S = 5
STATEMENT_MS = 10_000
ANSWER_S = 15.0
"""How long an answer may take in all. The server itself ends a statement sooner; one that is silent is out of reach."""
_PURGE_EVERY = 200
_IDLE_S = 10.0
_LOCK = 0x6F6D6E69  # "omni": of those who make the table at once, one does
_TABLES = """
CREATE TABLE IF NOT EXISTS omni_items (
    partition text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, version text NOT NULL, body text NOT NULL,
    expires double precision, PRIMARY KEY (partition, key)
);
CREATE TABLE IF NOT EXISTS omni_objects (
    name text COLLATE "C" PRIMARY KEY, body bytea NOT NULL, expires double precision
);
CREATE INDEX IF NOT EXISTS omni_items_expiring ON omni_items (expires) WHERE expires IS NOT NULL
"""
_LIVE = "(expires IS NULL OR expires > %(now)s)"
_SAME = f"partition = %(partition)s AND key = %(key)s AND version = %(expect)s AND {_LIVE}"
_GET = f"SELECT version, body, expires FROM omni_items WHERE partition = %(partition)s AND key = %(key)s AND {_LIVE}"  # noqa: S608 (constants)
_RANGE = (
    "SELECT key, version, body, expires FROM omni_items "  # noqa: S608 (constants)
    f"WHERE partition = %(partition)s AND key >= %(first)s AND {_LIVE}"
)
_UPSERT = (
    "INSERT INTO omni_items VALUES (%(partition)s, %(key)s, %(version)s, %(body)s, %(expires)s) "
    "ON CONFLICT (partition, key) DO UPDATE "
    "SET version = excluded.version, body = excluded.body, expires = excluded.expires"
)
_INSERT = f"{_UPSERT} WHERE omni_items.expires <= %(now)s"
_UPDATE = f"UPDATE omni_items SET version = %(version)s, body = %(body)s, expires = %(expires)s WHERE {_SAME}"  # noqa: S608 (names quoted or ours, values bound)
_DELETE = "DELETE FROM omni_items WHERE partition = %(partition)s AND key = %(key)s"
_DELETE_SAME = f"DELETE FROM omni_items WHERE {_SAME}"  # noqa: S608 (names quoted or ours, values bound)
_OBJECT = f"SELECT body FROM omni_objects WHERE name = %(name)s AND {_LIVE}"  # noqa: S608 (constants)
_PUT_OBJECT = (
    "INSERT INTO omni_objects VALUES (%(name)s, %(body)s, %(expires)s) "
    "ON CONFLICT (name) DO UPDATE SET body = excluded.body, expires = excluded.expires"
)
_NEW_OBJECT = f"{_PUT_OBJECT} WHERE omni_objects.expires <= %(now)s"
_PURGE = (
    "DELETE FROM omni_items WHERE (partition, key) IN (SELECT partition, key FROM omni_items "
    "WHERE expires IS NOT NULL AND expires <= %(now)s LIMIT 1000 FOR UPDATE SKIP LOCKED)"
)


class PostgresStore:
    """``core.ports.Store`` in the database at ``url()``, connected and its tables made at the first use.

    One connection, one statement at a time; a process that needs more has more of these. None waits for an answer for
    longer than ``ANSWER_S``, so that a network that swallows everything stops nobody for ever. ``clock``: seconds since
    the epoch; the machines' clocks have to agree as they have to for leases.
    Raises SourceError where the server is out of reach, SourceTimeout where it does not answer, SourceAuth naming the
    permission that is missing.
    """

    def __init__(self, url: Callable[[], str], clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._pid = 0
        self._writes = 0
        self._used = 0.0

    def get(self, partition: str, key: str) -> Item | None:
        values = {"partition": partition, "key": key, "now": self._clock()}
        with self._open() as db:
            row = db.execute(_GET, values).fetchone()
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
        bounds = " AND key <= %(last)s" if last is not None else ""
        order = f" ORDER BY key {'DESC' if descending else 'ASC'} LIMIT %(limit)s"
        values = {"partition": partition, "first": first, "last": last, "limit": limit, "now": self._clock()}
        with self._open() as db:
            rows = db.execute(_RANGE + bounds + order, values).fetchall()
        return [Item(partition, key, version, json.loads(body), expires) for key, version, body, expires in rows]

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        bodies = [encoded(partition, change) for change in changes]
        with self._open() as db, db.transaction():
            # One writer per partition: no deadlock, and what was looked at stays so until the end.
            db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"omni/{partition}",))
            versions = [self._apply(db, partition, one, body) for one, body in zip(changes, bodies, strict=True)]
            self._writes += 1
        if self._writes % _PURGE_EVERY == 0:
            # The write is done, whatever comes of this; a later one removes what is left.
            with suppress(Error), self._open() as db:
                db.execute(_PURGE, {"now": self._clock()})
        return versions

    def statement(self, sql: str, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        """One statement of ours on the same connection, for what is kept beside the state."""
        with self._open() as db:
            return db.execute(sql.encode(), {**values, "now": self._clock()})

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _apply(self, db: psycopg.Connection[Any], partition: str, change: Change, body: str) -> str:
        values: dict[str, Any] = {
            "partition": partition, "key": change.key, "expect": change.expect, "now": self._clock(),
        }  # fmt: skip
        if isinstance(change, Delete):
            if change.expect == ABSENT:
                done = db.execute(_GET, values).fetchone() is None
            else:
                count = db.execute(_DELETE if change.expect is None else _DELETE_SAME, values).rowcount
                done = change.expect is None or count == 1
            version = ""
        else:
            version = os.urandom(8).hex()  # never reused, so that a deleted and re-made item is another one
            values |= {"version": version, "body": body, "expires": change.expires_at}
            sql = _UPSERT if change.expect is None else _INSERT if change.expect == ABSENT else _UPDATE
            done = db.execute(sql, values).rowcount == 1
        if not done:
            raise StateConflict(
                f"The state {partition}/{change.key} was changed by another run. Try again.",
                partition=partition, key=change.key,
            )  # fmt: skip
        return version

    @contextmanager
    def _open(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection, for one statement or transaction. One that broke is not used again; what it was about is
        not repeated, for nobody knows whether it was done."""
        import psycopg

        with self._lock:
            try:
                yield self._connected()
            except psycopg.Error as error:
                if self._connection is not None and self._connection.broken:
                    self._connection = None
                raise _explained(error) from error

    def _connected(self) -> psycopg.Connection[Any]:
        """A live connection: one that the server closed while nobody used it is replaced. It must not cross a fork."""
        now = time.monotonic()
        idle = now - self._used > _IDLE_S
        if self._connection is None or self._pid != os.getpid() or (idle and not _live(self._connection)):
            self._connection, self._pid = _connect(self._url()), os.getpid()
        self._used = now
        return self._connection


class PostgresObjects:
    """``core.ports.Objects`` in the table ``omni_objects`` of the same database: what one machine answers, all have."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def get(self, name: str) -> bytes | None:
        row = self._store.statement(_OBJECT, {"name": name}).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None:
        self._store.statement("DELETE FROM omni_objects WHERE expires <= %(now)s AND name <> %(name)s", {"name": name})
        sql = _NEW_OBJECT if only_if_absent else _PUT_OBJECT
        done = self._store.statement(sql, {"name": name, "body": body, "expires": expires_at})
        if done.rowcount != 1:
            raise StateConflict(f"An object named {name!r} is already there.", object=name)

    def delete(self, name: str) -> None:
        self._store.statement("DELETE FROM omni_objects WHERE name = %(name)s", {"name": name})


@lru_cache(maxsize=1)
def _bounded() -> type[psycopg.Connection[Any]]:
    """A connection that ends where an answer takes longer than ``ANSWER_S``. The system's own limits come sooner where
    the way to the server is dead, and never where something on the way still takes what is sent to it."""
    import psycopg

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: Any, *how: Any, **more: Any) -> Any:
            return super().wait(_until(gen, time.monotonic() + ANSWER_S, self.pgconn.finish), *how, **more)

    return Bounded


def _until(steps: Any, end: float, close: Callable[[], None]) -> Any:
    """Go on with psycopg's ``steps`` until ``end``: it asks them several times a second whether something has come."""
    import psycopg

    ready = None
    while True:
        try:
            wants = next(steps) if ready is None else steps.send(ready)
        except StopIteration as last:
            return last.value
        ready = yield wants
        if not ready and time.monotonic() > end:
            close()  # nobody knows what it is in the middle of
            raise psycopg.errors.ConnectionTimeout("no answer")


def _connect(url: str) -> psycopg.Connection[Any]:
    import psycopg

    options = f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={STATEMENT_MS} -c timezone=UTC"
    try:
        db = _bounded().connect(
            url, autocommit=True, connect_timeout=CONNECT_S, options=options, application_name="omnisentinel",
            tcp_user_timeout=STATEMENT_MS, keepalives_idle=10, keepalives_interval=5, keepalives_count=2,
        )  # fmt: skip
    except psycopg.ProgrammingError:
        raise ConfigInvalid(
            "OMNI_STORE_TABLE is no URL of a PostgreSQL database: write postgresql://USER@HOST/DB.",
            key="OMNI_STORE_TABLE",
        ) from None
    try:
        if db.execute("SELECT to_regclass('omni_objects')").fetchone() == (None,):
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                for statement in _TABLES.split(";\n"):
                    db.execute(statement.encode())
    except BaseException:
        db.close()
        raise
    return db


def _live(db: psycopg.Connection[Any]) -> bool:
    import psycopg

    if db.closed or db.broken:
        return False
    try:
        db.execute("")
    except psycopg.OperationalError:
        return False
    return True


def _explained(error: psycopg.Error) -> Error:
    """What a user can do about it. The server's own text is left out, for it may quote values; its code is kept."""
    code = error.sqlstate or ""
    if code in ("28P01", "28000") or "authentication failed" in str(error) or "no password supplied" in str(error):
        return SourceAuth(
            "PostgreSQL refuses the login of OMNI_STORE_TABLE: check its user and password.", sqlstate=code
        )
    if code == "42501":
        return SourceAuth(
            "PostgreSQL refuses the state: the role of OMNI_STORE_TABLE needs CREATE on its schema once, and SELECT, "
            "INSERT, UPDATE and DELETE on omni_items and omni_objects.",
            permission="CREATE, SELECT, INSERT, UPDATE, DELETE", sqlstate=code,
        )  # fmt: skip
    if code in ("57014", "55P03") or "timeout" in type(error).__name__.lower():
        return SourceTimeout("PostgreSQL did not answer about the state in time. Try again.", sqlstate=code)
    if code.startswith("40"):
        return StateConflict("PostgreSQL ended a write of the state in favour of another. Try again.", sqlstate=code)
    if code == "3D000" or (not code and 'database "' in str(error) and "does not exist" in str(error)):
        return ConfigInvalid("OMNI_STORE_TABLE names a database that is not there.", key="OMNI_STORE_TABLE")
    return SourceError(
        f"PostgreSQL cannot be used for the state ({code or type(error).__name__}): check OMNI_STORE_TABLE and that "
        "the server runs.", sqlstate=code or None,
    )  # fmt: skip
