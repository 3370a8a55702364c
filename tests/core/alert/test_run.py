"""One alert end to end over a real outbox: what is told, retried, given up, held, and on record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from core.alert.outbox import partition
from core.errors import ConfigInvalid, EntitlementDenied, Error, Internal, SourceError, SourceTimeout, StateConflict
from core.model import DeliveryPolicy
from core.ports import Put
from tests.core.alert.parts import ALERT, LEASE_S, NOTHING, OK, START, WARN, NamedOwner, World, answer, rule


class RefusedError(SourceError):
    """What a channel says when it never will take the message."""

    retryable = False


# ── the run as scripts see it ────────────────────────────────────────────────────────────────────────────────────


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
        "delivered": 0,
        "owed": 0,
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


# ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── delivery ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_retries_wait_longer_and_longer_and_end() -> None:
    world = World(delivery=DeliveryPolicy(attempts=5, first_retry=15.0, max_retry=60.0))
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("slow")] * 99
    of = rule(schedule=None)
    world.run(of)
    tries = []
    for second in range(1, 600):
        world.pass_time(1)
        before = len(world.receiver.fails["hook"])
        world.watcher.drain("revenue")
        if len(world.receiver.fails["hook"]) < before:
            tries.append(second)
    assert tries == [15, 45, 105, 165]
    (dead,) = [r for r in world.watcher.history("revenue") if r["kind"] == "delivery"]
    assert (dead["status"], dead["attempts"], dead["channel"]) == ("dead", 5, "hook")
    assert dead["error"] == {"code": "SOURCE_TIMEOUT", "message": "slow"}
    assert dead["event"]["kind"] == "firing"
    assert world.watcher.status([of])[0]["owed"] == []


def test_a_channel_that_says_when_is_asked_then() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("busy", retry_after_ms=300_000)]
    world.run(rule(schedule=None))
    world.pass_time(299)
    assert world.watcher.drain("revenue") == {"delivered": 0, "dead": 0, "owed": 1}
    world.pass_time(1)
    assert world.watcher.drain("revenue")["delivered"] == 1


def test_an_absurd_wait_is_cut() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("busy", retry_after_ms=10**12)]
    world.run(rule(schedule=None))
    world.pass_time(3600)
    assert world.watcher.drain("revenue")["delivered"] == 1


@pytest.mark.parametrize(
    ("error", "given_up"),
    [
        (RefusedError("410"), True),
        (ConfigInvalid("the secret 'hook' is not set"), False),  # may be mended meanwhile
        (Internal("a defect"), False),
        (ValueError("unexpected"), False),
        (SourceTimeout("slow"), False),
    ],
)
def test_only_a_final_refusal_gives_up_at_once(error: Exception, given_up: bool) -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [error]
    assert world.run(rule(schedule=None))["owed"] == (0 if given_up else 1)
    world.pass_time(15)
    assert world.watcher.drain("revenue")["delivered"] == (0 if given_up else 1)


def test_one_channels_failure_never_repeats_another() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["mail"] = [SourceTimeout("down"), SourceTimeout("down"), RefusedError("no")]
    of = rule(channels=("hook", "mail", "chat"), schedule=None)
    world.run(of)
    for _ in range(5):
        world.pass_time(700)
        world.watcher.drain("revenue")
    assert world.receiver.told() == [("firing", "hook"), ("firing", "chat")]


def test_a_recovery_never_overtakes_its_alarm() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 3
    world.run(rule())
    world.says = OK
    assert world.run(rule(), minutes=0.1)["owed"] == 2
    for _ in range(3):
        world.pass_time(130)
        world.watcher.drain("revenue")
    assert world.receiver.kinds() == ["firing", "recovered"]


def test_an_instance_does_not_wait_for_another() -> None:
    world = World()
    of = rule(key=("region",), schedule=None)
    world.says = answer(("EU", "ALERT"), ("US", "ALERT"), columns=["region", "status"])
    world.receiver.fails["hook"] = [SourceTimeout("EU fails")]
    assert world.run(of)["delivered"] == 1
    assert [m["instance"] for m in world.receiver.messages] == ["US"]


def test_five_hundred_instances_fit() -> None:
    world = World()
    of = rule(key=("id",), channels=("hook", "mail"), schedule=None)
    rows = [(f"customer-{i}-{'ü' * 60}", "ALERT", i, 0, "ö" * 1_500) for i in range(500)]
    world.says = answer(*rows, columns=["id", "status", "actual_value", "threshold", "note"])
    assert world.run(of)["delivered"] == 1000
    world.says = answer(("none", "OK"), columns=["id", "status"])
    assert world.run(of)["delivered"] == 1000
    assert world.watcher.status([of])[0]["owed"] == []


def test_a_state_too_large_is_told_as_an_error() -> None:
    world = World()
    of = rule(key=("a", "b", "c"), schedule=None)
    rows = [(f"{i}" + "ü" * 190, "ü" * 190, "ü" * 190, "OK") for i in range(400)]
    world.says = answer(*rows, columns=["a", "b", "c", "status"])
    shown = world.run(of)
    assert (shown["outcome"], shown["error"]["code"]) == ("ERROR", "RESOURCE_LIMIT")
    assert "revenue" in shown["error"]["message"]
    assert world.receiver.kinds() == ["error"]


def test_a_run_out_of_time_leaves_the_rest_to_the_sweep() -> None:
    world = World()
    world.says = ALERT
    of = rule(channels=("hook", "mail"), schedule=None)
    world.watcher.delivery._run_s = 0.0
    assert world.run(of)["owed"] == 2
    world.watcher.delivery._run_s = 60.0
    assert world.watcher.sweep([of])["delivered"] == 2


# ── who holds it ─────────────────────────────────────────────────────────────────────────────────────────────────


def hold(world: World, holder: str = "other") -> Callable[[], None]:
    """Another process takes the alert; returns how it gives it back."""
    other = world.another(NamedOwner(holder))
    claim = other.outbox.claim(other.outbox.read("revenue"), 30.0)
    return claim.release


def test_a_held_alert_is_a_conflict_that_names_the_holder() -> None:
    world = World()
    hold(world)
    with pytest.raises(StateConflict, match="other"):
        world.run(rule())
    assert world.asked == []
    assert world.watcher.status([rule()])[0]["held_by"] == "other"


def test_of_two_who_saw_it_free_one_gets_it() -> None:
    world = World()
    other = world.another(NamedOwner("other"))
    mine, theirs = world.watcher.outbox.read("revenue"), other.outbox.read("revenue")
    other.outbox.claim(theirs, 30.0)
    with pytest.raises(StateConflict):
        world.watcher.outbox.claim(mine, 30.0)


def test_who_was_robbed_can_neither_write_nor_release() -> None:
    world = World()
    claim = world.watcher.outbox.claim(world.watcher.outbox.read("revenue"), 0.0)
    world.pass_time(LEASE_S + 1)
    hold(world, "thief")
    for use in (lambda: claim.settle([], []), claim.release, lambda: claim.write([], hold=9.0)):
        claim.held = True
        with pytest.raises(StateConflict):
            use()
    assert world.watcher.status([rule()])[0]["held_by"] == "thief"


def test_waiting_for_the_holder() -> None:
    world = World()
    release = hold(world)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 5:
            release()

    world.watcher._sleep = sleep
    assert world.watcher.run(rule(), START, wait_s=2.0)["outcome"] == "OK"
    assert sum(naps) == pytest.approx(0.5)


def test_waiting_ends() -> None:
    world = World()
    hold(world)
    with pytest.raises(StateConflict):
        world.watcher.run(rule(), START, wait_s=1.0)
    assert world.now == START + timedelta(seconds=1)


def test_a_lease_that_is_over_is_taken() -> None:
    world = World()
    hold(world)
    world.pass_time(LEASE_S + 29)
    with pytest.raises(StateConflict):
        world.watcher.run(rule(), START)
    world.pass_time(2)
    assert world.watcher.run(rule(), START)["outcome"] == "OK"


def test_the_lease_of_a_dead_process_is_taken_at_once() -> None:
    world = World(owner=NamedOwner("me", {"other"}))
    hold(world)
    assert world.watcher.run(rule(), START)["outcome"] == "OK"


def test_a_run_that_lost_its_lease_writes_nothing() -> None:
    """A process that slept past its lease: whoever took over decides."""
    world = World()
    thief = world.another(NamedOwner("thief"))

    def slow(_: object) -> Any:
        world.pass_time(LEASE_S * 10)
        world.watcher._ask = lambda _: OK
        thief.run(rule(), START)
        return ALERT

    world.watcher._ask = slow
    with pytest.raises(StateConflict):
        world.watcher.run(rule(), START)
    assert world.watcher.status([rule()])[0]["outcome"] == "OK"
    assert world.receiver.messages == []


# ── rehearsal ────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── silences ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_episode_still_on_is_told_when_the_silence_ends() -> None:
    world = World()
    of = rule(schedule=None)
    assert world.watcher.silence("revenue", 3600, "deploy", "ann") == {
        "alert": "revenue",
        "until": "2026-01-31T10:00:00Z",
        "because": "deploy",
        "by": "ann",
    }
    world.says = ALERT
    assert world.run(of)["owed"] == 1
    world.run(of)
    assert world.receiver.messages == []
    world.pass_time(3600)
    assert world.watcher.sweep([of])["delivered"] == 1
    assert world.receiver.kinds() == ["firing"]


def test_an_episode_within_a_silence_is_dropped_with_a_trace() -> None:
    world = World()
    of = rule(schedule=None)
    world.watcher.silence("revenue", 3600, "deploy", "ann")
    for says in (ALERT, OK, WARN, ALERT, OK):
        world.says = says
        world.run(of)
    world.pass_time(3600)
    swept = world.watcher.sweep([of])
    assert (swept["delivered"], swept["owed"], swept["drained"]) == (0, 0, 1)
    assert world.receiver.messages == []
    dropped = [(r["about"], r["status"]) for r in world.watcher.history("revenue") if r["kind"] == "delivery"]
    assert sorted(dropped) == sorted(
        (k, "silenced") for k in ["firing", "recovered", "firing", "worsened", "recovered"]
    )


def test_a_recovery_in_a_silence_of_an_episode_told_before_is_told_after() -> None:
    world = World()
    of = rule(schedule=None)
    world.says = ALERT
    world.run(of)
    world.watcher.silence("revenue", 3600, "deploy", "ann")
    world.says = OK
    world.run(of)
    assert world.receiver.kinds() == ["firing"]
    world.pass_time(3600)
    world.watcher.sweep([of])
    assert world.receiver.kinds() == ["firing", "recovered"]


def test_an_episode_that_outlived_its_silence_is_told_even_if_it_is_over_by_now() -> None:
    world = World()
    of = rule(schedule=None)
    world.watcher.silence("revenue", 600, "deploy", "ann")
    world.says = ALERT
    world.run(of)
    world.says = OK
    world.run(of, minutes=20)
    assert world.receiver.kinds() == ["firing", "recovered"]


def test_without_recovery_messages_a_silenced_episode_is_dropped_too() -> None:
    world = World()
    of = rule(schedule=None, recovered=False)
    world.watcher.silence("revenue", 3600, "deploy", "ann")
    for says in (ALERT, OK):
        world.says = says
        world.run(of)
    world.pass_time(3600)
    world.watcher.sweep([of])
    assert world.receiver.messages == []


def test_held_repeats_are_superseded() -> None:
    world = World()
    of = rule(schedule=None, repeat_every=60.0)
    world.says = ALERT
    world.run(of)
    world.watcher.silence("revenue", 600, "deploy", "ann")
    for _ in range(5):
        world.run(of)
    world.pass_time(600)
    world.watcher.sweep([of])
    assert world.receiver.kinds() == ["firing"]
    world.run(of)
    assert world.receiver.kinds() == ["firing", "repeat"]


def test_what_may_have_arrived_is_not_dropped() -> None:
    """Tried once before the silence: the receiver may know of it, so it has to hear the end as well."""
    world = World()
    of = rule(schedule=None)
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("no answer, but who knows")]
    world.run(of)
    world.watcher.silence("revenue", 600, "deploy", "ann")
    world.watcher.sweep([of])
    world.says = OK
    world.run(of)
    world.pass_time(600)
    world.watcher.sweep([of])
    assert world.receiver.kinds() == ["firing", "recovered"]


def test_unsilence() -> None:
    world = World()
    of = rule(schedule=None)
    world.watcher.silence("revenue", 3600, "deploy", "ann")
    world.says = ALERT
    world.run(of)
    assert world.watcher.unsilence("revenue", "bob") == {"alert": "revenue", "was_silenced": True}
    assert world.watcher.unsilence("revenue", "bob") == {"alert": "revenue", "was_silenced": False}
    world.watcher.drain("revenue")
    assert world.receiver.kinds() == ["firing"]
    assert [r["kind"] for r in world.watcher.history("revenue")][:1] == ["delivery"]
    assert {"silence", "unsilence"} <= {r["kind"] for r in world.watcher.history("revenue")}


def test_a_silence_reaches_what_is_being_retried() -> None:
    world = World()
    of = rule(schedule=None)
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")]
    world.run(of)
    world.watcher.silence("revenue", 600, "deploy", "ann")
    world.pass_time(60)
    assert world.watcher.sweep([of])["delivered"] == 0
    writes = world.store.writes
    world.watcher.sweep([of])
    assert world.store.writes == writes  # what is held costs nothing


def test_a_silence_needs_a_length() -> None:
    with pytest.raises(ConfigInvalid):
        World().watcher.silence("revenue", 0, "deploy", "ann")


# ── sweep, status, history ───────────────────────────────────────────────────────────────────────────────────────


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
