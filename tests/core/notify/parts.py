"""Events as the watch half makes them, secrets, and the real wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from core.alert import state
from core.alert.evaluate import evaluate, failed
from core.alert.event import message_id
from core.deadline import Deadline
from core.errors import ConfigInvalid, SourceTimeout
from core.model import Channel
from core.notify.send import SendResult, send
from core.wire import Wire
from tests.core.alert.parts import ALERT, NOTHING, OK, START, WARN, answer, rule


class FixedSecrets:
    """Secrets from a dict."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = dict(values or {})

    def get(self, name: str) -> str:
        if name not in self.values:
            raise ConfigInvalid(f"The secret {name!r} is not set.", secret=name)
        return self.values[name]

    def forget(self, name: str) -> bool:
        return False


def deliver(
    event: Mapping[str, Any],
    channel: Channel,
    *,
    secrets: Mapping[str, str] | None = None,
    smtp: Mapping[str, Any] | None = None,
    allow: tuple[str, ...] = ("127.0.0.1",),
    seconds: float = 10.0,
) -> SendResult:
    """Send as the App does."""
    kept = FixedSecrets(secrets)
    wire = Wire(kept, network_allow=allow)
    try:
        return send(event, channel, secrets=kept, wire=wire, smtp=smtp or {}, deadline=Deadline(seconds))
    finally:
        wire.close()


def events(channel: str = "hook", **changes: Any) -> dict[str, dict[str, Any]]:
    """One message of every kind."""
    of = rule(repeat_every=60.0, **changes)
    item: dict[str, Any] | None = None
    found: dict[str, dict[str, Any]] = {}
    seen = [OK, WARN, ALERT, ALERT, OK, SourceTimeout("shop did not answer within 5 s"), NOTHING, OK]
    for i, says in enumerate(seen):
        evaluation = failed(says, "rq") if isinstance(says, SourceTimeout) else evaluate(says, of, "rq")
        item, told = state.step(item, evaluation, START + timedelta(minutes=i), of)
        found.update({e["kind"]: e for e in told})
    _, found["missed"] = state.missed(item, [START + timedelta(hours=i) for i in (1, 2)], of, capped=False)
    return {kind: as_message(e, channel) for kind, e in found.items()}


def firing(channel: str = "hook", columns: tuple[str, ...] = (), row: tuple[Any, ...] = (), **changes: Any) -> Any:
    """A firing event with more columns."""
    of = rule(**changes)
    says = answer(("ALERT", "1234.50", 1000, *row), columns=("status", "actual_value", "threshold", *columns))
    _, (event,) = state.step(None, evaluate(says, of, "rq"), START, of)
    return as_message(event, channel)


def as_message(event: dict[str, Any], channel: str) -> dict[str, Any]:
    return {**{k: v for k, v in event.items() if k != "tell"}, "id": message_id(event, channel), "channel": channel}
