"""SQLite as a source: loosely typed values come out typed or not at all, and what is pushed agrees with DuckDB."""

from __future__ import annotations

import itertools
import operator
import sqlite3
import subprocess
import sys
import threading
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.deadline import Deadline
from core.errors import ConfigInvalid, ResourceLimit, SourceError, SourceTimeout
from core.model import EVERY_ROW, NO_ROW, AllOf, AnyOf, Compare, Condition, Scan
from core.policy import condition
from core.source.base import Fragment
from core.source.contract import check_source
from core.source.sqlite import SqliteSource, locate
from core.source.sqlite_types import duckdb_type
from tests.core.source.reading import fetching, rows, scan, table

SEED = """
CREATE TABLE everything (
  id INTEGER PRIMARY KEY, small INT, real8 REAL, exact DECIMAL(10,2), loose NUMERIC, title TEXT COLLATE NOCASE,
  code VARCHAR(20), day DATE, moment TIMESTAMP, flag BOOLEAN, raw BLOB, free, "odd ""name: %?" TEXT
);
INSERT INTO everything VALUES
 (1, 5, 0.1, 10.1, 1.5, 'alpha', 'A1', '2024-01-01', '2024-01-01 10:00:00.123456', 1, x'00ff', 'x', 'odd'),
 (2, -5, 1e300, -0.01, 2, 'Beta', 'a1', '1969-12-31', '1969-12-31T23:59:59Z', 0, x'', 5, ''),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, 9223372036854775807, -1e-300, 99999999.99, 0.1, 'ALPHA', 'é', '2024-06-30', '2024-06-30 00:00', 1, NULL, 1.5, '%'),
 (5, 0, 3, 0.1 + 0.2, 3, 'it''s 100% "q" \\ :x', '', '2000-02-29', '2000-02-29', 0, NULL, NULL, NULL),
 (6, 6, 3.5, 3.5, 3.5, 'émile', '10', '2024-01-02', '2024-01-01 12:00:00+02:00', 1, NULL, 'é', NULL);
CREATE TABLE wild (id INTEGER PRIMARY KEY, team TEXT, number INTEGER, day DATE, flag BOOLEAN, exact DECIMAL(4,1),
  note TEXT);
INSERT INTO wild VALUES (1, 'a', 1, '2024-01-01', 1, 1.5, 'fine'), (2, 'b', 'secret-value', 'soon', 7, 1.55, x'ff');
CREATE TABLE many (id INTEGER PRIMARY KEY, n INT);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 25000) INSERT INTO many SELECT i, i * 2 FROM c;
CREATE INDEX by_code ON everything (code);
CREATE VIEW sums AS SELECT code, sum(exact) AS total, CAST(count(*) AS INTEGER) AS n FROM everything GROUP BY code;
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(SEED)
    connection.close()
    return path


@pytest.fixture
def source(file: Path) -> SqliteSource:
    return SqliteSource("shop", lambda: file)


def test_every_type_arrives_as_declared(source: SqliteSource) -> None:
    kinds = {c.name: c.type for c in table(source, "EVERYTHING").columns}
    assert list(kinds.values()) == (
        "BIGINT BIGINT DOUBLE DECIMAL(10,2) DOUBLE VARCHAR VARCHAR DATE TIMESTAMP BOOLEAN BLOB VARCHAR VARCHAR".split()
    )
    got = rows(source, "everything")
    assert got[0][1:] == (
        5, 0.1, Decimal("10.10"), 1.5, "alpha", "A1", date(2024, 1, 1), datetime(2024, 1, 1, 10, 0, 0, 123456), True,
        b"\x00\xff", "x", "odd",
    )  # fmt: skip
    assert got[1][8] == datetime(1969, 12, 31, 23, 59, 59) and got[5][8] == datetime(2024, 1, 1, 10)
    assert got[1][11] == "5" and got[4][3] == Decimal("0.30") and got[2][1:] == (None,) * 12


def test_declared_types() -> None:
    cases = {
        "UNSIGNED BIG INT": "BIGINT", "FLOATING POINT": "VARCHAR", "DOUBLE PRECISION": "DOUBLE", 
        "NUMERIC(8)": "DECIMAL(8,0)",
        "DECIMAL(50,2)": "DOUBLE", "DECIMAL": "DOUBLE", "NCHAR(5)": "VARCHAR", "datetime": "TIMESTAMP", "": "VARCHAR",
        "JSON": "VARCHAR", "Bool": "BOOLEAN", "FLOAT": "DOUBLE",
    }  # fmt: skip
    assert {given: duckdb_type(given) for given in cases} == cases


def test_the_contract_holds_for_every_declared_operator(source: SqliteSource) -> None:
    assert check_source(source, "everything") > 200
    check_source(source, "sums")


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -5, 1.5, 0.1, 0.3, 3.5, 2**63 - 1, 2**70, "alpha", "ALPHA", "a", "é", "", "10", "10.10",
    "2024-01-01", "2024-01-01T10:00:00", "2024-01-01 10:00:00.123456", "true", "%", "it's 100%", "\\", "nonsense",
)  # fmt: skip
OPS = ("=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with")


def test_conditions_mean_in_the_database_what_they_mean_in_the_sieve(source: SqliteSource) -> None:
    found = table(source, "everything")
    everything = rows(source, "everything")
    disagreements = []
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'{_quoted(c.name)} {c.type}' for c in found.columns)})")
        connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(found.columns))})", everything)
        for column in found.columns:
            if column.type == "BLOB":
                continue
            tests: list[Condition] = [Compare(column.name, op, v) for op, v in itertools.product(OPS, VALUES)]
            tests += [Compare(column.name, op, v) for op in ("in", "not in") for v in ((), (None,), VALUES[:9], VALUES)]
            for test in tests:
                sql = condition.tree(test, found).sql(dialect="duckdb")
                expected = sorted(r[0] for r in connection.execute(f"SELECT id FROM t WHERE {sql}").fetchall())
                stream: Any = source.open_filtered(Scan("t", found, ("id",)), test, fetching())
                got = sorted(number for batch in stream for number in batch.column(0).to_pylist())
                if got != expected:
                    disagreements.append((column.name, column.type, test, got, expected))
    assert not disagreements, f"{len(disagreements)}: {disagreements[:5]}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_and_or_and_nothing(source: SqliteSource) -> None:
    one, two = Compare("id", "=", 1), Compare("title", "starts with", "B")
    assert [r[0] for r in rows(source, "everything", "id", where=AnyOf((one, two)))] == [1, 2]
    assert rows(source, "everything", "id", where=AllOf((one, two))) == []
    assert rows(source, "everything", "id", where=NO_ROW) == []
    assert rows(source, "everything", "id", where=Compare("nowhere", "=", 1)) == []


def test_a_value_of_another_type_is_an_error_that_does_not_show_it(source: SqliteSource) -> None:
    for column in ("number", "day", "flag", "exact", "note"):
        with pytest.raises(
            SourceError, match=f"1 of 2 rows read have a value in column {column} that is not"
        ) as caught:
            rows(source, "wild", "id", column)
        assert "secret" not in str(caught.value) and "soon" not in str(caught.value)


def test_a_hidden_row_cannot_cause_an_error(source: SqliteSource) -> None:
    mine = Compare("team", "=", "a")
    assert rows(source, "wild", where=mine) == [(1, "a", 1, date(2024, 1, 1), True, Decimal("1.5"), "fine")]
    for column, value in (("number", 0), ("day", "1970-01-01"), ("exact", 0.5), ("note", "a")):
        assert [r[0] for r in rows(source, "wild", "id", where=Compare(column, ">", value))] == [1], column


def test_decimals_of_all_digits_arrive(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute("CREATE TABLE t (id INTEGER, n DECIMAL(38,2))")
        db.execute("INSERT INTO t VALUES (1, 1e30), (2, 9e999)")
    db.close()
    source = SqliteSource("s", lambda: tmp_path / "t.db")
    assert rows(source, "t", "n", narrow=(Compare("id", "=", 1),)) == [(Decimal("1e30"),)]
    with pytest.raises(SourceError, match="not a DECIMAL"):
        rows(source, "t", "n")


DECLARED = ("INTEGER", "REAL", "NUMERIC", "DECIMAL(10,2)", "DECIMAL(38,0)", "TEXT", "DATE", "TIMESTAMP", "BOOLEAN", "")
STORED = [
    *("1", "-9223372036854775808", "9223372036854775807", "9e999", "-9e999", "1e300", "5e-324", "NULL", "x'00ff'"),
    *("''", "'x'", "'2026-01-01'", "cast(x'ff' AS TEXT)", "cast(x'ff32' AS TEXT)", "'2026-01-01' || char(0) || 'x'"),
    *("cast(x'323032362d30312d303100ff' AS TEXT)", "cast(x'323032362d30312d3031ff' AS TEXT)", "'2026-01-01 24:00:00'"),
]
LITERALS = [0, 1, -1, 1.5, 1e-36, 2**63 - 1, -(2**63), 2**63, 10**400, 1e300, -1e300, "1e999", "1e-999", "x", "", True]
LITERALS += ["2026-01-01", "0001-01-01", "2026-01-01 10:00:00", "2026-01-01T10:00:00Z"]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_no_stored_value_makes_a_comparison_fail(tmp_path: Path, encoding: str) -> None:
    """Each column has an index with the number alone, by which SQLite may compare before it knows the team."""
    names = [f"c{i}" for i in range(len(DECLARED))]
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute(f"PRAGMA encoding = '{encoding}'")
        columns = ", ".join(f"{n} {kind}" for n, kind in zip(names, DECLARED, strict=True))
        db.execute(f"CREATE TABLE t (id INTEGER, team TEXT, {columns})")
        for name in names:
            db.execute(f"CREATE INDEX by_{name} ON t (id, {name})")
        for number, stored in enumerate(STORED):
            db.execute(f"INSERT INTO t VALUES ({number}, 'b'{f', {stored}' * len(names)})")
        db.execute(f"INSERT INTO t (id, team) SELECT id + {len(STORED)}, 'a' FROM t")
    db.close()
    source = SqliteSource("s", lambda: tmp_path / "t.db")
    mine = Compare("team", "=", "a")
    for name, op, value in itertools.product(names, ("=", "!=", "<", "<=", ">", ">="), LITERALS):
        compare = Compare(name, op, value)  # type: ignore[arg-type]  # one of these
        read(source, scan(source, "t", "id", narrow=(Compare("id", ">", -1), compare)), mine)
        policy = AnyOf((compare, Compare(name, "in", (value, 5)), Compare(name, "contains", str(value))))
        assert read(source, scan(source, "t", "id"), AllOf((Compare("team", "=", "c"), policy))) == 0


def read(source: SqliteSource, asked: Scan, where: Condition) -> int:
    """How many rows the source gives, without an engine, which costs more than all the rest here."""
    stream = source.open_filtered(asked, where, fetching())
    try:
        return sum(batch.num_rows for batch in stream)
    finally:
        stream.close()


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_dates_compare_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute(f"PRAGMA encoding = '{encoding}'")
        db.execute("CREATE TABLE t (d DATE, w TIMESTAMP)")
        db.execute("INSERT INTO t VALUES ('2026-01-02', '2026-01-02 10:00:00'), ('2025-01-01', NULL)")
    db.close()
    source = SqliteSource("s", lambda: tmp_path / "t.db")
    assert rows(source, "t", "d", where=Compare("d", ">=", "2026-01-01")) == [(date(2026, 1, 2),)]
    assert rows(source, "t", "d", where=Compare("w", "=", "2026-01-02 10:00")) == [(date(2026, 1, 2),)]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_texts_compare_by_code_points_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    words = ["abc", "m", "zed", "Ārpa", "Жuk", "café", "", "\uffff", "😀", "M"]
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute(f"PRAGMA encoding = '{encoding}'")
        db.execute("CREATE TABLE t (id INTEGER, word TEXT)")
        db.execute("CREATE INDEX by_word ON t (word)")
        db.executemany("INSERT INTO t VALUES (?, ?)", enumerate(words))
        # Half of a pair: no text, it satisfies nothing.
        db.execute("INSERT INTO t VALUES (99, CAST(x'00d8' AS TEXT)), (98, CAST(x'd800' AS TEXT)), (97, NULL)")
    db.close()
    source = SqliteSource("s", lambda: tmp_path / "t.db")
    for op, holds in (("<", operator.lt), ("<=", operator.le), (">", operator.gt), (">=", operator.ge)):
        for bound in words:
            compare = Compare("word", op, bound)  # type: ignore[arg-type]  # one of these
            expected = {i for i, word in enumerate(words) if holds(word, bound)}
            found = {r[0] for r in rows(source, "t", "id", where=compare)}
            assert found - {98, 99} == expected, (op, bound)
            assert {"UTF-16le": 99, "UTF-16be": 98}.get(encoding) not in found
    assert source.orders_by_code_points(Deadline(20)) is (encoding == "UTF-8")


def test_text_that_is_not_utf8_is_an_error_without_its_bytes(source: SqliteSource, file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE bytes (note TEXT)")
        connection.execute("INSERT INTO bytes VALUES (CAST(x'68696464656e20ff' AS TEXT))")
    connection.close()
    with pytest.raises(SourceError, match="not valid UTF-8") as caught:
        rows(source, "bytes")
    assert "hidden" not in str(caught.value)


def test_a_limit_waits_for_every_predicate(source: SqliteSource) -> None:
    assert len(rows(source, "many", limit=3)) == 3
    assert len(rows(source, "many", narrow=(Compare("n", "=", "4"),), limit=3)) == 25_000


def test_an_index_serves_a_pushed_text(source: SqliteSource, file: Path) -> None:
    from core.source.condition import Where
    from core.source.sqlite_types import SqliteSide

    side = SqliteSide("code", "VARCHAR(20)")
    where = Where(lambda _: side)
    sql = where.sql(Compare("code", "=", "A1"))
    with sqlite3.connect(file) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT id FROM everything WHERE {sql}", where.params).fetchall()
    connection.close()
    assert "by_code" in str(plan)


def test_large_tables_come_in_batches(source: SqliteSource) -> None:
    stream: Any = source.open(scan(source, "many"), fetching())
    assert next(iter(stream)).num_rows == 10_000
    stream.close()
    assert len(rows(source, "many")) == 25_000


def test_names(source: SqliteSource) -> None:
    assert source.table_names(Deadline(5)) == ["everything", "many", "sums", "wild"]
    assert source.table("sqlite_master", Deadline(5)) is None
    assert source.table('x"; DROP TABLE wild; --', Deadline(5)) is None
    assert [c.type for c in table(source, "sums").columns][:2] == ["VARCHAR", "VARCHAR"]


# ── fragments ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fragments(source: SqliteSource) -> None:
    f = fetching()
    sql = "SELECT day, moment, flag, exact, count(*) AS n, NULL AS none FROM everything WHERE id = :id AND ':no' > ''"
    found = source.run(Fragment("shop", sql, {"id": 1}), f)
    assert found.rows == [(date(2024, 1, 1), datetime(2024, 1, 1, 10, 0, 0, 123456), True, 10.1, 1, None)]
    assert [k for _, k in found.columns] == ["DATE", "TIMESTAMP", "BOOLEAN", "DOUBLE", "BIGINT", ""]
    assert f.ledger.tallies["shop"].calls == 1
    with pytest.raises(ResourceLimit, match="24999"):
        source.run(Fragment("shop", "SELECT * FROM many", max_rows=24_999), fetching())


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM many",
        "INSERT INTO many VALUES (0, 0)",
        "CREATE TABLE x (a)",
        "ATTACH 'other.db' AS other",
        "PRAGMA query_only = 0",
        "SELECT * FROM pragma_table_info('many')",
        "SELECT sql FROM sqlite_master",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
        "VACUUM INTO 'copy.db'",
        "SELECT 1; DELETE FROM many",
    ],
)
def test_a_fragment_only_reads(source: SqliteSource, sql: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        source.run(Fragment("shop", sql), fetching())
    assert source.run(Fragment("shop", "SELECT count(*) FROM many"), fetching()).rows == [(25_000,)]
    assert [p.name for p in tmp_path.iterdir()] == ["shop.db"]


def test_a_slow_query_ends_with_the_deadline(source: SqliteSource) -> None:
    endless = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c"
    with pytest.raises(SourceTimeout):
        source.run(Fragment("shop", endless), fetching(0.3))
    assert source.run(Fragment("shop", "SELECT 1"), fetching()).rows == [(1,)]


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    gone = SqliteSource("shop", lambda: tmp_path / "gone.db")
    with pytest.raises(SourceError, match=r"no SQLite database at .*gone\.db"):
        gone.table_names(Deadline(5))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database, whatever its name says" * 50)
    with pytest.raises(SourceError, match="not a database"):
        SqliteSource("shop", lambda: tmp_path / "x.db").table_names(Deadline(5))


def test_a_replaced_file_is_read_anew(source: SqliteSource, file: Path) -> None:
    assert len(rows(source, "many")) == 25_000
    other = file.with_name("other.db")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE many (id INTEGER PRIMARY KEY, n INT)")
    connection.close()
    other.replace(file)
    assert rows(source, "many") == []


def test_a_changed_column_is_an_error_not_other_values(source: SqliteSource, file: Path) -> None:
    old = scan(source, "many")
    with sqlite3.connect(file) as connection:
        connection.executescript("DROP TABLE many; CREATE TABLE many (id INTEGER, n TEXT);")
    connection.close()
    with pytest.raises(SourceError, match="has changed"):
        list(source.open_filtered(old, EVERY_ROW, fetching()))


def test_what_is_no_longer_there_says_that_the_catalog_is_old(source: SqliteSource, file: Path) -> None:
    old = scan(source, "many")
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE many RENAME COLUMN n TO m")
    connection.close()
    for sql in ("SELECT n FROM many", 'SELECT "n" FROM many', "SELECT 1 FROM gone"):
        with pytest.raises(SourceError, match="no such") as caught:
            source.run(Fragment("shop", sql), fetching())
        assert caught.value.details["catalog_changed"] is True
    with pytest.raises(SourceError, match="has changed") as caught:
        list(source.open(old, fetching()))
    assert caught.value.details["catalog_changed"] is True
    with pytest.raises(SourceError, match="no such function") as caught:
        source.run(Fragment("shop", "SELECT nothing_of_this_name(id) FROM many"), fetching())
    assert "catalog_changed" not in caught.value.details


def test_a_quoted_name_is_never_a_text(source: SqliteSource) -> None:
    """SQLite takes "amuont" > 5 for a comparison with a text, which is true for every row."""
    for sql in ('SELECT "amuont" FROM many', 'SELECT count(*) FROM many WHERE "amuont" > 5'):
        with pytest.raises(SourceError, match=r"no such column: amuont\. A text is written in single"):
            source.run(Fragment("shop", sql), fetching())
    sql = """SELECT '"id"' AS "a ""b`", "id" AS "it's", 'it''s "x"' AS c FROM "many" AS "t" WHERE "t"."id" = 1"""
    found = source.run(Fragment("shop", sql), fetching())
    assert [name for name, _ in found.columns] == ['a "b`', "it's", "c"]
    assert found.rows == [('"id"', 1, 'it\'s "x"')]


def test_a_writer_is_not_in_the_way(source: SqliteSource, file: Path) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM many")
    assert len(rows(source, "many")) == 25_000
    writer.execute("COMMIT")
    assert rows(source, "many") == []
    writer.close()


def test_many_threads(source: SqliteSource) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(rows(source, "many", "id")))) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    source.close()
    assert counts == [25_000] * 12


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "shop.db", "sqlite:///x?mode=rw"])
def test_urls_that_name_no_file(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"omni\.yaml:2"):
        locate(url, tmp_path, "omni.yaml:2")


def test_paths_are_relative_to_the_project(tmp_path: Path) -> None:
    assert locate("sqlite:///a/shop.db", tmp_path, "") == tmp_path / "a" / "shop.db"
    assert locate("sqlite:////var/shop.db", tmp_path, "") == Path("/var/shop.db")


def test_a_fragment_needs_nothing_heavy() -> None:
    """A cold alert on SQLite: no DuckDB, no Arrow, no SQLAlchemy, no HTTP, no pydantic."""
    code = """
import sys
from pathlib import Path
from types import SimpleNamespace
from core.deadline import Deadline
from core.source.base import Fetching, Fragment, Ledger
from core.source.registry import build
config = SimpleNamespace(connector='sqlite', options={'url': 'sqlite:///x.db'}, place='p')
source = build('s', config, root=Path(sys.argv[1]), wire=None, secrets=None)
source.run(Fragment('s', 'SELECT 1'), Fetching(Deadline(5), Ledger()))
heavy = {'duckdb', 'arro3', 'sqlalchemy', 'http', 'pydantic', 'yaml', 'sqlglot', 'ssl'}
print(sorted(heavy & set(sys.modules)))
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        sqlite3.connect(Path(folder) / "x.db").execute("CREATE TABLE a (b)").connection.close()
        said = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
