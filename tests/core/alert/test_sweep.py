"""The sweep: what is owed, slots that nobody ran, leases of the dead."""

from __future__ import annotations

from core.alert.outbox import partition
from core.errors import SourceTimeout
from core.ports import Put
from tests.core.alert.parts import ALERT, NamedOwner, World, hold, rule


def test_a_sweep_drains_alerts_that_left_the_project() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")]
    world.run(rule("old"))
    world.pass_time(60)
    assert world.watcher.sweep([]) == {
        "drained": 1,
        "delivered": 1,
        "owed": 0,
        "dead": 0,
        "missed": [],
        "ran": [],
        "errors": [],
    }


def test_a_sweep_runs_the_latest_slot_and_records_the_others_as_missed() -> None:
    world = World()
    of = rule(schedule="*/10 * * * *")
    world.watcher.sweep([of])  # known from 09:00 on
    world.run(of, minutes=10)
    world.pass_time(35 * 60)  # 09:45: 09:20 and 09:30 missed, 09:40 caught up
    swept = world.watcher.sweep([of])
    assert (swept["missed"], swept["ran"]) == (["revenue"], ["revenue"])
    assert world.asked[-1].now.isoformat() == "2026-01-31T09:40:00+00:00"
    (message,) = world.receiver.messages
    assert message["missed"] == {
        "count": 2,
        "first": "2026-01-31T09:20:00Z",
        "last": "2026-01-31T09:30:00Z",
        "capped": False,
    }
    again = world.watcher.sweep([of])
    assert (again["missed"], again["ran"]) == ([], [])
    assert "missed" in [r["kind"] for r in world.watcher.history("revenue")]


def test_a_single_late_slot_is_run_without_a_word() -> None:
    world = World()
    of = rule(schedule="0 * * * *")
    world.watcher.sweep([of])
    world.pass_time(3600 + 59)
    assert world.watcher.sweep([of])["ran"] == []  # its trigger may still come
    world.pass_time(1)
    assert world.watcher.sweep([of])["ran"] == ["revenue"]
    assert world.receiver.messages == []


def test_an_old_slot_is_only_recorded() -> None:
    world = World()
    of = rule(schedule="0 9 1 * *")  # monthly: due on 1 February
    world.watcher.sweep([of])
    world.pass_time(5 * 86_400)
    swept = world.watcher.sweep([of])
    assert (swept["missed"], swept["ran"]) == (["revenue"], [])
    assert world.receiver.kinds() == ["missed"]
    assert world.watcher.sweep([of])["missed"] == []


def test_slots_before_an_alert_was_known_are_not_missed() -> None:
    world = World()
    assert world.watcher.sweep([rule()])["missed"] == []
    assert world.watcher.sweep([rule()])["missed"] == []


def test_disabled_and_unscheduled_alerts_miss_nothing() -> None:
    world = World()
    rules = [rule("off", enabled=False), rule("by-hand", schedule=None)]
    for _ in range(2):
        swept = world.watcher.sweep(rules)
        world.pass_time(86_400)
    assert (swept["missed"], swept["ran"], world.receiver.messages) == ([], [], [])


def test_very_many_missed_slots_are_bounded() -> None:
    world = World()
    world.watcher.sweep([rule()])
    world.pass_time(86_400 * 30)
    world.watcher.sweep([rule()])
    assert world.receiver.messages[0]["missed"]["capped"] is True
    assert world.receiver.messages[0]["missed"]["count"] == 1000


def test_one_alerts_trouble_does_not_stop_the_sweep() -> None:
    world = World()
    bad, good = rule("bad", schedule="*/10 * * * *"), rule("good", schedule="*/10 * * * *")
    world.watcher.sweep([bad, good])
    world.store.write(partition("bad"), [Put("item", {"slot": "nonsense"})])
    world.pass_time(1200)
    swept = world.watcher.sweep([bad, good])
    assert [(e["alert"], e["code"]) for e in swept["errors"]] == [("bad", "INTERNAL")]
    assert "good" in swept["ran"]


def test_a_sweep_frees_a_dead_lease() -> None:
    world = World(owner=NamedOwner("me", {"other"}))
    hold(world)
    world.watcher.sweep([rule(schedule=None)])
    lease = world.store.get(partition("revenue"), "lease")
    assert lease is not None
    assert lease.body["holder"] == ""
