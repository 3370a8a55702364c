"""What is owed: told in order, retried, given up; one failure never repeats or stops another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from core.alert.dead import sentence
from core.deadline import Deadline
from core.errors import ConfigInvalid, Internal, SourceError, SourceTimeout
from core.model import DeliveryPolicy, Rule
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


def refuses(world: World, *parts: str) -> Callable[[dict[str, Any], str, Deadline], object]:
    """A receiver that never takes a message whose id has one of these parts, and lists what it was asked to take."""

    def send(message: dict[str, Any], channel: str, deadline: Deadline) -> object:
        world.tried.append(message["id"].split("/")[2][9:13] + " " + message["kind"])
        if any(part in message["id"] for part in parts):
            raise SourceError("HTTP 500")
        return world.receiver(message, channel, deadline)

    return send


class Refused(World):
    def __init__(self, *parts: str) -> None:
        super().__init__()
        self.tried: list[str] = []
        self.watcher.delivery._send = refuses(self, *parts)

    def episode(self, of: Rule, minutes: float = 10.0) -> None:
        for says in (ALERT, OK):
            self.says = says
            self.run(of, minutes)
            for _ in range(int(minutes)):
                self.pass_time(30)
                self.watcher.drain("revenue")


def test_a_message_that_is_always_refused_does_not_hold_up_later_episodes() -> None:
    world = Refused("T091000Z/firing")
    of = rule(schedule=None)
    world.episode(of)
    assert world.receiver.messages == []
    world.says = ALERT
    shown = world.run(of, minutes=5)
    assert shown["delivered"] == 1
    assert world.receiver.messages[-1]["slot"] == "2026-01-31T09:35:00Z"
    assert world.tried[-2:] == ["0910 firing", "0935 firing"]  # the older one once more before it is overtaken
    first = [m for m in world.watcher.status([of])[0]["owed"] if m["kind"] == "firing"]
    assert [m["id"] for m in first] == ["revenue/-/20260131T091000Z/firing/0"]
    for _ in range(200):
        world.pass_time(600)
        world.watcher.drain("revenue")
    assert world.receiver.kinds() == ["firing", "recovered"]  # given up in the end, its recovery is told
    assert world.watcher.status([of])[0]["dead"][0]["attempts"] == 150


def test_a_short_failure_keeps_the_episodes_in_order() -> None:
    world = Refused("T091000Z/firing")
    of = rule(schedule=None)
    world.says = ALERT
    world.run(of, minutes=10)
    world.says = OK
    world.run(of, minutes=0.1)
    world.says = ALERT
    assert world.run(of, minutes=0.1)["delivered"] == 0
    world.watcher.delivery._send = world.receiver
    world.pass_time(60)
    world.watcher.drain("revenue")
    assert world.receiver.kinds() == ["firing", "recovered", "firing"]


def test_after_an_outage_everything_is_told_in_order() -> None:
    """Each has a time of its own for its next try: the first that comes takes those before it along."""
    world = Refused("/")
    of = rule(schedule=None)
    for _ in range(6):
        world.episode(of, minutes=7.3)
    world.tried.clear()
    world.watcher.delivery._send = world.receiver
    for _ in range(30):
        world.pass_time(20)
        world.watcher.drain("revenue")
    times = [m["slot"] for m in world.receiver.messages]
    assert len(times) == 12
    assert times == sorted(times)


def test_a_receiver_that_said_when_is_not_asked_before() -> None:
    world = Refused("T091000Z/firing")
    of = rule(schedule=None)
    world.episode(of)
    send = world.watcher.delivery._send

    def busy(message: dict[str, Any], channel: str, deadline: Deadline) -> object:
        try:
            return send(message, channel, deadline)
        except SourceError:
            raise SourceError("HTTP 503", retry_after_ms=1_800_000) from None

    world.watcher.delivery._send = busy
    world.pass_time(600)
    world.watcher.drain("revenue")
    count = len(world.tried)
    world.says = ALERT
    assert world.run(of)["delivered"] == 0
    assert len(world.tried) == count
    world.pass_time(1_800)
    assert world.watcher.drain("revenue")["delivered"] == 1  # told when the older one had its turn


def test_a_later_repeat_takes_the_place_of_one_that_nobody_saw() -> None:
    world = World()
    of = rule(schedule=None, repeat_every=600.0)
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 30
    world.says = ALERT
    for _ in range(18):
        world.run(of, minutes=10)
        world.watcher.drain("revenue")
    world.says = OK
    world.run(of, minutes=10)
    world.receiver.fails["hook"] = []
    world.pass_time(600)
    world.watcher.drain("revenue")
    assert world.receiver.kinds() == ["firing", "repeat", "recovered"]
    assert world.receiver.messages[1]["slot"] == "2026-01-31T12:00:00Z"
    records = [r for r in world.watcher.history("revenue", 100) if r.get("status") == "superseded"]
    assert {r["about"] for r in records} == {"repeat"}
    assert len(records) == 16


def test_a_later_repeat_of_an_error_does_so_too() -> None:
    world = World()
    of = rule(schedule=None, repeat_every=600.0)
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 3
    world.says = SourceTimeout("slow")
    for _ in range(3):
        world.run(of, minutes=10)
    assert [m["id"][-7:] for m in world.watcher.status([of])[0]["owed"]] == ["error/0", "error/2"]


def test_a_clock_that_was_set_back_does_not_hold_a_message_back() -> None:
    world = World()
    world.receiver.fails["hook"] = [SourceTimeout("down")]
    world.says = ALERT
    world.pass_time(7_200)
    world.run(rule(schedule=None))
    world.pass_time(-7_200)
    assert world.watcher.drain("revenue")["delivered"] == 1


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
    world.watcher.sweep([of])  # it is back
    world.pass_time(5 * 3600)
    swept = world.watcher.sweep([of])  # one told of missed slots, one of the recovery found by the run
    assert [(e["kind"]) for e in swept["given_up"]] == ["missed", "recovered"]
    assert swept["dead"] == 2
