"""Files in two worlds that differ only in hidden rows: their types, columns, explanations and errors are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import Error
from core.model import Principal
from core.settings import Settings
from handlers.local.platform import platform
from tests.core.query.test_two_worlds import seen

OMNI = """
version: 1
sources:
  desk: {connector: files, path: desk}
principals:
  ann: {roles: [viewer], teams: [a]}
defaults: {timeout: 20s}
"""
POLICIES = """
policies:
  - {table: "*", rows: [{roles: [admin]}]}
  - {table: "desk.t", rows: [{where: {team: {in: $user.teams}}}]}
  - {table: "desk.levels", rows: [{where: {level: {lte: 30}}}]}
"""
Row = dict[str, Any]
VISIBLE: list[Row] = [
    {"id": 1, "team": "a", "v": 5, "day": "2026-01-01", "ok": True},
    {"id": 4, "team": "a", "v": 6, "day": "2026-02-01", "ok": False},
]
HIDDEN: dict[str, list[Row]] = {
    "number": [{"id": 2, "team": "b", "v": 7, "day": "2026-01-05", "ok": True}],
    "none": [],
    "text": [{"id": 2, "team": "b", "v": "zzz", "day": "never", "ok": "perhaps"}],
    "fraction": [{"id": "2.5", "team": "b", "v": 0.5, "day": "2026-01-01 10:00:00", "ok": None}],
    "far": [{"id": 99999999999999999999, "team": "b", "v": "9" * 400, "day": "9999999-01-01", "ok": 1}],
    "lost": [{"id": 2, "team": None, "v": "", "day": None, "ok": None}, {"id": "x", "team": 5, "v": "007"}],
}
HIDDEN_JSON: dict[str, list[Any]] = {
    "key": [{"id": 2, "team": "b", "v": 1, "secret": "yes"}, {"team": "b"}],
    "case": [{"ID": 2, "Team": "b", "V": 1, "json": 5}],
    "nested": [{"id": {"deep": [1]}, "team": "b", "v": [1, 2], "day": {"x": 1}, "ok": [{}]}],
    "nested team": [{"id": 3, "team": {"a": "a"}, "v": 1}, {"id": 3, "team": ["a"], "v": 1}],
    "twice": [{"id": 3, "team": "b", "v": "\u0000"}],
    "no object": [5, None, "a"],
}
QUERIES = [
    "SELECT * FROM desk.{t}",
    "SELECT count(*) FROM desk.{t}",
    "SELECT sum(v) FROM desk.{t}",
    "SELECT id FROM desk.{t} WHERE v > 5",
    "SELECT id FROM desk.{t} WHERE v = 'zzz'",
    "SELECT id FROM desk.{t} WHERE v >= 5 AND day >= '2026-01-15'",
    "SELECT upper(v) FROM desk.{t}",
    "SELECT typeof(id), typeof(team), typeof(v), typeof(day), typeof(ok) FROM desk.{t}",
    "SELECT max(day), min(ok) FROM desk.{t}",
    "SELECT day + 1 FROM desk.{t} ORDER BY day LIMIT 1",
    "SELECT secret FROM desk.{t}",
    "SELECT json FROM desk.{t}",
    "SELECT x.deep FROM (SELECT id AS x FROM desk.{t})",
    "SELECT a.id FROM desk.{t} a JOIN desk.{t} b ON a.v = b.v",
    "SELECT id FROM desk.{t} WHERE team = 'b'",
    "SELECT id FROM desk.{t} WHERE id IN (2, 4)",
    "SELECT COLUMNS('.*') FROM desk.{t}",
    "DESCRIBE desk.{t}",
]


def csv(rows: list[Row]) -> str:
    def cell(value: Any) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    names = list(VISIBLE[0])
    return "".join(",".join(line) + "\n" for line in [names, *([cell(r.get(n)) for n in names] for r in rows)])


FORMATS: dict[str, Callable[[list[Any]], str]] = {
    "csv": csv,
    "json": json.dumps,
    "ndjson": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
}


def build(folder: Path, name: str, text: str) -> App:
    (folder / "policies").mkdir(parents=True)
    (folder / "desk").mkdir()
    (folder / "omni.yaml").write_text(OMNI)
    (folder / "policies" / "all.yaml").write_text(POLICIES)
    (folder / "desk" / name).write_text(text)
    settings = Settings(memory_limit="256MB")
    return bootstrap.build(settings, platform(settings, {}, folder), project.load(folder, {}))


def all_seen(app: App, table: str) -> dict[str, Any]:
    """Answers, explanations and description, or their errors."""
    asker = app.project.principals["ann"].principal
    found: dict[str, Any] = {"describe": tried(lambda: app.describe(asker, f"desk.{table}"))}
    for query in QUERIES:
        sql = query.replace("{t}", table)
        found[sql] = seen(app, sql)
        if "WHERE" in sql or "*" in sql:
            found["explain " + sql] = tried(partial(app.explain, app.request(sql, asker)))
    return found


def tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Error as error:
        return (error.code, error.message, dict(error.details))


def between(visible: list[Any], hidden: list[Any]) -> list[Any]:
    """Hidden rows first and between the visible ones: place must not tell either."""
    return [*hidden, *visible[:1], *hidden, *visible[1:]]


WORLDS = [(kind, name) for kind in FORMATS for name in HIDDEN if name != "none"]
WORLDS += [(kind, name) for kind in ("json", "ndjson") for name in HIDDEN_JSON]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], dict[str, Any]]:
    """What is seen of a file that holds nothing but the visible rows, or nothing at all."""
    known: dict[tuple[str, bool], dict[str, Any]] = {}

    def of(kind: str, some: bool) -> dict[str, Any]:
        if (kind, some) not in known:
            folder = tmp_path_factory.mktemp("alone")
            text = FORMATS[kind](VISIBLE if some else [])
            known[kind, some] = all_seen(build(folder, f"t.{kind}", text), "t")
        return known[kind, some]

    return of


@pytest.mark.parametrize("some", [True, False], ids=["some rows", "no rows"])
@pytest.mark.parametrize(("kind", "world"), WORLDS)
def test_hidden_rows_of_a_file_show_nowhere(
    tmp_path: Path, alone: Callable[[str, bool], dict[str, Any]], kind: str, world: str, some: bool
) -> None:
    rows = between(VISIBLE if some else [], {**HIDDEN, **HIDDEN_JSON}[world])
    first, second = alone(kind, some), all_seen(build(tmp_path, f"t.{kind}", FORMATS[kind](rows)), "t")
    assert first == second
    assert not [q for q, a in first.items() if isinstance(a, dict) and a.get("code") in ("INTERNAL", "SOURCE_ERROR")]
    assert sum("rows" in answer for answer in first.values()) >= (10 if some else 2)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_visible_has_its_own_types(tmp_path: Path, kind: str) -> None:
    app = build(tmp_path, f"t.{kind}", FORMATS[kind](between(VISIBLE, HIDDEN["text"])))
    answer = seen(app, "SELECT * FROM desk.t ORDER BY id")
    assert [c["type"] for c in answer["columns"]] == ["BIGINT", "VARCHAR", "BIGINT", "DATE", "BOOLEAN"]
    assert answer["rows"] == [[1, "a", 5, "2026-01-01", True], [4, "a", 6, "2026-02-01", False]]
    root = Principal("root", frozenset({"admin"}))
    whole = app.describe(root, "desk.t")["columns"]
    assert [c["type"] for c in whole if c["name"] == "v"] in (["VARCHAR"], ["JSON"])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_condition_on_numbers_among_hidden_texts(tmp_path: Path, kind: str) -> None:
    rows: list[Row] = [
        {"id": 1, "team": "x", "level": 4},
        {"id": 2, "team": "x", "level": "n/a"},
        {"id": 3, "level": 100},
    ]
    names = ["id", "team", "level"]
    text = (
        "".join(
            ",".join(str(r.get(n, "")) for n in names) + "\n" for r in [dict(zip(names, names, strict=True)), *rows]
        )
        if kind == "csv"
        else FORMATS[kind](rows)
    )
    app = build(tmp_path, f"levels.{kind}", text)
    assert seen(app, "SELECT id, level FROM desk.levels")["rows"] == [[1, 4]]


BROKEN = {
    "csv": ["id,team,v\n1,a,5\n2,b,hidden,9\n", "id,team,v\n2,b,hidden,9\n1,a,5\n", "id,team,v\n1,a,5\n3,b\n2,b,1\n"],
    "ndjson": ['{"id":1,"team":"a"}\n{"id":2,"team":"b",\n', '{"id":2,"team":"b",\n{"id":1,"team":"a"}\n'],
    "json": ['[{"id":1,"team":"a"}, {"id":2,"team":"b"', '[{"id":2,"team":"b" "x"}, {"id":1,"team":"a"}]'],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_malformed_row_is_told_without_its_place(tmp_path: Path, kind: str) -> None:
    told = []
    for number, text in enumerate(BROKEN[kind]):
        app = build(tmp_path / str(number), f"t.{kind}", text)
        told.append(all_seen(app, "t"))
        error = seen(app, "SELECT * FROM desk.t")
        assert error["code"] == "SOURCE_ERROR" and f"t.{kind} is not valid" in error["message"]
        assert "line" not in error["details"] and "line" not in error["message"]
    assert all(other == told[0] for other in told)


def test_keys_that_differ_in_case_are_one_column(tmp_path: Path) -> None:
    rows = [{"ID": 1, "Team": "a"}, {"id": 2, "team": "a"}, {"Id": 3, "TEAM": "b"}]
    app = build(tmp_path, "t.json", json.dumps(rows))
    answer = seen(app, "SELECT * FROM desk.t ORDER BY id")
    assert [c["name"] for c in answer["columns"]] == ["ID", "Team"] and answer["rows"] == [[1, "a"], [2, "a"]]
