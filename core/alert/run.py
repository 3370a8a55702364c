"""The watch half: run an alert at a slot, drain what is owed, silence, look back. The order of things is here.

claim -> ask -> evaluate -> state.step -> commit (state + owed + record, one write) -> deliver -> release
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from core.alert import history, missed, schedule, state
from core.alert.deliver import Delivered, Delivery, Round, Send, log_defect
from core.alert.evaluate import Evaluation, evaluate, failed
from core.alert.event import Event
from core.alert.mute import is_silenced
from core.alert.outbox import Claim, Known, Outbox, View, partition
from core.alert.report import as_shown, report
from core.alert.slot import iso
from core.errors import ConfigInvalid, Error, Internal, ResourceLimit, StateConflict
from core.model import Answer, Ask, DeliveryPolicy, Principal, Rule
from core.ports import ABSENT, Owner, Put, Store

_POLL_S = 0.1
_FIRST_YEAR = 1971
_AFTER_QUERY_S = 30.0
"""Of the time that a function has, what the query may not take: the run is written down, and a message sent."""
_LONGEST_SILENCE_S = 10 * 366 * 86_400.0
_log = logging.getLogger("omni.alert")


class Watcher:
    """Everything that happens to alerts. Safe to call from several threads and processes at once.

    ``ask``: App.ask. ``send``: hands one message to one channel (see ``deliver.Send``). ``clock``: now, with zone.
    ``send_s``: time for one message; ``deliver_s``: time for the messages of one run, the rest is left to a sweep.
    ``sweep_s``: how long a sweep begins anything; what it has begun then ends within the 120 s that a function has.
    """

    def __init__(
        self,
        store: Store,
        owner: Owner,
        ask: Callable[[Ask], Answer],
        send: Send,
        clock: Callable[[], datetime],
        delivery: DeliveryPolicy,
        lease_s: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        send_s: float = 20.0,
        deliver_s: float = 60.0,
        sweep_s: float = 90.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.clock = clock
        self.sweep_s = sweep_s
        self.monotonic = monotonic
        self.outbox = Outbox(store, owner, clock, lease_s)
        self.delivery = Delivery(send, clock, delivery, send_s, deliver_s)
        self._ask = ask
        self._sleep = sleep

    def run(
        self,
        rule: Rule,
        slot: datetime | None = None,
        *,
        dry_run: bool = False,
        wait_s: float = 0.0,
        within: Round | None = None,
        time_left_s: float | None = None,
    ) -> dict[str, Any]:
        """Judge ``rule`` at ``slot`` (None: now) and tell what is new; return the run as ``alert run --json`` shows it.

        A slot that is done, or older than one that is, is not judged again: the result has ``skipped`` and the
        outcome on record, and what is owed is delivered. ``dry_run``: nothing is written or sent; ``would_send``
        holds the events that would be. ``wait_s``: how long to wait for a run that overlaps. ``within``: the sweep that
        this run is part of. ``time_left_s``: the process may be ended after it, None where it may not.
        Raises StateConflict when another run holds the alert, ConfigInvalid for a slot in the future, and the store's
        errors. An error of the query is no exception but the outcome ERROR; one of our own state (``Error.ours``) is
        raised, with nothing judged.
        """
        at = self._slot(slot)
        if time_left_s is not None:
            rule = replace(rule, timeout_s=min(rule.timeout_s, max(1.0, time_left_s - _AFTER_QUERY_S)))
            within = within or self.delivery.round(time_left_s)
        view = self.outbox.read(rule.name)
        if dry_run:
            return self._rehearse(rule, at, view)
        if self._is_done(view, at):
            return self._skipped(rule, at, self._drain_view(view, within), self.outbox.read(rule.name))
        with self.holding(self._claimed(rule, view, wait_s)) as claim:
            if self._is_done(claim.view, at):  # done by the run that was waited for
                return self._skipped(rule, at, self.delivery.drain(claim, within), claim.view)
            return self._judge(rule, at, claim, within)

    def drain(self, name: str, within: Round | None = None) -> dict[str, Any]:
        """Deliver what alert ``name`` owes and is due: {"delivered", "owed", "dead", "given_up"?, "put_off"?}.

        Where a run holds the alert, that run does so.
        """
        return self._drain_view(self.outbox.read(name), within).facts()

    def history(self, name: str, limit: int = 50) -> list[dict[str, Any]]:
        """The newest records of what happened, newest first; see ``core.alert.history``."""
        return history.read(self.store, partition(name), limit)

    def silence(self, name: str, seconds: float, because: str, by: str) -> dict[str, Any]:
        """Hold the messages of alert ``name`` from now on for ``seconds``. A longer or shorter one replaces it."""
        if not 0 < seconds <= _LONGEST_SILENCE_S:
            raise ConfigInvalid("A silence has to last longer than 0 seconds, and at most ten years.", key="for")
        now = self.clock()
        view = self.outbox.read(name)
        old = view.silence
        begin = old["from"] if old is not None and is_silenced(old, now) else now.timestamp()
        until = now + timedelta(seconds=seconds)
        body = {"from": begin, "until": until.timestamp(), "because": because, "by": by}
        record = {"kind": "silence", "at": iso(now), "until": iso(until), "because": because, "by": by}
        if self.outbox.known_as(name) is None:
            self.outbox.register({name: (now, None, ABSENT)})
        self.store.write(partition(name), [Put("mute", body), history.entry(now, 0, _any_number(), record)])
        return {"alert": name, "until": iso(until), "because": because, "by": by}

    def unsilence(self, name: str, by: str = "") -> dict[str, Any]:
        """End the silence now; the next run or sweep tells what was held: {"alert", "was_silenced"}."""
        now = self.clock()
        old = self.outbox.read(name).silence
        if old is None or not is_silenced(old, now):
            return {"alert": name, "was_silenced": False}
        record = {"kind": "unsilence", "at": iso(now), "by": by}
        ended = {**old, "until": now.timestamp()}
        self.store.write(partition(name), [Put("mute", ended), history.entry(now, 0, _any_number(), record)])
        return {"alert": name, "was_silenced": True}

    def status(self, rules: Iterable[Rule]) -> list[dict[str, Any]]:
        """What is known of each rule: schedule, next and last slot, outcome, instances, health, owed, dead, silence."""
        return [self._status(rule) for rule in rules]

    def removed(self, names: Collection[str]) -> list[dict[str, Any]]:
        """As ``status``, with ``removed``: alerts that are none of these ``names`` and left something open: an episode
        that was told and never will be over, or a message that is owed or was given up."""
        gone = [Rule(name, "", None, "UTC", Principal("")) for name in self.outbox.known() if name not in names]
        found = [{**self._status(rule), "enabled": False, "removed": True} for rule in gone]
        return [one for one in found if one["state"] not in (None, "OK") or one["owed"] or one["dead"]]

    def register(self, rules: Iterable[Rule]) -> dict[str, Known]:
        """Note of all rules since when their schedule is in force; return every alert known. Few writes, however many
        rules, and none where nothing has changed.

        A schedule counts from when it is first seen here, and again where it was another one in between, or the alert
        was disabled or not in the project.
        """
        now, known = self.clock(), self.outbox.known()
        plans = {**dict.fromkeys(known, ""), **{rule.name: missed.plan(rule) for rule in rules}}
        notes: dict[str, tuple[datetime, str | None, str]] = {}
        for name, plan in plans.items():
            found = known.get(name)
            if found is None:
                if plan:
                    notes[name] = (now, plan, ABSENT)
            elif found.plan is None:
                notes[name] = (min(found.since, now), plan, found.version)
            elif found.plan != plan or found.since > now + history.EARLY:
                notes[name] = (now, plan, found.version)
        self.outbox.register(notes)
        return known if not notes else self.outbox.known()

    def sweep(
        self, rules: Iterable[Rule], now: datetime | None = None, time_left_s: float | None = None
    ) -> dict[str, Any]:
        """See ``core.alert.sweep.sweep``. ``time_left_s``: as for ``run``."""
        from core.alert.sweep import sweep

        seconds = self.sweep_s if time_left_s is None else min(self.sweep_s, max(1.0, time_left_s - _AFTER_QUERY_S))
        return sweep(self, list(rules), now or self.clock(), seconds)

    # ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _slot(self, slot: datetime | None) -> datetime:
        now = self.clock()
        if slot is None:
            now = now.astimezone(UTC)
            return now.replace(microsecond=now.microsecond // 1000 * 1000)
        if slot.tzinfo is None:
            raise ConfigInvalid(
                f"The slot {slot.isoformat()} has no zone. Write it as 2026-01-31T09:00:00Z.", key="slot"
            )
        if slot.year < _FIRST_YEAR:
            raise ConfigInvalid(f"The slot {slot.isoformat()} is before the year {_FIRST_YEAR}.", key="slot")
        if slot > now + history.EARLY:
            raise ConfigInvalid(
                f"The slot {iso(slot)} is in the future; it is {iso(now)} now. Later slots would be skipped after it.",
                key="slot",
            )
        return slot.astimezone(UTC)

    def _claimed(self, rule: Rule, view: View, wait_s: float) -> Claim:
        """The claim, waiting for a run that overlaps; the view it holds is the newest."""
        waited = 0.0
        while True:
            try:
                return self.outbox.claim(view, rule.timeout_s, missed.plan(rule))
            except StateConflict:
                if waited >= wait_s:
                    raise
            pause = min(_POLL_S, wait_s - waited)
            self._sleep(pause)
            waited += pause
            view = self.outbox.read(rule.name)

    def _is_done(self, view: View, slot: datetime) -> bool:
        return state.is_done(view.state, slot) and not missed.is_ahead(view.state, self.clock())

    def _judge(self, rule: Rule, slot: datetime, claim: Claim, within: Round | None) -> dict[str, Any]:
        before, begun = claim.view.state, self.clock()
        evaluation = self._evaluated(rule, slot)
        try:
            item, events = self._commit(rule, slot, claim, evaluation, begun)
        except ResourceLimit as error:  # too large to keep: an error of this alert, told like any other
            evaluation = failed(error, "")
            item, events = self._commit(rule, slot, claim, evaluation, begun)
        done = self.delivery.drain(claim, within) if claim.held else Delivered(owed=len(claim.view.owed()))
        return report(rule, slot, evaluation, before, item, events, done)

    def _commit(
        self, rule: Rule, slot: datetime, claim: Claim, evaluation: Evaluation, begun: datetime
    ) -> tuple[state.Item, list[Event]]:
        old, now = claim.view.state, self.clock()
        gap = self._gap(rule, slot, old, now)
        if old is not None and missed.is_ahead(old, now):
            _log.warning(
                "alert %s: its last slot %s is ahead of the clock (%s), which is or was wrong: slot %s is judged now",
                rule.name, old["slot"], iso(now), iso(slot),
            )  # fmt: skip
            old = state.set_back(old, slot)
        item, events = state.step(old, evaluation, slot, rule)
        item["ran"] = [iso(begun), iso(now)]
        records = [history.of_run(item, events, iso(now))]
        if gap:
            item, event = state.missed(item, gap, rule, capped=len(gap) >= missed.MOST)
            events = [event, *events]
            records.append({"kind": "missed", "at": iso(now), **event["missed"]})
        idle = not self.delivery.is_due(claim.view)
        claim.commit(item, events, rule.channels, records, release=idle)
        return item, events

    def _gap(self, rule: Rule, slot: datetime, item: Mapping[str, Any] | None, now: datetime) -> list[datetime]:
        """The slots before this one that nobody judged. Who notes them in the write that makes ``slot`` the last one
        can neither forget nor repeat them."""
        if missed.is_ahead(item, now) or (missed.accounted(item) and not missed.before(slot, rule, item, None)):
            return []
        known = self.outbox.known_as(rule.name)
        if known is None or known.plan != missed.plan(rule):
            return []  # since when its schedule is in force, the next sweep will note
        return missed.before(slot, rule, item, known.since)

    def _evaluated(self, rule: Rule, slot: datetime) -> Evaluation:
        request_id = os.urandom(8).hex()
        try:
            return evaluate(self._ask(rule.as_ask(slot, request_id)), rule, request_id)
        except Error as error:
            if error.ours:
                raise  # nothing is known about the alert: nothing is judged, and the sweep asks again
            return failed(error, request_id)
        except Exception as error:  # noqa: BLE001 a defect of ours is told like any broken alert, and never as OK
            log_defect(f"asking for alert {rule.name}", error)
            text = f"The query of alert {rule.name!r} failed: unexpected {type(error).__name__}; the log says where."
            return failed(Internal(text, alert=rule.name), request_id)

    def _rehearse(self, rule: Rule, slot: datetime, view: View) -> dict[str, Any]:
        before = None if view.state is None else {**view.state, "slot": None}
        evaluation = self._evaluated(rule, slot)
        item, events = state.step(before, evaluation, slot, rule)
        shown = report(rule, slot, evaluation, before, item, events, Delivered(owed=len(view.owed())))
        told = [{k: v for k, v in e.items() if k != "tell"} for e in events if e["tell"] and rule.channels]
        return {**shown, "dry_run": True, "would_send": told}

    def _skipped(self, rule: Rule, slot: datetime, done: Delivered, view: View) -> dict[str, Any]:
        item = view.state or {}
        shown: dict[str, Any] = {
            "alert": rule.name,
            "slot": iso(slot),
            "outcome": item.get("outcome"),
            "instances": [],
            "events": [],
            "state": state.overall(item),
            **done.facts(),
            "skipped": "slot already done",
        }
        if item.get("slot") == iso(slot):
            shown["instances"] = [as_shown(i, i["state"]) for i in item["instances"].values()]
            if "error" in item:
                shown["error"] = item["error"]
            return shown
        shown["skipped"] = f"slot already done: {item.get('slot')} is later"
        record = history.of_slot(self.store, partition(rule.name), slot)
        shown["outcome"] = record["outcome"] if record else None
        return shown

    def _drain_view(self, view: View, within: Round | None) -> Delivered:
        if not self.delivery.is_due(view, within):
            return Delivered(owed=len(view.owed()))
        try:
            claim = self.outbox.claim(view, 0.0)
        except StateConflict:
            return Delivered(owed=len(view.owed()))  # whoever holds it delivers
        with self.holding(claim):
            return self.delivery.drain(claim, within)

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[Claim]:
        """Give the claim back if the block fails, where that still works; else the lease ends by itself."""
        try:
            yield claim
        except BaseException:
            try:
                claim.release()
            except Error as error:
                log_defect(f"releasing alert {claim.view.name}", error)
            raise

    def _status(self, rule: Rule) -> dict[str, Any]:
        view, now = self.outbox.read(rule.name), self.clock()
        item = view.state or {}
        silence = view.silence if is_silenced(view.silence, now) else None
        upcoming = schedule.next_after(rule.schedule, rule.timezone, now) if rule.schedule and rule.enabled else None
        return {
            "alert": rule.name,
            "enabled": rule.enabled,
            "schedule": rule.schedule,
            "timezone": rule.timezone,
            "next_slot": None if upcoming is None else iso(upcoming),
            "slot": item.get("slot"),
            "outcome": item.get("outcome"),
            "state": state.overall(item),
            "instances": [as_shown(i, i["state"]) for i in item.get("instances", {}).values()],
            "health": item.get("health"),
            "missed": item.get("missed"),
            "error": item.get("error"),
            "warnings": item.get("warnings", []),
            "owed": [
                {"id": m.event["id"], "channel": m.channel, "kind": m.event["kind"], **m.progress} for m in view.owed()
            ],
            "dead": view.dead(now),
            "held_by": self.outbox.holder(view) or None,
            "silence": None
            if silence is None
            else {
                "until": iso(datetime.fromtimestamp(silence["until"], UTC)),
                "because": silence["because"],
                "by": silence["by"],
            },
        }


def _any_number() -> int:
    return int.from_bytes(os.urandom(3), "big")
