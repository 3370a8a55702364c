"""Runs the real code of two overlapping runs through every order of their steps, and faults between them.

Each store call and each send is a step. A run is a thread that waits before each of its steps until it is told to go
on, to fail, or to die there. A history is replayed from its beginning; a state that was met before (the same store, the
same clock, the same things seen by both runs, the same faults left) is not walked again.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from core.alert.run import Watcher
from core.deadline import Deadline
from core.errors import SourceTimeout, StateConflict
from core.model import Rule
from core.ports import Change, Item
from tests.core.alert.parts import ALERT, LEASE_S, OK, NamedOwner, World, rule


class Died(BaseException):
    """The process of this run is no more: nothing of it may catch this and go on."""


@dataclass(frozen=True)
class Faults:
    """How many of each may happen. ``seen_dead``: others can tell that a process has ended (the same machine)."""

    crash: int = 0
    fail: int = 0
    expire: int = 0
    seen_dead: bool = True


class Actor:
    """One run in a thread of its own, and the baton that lets it take one step."""

    def __init__(self, name: str, work: Callable[[Actor], None]) -> None:
        self.name = name
        self.at: str | None = None  # the step it waits before: read | write | send; None: it has ended
        self.sent = False  # its last step was a send that arrived
        self.seen: list[Any] = []
        self.failure: BaseException | None = None
        self._work = work
        self._go = threading.Semaphore(0)
        self._waiting = threading.Semaphore(0)
        self._order = "go"
        self._dead = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._waiting.acquire()

    def tell(self, order: str) -> None:
        """Let it take its step; returns when it waits before the next one or has ended."""
        self._order = order
        self._go.release()
        self._waiting.acquire()

    def step(self, kind: str) -> str:
        """Called by the run: wait before a step of this kind for the order."""
        if self._dead:
            raise Died
        self.at = kind
        self._waiting.release()
        self._go.acquire()
        if self._order == "die":
            self.die()
        return self._order

    def die(self) -> None:
        self._dead = True
        raise Died

    def end(self) -> None:
        while self.at is not None:
            self.tell("die")
        self._thread.join()

    def _run(self) -> None:
        try:
            self.step("start")
            self._work(self)
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001 told by the explorer
            self.failure = error
        self.at = None
        self._waiting.release()


class SteppedStore:
    """The shared store as one run sees it."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._store = world.store
        self._actor = actor

    def get(self, partition: str, key: str) -> Item | None:
        self._actor.step("read")
        return self._noted(self._store.get(partition, key))

    def query(self, partition: str, first: str = "", last: str | None = None, **how: Any) -> Sequence[Item]:
        self._actor.step("read")
        return self._noted(self._store.query(partition, first, last, **how))

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        self._actor.step("write")
        try:
            return self._noted(self._store.write(partition, changes))
        except StateConflict:
            self._actor.seen.append("conflict")
            raise

    def _noted(self, result: Any) -> Any:
        self._actor.seen.append(repr(result))
        return result


@dataclass
class Story:
    """One history: what was delivered, in order, and which faults happened."""

    choices: list[int]
    delivered: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)


class Explorer:
    """Walks every history of two runs at ``slots`` (minutes after the start) under ``faults``."""

    def __init__(self, faults: Faults, slots: tuple[int, int] = (1, 1), channels: tuple[str, ...] = ("hook",)) -> None:
        self.allowed = faults
        self.slots = slots
        self.rule: Rule = rule(channels=channels, schedule="1,2 9 * * *", timezone="UTC")
        self.known: set[int] = set()
        self.stories: list[Story] = []

    def walk(self) -> list[Story]:
        stack: list[list[int]] = [[]]
        while stack:
            story = self._play(stack.pop(), stack)
            if story is not None:
                self.stories.append(story)
        return self.stories

    def _play(self, choices: list[int], stack: list[list[int]]) -> Story | None:
        """Replay ``choices``, then take the first option everywhere; the others go on the stack."""
        world = World()
        world.says = OK
        world.watcher.run(self.rule, world.now)
        world.says = ALERT
        world.pass_time(max(self.slots) * 60)
        story, ended = Story(list(choices)), set[str]()
        actors = [self._actor(world, story, ended, f"run{i}", slot) for i, slot in enumerate(self.slots)]
        try:
            step = 0
            while any(a.at is not None for a in actors):
                options = self._options(world, actors, story)
                if step >= len(choices):
                    mark = self._mark(world, actors, story)
                    if mark in self.known:
                        return None
                    self.known.add(mark)
                    stack += [[*story.choices, i] for i in range(1, len(options))]
                    story.choices.append(0)
                self._take(world, options[story.choices[step]], story, ended)
                step += 1
        finally:
            for a in actors:
                a.end()
        for a in actors:
            assert a.failure is None or isinstance(a.failure, StateConflict), (story.log, a.failure)
        self._later(world, story)
        return story

    def _actor(self, world: World, story: Story, ended: set[str], name: str, slot: int) -> Actor:
        def work(actor: Actor) -> None:
            def send(message: dict[str, Any], channel: str, deadline: Deadline) -> None:
                order = actor.step("send")
                if order == "fail":
                    raise SourceTimeout("nobody answered")
                story.delivered.append(message["id"])
                if order == "die after":
                    actor.die()

            mine = NamedOwner(name, ended if self.allowed.seen_dead else None)
            watcher = world.another(mine)
            stepped = SteppedStore(world, actor)
            watcher = Watcher(
                stepped, mine, lambda _: ALERT, send, lambda: world.now, _policy(watcher), LEASE_S, sleep=lambda _: None
            )
            watcher.run(self.rule, world.now - timedelta(minutes=max(self.slots) - slot))

        return Actor(name, work)

    def _options(self, world: World, actors: list[Actor], story: Story) -> list[tuple[Actor | None, str]]:
        options: list[tuple[Actor | None, str]] = []
        for a in actors:
            if a.at is None:
                continue
            options.append((a, "go"))
            if a.at == "send" and story.faults["fail"] < self.allowed.fail:
                options.append((a, "fail"))
            if a.at in ("write", "send") and story.faults["crash"] < self.allowed.crash:
                options.append((a, "die"))
                if a.at == "send":
                    options.append((a, "die after"))
        if story.faults["expire"] < self.allowed.expire and any(a.at not in (None, "start") for a in actors):
            options.append((None, "expire"))
        return options

    def _take(self, world: World, option: tuple[Actor | None, str], story: Story, ended: set[str]) -> None:
        actor, order = option
        story.log.append(f"{actor.name if actor else '-'} {actor.at if actor else ''} {order}")
        if actor is None:
            world.pass_time(LEASE_S * 3)
            story.faults["expire"] += 1
            return
        if order.startswith("die"):
            story.faults["crash"] += 1
            story.faults["crash after send"] += order == "die after" or actor.sent
            ended.add(actor.name)
        story.faults["fail"] += order == "fail"
        actor.sent = actor.at == "send" and order == "go"
        actor.tell(order)

    def _mark(self, world: World, actors: list[Actor], story: Story) -> int:
        items = {f"{p}\0{k}": (i.version, i.body) for (p, k), i in world.store.items.items()}
        return hash(
            (
                json.dumps(items, sort_keys=True),
                world.now,
                tuple((a.at, tuple(a.seen)) for a in actors),
                tuple(sorted(story.faults.items())),
                tuple(sorted(story.delivered)),
            )
        )

    def _later(self, world: World, story: Story) -> None:
        """What happens afterwards without faults: sweeps, and a later slot that is still bad."""

        def send(message: dict[str, Any], channel: str, deadline: Deadline) -> None:
            story.delivered.append(message["id"])

        watcher = Watcher(
            world.store, NamedOwner("later"), lambda _: ALERT, send, lambda: world.now, _policy(world.watcher), LEASE_S
        )
        for _ in range(2):
            world.pass_time(LEASE_S * 3)
            swept = watcher.sweep([self.rule])
            assert swept["errors"] == [], (story.log, swept)
        watcher.run(self.rule, world.now)
        assert watcher.status([self.rule])[0]["owed"] == [], story.log


def _policy(watcher: Watcher) -> Any:
    return watcher.delivery._policy
