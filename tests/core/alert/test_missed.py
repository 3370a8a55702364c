"""Which slots are told as missed: those of a schedule in force that nobody judged, once."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from core.errors import ConfigInvalid, SourceTimeout
from core.model import Answer, Ask, Rule
from core.ports import Put
from tests.core.alert.parts import ALERT, OK, START, NamedOwner, World, rule


def missed(world: World) -> list[tuple[str, str, int]]:
    """(first, last, count) of what was told, by the minute."""
    told = [m["missed"] for m in world.receiver.messages if m["kind"] == "missed"]
    return [(m["first"][11:16], m["last"][11:16], m["count"]) for m in told]


# ── nobody looks at a gap twice, or never ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", ["sweep", "run"])
def test_an_outage_is_told_whoever_comes_first_after_it(first: str) -> None:
    world = World()
    of = rule()
    world.watcher.sweep([of])
    world.run(of)  # 09:01
    world.pass_time(3600)  # 10:01
    if first == "run":
        shown = world.watcher.run(of, world.now)
        assert [e["kind"] for e in shown["events"]] == ["missed"]
    for _ in range(3):
        world.watcher.sweep([of])
        world.pass_time(20)
    assert missed(world) == [("09:02", "09:59" if first == "sweep" else "10:00", 58 if first == "sweep" else 59)]
    assert [r["kind"] for r in world.watcher.history("revenue")].count("missed") == 1


def test_the_first_run_of_a_known_alert_looks_back_as_well() -> None:
    world = World()
    of = rule(schedule="*/10 * * * *")
    world.watcher.sweep([of])
    world.run(of, minutes=40)
    assert missed(world) == [("09:10", "09:30", 3)]


def test_a_run_by_hand_stands_for_the_slots_of_the_last_minute() -> None:
    world = World()
    of = rule()
    world.run(of)  # 09:01
    world.run(of, minutes=1.5)  # 09:02:30: its trigger may still come
    world.run(of, minutes=0.5)  # 09:03
    assert missed(world) == []
    world.run(of, minutes=3.5)  # 09:06:30
    assert missed(world) == [("09:04", "09:05", 2)]


def test_slots_that_came_while_a_long_run_was_on_are_not_missed() -> None:
    world = World()
    of = rule()

    def slow(_: Ask) -> Answer:
        world.pass_time(150)
        return OK

    world.watcher._ask = slow
    world.now = START
    world.watcher.run(of, START)  # until 09:02:30; the triggers of 09:01 and 09:02 were turned away
    world.pass_time(30)
    world.watcher.run(of, world.now)
    assert missed(world) == []


def test_a_catch_up_that_fails_is_told_once() -> None:
    world = World()
    of = rule(schedule="*/10 * * * *")
    world.watcher.sweep([of])
    world.run(of, minutes=10)
    world.pass_time(3600)
    down = SourceTimeout("the audit is out of reach")
    down.ours = True
    world.says = down
    for _ in range(30):
        assert world.watcher.sweep([of])["errors"]
        world.pass_time(60)
    assert world.receiver.messages == []
    world.says = OK
    world.watcher.sweep([of])
    assert missed(world) == [("09:20", "10:20", 7)]


def test_the_newest_of_very_many_is_told() -> None:
    world = World()
    world.watcher.sweep([rule()])
    world.run(rule(), minutes=60 * 24 * 30)
    (message,) = world.receiver.messages
    assert message["missed"] == {
        "count": 1000, "first": "2026-01-31T09:01:00Z", "last": "2026-03-02T08:59:00Z", "capped": True,
    }  # fmt: skip


# ── a schedule counts from when it is in force ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("who", ["sweep", "run"])
@pytest.mark.parametrize("away", [rule(enabled=False), None], ids=["disabled", "removed"])
def test_an_alert_that_was_away_has_missed_nothing(who: str, away: Rule | None) -> None:
    world = World()
    of = rule(schedule="*/5 * * * *")
    world.watcher.sweep([of])
    world.run(of, minutes=5)
    for _ in range(50):
        world.pass_time(3600)
        world.watcher.sweep([away] if away else [])
    world.watcher.sweep([of]) if who == "sweep" else world.run(of)
    assert world.receiver.messages == []
    world.watcher.sweep([of])
    world.pass_time(20 * 60)
    world.watcher.sweep([of])
    assert [count for *_, count in missed(world)] == [2 if who == "sweep" else 3]  # from now on, again


@pytest.mark.parametrize("who", ["sweep", "run"])
def test_an_edited_schedule_counts_from_now_on(who: str) -> None:
    world = World()
    world.watcher.sweep([rule(schedule="0 * * * *")])
    world.watcher.run(rule(schedule="0 * * * *"), START)
    world.pass_time(40 * 60)
    of = rule()
    world.watcher.sweep([of]) if who == "sweep" else world.watcher.run(of, world.now)
    world.pass_time(20)
    world.watcher.sweep([of])
    assert world.receiver.messages == []


def test_another_zone_is_another_schedule() -> None:
    world = World()
    world.watcher.sweep([rule(schedule="0 9 * * *", timezone="Asia/Tokyo")])
    world.run(rule(schedule="0 9 * * *", timezone="Asia/Tokyo"))
    world.pass_time(47 * 3600)
    world.watcher.sweep([rule(schedule="0 9 * * *", timezone="UTC")])
    assert world.receiver.messages == []


def test_what_an_earlier_release_noted_keeps_its_time() -> None:
    world = World()
    of = rule(schedule="*/10 * * * *")
    world.store.write("alerts", [Put("revenue", {"since": "2026-01-31T09:00:00Z"})])
    world.pass_time(35 * 60)
    world.watcher.sweep([of])
    assert missed(world) == [("09:10", "09:20", 2)]


def test_a_sweep_that_finds_nothing_new_writes_nothing() -> None:
    world = World()
    rules = [rule(), rule("off", enabled=False), rule("by-hand", schedule=None)]
    world.watcher.sweep(rules)
    writes = world.store.writes
    world.watcher.sweep(rules)
    assert world.store.writes == writes


def test_two_sweeps_that_note_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    rules = [rule(f"a{n}") for n in range(5)]
    other = world.another(NamedOwner("other"))
    known = world.watcher.outbox.known

    def late() -> Any:
        found = known()
        other.register(rules[:2])
        return found

    monkeypatch.setattr(world.watcher.outbox, "known", late)
    world.watcher.register(rules)
    assert sorted(known()) == ["a0", "a1", "a2", "a3", "a4"]


# ── a clock that was ahead ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", ["run", "sweep"])
def test_a_clock_that_was_ahead_does_not_silence_the_alert(by: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    of = rule(schedule="*/5 * * * *", pending_for=300.0)
    world.watcher.sweep([of])
    world.watcher.run(of, START)
    world.pass_time(86_400)
    world.says = ALERT
    world.watcher.run(of, world.now)  # pending since tomorrow
    world.receiver.messages.clear()
    world.now = START
    for _ in range(4):
        world.pass_time(300)
        if by == "run":
            world.watcher.run(of, world.now)
        world.pass_time(61)
        world.watcher.sweep([of])
        world.pass_time(-61)
    assert world.receiver.kinds() == ["firing"]
    assert world.receiver.messages[0]["slot"] == "2026-01-31T09:10:00Z"
    assert caplog.text.count("ahead of the clock") == 1


def test_an_alert_first_seen_by_a_clock_that_was_ahead() -> None:
    world = World()
    of = rule(schedule="*/10 * * * *")
    world.pass_time(86_400)
    world.watcher.sweep([of])
    world.now = START
    world.watcher.sweep([of])
    world.pass_time(11 * 60)
    assert world.watcher.sweep([of])["ran"] == ["revenue"]
    assert world.receiver.messages == []


def test_repeats_go_on_after_a_clock_that_was_ahead() -> None:
    world = World()
    of = rule(schedule=None, repeat_every=600.0)
    world.says = ALERT
    world.pass_time(86_400)
    world.run(of)
    world.now = START
    world.run(of)
    world.run(of, minutes=10)
    assert world.receiver.kinds() == ["firing", "repeat"]


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slot_of_long_ago_is_refused() -> None:
    world = World()
    world.run(rule())
    for year, zone in ((1, 0), (1, 14), (1969, 0)):
        slot = START.replace(year=year, tzinfo=timezone(timedelta(hours=zone)))
        with pytest.raises(ConfigInvalid, match="before the year 1971"):
            world.watcher.run(rule(), slot)


def test_an_endless_silence_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="ten years"):
        World().watcher.silence("revenue", 99_999_999_999 * 86_400.0, "for ever", "ann")


def test_a_state_of_a_later_release_is_not_touched() -> None:
    world = World()
    world.run(rule())
    item = world.store.get("alert:revenue", "item")
    assert item is not None
    world.store.write("alert:revenue", [Put("item", {**item.body, "v": 2})])
    with pytest.raises(ConfigInvalid, match="later release"):
        world.run(rule())
    assert world.watcher.sweep([rule()])["errors"][0]["code"] == "CONFIG_INVALID"
