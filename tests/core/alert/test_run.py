"""One run end to end over a real outbox: what scripts see, slots, errors, rehearsals."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from core.errors import ConfigInvalid, EntitlementDenied, Error, SourceError, SourceTimeout
from tests.core.alert.parts import ALERT, NOTHING, OK, START, World, answer, rule

# ── the run as scripts see it ────────────────────────────────────────────────────────────────────────────────────────


def test_a_quiet_run() -> None:
    world = World()
    assert world.watcher.run(rule(), START) == {
        "alert": "revenue",
        "slot": "2026-01-31T09:00:00Z",
        "outcome": "OK",
        "instances": [
            {
                "key": {},
                "state": "OK",
                "previous_state": "OK",
                "severity": "OK",
                "actual_value": 1,
                "threshold": 10,
                "context": {},
            }
        ],
        "events": [],
        "state": "OK",
        "delivered": 0,
        "owed": 0,
        "dead": 0,
    }
    ask = world.asked[0]
    assert (ask.now, ask.timezone, ask.origin) == (START, "Europe/Berlin", "alert:revenue")


def test_a_quiet_run_is_two_writes() -> None:
    world = World()
    world.run(rule())
    before = world.store.writes
    world.run(rule())
    assert world.store.writes == before + 2


def test_a_firing_run_tells_every_channel_once() -> None:
    world = World()
    world.says = ALERT
    of = rule(channels=("hook", "mail"))
    shown = world.run(of)
    assert shown["events"] == [
        {"id": "revenue/-/20260131T090100Z/firing/0", "kind": "firing", "channels": ["hook", "mail"]}
    ]
    assert (shown["delivered"], shown["owed"]) == (2, 0)
    assert [m["id"] for m in world.receiver.messages] == [
        "revenue/-/20260131T090100Z/firing/0/hook",
        "revenue/-/20260131T090100Z/firing/0/mail",
    ]
    assert world.run(of)["delivered"] == 0
    assert not {"to", "tell", "over"} & set(world.receiver.messages[0])


def test_an_instance_that_vanished_is_shown_as_ok() -> None:
    world = World()
    of = rule(key=("region",))
    world.says = answer(("EU", "ALERT"), columns=["region", "status"])
    world.run(of)
    world.says = answer(("US", "OK"), columns=["region", "status"])
    shown = world.run(of)["instances"]
    assert [(i["key"], i["state"], i["previous_state"]) for i in shown] == [
        ({"region": "US"}, "OK", "OK"),
        ({"region": "EU"}, "OK", "FIRING"),
    ]


def test_no_channels_is_no_trouble() -> None:
    world = World()
    world.says = ALERT
    shown = world.run(rule(channels=()))
    assert (shown["outcome"], shown["delivered"], shown["owed"]) == ("ALERT", 0, 0)
    assert shown["events"][0]["channels"] == []


# ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slot_is_judged_once() -> None:
    world = World()
    world.says = ALERT
    first = world.watcher.run(rule(), START)
    world.says = OK
    writes = world.store.writes
    again = world.watcher.run(rule(), START)
    assert len(world.asked) == 1
    assert world.store.writes == writes
    assert again["skipped"] == "slot already done"
    assert (again["outcome"], again["events"]) == ("ALERT", [])
    assert [i["state"] for i in again["instances"]] == [i["state"] for i in first["instances"]]
    assert len(world.receiver.messages) == 1


def test_an_older_slot_is_ignored_and_shows_its_own_outcome() -> None:
    world = World()
    world.says = ALERT
    world.watcher.run(rule(), START)
    world.says = OK
    world.run(rule(), minutes=5)
    old = world.watcher.run(rule(), START)
    assert old["outcome"] == "ALERT"
    assert old["skipped"] == "slot already done: 2026-01-31T09:05:00Z is later"
    never = world.watcher.run(rule(), START + timedelta(minutes=2))
    assert never["outcome"] is None
    assert len(world.asked) == 2


def test_a_repeated_slot_delivers_what_is_owed() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("slow")]
    slot = START
    assert world.watcher.run(rule(), slot)["owed"] == 1
    world.pass_time(15)
    again = world.watcher.run(rule(), slot)
    assert (again["delivered"], again["owed"]) == (1, 0)


def test_without_a_slot_it_is_now() -> None:
    world = World()
    world.pass_time(0.1234567)
    assert world.watcher.run(rule(), None)["slot"] == "2026-01-31T09:00:00.123000Z"
    world.pass_time(0.01)
    assert "skipped" not in world.watcher.run(rule(), None)


def test_a_slot_in_the_future_is_refused() -> None:
    world = World()
    with pytest.raises(ConfigInvalid, match="future"):
        world.watcher.run(rule(), START + timedelta(hours=1))
    with pytest.raises(ConfigInvalid, match="zone"):
        world.watcher.run(rule(), START.replace(tzinfo=None))
    assert world.store.items == {}


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [SourceTimeout("slow"), EntitlementDenied("no such table"), ConfigInvalid("bad")])
def test_an_error_of_the_query_is_the_outcome_error(error: Error) -> None:
    world = World()
    world.says = error
    shown = world.run(rule())
    assert (shown["outcome"], shown["error"]["code"]) == ("ERROR", error.code)
    assert shown["instances"] == []
    assert world.receiver.kinds() == ["error"]
    assert world.receiver.messages[0]["error"]["message"] == error.message
    world.run(rule())
    assert world.receiver.kinds() == ["error"]
    world.says = OK
    world.run(rule())
    assert world.receiver.kinds() == ["error", "error_over"]


def test_a_defect_is_told_like_an_error_and_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.says = ValueError("ann earns 5000")
    with caplog.at_level(logging.ERROR):
        shown = world.run(rule())
    assert (shown["outcome"], shown["error"]["code"]) == ("ERROR", "INTERNAL")
    assert world.receiver.kinds() == ["error"]
    assert "ValueError" in caplog.text
    assert "parts.py" in caplog.text
    assert "5000" not in caplog.text + str(shown) + str(world.receiver.messages)


def test_a_query_without_status_is_told() -> None:
    world = World()
    world.says = answer((1,), columns=["n"])
    assert world.run(rule())["error"]["code"] == "CONFIG_INVALID"
    assert world.receiver.kinds() == ["error"]


def test_no_rows_are_told() -> None:
    world = World()
    world.says = NOTHING
    assert world.run(rule())["outcome"] == "NO_DATA"
    assert world.receiver.kinds() == ["no_data"]


def test_an_interrupt_gives_the_alert_back() -> None:
    world = World()

    def interrupted(_: object) -> Any:
        raise KeyboardInterrupt

    world.watcher._ask = interrupted
    with pytest.raises(KeyboardInterrupt):
        world.run(rule())
    assert world.watcher.status([rule()])[0]["held_by"] is None


@pytest.mark.parametrize("on_error", ["error", "ok", "alert"])
def test_trouble_with_our_own_state_says_nothing_about_the_alert(on_error: Any) -> None:
    world = World()
    of = rule(on_error=on_error, schedule="*/10 * * * *")
    world.watcher.sweep([of])
    world.says = ALERT
    world.run(of)
    full = SourceError("the audit cannot be written: the disk is full")
    full.ours = True
    world.says = full
    with pytest.raises(SourceError):
        world.run(of, minutes=9)
    status = world.watcher.status([of])[0]
    assert (status["slot"], status["outcome"], status["held_by"]) == ("2026-01-31T09:01:00Z", "ALERT", None)
    assert world.receiver.kinds() == ["firing"]
    world.says = ALERT
    world.pass_time(61)
    assert world.watcher.sweep([of])["ran"] == ["revenue"]
    assert world.watcher.status([of])[0]["slot"] == "2026-01-31T09:10:00Z"


# ── rehearsal ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_writes_and_sends_nothing() -> None:
    world = World()
    world.says = ALERT
    shown = world.watcher.run(rule(), START, dry_run=True)
    assert world.store.items == {}
    assert world.receiver.messages == []
    assert shown["dry_run"] is True
    assert [e["kind"] for e in shown["events"]] == ["firing"]
    assert shown["would_send"][0]["actual_value"] == 20
    assert (shown["delivered"], shown["owed"]) == (0, 0)


def test_a_dry_run_starts_from_the_state() -> None:
    world = World()
    world.says = ALERT
    world.watcher.run(rule(), START)
    kept = dict(world.store.items)
    assert world.watcher.run(rule(), START, dry_run=True)["events"] == []
    world.says = OK
    assert world.watcher.run(rule(), START, dry_run=True)["events"][0]["kind"] == "recovered"
    assert world.store.items == kept


# ── the time that a function has ─────────────────────────────────────────────────────────────────────────────────────


def test_a_query_ends_while_there_is_time_to_write_it_down() -> None:
    world = World()
    world.watcher.run(rule(timeout_s=60.0), START, time_left_s=150.0)
    world.watcher.run(rule(timeout_s=60.0), START + timedelta(seconds=1), time_left_s=50.0)
    assert [ask.timeout_s for ask in world.asked] == [60.0, 20.0]


def test_a_message_that_could_not_end_in_time_is_left_to_the_sweep() -> None:
    world = World()
    world.says = ALERT
    shown = world.watcher.run(rule(), START, time_left_s=15.0)
    assert (shown["outcome"], shown["delivered"], shown["owed"]) == ("ALERT", 0, 1)
    assert world.watcher.sweep([], time_left_s=120.0)["delivered"] == 1


def test_a_sweep_begins_nothing_that_its_function_would_not_see_the_end_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.alert import sweep

    begun: list[float] = []
    monkeypatch.setattr(sweep, "_Sweep", lambda _w, _r, _n, seconds: begun.append(seconds) or _Nothing())
    for left in (None, 300.0, 100.0):
        World().watcher.sweep([], time_left_s=left)
    assert begun == [90.0, 90.0, 70.0]


class _Nothing:
    def done(self) -> dict[str, Any]:
        return {}
