"""What is known of an alert, and what happened to it."""

from __future__ import annotations

from core.errors import SourceTimeout
from tests.core.alert.parts import ALERT, OK, World, rule


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
