"""The sample company: its queries answer, its alerts judge as they should, its policies hold for three roles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import EntitlementDenied
from core.settings import Settings
from handlers.local.platform import platform
from samples.load import load
from tests.replay.obtain import obtain
from tests.replay.server import Recorded, ReplayServer

COMPANY = Path(__file__).parent.parent.parent / "samples" / "company"
SLOT = datetime(2026, 3, 3, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("company") / "company"
    shutil.copytree(COMPANY, folder, ignore=shutil.ignore_patterns(".omni", "*.db"))
    load(folder)
    with ReplayServer(Recorded.load(obtain())) as github:
        env = {"GITHUB_API_URL": github.url, "OMNI_SECRET_HOOK_KEY": "key"}
        settings = Settings()
        loaded = project.load(folder, env)
        made = bootstrap.build(settings, platform(settings, env, folder), loaded)
        yield made
        made.close()


def ask(app: App, query: str, who: str) -> Any:
    sql = next((COMPANY / "queries").glob(f"{query}*.sql")).read_text("utf-8")
    return app.ask(app.request(sql, app.project.principals[who].principal))


EXPECTED = {
    "1": (5, ("day", "revenue", "orders")),
    "2": (4, ("name", "plan", "revenue")),
    "3": (3, ("team", "agent", "tickets", "severe")),
    "4": (5, ("number", "title", "user_login", "opened")),
    "5": (5, ("customer", "plan", "subject", "issue", "state", "revenue")),
    "6": (5, ("day", "revenue", "so_far")),
    "7": (5, ("author_login", "commits")),
    "8": (1, ("name",)),
}


def test_every_query_is_expected() -> None:
    assert sorted(p.name[0] for p in (COMPANY / "queries").glob("*.sql")) == sorted(EXPECTED)


@pytest.mark.parametrize("query", sorted(EXPECTED))
def test_query(app: App, query: str) -> None:
    answer = ask(app, query, "mira")
    count, columns = EXPECTED[query]
    assert tuple(name for name, _ in answer.columns) == columns
    assert len(answer.rows) == count
    assert answer.complete


def test_answers_are_right(app: App) -> None:
    assert ask(app, "2", "mira").rows[0] == ("Cedar Bank", "gold", 4900.0)
    assert [r[1] for r in ask(app, "1", "mira").rows] == [1500.0, 2590.0, 2950.0, 2710.0, 200.0]
    assert ask(app, "8", "mira").rows == [("Dune Media",)]


def test_one_question_as_two_people(app: App) -> None:
    mira, sam = ask(app, "5", "mira"), ask(app, "5", "sam")
    assert [r[:2] for r in sam.rows] == [("Aster Labs", "gold"), ("Aster Labs", "gold"), ("Birch & Co", "silver")]
    assert {r[5] for r in sam.rows} == {None}
    assert sam.masked == ("shop.orders.amount",)
    assert len(mira.rows) == 5
    assert mira.masked == ()
    assert mira.stats["calls"] == 4


def test_finance_sees_no_tickets(app: App) -> None:
    with pytest.raises(EntitlementDenied):
        ask(app, "3", "fred")
    assert len(ask(app, "1", "fred").rows) == 5


ALERTS = {
    "daily-revenue": ("ALERT", {"FIRING"}),
    "refunds": ("WARN", {"PENDING"}),
    "open-orders-by-customer": ("ALERT", {"OK", "FIRING"}),
    "no-orders-today": ("NO_DATA", {"FIRING"}),
    "severe-tickets": ("ALERT", {"FIRING"}),
    "nobody-on-call": ("ALERT", {"OK", "FIRING"}),
    "fixed-upstream": ("WARN", {"FIRING"}),
    "gold-customers-blocked": ("ALERT", {"FIRING"}),
}


def test_every_alert_is_expected(app: App) -> None:
    assert set(app.project.alerts) == set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_alert(app: App, name: str) -> None:
    result = app.watch(name, SLOT, dry_run=True)
    outcome, states = ALERTS[name]
    assert result["outcome"] == outcome, result.get("error")
    assert {i["state"] for i in result["instances"]} == states


def test_policy_tests_pass(app: App) -> None:
    from core.policy import check

    results = check.run(app.policies, lambda _: None)
    assert len(results) == 8
    assert all(r.passed for r in results)
