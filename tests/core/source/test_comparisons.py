"""No comparison that a query or policy has made over a file can fail, whatever is stored: a failure would tell of it.

Every type of column, holding its extreme values, beside literals of every size: in the SQL that reads files, in that of
the sieve, and in both together with rows that nobody may see.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.model import AllOf, Column, Compare, Condition, Table
from core.policy import condition
from core.source.condition import Where
from core.source.file_rows import FileSide
from core.source.files import FilesSource
from core.source.literal import CANNOT, coerce, pushable
from tests.core.source.reading import rows

STORED: dict[str, list[str]] = {
    "TINYINT": ["-128", "127", "0", "1"],
    "SMALLINT": ["-32768", "32767", "0", "2"],
    "INTEGER": ["-2147483648", "2147483647", "0", "1"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807", "0", "9007199254740993"],
    "HUGEINT": [f"{-(2**127)}", f"{2**127 - 1}", "0", "10000000000000000000000"],
    "UTINYINT": ["0", "255", "1"],
    "USMALLINT": ["0", "65535", "2"],
    "UINTEGER": ["0", "4294967295", "1"],
    "UBIGINT": ["0", "18446744073709551615", "2"],
    "DECIMAL(4,2)": ["-99.99", "99.99", "0", "1.5"],
    "DECIMAL(10,2)": ["-99999999.99", "99999999.99", "0", "0.01"],
    "DECIMAL(38,0)": ["-" + "9" * 38, "9" * 38, "0", "1"],
    "DECIMAL(38,10)": ["-" + "9" * 28 + ".9999999999", "9" * 28 + ".9999999999", "0.0000000001"],
    "DECIMAL(38,38)": ["-0." + "9" * 38, "0." + "9" * 38, "0", "0." + "0" * 37 + "1"],
    "DOUBLE": ["-1e308", "1e308", "nan", "inf", "-inf", "5e-324", "0"],
    "FLOAT": ["-3e38", "3e38", "nan", "inf", "1e-45", "0"],
    "BOOLEAN": ["true", "false"],
    "VARCHAR": ["", "x", "1", "1e999", "infinity", "\u00e9\U0001f600"],
    "JSON": ['"x"', "1", "{}", "[]", "null", "1e999"],
    "UUID": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "DATE": ["infinity", "-infinity", "0001-01-01", "5000000-01-01"],
    "TIME": ["00:00:00", "24:00:00"],
    "TIMESTAMP": ["infinity", "-infinity", "290000-01-01", "0001-01-01"],
    "TIMESTAMPTZ": ["infinity", "-infinity", "290000-01-01", "0001-01-01"],
    "TIMESTAMP_NS": ["infinity", "2026-01-01"],
    "BLOB": ["x", ""],
    "INTERVAL": ["1 day"],
}
NUMBERS: list[Any] = [
    *(
        0,
        1,
        -1,
        2,
        127,
        128,
        40000,
        -32769,
        2**31,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63),
        2**64,
        2**127,
        10**38,
        10**60,
    ),
    *(-(10**60), 0.0, -0.0, 1.5, -1.5, 0.01, 0.005, 1e-10, 1e-11, 1e-36, 1e-37, 1e-38, 1e-40, -1e-40, 5e-324, 99.99),
    *(99.991, 1e15, 1e22, 1e300, -1e300, float("inf"), float("-inf"), float("nan")),
]
OTHERS: list[Any] = [
    True,
    False,
    None,
    "",
    "x",
    "1",
    "1.5",
    "1e-36",
    "1e400",
    "nan",
    "inf",
    "1e999999999",
    "9" * 400,
    "{",
]
OTHERS += [
    "2026-01-01",
    "0001-01-01",
    "9999-12-31",
    "2026-01-01 10:00:00",
    "2026-01-01T10:00:00Z",
    "10:00:00",
    "\0",
    "é",
]
OTHERS += ["00000000-0000-0000-0000-000000000000", "infinity"]
OPS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CONDITIONS = [(op, v) for op in (*OPS, "contains", "starts with", "ends with") for v in (*NUMBERS, *OTHERS)]
CONDITIONS += [(op, (a, b)) for op in ("in", "not in") for a, b in itertools.pairwise((*NUMBERS, *OTHERS))]


@pytest.fixture(scope="module")
def engine() -> Any:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for kind, values in STORED.items():
            connection.execute(f'CREATE TABLE "{kind}" (v {kind})')
            connection.execute(f'INSERT INTO "{kind}" SELECT unnest(?::VARCHAR[])::{kind}', [[*values, None]])
        yield connection


def chosen(engine: Any, kind: str, case: Condition) -> tuple[list[Any], list[Any]]:
    """What the reader's SQL lets through, and what the sieve's does."""
    column = Column("v", kind)
    where = Where(lambda _: FileSide(column), mark="$")
    read = engine.execute(f'SELECT v FROM "{kind}" WHERE {where.sql(case)}', where.params).fetchall()
    tree = condition.tree(case, Table("t", kind, (column,))).sql(dialect="duckdb")
    return [r[0] for r in read], [r[0] for r in engine.execute(f'SELECT v FROM "{kind}" WHERE {tree}').fetchall()]


@pytest.mark.parametrize("kind", STORED)
def test_no_stored_value_makes_a_comparison_fail(engine: Any, kind: str) -> None:
    for op, value in CONDITIONS:
        read, sieved = chosen(engine, kind, Compare("v", op, value))  # type: ignore[arg-type]  # any operator
        if kind != "JSON":
            assert list(map(repr, read)) == list(map(repr, sieved)), (op, value)


@pytest.mark.parametrize("kind", [k for k in STORED if k.endswith("INT") or k.endswith("INTEGER") or "DECIMAL" in k])
def test_exact_numbers_compare_as_what_they_are(engine: Any, kind: str) -> None:
    stored = [Fraction(Decimal(v)) for v in STORED[kind]]
    for (op, holds), value in itertools.product(OPS.items(), NUMBERS):
        wanted = coerce(value, kind)
        case = Compare("v", op, value)  # type: ignore[arg-type]  # one of OPS
        expected = [] if wanted is CANNOT else [v for v in stored if holds(v, Fraction(wanted))]
        assert [Fraction(v) for v in chosen(engine, kind, case)[0]] == expected, (op, value)
        if isinstance(value, int) and pushable(value, kind) and abs(value) < 10**37 and kind != "DECIMAL(38,38)":
            try:
                plain = engine.execute(f'SELECT v FROM "{kind}" WHERE v {op} {value}').fetchall()
            except duckdb.Error:
                continue  # what the engine does over all rows is why this is not left to it
            assert [Fraction(r[0]) for r in plain] == expected, (op, value)


@pytest.mark.parametrize(
    ("column", "literals"),
    [
        ("amt", [1e-36, 1e-37, 1.005, 10**30, 99999999.99]),
        ("whole", [1.5, 1e-38]),
        ("n", [1e-37, 1.5, 2**40, 10**38]),
        ("huge", [1.5, 1e-14, 1e-38]),
        ("doc", ["x"]),
    ],
)
@pytest.mark.parametrize("policy", [False, True], ids=["query", "policy"])
def test_hidden_rows_of_parquet_do_not_fail_a_query(
    tmp_path: Path, column: str, literals: list[Any], policy: bool
) -> None:
    source = FilesSource("desk", tmp_path)
    duckdb.sql(
        f"""COPY (SELECT team, amt::DECIMAL(10,2) amt, whole::DECIMAL(38,0) whole, n::INTEGER n, huge::HUGEINT huge,
        CASE team WHEN 'a' THEN '"x"' ELSE '{{' END::VARCHAR AS doc
        FROM (VALUES ('a', 1, '2', 3, '4'), ('b', 99999999.99, repeat('9', 38), 2147483647, repeat('9', 38)))
        t(team, amt, whole, n, huge)) TO '{tmp_path}/t.parquet'"""
    )
    for op, value in itertools.product(("=", "!=", "<", "<=", ">", ">=", "in"), literals):
        compare = Compare(column, op, (value, 1) if op == "in" else value)  # type: ignore[arg-type]  # one of these
        mine: Condition = Compare("team", "=", "a")
        # In the policy the order of its parts is not that in which they are computed.
        where = AllOf((compare, mine)) if policy else mine
        alone = rows(source, "t", "n", narrow=() if policy else (compare,), where=where)
        assert alone in ([], [(3,)]), (op, value)
