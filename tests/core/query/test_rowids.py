"""``rowid`` in SQLite's own dialect is the row's, or the query is refused: never silently NULL."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import SqlRejected
from core.model import Principal
from core.settings import Settings
from handlers.local.platform import platform

OMNI = 'version: 1\nsources: {shop: {connector: sqlite, url: "sqlite:///shop.db"}}\n'
POLICIES = """
policies:
  - {table: "*", rows: [{roles: [admin]}]}
  - {table: shop.free, rows: [{all: true}]}
  - {table: shop.people, rows: [{where: {team: a}}]}
  - {table: shop.masked, rows: [{all: true}], columns: {id: {mask: deny, unless_roles: [admin]}}}
"""
ALERTS = """
database: {url: "sqlite:///shop.db"}
alerts:
  - name: rows
    query: "SELECT CASE WHEN MAX(rowid) > 6 THEN 'ALERT' ELSE 'OK' END AS status FROM free WHERE rowid > 0"
    schedule: "0 9 * * *"
"""
ADMIN, ANN = Principal("root", frozenset({"admin"})), Principal("ann")


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "policies").mkdir()
    (tmp_path / "alerts").mkdir()
    (tmp_path / "omni.yaml").write_text(OMNI)
    (tmp_path / "policies" / "p.yaml").write_text(POLICIES)
    (tmp_path / "alerts" / "a.yaml").write_text(ALERTS)
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.executescript("""
            CREATE TABLE free (name TEXT); INSERT INTO free (rowid, name) VALUES (5, 'x'), (7, 'y');
            CREATE TABLE people (id INTEGER PRIMARY KEY, team TEXT); INSERT INTO people VALUES (1, 'a'), (9, 'b');
            CREATE TABLE masked (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO masked VALUES (3, 'z');
            CREATE TABLE own (rowid TEXT, n INTEGER); INSERT INTO own VALUES ('mine', 1);
            CREATE TABLE without (k TEXT PRIMARY KEY) WITHOUT ROWID;
            CREATE VIEW seen AS SELECT name FROM free;
        """)
    db.close()
    return bootstrap.build(Settings(), platform(Settings(), {}, tmp_path), project.load(tmp_path, {}))


def ask(app: App, sql: str, who: Principal = ADMIN) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in app.ask(app.request(sql, who, dialect="sqlite")).rows]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT rowid, name FROM free ORDER BY rowid DESC", [(7, "y"), (5, "x")]),
        ("SELECT max(oid) AS a, min(_rowid_) AS b FROM free", [(7, 5)]),
        ('SELECT f."rowid" FROM free f WHERE f.ROWID > 5', [(7,)]),
        ("SELECT shop.free.rowid FROM shop.free WHERE name = 'x'", [(5,)]),
        ("SELECT name FROM free WHERE rowid IN (SELECT rowid + 2 FROM free)", [("y",)]),
        ("SELECT (SELECT max(rowid) FROM free) AS a FROM own", [(7,)]),
        ("SELECT name FROM free f WHERE EXISTS (SELECT 1 FROM own WHERE f.rowid = n + 4)", [("x",)]),
        ("SELECT rowid FROM own", [("mine",)]),
        ("SELECT _rowid_, rowid FROM own", [(1, "mine")]),
        ("SELECT rowid FROM people ORDER BY 1", [(1,), (9,)]),
        ("WITH c AS (SELECT rowid, name FROM free) SELECT rowid FROM c ORDER BY 1", [(5,), (7,)]),
        ("WITH c(oid) AS (SELECT 4) SELECT oid FROM c, own", [(4,)]),
        ("SELECT q.rowid FROM (SELECT 3 AS rowid FROM free) q LIMIT 1", [(3,)]),
        ("SELECT count(*) AS n FROM free WHERE rowid > 5", [(1,)]),
    ],
)
def test_it_is_the_rows(app: App, sql: str, rows: list[tuple[Any, ...]]) -> None:
    assert ask(app, sql) == rows


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT rowid FROM seen",
        "SELECT rowid FROM without",
        "SELECT rowid FROM (SELECT name FROM free) q",
        "SELECT rowid FROM (SELECT name FROM (SELECT rowid, name FROM free)) q",
        "WITH c AS (SELECT name FROM free) SELECT rowid FROM c",
        "SELECT *, rowid FROM free",
        "SELECT f.*, rowid FROM free f",
        "SELECT f.rowid FROM free f NATURAL JOIN own",
        "SELECT f.rowid FROM free f JOIN own USING (rowid)",
        "SELECT rowid FROM (VALUES (1)) v, free o",
    ],
)
def test_else_it_is_refused(app: App, sql: str) -> None:
    with pytest.raises(SqlRejected, match="rowid"):
        ask(app, sql)


def test_where_something_is_hidden_it_is_too(app: App) -> None:
    assert ask(app, "SELECT rowid FROM free ORDER BY 1", ANN) == [(5,), (7,)]
    for table in ("people", "masked"):
        for name in ("rowid", "oid", "_rowid_"):
            with pytest.raises(SqlRejected, match="may not see all"):
                ask(app, f"SELECT count(*) AS n FROM {table} WHERE {name} > 0", ANN)


def test_an_alert_of_a_sqlsentinel_file_sees_it(app: App) -> None:
    assert app.watch("rows", None)["outcome"] == "ALERT"
