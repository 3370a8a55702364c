"""Two worlds that differ only in what a mask hides: types, columns, descriptions, answers and costs are the same."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.ports import Put
from core.settings import Settings
from handlers.local.platform import platform
from tests.core.query.test_two_worlds import seen

OMNI = """
version: 1
sources:
  desk: {connector: files, path: desk}
  shop: {connector: sqlite, url: "sqlite:///shop.db"}
principals:
  ann: {roles: [viewer], teams: [a]}
  hugo: {roles: [viewer, hr], teams: [a]}
defaults: {timeout: 20s}
"""
POLICIES = """
policies:
  - table: "desk.*"
    rows: [{where: {team: {in: $user.teams}}}]
    columns: &masks
      salary: {mask: "null", unless_roles: [hr]}
      born: {mask: year, unless_roles: [hr]}
      pay: {mask: bucket, width: 100, unless_roles: [hr]}
      badge: {mask: last4, unless_roles: [hr]}
      mail: {mask: redact, unless_roles: [hr]}
      pin: {mask: deny, unless_roles: [hr]}
  - {table: desk.all, rows: [{all: true}], columns: *masks}
  - {table: shop.t, rows: [{all: true}], columns: *masks}
"""
KNOWN = [{"id": 1, "team": "a", "day": "2026-01-01"}, {"id": 2, "team": "a", "day": "2026-01-02"}]
PRIVATE: dict[str, list[dict[str, Any]]] = {
    "plain": [
        {"salary": 100, "born": "1980-01-01", "pay": 150, "badge": "90001", "mail": "a@x", "pin": 5},
        {"salary": 200, "born": "1990-05-01", "pay": 250, "badge": "90002", "mail": "b@x", "pin": 6},
    ],
    "odd": [
        {
            "salary": "n/a",
            "born": "1980-12-31T10:00:00",
            "pay": 199.5,
            "badge": "x90001",
            "mail": 1,
            "pin": "quite long",
        },
        {"salary": 2.5, "born": "1990-05-01 10:00", "pay": "250", "badge": "yy90002", "mail": True, "pin": None},
    ],
    "deep": [
        {"salary": {"a": [1]}, "born": "1980-02-02", "pay": 100, "badge": "1e90001", "mail": {"x": 1}, "pin": [1]},
        {"salary": None, "born": "1990-05-01T00:00:00Z", "pay": 2e2, "badge": "-90002", "mail": [], "pin": {"json": 1}},
    ],
}
KEYS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "absent": ([{"salary": 1}, {}], [{}, {}]),
    "denied": ([{"pin": 1}, {}], [{}, {"pin": "x"}]),
    "case": ([{"Salary": 1}, {"salary": 2}], [{"salary": 1}, {}]),
}
QUERIES = [
    "SELECT * FROM desk.{t} ORDER BY id",
    "SELECT typeof(salary), typeof(born), typeof(pay), typeof(badge), typeof(mail) FROM desk.{t}",
    "SELECT salary FROM desk.{t}",
    "SELECT born, pay, badge, mail FROM desk.{t} ORDER BY id",
    "SELECT salary_1 FROM desk.{t}",
    "SELECT pin FROM desk.{t}",
    "SELECT json FROM desk.{t}",
    "SELECT id FROM desk.{t} WHERE salary = 100",
    "SELECT salary + 1 FROM desk.{t}",
    "SELECT COLUMNS('.*') FROM desk.{t} ORDER BY id",
    "SELECT id, day FROM desk.{t} WHERE day >= DATE '2026-01-02'",
]


def csv(rows: Sequence[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        return "" if value is None else json.dumps(value).strip('"').replace(",", "") if value != {"a": [1]} else "x"

    names = list(rows[0])
    return "".join(",".join(line) + "\n" for line in [names, *([cell(r[n]) for n in names] for r in rows)])


def build(folder: Path, files: dict[str, str]) -> App:
    (folder / "policies").mkdir(parents=True)
    (folder / "desk").mkdir()
    (folder / "omni.yaml").write_text(OMNI)
    (folder / "policies" / "all.yaml").write_text(POLICIES)
    for name, text in files.items():
        (folder / "desk" / name).write_text(text)
    settings = Settings(memory_limit="256MB")
    app = bootstrap.build(settings, platform(settings, {}, folder), project.load(folder, {}))
    app.platform.store.write("project", [Put("mask-salt", {"salt": "same"})])
    return app


def all_seen(folder: Path, kind: str, table: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    app = build(folder, {f"{table}.{kind}": csv(rows) if kind == "csv" else json.dumps(rows)})
    asker = app.project.principals["ann"].principal
    found: dict[str, Any] = {"describe": app.describe(asker, f"desk.{table}")}
    for query in QUERIES:
        sql = query.replace("{t}", table)
        found[query] = seen(app, sql)
        assert found[query].get("code") not in ("INTERNAL", "SOURCE_ERROR", "CONFIG_INVALID"), found[query]
    return found


@pytest.mark.parametrize("table", ["some", "all"])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_masked_values_of_a_file_show_nowhere(tmp_path: Path, kind: str, table: str) -> None:
    worlds = {
        name: all_seen(tmp_path / name, kind, table, [{**k, **p} for k, p in zip(KNOWN, private, strict=True)])
        for name, private in PRIVATE.items()
    }
    first = worlds.pop("plain")
    types = {c["name"]: c["type"] for c in first["describe"]["columns"]}
    assert types == {
        **{"id": "BIGINT", "team": "VARCHAR", "day": "DATE", "salary": "VARCHAR", "born": "VARCHAR"},
        **{"pay": "DOUBLE", "badge": "VARCHAR", "mail": "VARCHAR"},
    }
    rows = first["SELECT born, pay, badge, mail FROM desk.{t} ORDER BY id"]["rows"]
    assert rows == [["1980-01-01", 100.0, "****0001", "***"], ["1990-01-01", 200.0, "****0002", "***"]]
    for name, other in worlds.items():
        assert other == first, name


@pytest.mark.parametrize("table", ["some", "all"])
@pytest.mark.parametrize("case", KEYS)
def test_masked_keys_of_json_show_nowhere(tmp_path: Path, case: str, table: str) -> None:
    one, two = (
        all_seen(tmp_path / str(i), "json", table, [{**k, **p} for k, p in zip(KNOWN, private, strict=True)])
        for i, private in enumerate(KEYS[case])
    )
    assert one == two
    assert [c["name"] for c in one["describe"]["columns"]] == "id team day badge born mail pay salary".split()


@pytest.mark.parametrize("rows", [[5, {"salary": 77}], [{"salary": 77}], [{"json": {"salary": 77}}, 5]])
def test_a_document_does_not_repeat_what_a_mask_hides(tmp_path: Path, rows: Any) -> None:
    app = build(tmp_path, {"all.json": json.dumps(rows)})
    answer = seen(app, "SELECT * FROM desk.all")
    assert "77" not in json.dumps(answer["rows"]) and len(answer["rows"]) == len(rows)


def test_who_sees_the_values_sees_their_types(tmp_path: Path) -> None:
    rows = [{**k, **p} for k, p in zip(KNOWN, PRIVATE["plain"], strict=True)]
    app = build(tmp_path, {"all.csv": csv(rows), "some.json": json.dumps(rows)})
    for table in ("all", "some"):
        answer = seen(app, f"SELECT typeof(salary), typeof(born) FROM desk.{table} LIMIT 1", "hugo")
        assert answer["rows"] == [["BIGINT", "DATE"]]


def test_keys_that_differ_in_case_are_one_column_for_everyone(tmp_path: Path) -> None:
    app = build(tmp_path, {"all.json": '[{"id": 1, "Salary": 5}, {"id": 2, "salary": 6}, {"id": 3, "a": 1, "a_1": 2}]'})
    answer = seen(app, "SELECT * FROM desk.all ORDER BY id", "hugo")
    assert answer["rows"] == [[1, 5, None, None], [2, 6, None, None], [3, None, 1, 2]]


FITTING = "(1, 100.5, '1980-05-01', 150, '90001', 'a@x', 5), (2, NULL, NULL, 250, '90002', 'b@x', 6)"
MISFITS = [
    "(1, 'n/a', 'soon', 'much', x'ff', BAD, x'00'), (2, x'00', BAD, 9e999, 'x', 'y', 7)",
    "(1, BAD, 5, NULL, BAD, 7, 'x'), (2, '', '2026-13-45', '', NULL, '', BAD)",
]


@pytest.mark.parametrize("values", [FITTING, *MISFITS], ids=["fitting", "misfits", "more misfits"])
def test_masked_values_of_another_type_fail_no_query(tmp_path: Path, values: str) -> None:
    app = build(tmp_path, {})
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute(
            "CREATE TABLE t (id INTEGER, salary REAL, born DATE, pay DECIMAL(10,2), badge TEXT, mail TEXT, pin INT)"
        )
        db.execute(f"INSERT INTO t VALUES {values}".replace("BAD", "cast(x'ff' AS TEXT)"))
    db.close()
    answer = seen(app, "SELECT * FROM shop.t ORDER BY id")
    assert answer.get("code") is None, answer
    assert [(row[0], row[1]) for row in answer["rows"]] == [(1, None), (2, None)]
    assert [c["type"] for c in answer["columns"]] == ["BIGINT", "DOUBLE", "DATE", "DOUBLE", "VARCHAR", "VARCHAR"]
    assert seen(app, "SELECT salary FROM shop.t")["rows"] == [[None], [None]]
    if values == FITTING:
        assert answer["rows"][0] == [1, None, "1980-01-01", 100.0, "****0001", "***"]
    else:
        assert seen(app, "SELECT salary FROM shop.t", "hugo")["code"] == "SOURCE_ERROR"
