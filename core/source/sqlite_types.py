"""SQLite's declared types as DuckDB types, and what its loosely typed values become.

A column leaves as what it was declared to be; a value that is something else is an error where it leaves and equals
nothing where it is compared.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any

from core.model import Comparison

_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC|NUMBER)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_EPOCH = datetime(1970, 1, 1)
_WIDE = Context(prec=400)
NOISE = "1e-12"
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?P<name>(?:[^"]|"")*)\"""")


def duckdb_type(declared: str) -> str:
    """The DuckDB type of a declared SQLite type.

    Without a declared type (computed columns of a view without CAST) it is VARCHAR: to look at the values
    would make the type depend on rows that the asker may not see.
    """
    kind = declared.upper().strip()
    decimal = _DECIMAL.match(kind)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2] or 0)
        return f"DECIMAL({precision},{scale})" if 1 <= precision <= 38 and scale <= precision else "DOUBLE"
    for parts, name in _BY_PART:
        if any(part in kind for part in parts):
            return name
    return "VARCHAR"


_BY_PART: tuple[tuple[tuple[str, ...], str], ...] = (
    (("DATETIME", "TIMESTAMP"), "TIMESTAMP"),
    (("DATE",), "DATE"),
    (("BOOL",), "BOOLEAN"),
    (("POINT",), "VARCHAR"),
    (("INT",), "BIGINT"),
    (("CHAR", "CLOB", "TEXT"), "VARCHAR"),
    (("BLOB",), "BLOB"),
    (("REAL", "FLOA", "DOUB", "NUM", "DEC"), "DOUBLE"),
)


def quoted(name: str) -> str:
    """In backticks: what stands in double quotes and is no column, SQLite takes for a text, without a word."""
    return "`" + name.replace("`", "``") + "`"


def names_only(sql: str) -> str:
    """``sql`` with every name in double quotes as ``quoted`` writes it."""
    return _QUOTED.sub(lambda m: m[0] if m["name"] is None else quoted(m["name"].replace('""', '"')), sql)


def _has_text_affinity(declared: str) -> bool:
    kind = declared.upper()
    return "INT" not in kind and any(part in kind for part in ("CHAR", "CLOB", "TEXT"))


class SqliteSide:
    """One column in generated SQL; see condition.Side. ``wide``: its file keeps texts in UTF-16, not UTF-8."""

    def __init__(self, name: str, declared: str, *, wide: bool = False) -> None:
        self.type = duckdb_type(declared)
        self.name = quoted(name)
        self._wide = wide
        # A column with text affinity holds texts already; CAST would keep its index from being used.
        self.as_text = self.name if _has_text_affinity(declared) else f"CAST({self.name} AS TEXT)"
        # An expression has no declared type: sqlite3's converters keep their hands off it.
        self.leaves = f"+{self.name}" if self.as_text == self.name or self.type != "VARCHAR" else self.as_text
        self.read: Callable[[Any], Any] | None = _reader(self.type)

    def fitted(self, op: Comparison, value: Any) -> tuple[Comparison, Any] | bool:
        return op, value

    def compare(self, op: str, placeholder: str, value: Any) -> str:
        name = self.name
        if self.type == "VARCHAR" and self._wide and op not in ("=", "!="):
            # BINARY is the order of the bytes as they are stored, where UTF-16 has another than code points.
            ordered = f"omni_utf8(CAST({self.as_text} AS BLOB)) {op} omni_utf8(CAST({placeholder} AS BLOB))"
            return f"(typeof({self.as_text}) = 'text' AND {ordered})"
        if self.type == "VARCHAR":
            return f"(typeof({self.as_text}) = 'text' AND {self.as_text} COLLATE BINARY {op} {placeholder})"
        if self.type == "DATE":
            return f"omni_day({self._bytes()}) {op} {placeholder}"
        if self.type == "TIMESTAMP":
            return f"omni_moment({self._bytes()}) {op} {placeholder}"
        if self.type == "BOOLEAN":
            return f"(typeof({name}) = 'integer' AND {name} IN (0, 1) AND {name} {op} {placeholder})"
        if self.type.startswith("DECIMAL"):
            scale = self.type.rstrip(")").split(",")[1]
            # As a float: abs() of the least integer fails.
            fits = f"abs({name} - round({name}, {scale})) <= abs({name} * 1.0) * {NOISE}"
            return f"(typeof({name}) IN ('integer', 'real') AND {fits} AND round({name}, {scale}) {op} {placeholder})"
        stored = "('integer')" if self.type == "BIGINT" else "('integer', 'real')"
        return f"(typeof({name}) IN {stored} AND {name} {op} {placeholder})"

    def _bytes(self) -> str:
        """A text as its bytes: sqlite3 fails on one that is no UTF-8 before a function of ours sees it."""
        return f"CASE typeof({self.name}) WHEN 'text' THEN CAST({self.name} AS BLOB) END"

    def text(self, op: str, placeholder: str) -> str:
        value = self.as_text
        if op == "contains":
            return f"instr({value}, {placeholder}) > 0"
        if op == "starts with":
            return f"substr({value}, 1, length({placeholder})) = {placeholder} COLLATE BINARY"
        return (
            f"(length({value}) >= length({placeholder}) AND "
            f"substr({value}, length({value}) - length({placeholder}) + 1) = {placeholder} COLLATE BINARY)"
        )

    def not_null(self) -> str:
        return f"{self.name} IS NOT NULL"

    def bind(self, value: Any) -> Any:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            value = Decimal(value)
        if isinstance(value, Decimal):
            return float(value)
        if isinstance(value, datetime):
            return micros(value)
        if isinstance(value, date):
            return value.toordinal()
        return value


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of a moment without zone."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def to_day(value: Any) -> date:
    """A stored DATE: ISO text, a time of day behind it dropped only when it is midnight. ValueError otherwise."""
    if not isinstance(value, str):
        raise ValueError("not a date")
    if len(value) == 10:
        return date.fromisoformat(value)
    moment = to_moment(value)
    if moment.time() != moment.time().min:
        raise ValueError("not a whole day")
    return moment.date()


def to_moment(value: Any) -> datetime:
    """A stored TIMESTAMP: ISO text; one with a zone becomes UTC. ValueError otherwise."""
    if not isinstance(value, str):
        raise ValueError("not a timestamp")
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def to_truth(value: Any) -> bool:
    if type(value) is int and value in (0, 1):
        return bool(value)
    raise ValueError("not a boolean")


def to_decimal(value: Any, scale: int) -> Decimal:
    """A stored number as exact decimal. SQLite keeps fractions in binary: noise below the scale is rounded away."""
    if type(value) is int:
        return Decimal(value)
    if type(value) is not float:
        raise ValueError("not a number")
    exact = Decimal(repr(value))
    rounded = exact.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    if abs(exact - rounded) > abs(exact) * Decimal(NOISE):
        raise ValueError("more digits than declared")
    return rounded


def _reader(kind: str) -> Callable[[Any], Any] | None:
    """What turns a stored value into the type's Python value; a value that does not fit stays as it is."""
    if kind.startswith("DECIMAL"):
        scale = int(kind.rstrip(")").split(",")[1])
        return _or_same(lambda v: to_decimal(v, scale))
    return {"DATE": _or_same(to_day), "TIMESTAMP": _or_same(to_moment), "BOOLEAN": _or_same(to_truth)}.get(kind)


class Misfit:
    """Stands for a stored value that is not of its declared type, until the batch is refused."""


def text_or_misfit(raw: bytes) -> str | Misfit:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return Misfit()


def _or_same(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return convert(value)
        except (ValueError, ArithmeticError):
            return Misfit()

    return read


def _day_number(raw: bytes | None) -> int | None:
    try:
        return None if raw is None else to_day(_decoded(raw)).toordinal()
    except (ValueError, OverflowError):
        return None


def _moment_number(raw: bytes | None) -> int | None:
    try:
        return None if raw is None else micros(to_moment(_decoded(raw)))
    except (ValueError, OverflowError):
        return None


def _decoded(raw: bytes) -> str:
    """The text that a database keeps as ``raw``; a date begins with a digit, which shows the encoding."""
    return raw.decode("utf-16-le" if raw[1:2] == b"\0" else "utf-16-be" if raw[:1] == b"\0" else "utf-8")


def _strict_day(value: Any) -> str | None:
    return None if value is None else to_day(value).isoformat()


def _strict_moment(value: Any) -> str | None:
    return None if value is None else to_moment(value).isoformat(sep=" ")


def _misfit(column: Any) -> None:
    raise ValueError(f"a value of {column} is not of its declared type")


FUNCTIONS: dict[str, Callable[[Any], int | str | None]] = {
    "omni_day": _day_number,
    "omni_moment": _moment_number,
    "omni_date": _strict_day,
    "omni_timestamp": _strict_moment,
    "omni_misfit": _misfit,
}
"""SQL functions that compare dates and times by the very conversion that reads them.

omni_day and omni_moment, of a text's bytes, are NULL where it fails (a predicate that no row satisfies); omni_date,
omni_timestamp (as ISO text) and omni_misfit fail there (a fragment must not answer over values that a scan
would refuse).
"""


ENCODINGS = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
"""Python's names for what PRAGMA encoding says."""


def as_utf8(encoding: str) -> Callable[[bytes | None], bytes | None]:
    """For the SQL function omni_utf8: bytes of a text as UTF-8, whose order is that of code points; NULL if broken."""

    def convert(raw: bytes | None) -> bytes | None:
        try:
            return None if raw is None else raw.decode(encoding).encode()
        except UnicodeError:
            return None

    return convert


def _from_bytes(convert: Callable[[str], Any]) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> Any:
        text = raw.decode("utf-8", "replace")
        try:
            return convert(text)
        except (ValueError, OverflowError):
            return text

    return read


def _truth_text(text: str) -> bool:
    return {"0": False, "1": True}[text] if text in ("0", "1") else to_truth(text)


def register() -> None:
    """Let fragments return DATE, TIMESTAMP and BOOLEAN columns as such (sqlite3 converts by declared type).

    The converters are the process's, and only connections that ask for PARSE_DECLTYPES use them.
    """
    sqlite3.register_converter("DATE", _from_bytes(to_day))
    sqlite3.register_converter("TIMESTAMP", _from_bytes(to_moment))
    sqlite3.register_converter("DATETIME", _from_bytes(to_moment))
    sqlite3.register_converter("BOOLEAN", _from_bytes(_truth_text))
    sqlite3.register_converter("BOOL", _from_bytes(_truth_text))


_KINDS: dict[type, str] = {
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BLOB",
    bool: "BOOLEAN",
    date: "DATE",
    datetime: "TIMESTAMP",
}


def kinds_of(rows: Sequence[Sequence[Any]], width: int) -> list[str]:
    """The DuckDB type of each result column, by its values; '' where they are all NULL or of several types."""
    found = []
    for i in range(width):
        kinds = {type(row[i]) for row in rows} - {type(None)}
        if kinds == {int, float}:
            kinds = {float}
        found.append(_KINDS.get(kinds.pop(), "") if len(kinds) == 1 else "")
    return found
