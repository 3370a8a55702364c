"""The Queue port on one Storage queue. Messages are base64, which is what the Functions queue trigger reads."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from core.errors import ConfigInvalid, Error, ResourceLimit
from handlers.azure.clients import STORAGE, Identity, parted
from handlers.azure.errors import mapped

PERMISSION = "Microsoft.Storage/storageAccounts/queueServices/queues/messages/add/action"
EXAMPLE = "https://ACCOUNT.queue.core.windows.net/QUEUE"
MAX_BYTES = 48 * 1_024
"""A message has 64 KiB as base64."""
DEFAULT_NAME = "omnisentinel-jobs"
CONNECTION = "JobsStorage"
"""The app settings that begin so say where the queue is and as whom it is read; the host keeps its own files apart."""


def queue_name(url: str) -> str:
    """The queue's name in its URL; ``omnisentinel-jobs`` where none is set, so that the trigger always has one."""
    return url.rstrip("/").rpartition("/")[2] or DEFAULT_NAME


class StorageQueue:
    """``url``: of the queue."""

    def __init__(self, identity: Identity, url: str) -> None:
        self._identity, self._url = identity, url
        self._made: Any = None

    def send(self, body: Mapping[str, Any]) -> None:
        text = orjson.dumps(body)
        if len(text) > MAX_BYTES:
            raise ResourceLimit(f"A message of {len(text)} bytes is too large for a queue: at most {MAX_BYTES}.")
        client = self._client()

        def meaning(_status: int, code: str) -> Error | None:
            if code in ("QueueNotFound", "QueueBeingDeleted"):
                return ConfigInvalid(f"There is no queue {self._url}: create it, or set OMNI_QUEUE.", key="OMNI_QUEUE")
            return None

        with mapped("Queue Storage", f"queue {queue_name(self._url)!r}", PERMISSION, meaning):
            client.send_message(base64.b64encode(text).decode())

    def _client(self) -> Any:
        if self._made is None:
            if not self._url:
                raise ConfigInvalid(f"There is no queue: set OMNI_QUEUE to its URL, {EXAMPLE}.", key="OMNI_QUEUE")
            account, (name,) = parted(self._url, "OMNI_QUEUE", EXAMPLE, segments=1)
            from azure.storage.queue import QueueClient

            self._made = QueueClient(account, name, credential=self._identity.credential(), **STORAGE)
        return self._made
