"""Files as a source: every row as it was written, or an error that says where."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.deadline import Deadline
from core.errors import SourceError, SourceTimeout
from core.model import AllOf, AnyOf, Compare, Condition, Scan
from core.source.contract import check_source
from core.source.files import FilesSource
from tests.core.source.reading import fetching, rows, scan, table


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tickets"
    write(
        found / "people.csv",
        "id,zip,born,seen,paid,active,note,none\n"
        '1,00123,2024-01-01,2024-01-01T10:00:00Z,1.5,true,"a, ""b""\nc",\n'
        "2,80331,2024-02-29,2024-01-01 10:00:00+02:00,2,FALSE,,\n"
        '3,,,,,,"",\n',
    )
    write(found / "events.json", '[{"id": 1, "tags": ["x"], "who": {"name": "a"}, "at": "2024-01-01"}, {"id": 2}]')
    write(found / "logs" / "1.ndjson", '{"id": 1}\n')
    write(found / "logs" / "2.ndjson", '{"id": 2, "extra": "late"}\n')
    write(found / "tabs.tsv", "a\tb\n1\tx, y\n")
    duckdb.sql("SELECT range AS id, range % 3 AS kind, [range, 1] AS pair FROM range(30000)").write_parquet(
        str(found / "big.parquet")
    )
    write(found / "README.md", "not a table")
    write(found / ".hidden.csv", "a\n1\n")
    return found


def test_tables_of_a_folder(folder: Path) -> None:
    source = FilesSource("t", folder)
    assert source.table_names(Deadline(5)) == ["big", "events", "logs", "people", "tabs"]
    assert source.table("README", Deadline(5)) is None


def test_csv_values_keep_what_they_say(folder: Path) -> None:
    source = FilesSource("t", folder)
    kinds = {c.name: c.type for c in table(source, "PEOPLE").columns}
    assert list(kinds.values()) == "BIGINT VARCHAR DATE TIMESTAMPTZ DOUBLE BOOLEAN VARCHAR VARCHAR".split()
    assert rows(source, "people") == [
        (1, "00123", date(2024, 1, 1), datetime(2024, 1, 1, 10, tzinfo=UTC), 1.5, True, 'a, "b"\nc', None),
        (2, "80331", date(2024, 2, 29), datetime(2024, 1, 1, 8, tzinfo=UTC), 2.0, False, None, None),
        (3, None, None, None, None, None, "", None),
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ("1,-2,0", "BIGINT"),
        ("1,9223372036854775808", "DOUBLE"),
        ("1,2.50,1e3", "DOUBLE"),
        ("01,2", "VARCHAR"),
        ("+1,2", "VARCHAR"),
        ("1,x", "VARCHAR"),
        ("true,false", "BOOLEAN"),
        ("yes,no", "VARCHAR"),
        ("2024-01-01,2024-12-31", "DATE"),
        ("2024-01-01,2024-02-30", "VARCHAR"),
        ("01/02/2024,13/02/2024", "VARCHAR"),
        ("2024-01-01 10:00,2024-01-01T10:00:00.5", "TIMESTAMP"),
        ("2024-01-01T10:00:00Z,2024-01-01T10:00:00+02:00", "TIMESTAMPTZ"),
        ("2024-01-01T10:00:00Z,2024-01-01T10:00:00", "VARCHAR"),
        ("2024-01-01,2024-01-01 10:00", "VARCHAR"),
        ("NaN,1", "VARCHAR"),
        (",", "VARCHAR"),
    ],
)
def test_the_type_of_a_csv_column_fits_every_value(tmp_path: Path, values: str, kind: str) -> None:
    write(tmp_path / "a.csv", "v,w\n" + "".join(f"{v},x\n" for v in values.split(",")))
    source = FilesSource("t", tmp_path / "a.csv")
    assert table(source, "a").columns[0].type == kind
    assert len(rows(source, "a")) == len(values.split(","))


def test_a_value_that_comes_late_counts(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "v\n" + "1\n" * 50_000 + "late\n")
    source = FilesSource("t", tmp_path)
    assert rows(source, "a", narrow=(Compare("v", "=", "late"),)) == [("late",)]


def test_json_and_parquet(folder: Path) -> None:
    source = FilesSource("t", folder)
    assert rows(source, "events") == [(1, '["x"]', '{"name":"a"}', date(2024, 1, 1)), (2, None, None, None)]
    assert rows(source, "logs") == [(1, None), (2, "late")]
    assert rows(source, "tabs") == [(1, "x, y")]
    assert len(rows(source, "big", "id")) == 30_000
    assert rows(source, "big", narrow=(Compare("id", "in", (5, 7)),)) == [(5, 2, [5, 1]), (7, 1, [7, 1])]


def test_only_what_is_asked_leaves(folder: Path) -> None:
    source, f = FilesSource("t", folder), fetching()
    assert rows(source, "people", "zip", narrow=(Compare("id", ">", 1),), fetch=f) == [("80331",), (None,)]
    assert f.ledger.tallies["t"].calls == 1
    assert len(rows(source, "big", "id", limit=7)) == 7
    assert rows(source, "people", "id", where=Compare("note", "contains", "b")) == [(1,)]
    stream: Any = source.open(scan(source, "big", "id"), fetching())
    assert next(iter(stream)).schema.names == ["id"]
    stream.close()


@pytest.mark.parametrize("name", ["people", "events", "logs", "tabs"])
def test_the_contract_holds(folder: Path, name: str) -> None:
    assert check_source(FilesSource("t", folder), name) > 5


# ── rows that an asker may see ───────────────────────────────────────────────────────────────────────────────────


def permitted(source: FilesSource, name: str, where: Condition) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Columns with types, and rows, as one who may see ``where`` gets them."""
    found = source.table_for(name, where, Deadline(20))
    assert found is not None
    stream = source.open_filtered(Scan("t", found, tuple(c.name for c in found.columns)), where, fetching())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", stream)
        got = connection.execute("SELECT * FROM t").fetchall()
        kinds = [str(row[1]) for row in connection.execute("DESCRIBE t").fetchall()]
    stream.close()
    assert [{"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}.get(k, k) for k in kinds] == [c.type for c in found.columns]
    return {c.name: c.type for c in found.columns}, got


TEAM_A = Compare("team", "in", ("a",))


def test_types_come_from_permitted_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,team,v\n1,a,5\n2,b,zzz\n3,a,6\n")
    write(
        tmp_path / "j.json", '[{"id":1,"team":"a","v":5},{"id":2,"team":"b","v":{"x":1},"more":1},{"id":3,"team":"a"}]'
    )
    source = FilesSource("t", tmp_path)
    kinds = {"id": "BIGINT", "team": "VARCHAR", "v": "BIGINT"}
    assert permitted(source, "a", TEAM_A) == (kinds, [(1, "a", 5), (3, "a", 6)])
    assert permitted(source, "J", TEAM_A) == (kinds, [(1, "a", 5), (3, "a", None)])
    assert table(source, "a").columns[2].type == "VARCHAR" and len(table(source, "j").columns) == 4
    assert source.table_for("nowhere", TEAM_A, Deadline(5)) is None


def test_json_types_of_permitted_rows(tmp_path: Path) -> None:
    write(
        tmp_path / "j.ndjson",
        '{"team":"a","i":1,"d":1.5,"b":true,"day":"2026-01-01","at":"2026-01-01T10:00:00Z","big":18446744073709551615,'
        '"n":null,"l":[1, 2],"mix":1,"s":"5","x/y~z":"p"}\n'
        '{"team":"a","i":-2,"d":2,"mix":"one","s":"x","x/y~z":null}\n{"team":"b","i":"hidden","b":[]}\n',
    )
    kinds, got = permitted(FilesSource("t", tmp_path), "j", TEAM_A)
    wanted = "VARCHAR BIGINT DOUBLE BOOLEAN DATE TIMESTAMPTZ HUGEINT VARCHAR JSON JSON VARCHAR VARCHAR"
    assert list(kinds.values()) == wanted.split()
    at = datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert got == [
        ("a", 1, 1.5, True, date(2026, 1, 1), at, 18446744073709551615, None, "[1,2]", "1", "5", "p"),
        ("a", -2, 2.0, None, None, None, None, None, None, '"one"', "x", None),
    ]


def test_without_a_permitted_row(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,team\n2,b\n")
    write(tmp_path / "j.json", '[{"id": 1, "team": "b", "json": "a"}]')
    source = FilesSource("t", tmp_path)
    assert permitted(source, "a", TEAM_A) == ({"id": "VARCHAR", "team": "VARCHAR"}, [])
    assert permitted(source, "j", TEAM_A) == ({"json": "JSON"}, [])
    assert permitted(source, "j", Compare("json", "=", "b")) == ({"json": "JSON"}, [])


VALUES = ("5", "5.0", "05", "50", "-1", "abc", "true", "2026-01-01", "2026-03-01 10:00:00", "", "1e400")
MEANING: list[tuple[Any, Any, list[str]]] = [
    ("=", 5, ["5", "5.0"]),
    ("=", "5", ["5"]),
    ("=", "05", ["05"]),
    ("=", True, ["true"]),
    ("=", "true", ["true"]),
    ("<", 10, ["5", "5.0", "-1"]),
    ("<", "10", ["5", "5.0", "-1"]),
    (">=", "2026-02-01", ["2026-03-01 10:00:00"]),
    (">", "2026-02-01T00:00:00Z", ["2026-03-01 10:00:00"]),
    (">=", "b", ["true"]),
    ("in", ("5", None, "abc"), ["5", "abc"]),
    ("not in", ("abc", 5), ["05", "50", "-1", "true", "2026-01-01", "2026-03-01 10:00:00", "1e400"]),
    ("!=", "abc", [v for v in VALUES if v not in ("abc", "")]),
    ("starts with", "2026", ["2026-01-01", "2026-03-01 10:00:00"]),
    ("contains", 5, ["5", "5.0", "05", "50"]),
    ("=", None, []),
    ("=", "\0", []),
    ("<", (1, 2), []),
    ("<", 10**30, ["5", "5.0", "50", "-1"]),
    ("!=", "5", [v for v in VALUES if v not in ("5", "5.0", "")]),
]


@pytest.mark.parametrize(("op", "value", "wanted"), MEANING)
def test_what_a_condition_means_over_text(tmp_path: Path, op: Any, value: Any, wanted: list[str]) -> None:
    write(tmp_path / "a.csv", "v,copy\n" + "".join(f"{v},x{v}\n" for v in VALUES))
    _, got = permitted(FilesSource("t", tmp_path), "a", Compare("v", op, value))
    assert [row[1] for row in got] == [f"x{v}" for v in wanted]


def test_a_condition_whose_parts_want_other_kinds(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,team,level\n1,b,4\n2,a,n/a\n3,b,100\n")
    source = FilesSource("t", tmp_path)
    low: Condition = Compare("level", "<=", 30)
    kinds, got = permitted(source, "a", AllOf((low, Compare("team", "=", "b"))))
    assert kinds["level"] == "BIGINT" and got == [(1, "b", 4)]
    with pytest.raises(SourceError, match="several kinds of value"):
        source.table_for("a", AnyOf((low, TEAM_A)), Deadline(5))


def test_a_file_that_changes_what_is_permitted(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,team\n1,a\n2,b\n")
    source = FilesSource("t", tmp_path)
    found = source.table_for("a", TEAM_A, Deadline(5))
    assert found is not None
    asked = Scan("t", found, ("id",))
    write(tmp_path / "a.csv", "id,team\n1,a\nhidden,b\n")
    source.open_filtered(asked, TEAM_A, fetching()).close()
    write(tmp_path / "a.csv", "id,team\nnow text,a\n2,b\n")
    with pytest.raises(SourceError, match="has changed"):
        source.open_filtered(asked, TEAM_A, fetching())


def test_a_malformed_row_without_its_place(tmp_path: Path) -> None:
    source = FilesSource("t", tmp_path)
    for text in ("id,team\n1,a\n2,b,hidden\n", "id,team\n2\n1,a\n"):
        write(tmp_path / "a.csv", text)
        with pytest.raises(SourceError) as caught:
            source.table_for("a", TEAM_A, Deadline(5))
        told = "Source t: a.csv is not valid CSV, or has rows of another shape. Correct the file."
        assert str(caught.value) == told and "line" not in caught.value.details


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("id,name", "1,x", {"id": 1, "name": "x"}),
        ("id;name", "1;x", {"id": 1, "name": "x"}),
        ("id\tname", "1\tx", {"id": 1, "name": "x"}),
        ("id|name", "1|x", {"id": 1, "name": "x"}),
        ('"id";"name"', '1;"x;y"', {"id": 1, "name": "x;y"}),
        ('"last, first";id', '"Doe, J";1', {"last, first": "Doe, J", "id": 1}),
        ('"id;nr",name', "1,x", {"id;nr": 1, "name": "x"}),
        ('"a ""b"";c"|d', "1|2", {'a "b";c': 1, "d": 2}),
        ('"two\nlines";id', "x;1", {"two\nlines": "x", "id": 1}),
        ("amount, EUR;id", "1,2", {"amount": 1, " EUR;id": 2}),  # ambiguous: a comma
        ("a;b|c", "1", {"a;b|c": 1}),  # so is this
        ("alone", "1;2", {"alone": "1;2"}),
        ("\ufeffid;name", "1;x", {"id": 1, "name": "x"}),
    ],
)
def test_the_header_shows_the_delimiter(tmp_path: Path, header: str, row: str, columns: dict[str, Any]) -> None:
    write(tmp_path / "a.csv", f"{header}\n{row}\n")
    source = FilesSource("t", tmp_path)
    assert [c.name for c in table(source, "a").columns] == list(columns)
    assert rows(source, "a") == [tuple(columns.values())]


def test_the_option_and_a_tsv_say_the_delimiter_themselves(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id;x,name\n1;2,x\n")
    write(tmp_path / "b.tsv", "id;name\n1;2\n")
    assert [c.name for c in table(FilesSource("t", tmp_path, delimiter=";"), "a").columns] == ["id", "x,name"]
    assert [c.name for c in table(FilesSource("t", tmp_path), "b").columns] == ["id;name"]


def test_files_of_one_table_have_one_delimiter(tmp_path: Path) -> None:
    write(tmp_path / "days" / "1.csv", "id;name\n1;x\n")
    write(tmp_path / "days" / "2.csv", "id;name\n2;y\n")
    assert rows(FilesSource("t", tmp_path), "days") == [(1, "x"), (2, "y")]
    write(tmp_path / "days" / "3.csv", "id,name\n2,y\n")
    with pytest.raises(SourceError, match=r"3\.csv has another header"):
        table(FilesSource("t", tmp_path), "days")


# ── bad files ────────────────────────────────────────────────────────────────────────────────────────────────────

MALFORMED = {
    "long.csv": ("a,b\n1,2\nhidden,4,5\n", "long.csv, line 3"),
    "short.csv": ("a,b\n1,2\nhidden\n", "short.csv, line 3"),
    "quote.csv": ('a,b\n1,"hidden\n3,4\n', "quote.csv, line 2"),
    "empty.csv": ("", "empty.csv, line 1"),
    "twice.csv": ("a,A\n1,2\n", "twice.csv, line 1"),
    "unnamed.csv": ("a,\n1,2\n", "unnamed.csv, line 1"),
    "cut.json": ('[{"a": 1}, {"a": "hidden', "cut.json"),
    "cut.ndjson": ('{"a": 1}\n{"a": "hidden\n', "cut.ndjson"),
    "no.json": ("hidden", "no.json"),
    "no.parquet": ("hidden", "no.parquet"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_an_error_with_its_place(tmp_path: Path, name: str) -> None:
    text, place = MALFORMED[name]
    write(tmp_path / name, text)
    with pytest.raises(SourceError, match=place) as caught:
        rows(FilesSource("t", tmp_path), Path(name).stem)
    assert "hidden" not in str(caught.value) + str(caught.value.details)


def test_a_csv_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,name\n1,ok\n2,caf\xe9\n")
    with pytest.raises(SourceError, match=r"a\.csv, line 3"):
        rows(FilesSource("t", tmp_path), "a")


def test_a_folder_whose_files_differ(tmp_path: Path) -> None:
    write(tmp_path / "t" / "1.csv", "a,b\n1,2\n")
    write(tmp_path / "t" / "2.csv", "b,a\n1,2\n")
    with pytest.raises(SourceError, match="another header"):
        rows(FilesSource("t", tmp_path), "t")
    write(tmp_path / "t" / "2.json", "[]")
    with pytest.raises(SourceError, match="several formats"):
        FilesSource("t", tmp_path).table_names(Deadline(5))


def test_a_file_that_changes_its_shape_between_catalog_and_scan(folder: Path) -> None:
    source = FilesSource("t", folder)
    old = scan(source, "people")
    write(folder / "people.csv", "zip,id\n1,2\n")
    with pytest.raises(SourceError, match="has changed") as caught:
        source.open(old, fetching())
    assert caught.value.details["catalog_changed"] is True
    (folder / "people.csv").unlink()
    with pytest.raises(SourceError, match="has changed") as caught:
        source.open(old, fetching())
    assert caught.value.details["catalog_changed"] is True


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file or folder"):
        FilesSource("t", tmp_path / "gone").table_names(Deadline(5))
    with pytest.raises(SourceError, match="matches"):
        FilesSource("t", tmp_path / "*.csv").table_names(Deadline(5))
    write(tmp_path / "a.xlsx", "x")
    with pytest.raises(SourceError, match=r"a\.xlsx is none of"):
        FilesSource("t", tmp_path / "a.xlsx").table_names(Deadline(5))


def test_one_file_and_a_glob(folder: Path) -> None:
    assert FilesSource("t", folder / "people.csv").table_names(Deadline(5)) == ["people"]
    assert FilesSource("t", folder / "*.csv").table_names(Deadline(5)) == ["people"]
    assert "people" in FilesSource("t", folder / "p*.csv").table_names(Deadline(5))


def test_two_files_of_one_name(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "x\n1\n")
    write(tmp_path / "A.json", "[]")
    with pytest.raises(SourceError, match="two files give a table"):
        FilesSource("t", tmp_path).table_names(Deadline(5))


# ── walls ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    outside = write(tmp_path / "secret.csv", "password\nhunter2\n")
    inside = tmp_path / "inside"
    write(inside / "a.csv", "x\n1\n")
    (inside / "link.csv").symlink_to(outside)
    source = FilesSource("t", inside)
    with pytest.raises(SourceError, match="leaves"):
        source.table_names(Deadline(5))
    (inside / "link.csv").unlink()
    for name in ("../secret", "..", "/etc/passwd", "a.csv", str(outside)):
        assert source.table(name, Deadline(5)) is None
    with source._connect(Deadline(5)) as connection, pytest.raises(duckdb.Error):
        connection.execute(f"SELECT * FROM read_csv('{outside}')").fetchall()


def test_names_that_look_like_sql_or_patterns(tmp_path: Path) -> None:
    write(tmp_path / 'o\'ne "two" [x].csv', 'a\'b,"c""d"\n1,2\n')
    write(tmp_path / "o'ne two x.csv", "a\n9\n")
    source = FilesSource("t", tmp_path)
    assert rows(source, 'o\'ne "two" [x]') == [(1, 2)]


def test_reading_ends_with_the_deadline(folder: Path) -> None:
    source = FilesSource("t", folder)
    asked = scan(source, "big")
    with pytest.raises(SourceTimeout):
        source.open(asked, fetching(0.0))


def test_a_gzip_is_not_a_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"a\n1\n"))
    with pytest.raises(SourceError, match=r"a\.csv, line 1"):
        rows(FilesSource("t", tmp_path), "a")


def test_columns_of_parquet_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    """DuckDB would call the second one name_1, a name that no policy knows."""
    duckdb.sql(f"COPY (SELECT 'UP' AS \"Nam1\", 'low' AS nam2) TO '{tmp_path}/t.parquet'")
    raw = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(raw.replace(b"Nam1", b"Name").replace(b"nam2", b"name"))
    duckdb.sql(f"COPY (SELECT 1 AS a, 2 AS a_1) TO '{tmp_path}/fine.parquet'")
    source = FilesSource("t", tmp_path)
    with pytest.raises(SourceError, match=r"t\.t has columns whose names differ in case only: Name and name"):
        source.table("t", Deadline(5))
    assert rows(source, "fine") == [(1, 2)]
