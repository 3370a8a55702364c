"""How DuckDB reads each file format: the table function, and the types of the columns.

Nothing is guessed that could drop rows: DuckDB's CSV sniffer skips lines it does not understand, so the header is
read here, the types are decided by looking at every value, and the reader runs with detection off.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import SourceError

if TYPE_CHECKING:
    import duckdb

FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".ndjson": "json", ".jsonl": "json", ".parquet": "parquet"}
DELIMITERS = (",", ";", "\t", "|")
ALIASES = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
_NESTED = re.compile(r"STRUCT\(|MAP\(|UNION\(|.*\[\d*\]$")

# Which type a CSV column gets: the first whose pattern fits every value that is not empty, checked by a real cast.
# Numbers with leading zeros (post codes) and other ways to write a date than ISO 8601 stay texts.
CSV_TYPES: tuple[tuple[str, str], ...] = (
    ("BIGINT", r"-?(0|[1-9][0-9]*)"),
    ("DOUBLE", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"),
    ("BOOLEAN", r"(?i:true|false)"),
    ("DATE", r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    ("TIMESTAMP", r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"),
    (
        "TIMESTAMPTZ",
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)",
    ),
)

# The same for JSON, where the value itself tells texts from numbers.
_WHOLE = CSV_TYPES[0][1]
JSON_WHOLE: tuple[tuple[str, str], ...] = (("BIGINT", _WHOLE), ("HUGEINT", _WHOLE))
JSON_TEXTS: tuple[tuple[str, str], ...] = (
    *CSV_TYPES[3:],
    ("TIME", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"),
    ("UUID", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
)


@dataclass(frozen=True, slots=True)
class FileTable:
    """The files behind one table, all of one format."""

    name: str
    format: str
    files: tuple[Path, ...]

    def state(self) -> tuple[tuple[str, int, int], ...]:
        """Changes when a file does: (path, modified ns, bytes) of each."""
        return tuple((str(f), (s := f.stat()).st_mtime_ns, s.st_size) for f in self.files)

    def bind(self) -> dict[str, Any]:
        return {"files": [str(f) for f in self.files]}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def columns_of(connection: duckdb.DuckDBPyConnection, table: FileTable, delimiter: str | None) -> list[tuple[str, str]]:
    """(name, DuckDB type) of each column, by the whole of every file."""
    if table.format == "csv":
        return _csv_columns(connection, table, delimiter)
    sql = f"DESCRIBE SELECT * FROM {_detecting(table)}"  # noqa: S608 (names quoted or ours, values bound)
    pairs = [(row[0], ALIASES.get(row[1], row[1])) for row in connection.execute(sql, table.bind()).fetchall()]
    if table.format == "json":
        return [(name, "JSON" if _NESTED.match(kind) else kind) for name, kind in pairs]
    return pairs


def reader(table: FileTable, columns: list[tuple[str, str]], delimiter: str | None) -> str:
    """The table function call that reads ``columns`` as their types, from the parameter ``$files``."""
    typed = "columns = {" + ", ".join(f"{text(n)}: {text(t)}" for n, t in columns) + "}"
    if table.format == "csv":
        return f"read_csv($files, auto_detect = false, {typed}, {_csv_options(table, delimiter)})"
    if table.format == "json":
        return f"read_json($files, format = 'auto', {typed})"
    return _detecting(table)


def _detecting(table: FileTable) -> str:
    if table.format == "parquet":
        return "read_parquet($files, union_by_name = true)"
    return "read_json($files, format = 'auto', sample_size = -1, maximum_sample_files = 1000000, union_by_name = true)"


def _csv_options(table: FileTable, delimiter: str | None) -> str:
    return (
        f"delim = {text(_delimiter(table, delimiter))}, header = true, quote = '\"', escape = '\"', "
        "strict_mode = true, null_padding = false, ignore_errors = false, allow_quoted_nulls = false"
    )


def _delimiter(table: FileTable, delimiter: str | None) -> str:
    if delimiter:
        return delimiter
    return "\t" if table.files[0].suffix.lower() == ".tsv" else _shown_by_header(table.files[0])


def _shown_by_header(file: Path) -> str:
    """The one delimiter that splits the header line; a comma where none does, or several."""
    splitting = [d for d in DELIMITERS if len(_first_record(file, d)) > 1]
    return splitting[0] if len(splitting) == 1 else ","


def _first_record(file: Path, delimiter: str) -> list[str]:
    """The fields of the header as ``delimiter`` splits it; none where it cannot be split so, by its quotes."""
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            return next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def objects() -> str:
    """The table function call that reads each JSON value as it is, in the column ``json``."""
    return "read_json_objects($files, format = 'auto')"


def csv_names(table: FileTable, delimiter: str | None) -> list[str]:
    """The names in the header, which all files of the table share. Raises SourceError."""
    names = _header(table.files[0], _delimiter(table, delimiter))
    for file in table.files[1:]:
        if _header(file, _delimiter(table, delimiter)) != names:
            raise SourceError(
                f"{file.name} has another header than {table.files[0].name}, but they are one table.", file=file.name
            )
    return names


def _csv_columns(
    connection: duckdb.DuckDBPyConnection, table: FileTable, delimiter: str | None
) -> list[tuple[str, str]]:
    names = csv_names(table, delimiter)
    source = reader(table, [(name, "VARCHAR") for name in names], delimiter)
    return list(zip(names, text_types(connection, source, names, table.bind()), strict=True))


def text_types(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    names: Sequence[str],
    params: dict[str, Any],
    types: Sequence[tuple[str, str]] = CSV_TYPES,
) -> list[str]:
    """For each text column of ``source`` the first of ``types`` that fits all its values, else VARCHAR."""
    tests = [_fits(name, kind, pattern) for name in names for kind, pattern in types]
    row = connection.execute(f"SELECT {', '.join(tests)} FROM {source}", params).fetchone() or ()  # noqa: S608 (names quoted or ours, values bound)
    found = []
    for i in range(len(names)):
        verdicts = row[i * len(types) : (i + 1) * len(types)]
        found.append(next((kind for (kind, _), good in zip(types, verdicts, strict=True) if good), "VARCHAR"))
    return found


def _fits(name: str, kind: str, pattern: str) -> str:
    column = quoted(name)
    fits = f"regexp_full_match({column}, {text(pattern)}) AND TRY_CAST({column} AS {kind}) IS NOT NULL"
    return f"coalesce(bool_and({fits}) FILTER ({column} IS NOT NULL), false)"


def _header(file: Path, delimiter: str) -> list[str]:
    try:
        # What is wrong further down is found by the reader, which knows the line.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            names = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
        "".join(names).encode()
    except (UnicodeError, csv.Error):
        raise SourceError(
            f"{file.name}, line 1: the header cannot be read as CSV in UTF-8.", file=file.name, line=1
        ) from None
    if not names or any(not n.strip() for n in names) or len({n.lower() for n in names}) != len(names):
        raise SourceError(
            f"{file.name}, line 1: a CSV file needs a header that names each column once.", file=file.name, line=1
        )
    return names
