"""An event of an alert (see ``core.alert.event``) becomes words for people. Pure; each channel lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    ``sentence``: what happened. ``facts`` and ``context``: (name, value) pairs of text. ``runbook``: a link or text.
    ``event``: the event itself, JSON-ready.
    """

    id: str
    thread: str
    alert: str
    tone: str
    title: str
    subject: str
    sentence: str
    facts: tuple[tuple[str, str], ...]
    context: tuple[tuple[str, str], ...]
    description: str
    runbook: str
    event: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All of it as plain text."""
        parts = [self.sentence]
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
    key = ", ".join(f"{name}={text_of(value)}" for name, value in event["key"].items())
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
        facts=_facts(event, key),
        context=tuple((str(name), text_of(value)) for name, value in event["context"].items()),
        description=str(event.get("description") or ""),
        runbook=str(event.get("runbook") or ""),
        event=event,
    )


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


def _title(event: Mapping[str, Any]) -> str:
    kind, severity = event["kind"], str(event["severity"])
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
    error = event.get("error") or {}
    sentences = {
        "firing": f"{about} is {severity}.",
        "worsened": f"{about} got worse and is {severity} now. It has been bad since {since}.",
        "repeat": f"{about} is still {severity}, since {since}.",
        "recovered": f"{about} is OK again. It had been bad since {since}.",
        "error": f"{about} cannot be checked: {error.get('message', 'its query fails')}",
        "error_over": f"{about} can be checked again. It could not be since {since}.",
        "no_data": f"The query of {about} returns no rows.",
        "no_data_over": f"The query of {about} returns rows again. It returned none since {since}.",
        "missed": "",
    }
    if event["kind"] == "missed":
        missed = event["missed"]
        return (
            f"{about} was not checked: {_count(missed)} missed from {local_time(missed['first'], zone)} "
            f"to {local_time(missed['last'], zone)}. Was the scheduler down?"
        )
    return sentences.get(event["kind"], f"{about}: {event['kind']}")


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
    facts.append(("Checked at", local_time(event["slot"], event["timezone"])))
    if event["since"] != event["slot"]:
        facts.append(("Since", local_time(event["since"], event["timezone"])))
    facts += [(str(name), str(value)) for name, value in event["labels"].items()]
    return tuple(facts)


def _aligned(pairs: tuple[tuple[str, str], ...]) -> str:
    width = min(max((len(name) for name, _ in pairs), default=0), 30)
    return "\n".join(f"{name + ':':<{width + 1}} {value}" for name, value in pairs)
