"""A CSV or JSON table as one asker may see it: columns and types come from the rows that a condition permits.

The file is read as text, the condition is applied to that text in a way that no value can make fail, and only what
it lets through has a say in which columns there are and of which type. So a hidden row changes neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.errors import SourceError
from core.model import EVERY_OBJECT, EVERY_ROW, AllOf, AnyOf, Column, Compare, Comparison, Condition, Scalar, Table
from core.source.condition import FALSE, TRUE, Where
from core.source.file_formats import (
    CSV_TYPES,
    JSON_TEXTS,
    JSON_WHOLE,
    FileTable,
    csv_names,
    objects,
    quoted,
    reader,
    text,
    text_types,
)
from core.source.literal import CANNOT, WHOLE, coerce, fitted

if TYPE_CHECKING:
    import duckdb

_PATTERNS = dict(CSV_TYPES)
_DATE, _TIMED = _PATTERNS["DATE"], f"{_PATTERNS['TIMESTAMP']}|{_PATTERNS['TIMESTAMPTZ']}"
_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE")
_TEXT_OPS = {"contains": "contains", "starts with": "starts_with", "ends with": "ends_with"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One column of the raw rows as SQL: its text, whether that is a number or a boolean, and its JSON ('' in CSV)."""

    text: str
    number: str
    boolean: str
    json: str = ""

    def typed(self, kind: str) -> str:
        """The value as ``kind``; NULL where it is none, so that a hidden one cannot fail."""
        if kind == "VARCHAR":
            return self.text
        return self.json if kind == "JSON" else f"TRY_CAST({self.text} AS {kind})"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the permitted rows have: ``columns`` are (name, DuckDB type).

    ``base``: the SQL that reads the raw rows. ``cells``: by lower-case name, the condition's columns among them.
    """

    base: str
    columns: tuple[tuple[str, str], ...]
    cells: Mapping[str, Cell]

    def cell(self, name: str) -> Cell | None:
        return self.cells.get(name.lower())

    def showing(self, columns: Sequence[tuple[str, str]]) -> Shape:
        """The same rows with these columns; one that no row has is NULL."""
        nothing = {name.lower(): Cell("NULL::VARCHAR", FALSE, FALSE) for name, _ in columns}
        return replace(self, columns=tuple(columns), cells={**nothing, **self.cells})

    def permitted(self, rows: Condition, params: dict[str, Any], *, checked: bool = False) -> str:
        """A SELECT of the permitted rows with ``columns`` as their types; its parameters are added to ``params``.

        ``checked``: a permitted value that is not of its column's type is an error instead of NULL.
        """
        allowed = Allowed(self.cell, params).sql(rows)
        shown = []
        for name, kind in self.columns:
            cell = self.cells[name.lower()]
            value = cell.typed(kind)
            if checked and kind not in ("VARCHAR", "JSON"):
                # The condition stands here again: an optimiser may compute a projection before a filter.
                wrong = f"({cell.text}) IS NOT NULL AND {value} IS NULL AND ({allowed})"
                value = f"CASE WHEN {wrong} THEN error('value of another type') ELSE {value} END"
            shown.append(f"{value} AS {quoted(name)}")
        return f"SELECT {', '.join(shown)} FROM {self.base} WHERE {allowed}"  # noqa: S608 (names quoted or ours, values bound)


class FileSide:
    """One column of a file in generated SQL; see condition.Side. DuckDB's own comparisons are the meaning."""

    def __init__(self, column: Column) -> None:
        self.type = column.type
        self.column = column.name
        # Beside JSON, DuckDB would read the policy's text as JSON and fail where it is none.
        name = quoted(column.name)
        self.value = f"json_extract_string({name}, '$')" if column.type == "JSON" else name

    def fitted(self, op: Comparison, value: Any) -> tuple[Comparison, Any] | bool:
        return fitted(op, value, self.type)

    def compare(self, op: str, placeholder: str, value: Any) -> str:
        exact = self.type in WHOLE or self.type.startswith("DECIMAL")
        return f"{self.value} {op} {f'CAST({placeholder} AS {self.type})' if exact else placeholder}"

    def text(self, op: str, placeholder: str) -> str:
        return f"{_TEXT_OPS[op]}({self.value}, {placeholder})"

    def not_null(self) -> str:
        return f"{self.value} IS NOT NULL"

    def bind(self, value: Any) -> Any:
        return value


# ── the condition over text ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Allowed:
    """A condition over raw cells as SQL that is true or false and cannot fail. Collects ``params``.

    The literal decides how a cell is read, for the column has no type yet: beside a number only numbers count, beside
    a date or time only those, beside a text the text. A text that reads as a number is ordered as one, and equals
    only itself. Where both readings are possible, what is equal in one of them is not unequal.
    """

    cell: Callable[[str], Cell | None]
    params: dict[str, Any] = field(default_factory=dict)

    def sql(self, condition: Condition) -> str:
        if isinstance(condition, AllOf):
            return " AND ".join(f"({self.sql(p)})" for p in condition.parts) or TRUE
        if isinstance(condition, AnyOf):
            return " OR ".join(f"({self.sql(p)})" for p in condition.parts) or FALSE
        return f"coalesce({self._compare(condition)}, false)"

    def _compare(self, c: Compare) -> str:
        cell = self.cell(c.column)
        if cell is None:
            return FALSE
        if c.op in ("in", "not in"):
            values = c.value if isinstance(c.value, tuple) else (c.value,)
            if c.op == "in":
                return "(" + (" OR ".join(self._equal(cell, v) for v in values) or FALSE) + ")"
            other = " AND ".join(f"NOT {self._equal(cell, v, loosely=True)}" for v in values) or TRUE
            return f"{cell.text} IS NOT NULL AND {other}"
        if isinstance(c.value, tuple) or coerce(c.value, "VARCHAR") is CANNOT:
            return FALSE
        if c.op in _TEXT_OPS:
            return f"{_TEXT_OPS[c.op]}({cell.text}, {self._bind(coerce(c.value, 'VARCHAR'))})"
        if c.op == "=":
            return self._equal(cell, c.value)
        if c.op == "!=":
            return f"{cell.text} IS NOT NULL AND NOT {self._equal(cell, c.value, loosely=True)}"
        return self._typed(cell, c.op, c.value) or (
            f"{cell.text} {c.op} {self._bind(c.value)}" if isinstance(c.value, str) else FALSE
        )

    def _equal(self, cell: Cell, value: Scalar, *, loosely: bool = False) -> str:
        """``loosely``: a text that is a number equals the same number written otherwise. For what must differ."""
        wanted = coerce(value, "VARCHAR")
        if wanted is CANNOT:
            return FALSE
        as_text = isinstance(value, str) and _number(value) is not None and not loosely
        typed = FALSE if as_text else self._typed(cell, "=", value) or FALSE
        return f"coalesce({cell.text} = {self._bind(wanted)} OR {typed}, false)"

    def _typed(self, cell: Cell, op: str, value: Scalar) -> str:
        """The comparison in the reading that the literal asks for; '' where that is text."""
        if isinstance(value, bool):
            return f"({cell.boolean} AND lower({cell.text}) {op} {self._bind(str(value).lower())})"
        number = _number(value)
        if number is not None:
            mark = self._bind(number)
            whole = f"regexp_full_match({cell.text}, {text(_PATTERNS['BIGINT'])})"
            exact = f"TRY_CAST({cell.text} AS BIGINT)"
            return (
                f"({cell.number} AND CASE WHEN {whole} AND {exact} IS NOT NULL THEN {exact} {op} {mark} "
                f"ELSE TRY_CAST({cell.text} AS DOUBLE) {op} {mark} END)"
            )
        moment = _moment(value)
        if moment is None:
            return ""
        # As in literal.coerce: a date is a time too, but a time is no date.
        pattern = _TIMED if len(str(value)) > len("2026-01-01") else f"{_DATE}|{_TIMED}"
        fits = f"regexp_full_match({cell.text}, {text(pattern)})"
        return f"({fits} AND TRY_CAST({cell.text} AS TIMESTAMPTZ) {op} {self._bind(moment)})"

    def _bind(self, value: Any) -> str:
        name = f"r{len(self.params)}"
        self.params[name] = value
        return f"${name}"


def _number(value: Scalar) -> int | float | None:
    if isinstance(value, str) and not re.fullmatch(_PATTERNS["DOUBLE"], value):
        return None
    found = coerce(value, "BIGINT")
    if found is CANNOT:
        return None
    if isinstance(found, int) and -(2**63) <= found < 2**63:
        return found
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: Scalar) -> Any:
    if not isinstance(value, str) or not re.fullmatch(f"{_DATE}|{_TIMED}", value):
        return None
    found = coerce(value, "TIMESTAMPTZ")
    return None if found is CANNOT else found


# ── the shape of what it lets through ────────────────────────────────────────────────────────────────────────────


def shape(
    connection: duckdb.DuckDBPyConnection, source: str, table: FileTable, delimiter: str | None, rows: Condition
) -> Shape:
    """Columns and types by the permitted rows of a CSV or JSON table. Raises duckdb.Error and SourceError."""
    made = _csv if table.format == "csv" else _json
    found = _consistent(made(connection, table, delimiter, rows), rows)
    tested = {c.column.lower() for c in _compares(rows)}
    for _ in range(2):
        if not _drops(connection, found, table, rows):
            return found
        found = _as_text(found, tested)
    raise SourceError(
        f"{source}.{table.name}: rows that the policy permits hold several kinds of value in a column that it compares "
        "with a number, a boolean or a time. Compare it with texts, or correct the file.",
        table=f"{source}.{table.name}",
    )


def _csv(connection: duckdb.DuckDBPyConnection, table: FileTable, delimiter: str | None, rows: Condition) -> Shape:
    names = csv_names(table, delimiter)
    base = reader(table, [(name, "VARCHAR") for name in names], delimiter)
    found = Shape(base, tuple((n, "VARCHAR") for n in names), {n.lower(): _csv_cell(n) for n in names})
    params = table.bind()
    types = text_types(connection, f"({found.permitted(rows, params)})", names, params)
    return replace(found, columns=tuple(zip(names, types, strict=True)))


def _csv_cell(name: str) -> Cell:
    fits = "regexp_full_match({}, {})"
    cell = quoted(name)
    number, boolean = (fits.format(cell, text(_PATTERNS[kind])) for kind in ("DOUBLE", "BOOLEAN"))
    return Cell(cell, number, boolean)


def _json(connection: duckdb.DuckDBPyConnection, table: FileTable, delimiter: str | None, rows: Condition) -> Shape:
    """The keys of permitted objects, in the order in which they come. Keys that differ in case are one column."""
    base = objects()
    every = connection.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {base}", table.bind())  # noqa: S608 (names quoted or ours, values bound)
    spelled = _spelled(row[0] for row in every.fetchall())
    params = table.bind()
    cells = {name: _json_cell(keys) for name, keys in spelled.items()}
    allowed = Allowed(lambda name: cells.get(name.lower()), params).sql(rows)
    keys = f"SELECT json_keys(json) AS keys, row_number() OVER () AS place FROM {base} WHERE {allowed}"  # noqa: S608 (names quoted or ours, values bound)
    grouped = connection.execute(f"SELECT keys FROM ({keys}) GROUP BY keys ORDER BY min(place)", params)  # noqa: S608 (names quoted or ours, values bound)
    names: dict[str, str] = {}
    for row in grouped.fetchall():
        for key in row[0] or ():
            if key.strip():
                names.setdefault(key.lower(), key)
    if not names:
        # What an empty file has: one column, so that hidden rows and no rows look the same.
        some = TRUE if rows in (EVERY_ROW, EVERY_OBJECT) else FALSE
        nothing = f"(SELECT json FROM {base} WHERE {some})"  # noqa: S608 (names quoted or ours, values bound)
        return Shape(nothing, (("json", "JSON"),), {"json": Cell("json::VARCHAR", FALSE, FALSE, "json")})
    found = Shape(base, tuple((name, "VARCHAR") for name in names.values()), cells)
    return replace(found, columns=tuple(zip(names.values(), _json_types(connection, found, table, rows), strict=True)))


def _spelled(keys: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in sorted(keys):
        found.setdefault(key.lower(), []).append(key)
    return found


def _json_cell(keys: Sequence[str]) -> Cell:
    pointers = [text("/" + key.replace("~", "~0").replace("/", "~1")) for key in keys]
    value = "coalesce(" + ", ".join(f"nullif(json_extract(json, {p}), 'null'::JSON)" for p in pointers) + ")"
    shown = "coalesce(" + ", ".join(f"json_extract_string(json, {p})" for p in pointers) + ")"
    kind = f"json_type({value})"
    return Cell(shown, f"{kind} IN ({', '.join(map(text, _NUMBERS))})", f"{kind} = 'BOOLEAN'", value)


def _json_types(connection: duckdb.DuckDBPyConnection, found: Shape, table: FileTable, rows: Condition) -> list[str]:
    params = table.bind()
    allowed = Allowed(found.cell, params).sql(rows)
    cells = [found.cells[name.lower()] for name, _ in found.columns]
    shown = [f"{c.text} AS t{i}, json_type({c.json}) AS k{i}" for i, c in enumerate(cells)]
    source = f"(SELECT {', '.join(shown)} FROM {found.base} WHERE {allowed})"  # noqa: S608 (names quoted or ours, values bound)
    texts = text_types(connection, source, [f"t{i}" for i in range(len(cells))], params, JSON_WHOLE + JSON_TEXTS)
    listed = ", ".join(f"list(DISTINCT k{i}) FILTER (k{i} IS NOT NULL)" for i in range(len(cells)))
    kinds = connection.execute(f"SELECT {listed} FROM {source}", params).fetchone() or ()  # noqa: S608 (names quoted or ours, values bound)
    return [_json_type(set(kind or ()), read) for kind, read in zip(kinds, texts, strict=True)]


def _json_type(kinds: set[str], read: str) -> str:
    """One type for values of these JSON kinds; ``read``: the first of JSON_WHOLE and JSON_TEXTS that fits them all."""
    if not kinds:
        return "VARCHAR"
    if kinds <= set(_NUMBERS):
        return read if read in dict(JSON_WHOLE) and "DOUBLE" not in kinds else "DOUBLE"
    if kinds == {"VARCHAR"}:
        return read if read in dict(JSON_TEXTS) else "VARCHAR"
    return "BOOLEAN" if kinds == {"BOOLEAN"} else "JSON"


# ── the typed condition agrees ───────────────────────────────────────────────────────────────────────────────────


def _consistent(found: Shape, rows: Condition) -> Shape:
    """Behind the source the condition is applied again, to typed values: what it cannot read typed stays text."""
    types = {name.lower(): kind for name, kind in found.columns}
    unreadable = set()
    for compare in _compares(rows):
        kind = types.get(compare.column.lower(), "VARCHAR")
        values = compare.value if isinstance(compare.value, tuple) else (compare.value,)
        if compare.op in _TEXT_OPS or any(v is not None and coerce(v, kind) is CANNOT for v in values):
            unreadable.add(compare.column.lower())
    return _as_text(found, unreadable)


def _as_text(found: Shape, names: set[str]) -> Shape:
    columns = tuple((name, "VARCHAR" if name.lower() in names else kind) for name, kind in found.columns)
    return replace(found, columns=columns)


def _compares(condition: Condition) -> list[Compare]:
    if isinstance(condition, Compare):
        return [condition]
    return [c for part in condition.parts for c in _compares(part)]


def _drops(connection: duckdb.DuckDBPyConnection, found: Shape, table: FileTable, rows: Condition) -> bool:
    """Whether the condition over typed values would hide a permitted row."""
    params = table.bind()
    permitted = found.permitted(rows, params)
    known = Table("", table.name, tuple(Column(name, kind) for name, kind in found.columns))
    where = Where(lambda name: FileSide(c) if (c := known.column(name)) else None, mark="$")
    typed = where.sql(rows)
    sql = f"SELECT count(*) FROM ({permitted}) WHERE NOT coalesce(({typed}), false)"  # noqa: S608 (names quoted or ours, values bound)
    row = connection.execute(sql, {**params, **where.params}).fetchone()
    return row is not None and row[0] > 0
