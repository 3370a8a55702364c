"""What ``core.ports.Queue`` promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.ports import Queue

Taken = Callable[[], list[dict[str, Any]]]


def test_what_is_sent_is_received_once_it_is_sent(queue: tuple[Queue, Taken]) -> None:
    sender, taken = queue
    bodies: list[dict[str, Any]] = [
        {"job": f"j{i}", "text": 'ü 🙂 "<&>"\n', "n": i, "inner": {"a": [1, None]}} for i in range(3)
    ]
    for body in bodies:
        sender.send(body)
    assert sorted(taken(), key=lambda b: str(b["job"])) == bodies


def test_a_body_of_32_kb_passes(queue: tuple[Queue, Taken]) -> None:
    sender, taken = queue
    body = {"text": "x" * 31_900}
    sender.send(body)
    assert taken() == [body]
