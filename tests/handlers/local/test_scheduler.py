"""The loop of ``omni serve``: the plan with a clock of paper, the threads with a real one that is set near a slot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import SourceError, StateConflict
from handlers.local.scheduler import Plan, Scheduler
from tests.core.alert.parts import ALERT, START, World, rule


def minutes(n: float) -> datetime:
    return START + timedelta(minutes=n)


# ── the plan ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_slot_comes_once() -> None:
    plan = Plan([rule("ten", schedule="*/10 * * * *"), rule("five", schedule="*/5 * * * *")], START)
    assert plan.wake() == minutes(5)
    assert plan.due(minutes(4.9)) == []
    assert plan.due(minutes(5)) == [("five", minutes(5))]
    assert plan.due(minutes(5)) == []
    assert sorted(plan.due(minutes(10.1))) == [("five", minutes(10)), ("ten", minutes(10))]
    assert plan.wake() == minutes(15)


def test_a_slot_at_the_start_itself_is_the_sweeps() -> None:
    """Whether it was handled before the restart, only the store knows."""
    assert Plan([rule(schedule="*/5 * * * *")], START).wake() == minutes(5)


def test_after_a_long_sleep_the_sweep_sees_to_it() -> None:
    plan = Plan([rule(schedule="*/5 * * * *")], START)
    assert plan.due(minutes(27)) == []
    assert plan.wake() == minutes(30)
    assert plan.due(minutes(30)) == [("revenue", minutes(30))]


def test_who_is_off_or_has_no_schedule_is_not_planned() -> None:
    plan = Plan([rule("off", enabled=False), rule("by-hand", schedule=None)], START)
    assert plan.wake() is None
    assert plan.due(minutes(60)) == []


def test_zones_are_the_rules_own() -> None:
    plan = Plan([rule(schedule="30 10 * * *", timezone="Europe/Berlin")], START)
    assert plan.wake() == minutes(30)


# ── the threads ──────────────────────────────────────────────────────────────────────────────────────────────────


class RecordingApp:
    """What the loop calls, with a hook."""

    def __init__(self, on_watch: Callable[[str], None] = lambda name: None) -> None:
        self.watched: list[tuple[str, datetime | None]] = []
        self.sweeps = 0
        self.changed = threading.Condition()
        self._on_watch = on_watch

    def watch(self, name: str, slot: datetime | None, *, dry_run: bool = False, wait_s: float = 0.0) -> dict[str, Any]:
        with self.changed:
            self.watched.append((name, slot))
            self.changed.notify_all()
        self._on_watch(name)
        return {}

    def sweep(self) -> dict[str, Any]:
        with self.changed:
            self.sweeps += 1
            self.changed.notify_all()
        return {"errors": []}

    def wait(self, until: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(until, 20)


def near(slot: datetime, seconds: float = 0.1) -> Callable[[], datetime]:
    """A real clock that is set ``seconds`` before ``slot``."""
    begun = time.monotonic()
    return lambda: slot + timedelta(seconds=time.monotonic() - begun - seconds)


def test_it_sweeps_at_the_start_and_fires_at_the_slot() -> None:
    app = RecordingApp()
    loop = Scheduler(app, [rule("a"), rule("b"), rule("c", schedule="30 * * * *")], clock=near(minutes(1)))
    loop.start()
    app.wait(lambda: app.sweeps == 1 and len(app.watched) == 2)
    assert loop.stop()
    assert sorted(app.watched) == [("a", minutes(1)), ("b", minutes(1))]


def test_a_message_that_was_given_up_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = {"code": "SOURCE_ERROR", "message": "Channel 'hook' answered HTTP 410."}
    dead = {"alert": "revenue", "channel": "hook", "kind": "firing", "attempts": 3, "error": error}
    app = RecordingApp()
    app.sweep = lambda: {"errors": [], "dead": 1, "given_up": [dead]}
    Scheduler(app, [])._do("\0sweep", None)
    assert [(r.levelname, "given up after 3 attempts" in r.message) for r in caplog.records] == [("ERROR", True)]


@pytest.mark.parametrize("error", [SourceError("down"), ValueError("a defect")])
def test_the_log_names_the_sweep(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> dict[str, Any]:
        raise error

    app = RecordingApp()
    app.sweep = fail
    Scheduler(app, [])._do("\0sweep", None)
    assert "the sweep" in caplog.text
    assert "\0" not in caplog.text


def test_it_sweeps_again_and_again() -> None:
    app = RecordingApp()
    loop = Scheduler(app, [], clock=near(minutes(1)), sweep_every_s=0.05)
    loop.start()
    app.wait(lambda: app.sweeps >= 3)
    assert loop.stop()


@pytest.mark.parametrize("error", [StateConflict("held"), SourceError("down"), ValueError("a defect")])
def test_it_outlives_whatever_a_run_raises(error: Exception) -> None:
    def fail(name: str) -> None:
        if name == "bad":
            raise error

    app = RecordingApp(fail)
    loop = Scheduler(app, [rule("bad"), rule("good", schedule="2 * * * *")], clock=near(minutes(2)), workers=1)
    loop.start()
    app.wait(lambda: len(app.watched) == 2)
    assert loop.stop()


def test_one_slow_alert_does_not_keep_the_others() -> None:
    release = threading.Event()
    app = RecordingApp(lambda name: release.wait(20) if name == "slow" else None)  # type: ignore[arg-type,return-value]
    loop = Scheduler(app, [rule("slow"), rule("quick")], clock=near(minutes(1)), workers=2)
    loop.start()
    app.wait(lambda: {n for n, _ in app.watched} == {"slow", "quick"})
    release.set()
    assert loop.stop()


def test_the_latest_slot_of_a_busy_alert_waits_for_its_turn() -> None:
    release = threading.Event()
    app = RecordingApp(lambda name: release.wait(20))  # type: ignore[arg-type,return-value]
    loop = Scheduler(app, [], workers=2)
    loop.start()
    for n in (1, 2, 3):
        loop._submit("slow", minutes(n))
    app.wait(lambda: len(app.watched) == 1)
    release.set()
    app.wait(lambda: len(app.watched) == 2)
    assert loop.stop()
    assert app.watched == [("slow", minutes(1)), ("slow", minutes(3))]


def test_stopping_waits_for_what_is_running_and_begins_nothing_more() -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(name: str) -> None:
        begun.set()
        release.wait(20)

    app = RecordingApp(slow)
    loop = Scheduler(app, [rule("a"), rule("b")], clock=near(minutes(1)), workers=1)
    loop.start()
    assert begun.wait(20)
    threading.Timer(0.1, release.set).start()
    assert loop.stop(wait_s=10)
    assert len(app.watched) == 1


def test_stopping_does_not_wait_for_ever() -> None:
    release = threading.Event()
    app = RecordingApp(lambda name: release.wait(20))  # type: ignore[arg-type,return-value]
    loop = Scheduler(app, [rule("a")], clock=near(minutes(1)))
    loop.start()
    app.wait(lambda: len(app.watched) == 1)
    assert loop.stop(wait_s=0.05) is False
    release.set()
    assert loop.stop(wait_s=10)


# ── with the real watcher ────────────────────────────────────────────────────────────────────────────────────────


class RealApp:
    """The watch half of the App over a world of the alert tests."""

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self.world = world
        self.rules = [rule(schedule="*/10 * * * *")]
        self.clock = clock

    def watch(self, name: str, slot: datetime | None, *, dry_run: bool = False, wait_s: float = 0.0) -> dict[str, Any]:
        self.world.now = self.clock()
        return self.world.watcher.run(self.rules[0], slot)

    def sweep(self) -> dict[str, Any]:
        self.world.now = self.clock()
        return self.world.watcher.sweep(self.rules)


def test_a_restart_does_not_forget_a_due_slot() -> None:
    world = World()
    world.watcher.sweep([rule(schedule="*/10 * * * *")])  # it was up at 09:00 ...
    world.says = ALERT
    clock = near(minutes(32))  # ... and is up again at 09:32
    loop = Scheduler(RealApp(world, clock), [], clock=clock)
    loop.start()
    until = time.monotonic() + 20
    while len(world.receiver.messages) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert loop.stop()
    assert [m["kind"] for m in world.receiver.messages] == ["missed", "firing"]
    assert world.receiver.messages[0]["missed"]["count"] == 2  # 09:10 and 09:20
    assert [a.now for a in world.asked] == [minutes(30).astimezone(UTC)]
