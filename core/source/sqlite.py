"""SQLite, through the standard library alone: a cold alert must not pay for SQLAlchemy or DuckDB.

Connections are read-only three times over (``mode=ro``, ``query_only``, an authorizer) and are kept for reuse.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from core.deadline import Deadline
from core.errors import ConfigInvalid, ResourceLimit, SourceError, SourceTimeout
from core.model import EVERY_ROW, BatchStream, Column, Condition, Scan, Table
from core.source import sqlite_types
from core.source.base import Fetching, Fragment, Rows
from core.source.condition import EXACT_ALL, Where
from core.source.sqlite_types import SqliteSide, quoted

if TYPE_CHECKING:
    from arro3.core import RecordBatch

BATCH = 10_000
IDLE = 8
MAX_VALUE_BYTES = 100_000_000
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_BANNED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_LOOKS = ("table_list", "table_xinfo")
_CATALOGUE = frozenset({"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"})


class SqliteSource:
    """One SQLite file. ``locate`` gives its path when first needed. ``secret``: the reference it comes from, which
    messages then show instead of the path."""

    kind = "sql"
    dialect = "sqlite"

    def __init__(
        self, name: str, locate: Callable[[], Path], *, connector: str = "sqlite", secret: str | None = None
    ) -> None:
        self.name = name
        self.connector = connector
        self._locate = locate
        self._secret = secret
        # Two pools: a statement prepared under the catalogue's rights is never run under a query's.
        self._idle: dict[bool, list[tuple[tuple[int, int], sqlite3.Connection]]] = {False: [], True: []}
        self._lock = threading.Lock()
        self._encoding = "utf-8"

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────────────

    def table_names(self, deadline: Deadline) -> Sequence[str]:
        with self._connection(deadline, introspect=True) as connection:
            return sorted(
                name
                for schema, name, kind, *_ in connection.execute("PRAGMA main.table_list")
                if schema == "main" and kind in ("table", "view", "virtual") and not name.startswith("sqlite_")
            )

    def table(self, name: str, deadline: Deadline) -> Table | None:
        wanted = name.lower()
        found = next((n for n in self.table_names(deadline) if n.lower() == wanted), None)
        if found is None:
            return None
        columns = tuple(_column(column, declared) for column, declared in self._declared(found, deadline))
        return Table(self.name, found, columns)

    def schema_version(self, deadline: Deadline) -> str:
        """Changes with every change of the schema: what was planned against another one is not run."""
        with self._connection(deadline) as connection:
            row = connection.execute("PRAGMA schema_version").fetchone()
        return str(row[0]) if self._encoding == "utf-8" else f"{row[0]} {self._encoding}"

    def orders_by_code_points(self, deadline: Deadline) -> bool:
        """Whether ``<``, ORDER BY and max() of texts mean in the file what they mean in DuckDB."""
        with self._connection(deadline, introspect=True):
            return self._encoding == "utf-8"

    def default_schema(self, deadline: Deadline) -> str:
        return "main"

    def rowid(self, table: Table, deadline: Deadline) -> str | None:
        """The name under which the table's own rowid can be read, None where it has none."""
        with self._connection(deadline, introspect=True) as connection:
            kept = any(
                name == table.name and kind == "table" and not without
                for schema, name, kind, _, without, *_ in connection.execute("PRAGMA main.table_list")
                if schema == "main"
            )
        taken = {name.lower() for name, _ in self._declared(table.name, deadline)}
        return next((name for name in ("rowid", "_rowid_", "oid") if kept and name not in taken), None)

    def _declared(self, table: str, deadline: Deadline) -> list[tuple[str, str]]:
        with self._connection(deadline, introspect=True) as connection:
            rows = connection.execute(f"PRAGMA main.table_xinfo({quoted(table)})")
            return [(name, declared) for _, name, declared, _, _, _, hidden in rows if hidden != 1]

    def _sides(self, table: Table, deadline: Deadline) -> dict[str, SqliteSide]:
        declared = self._declared(table.name, deadline)
        wide = self._encoding != "utf-8"
        sides = {name.lower(): SqliteSide(name, kind, wide=wide) for name, kind in declared}
        for column in table.columns:
            side = sides.get(column.name.lower())
            if side is None or side.type != column.type:
                raise SourceError(
                    f"{table.full_name}: column {column.name} has changed since the catalog was read. Ask again.",
                    table=table.full_name,
                    column=column.name,
                    catalog_changed=True,
                )
        return sides

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, scan: Scan, fetching: Fetching) -> BatchStream:
        return self.open_filtered(scan, EVERY_ROW, fetching)

    def open_filtered(self, scan: Scan, rows: Condition, fetching: Fetching) -> BatchStream:
        from core.source.arrow import Stream, scan_schema, schema_of

        columns = scan_schema(scan)
        return Stream(schema_of(columns), self._batches(scan, rows, columns, fetching))

    def _batches(
        self, scan: Scan, rows: Condition, columns: Sequence[tuple[str, str]], fetching: Fetching
    ) -> Iterator[RecordBatch]:
        from core.source.arrow import rows_to_batch, schema_of

        schema, ledger, where = schema_of(columns), fetching.ledger, scan.table.full_name
        sides = self._sides(scan.table, fetching.deadline)
        sql, params = _select(scan, rows, sides)
        readers = [sides[name.lower()].read for name in scan.columns]
        ledger.add(self.name, calls=1)
        ledger.fetched(where, datetime.now(UTC), 0.0, False)
        total = 0
        with self._connection(fetching.deadline) as connection, closing(connection.execute(sql, params)) as cursor:
            # Where masked, a text that is no UTF-8 is a misfit like others.
            connection.text_factory = sqlite_types.text_or_misfit if scan.masked else str
            while True:
                started = time.monotonic()
                raw = cursor.fetchmany(BATCH)
                ledger.add(self.name, ms=(time.monotonic() - started) * 1000)
                if not raw:
                    return
                total += len(raw)
                if fetching.progress is not None:
                    fetching.progress(self.name, scan.table.name, rows=total, calls=1, total_calls=1)
                yield rows_to_batch(_convert(raw, readers), columns, schema, where, scan.masked)

    def permitted(
        self,
        table: Table,
        columns: Sequence[tuple[str, str]] | None,
        rows: Condition,
        params: dict[str, Any],
        deadline: Deadline,
    ) -> str:
        sides = self._sides(table, deadline)
        named = [f"{expression} AS {quoted(name)}" for name, expression in columns or ()]
        chosen = "*" if columns is None else ", ".join(named) or "NULL"
        sql = f"SELECT {chosen} FROM {quoted(table.name)}"  # noqa: S608 (names quoted or ours, values bound)
        if rows == EVERY_ROW:
            return sql
        where = Where(lambda name: sides.get(name.lower()), params)
        return f"{sql} WHERE {where.sql(rows)} LIMIT -1 OFFSET 0"

    def run(self, fragment: Fragment, fetching: Fetching) -> Rows:
        started = time.monotonic()
        sql, params = sqlite_types.names_only(fragment.sql), dict(fragment.params)
        with self._connection(fetching.deadline) as connection, closing(connection.execute(sql, params)) as cursor:
            rows = cursor.fetchmany(fragment.max_rows + 1)
            names = [d[0] for d in cursor.description or ()]
        if len(rows) > fragment.max_rows:
            raise ResourceLimit(
                f"The query on {self.name} returns more than {fragment.max_rows} rows. "
                "Aggregate, filter, or raise the row limit.",
                source=self.name,
                max_rows=fragment.max_rows,
            )
        fetching.ledger.add(self.name, calls=1, rows=len(rows), ms=(time.monotonic() - started) * 1000)
        kinds = sqlite_types.kinds_of(rows, len(names))
        return Rows(tuple(zip(names, kinds, strict=True)), rows)

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _connection(self, deadline: Deadline, *, introspect: bool = False) -> Iterator[sqlite3.Connection]:
        deadline.need(f"source {self.name}")
        file, connection = self._take(deadline, introspect)
        connection.set_progress_handler(lambda: int(deadline.left() <= 0), 20_000)
        connection.text_factory = str
        healthy = True
        try:
            yield connection
        except sqlite3.Error as err:
            healthy = False
            raise self._explain(err, deadline) from None
        finally:
            connection.set_progress_handler(None, 0)
            with self._lock:
                keep = healthy and len(self._idle[introspect]) < IDLE
                if keep:
                    self._idle[introspect].append((file, connection))
            if not keep:
                connection.close()

    def _take(self, deadline: Deadline, introspect: bool) -> tuple[tuple[int, int], sqlite3.Connection]:
        path = self._locate()
        try:
            stat = path.stat()
        except OSError:
            raise SourceError(
                f"Source {self.name}: there is no SQLite database at {self._secret or path}. Check the url in "
                "omni.yaml (relative paths are relative to that file).",
                source=self.name,
                path=self._secret or str(path),
            ) from None
        file = (stat.st_dev, stat.st_ino)
        with self._lock:
            while self._idle[introspect]:
                opened, connection = self._idle[introspect].pop()
                if opened == file:
                    return file, connection
                connection.close()  # the file was replaced: what is open is the old one
        return file, self._connect(path, deadline, introspect)

    def _connect(self, path: Path, deadline: Deadline, introspect: bool) -> sqlite3.Connection:
        sqlite_types.register()
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro",
                uri=True,
                timeout=min(5.0, deadline.left()),
                isolation_level=None,
                check_same_thread=False,
                detect_types=sqlite3.PARSE_DECLTYPES,
            )
            connection.execute("PRAGMA query_only = 1").close()
            self._encoding = sqlite_types.ENCODINGS[connection.execute("PRAGMA encoding").fetchone()[0]]
        except sqlite3.Error as err:
            raise self._explain(err, deadline) from None
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        for function, convert in sqlite_types.FUNCTIONS.items():
            connection.create_function(function, 1, convert, deterministic=True)
        to_utf8 = sqlite_types.as_utf8(self._encoding)
        connection.create_function("omni_utf8", 1, to_utf8, deterministic=True)
        connection.set_authorizer(_may_introspect if introspect else _may_read)
        return connection

    def _explain(self, err: sqlite3.Error, deadline: Deadline) -> Exception:
        text = str(err)
        if "interrupted" in text and deadline.left() <= 0:
            return SourceTimeout(
                f"Source {self.name} did not answer within {deadline.seconds:g} s. Raise the timeout or ask for less.",
                source=self.name,
            )
        if "decode" in text:  # sqlite3 puts the value itself into this message
            text = "a text value is not valid UTF-8"
        missing = text.startswith(("no such table", "no such column")) or None
        hint = " A text is written in single quotes." if text.startswith("no such column") else ""
        return SourceError(f"Source {self.name}: SQLite says: {text}.{hint}", source=self.name, catalog_changed=missing)

    def close(self) -> None:
        """Close the idle connections; the source can still be used."""
        with self._lock:
            idle = self._idle[False] + self._idle[True]
            self._idle = {False: [], True: []}
        for _, connection in idle:
            connection.close()


def _may_read(action: int, first: str | None, second: str | None, schema: str | None, inner: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA and first == "schema_version" and second is None:
        return sqlite3.SQLITE_OK
    if action not in _READS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _BANNED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and (first or "").lower() in _CATALOGUE:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _may_introspect(action: int, first: str | None, second: str | None, schema: str | None, inner: str | None) -> int:
    return sqlite3.SQLITE_OK if action == sqlite3.SQLITE_PRAGMA and first in _LOOKS else sqlite3.SQLITE_DENY


def _column(name: str, declared: str) -> Column:
    kind = sqlite_types.duckdb_type(declared)
    return Column(name, kind, {} if kind == "BLOB" else EXACT_ALL)


def _select(scan: Scan, rows: Condition, sides: dict[str, SqliteSide]) -> tuple[str, dict[str, Any]]:
    where = Where(lambda name: sides.get(name.lower()))
    allowed = where.sql(rows)
    narrow, all_pushed = where.narrow(scan.narrow)
    leaving = ["NULL" if n.lower() in scan.blank else sides[n.lower()].leaves for n in scan.columns]
    chosen = ", ".join(f"{value} AS {quoted(f'c{i}')}" for i, value in enumerate(leaving))
    sql = f"SELECT {chosen} FROM {quoted(scan.table.name)} WHERE ({allowed}) AND ({narrow})"  # noqa: S608 (names quoted or ours, values bound)
    # A limit is only right where nothing behind the fetch drops a row.
    if scan.limit is not None and all_pushed:
        sql += f" LIMIT {int(scan.limit)}"
    return sql, where.params


def _convert(rows: Sequence[Sequence[Any]], readers: Sequence[Callable[[Any], Any] | None]) -> Sequence[Sequence[Any]]:
    if not any(readers):
        return rows
    columns = [
        values if read is None else [None if v is None else read(v) for v in values]
        for values, read in zip(zip(*rows, strict=True), readers, strict=True)
    ]
    return list(zip(*columns, strict=True))


def locate(url: str, root: Path, place: str) -> Path:
    """The file that ``sqlite:///shop.db`` (relative to ``root``) or ``sqlite:////var/shop.db`` means."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or "?" in url or not url[len(prefix) :] or ":memory:" in url:
        raise ConfigInvalid(
            f"{place}: the url of a sqlite source has to look like sqlite:///shop.db (relative to omni.yaml) "
            "or sqlite:////var/data/shop.db.",
            key="url",
        )
    path = Path(url[len(prefix) :])
    return path if path.is_absolute() else root / path
