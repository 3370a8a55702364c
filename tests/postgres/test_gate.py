"""The gate over a real PostgreSQL: as scans and in its own dialect, in two worlds; and four sources at once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core import bootstrap, project
from core.app import App
from core.errors import Error
from core.model import Principal
from core.settings import Settings
from handlers.local.platform import platform
from tests.core.query.test_two_worlds import seen
from tests.replay.obtain import obtain
from tests.replay.server import Recorded, ReplayServer

OMNI = """
version: 1
sources:
  crm: {connector: postgres, url: "${CRM_URL}"}
principals:
  ann: {roles: [viewer], teams: [a]}
"""
POLICIES = """
policies:
  - {table: crm.free, rows: [{all: true}]}
  - table: crm.people
    rows: [{where: {team: {in: $user.teams}}}]
    columns: {salary: {mask: "null", unless_roles: [hr]}}
"""
ONLY_TWO = {
    "one": "",
    "two": """
        CREATE TABLE only_two (id BIGINT);
        CREATE SCHEMA hr;
        CREATE FUNCTION hr.leak(a BIGINT, b INT) RETURNS BIGINT LANGUAGE sql AS 'SELECT id FROM public.secret';
        CREATE OPERATOR hr.+ (LEFTARG = BIGINT, RIGHTARG = INT, FUNCTION = hr.leak);
        CREATE OPERATOR public.<-> (LEFTARG = BIGINT, RIGHTARG = INT, FUNCTION = hr.leak);
        CREATE OPERATOR public.@> (LEFTARG = BIGINT, RIGHTARG = INT, FUNCTION = hr.leak);
        CREATE FUNCTION public.upper(BIGINT) RETURNS BIGINT LANGUAGE sql AS 'SELECT id FROM public.secret';
    """,
}
HIDDEN = {"one": "", "two": ", (2, 'b', 'bob', 900, 'no number'), (3, 'b', '12', NULL, '7')"}
ATTACKS = [
    "SELECT * FROM crm.people",
    "SELECT count(*) FROM people",
    "SELECT id FROM people WHERE CAST(note AS INTEGER) > 0",
    "SELECT 1 / (id - 2) FROM people",
    "SELECT id FROM people ORDER BY salary",
    'WITH "People" AS (SELECT 1) SELECT p.* FROM free, people p',
    'WITH "PEOPLE" AS (SELECT 1 AS id) SELECT p.* FROM free, people p',
    'WITH "Secret" AS (SELECT 1) SELECT s.* FROM free, secret s',
    'WITH "Pg_class" AS (SELECT 1) SELECT s.reltuples FROM free, pg_class s',
    "SELECT reltuples FROM pg_class WHERE relname = 'people'",
    "SELECT n_live_tup FROM pg_stat_user_tables",
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT CAST('secret' AS pg_catalog.regclass) FROM free",
    "SELECT 'secret'::regclass FROM free",
    "SELECT user FROM free",
    "SELECT current_user",
    "SELECT ctid, xmin, tableoid FROM free",
    "SELECT ctid FROM people",
    "SELECT f.row_to_json FROM free f",
    "SELECT p.pg_column_size FROM people p",
    "SELECT row_to_json(p) FROM people p",
    "SELECT s.ts_stat FROM free f, unnest(ARRAY['select array_to_tsvector(array[name]) from people']) AS s",
    "SELECT ('select to_tsvector(''simple'', id::text) from secret'::text).ts_stat FROM free",
    "SELECT 'select to_tsvector(''simple'', id::text) from secret'.ts_stat FROM free",
    "SELECT (SELECT 'select to_tsvector(''simple'', id::text) from secret').ts_stat FROM free",
    "SELECT (ARRAY['select to_tsvector(''simple'', id::text) from secret'])[1].ts_stat FROM free",
    "SELECT ('only_two'::text).to_regclass IS NOT NULL AS p2 FROM free",
    "SELECT s.to_regclass IS NULL AS p2 FROM free f, unnest(ARRAY['only_two']) s",
    "SELECT s.to_regclass FROM free f, LATERAL unnest(ARRAY['only_two']) s",
    "SELECT s.to_regclass FROM free f, LATERAL (SELECT 'only_two'::text) s",
    "SELECT s.n.to_regclass FROM free f, LATERAL (SELECT 'only_two'::text AS n) s",
    "SELECT (s.n).to_regclass FROM free f, LATERAL (SELECT 'only_two'::text AS n) s",
    "SELECT s.current_setting FROM free f, unnest(ARRAY['data_directory']) s",
    "SELECT s.pg_read_file FROM unnest(ARRAY['/etc/passwd']) s, free f",
    "SELECT s.\"to_regclass\" FROM free f, unnest(ARRAY['only_two']) s",
    "SELECT (SELECT q.x FROM (SELECT 1 AS to_regclass) s, (SELECT s.to_regclass::text AS x) q) FROM free f, "
    "unnest(ARRAY['only_two']) s",
    "SELECT s.to_regclass FROM free f, unnest(ARRAY['only_two']) s, LATERAL (SELECT 1 AS to_regclass) t",
    "WITH s AS (SELECT 1 AS to_regclass) SELECT u.to_regclass FROM free f, unnest(ARRAY['only_two']) u, s",
    "SELECT f.id.pg_sleep FROM free f",
    "SELECT (f.id).pg_sleep FROM free f",
    "SELECT g.pg_sleep FROM free f, generate_series(1, 2) g",
    "SELECT p.to_jsonb FROM people p",
    "SELECT p FROM people p",
    "SELECT pg_sleep(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT set_config('x.y', '1', false)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT * FROM people FOR UPDATE",
    "SELECT dblink('x', 'y')",
    "SELECT query_to_xml('select * from people', true, true, '')",
    "SELECT * FROM people TABLESAMPLE system (100)",
    "DELETE FROM people",
    "COPY people TO PROGRAM 'cat'",
    "WITH x AS (DELETE FROM people RETURNING *) SELECT * FROM x",
    "SELECT 1; DROP TABLE people",
    "SELECT count(*) FROM (people p JOIN free f ON f.id = p.id)",
    "SELECT name FROM people WHERE id NOT IN (SELECT id FROM free)",
    "SELECT id OPERATOR(hr.+) 1 AS x FROM free",
    "SELECT id OPERATOR(pg_catalog.+) 1 AS x FROM free",
    "SELECT id OPERATOR(hr.+) ANY (ARRAY[1]) AS x FROM free",
    "SELECT id <-> 1 AS x FROM free",
    "SELECT id @> 1 AS x FROM free",
    "SELECT upper(id) AS x FROM free",
    'SELECT id::text COLLATE hr."x" AS x FROM free',
    "SELECT 'x'::hr.kind AS x FROM free",
]


@pytest.fixture(scope="module")
def worlds(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[App, App]:
    made = []
    for world, hidden in HIDDEN.items():
        database = f"gate_{world}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database}".encode())
            connection.execute(f"CREATE DATABASE {database}".encode())
            info = connection.info
            url = f"postgresql://{info.user}:{info.password}@/{database}?host={info.host}&port={info.port}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                f"""
                CREATE TABLE free (id BIGINT); INSERT INTO free VALUES (1), (2);
                CREATE TABLE secret (id BIGINT); INSERT INTO secret VALUES (77777);
                CREATE TABLE people (id BIGINT, team TEXT, name TEXT, salary NUMERIC(10, 2), note TEXT);
                INSERT INTO people VALUES (1, 'a', 'ann', 100, '5') {hidden};
                ANALYZE people;
                {ONLY_TWO[world]}
                """.encode()
            )
        folder: Path = tmp_path_factory.mktemp(world)
        (folder / "policies").mkdir()
        (folder / "omni.yaml").write_text(OMNI)
        (folder / "policies" / "p.yaml").write_text(POLICIES)
        env = {"CRM_URL": url}
        made.append(bootstrap.build(Settings(), platform(Settings(), env, folder), project.load(folder, env)))
    return made[0], made[1]


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize("sql", ATTACKS)
def test_attack_gets_the_same_in_both_worlds(worlds: tuple[App, App], sql: str, dialect: str) -> None:
    answers = []
    for app in worlds:
        try:
            ask = app.request(sql, app.project.principals["ann"].principal, dialect=dialect)
            answer = app.ask(ask)
            answers.append(json.dumps([answer.columns, [list(r) for r in answer.rows]], default=str))
        except Error as error:
            assert error.code != "INTERNAL", error.message
            answers.append(f"{error.code}: {error.message}")
    assert answers[0] == answers[1]
    for hidden in ("bob", "900", "77777", "no number", "postgres"):
        assert hidden not in answers[0].replace("dialect postgres", "").replace("one postgres source", "")


def test_what_ann_may_see_she_gets(worlds: tuple[App, App]) -> None:
    for dialect in ("duckdb", "postgres"):
        ann = worlds[1].project.principals["ann"].principal
        answer = worlds[1].ask(worlds[1].request("SELECT id, name, salary FROM crm.people", ann, dialect=dialect))
        assert [tuple(r) for r in answer.rows] == [(1, "ann", None)]
        assert answer.masked == ("crm.people.salary",)
    assert seen(worlds[1], "SELECT count(*) AS n FROM crm.people")["rows"] == [[1]]


@pytest.mark.parametrize("sql", [
    "SELECT f.id, p.name FROM free f JOIN people p ON p.id = f.id",
    "SELECT people.name FROM people",
    "SELECT q.n, q.\"Total\" FROM (SELECT p.name AS n, p.id AS \"Total\" FROM people p) q",
    "SELECT q.id FROM (SELECT * FROM free) q",
    "SELECT q.id FROM (SELECT f.* FROM free f) q ORDER BY q.id",
    "SELECT z.k, z.team FROM (SELECT * FROM people) AS z(k)",
    "WITH z(k) AS (SELECT id FROM free) SELECT z.k FROM z",
    "WITH z AS (SELECT id, count(*) AS n FROM free GROUP BY id) SELECT y.n FROM z y WHERE y.id = 1",
    "WITH RECURSIVE z AS (SELECT 1 AS n UNION ALL SELECT z.n + 1 FROM z WHERE z.n < 3) SELECT z.n FROM z, free",
    "SELECT u.v FROM unnest(ARRAY[1, 2]) AS u(v), free",
    "SELECT u.u FROM unnest(ARRAY[1, 2]) AS u, free",
    "SELECT u.v, u.n FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS u(v, n), free",
    "SELECT v.column1, v.column2 FROM (VALUES (1, 'a'), (2, 'b')) v, free",
    "SELECT v.a FROM (VALUES (1, 'a'), (2, 'b')) AS v(a, b), free",
    "SELECT l.x FROM free f, LATERAL (SELECT f.id + 1 AS x) l",
    "SELECT l.x FROM free f CROSS JOIN LATERAL unnest(ARRAY[f.id, 7]) AS l(x)",
    "SELECT j.key, j.value FROM json_each('{\"a\": 1}') j, free",
    "SELECT (p.name || 'x') AS y FROM people AS p ORDER BY p.id",
    "SELECT f.id FROM free f UNION ALL SELECT p.id FROM people p",
    "SELECT j.id, j.name FROM (people p JOIN free f USING (id)) AS j(id, team, name)",
    "SELECT f.id FROM free f WHERE EXISTS (SELECT 1 FROM people p WHERE p.id = f.id)",
])  # fmt: skip
def test_columns_with_a_qualifier_are_columns(worlds: tuple[App, App], sql: str) -> None:
    ann = worlds[0].project.principals["ann"].principal
    assert worlds[0].ask(worlds[0].request(sql, ann, dialect="postgres")).rows


def test_four_kinds_of_source_in_one_question(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(b"CREATE TABLE IF NOT EXISTS accounts (id BIGINT PRIMARY KEY, owner TEXT)")
        connection.execute(b"INSERT INTO accounts VALUES (1, 'jacquev6'), (2, 'nobody') ON CONFLICT DO NOTHING")
    (tmp_path / "policies").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "plans.json").write_text('[{"account": 1, "plan": "gold"}, {"account": 2, "plan": "free"}]')
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE orders (account INTEGER, amount REAL)")
        db.executemany("INSERT INTO orders VALUES (?, ?)", [(1, 10.0), (1, 5.5), (2, 1.0)])
    db.close()
    (tmp_path / "omni.yaml").write_text(
        'version: 1\nsources:\n  crm: {connector: postgres, url: "${CRM_URL}"}\n'
        '  shop: {connector: sqlite, url: "sqlite:///shop.db"}\n  desk: {connector: files, path: files}\n'
        '  github: {connector: github, base_url: "${GITHUB}"}\nnetwork: {allow: ["127.0.0.1"]}\n'
    )
    (tmp_path / "policies" / "p.yaml").write_text('table: "*"\nrows: [{roles: [admin]}]\n')
    with ReplayServer(Recorded.load(obtain())) as github:
        env: dict[str, Any] = {"CRM_URL": postgres_url, "GITHUB": github.url}
        app = bootstrap.build(Settings(), platform(Settings(), env, tmp_path), project.load(tmp_path, env))
        sql = """
            SELECT a.owner, p.plan, sum(DISTINCT o.amount) AS paid, count(DISTINCT i.number) AS issues
            FROM crm.accounts a JOIN shop.orders o ON o.account = a.id JOIN desk.plans p ON p.account = a.id
            JOIN github.issues i ON i.user_login = a.owner
            WHERE i.repository = 'PyGithub/PyGithub' GROUP BY ALL
        """
        answer = app.ask(app.request(sql, Principal("root", frozenset({"admin"}))))
        app.close()
    assert [tuple(r)[:3] for r in answer.rows] == [("jacquev6", "gold", 15.5)]
    assert answer.rows[0][3] > 10
    assert set(answer.stats["sources"]) == {"crm", "shop", "desk", "github"}


def test_a_sqlsentinel_file_names_schemas(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(b"CREATE SCHEMA pay; CREATE TABLE pay.roll (id INT); INSERT INTO pay.roll VALUES (7)")
        connection.execute(b"CREATE TABLE owed (id INT); INSERT INTO owed VALUES (3); CREATE SCHEMA spare")
    queries = {
        "public": "SELECT CASE WHEN max(id) = 3 THEN 'ALERT' END AS status FROM public.owed",
        "pay": "SELECT CASE WHEN max(pay.roll.id) = 7 THEN 'ALERT' END AS status FROM pay.roll",
        "both": "SELECT CASE WHEN o.id < r.id THEN 'ALERT' END AS status FROM public.owed o, pay.roll AS r",
        "spare": "SELECT CASE WHEN max(id) = 3 THEN 'ALERT' END AS status FROM spare.owed",
        "system": "SELECT CASE WHEN count(*) > 0 THEN 'ALERT' END AS status FROM pg_catalog.pg_authid",
    }
    alerts = [{"name": name, "query": query, "schedule": "@daily"} for name, query in queries.items()]
    (tmp_path / "alerts").mkdir()
    (tmp_path / "omni.yaml").write_text("version: 1\n")
    (tmp_path / "alerts" / "a.yaml").write_text(json.dumps({"database": {"url": postgres_url}, "alerts": alerts}))
    app = bootstrap.build(Settings(), platform(Settings(), {}, tmp_path), project.load(tmp_path, {}))
    results = {name: app.watch(name, None) for name in queries}
    app.close()
    assert [r["outcome"] for r in results.values()] == ["ALERT"] * 3 + ["ERROR"] * 2, results
    assert {results[name]["error"]["code"] for name in ("spare", "system")} == {"ENTITLEMENT_DENIED"}
