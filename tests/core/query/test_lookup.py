"""A join on a column that an API cannot do without: its other side is read first, and gives the keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import ResourceLimit, SqlRejected
from core.model import Answer, Principal
from core.settings import Settings
from handlers.local.platform import platform
from tests.replay.obtain import obtain
from tests.replay.server import Recorded, ReplayServer

ADMIN = Principal("root", frozenset({"admin"}))
SAM = Principal("sam", teams=("a",))
OMNI = """
version: 1
sources:
  shop: {connector: sqlite, url: "sqlite:///shop.db"}
  github: {connector: github, base_url: "${URL}"}
network: {allow: ["127.0.0.1"]}
"""
POLICIES = """
policies:
  - {table: "*", rows: [{roles: [admin]}]}
  - {table: shop.repos, rows: [{where: {team: {in: $user.teams}}}]}
  - {table: github.issues, rows: [{where: {repository: PyGithub/PyGithub}}]}
"""
COUNT = (
    "SELECT r.team, count(i.number) AS n FROM shop.repos r {join} github.issues i ON i.repository = r.name {more} "
    "GROUP BY ALL ORDER BY 1"
)


@pytest.fixture(scope="module")
def github() -> Iterator[ReplayServer]:
    with ReplayServer(Recorded.load(obtain())) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path, github: ReplayServer) -> App:
    (tmp_path / "policies").mkdir()
    (tmp_path / "omni.yaml").write_text(OMNI)
    (tmp_path / "policies" / "p.yaml").write_text(POLICIES)
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE repos (name TEXT, team TEXT)")
        db.executemany(
            "INSERT INTO repos VALUES (?, ?)",
            [("PyGithub/PyGithub", "a"), ("PyGithub/secret", "a"), ("PyGithub/nowhere", "b"), (None, "c")],
        )
    db.close()
    github.requests.clear()
    env = {"URL": github.url}
    return bootstrap.build(Settings(), platform(Settings(), env, tmp_path), project.load(tmp_path, env))


def ask(app: App, join: str = "JOIN", more: str = "", who: Principal = ADMIN) -> Answer:
    return app.ask(app.request(COUNT.format(join=join, more=more), who))


def test_keys_come_from_the_other_side(app: App, github: ReplayServer) -> None:
    answer = ask(app, more="WHERE r.name = 'PyGithub/PyGithub'")
    assert answer.rows == [("a", 135)]
    assert {r.split("?")[0] for r in github.requests} == {"GET /repos/PyGithub/PyGithub/issues"}


def test_an_outer_join_keeps_the_rows_without_a_match(app: App) -> None:
    assert ask(app, "LEFT JOIN", "WHERE r.team = 'c'").rows == [("c", 0)]


def test_no_key_no_call(app: App, github: ReplayServer) -> None:
    assert ask(app, more="WHERE r.team = 'nobody'").rows == []
    assert github.requests == []


def test_the_source_is_asked_for_permitted_keys_only(app: App, github: ReplayServer) -> None:
    """Sam's policy lets him see one repository's issues: the other is not even asked for, or its 404 would tell."""
    assert ask(app, who=SAM).rows == [("a", 135)]
    assert {r.split("?")[0] for r in github.requests} == {"GET /repos/PyGithub/PyGithub/issues"}


def test_too_many_keys_are_refused(app: App, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.executemany("INSERT INTO repos VALUES (?, 'd')", [(f"x/{i}",) for i in range(200)])
    db.close()
    with pytest.raises(ResourceLimit, match="more than 100 values"):
        ask(app)


def test_explain_says_so(app: App) -> None:
    plan = app.explain(app.request(COUNT.format(join="JOIN", more=""), ADMIN))
    assert plan["scans"][1]["calls_note"] == "one chain of pages for each repository that r.name has"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM github.issues",
        "SELECT count(*) FROM shop.repos r RIGHT JOIN github.issues i ON i.repository = r.name",
        "SELECT count(*) FROM shop.repos r FULL JOIN github.issues i ON i.repository = r.name",
        "SELECT count(*) FROM shop.repos r JOIN github.issues i ON i.repository <> r.name",
        "SELECT count(*) FROM shop.repos r JOIN github.issues i ON i.repository = r.name OR r.team = 'a'",
        "SELECT count(*) FROM github.commits c JOIN github.issues i ON i.repository = c.repository",
    ],
)
def test_where_nothing_gives_the_keys_the_query_is_refused(app: App, sql: str) -> None:
    with pytest.raises(SqlRejected, match="needs repository"):
        app.ask(app.request(sql, ADMIN))
