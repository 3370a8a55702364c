"""One step of an alert: what was known + what was seen at a slot -> what is known + what is worth telling. Pure.

    instance:  OK ── bad ──> PENDING ── `for` over, m of n ──> FIRING ── good again ──> OK
                                                               FIRING <──> RECOVERING   (m of n still holds)
    health:    None <──> {"state": "ERROR" | "NO_DATA"}        of the rule itself, with messages of its own

Time is the slot, so that a repeat, a catch-up and a backtest are the same fold. WARN is bad too: an episode opens at
either, and tells again (``worsened``) when it exceeds what was told so far. An instance that is no longer among the
rows has recovered. The item (JSON-ready)::

    {"v": 1, "slot", "outcome", "error"?, "warnings"?, "instances": {id: {"key", "state", "severity", "actual_value",
     "threshold", "context", "since"?, "episode"?, "seq"?, "told"?, "told_at"?, "pending_since"?, "window"?}},
     "health"?: {"state", "policy", "since", "seq", "told_at", "error"?}, "missed"?,
     "ran"?: [when the last run took the alert, when it was judged]}
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from core.alert.evaluate import RANK, SINGLE, Evaluation, Reading
from core.alert.event import Event, event
from core.alert.slot import iso, parse
from core.model import OnTrouble, Rule

SHAPE = 1

Item = dict[str, Any]
Instance = dict[str, Any]


def is_done(item: Mapping[str, Any] | None, slot: datetime) -> bool:
    """Whether this slot, or a later one, was already judged."""
    return bool(item and item.get("slot")) and slot <= parse((item or {})["slot"])


def set_back(item: Mapping[str, Any], slot: datetime) -> Item:
    """The item as it is stepped at a slot before its own, which a clock that was ahead has left: what is waited for
    counts from ``slot`` on, episodes stay what they are."""

    def earlier(part: Mapping[str, Any], *names: str) -> dict[str, Any]:
        return {k: iso(min(parse(v), slot)) if v and k in names else v for k, v in part.items()}

    instances = {n: earlier(i, "since", "told_at", "pending_since") for n, i in item["instances"].items()}
    new: Item = {**item, "slot": None, "missed": None, "instances": instances}
    if item.get("health"):
        new["health"] = earlier(item["health"], "told_at")
    return new


def step(
    item: Mapping[str, Any] | None, evaluation: Evaluation, slot: datetime, rule: Rule
) -> tuple[Item, list[Event]]:
    """Return the item after ``slot`` and its events, in the order in which they are to be told.

    Nothing of ``item`` is changed. A slot that is done gives the item back, and no events.
    """
    if is_done(item, slot):
        return dict(item or {}), []
    before: Mapping[str, Instance] = (item or {}).get("instances", {})
    at = iso(slot)
    health, events = _health((item or {}).get("health"), evaluation, slot, rule)
    readings = _judged(evaluation, rule)
    after: dict[str, Instance] = {}
    if readings is None:
        after.update(before)
    else:
        seen = {r.instance: r for r in readings}
        for reading in readings:
            after[reading.instance], told = _advance(before.get(reading.instance), reading, slot, rule)
            events += told
        for name, old in before.items():
            if name not in seen:
                _vanish(name, old, after, events, slot, rule, kept=_policy(evaluation, rule) == "alert")
    new: Item = {"v": SHAPE, "slot": at, "outcome": evaluation.outcome, "instances": after}
    if evaluation.error is not None:
        new["error"] = dict(evaluation.error)
    if evaluation.warnings:
        new["warnings"] = list(evaluation.warnings)
    if health is not None:
        new["health"] = health
    if item and item.get("missed"):
        new["missed"] = item["missed"]
    return new, events


def missed(
    item: Mapping[str, Any] | None, slots: Sequence[datetime], rule: Rule, *, capped: bool
) -> tuple[Item, Event]:
    """Note that nobody looked at ``slots`` (oldest first, not empty). ``capped``: there were even more of them."""
    first, last = iso(slots[0]), iso(slots[-1])
    facts = {"count": len(slots), "first": first, "last": last, "capped": capped}
    new: Item = {"v": SHAPE, "slot": None, "outcome": None, "instances": {}, **(item or {}), "missed": facts}
    return new, event(
        rule,
        "missed",
        slot=last,
        episode=first,
        seq=0,
        severity="WARN",
        state="MISSED",
        previous_state="OK",
        facts={"missed": facts},
    )


_WORST = ("FIRING", "RECOVERING", "PENDING")


def overall(item: Mapping[str, Any] | None) -> str | None:
    """One word for an alert: its health where that is told as such, else its worst instance; None: it never ran."""
    if not item or item.get("slot") is None:
        return None
    instances = item["instances"].values()
    health = item.get("health")
    if health and (health.get("policy", "error") == "error" or _knows_nothing(health, instances)):
        return str(health["state"])
    states = {i["state"] for i in instances}
    return next((s for s in _WORST if s in states), "OK")


def _knows_nothing(health: Mapping[str, Any], instances: Collection[Instance]) -> bool:
    """Broken from the first run on: there is nothing to keep, and that is not OK."""
    return health["state"] == "ERROR" and health.get("policy") == "keep" and not instances


# ── what the outcome means for the instances ─────────────────────────────────────────────────────────────────────


def _policy(evaluation: Evaluation, rule: Rule) -> OnTrouble | None:
    if evaluation.outcome == "ERROR":
        return rule.on_error
    return rule.no_data if evaluation.outcome == "NO_DATA" else None


def _judged(evaluation: Evaluation, rule: Rule) -> Sequence[Reading] | None:
    """The readings to step with; None leaves every instance as it is."""
    policy = _policy(evaluation, rule)
    if policy is None:
        return evaluation.readings
    if policy == "ok":
        return ()
    if policy == "alert":
        reason = (evaluation.error or {}).get("message", "The query returned no rows.")
        return (Reading(SINGLE, {}, "ALERT", context={"reason": reason}),)
    return None


def _vanish(
    name: str, old: Instance, after: dict[str, Instance], events: list[Event], slot: datetime, rule: Rule, *, kept: bool
) -> None:
    """``kept``: an alarm raised for lack of an answer says nothing about the instances of the last answer."""
    if kept:
        after[name] = old
        return
    new, told = _advance(old, Reading(name, old["key"], "OK"), slot, rule)
    if new["state"] != "OK" or new.get("window"):
        after[name] = new
    events += told


# ── one instance ─────────────────────────────────────────────────────────────────────────────────────────────────


def _advance(old: Instance | None, reading: Reading, slot: datetime, rule: Rule) -> tuple[Instance, list[Event]]:
    old = old or {}
    was = old.get("state", "OK")
    bad = reading.status != "OK"
    new: Instance = {
        "key": dict(reading.key),
        "state": "OK",
        "severity": reading.status,
        "actual_value": reading.actual_value,
        "threshold": reading.threshold,
        "context": dict(reading.context),
    }
    hot = bad
    if rule.of is not None:
        m, n = rule.of
        window = [*old.get("window", ()), int(bad)][-n:]
        hot = sum(window) >= m
        if any(window):
            new["window"] = window
    if was in ("FIRING", "RECOVERING"):
        return _within_episode(old, new, bad, hot, slot, rule, reading.instance)
    if hot:
        since = old.get("pending_since") or iso(slot)
        if bad and (slot - parse(since)).total_seconds() >= rule.pending_for:
            return _fire(new, was, slot, rule, reading.instance)
        new["pending_since"] = since
    if bad or hot:
        new["state"] = "PENDING"
        new["since"] = old.get("since") if was == "PENDING" else iso(slot)
    return new, []


def _fire(new: Instance, was: str, slot: datetime, rule: Rule, name: str) -> tuple[Instance, list[Event]]:
    at = iso(slot)
    new.update(state="FIRING", since=at, episode=at, seq=0, told=new["severity"], told_at=at)
    return new, [_told(new, "firing", was, at, rule, name)]


def _within_episode(
    old: Instance, new: Instance, bad: bool, hot: bool, slot: datetime, rule: Rule, name: str
) -> tuple[Instance, list[Event]]:
    at, was = iso(slot), old["state"]
    new.update({k: old[k] for k in ("episode", "seq", "told", "told_at")})
    if not hot:
        closing = {**new, "seq": old["seq"] + 1, "severity": "OK", "state": "OK"}
        if not bad and new["actual_value"] is None:  # it vanished: tell what it showed last
            closing.update({k: old[k] for k in ("actual_value", "threshold", "context")})
        for k in ("episode", "seq", "told", "told_at"):
            del new[k]
        return new, [_told(closing, "recovered", was, at, rule, name, tell=rule.recovered)]
    new["state"] = "FIRING" if bad else "RECOVERING"
    new["since"] = old["since"] if new["state"] == was else at
    if not bad:
        new["severity"] = old["severity"]
        return new, []
    kind = None
    if RANK[new["severity"]] > RANK[old["told"]]:
        kind, new["told"] = "worsened", new["severity"]
    elif rule.repeat_every is not None and (slot - parse(old["told_at"])).total_seconds() >= rule.repeat_every:
        kind = "repeat"
    if kind is None:
        return new, []
    new.update(seq=old["seq"] + 1, told_at=at)
    return new, [_told(new, kind, was, at, rule, name)]


def _told(instance: Instance, kind: str, was: str, at: str, rule: Rule, name: str, *, tell: bool = True) -> Event:
    return event(
        rule,
        kind,
        slot=at,
        episode=instance["episode"],
        seq=instance["seq"],
        severity=instance["severity"],
        state=instance["state"],
        previous_state=was,
        tell=tell,
        instance=name,
        facts={k: instance[k] for k in ("key", "actual_value", "threshold", "context")},
    )


# ── the rule's own health ────────────────────────────────────────────────────────────────────────────────────────


def _health(
    old: Mapping[str, Any] | None, evaluation: Evaluation, slot: datetime, rule: Rule
) -> tuple[dict[str, Any] | None, list[Event]]:
    at, policy = iso(slot), _policy(evaluation, rule)
    events: list[Event] = []
    same = old is not None and old["state"] == evaluation.outcome
    if old is not None and not same and old.get("told_at"):
        events.append(_of_health(old, f"{old['state'].lower()}_over", old["seq"] + 1, at, rule, tell=rule.recovered))
    if policy is None:
        return None, events
    new: dict[str, Any] = {"state": evaluation.outcome, "policy": policy, "since": at, "seq": -1, "told_at": None}
    if same and old is not None:
        new.update({k: old[k] for k in ("since", "seq", "told_at")})
    if evaluation.error is not None:
        new["error"] = dict(evaluation.error)
    if policy == "error" and _due(new["told_at"], slot, rule):
        new.update(seq=new["seq"] + 1, told_at=at)
        events.append(_of_health(new, evaluation.outcome.lower(), new["seq"], at, rule))
    return new, events


def _due(told_at: str | None, slot: datetime, rule: Rule) -> bool:
    if told_at is None:
        return True
    return rule.repeat_every is not None and (slot - parse(told_at)).total_seconds() >= rule.repeat_every


def _of_health(health: Mapping[str, Any], kind: str, seq: int, at: str, rule: Rule, *, tell: bool = True) -> Event:
    over = kind.endswith("_over")
    return event(
        rule,
        kind,
        slot=at,
        episode=health["since"],
        seq=seq,
        severity="OK" if over else "ALERT",
        state="OK" if over else health["state"],
        previous_state=health["state"] if over else "OK",
        tell=tell,
        facts={"error": health["error"], "principal": rule.principal.name} if "error" in health else {},
    )
