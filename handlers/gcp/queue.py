"""The Queue port on a Pub/Sub topic, whose subscription pushes to **work**."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from core.errors import ConfigInvalid, Error
from handlers.gcp.errors import ATTEMPT_S, mapped, patient
from handlers.gcp.names import fitting


class GcpQueue:
    """``client()`` gives a google.pubsub_v1.PublisherClient; ``topic``: ``projects/P/topics/T``."""

    def __init__(self, client: Callable[[], Any], topic: str) -> None:
        self._client, self._topic = client, topic

    def send(self, body: Mapping[str, Any]) -> None:
        fitting(r"projects/[^/]+/topics/[^/]+", self._topic, "OMNI_QUEUE", "projects/P/topics/T")
        request = {"topic": self._topic, "messages": [{"data": orjson.dumps(body)}]}
        with mapped("Pub/Sub", f"topic {self._topic!r}", "pubsub.topics.publish", self._meaning):
            self._client().publish(request, retry=patient(), timeout=ATTEMPT_S)

    def _meaning(self, code: str) -> Error | None:
        if code != "NOT_FOUND":
            return None
        return ConfigInvalid(
            f"There is no Pub/Sub topic {self._topic!r}: create it, or set OMNI_QUEUE to the one to use.",
            topic=self._topic,
        )
