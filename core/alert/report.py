"""A run as scripts see it: what `omni alert run --json` and **watch** return. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from core.alert import state
from core.alert.deliver import Delivered
from core.alert.evaluate import Evaluation
from core.alert.event import Event
from core.alert.slot import iso
from core.model import Rule


def report(
    rule: Rule,
    slot: datetime,
    evaluation: Evaluation,
    before: Any,
    item: dict[str, Any],
    events: Iterable[Event],
    done: Delivered,
) -> dict[str, Any]:
    """One run as scripts see it."""
    old = (before or {}).get("instances", {})
    now = item["instances"]
    shown: dict[str, Any] = {
        "alert": rule.name,
        "slot": iso(slot),
        "outcome": evaluation.outcome,
        "instances": [as_shown(instance, old[name]["state"] if name in old else "OK") for name, instance in now.items()]
        + [
            as_shown({**instance, "state": "OK"}, instance["state"])
            for name, instance in old.items()
            if name not in now
        ],
        "events": [
            {"id": e["id"], "kind": e["kind"], "channels": list(rule.channels) if e["tell"] else []} for e in events
        ],
        "state": state.overall(item),
        **done.facts(),
    }
    if evaluation.error is not None:
        shown["error"] = dict(evaluation.error)
    if evaluation.warnings:
        shown["warnings"] = list(evaluation.warnings)
    return shown


def as_shown(instance: dict[str, Any], previous: str) -> dict[str, Any]:
    """One instance, and the state that it had before."""
    return {
        "key": instance["key"],
        "state": instance["state"],
        "previous_state": previous,
        "severity": instance["severity"],
        "actual_value": instance["actual_value"],
        "threshold": instance["threshold"],
        "context": instance["context"],
    }
