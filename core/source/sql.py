"""PostgreSQL through SQLAlchemy and psycopg: read-only transactions, a statement timeout, server-side cursors.

Tables of the default schema go by their name, others as ``schema.table``.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from arro3.core import RecordBatch

from core.deadline import Deadline
from core.errors import ConfigInvalid, Error, ResourceLimit, SourceAuth, SourceError, SourceTimeout
from core.model import EVERY_ROW, BatchStream, Column, Condition, Scan, Table
from core.source.arrow import Stream, rows_to_batch, scan_schema, schema_of
from core.source.base import Fetching, Fragment, Rows, same_name
from core.source.condition import EXACT_ALL, Where
from core.source.postgres_types import PostgresColumn, PostgresSide, described, quoted

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BATCH = 10_000
CONNECT_S = 10
_GONE = ("42P01", "42703")
"""SQLSTATEs: undefined_table, undefined_column."""
_FOREIGN = ("42883", "42704")
"""undefined_function (operators too), undefined_object (types)."""
_SCHEME = re.compile(r"(postgres|postgresql)(\+\w+)?://")
_SETTINGS = """
SET LOCAL statement_timeout = {0}; SET LOCAL lock_timeout = {0};
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO';
SELECT pg_catalog.set_config('omnisentinel.schema', coalesce(pg_catalog.current_schema(), ''), true);
SET LOCAL search_path = pg_catalog, pg_temp
"""
"""A name without a schema is the system's own: an operator or an overload that somebody has added runs their code,
with the rights of our user. The default schema is noted before, for the names of tables."""
_TABLES = """
SELECT CASE n.nspname WHEN current_setting('omnisentinel.schema') THEN c.relname
       ELSE n.nspname || '.' || c.relname END AS name, n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
"""
_COLUMNS = """
WITH RECURSIVE kinds AS (
  SELECT a.attnum, a.attname, a.atttypid AS oid, a.atttypmod AS modifier
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
    AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
  UNION ALL
  SELECT k.attnum, k.attname, t.typbasetype, t.typtypmod
  FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.oid WHERE t.typtype = 'd'
)
SELECT k.attname, t.typname, k.modifier, t.typcategory IN ('A', 'C', 'R') OR t.typname = 'hstore'
FROM kinds k JOIN pg_catalog.pg_type t ON t.oid = k.oid
WHERE t.typtype <> 'd' ORDER BY k.attnum
"""


class PostgresSource:
    """One PostgreSQL database. ``address`` gives (URL, password or None) when first needed: it may be a secret."""

    kind = "sql"
    dialect = "postgres"
    connector = "postgres"

    def __init__(self, name: str, address: Callable[[], tuple[str, str | None]], *, place: str = "") -> None:
        self.name = name
        self._address = address
        self._configured = place
        self._lock = threading.Lock()
        self._engine: tuple[tuple[str, str | None], Engine] | None = None
        self._qualified: dict[str, str] = {}

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────────────

    def table_names(self, deadline: Deadline) -> Sequence[str]:
        with self._reading(deadline) as connection:
            return sorted(row[0] for row in connection.exec_driver_sql(_TABLES.replace("%", "%%")))

    def table(self, name: str, deadline: Deadline) -> Table | None:
        with self._reading(deadline) as connection:
            found = [
                row for row in connection.exec_driver_sql(_TABLES.replace("%", "%%")) if row[0].lower() == name.lower()
            ]
            exact = [row for row in found if row[0] == name] or found
            if not exact:
                return None
            if len(exact) > 1:
                raise SourceError(
                    f"Source {self.name} has several tables {name} that differ in case only: spell it as it is.",
                    source=self.name,
                    table=name,
                )
            name, schema, relation = exact[0]
            self._qualified[name] = f"{quoted(schema)}.{quoted(relation)}"
            columns = self._columns(connection, self._qualified[name])
        for column in columns:
            same = [c.name for c in columns if c.name.lower() == column.name.lower()]
            if len(same) > 1:
                raise same_name(f"{self.name}.{name}", same)
        return Table(self.name, name, tuple(_column(c) for c in columns))

    def default_schema(self, deadline: Deadline) -> str:
        """The schema whose tables go by their name alone."""
        with self._reading(deadline) as connection:
            return str(connection.exec_driver_sql("SELECT current_setting('omnisentinel.schema')").scalar_one())

    def _columns(self, connection: Connection, qualified: str) -> list[PostgresColumn]:
        rows = connection.exec_driver_sql(_COLUMNS, {"table": qualified})
        return [PostgresColumn(*row) for row in rows]

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, scan: Scan, fetching: Fetching) -> BatchStream:
        return self.open_filtered(scan, EVERY_ROW, fetching)

    def open_filtered(self, scan: Scan, rows: Condition, fetching: Fetching) -> BatchStream:
        columns = scan_schema(scan)
        return Stream(schema_of(columns), self._batches(scan, rows, columns, fetching))

    def _batches(
        self, scan: Scan, rows: Condition, columns: Sequence[tuple[str, str]], fetching: Fetching
    ) -> Iterator[RecordBatch]:
        schema, ledger, where = schema_of(columns), fetching.ledger, scan.table.full_name
        ledger.add(self.name, calls=1)
        ledger.fetched(where, datetime.now(UTC), 0.0, False)
        total = 0
        with self._reading(fetching.deadline) as connection:
            qualified = self._place(connection, scan.table.name)
            sides = self._sides(scan.table, self._columns(connection, qualified))
            sql, params = _select(scan, rows, sides, qualified)
            result = connection.execution_options(stream_results=True).exec_driver_sql(sql, params)
            while True:
                fetching.deadline.need(where)
                started = time.monotonic()
                raw = result.fetchmany(BATCH)
                ledger.add(self.name, ms=(time.monotonic() - started) * 1000)
                if not raw:
                    return
                total += len(raw)
                if fetching.progress is not None:
                    fetching.progress(self.name, scan.table.name, rows=total, calls=1, total_calls=1)
                yield rows_to_batch(raw, columns, schema, where, scan.masked)

    def _place(self, connection: Connection, name: str) -> str:
        """The table's schema and name, as found when it was described."""
        known = self._qualified.get(name)
        if known is not None:
            return known
        for found, schema, relation in connection.exec_driver_sql(_TABLES.replace("%", "%%")):
            self._qualified[found] = f"{quoted(schema)}.{quoted(relation)}"
        if name not in self._qualified:
            raise SourceError(
                f"Source {self.name} has no table {name}.", source=self.name, table=name, catalog_changed=True
            )
        return self._qualified[name]

    def _sides(self, table: Table, current: Sequence[PostgresColumn]) -> dict[str, PostgresSide]:
        sides = {c.name: PostgresSide(c) for c in current}
        if not sides:
            raise SourceError(f"{table.full_name} is no longer there.", table=table.full_name, catalog_changed=True)
        for column in table.columns:
            side = sides.get(column.name)
            if side is None or side.type != column.type:
                raise SourceError(
                    f"{table.full_name}: column {column.name} has changed since the catalog was read. Ask again.",
                    table=table.full_name,
                    column=column.name,
                    catalog_changed=True,
                )
        return sides

    def permitted(
        self,
        table: Table,
        columns: Sequence[tuple[str, str]] | None,
        rows: Condition,
        params: dict[str, Any],
        deadline: Deadline,
    ) -> str:
        with self._reading(deadline) as connection:
            qualified = self._place(connection, table.name)
            sides = self._sides(table, self._columns(connection, qualified))
        shown = [(name, sides[name].plain(sql) if name in sides else sql) for name, sql in columns or ()]
        named = [f"{expression} AS {quoted(name)}" for name, expression in shown]
        chosen = _as_stored(sides) if columns is None else ", ".join(named) or "NULL"
        sql = f"SELECT {chosen} FROM {qualified}"  # noqa: S608 (names quoted or ours, values bound)
        if rows == EVERY_ROW:
            return sql
        by_name = {name.lower(): side for name, side in sides.items()}
        where = Where(lambda name: sides.get(name) or by_name.get(name.lower()), params)
        return f"{sql} WHERE {where.sql(rows)} OFFSET 0"

    def run(self, fragment: Fragment, fetching: Fetching) -> Rows:
        started = time.monotonic()
        sql, params = driver_sql(fragment.sql, fragment.params)
        with self._reading(fetching.deadline) as connection:
            result = connection.execution_options(stream_results=True).exec_driver_sql(sql, params)
            columns = tuple((d[0], described(d)) for d in result.cursor.description or ())
            rows = [tuple(row) for row in result.fetchmany(fragment.max_rows + 1)]
        if len(rows) > fragment.max_rows:
            raise ResourceLimit(
                f"The query on {self.name} returns more than {fragment.max_rows} rows. "
                "Aggregate, filter, or raise the row limit.",
                source=self.name,
                max_rows=fragment.max_rows,
            )
        fetching.ledger.add(self.name, calls=1, rows=len(rows), ms=(time.monotonic() - started) * 1000)
        return Rows(columns, rows)

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _reading(self, deadline: Deadline) -> Iterator[Connection]:
        """A pooled connection in a read-only transaction whose statements end with the deadline."""
        from sqlalchemy.exc import SQLAlchemyError

        left = deadline.need(f"source {self.name}")
        engine = self._ready()
        try:
            with engine.connect().execution_options(postgresql_readonly=True) as connection:
                milliseconds = max(1, int(left * 1000))
                connection.exec_driver_sql(_SETTINGS.format(milliseconds))
                yield connection
        except SQLAlchemyError as err:
            raise self._explain(err, deadline) from None

    def _ready(self) -> Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        address = self._address()
        with self._lock:
            if self._engine is not None and self._engine[0] == address:
                return self._engine[1]
            check_url(address[0], self._configured or f"source {self.name}")
            try:
                url = make_url(_SCHEME.sub("postgresql+psycopg://", address[0], count=1))
                if address[1] is not None:
                    url = url.set(password=address[1])
                engine = create_engine(
                    url,
                    pool_size=4,
                    max_overflow=12,
                    pool_timeout=CONNECT_S,
                    pool_recycle=300,
                    pool_pre_ping=True,
                    hide_parameters=True,
                    connect_args={
                        "connect_timeout": CONNECT_S,
                        "application_name": "omnisentinel",
                        "client_encoding": "utf8",
                        "tcp_user_timeout": 30_000,
                    },
                )
            except (ArgumentError, ValueError):
                raise ConfigInvalid(
                    f"{self._configured}: the url of source {self.name} cannot be read.", key="url"
                ) from None
            if self._engine is not None:
                self._engine[1].dispose()  # the secret was rotated
            self._engine = (address, engine)
            return engine

    def _explain(self, err: Exception, deadline: Deadline) -> Error:
        """What happened, by SQLSTATE alone: PostgreSQL's own texts repeat values of rows, libpq's the address."""
        cause = getattr(err, "orig", None) or err
        state = getattr(cause, "sqlstate", None)
        if state == "57014" or (state == "55P03" and deadline.left() <= 0):
            return SourceTimeout(
                f"Source {self.name} did not answer within {deadline.seconds:g} s. Raise the timeout or ask for less.",
                source=self.name,
            )
        said = str(cause)
        if (state or "").startswith("28") or "password authentication failed" in said or "no password supplied" in said:
            return SourceAuth(
                f"Source {self.name}: PostgreSQL refused the user or password. Check the url and the secret.",
                source=self.name,
            )
        if state == "42501":
            return SourceAuth(
                f"Source {self.name}: the database user may not read this. GRANT SELECT on the table.", source=self.name
            )
        if state is None:
            what = (
                "cannot be reached, or the connection broke"
                if _is_connection(cause)
                else "sent a value that cannot be read"
            )
            return SourceError(f"Source {self.name}: PostgreSQL {what} ({type(cause).__name__}).", source=self.name)
        hint = " Only operators, functions and types of the system itself can be used." if state in _FOREIGN else ""
        return SourceError(
            f"Source {self.name}: PostgreSQL says {_condition(cause)} ({state}).{hint}",
            source=self.name,
            sqlstate=state,
            catalog_changed=state in _GONE or None,
        )

    def close(self) -> None:
        """Close the pool; the source can still be used."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine[1].dispose()


def check_url(url: str, place: str) -> None:
    """ConfigInvalid (which does not repeat the URL: it may hold a password) unless it is a PostgreSQL one."""
    if not _SCHEME.match(url):
        raise ConfigInvalid(
            f"{place}: the url of a postgres source has to look like postgresql://user@host:5432/database.",
            place=place,
            key="url",
        )


def _is_connection(cause: BaseException) -> bool:
    return type(cause).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError", "TimeoutError")


def _condition(cause: BaseException) -> str:
    """The name of the SQLSTATE as words: UndefinedTable -> undefined table."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(cause).__name__).lower()


def _column(column: PostgresColumn) -> Column:
    kind = column.type
    filterable = kind not in ("BLOB", "JSON")
    return Column(column.name, kind, EXACT_ALL if filterable else {})


def _select(
    scan: Scan, rows: Condition, sides: Mapping[str, PostgresSide], qualified: str
) -> tuple[str, dict[str, Any]]:
    by_name = {name.lower(): side for name, side in sides.items()}
    where = Where(lambda name: sides.get(name) or by_name.get(name.lower()))
    allowed = where.sql(rows)
    narrow, all_pushed = where.narrow(scan.narrow)
    leaving = [(n.lower(), sides.get(n) or by_name[n.lower()]) for n in scan.columns]
    values = [
        "NULL" if name in scan.blank else side.readable() if name in scan.masked else side.leaves
        for name, side in leaving
    ]
    chosen = ", ".join(f"{value} AS {quoted(f'c{i}')}" for i, value in enumerate(values))
    sql = f"SELECT {chosen} FROM {qualified} WHERE ({allowed}) AND ({narrow})"  # noqa: S608 (names quoted or ours, values bound)
    if scan.limit is not None and all_pushed:
        sql += f" LIMIT {int(scan.limit)}"
    return driver_sql(sql, where.params)


def _as_stored(sides: Mapping[str, PostgresSide]) -> str:
    """Every column of a table of which all may be read."""
    return ", ".join(f"{side.plain(side.name)} AS {side.name}" for side in sides.values()) or "NULL"


_TOKEN = re.compile(
    r"""(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')|(?P<text>'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")"""
    r"""|(?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)|(?P<cast>::)|(?<![\w:]):(?P<param>[A-Za-z_]\w*)|(?P<percent>%)""",
    re.DOTALL,
)


def driver_sql(sql: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """``:name`` placeholders to psycopg's, outside texts and quoted names; every other % is a %."""

    def swap(found: re.Match[str]) -> str:
        name = found["param"]
        if name is not None and name in params:
            return f"%({name})s"
        return found[0].replace("%", "%%")

    return _TOKEN.sub(swap, sql), dict(params)
