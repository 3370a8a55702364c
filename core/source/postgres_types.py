"""PostgreSQL's types as DuckDB types: the expression that leaves, and how it compares without ever raising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from core.model import Comparison

_SAME: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "oid": "BIGINT",
    "float4": "DOUBLE",
    "float8": "DOUBLE",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "json": "JSON",
    "jsonb": "JSON",
    "uuid": "UUID",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "bytea": "BLOB",
}
_CASTS: Mapping[str, str] = {
    "BOOLEAN": "boolean",
    "UUID": "uuid",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
}
_READABLE: Mapping[str, str] = {
    "DATE": "{0} BETWEEN '0001-01-01' AND '9999-12-31'",
    "TIME": "{0} < '24:00'",
    "TIMESTAMP": "{0} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'",
    "TIMESTAMPTZ": "{0} BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 23:59:59.999999+00'",
}
_LARGEST = "1e308"
_NOTHING = "3e-324"
"""What is smaller is 0 as a double, and PostgreSQL then refuses the cast."""


def numeric(modifier: int) -> str:
    """NUMERIC(p,s) keeps its digits as DECIMAL; without a size (or with one DuckDB lacks) it is DOUBLE."""
    if modifier < 4:
        return "DOUBLE"
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    return f"DECIMAL({precision},{scale})" if 1 <= precision <= 38 and scale <= precision else "DOUBLE"


def duckdb_type(base: str, modifier: int, *, structured: bool) -> str:
    """``structured``: arrays, composites and ranges, which leave as JSON. What is unknown leaves as its text."""
    if structured:
        return "JSON"
    if base == "numeric":
        return numeric(modifier)
    return _SAME.get(base, "VARCHAR")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class PostgresColumn:
    """A column as the catalogue describes it. ``base``: the type's name, domains looked through."""

    name: str
    base: str
    modifier: int
    structured: bool

    @property
    def type(self) -> str:
        return duckdb_type(self.base, self.modifier, structured=self.structured)


class PostgresSide:
    """One column in generated SQL; see condition.Side."""

    def __init__(self, column: PostgresColumn) -> None:
        self.type = column.type
        self.column = column
        self.name = quoted(column.name)
        self.leaves = self._leaves()

    def _leaves(self) -> str:
        name = self.name
        if self.column.structured:
            return f"CAST(to_json({name}) AS text)"
        if self.type in ("VARCHAR", "JSON") and self.column.base not in ("text", "varchar"):
            return f"CAST({name} AS text)"
        if self.type == "DOUBLE" and self.column.base != "float8":
            return f"CAST({name} AS double precision)"
        if self.column.base == "oid":
            return f"CAST({name} AS bigint)"
        return name

    def plain(self, expression: str) -> str:
        """``expression`` of this column for a query in PostgreSQL's own dialect.

        citext leaves as text: where its extension's operators are out of reach, it is text to ``=`` and yet folds case
        in GROUP BY, DISTINCT and ORDER BY, which ask for no operator by name.
        """
        return f"CAST({expression} AS text)" if self.column.base == "citext" else expression

    def fitted(self, op: Comparison, value: Any) -> tuple[Comparison, Any] | bool:
        return op, value

    def compare(self, op: str, placeholder: str, value: Any) -> str:
        if self.type in ("VARCHAR", "JSON"):
            return self._compare_text(op, placeholder)
        if self.type == "DOUBLE":
            return f"{self._double()} {op} CAST({placeholder} AS double precision)"
        if self.type in ("SMALLINT", "INTEGER", "BIGINT"):
            small = isinstance(value, int) and -(2**63) <= value < 2**63
            return f"{self.leaves} {op} CAST({placeholder} AS {'bigint' if small else 'numeric'})"
        if self.type == "BLOB":
            return "(1=0)"
        return f"{self.leaves} {op} CAST({placeholder} AS {_CASTS.get(self.type, 'numeric')})"

    def _compare_text(self, op: str, placeholder: str) -> str:
        # DuckDB compares bytes. Equality is the same in every deterministic collation, and keeps the index in use;
        # the collation is spelled out where the order counts or where the type may have rules of its own.
        plain = op == "=" and self.column.base in ("text", "varchar")
        wanted = f"CAST({placeholder} AS text)"
        exact = f'({self.leaves} COLLATE "C") {op} {wanted}'
        return f"({self.leaves} = {wanted} AND {exact})" if plain else exact

    def _double(self) -> str:
        """The value as double for a comparison: a numeric that no double holds must not raise on a hidden row."""
        if self.column.base != "numeric":
            return self.leaves
        name = self.name
        return (
            f"(CASE WHEN {name} <> 0 AND abs({name}) < {_NOTHING} THEN 0 "
            f"WHEN abs({name}) < {_LARGEST} OR {name} = 'NaN' THEN CAST({name} AS double precision) "
            f"WHEN {name} > 0 THEN 'Infinity' WHEN {name} < 0 THEN '-Infinity' END)"
        )

    def readable(self) -> str:
        """As ``leaves``, and NULL where Python's type, or a double, has no such value."""
        name = self.name
        if self.type in _READABLE:
            return f"CASE WHEN {_READABLE[self.type].format(name)} THEN {name} END"
        return self._double() if self.type == "DOUBLE" and self.column.base == "numeric" else self.leaves

    def text(self, op: str, placeholder: str) -> str:
        value, wanted = f'({self.leaves} COLLATE "C")', f"CAST({placeholder} AS text)"
        if op == "contains":
            return f"position({wanted} IN {value}) > 0"
        if op == "starts with":
            return f"left({value}, length({wanted})) = {wanted}"
        return f"right({value}, length({wanted})) = {wanted}"

    def not_null(self) -> str:
        return f"{self.name} IS NOT NULL"

    def bind(self, value: Any) -> Any:
        if self.type == "DOUBLE" and isinstance(value, int | Decimal):
            return float(value)
        if isinstance(value, datetime):
            return value.isoformat()
        return value


# ── what a fragment's result columns are ─────────────────────────────────────────────────────────────────────────

_BY_OID: Mapping[int, str] = {
    16: "BOOLEAN",
    17: "BLOB",
    20: "BIGINT",
    21: "SMALLINT",
    23: "INTEGER",
    25: "VARCHAR",
    26: "BIGINT",
    114: "JSON",
    700: "DOUBLE",
    701: "DOUBLE",
    1042: "VARCHAR",
    1043: "VARCHAR",
    1082: "DATE",
    1083: "TIME",
    1114: "TIMESTAMP",
    1184: "TIMESTAMPTZ",
    2950: "UUID",
    3802: "JSON",
}


def described(description: Any) -> str:
    """The DuckDB type of a result column, or '' where it has no plain one.

    A computed NUMERIC has no size: its values stay exact decimals, whose own digits say the scale.
    """
    if description.type_code == 1700:
        precision, scale = description.precision, description.scale
        fits = precision and scale is not None and precision <= 38 and 0 <= scale <= precision
        return f"DECIMAL({precision},{scale})" if fits else ""
    return _BY_OID.get(description.type_code, "")
