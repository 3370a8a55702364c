"""Silences: what is held, what is told after, what is dropped with a trace."""

from __future__ import annotations

from typing import Any

import pytest

from core.deadline import Deadline
from core.errors import ConfigInvalid, SourceTimeout
from core.model import Answer, Ask
from tests.core.alert.parts import ALERT, OK, WARN, World, rule


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


def test_very_many_held_messages_are_dropped_too() -> None:
    """Each was owed by a run of its own, so each is an item of its own; a write has room for a hundred changes."""
    world = World()
    of = rule(schedule=None, repeat_every=60.0)
    world.says = ALERT
    world.run(of)
    world.watcher.silence("revenue", 10_000, "deploy", "ann")
    for _ in range(150):
        world.run(of)
    world.pass_time(10_000)
    world.watcher.sweep([of])
    assert world.watcher.status([of])[0]["owed"] == []


def test_a_silence_holds_very_many_messages() -> None:
    """After an outage of the receiver, each repeat is an item of its own."""
    world = World()
    of = rule(schedule=None, repeat_every=60.0)
    world.says = ALERT
    world.receiver.fails["hook"] = [SourceTimeout("down")] * 1_000
    for _ in range(150):
        world.run(of)
    world.watcher.silence("revenue", 600, "known", "ann")
    assert world.watcher.sweep([of])["errors"] == []
    assert {m["held"] for m in world.watcher.status([of])[0]["owed"]} == {True}


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


def test_a_silence_that_is_set_while_the_query_runs_holds_its_message() -> None:
    world = World()
    of = rule(schedule=None)

    def slow(_: Ask) -> Answer:
        world.watcher.silence("revenue", 3600, "moving", "ann")
        return ALERT

    world.watcher._ask = slow
    assert world.run(of)["owed"] == 1
    assert world.receiver.messages == []


def test_a_silence_that_is_set_while_messages_are_sent_holds_the_rest() -> None:
    world = World()
    of = rule(schedule=None, channels=("hook", "mail"))
    world.says = ALERT

    def send(message: dict[str, Any], channel: str, deadline: Deadline) -> object:
        world.watcher.silence("revenue", 3600, "moving", "ann")
        return world.receiver(message, channel, deadline)

    world.watcher.delivery._send = send
    assert world.run(of)["delivered"] == 1
    assert world.receiver.told() == [("firing", "hook")]
