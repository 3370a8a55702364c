"""Who holds an alert: one run judges, others wait, take over from the dead, or write nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.errors import StateConflict
from tests.core.alert.parts import ALERT, LEASE_S, OK, START, NamedOwner, World, hold, rule


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
