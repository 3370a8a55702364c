"""A plan that is kept asks for the same as one made anew, at any time; and only while the gate shows the same."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.deadline import Deadline
from core.errors import EntitlementDenied, Error
from core.model import Principal
from core.policy.gate import permit
from core.query import asked, plan
from core.query.kept import EngineWork, KeptPlan, keep
from core.query.parse import parse
from core.query.prepared import KNOWN, PARTITION, PlanCache, Prepared, key_of
from core.query.qualify import qualify
from core.stamp import stamp
from tests.core.query.test_pushdown import SCANNED
from tests.core.query.test_two_worlds import ATTACKS, build, seen

ANN = Principal("ann", frozenset({"viewer"}), ("a",))
BERLIN = "Europe/Berlin"
THEN = datetime(2026, 6, 7, 9, 31, 17, 123_456, tzinfo=UTC)
LATER = [datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC), datetime(2027, 12, 31, 23, 30, 0, 1, tzinfo=UTC)]
TIMED = """
SELECT upper(word) FROM plain WHERE day = current_date
SELECT upper(word) FROM plain WHERE day > current_date - 7 AND day <= today() + 1
SELECT upper(word) FROM plain WHERE day IN (current_date, current_date - 1, DATE '2026-01-01')
SELECT upper(word) FROM plain WHERE day BETWEEN current_date - 30 AND current_date
SELECT day, now() AS n, localtimestamp AS l, current_time AS t, get_current_timestamp() AS g FROM plain
SELECT now() - INTERVAL 1 DAY, current_date || '' FROM plain WHERE word = current_date::VARCHAR
SELECT * FROM events WHERE at > now() - INTERVAL 7 DAYS
SELECT * FROM events WHERE at >= now() - INTERVAL '90' MINUTE AND at < now() + INTERVAL 1 HOUR
SELECT * FROM events WHERE at < now() AND local < localtimestamp AND local > localtimestamp
WITH z AS (SELECT * FROM events) SELECT count(*) FROM z WHERE at > now() - INTERVAL 1 WEEK
SELECT * FROM (SELECT at AS x FROM events) q WHERE q.x >= (now() - INTERVAL 3 HOURS)
SELECT * FROM events e JOIN plain p ON p.id = e.id AND e.at > now() - INTERVAL 2 DAYS
""".strip().splitlines()
EVENTS = [{"id": 1, "at": "2026-03-01T00:00:00Z", "local": "2026-03-01 00:00:00"}]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    folder = tmp_path_factory.mktemp("kept") / "w"
    found = build(folder, "two")
    (folder / "desk" / "events.json").write_text(json.dumps(EVENTS))
    with closing(sqlite3.connect(folder / "shop.db")) as db:
        db.executescript(
            "CREATE TABLE t (a INTEGER, f REAL, s TEXT COLLATE NOCASE, d DATE, w TIMESTAMP, b BOOLEAN,"
            " n DECIMAL(10,2)); CREATE TABLE u (k TEXT, v INTEGER);"
        )
    open_ = 'policies: [{table: "*", rows: [{roles: [viewer]}]}]\n'
    (folder / "policies" / "people.yaml").write_text(
        (folder / "policies" / "people.yaml").read_text("utf-8").replace('- {table: "*", rows: [{roles: [admin]}]}', "")
    )
    for name in ("desk.events", "shop.t", "shop.u"):
        (folder / "policies" / f"{name}.yaml").write_text(open_.replace("*", name))
    return bootstrap.build(found.settings, found.platform, project.load(folder, {}))


def planned(app: App, sql: str, now: datetime) -> tuple[plan.Plan, EngineWork]:
    statement = parse(sql, now=now, timezone=BERLIN)
    bound = plan.bind(statement, app._view(ANN, Deadline(30)))
    qualify(statement, bound)
    made = plan.plan(statement, bound)
    names = {b.name: b.ref.alias for b in made.bound}
    return made, EngineWork(made.engine_sql(), permit(made.scans, ANN), names, {})


@pytest.mark.parametrize("sql", [*TIMED, *SCANNED, *ATTACKS])
def test_at_any_time_it_is_what_a_new_plan_would_be(app: App, sql: str) -> None:
    try:
        made, work = planned(app, sql, THEN)
    except Error:
        assert sql not in TIMED
        return
    kept = keep(made, work, asked.texts(THEN, BERLIN))
    assert kept is not None
    again = KeptPlan.of(json.loads(json.dumps(kept.body())))
    for now in (THEN, *LATER):
        found = again.visible(app._view(ANN, Deadline(30)))
        assert found is not None
        assert replace(again.work(found, ANN, asked.texts(now, BERLIN)), sifts={}) == planned(app, sql, now)[1]


def test_the_timed_ones_are_narrowed_by_time(app: App) -> None:
    """Otherwise the test above would prove nothing of it."""
    found = [p.scan.narrow for sql in TIMED for p in planned(app, sql, THEN)[1].permit.scans]
    values = [
        value for narrow in found for c in narrow for value in ([c.value] if isinstance(c.value, str) else c.value)
    ]
    shifts = {(v.kind, v.shift is None) for v in values if isinstance(v, asked.Asked)}
    assert shifts >= {("date", False), ("instant", False), ("instant", True), ("naive", False)}, shifts


@pytest.mark.parametrize("sql", [
    "SELECT upper(word) FROM plain WHERE day = current_date AND word <> '2026-06-07'",
    "SELECT upper(word), '2026-06-07 11:31:17.123456' AS x FROM plain",
])  # fmt: skip
def test_a_text_that_could_be_of_the_time_of_asking_is_not_kept(app: App, sql: str) -> None:
    assert keep(*planned(app, sql, THEN), asked.texts(THEN, BERLIN)) is None
    later = datetime(2026, 6, 8, 9, 30, tzinfo=UTC)
    assert keep(*planned(app, sql, later), asked.texts(later, BERLIN)) is not None


@pytest.mark.parametrize("sql", ATTACKS)
def test_asked_twice_it_is_answered_alike(app: App, sql: str) -> None:
    if "random" in sql or "uuid" in sql:
        return
    assert seen(app, sql) == seen(app, sql)


def test_a_plan_is_not_used_once_its_tables_are_seen_otherwise(tmp_path: Path) -> None:
    app = build(tmp_path / "w", "one")
    sql = "SELECT * FROM desk.tickets ORDER BY id"
    first = seen(app, sql)
    assert [c["name"] for c in first["columns"]] == ["id", "team", "title"]
    kept = app._plans.get(key_of(app.request(sql, app.project.principals["ann"].principal), app.project.digest))
    assert isinstance(kept, KeptPlan)
    file = tmp_path / "w" / "desk" / "tickets.csv"
    file.write_text("id,team,title,secret,extra\n1,a,hello,alpha,9\n")
    app.catalog.forget()
    assert [c["name"] for c in seen(app, sql)["columns"]] == ["id", "team", "title", "extra"]


def test_who_may_not_read_a_table_any_more_is_told_so(app: App) -> None:
    made, work = planned(app, "SELECT * FROM desk.notes", THEN)
    kept = keep(made, work, asked.texts(THEN, BERLIN))
    assert kept is not None
    stranger = Principal("eve", frozenset({"other"}))
    other_team = replace(ANN, teams=("b",))
    assert kept.visible(app._view(other_team, Deadline(30))) is None
    with pytest.raises(EntitlementDenied):
        replace(kept, reads=tuple(replace(r, table="hidden", source="shop") for r in kept.reads)).visible(
            app._view(stranger, Deadline(30))
        )


SCRIPT = """
import sys
from pathlib import Path
from core import bootstrap, project
from core.model import Principal
from core.settings import Settings
from handlers.local.platform import platform
root = Path(sys.argv[1])
app = bootstrap.build(Settings(), platform(Settings(), {}, root), project.load(root, {}))
ann = Principal("ann", frozenset({"viewer"}), ("a",))
print(app.ask(app.request(sys.argv[2], ann)).rows, "sqlglot" in sys.modules)
"""


@pytest.mark.parametrize("sql", [
    "SELECT title FROM desk.tickets WHERE id < 9 ORDER BY 1",
    "SELECT p.name, t.title FROM shop.people p JOIN desk.tickets t ON t.id = p.id ORDER BY 1",
])  # fmt: skip
def test_the_next_process_needs_no_parser(tmp_path: Path, sql: str) -> None:
    """Also where rows are filtered behind the fetch."""
    build(tmp_path / "w", "two").platform.store.close()
    told = [
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "w"), sql], check=True, capture_output=True,
                       text=True, env={**os.environ}).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert "hello" in told[0]
    assert told[0].replace("True", "False") == told[1]


def test_at_hand_are_not_more_than_so_many(app: App) -> None:
    class NoStore:
        def get(self, *_: Any) -> None:
            return None

        def write(self, *_: Any) -> None:
            return None

    cache: Any = PlanCache(NoStore())  # type: ignore[arg-type] # what a cache does with a store is two calls
    one = Prepared("s", "q", "q", {}, (), (), (), (), (), {}, "")
    for i in range(KNOWN + 3):
        cache.put(str(i), one, THEN)
        cache.get("0")
    assert cache.get("0") is one and cache.get("1") is None and cache.get("5") is one


def test_what_other_code_kept_is_not_used(tmp_path: Path) -> None:
    """A bundle's files all have one time, and an edit may leave the size as it was."""
    file = tmp_path / "a.py"
    stamps = set()
    for text in ("x < 1", "x > 1"):
        file.write_text(text)
        os.utime(file, (0, 0))
        stamps.add(stamp(str(file)))
        stamp.cache_clear()
    assert len(stamps) == 2


def test_the_plan_itself_holds_no_row_and_no_secret(tmp_path: Path) -> None:
    app = build(tmp_path / "w", "two")
    seen(app, "SELECT email, badge FROM shop.people ORDER BY 1")
    kept = [item.body for item in app.platform.store.query(PARTITION)]
    assert kept
    assert not any(word in json.dumps(kept) for word in ("ann@example.com", "9999-0001", '"same"'))


def test_hashes_are_salted_whoever_kept_the_plan(tmp_path: Path) -> None:
    app = build(tmp_path / "w", "one")
    sql = "SELECT email FROM shop.people ORDER BY id LIMIT 1"
    for _ in range(2):
        assert seen(app, sql)["rows"] == [[hashlib.sha256(b"sameann@example.com").hexdigest()]]
