"""What is owed: told in order, retried, given up; one failure never repeats or stops another."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.alert.dead import sentence
from core.errors import ConfigInvalid, Internal, SourceError, SourceTimeout
from core.model import DeliveryPolicy
from tests.core.alert.parts import ALERT, OK, World, answer, rule


class RefusedError(SourceError):
    """What a channel says when it never will take the message."""

    retryable = False


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


# ── dead messages ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_default_keeps_trying_for_a_day() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 1_000
    of = rule(schedule=None)
    world.run(of)
    begun = world.now
    while not world.watcher.drain("revenue")["dead"]:
        world.pass_time(15)
    assert timedelta(hours=23) < world.now - begun < timedelta(hours=26)


def test_a_dead_message_is_in_the_report_and_the_status() -> None:
    world = World()
    world.says = ALERT
    world.receiver.fails["hook"] = [RefusedError("Channel 'hook' answered HTTP 410.")]
    of = rule(schedule=None, channels=("hook", "mail"))
    shown = world.run(of)
    assert (shown["delivered"], shown["owed"], shown["dead"]) == (1, 0, 1)
    (entry,) = shown["given_up"]
    assert entry == {
        "alert": "revenue",
        "id": "revenue/-/20260131T090100Z/firing/0/hook",
        "channel": "hook",
        "kind": "firing",
        "instance": "-",
        "attempts": 1,
        "error": {"code": "SOURCE_ERROR", "message": "Channel 'hook' answered HTTP 410."},
        "at": "2026-01-31T09:01:00Z",
    }
    assert "given up after 1 attempt: SOURCE_ERROR: Channel 'hook' answered HTTP 410." in sentence(entry)
    assert world.watcher.status([of])[0]["dead"] == [entry]
    again = world.run(of)
    assert (again["dead"], "given_up" in again) == (0, False)
    assert world.watcher.status([of])[0]["dead"] == [entry]


def test_a_dead_message_is_shown_until_the_next_episode_of_its_instance() -> None:
    world = World()
    of = rule(schedule=None, key=("region",))

    def say(north: str, south: str) -> None:
        world.says = answer(("north", north), ("south", south), columns=["region", "status"])
        world.run(of)

    world.receiver.fails["hook"] = [RefusedError("no"), RefusedError("no")]
    say("ALERT", "ALERT")
    say("OK", "ALERT")
    assert [e["instance"] for e in world.watcher.status([of])[0]["dead"]] == ["south", "north"]
    say("ALERT", "ALERT")
    assert [e["instance"] for e in world.watcher.status([of])[0]["dead"]] == ["south"]
    world.says = SourceTimeout("slow")
    world.run(of)  # an episode of the rule, not of the instance
    assert [e["instance"] for e in world.watcher.status([of])[0]["dead"]] == ["south"]
    world.pass_time(31 * 86_400)
    assert world.watcher.status([of])[0]["dead"] == []


def test_an_error_is_no_episode_of_the_instance_without_key() -> None:
    world = World()
    of = rule(schedule=None)
    world.receiver.fails["hook"] = [RefusedError("no")]
    for says, dead in ((ALERT, 1), (SourceTimeout("slow"), 1), (OK, 1), (ALERT, 0)):
        world.says = says
        world.run(of)
        assert len(world.watcher.status([of])[0]["dead"]) == dead


def test_the_newest_dead_messages_are_shown() -> None:
    world = World()
    of = rule(schedule=None, key=("n",))
    world.says = answer(*[(i, "ALERT") for i in range(15)], columns=["n", "status"])
    world.receiver.fails["hook"] = [RefusedError("no")] * 15
    assert world.run(of)["dead"] == 15
    assert [e["instance"] for e in world.watcher.status([of])[0]["dead"]] == [str(n) for n in range(14, 4, -1)]
    assert len([r for r in world.watcher.history("revenue", 100) if r.get("status") == "dead"]) == 15


def test_a_sweep_counts_the_dead() -> None:
    world = World(delivery=DeliveryPolicy(attempts=2))
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 3
    of = rule(schedule="0 * * * *")
    world.run(of)
    world.pass_time(60)
    swept = world.watcher.sweep([])  # an alert that left the project, too
    assert (swept["delivered"], swept["owed"], swept["dead"]) == (0, 0, 1)
    assert [(e["alert"], e["attempts"]) for e in swept["given_up"]] == [("revenue", 2)]
    world.receiver.fails["hook"] = [RefusedError("no"), RefusedError("no")]
    world.says = OK
    world.pass_time(5 * 3600)
    swept = world.watcher.sweep([of])  # one told of missed slots, one of the recovery found by the run
    assert [(e["kind"]) for e in swept["given_up"]] == ["missed", "recovered"]
    assert swept["dead"] == 2
