"""What sources promise, held from a question to its requests: small pages for a LIMIT, tables that change meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import EntitlementDenied, SqlRejected
from core.model import Principal
from core.settings import Settings
from handlers.local.platform import platform
from tests.replay.obtain import obtain
from tests.replay.server import Recorded, ReplayServer

ADMIN = Principal("root", frozenset({"admin"}))
OMNI = """
version: 1
sources:
  shop: {connector: sqlite, url: "sqlite:///shop.db"}
  desk: {connector: files, path: desk}
  github: {connector: github, base_url: "${URL}"}
network: {allow: ["127.0.0.1"]}
"""
OPEN = "FROM github.issues WHERE repository = 'PyGithub/PyGithub' AND state = 'open'"


@pytest.fixture(scope="module")
def github() -> Iterator[ReplayServer]:
    with ReplayServer(Recorded.load(obtain())) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path, github: ReplayServer) -> App:
    for folder in ("policies", "desk"):
        (tmp_path / folder).mkdir()
    (tmp_path / "omni.yaml").write_text(OMNI)
    (tmp_path / "policies" / "p.yaml").write_text('policies: [{table: "*", rows: [{roles: [admin]}]}]\n')
    (tmp_path / "desk" / "open.csv").write_text("id,state\n1,open\n")
    change(tmp_path, "CREATE TABLE t (id INTEGER, name TEXT); INSERT INTO t VALUES (1, 'ann')")
    github.requests.clear()
    env = {"URL": github.url}
    return bootstrap.build(Settings(), platform(Settings(), env, tmp_path), project.load(tmp_path, env))


def change(root: Path, sql: str) -> None:
    with closing(sqlite3.connect(root / "shop.db")) as db:
        db.executescript(sql)


def ask(app: App, sql: str, **options: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in app.ask(app.request(sql, ADMIN, **options)).rows]


def test_a_limit_makes_the_page_small_where_nothing_is_left_to_filter(app: App, github: ReplayServer) -> None:
    assert len(ask(app, f"SELECT number, title {OPEN} LIMIT 3")) == 3
    assert [r for r in github.requests if "per_page=3" in r] == github.requests
    assert len(github.requests) == 1
    github.requests.clear()
    assert len(ask(app, f"SELECT number {OPEN} AND comments > 0 LIMIT 3")) == 3
    assert all("per_page=100" in r for r in github.requests)


def test_a_table_that_changed_is_read_as_it_is_now(app: App, tmp_path: Path) -> None:
    files, native = "SELECT * FROM desk.open", 'SELECT "name" FROM shop.t'
    assert (ask(app, files), ask(app, native, dialect="sqlite")) == ([(1, "open")], [("ann",)])
    (tmp_path / "desk" / "open.csv").write_text("id,state,owner\nx,open,bob\n")
    change(tmp_path, "ALTER TABLE t RENAME COLUMN name TO title")
    assert ask(app, files) == [("x", "open", "bob")]
    assert ask(app, "SELECT id, title FROM shop.t") == [(1, "ann")]
    (tmp_path / "desk" / "open.csv").unlink()
    with pytest.raises(EntitlementDenied):
        ask(app, files)


def test_a_source_of_which_nothing_is_allowed_is_not_heard_of(tmp_path: Path) -> None:
    """Not even that it is down."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "omni.yaml").write_text(
        'version: 1\nsources:\n  shop: {connector: sqlite, url: "sqlite:///shop.db"}\n'
        '  crm: {connector: sqlite, url: "sqlite:///shop.db"}\n  other: {connector: sqlite, url: "sqlite:///gone.db"}\n'
    )
    (tmp_path / "policies" / "p.yaml").write_text(
        'policies: [{table: "shop.*", rows: [{all: true}]}, {table: "crm.*", rows: [{all: true}]}]\n'
    )
    change(tmp_path, "CREATE TABLE t (id INTEGER)")
    app = bootstrap.build(Settings(), platform(Settings(), {}, tmp_path), project.load(tmp_path, {}))
    for sql in ("SELECT * FROM nowhere", "SELECT * FROM other.t", "SELECT * FROM another.t"):
        with pytest.raises(EntitlementDenied, match="There is no table"):
            ask(app, sql)
    assert [found["table"] for found in app.tables(ADMIN)] == ["shop.t", "crm.t"]
    for source in ("other", "another"):
        with pytest.raises(EntitlementDenied):
            app.tables(ADMIN, source)


@pytest.fixture
def twins(tmp_path: Path) -> App:
    """Two sources that have a table of the same name."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "omni.yaml").write_text(
        'version: 1\nsources:\n  s: {connector: sqlite, url: "sqlite:///shop.db"}\n  p: {connector: files, path: p}\n'
    )
    (tmp_path / "policies" / "p.yaml").write_text('policies: [{table: "*", rows: [{all: true}]}]\n')
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "u.csv").write_text("id,v\n1,p1\n2,p2\n")
    change(tmp_path, "CREATE TABLE u (id INTEGER, v TEXT); INSERT INTO u VALUES (1, 's1'), (3, 's3');"
                     "CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)")  # fmt: skip
    return bootstrap.build(Settings(), platform(Settings(), {}, tmp_path), project.load(tmp_path, {}))


@pytest.mark.parametrize(("sql", "rows"), [
    ("SELECT s.u.v, p.u.v FROM s.u JOIN p.u ON s.u.id = p.u.id", [("s1", "p1")]),
    ("WITH a AS (SELECT u.v FROM s.u), b AS (SELECT u.v FROM p.u) SELECT * FROM a UNION ALL SELECT * FROM b ORDER BY 1",
     [("p1",), ("p2",), ("s1",), ("s3",)]),
    ("SELECT u.v FROM s.u WHERE EXISTS (SELECT 1 FROM p.u WHERE u.id = 2) ORDER BY 1", [("s1",), ("s3",)]),
    ("SELECT u.v FROM s.u WHERE u.id IN (SELECT u.id FROM p.u) ORDER BY 1", [("s1",)]),
    ("SELECT u.v FROM s.u WHERE EXISTS (SELECT 1 FROM p.u WHERE p.u.id = s.u.id)", [("s1",)]),
    ("SELECT count(*) FROM t LEFT JOIN (SELECT u.* FROM p.u) q USING (id) JOIN s.u ON u.id = q.id", [(1,)]),
    ("SELECT q.v FROM s.u JOIN (SELECT u.* FROM p.u) q ON q.id = u.id", [("p1",)]),
    ("SELECT u.v FROM s.u ANTI JOIN p.u ON s.u.id = p.u.id", [("s3",)]),
    ("SELECT t.id FROM t JOIN s.u ON u.id = t.id JOIN p.u ON p.u.id = t.id", [(1,)]),
    ("SELECT * FROM (SELECT 'x' AS x) u JOIN t ON true ANTI JOIN s.u USING (id)", []),
    ("SELECT * FROM (SELECT 'x' AS x) u JOIN t ON true SEMI JOIN s.u USING (id)", [("x", 1)]),
    ("SELECT x, v FROM (SELECT 'x' AS x) u JOIN s.u ON s.u.id = 1", [("x", "s1")]),
    ("SELECT p_u.v FROM s.u JOIN p.u ON s.u.id = p.u.id JOIN (SELECT 'mine' AS v) p_u ON true", [("mine",)]),
])  # fmt: skip
def test_a_name_of_two_sources_is_the_nearest(twins: App, sql: str, rows: list[tuple[object, ...]]) -> None:
    assert ask(twins, sql) == rows
    assert ask(twins, sql) == rows


def test_nor_is_it_taken_for_an_alias(twins: App) -> None:
    with pytest.raises(SqlRejected, match=r"u may be s\.u or an alias here"):
        ask(twins, "SELECT u.v FROM s.u JOIN (SELECT 1 AS id) u ON true")


@pytest.mark.parametrize("sql", [
    "SELECT u.v FROM s.u JOIN p.u ON s.u.id = p.u.id", "SELECT u.* FROM s.u, p.u",
    "SELECT 1 FROM s.u JOIN p.u ON u.id = 1",
])  # fmt: skip
def test_a_name_that_may_be_of_two_sources_is_told(twins: App, sql: str) -> None:
    with pytest.raises(SqlRejected, match=r"u may be p\.u or s\.u here\. Write source\.table"):
        ask(twins, sql)
