"""A sqlsentinel file at work: its queries run as they did, in their database's own SQL, and see nothing else."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import EntitlementDenied
from core.model import Principal
from core.settings import Settings
from handlers.local.platform import platform

FILE = """
database:
  url: "sqlite:///sample.db"
alerts:
  - name: "Daily Revenue Check"
    description: "Alert if yesterday's revenue is low"
    query: |
      SELECT
        CASE WHEN SUM(revenue) < 10000 THEN 'ALERT' ELSE 'OK' END as status,
        SUM(revenue) as actual_value,
        10000 as threshold
      FROM orders
      WHERE order_date = date('now', '-1 day')
    schedule: "0 9 * * *"
  - name: "No table"
    query: "SELECT 'ok' AS Status, 1.5 AS actual_value"
    schedule: "*/5 * * * *"
  - name: "Quoted text"
    query: SELECT CASE WHEN COUNT(*) > 0 THEN "ALERT" ELSE "OK" END AS status FROM orders WHERE state = "open"
    schedule: "@hourly"
  - name: "Everything"
    query: |
      WITH recent AS (SELECT * FROM orders WHERE order_date > datetime('now', '-30 days')),
           totals AS (SELECT COUNT(*) AS c, COALESCE(SUM(revenue), 0) AS r FROM recent)
      SELECT CASE WHEN c = 0 THEN 'ALERT' WHEN r / c > 5 THEN 'ALERT' ELSE 'OK' END AS status, r AS actual_value, c,
             (SELECT MAX(id) FROM orders) AS newest, printf('%.2f', r) AS shown, strftime('%Y', 'now') AS year
      FROM totals
    schedule: "0 * * * *"
  - name: "Writes"
    query: "DELETE FROM orders"
    schedule: "0 * * * *"
  - name: "Files"
    query: "SELECT readfile('/etc/passwd') AS status"
    schedule: "0 * * * *"
"""


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "alerts").mkdir()
    (tmp_path / "omni.yaml").write_text("version: 1\n")
    (tmp_path / "alerts" / "alerts.yaml").write_text(FILE)
    with sqlite3.connect(tmp_path / "sample.db") as db:
        db.execute("CREATE TABLE orders (id INTEGER, revenue DECIMAL(10, 2), order_date TEXT, state TEXT)")
        db.execute("INSERT INTO orders VALUES (1, 100.5, date('now', '-1 day'), 'open'), (2, 50, '2020-01-01', 'done')")
    db.close()
    return bootstrap.build(Settings(), platform(Settings(), {}, tmp_path), project.load(tmp_path, {}))


@pytest.mark.parametrize(
    ("name", "outcome", "value"),
    [
        ("Daily Revenue Check", "ALERT", 100.5),
        ("No table", "OK", 1.5),
        ("Quoted text", "ALERT", None),
        ("Everything", "ALERT", 100.5),
    ],
)
def test_it_judges_as_it_did(app: App, name: str, outcome: str, value: Any) -> None:
    for _ in range(2):  # the second time with the kept plan
        result = app.watch(name, None)
        assert (result["outcome"], result["instances"][0]["actual_value"]) == (outcome, value), result


@pytest.mark.parametrize("name", ["Writes", "Files"])
def test_it_can_only_read_its_database(app: App, name: str) -> None:
    result = app.watch(name, None)
    assert (result["outcome"], result["error"]["code"]) == ("ERROR", "SQL_REJECTED")


def test_nobody_else_sees_its_database(app: App) -> None:
    admin = Principal("root", frozenset({"admin"}))
    assert app.tables(admin) == []
    for table in ("orders", "_alerts.orders"):
        with pytest.raises(EntitlementDenied):
            app.ask(app.request(f"SELECT * FROM {table}", admin))


ONE = """
database: {{url: "{url}", echo: true}}
version: 3
alerts:
  - name: {name}
    query: SELECT CASE WHEN SUM(n) > 5 THEN 'ALERT' ELSE 'OK' END AS status FROM t
    schedule: "@daily"
    owner: me
    notify:
      - {{channel: slack, webhook_url: "https://hooks.slack.com/x", username: bot, subject: S}}
      - {{channel: email, recipients: [a@b.c], subject: S}}
"""


def load(folder: Path, files: dict[str, str]) -> App:
    (folder / "alerts").mkdir()
    (folder / "omni.yaml").write_text("version: 1\n")
    for number, (name, body) in enumerate(files.items()):
        (folder / "alerts" / name).write_text(body)
        with sqlite3.connect(folder / f"{number}.db") as db:
            db.execute("CREATE TABLE t (n INTEGER)")
            db.execute("INSERT INTO t VALUES (?)", (number * 10,))
        db.close()
    return bootstrap.build(Settings(), platform(Settings(), {}, folder), project.load(folder, {}))


def test_files_of_names_alike_read_each_its_own_database(tmp_path: Path) -> None:
    names = ["a-b.yaml", "a_b.yaml", "A.yaml", "a.yml", "a.yaml", "a b.yaml", "Ä.yaml", "ä.yaml"]
    files = {name: ONE.format(url=f"sqlite:///{i}.db", name=f"n{i}") for i, name in enumerate(names)}
    app = load(tmp_path, files)
    assert len({rule.private_source for rule in app.project.alerts.values()}) == len(names)
    assert app.project.alerts["n1"].private_source == "_a_b" and app.project.alerts["n4"].private_source == "_a"
    assert [app.watch(f"n{i}", None)["outcome"] for i in range(len(names))] == ["OK"] + ["ALERT"] * (len(names) - 1)


@pytest.mark.parametrize("url", ["sqlite+pysqlite:///0.db", " sqlite:///0.db ", "sqlite+pysqlite:///./0.db"])
def test_urls_as_sqlalchemy_reads_them(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, {"a.yaml": ONE.format(url=url, name="one")}).watch("one", None)["outcome"] == "OK"


def test_every_key_without_meaning_is_noted(tmp_path: Path) -> None:
    app = load(tmp_path, {"a.yaml": ONE.format(url="sqlite:///0.db", name="one")})
    said = sorted(note.removeprefix("alerts/a.yaml:") for note in app.project.notes)
    assert [note.split(" has no")[0] for note in said] == [
        "10: the key 'subject' of a sqlsentinel channel (slack)",
        "10: the key 'username' of a sqlsentinel channel (slack)",
        "2: the key 'echo' of a sqlsentinel database",
        "3: the key 'version' of a sqlsentinel file",
        "8: the key 'owner' of a sqlsentinel alert",
    ]


def test_the_schema_of_a_table_may_be_named(tmp_path: Path) -> None:
    body = ONE.format(url="sqlite:///1.db", name="one")
    for number, query in enumerate(("SUM(n) > 5 THEN 'ALERT' ELSE 'OK' END AS status FROM main.t",
                                    "SUM(main.t.n) > 5 THEN 'ALERT' ELSE 'OK' END AS status FROM MAIN.t",
                                    "SUM(n) > 5 THEN 'ALERT' ELSE 'OK' END AS status FROM temp.t",
                                    "COUNT(*) > 0 THEN 'ALERT' END AS status FROM main.sqlite_master")):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        old = "SUM(n) > 5 THEN 'ALERT' ELSE 'OK' END AS status FROM t"
        app = load(folder, {"b.yaml": body.replace("one", "other"), "a.yaml": body.replace(old, query)})
        result = app.watch("one", None)
        assert result["outcome"] == ("ALERT" if number < 2 else "ERROR"), result
        assert number < 2 or result["error"]["code"] == "ENTITLEMENT_DENIED"


@pytest.mark.parametrize(("host", "allow", "noted"), [
    ("10.0.0.5", [], True), ("localhost:8080", [], True), ("[::1]:8080", [], True),
    ("169.254.1.1", ["10.0.0.0/8"], True), ("10.0.0.5", ["10.0.0.0/8"], False), ("localhost", ["localhost"], False),
    ("localhost", ["127.0.0.0/8"], False), ("10.0.0.5", ["10.0.0.5"], False), ("8.8.8.8", [], False),
    ("hooks.example.com", [], False),
])  # fmt: skip
def test_a_webhook_that_will_not_be_called_is_noted(tmp_path: Path, host: str, allow: list[str], noted: bool) -> None:
    (tmp_path / "alerts").mkdir()
    (tmp_path / "omni.yaml").write_text(f"version: 1\nnetwork: {{allow: {allow}}}\n")
    (tmp_path / "alerts" / "a.yaml").write_text(
        "database: {url: 'sqlite:///0.db'}\nalerts:\n  - {name: one, query: SELECT 1, schedule: '@daily', "
        f"notify: [{{channel: webhook, url: 'http://{host}/hook'}}]}}\n"
    )
    notes = project.load(tmp_path, {}).notes
    assert any("'one/webhook' will not be called" in note for note in notes) is noted
