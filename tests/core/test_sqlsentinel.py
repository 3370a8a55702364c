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
