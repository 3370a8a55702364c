"""Slack by incoming webhook: blocks within Slack's limits. Option: url (a secret: who knows it can post)."""

from __future__ import annotations

import json
from typing import Any

from core.deadline import Deadline
from core.model import Channel
from core.notify.message import Message, one_line
from core.notify.send import Resolver, SendResult, Wire, exchange, option

MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
_SIGNS = {"alert": ":red_circle:", "warn": ":large_orange_circle:", "ok": ":large_green_circle:"}


def send_slack(message: Message, channel: Channel, resolve: Resolver, wire: Wire, deadline: Deadline) -> SendResult:
    """Post once. Slack has no idempotency key: a repeat after a crash can show twice."""
    url = resolve(option(channel, "url"))
    body = json.dumps(payload(message), ensure_ascii=False).encode("utf-8", "replace")
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "OmniSentinel"}
    return exchange(channel, wire, "POST", url, headers, body, deadline)


def payload(message: Message) -> dict[str, Any]:
    """``text`` is for notifications, ``blocks`` for the eye."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": one_line(message.subject, MAX_HEADER)}},
        _section(f"{_SIGNS[message.tone]} {escaped(message.sentence)}"),
    ]
    if message.advice:
        blocks.append(_section(escaped(message.advice)))
    if message.description:
        blocks.append(_section(escaped(message.description)))
    blocks += _fields(message.facts)
    if message.context:
        lines = "\n".join(f"{name}: {value}" for name, value in message.context)
        blocks.append(_section(f"```{_fitted(escaped(lines).replace('```', ''), MAX_SECTION - 10)}```"))
    if message.runbook:
        blocks.append(_section(f"*Runbook:* {escaped(message.runbook)}"))
    return {"text": escaped(message.subject), "blocks": blocks}


def escaped(text: str) -> str:
    """Slack's three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _fitted(text, MAX_SECTION)}}


def _fields(facts: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    cells = [
        {"type": "mrkdwn", "text": _fitted(f"*{escaped(name)}*\n{escaped(value)}", MAX_FIELD)} for name, value in facts
    ]
    return [{"type": "section", "fields": cells[i : i + MAX_FIELDS]} for i in range(0, min(len(cells), 40), MAX_FIELDS)]


def _fitted(text: str, length: int) -> str:
    """Cut to ``length``, not within an escaped character."""
    if len(text) <= length:
        return text
    cut = text[: length - 1]
    start = cut.rfind("&", len(cut) - 5)
    if start != -1 and ";" not in cut[start:]:
        cut = cut[:start]
    return cut + "…"
