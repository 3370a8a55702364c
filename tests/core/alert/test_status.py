"""What is known of an alert, and what happened to it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.errors import SourceTimeout
from core.model import OnTrouble
from tests.core.alert.parts import ALERT, NOTHING, OK, START, World, answer, rule


def test_status() -> None:
    world = World()
    of = rule(schedule="0 12 * * *", channels=("hook", "mail"))
    assert world.watcher.status([of])[0]["state"] is None
    world.says = ALERT
    world.receiver.fails["mail"] = [SourceTimeout("down")]
    world.run(of)
    world.watcher.silence("revenue", 600, "deploy", "ann")
    (shown,) = world.watcher.status([of])
    assert shown["state"] == "FIRING"
    assert shown["next_slot"] == "2026-01-31T11:00:00Z"
    assert [(o["channel"], o["attempts"], o["error"]["code"]) for o in shown["owed"]] == [("mail", 1, "SOURCE_TIMEOUT")]
    assert shown["silence"] == {"until": "2026-01-31T09:11:00Z", "because": "deploy", "by": "ann"}
    world.says = SourceTimeout("slow")
    world.run(of)
    assert world.watcher.status([of])[0]["state"] == "ERROR"


@pytest.mark.parametrize(
    ("no_data", "states"),
    [
        ("error", ["NO_DATA", "OK", "FIRING", "NO_DATA"]),
        ("ok", ["OK", "OK", "FIRING", "OK"]),
        ("keep", ["OK", "OK", "FIRING", "FIRING"]),
        ("alert", ["FIRING", "OK", "FIRING", "FIRING"]),
    ],
)
def test_no_rows_mean_what_the_rule_says(no_data: OnTrouble, states: list[str]) -> None:
    world = World()
    of = rule(schedule=None, no_data=no_data)
    seen, outcomes = [], []
    for says in (NOTHING, OK, ALERT, NOTHING):
        world.says = says
        shown = world.run(of)
        (status,) = world.watcher.status([of])
        assert status["state"] == shown["state"]
        assert world.watcher.run(of, world.now)["state"] == shown["state"]  # skipped
        seen.append(shown["state"])
        outcomes.append(status["outcome"])
    assert seen == states
    assert outcomes == ["NO_DATA", "OK", "ALERT", "NO_DATA"]


@pytest.mark.parametrize(
    ("on_error", "states"),
    [
        ("error", ["ERROR", "OK", "ERROR"]),
        ("ok", ["OK", "OK", "OK"]),
        ("keep", ["ERROR", "OK", "OK"]),  # there is nothing to keep at first, and that is not OK
        ("alert", ["FIRING", "OK", "FIRING"]),
    ],
)
def test_an_error_means_what_the_rule_says(on_error: OnTrouble, states: list[str]) -> None:
    world = World()
    of = rule(schedule=None, on_error=on_error)
    seen = []
    for says in (SourceTimeout("slow"), OK, SourceTimeout("slow")):
        world.says = says
        world.run(of)
        seen.append(world.watcher.status([of])[0]["state"])
    assert seen == states
    assert world.watcher.status([of])[0]["outcome"] == "ERROR"


def test_a_wait_before_no_rows_alarm_is_pending() -> None:
    world = World()
    world.says = NOTHING
    assert world.run(rule(no_data="alert", pending_for=600.0))["state"] == "PENDING"


def test_the_warnings_of_the_last_run_are_kept() -> None:
    world = World()
    of = rule(schedule=None)
    world.says = answer(("OK",), ("WARN",), columns=["status"])
    warnings = world.run(of)["warnings"]
    assert warnings
    assert world.watcher.status([of])[0]["warnings"] == warnings
    world.says = OK
    world.run(of)
    assert world.watcher.status([of])[0]["warnings"] == []


def test_history_is_in_the_order_of_what_happened_whatever_the_slot() -> None:
    world = World()
    of = rule(schedule=None)
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")]
    world.watcher.run(of, START - timedelta(days=3))
    world.pass_time(60)
    world.watcher.drain("revenue")
    world.pass_time(60)
    world.says = OK
    world.watcher.run(of, START - timedelta(days=2))
    records = world.watcher.history("revenue")
    assert [(r["kind"], r["slot"][:10]) for r in records] == [
        ("delivery", "2026-01-29"),
        ("run", "2026-01-29"),
        ("delivery", "2026-01-28"),
        ("run", "2026-01-28"),
    ]
    times = [r["at"] for r in records]
    assert times == sorted(times, reverse=True)
    assert world.watcher.run(of, START - timedelta(days=3))["outcome"] == "ALERT"  # found though it ran days later
    assert world.watcher.run(of, START - timedelta(days=4))["outcome"] is None


def test_the_run_of_a_slot_that_was_judged_early_is_found() -> None:
    """A scheduler's clock may be ahead of ours."""
    world = World()
    of = rule(schedule=None)
    world.says = ALERT
    world.watcher.run(of, START + timedelta(minutes=4))
    world.says = OK
    world.run(of, minutes=10)
    assert world.watcher.run(of, START + timedelta(minutes=4))["outcome"] == "ALERT"


def test_the_run_of_an_old_slot_is_found_behind_much_history() -> None:
    world = World()
    of = rule(schedule=None)
    world.says = ALERT
    world.watcher.run(of, START - timedelta(days=3))
    for _ in range(150):
        world.watcher.silence("revenue", 1, "noise", "ann")
        world.pass_time(1)
    world.says = OK
    world.watcher.run(of, START - timedelta(days=2))
    world.run(of)
    assert world.watcher.run(of, START - timedelta(days=2))["outcome"] == "OK"
    assert world.watcher.run(of, START - timedelta(hours=36))["outcome"] is None


def test_history_is_newest_first_and_bounded() -> None:
    world = World()
    of = rule(schedule=None)
    for says in (OK, ALERT, OK):
        world.says = says
        world.run(of)
    records = world.watcher.history("revenue")
    assert [(r["kind"], r.get("outcome") or r.get("about")) for r in records] == [
        ("delivery", "recovered"),
        ("run", "OK"),
        ("delivery", "firing"),
        ("run", "ALERT"),
        ("run", "OK"),
    ]
    assert (records[3]["actual_value"], records[3]["threshold"], records[3]["counts"]) == (20, 10, {"FIRING": 1})
    assert len(world.watcher.history("revenue", 2)) == 2
    assert world.watcher.history("never") == []


def test_what_a_channel_said_is_on_record() -> None:
    world = World()
    world.says = ALERT
    world.receiver.detail = "SMTP 250; refused for good: bob@example.com"
    world.run(rule())
    assert world.watcher.history("revenue", 1)[0]["detail"] == "SMTP 250; refused for good: bob@example.com"


def test_history_expires() -> None:
    world = World()
    of = rule(schedule=None)
    world.run(of)
    world.says = ALERT
    world.run(of)
    world.pass_time(15 * 86_400)
    assert [r.get("outcome") for r in world.watcher.history("revenue") if r["kind"] == "run"] == ["ALERT"]
    world.pass_time(80 * 86_400)
    assert world.watcher.history("revenue") == []


def test_a_removed_alert_is_shown_as_long_as_it_left_something_open() -> None:
    world = World()
    world.run(rule("fine"))
    world.says = ALERT
    world.run(rule("fires"))
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 2
    world.run(rule("owes", schedule=None))
    world.says = OK
    world.run(rule("owes", schedule=None), minutes=0.1)
    world.run(rule("here"))
    shown = {one["alert"]: one for one in world.watcher.removed({"here"})}
    assert {name: (one["state"], one["enabled"], one["removed"]) for name, one in shown.items()} == {
        "fires": ("FIRING", False, True),
        "owes": ("OK", False, True),
    }
    assert shown["fires"]["next_slot"] is None
