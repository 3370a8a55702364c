"""An event of an alert (see ``core.alert.event``) becomes words for people. Pure; each channel lays them out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

_TITLES = {
    "recovered": "RECOVERED",
    "error": "BROKEN",
    "error_over": "WORKING AGAIN",
    "no_data": "NO DATA",
    "no_data_over": "DATA AGAIN",
    "missed": "MISSED",
}
_MAX_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Message:
    """``id`` is the same at every attempt. ``thread`` is shared by all messages of one episode.

    ``tone``: alert | warn | ok. ``title``: one or two words. ``subject``: one line without control characters.
    ``sentence``: what happened. ``advice``: what to do, where that is known. ``facts`` and ``context``: (name, value)
    pairs of text. ``runbook``: a link or text.
    ``event``: the event itself, JSON-ready.
    """

    id: str
    thread: str
    alert: str
    tone: str
    title: str
    subject: str
    sentence: str
    advice: str
    facts: tuple[tuple[str, str], ...]
    context: tuple[tuple[str, str], ...]
    description: str
    runbook: str
    event: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All of it as plain text."""
        parts = [self.sentence, self.advice]
        if self.description:
            parts.append(self.description)
        parts.append(_aligned(self.facts))
        if self.context:
            parts.append(_aligned(self.context))
        if self.runbook:
            parts.append(f"Runbook: {self.runbook}")
        return "\n\n".join(p for p in parts if p) + "\n"


def message(event: Mapping[str, Any]) -> Message:
    """Put the event into words."""
    title = _title(event)
    key = _key(event)
    about = f"{event['alert']} ({key})" if key else str(event["alert"])
    gist = _gist(event)
    return Message(
        id=str(event["id"]),
        thread="/".join((*str(event["id"]).split("/")[:3], str(event.get("channel", "")))),
        alert=str(event["alert"]),
        tone={"ALERT": "alert", "WARN": "warn"}.get(event["severity"], "ok"),
        title=title,
        subject=one_line(f"[{title}] {about}" + (f": {gist}" if gist else ""), _MAX_SUBJECT),
        sentence=_sentence(event, about),
        advice=_advice(event),
        facts=_facts(event, key),
        context=tuple((str(name), text_of(value)) for name, value in event["context"].items()),
        description=str(event.get("description") or ""),
        runbook=str(event.get("runbook") or ""),
        event=event,
    )


_ALARMS = frozenset({"firing", "worsened", "repeat"})
_PLACEHOLDER = re.compile(r"\{(alert_name|alert|status|severity|actual_value|threshold|key)\}")


def with_subject(message: Message, template: str) -> Message:
    """The message under a subject of the user's own; a blank one changes nothing.

    Placeholders become text, once and literally; other braces stay. What is no alarm says so in front, unless
    ``{status}`` does: a subject such as ``Alert: {alert_name}`` was written with alarms in mind.
    """
    event = message.event
    values = {
        "alert_name": message.alert,
        "alert": message.alert,
        "status": message.title,
        "severity": str(event.get("label") or event["severity"]),
        "actual_value": "-" if event["actual_value"] is None else text_of(event["actual_value"]),
        "threshold": "-" if event["threshold"] is None else text_of(event["threshold"]),
        "key": _key(event),
    }
    text = one_line(_PLACEHOLDER.sub(lambda found: values[found[1]], template), _MAX_SUBJECT)
    if not text:
        return message
    if event["kind"] not in _ALARMS and "{status}" not in template:
        text = one_line(f"[{message.title}] {text}", _MAX_SUBJECT)
    return replace(message, subject=text)


def one_line(text: str, length: int) -> str:
    """The text on one line, without control characters, at most ``length`` long."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def text_of(value: Any) -> str:
    """A JSON value as a person reads it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def local_time(iso: str, zone: str) -> str:
    """``2026-01-31 10:00:00 CET (Europe/Berlin)``; in UTC where the zone is not known here."""
    at = datetime.fromisoformat(iso)
    known = _zone(zone)
    if known is None:
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    shown = at.astimezone(known).strftime("%Y-%m-%d %H:%M:%S %Z")
    return shown if zone == "UTC" else f"{shown} ({zone})"


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _key(event: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={text_of(value)}" for name, value in event["key"].items())


def _title(event: Mapping[str, Any]) -> str:
    kind, severity = event["kind"], str(event["severity"])
    if kind in ("error", "no_data") and event["since"] != event["slot"]:
        return f"STILL {_TITLES[kind]}"
    if kind == "repeat":
        return f"STILL {severity}"
    if kind == "worsened":
        return f"NOW {severity}"
    return _TITLES.get(kind, severity)


def _gist(event: Mapping[str, Any]) -> str:
    if event["kind"] in ("error", "error_over"):
        return str((event.get("error") or {}).get("code", ""))
    if event["kind"] == "missed":
        return _count(event["missed"])
    if event["actual_value"] is None:
        return ""
    threshold = "" if event["threshold"] is None else f" (threshold {text_of(event['threshold'])})"
    return text_of(event["actual_value"]) + threshold


def _count(missed: Mapping[str, Any]) -> str:
    n = missed["count"]
    return f"{'at least ' if missed['capped'] else ''}{n} run{'' if n == 1 else 's'}"


def _sentence(event: Mapping[str, Any], about: str) -> str:
    zone = event["timezone"]
    since = local_time(event["since"], zone)
    severity = event["severity"]
    again = event["since"] != event["slot"]
    why = (event.get("error") or {}).get("message", "its query fails")
    sentences = {
        "firing": f"{about} is {severity}.",
        "worsened": f"{about} got worse and is {severity} now. It has been bad since {since}.",
        "repeat": f"{about} is still {severity}, since {since}.",
        "recovered": f"{about} is OK again. It had been bad since {since}.",
        "error": f"{about} {'still ' * again}cannot be checked, so nothing watches it: {why}",
        "error_over": f"{about} can be checked again. It could not be since {since}.",
        "no_data": f"The query of {about} {'still ' * again}returns no rows.",
        "no_data_over": f"The query of {about} returns rows again. It returned none since {since}.",
    }
    if event["kind"] == "missed":
        missed = event["missed"]
        times = f"{local_time(missed['first'], zone)} to {local_time(missed['last'], zone)}"
        when = f"from {times}" if missed["count"] > 1 else f"at {local_time(missed['first'], zone)}"
        return f"{about} missed {_count(missed)} {when}: nothing watched it then. Was the scheduler down?"
    return sentences.get(event["kind"], f"{about}: {event['kind']}")


_LATER = "Look whether the source is up. It is tried again at its next run."
_TO_DO = {
    "SQL_SYNTAX": "Mend its query{place}.",
    "SQL_REJECTED": "Mend its query{place}.",
    "CONFIG_INVALID": "Mend what the message names{place}.",
    "ENTITLEMENT_DENIED": "It asks as {principal!r}: give that principal a policy, or mend the query{place}.",
    "SOURCE_AUTH": "Renew the credential that the message names.",
    "RESOURCE_LIMIT": "Make its query{place} ask for less: filter, or aggregate.",
    "INTERNAL": "It is our defect: the log of the process that ran it says where.",
}


def _advice(event: Mapping[str, Any]) -> str:
    """What to do, for somebody who was woken by it."""
    kind, name = event["kind"], shlex.quote(str(event["alert"]))
    place = f" in {event['place']}" if event.get("place") else ""
    if kind == "error":
        hint = _TO_DO.get((event.get("error") or {}).get("code", ""), _LATER)
        known = hint.format(place=place, principal=str(event.get("principal", "")))
        return f"{known} To try it: omni alert run {name} --dry-run"
    if kind == "no_data":
        return f"Look whether its data came. What no row means is said by no_data{place}."
    if kind == "missed":
        return (
            "See that its scheduler and the sweep run: omni serve, cron, or the cloud's timers. "
            f"What ran: omni alert history {name}"
        )
    return ""


def _facts(event: Mapping[str, Any], key: str) -> tuple[tuple[str, str], ...]:
    facts = [("Alert", str(event["alert"]))]
    if key:
        facts.append(("Instance", key))
    if event["actual_value"] is not None:
        facts.append(("Value", text_of(event["actual_value"])))
    if event["threshold"] is not None:
        facts.append(("Threshold", text_of(event["threshold"])))
    if event.get("label"):
        facts.append(("Severity", str(event["label"])))
    if event.get("error"):
        facts.append(("Error", str(event["error"]["code"])))
    if event["kind"] == "error" and event["error"].get("request_id"):
        facts.append(("Request", str(event["error"]["request_id"])))
    facts += _times(event)
    facts += [(str(name), str(value)) for name, value in event["labels"].items()]
    return tuple(facts)


def _times(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    zone = event["timezone"]
    if event["kind"] == "missed":
        first, last = event["missed"]["first"], event["missed"]["last"]
        return [("First missed", local_time(first, zone))] + [("Last missed", local_time(last, zone))] * (first != last)
    named = "Tried at" if event["kind"] == "error" else "Checked at"
    since = [("Since", local_time(event["since"], zone))] if event["since"] != event["slot"] else []
    return [(named, local_time(event["slot"], zone)), *since]


def _aligned(pairs: tuple[tuple[str, str], ...]) -> str:
    width = min(max((len(name) for name, _ in pairs), default=0), 30)
    return "\n".join(f"{name + ':':<{width + 1}} {value}" for name, value in pairs)
