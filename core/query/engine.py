"""Batches -> rows, in a locked DuckDB that holds permitted data only, under fresh names.

Three things make it safe to run what a stranger wrote: the SQL is generated from an allow-listed tree; DuckDB's own
reading of it is checked once more against the allow-list; and the database can reach no file, no network, no
extension and no variable of this process.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from core.deadline import Deadline
from core.errors import Error, Internal, ResourceLimit, SourceError, SourceTimeout, SqlRejected
from core.query import allowed

BATCH = 2_048
MAX_KEYS = 100
"""How many values of a join column another source is asked for, one chain of calls each."""


@dataclass(frozen=True, slots=True)
class Limits:
    memory: str = "512MB"
    threads: int = 1
    max_rows: int = 100_000
    max_bytes: int = 50_000_000


@dataclass(frozen=True, slots=True)
class Table:
    """A stream to be read under ``name``; ``single_read`` False: loaded first, for it may be read again."""

    name: str
    stream: Any
    single_read: bool


def verify(sql: str, tables: Iterable[str]) -> None:
    """``Session.verify`` where there is no session."""
    with duckdb.connect(":memory:") as connection:
        _verify(connection, sql, tables)


def _verify(connection: duckdb.DuckDBPyConnection, sql: str, tables: Iterable[str]) -> None:
    (text,) = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()  # all: else it stays busy
    tree = json.loads(text[0])
    if tree.get("error"):
        raise SqlRejected(_clean(str(tree.get("error_message", "DuckDB cannot read the query.")), {}))
    if len(tree.get("statements", ())) != 1:
        raise SqlRejected("Only one statement may be asked at a time.")
    _verify_node(tree, {name.lower() for name in tables}, set())


def _verify_node(tree: Any, tables: set[str], ctes: set[str]) -> None:
    stack = [tree]
    names: list[str] = []
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
            continue
        if not isinstance(node, dict):
            continue
        kind = node.get("type")
        if kind == "BASE_TABLE":
            if node.get("schema_name") or node.get("catalog_name"):
                raise SqlRejected("A table of another schema may not be named here.")
            names.append(str(node.get("table_name", "")).lower())
        elif kind == "SHOW_REF":
            raise SqlRejected("Only queries (SELECT) may be asked.")
        elif kind == "TABLE_FUNCTION":
            function = node.get("function") or {}
            name = str(function.get("function_name", "")).lower()
            if name not in allowed.ENGINE_TABLE_FUNCTIONS:
                raise SqlRejected(f"The function {name} may not follow FROM.", function=name)
            stack += list(function.get("children", ()))
            continue
        elif "function_name" in node:
            _verify_function(node)
        for key in ("cte_map",):
            entries = (node.get(key) or {}).get("map") or []
            ctes |= {str(entry.get("key", "")).lower() for entry in entries if isinstance(entry, dict)}
        stack += list(node.values())
    for name in names:
        if name not in tables and name not in ctes:
            raise SqlRejected(f"The name {name!r} is no table of this query.")


def _verify_function(node: Mapping[str, Any]) -> None:
    name = str(node["function_name"]).lower()
    if node.get("schema") or node.get("catalog"):
        raise SqlRejected("A function of another schema may not be used.", function=name)
    if (not name[:1].isalpha() or name in allowed.ENGINE_FUNCTIONS) and not name.startswith("__internal"):
        return
    raise SqlRejected(f"The function {name} is not on the list of functions that may be used.", function=name)


class Session:
    """One locked database for one query. Use as a context manager: leaving closes it.

    ``names``: fresh name -> name in the query, for messages.
    Its methods raise SqlRejected (binding, conversion), ResourceLimit (memory, rows) and SourceTimeout (the deadline);
    where a stream failed, its own error is to be raised instead (``fetch.Streams.error``).
    """

    def __init__(self, deadline: Deadline, limits: Limits, timezone: str, names: Mapping[str, str]) -> None:
        self._deadline = deadline
        self._limits = limits
        self._names = names
        self._connection = duckdb.connect(":memory:")
        with self._translated():
            _harden(self._connection, deadline, limits, timezone)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def verify(self, sql: str, tables: Iterable[str]) -> None:
        """Check DuckDB's own tree of ``sql``: one SELECT over ``tables`` with allow-listed functions, or SqlRejected.

        Before anything is fetched; another database for it would cost 20 ms of each query.
        """
        _verify(self._connection, sql, tables)

    def add(self, table: Table) -> None:
        """Make a stream readable under its name; one that is read more than once is read whole now."""
        if table.single_read:
            self._connection.register(table.name, table.stream)
            return
        with self._translated():
            self._connection.register(f"{table.name}_in", table.stream)
            self._connection.execute(f'CREATE TEMP TABLE "{table.name}" AS FROM "{table.name}_in"')
            self._connection.unregister(f"{table.name}_in")

    def keys(self, name: str, column: str) -> tuple[Any, ...]:
        """The values of a column of a table that was read whole, without NULL; at most MAX_KEYS."""
        quoted = column.replace('"', '""')
        with self._translated():
            rows = self._connection.execute(
                f'SELECT DISTINCT "{quoted}" FROM "{name}" '  # noqa: S608 a quoted column of ours
                f'WHERE "{quoted}" IS NOT NULL ORDER BY 1 LIMIT {MAX_KEYS + 1}'
            ).fetchall()
        if len(rows) > MAX_KEYS:
            raise ResourceLimit(
                f"The join would ask the other source for more than {MAX_KEYS} values of {column}. "
                "Narrow this side with a predicate.",
                max_keys=MAX_KEYS,
            )
        return tuple(row[0] for row in rows)

    def run(
        self, sql: str, row_limit: int | None = None
    ) -> tuple[tuple[tuple[str, str], ...], list[tuple[Any, ...]], bool]:
        """Run ``sql``: (columns, rows, complete); not complete only where ``row_limit`` cut."""
        with self._translated():
            self._connection.execute("SET lock_configuration=true")
            self._connection.execute(sql)
            columns = tuple((d[0], str(d[1])) for d in self._connection.description or ())
            rows, complete = _rows(self._connection, self._limits, row_limit)
        return columns, rows, complete

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise _translate(error, self._deadline, self._names) from None


def _harden(connection: Any, deadline: Deadline, limits: Limits, timezone: str) -> None:
    """Close every door that is not a registered stream. The order matters: file access goes last but the lock."""
    milliseconds = max(1, int(deadline.need("the engine") * 1000))
    zone = timezone.replace("'", "")
    connection.execute(
        f"""
        SET autoinstall_known_extensions=false; SET autoload_known_extensions=false;
        SET allow_community_extensions=false; SET allow_extension_repositories='forbidden';
        SET allow_persistent_secrets=false; SET python_enable_replacements=false;
        SET memory_limit='{limits.memory}'; SET threads={limits.threads};
        SET temp_directory=''; SET enable_external_file_cache=false;
        SET max_expression_depth=250; SET pivot_limit=1000; SET preserve_insertion_order=true;
        SET TimeZone='{zone}';
        SET max_execution_time={milliseconds};
        SET disabled_filesystems='LocalFileSystem'; SET enable_external_access=false;
        """
    )


def _rows(connection: Any, limits: Limits, row_limit: int | None) -> tuple[list[tuple[Any, ...]], bool]:
    rows: list[tuple[Any, ...]] = []
    size = 0
    while True:
        batch = connection.fetchmany(BATCH)
        if not batch:
            return rows, True
        rows += batch
        if row_limit is not None and len(rows) > row_limit:
            return rows[:row_limit], False
        if len(rows) > limits.max_rows:
            raise ResourceLimit(
                f"The answer has more than {limits.max_rows:,} rows. Aggregate, add a LIMIT or a predicate.",
                max_rows=limits.max_rows,
            )
        size += sum(len(v) if isinstance(v, str | bytes) else 8 for row in batch for v in row)
        if size > limits.max_bytes:
            raise ResourceLimit(
                f"The answer is larger than {limits.max_bytes:,} bytes. Select fewer columns or rows.",
                max_bytes=limits.max_bytes,
            )


_CALLER = (
    "BinderException",
    "CatalogException",
    "ParserException",
    "SyntaxException",
    "ConversionException",
    "OutOfRangeException",
    "InvalidInputException",
    "TypeMismatchException",
    "ConstraintException",
    "NotImplementedException",
    "InvalidTypeException",
    "DataError",
    "ProgrammingError",
)


def _translate(error: duckdb.Error, deadline: Deadline, names: Mapping[str, str]) -> Error:
    kind, text = type(error).__name__, _clean(str(error), names)
    if kind == "OutOfMemoryException":
        return ResourceLimit("The query needs more memory than one request may use. Aggregate or filter earlier.")
    if kind == "InterruptException":
        return SourceTimeout(
            f"The query did not finish within {deadline.seconds:g} s. Raise the timeout or ask for less."
        )
    if "reading the stream" in text:
        return SourceError("A source stopped in the middle of its rows. Ask again.")
    if kind in _CALLER or isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.NotSupportedError):
        return SqlRejected(text)
    return Internal(f"The engine failed ({kind}).")


def _clean(text: str, names: Mapping[str, str]) -> str:
    """DuckDB's first paragraph, with the query's own table names."""
    first = text.split("\n\n")[0].split("Candidate functions")[0]
    kept = [line.strip() for line in first.split("\n") if line.strip() and not line.startswith("LINE ")]
    result = " ".join(kept)
    for fresh, name in sorted(names.items(), key=lambda pair: -len(pair[0])):
        result = result.replace(fresh, name)
    return result
