"""What is worth telling: an event of an alert as a JSON-ready mapping, and its id.

An event holds everything that a message needs, so that it can still be delivered after its alert has left the project::

    id, alert, instance, key, kind, severity, state, previous_state, slot, since, timezone, actual_value, threshold,
    context, description, runbook, place (its file and line), labels, label (the rule's own severity), error?,
    principal? (who asked, of an error), missed?, tell (channels or not)

Kinds: firing, worsened, repeat, recovered of an instance; error, error_over, no_data, no_data_over, missed of the
rule itself. The id is ``alert/instance/episode/kind/seq``; a message adds ``/channel``. The episode is the slot at
which it began: the same story told again, even after the state was lost, has the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.alert.evaluate import SINGLE
from core.model import Rule

OPENING = frozenset({"firing", "error", "no_data"})
CLOSING = frozenset({"recovered", "error_over", "no_data_over"})
OF_RULE = (OPENING | CLOSING) - {"firing", "recovered"}
"""Kinds about the rule's own health."""

Event = dict[str, Any]


def event(
    rule: Rule,
    kind: str,
    *,
    slot: str,
    episode: str,
    seq: int,
    severity: str,
    state: str,
    previous_state: str,
    tell: bool = True,
    instance: str = SINGLE,
    facts: Mapping[str, Any],
) -> Event:
    """``facts``: key, actual_value, threshold, context, error, missed, as far as there are any."""
    return {
        "id": f"{_part(rule.name)}/{instance}/{episode.replace('-', '').replace(':', '')}/{kind}/{seq}",
        "alert": rule.name,
        "instance": instance,
        "key": {},
        "kind": kind,
        "severity": severity,
        "state": state,
        "previous_state": previous_state,
        "slot": slot,
        "since": episode,
        "timezone": rule.timezone,
        "actual_value": None,
        "threshold": None,
        "context": {},
        "description": rule.description[:1_000],
        "runbook": rule.runbook[:1_000],
        "place": rule.place,
        "labels": dict(rule.labels),
        "label": rule.severity,
        "tell": tell,
        **facts,
    }


def message_id(of: Mapping[str, Any], channel: str) -> str:
    """The id under which ``channel`` gets this event, the same at every attempt."""
    return f"{of['id']}/{_part(channel)}"


def is_repeat(of: Mapping[str, Any]) -> bool:
    """Whether it tells again what an earlier message of its episode told."""
    return of["kind"] == "repeat" or (of["kind"] in ("error", "no_data") and not of["id"].endswith("/0"))


def _part(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
