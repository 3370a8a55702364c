"""The sweep: what is owed, slots that nobody ran, leases of the dead."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from core.alert.outbox import partition
from core.alert.run import Watcher
from core.deadline import Deadline
from core.errors import SourceError, SourceTimeout
from core.model import DeliveryPolicy
from core.ports import Owner, Put
from tests.core.alert.parts import ALERT, START, NamedOwner, World, hold, rule


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


# ── many alerts, and a receiver that hangs ───────────────────────────────────────────────────────────────────────────


class Hanging(World):
    """A hundred alerts that owe a message to the channel ``dead``, where each try takes 20 s and fails.

    Time is only counted, so one thread does it all. ``zy`` owes one to a receiver that is well, and ``zz`` has a slot
    that nobody ran.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr("core.alert.sweep._THREADS", 1)
        self.alive = False
        self.tries = 0
        self.watcher.delivery._send = self.send
        self.rules = [rule(f"a{n:03}", channels=("dead",), schedule=None) for n in range(100)]
        self.rules += [rule("zy", channels=("shaky",), schedule=None), rule("zz", schedule="*/30 * * * *")]
        self.watcher.sweep(self.rules)
        self.says = ALERT
        self.receiver.fails["shaky"] = [SourceTimeout("down")]
        for of in self.rules[:-1]:
            self.now = START
            self.another(NamedOwner()).run(of, START)

    def another(self, owner: Owner, delivery: DeliveryPolicy | None = None) -> Watcher:
        made = super().another(owner, delivery)
        made.delivery._send = self.send
        return made

    def send(self, message: dict[str, Any], channel: str, deadline: Deadline) -> object:
        if channel == "dead" and not self.alive:
            self.tries += 1
            self.pass_time(20)
            raise SourceTimeout("nobody answers")
        return self.receiver(message, channel, deadline)


def test_one_dead_receiver_keeps_no_alert_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Hanging(monkeypatch)
    world.now = START + timedelta(minutes=31)
    world.tries = 0
    swept = world.watcher.sweep(world.rules)
    assert world.now - START < timedelta(minutes=32)
    assert swept["ran"] == ["zz"]
    assert {m["alert"] for m in world.receiver.messages} == {"zy", "zz"}
    assert world.tries == 1  # the others wait for the next sweep ...
    owed = [one["owed"][0] for one in world.watcher.status(world.rules[:100])]
    assert sorted(m["attempts"] for m in owed) == [1] * 99 + [2]  # ... uncounted
    assert swept["owed"] == 100


def test_a_dead_receiver_that_comes_back_is_told_within_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Hanging(monkeypatch)
    at = START
    for minute in range(180):
        world.alive = minute >= 120
        at = max(world.now, at + timedelta(minutes=1))
        world.now = at
        begun = world.now
        world.watcher.sweep(world.rules[:100])
        assert world.now - begun <= timedelta(seconds=110)
        if len(world.receiver.messages) >= 100:
            break
    assert len(world.receiver.messages) == 100
    assert 120 <= minute < 130
    tried = {m["id"] for m in world.receiver.messages}
    assert len(tried) == 100


def test_a_sweep_ends_in_time_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Hanging(monkeypatch)
    world.alive = True

    def slow(message: dict[str, Any], channel: str, deadline: Deadline) -> object:
        world.pass_time(4)  # no failure
        return world.receiver(message, channel, deadline)

    world.watcher.delivery._send = slow
    world.now = START + timedelta(minutes=5)
    begun = world.now
    swept = world.watcher.sweep(world.rules[:100])
    assert timedelta(seconds=88) <= world.now - begun <= timedelta(seconds=94)
    assert swept["delivered"] + swept["later"] == swept["delivered"] + swept["owed"] == 101
    for _ in range(4):
        swept = world.watcher.sweep(world.rules[:100])
    assert ("later" in swept, swept["owed"], len(world.receiver.messages)) == (False, 0, 101)


def test_what_was_never_tried_comes_before_what_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.alert.sweep._THREADS", 1)
    world = World()
    rules = [rule(name, channels=(channel,), schedule=None) for name, channel in (("a", "x"), ("b", "y"), ("c", "z"))]
    world.says = ALERT
    world.receiver.fails |= {"x": [SourceTimeout("down")], "y": [SourceTimeout("down")]}
    world.run(rules[1])
    world.run(rules[0])
    world.watcher.delivery._run_s = 0.0
    world.run(rules[2])
    world.watcher.delivery._run_s = 60.0
    world.pass_time(600)
    world.watcher.sweep(rules)
    assert [m["alert"] for m in world.receiver.messages] == ["c", "b", "a"]


def test_alerts_are_told_side_by_side() -> None:
    world = World()
    rules = [rule(f"a{n}", schedule=None) for n in range(6)]
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 6
    for of in rules:
        world.watcher.run(of, START)
    all_here = Barrier(6, timeout=20)

    def send(message: dict[str, Any], channel: str, deadline: Deadline) -> object:
        all_here.wait()
        return world.receiver(message, channel, deadline)

    world.watcher.delivery._send = send
    world.pass_time(60)
    swept = world.watcher.sweep(rules)
    assert (swept["drained"], swept["delivered"], swept["owed"], swept["errors"]) == (6, 6, 0, [])


def test_a_run_leaves_a_channel_that_hung_to_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Hanging(monkeypatch)
    world.tries = 0
    of = [rule(f"b{n}", channels=("dead",), schedule=None) for n in range(3)]
    world.watcher.run(of[0], world.now)
    world.watcher.run(of[1], world.now)
    assert world.tries == 1
    world.pass_time(60)
    world.watcher.run(of[2], world.now)
    assert world.tries == 2


def test_a_sweep_says_which_messages_failed_and_why() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails = {"hook": [SourceError("down"), SourceError("still down")]}
    shown = world.run(rule())
    assert [(e["channel"], e["attempts"], e["error"]["message"]) for e in shown["put_off"]] == [("hook", 1, "down")]
    world.pass_time(120)
    swept = world.watcher.sweep([])
    assert [(e["attempts"], e["error"]["message"]) for e in swept["put_off"]] == [(2, "still down")]
    world.pass_time(600)
    assert "put_off" not in world.watcher.sweep([])
