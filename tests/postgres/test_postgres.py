"""PostgreSQL as a source, on a real server: what is pushed down agrees with the same data unpushed."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from core.deadline import Deadline
from core.errors import ConfigInvalid, ResourceLimit, SourceAuth, SourceError, SourceTimeout
from core.model import EVERY_ROW, NO_ROW, AllOf, AnyOf, Compare, Condition, Scan
from core.policy import condition
from core.source.base import Fetching, Fragment, Ledger
from core.source.contract import check_source
from core.source.sql import PostgresSource, check_url, driver_sql
from tests.postgres.server import PASSWORD


@pytest.fixture
def source(postgres_url: str) -> Iterator[PostgresSource]:
    found = PostgresSource("crm", lambda: (postgres_url, None))
    yield found
    found.close()


def fetching(seconds: float = 20.0, **more: Any) -> Fetching:
    return Fetching(Deadline(seconds), Ledger(), **more)


def table(source: PostgresSource, name: str) -> Any:
    found = source.table(name, Deadline(20))
    assert found is not None
    return found


def rows(source: PostgresSource, name: str, *columns: str, **scan: Any) -> list[tuple[Any, ...]]:
    where = scan.pop("where", EVERY_ROW)
    found = table(source, name)
    asked = Scan("t", found, columns or tuple(c.name for c in found.columns), **scan)
    stream = source.open_filtered(asked, where, fetching())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", stream)
        try:
            return connection.execute("SELECT * FROM t").fetchall()
        except duckdb.Error:
            assert stream.error is not None
            raise stream.error from None


def test_every_type_arrives_as_declared(source: PostgresSource) -> None:
    kinds = {c.name: c.type for c in table(source, "everything").columns}
    assert kinds["exact"] == "DECIMAL(10,2)" and kinds["cost"] == "DECIMAL(8,2)" and kinds["whole"] == "DECIMAL(20,0)"
    assert kinds["loose"] == kinds["wide"] == kinds["real4"] == "DOUBLE"
    assert kinds["label"] == kinds["feeling"] == kinds["every"] == "VARCHAR"
    assert kinds["numbers"] == kinds["duo"] == kinds["span"] == kinds["docb"] == "JSON"
    got = dict(zip(kinds, rows(source, "everything")[0], strict=True))
    assert got["exact"] == Decimal("10.10") and got["whole"] == Decimal("12345678901234567890")
    assert got["numbers"] == "[1,2]" and got["words"] == '["a",null]' and got["raw"] == b"\x00\xff"
    assert str(got["key"]) == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    assert got["instant"].isoformat() == "2024-01-01T08:00:00+00:00"
    assert got["real4"] == pytest.approx(0.1) and got["padded"] == "ab" and got['odd "name": %x'] == "odd"


def test_the_contract_holds_for_every_declared_operator(source: PostgresSource) -> None:
    assert check_source(source, "everything") > 300


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, 0.1, 3.5, 2**70, "alpha", "ALPHA", "a", "Z", "é", "", "ab", "ab   ", "happy",
    "10.10", "2024-01-01", "2024-01-01T08:00:00+00:00", "2024-01-01 10:00:00.123456", "true", "%",
    "it's 100%", "\\", "00000000-0000-0000-0000-000000000000", "nonsense", "10:00", '{"a": 1}',
)  # fmt: skip
OPS = ("=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with")


def test_conditions_mean_in_the_database_what_they_mean_in_the_sieve(source: PostgresSource) -> None:
    found = table(source, "everything")
    names = [c.name for c in found.columns]
    everything = rows(source, "everything")
    disagreements = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE t ({', '.join(f'{quote(c.name)} {c.type}' for c in found.columns)})")
        connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(names))})", everything)
        for column in found.columns:
            if column.type in ("BLOB", "JSON", "UUID", "TIME"):
                continue
            ops = OPS if column.type == "VARCHAR" else OPS[:7]
            tests: list[Condition] = [Compare(column.name, op, v) for op, v in itertools.product(ops, VALUES)]
            tests += [Compare(column.name, op, v) for op in ("in", "not in") for v in ((), (None,), VALUES[:9], VALUES)]
            for test in tests:
                sql = condition.tree(test, found).sql(dialect="duckdb")
                expected = sorted(r[0] for r in connection.execute(f"SELECT id FROM t WHERE {sql}").fetchall())
                stream = source.open_filtered(Scan("t", found, ("id",)), test, fetching())
                got = sorted(number for batch in stream for number in batch.column(0).to_pylist())
                if got != expected:
                    disagreements.append((column.name, column.type, test, got, expected))
    assert not disagreements, f"{len(disagreements)}: {disagreements[:5]}"


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_and_or_and_nothing(source: PostgresSource) -> None:
    one, two = Compare("id", "=", 1), Compare("title", "starts with", "B")
    assert [r[0] for r in rows(source, "everything", "id", where=AnyOf((one, two)))] == [1, 2]
    assert rows(source, "everything", "id", where=AllOf((one, two))) == []
    assert rows(source, "everything", "id", where=NO_ROW) == []
    assert rows(source, "everything", "id", where=Compare("nowhere", "=", 1)) == []
    assert rows(source, "everything", "id", where=Compare("title", "!=", "no text\0here")) == []


def test_a_hidden_row_cannot_cause_an_error(source: PostgresSource) -> None:
    mine = Compare("team", "=", "a")
    assert rows(source, "huge", "id", "loose", where=mine) == [(1, 1.5), (3, None)]
    assert rows(source, "huge", "id", where=mine, narrow=(Compare("loose", ">", 1.0),)) == [(1,)]
    assert rows(source, "huge", "id", where=Compare("loose", "<", 2.0)) == [(1,)]
    assert len(rows(source, "dates", where=mine)) == 1
    # A condition that costs more than the query's own is computed behind it.
    long = Compare("team", "in", ("a", *(f"t{i}" for i in range(8))))
    assert rows(source, "tiny", "id", where=long, narrow=(Compare("loose", ">", 1.0),)) == [(1,)]
    assert rows(source, "tiny", "id", where=Compare("loose", "<=", 0)) == [(2,), (3,)]
    for name in ("huge", "dates"):
        with pytest.raises(SourceError) as caught:
            rows(source, name)
        assert "1e400" not in str(caught.value) and "infinity" not in str(caught.value)


def test_masked_values_that_python_or_a_double_cannot_hold_are_null(source: PostgresSource) -> None:
    found = table(source, "odd")
    names = tuple(c.name for c in found.columns)
    with pytest.raises(SourceError):
        rows(source, "odd")
    masked = frozenset(names) - {"id"}
    got = rows(source, "odd", masked=masked)
    assert got[0][1:] == (None,) * 4 + (None, math.inf) and got[1][1:] == (None,) * 5 + (0.0,)
    assert got[2][1] is not None and None not in got[2]
    assert rows(source, "odd", masked=masked, blank=masked)[2] == (3, *(None,) * 6)


def test_columns_that_differ_in_case_only_are_refused(source: PostgresSource) -> None:
    with pytest.raises(SourceError, match=r"crm\.cased has columns whose names differ in case only: Name and name"):
        source.table("cased", Deadline(20))


def test_a_slice_is_no_parameter_of_ours(source: PostgresSource) -> None:
    found = table(source, "tiny")
    params: dict[str, Any] = {}
    inner = source.permitted(found, [("id", "id")], Compare("team", "in", ("a", "b")), params, Deadline(20))
    assert list(params) and not {"p0", "p1"} & set(params)
    sql = f"SELECT ((ARRAY[1, 2, 3])[(1):p0])[2] AS x FROM (SELECT *, 2 AS p0 FROM ({inner}) t WHERE id = 1) t"
    assert source.run(Fragment("crm", sql, params), fetching()).rows == [(2,)]


def test_a_limit_waits_for_every_predicate(source: PostgresSource) -> None:
    assert len(rows(source, "sales.orders", "id", limit=3)) == 3
    unpushable = (Compare("total", "=", "12.5"),)
    assert len(rows(source, "sales.orders", "id", narrow=unpushable, limit=3)) == 25000


def test_large_tables_come_in_batches(source: PostgresSource) -> None:
    stream = source.open(Scan("t", table(source, "sales.orders"), ("id",)), fetching())
    first = next(iter(stream))
    assert first.num_rows == 10_000
    stream.close()
    assert len(rows(source, "sales.orders", "id")) == 25_000


def test_names(source: PostgresSource) -> None:
    names = source.table_names(Deadline(20))
    assert {"everything", "happy", "sales.orders", "Mixed", "parts"} <= set(names)
    assert "parts_a" not in names and not any(n.startswith("pg_") for n in names)
    assert table(source, "mixed").columns[0].name == "Case"
    assert source.table("nowhere", Deadline(20)) is None


def test_a_changed_column_is_an_error_not_other_values(source: PostgresSource, postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE moving (id int); INSERT INTO moving VALUES (1)")
        old = table(source, "moving")
        connection.execute("ALTER TABLE moving ALTER id TYPE text")
        with pytest.raises(SourceError, match="has changed") as caught:
            list(source.open(Scan("t", old, ("id",)), fetching()))
        assert caught.value.details["catalog_changed"] is True
        connection.execute("DROP TABLE moving")
        with pytest.raises(SourceError, match="no longer there") as caught:
            list(source.open(Scan("t", old, ("id",)), fetching()))
        assert caught.value.details["catalog_changed"] is True
        for sql, condition in (
            ("SELECT 1 FROM public.moving", "undefined table"),
            ("SELECT x FROM public.everything", "column"),
        ):
            with pytest.raises(SourceError, match=condition) as caught:
                source.run(Fragment("crm", sql), fetching())
            assert caught.value.details["catalog_changed"] is True
        with pytest.raises(SourceError, match="division by zero") as caught:
            source.run(Fragment("crm", "SELECT 1 / 0"), fetching())
        assert "catalog_changed" not in caught.value.details


def test_fragments(source: PostgresSource) -> None:
    sql = """SELECT feeling, count(*) AS n, sum(exact) AS s, ':not a param' AS t, '5%' AS p, 10::int8 AS c
             FROM public.everything WHERE title <> :who AND id < :most GROUP BY 1 ORDER BY 1"""
    f = fetching()
    found = source.run(Fragment("crm", sql, {"who": "it's", "most": 5}), f)
    assert found.columns[1:] == (("n", "BIGINT"), ("s", ""), ("t", "VARCHAR"), ("p", "VARCHAR"), ("c", "BIGINT"))
    assert found.rows[0] == ("sad", 1, Decimal("10.10"), ":not a param", "5%", 10)
    assert f.ledger.tallies["crm"].calls == 1
    with pytest.raises(ResourceLimit):
        source.run(Fragment("crm", "SELECT * FROM sales.orders", max_rows=24_999), fetching())


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO sales.orders VALUES (0, 0)",
        "WITH gone AS (DELETE FROM sales.orders RETURNING *) SELECT * FROM gone",
        "CREATE TABLE x (a int)",
        "SELECT nextval('counter')",
        "SELECT 1; COMMIT; DELETE FROM sales.orders; COMMIT",
        "COMMIT",
        "SELECT set_config('transaction_read_only', 'off', false); DELETE FROM sales.orders",
    ],
)
def test_a_fragment_only_reads(source: PostgresSource, sql: str) -> None:
    with pytest.raises(SourceError):
        source.run(Fragment("crm", sql), fetching())
    assert source.run(Fragment("crm", "SELECT count(*) FROM sales.orders"), fetching()).rows == [(25_000,)]


def test_what_somebody_added_to_the_database_is_not_reached_by_a_bare_name(
    source: PostgresSource, postgres_url: str
) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION citext")
        connection.execute("CREATE TABLE mails (id int, mail citext); INSERT INTO mails VALUES (1, 'A@x'), (2, 'a@x')")
        connection.execute("CREATE FUNCTION upper(int) RETURNS int LANGUAGE sql AS 'SELECT 5'")
        connection.execute("CREATE OPERATOR public.<-> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4mi)")
    for sql in ("SELECT upper(1)", "SELECT 2 <-> 1", "SELECT CAST('a' AS citext)"):
        with pytest.raises(SourceError, match="of the system itself"):
            source.run(Fragment("crm", sql), fetching())
    found = table(source, "mails")
    assert [c.type for c in found.columns] == ["INTEGER", "VARCHAR"]
    # It is text wherever it is compared, as in a scan.
    for columns in (None, [("id", '"id"'), ("mail", '"mail"')]):
        inner = source.permitted(found, columns, EVERY_ROW, {}, Deadline(20))
        assert source.run(Fragment("crm", f"SELECT id FROM ({inner}) m WHERE mail = 'a@x'"), fetching()).rows == [(2,)]
        assert len(source.run(Fragment("crm", f"SELECT mail FROM ({inner}) m GROUP BY mail"), fetching()).rows) == 2
    assert rows(source, "mails", "id", where=Compare("mail", "=", "a@x")) == [(2,)]


def test_a_slow_query_ends_with_the_deadline(source: PostgresSource) -> None:
    source.table_names(Deadline(20))
    with pytest.raises(SourceTimeout):
        source.run(Fragment("crm", "SELECT pg_sleep(30)"), fetching(0.3))
    assert source.run(Fragment("crm", "SELECT 1"), fetching()).rows == [(1,)]


def test_messages_hold_no_password_and_no_value(postgres_url: str, source: PostgresSource) -> None:
    wrong = PostgresSource("crm", lambda: (postgres_url.replace(PASSWORD, "wr0ngsecret"), None))
    with pytest.raises(SourceAuth) as refused:
        wrong.table_names(Deadline(20))
    assert "wr0ngsecret" not in repr(refused.value) + str(refused.value.details)
    gone = PostgresSource("crm", lambda: (f"postgresql://u:{PASSWORD}@127.0.0.1:1/x", None))
    with pytest.raises(SourceError, match="cannot be reached") as away:
        gone.table_names(Deadline(20))
    assert PASSWORD not in str(away.value)
    with pytest.raises(SourceError) as failed:
        source.run(Fragment("crm", "SELECT CAST(title AS int) FROM public.everything"), fetching())
    assert "alpha" not in str(failed.value) and "invalid text representation" in str(failed.value)
    with pytest.raises(SourceError, match="division by zero"):
        source.run(Fragment("crm", "SELECT 1 / (id - id) FROM public.everything"), fetching())


def test_the_password_may_be_a_secret_of_its_own_and_be_rotated(postgres_url: str) -> None:
    current = ["not it"]
    source = PostgresSource("crm", lambda: (postgres_url.replace(f":{PASSWORD}", ""), current[0]))
    with pytest.raises(SourceAuth):
        source.table_names(Deadline(20))
    current[0] = PASSWORD
    assert source.table_names(Deadline(20))
    source.close()


def test_what_the_user_may_not_read_is_not_listed(postgres_url: str) -> None:
    weak = PostgresSource("crm", lambda: (postgres_url.replace(f"owner:{PASSWORD}", "weak:weakpw"), None))
    assert weak.table_names(Deadline(20)) == ["happy"]
    with pytest.raises(SourceAuth, match="GRANT SELECT"):
        weak.run(Fragment("crm", "SELECT * FROM public.closed_one"), fetching())
    weak.close()


def test_many_threads_share_the_pool(source: PostgresSource) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(rows(source, "everything", "id")))) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert counts == [6] * 12


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///x", "", "secret"])
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"omni.yaml:3: the url of a postgres source has to look like"):
        check_url(url, "omni.yaml:3")


def test_placeholders_only_outside_texts_and_names() -> None:
    sql = """SELECT ':a', ":a", E'\\':a', x::a, :a, y[1:a], 5 % 2, $$ :a $$, '%'"""
    assert driver_sql(sql, {"a": 1})[0] == (
        """SELECT ':a', ":a", E'\\':a', x::a, %(a)s, y[1:a], 5 %% 2, $$ :a $$, '%%'"""
    )
