"""CSV, JSON and Parquet files, read by DuckDB outside the locked engine, and only inside the configured folder.

A file is a table named after it; so is a subfolder whose files have one format. Types come from the whole file, or
from the rows that its asker may see, and what cannot be read is an error, never fewer rows.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
from arro3.core import RecordBatch, RecordBatchReader

from core.deadline import Deadline
from core.errors import Error, SourceError, SourceTimeout
from core.model import EVERY_OBJECT, EVERY_ROW, BatchStream, Column, Condition, Scan, Table
from core.source.arrow import Stream
from core.source.base import Fetching, same_name
from core.source.condition import EXACT_ALL, TRUE, Where
from core.source.file_formats import FORMATS, FileTable, columns_of, quoted, reader
from core.source.file_rows import FileSide, Shape, shape

MEMORY = "512MB"
KEPT_SHAPES = 1_000
_GLOB = re.compile(r"[*?\[]")
_LINE = re.compile(r"[Ll]ine:? (\d+)")
_RECORD = re.compile(r"record/value (\d+)")
_NUMBER = re.compile(r"(.+)_\d+", re.DOTALL)
_INFERRED: Mapping[str, Literal["", "types", "columns"]] = {"csv": "types", "json": "columns", "parquet": ""}
_FILTERABLE = re.compile(
    r"TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|DOUBLE|BOOLEAN|VARCHAR|DATE|TIMESTAMP|TIMESTAMPTZ|DECIMAL\(.*\)"
)


class FilesSource:
    """A file, a folder, or a glob. ``delimiter``: of CSV files, where not given what their header line shows."""

    kind = "files"
    connector = "files"

    def __init__(self, name: str, path: Path, *, delimiter: str | None = None) -> None:
        self.name = name
        self.path = path
        self.delimiter = delimiter
        self._described: dict[str, tuple[object, Table]] = {}
        self._shapes: dict[tuple[str, str], tuple[object, Shape]] = {}
        self._lock = threading.Lock()

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────────────

    def table_names(self, deadline: Deadline) -> Sequence[str]:
        return sorted(self._tables())

    def table(self, name: str, deadline: Deadline) -> Table | None:
        wanted = name.lower()
        found = next((t for n, t in self._tables().items() if n.lower() == wanted), None)
        return self._describe(found, deadline) if found else None

    def table_for(self, name: str, rows: Condition, deadline: Deadline) -> Table | None:
        """As ``table``, with the columns and types of the rows in ``rows``: others have no say in them."""
        wanted = name.lower()
        found = next((t for n, t in self._tables().items() if n.lower() == wanted), None)
        return self._describe_for(found, rows, deadline) if found else None

    def _tables(self) -> dict[str, FileTable]:
        if _GLOB.search(str(self.path)):
            return self._from_glob()
        if not self.path.exists():
            raise SourceError(
                f"Source {self.name}: there is no file or folder {self.path}. Check the path in omni.yaml "
                "(relative paths are relative to that file).",
                source=self.name,
                path=str(self.path),
            )
        if self.path.is_file():
            return self._unique([self._single(self.path)])
        found = []
        for entry in sorted(self.path.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                inner = self._folder(entry)
                if inner:
                    found.append(inner)
            elif _is_data(entry):
                found.append(self._single(entry))
        return self._unique(found)

    def _from_glob(self) -> dict[str, FileTable]:
        """Each file that the pattern finds is a table; no match is an error, not an empty source."""
        base = Path(self.path.anchor)
        found = sorted(p for p in base.glob(str(self.path.relative_to(base))) if _is_data(p))
        if not found:
            raise SourceError(
                f"Source {self.name}: no CSV, JSON or Parquet file matches {self.path}.",
                source=self.name,
                path=str(self.path),
            )
        return self._unique([self._single(p) for p in found])

    def _single(self, file: Path) -> FileTable:
        self._inside(file)
        format_ = FORMATS.get(file.suffix.lower())
        if format_ is None:
            raise SourceError(
                f"Source {self.name}: {file.name} is none of {', '.join(sorted(FORMATS))}.",
                source=self.name,
                path=str(file),
            )
        return FileTable(file.stem, format_, (file,))

    def _folder(self, folder: Path) -> FileTable | None:
        files = tuple(sorted(f for f in folder.iterdir() if _is_data(f)))
        if not files:
            return None
        for file in files:
            self._inside(file)
        if len({f.suffix.lower() for f in files}) > 1:
            raise SourceError(
                f"Source {self.name}: the files in {folder.name}/ have several formats, but are one table.",
                source=self.name,
                path=str(folder),
            )
        return FileTable(folder.name, FORMATS[files[0].suffix.lower()], files)

    def _unique(self, tables: Sequence[FileTable]) -> dict[str, FileTable]:
        found: dict[str, FileTable] = {}
        for table in tables:
            if table.name.lower() in {n.lower() for n in found}:
                raise SourceError(
                    f"Source {self.name}: two files give a table {table.name}. Rename one of them.",
                    source=self.name,
                    table=table.name,
                )
            found[table.name] = table
        return found

    def _root(self) -> Path:
        """The folder that nothing may leave, symbolic links followed."""
        path = self.path
        while _GLOB.search(str(path)):
            path = path.parent
        return (path if path.is_dir() else path.parent).resolve()

    def _inside(self, file: Path) -> None:
        if not file.resolve().is_relative_to(self._root()):
            raise SourceError(
                f"Source {self.name}: {file.name} is a link that leaves {self._root()}, and is not read.",
                source=self.name,
                path=str(file),
            )

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _connect(self, deadline: Deadline) -> duckdb.DuckDBPyConnection:
        """A connection that sees this folder and nothing else."""
        milliseconds = max(1, int(deadline.need(f"source {self.name}") * 1000))
        root = str(self._root()).replace("'", "''")
        connection = duckdb.connect()
        for setting in (
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "allow_community_extensions = false",
            "python_enable_replacements = false",
            f"memory_limit = '{MEMORY}'",
            "temp_directory = ''",
            "threads = 2",
            "TimeZone = 'UTC'",
            "arrow_lossless_conversion = true",
            f"max_execution_time = {milliseconds}",
            f"allowed_directories = ['{root}']",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        return connection

    def _describe(self, table: FileTable, deadline: Deadline) -> Table:
        state = table.state()
        with self._lock:
            known = self._described.get(table.name)
        if known is not None and known[0] == state:
            return known[1]
        try:
            with self._connect(deadline) as connection:
                pairs = columns_of(connection, table, self.delimiter)
                self._check_case(connection, table, [name for name, _ in pairs])
        except duckdb.Error as err:
            raise self._explain(err, table, deadline) from None
        if table.format == "json" and _numbered([name for name, _ in pairs]):
            pairs = list(self._shape(table, EVERY_ROW, deadline).columns)
        described = self._as_table(table, pairs)
        with self._lock:
            self._described[table.name] = (state, described)
        return described

    def _check_case(self, connection: duckdb.DuckDBPyConnection, table: FileTable, names: Sequence[str]) -> None:
        if table.format != "parquet" or not _numbered(names):
            return
        written = {
            row[0] for row in connection.execute("SELECT name FROM parquet_schema($files)", table.bind()).fetchall()
        }
        made = [name for name in names if name not in written]
        if made:
            raise same_name(
                f"{self.name}.{table.name}", [n for n in written if n.lower() == made[0].rpartition("_")[0].lower()]
            )

    def _describe_for(self, table: FileTable, rows: Condition, deadline: Deadline) -> Table:
        if not _by_rows(table, rows):
            return self._describe(table, deadline)
        return self._as_table(table, self._shape(table, rows, deadline).columns)

    def _as_table(self, table: FileTable, pairs: Iterable[tuple[str, str]]) -> Table:
        columns = tuple(Column(n, t, EXACT_ALL if _FILTERABLE.fullmatch(t) else {}) for n, t in pairs)
        return Table(self.name, table.name, columns, inferred=_INFERRED[table.format])

    def _shape(self, table: FileTable, rows: Condition, deadline: Deadline) -> Shape:
        state, key = table.state(), (table.name, repr(rows))
        with self._lock:
            known = self._shapes.get(key)
        if known is not None and known[0] == state:
            return known[1]
        try:
            with self._connect(deadline) as connection:
                found = shape(connection, self.name, table, self.delimiter, rows)
        except duckdb.Error as err:
            raise self._explain(err, table, deadline, rows) from None
        with self._lock:
            while len(self._shapes) >= KEPT_SHAPES:
                del self._shapes[next(iter(self._shapes))]
            self._shapes[key] = (state, found)
        return found

    def open(self, scan: Scan, fetching: Fetching) -> BatchStream:
        return self.open_filtered(scan, EVERY_ROW, fetching)

    def open_filtered(self, scan: Scan, rows: Condition, fetching: Fetching) -> BatchStream:
        """As ``open``, and rows outside ``rows`` do not leave the connection that reads the files.

        ``scan.table`` is what ``table_for`` gives for ``rows``.
        """
        found = self._tables().get(scan.table.name)
        if rows == EVERY_ROW and any(c.raw for c in scan.table.columns):
            rows = EVERY_OBJECT
        if found is None or not _still(self._describe_for(found, rows, fetching.deadline), scan.table):
            raise SourceError(
                f"{scan.table.full_name} has changed since the catalog was read. Ask again.",
                table=scan.table.full_name,
                catalog_changed=True,
            )
        connection = self._connect(fetching.deadline)
        try:
            sql, params = self._select(scan, found, rows, fetching.deadline)
            batches = RecordBatchReader.from_arrow(connection.sql(sql, params=params))
        except BaseException as err:
            connection.close()
            if isinstance(err, duckdb.Error):
                raise self._explain(err, found, fetching.deadline, rows) from None
            raise
        return Stream(batches.schema, self._batches(batches, connection, found, scan, rows, fetching))

    def _select(self, scan: Scan, table: FileTable, rows: Condition, deadline: Deadline) -> tuple[str, dict[str, Any]]:
        sides = {c.name.lower(): FileSide(c) for c in scan.table.columns}
        where = Where(lambda name: sides.get(name.lower()), mark="$")
        chosen = ", ".join(quoted(sides[n.lower()].column) for n in scan.columns)
        params = table.bind()
        by_keys = table.format == "json" and _numbered([c.name for c in scan.table.columns])
        if by_keys or _by_rows(table, rows):
            found = self._shape(table, rows, deadline).showing([(c.name, c.type) for c in scan.table.columns])
            source, allowed = f"({found.permitted(rows, params, checked=True)})", TRUE
        else:
            source = reader(table, [(c.name, c.type) for c in scan.table.columns], self.delimiter)
            allowed = where.sql(rows)
        narrow, all_pushed = where.narrow(scan.narrow)
        sql = f"SELECT {chosen} FROM {source} WHERE ({allowed}) AND ({narrow})"  # noqa: S608 (names quoted or ours, values bound)
        if scan.limit is not None and all_pushed:
            sql += f" LIMIT {int(scan.limit)}"
        return sql, {**params, **where.params}

    def _batches(
        self,
        batches: RecordBatchReader,
        connection: duckdb.DuckDBPyConnection,
        table: FileTable,
        scan: Scan,
        rows: Condition,
        fetching: Fetching,
    ) -> Iterator[RecordBatch]:
        ledger, total = fetching.ledger, 0
        ledger.add(self.name, calls=1, size=sum(size for _, _, size in table.state()))
        ledger.fetched(scan.table.full_name, datetime.now(UTC), 0.0, False)
        try:
            while True:
                started = time.monotonic()
                try:
                    batch = next(batches, None)
                except Exception as err:  # noqa: BLE001  arro3 raises a bare Exception for an error inside the stream
                    raise self._explain(err, table, fetching.deadline, rows) from None
                ledger.add(self.name, ms=(time.monotonic() - started) * 1000)
                if batch is None:
                    return
                total += batch.num_rows
                if fetching.progress is not None:
                    fetching.progress(self.name, scan.table.name, rows=total, calls=1, total_calls=1)
                yield batch
        finally:
            del batches
            connection.close()

    def _explain(self, err: Exception, table: FileTable, deadline: Deadline, rows: Condition = EVERY_ROW) -> Error:
        """Which file and line, from DuckDB's text, which also repeats the line itself and so is never shown.

        Who may see only some rows is not told the line: it counts the hidden ones.
        """
        said = str(err)
        if deadline.left() <= 0 or "max_execution_time" in said or "Interrupted" in said:
            return SourceTimeout(f"Source {self.name}: reading {table.name} took too long.", source=self.name)
        if "Out of Memory" in said or "memory_limit" in said:
            what = f"needs more than {MEMORY} to read"
        else:
            what = f"is not valid {table.format.upper()}, or has rows of another shape. Correct the file"
        file = next((f.name for f in table.files if str(f) in said), table.files[0].name)
        if rows != EVERY_ROW:
            return SourceError(f"Source {self.name}: {file} {what}.", source=self.name, file=file)
        line, record = _LINE.search(said.split("\n\nLINE 1:")[0]), _RECORD.search(said)
        place = f", line {line[1]}" if line else f", record {record[1]}" if record else ""
        return SourceError(
            f"Source {self.name}: {file}{place} {what}.",
            source=self.name,
            file=file,
            line=int(line[1]) if line else None,
        )


def _by_rows(table: FileTable, rows: Condition) -> bool:
    """Whether the table's shape depends on which rows are permitted: Parquet brings its own."""
    return rows != EVERY_ROW and table.format != "parquet"


def _numbered(names: Sequence[str]) -> bool:
    """Whether two names may differ in case only: DuckDB gives the second a number (``id_1``), which no mask knows."""
    known = {name.lower() for name in names}
    return any((m := _NUMBER.fullmatch(name)) and m[1] in known for name in known)


def _still(current: Table, planned: Table) -> bool:
    """Whether the table is what was planned with. Raw columns are texts, which anything can be read as."""
    raw = {c.name.lower() for c in planned.columns if c.raw}
    others = [c for c in planned.columns if not c.raw]
    if raw and not others:
        return True
    return [c for c in current.columns if c.name.lower() not in raw] == others


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in FORMATS and not path.name.startswith(".")
