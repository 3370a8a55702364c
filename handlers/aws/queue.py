"""The Queue port on one SQS queue."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import ConfigInvalid, Error, SourceAuth
from handlers.aws.errors import mapped

_URL = re.compile(r"https?://[^/\s]+/\d{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress"})


class SqsQueue:
    """``client()`` gives a botocore SQS client; ``url``: the queue's."""

    def __init__(self, client: Callable[[], Any], url: str) -> None:
        self._client, self._url = client, url

    def send(self, body: Mapping[str, Any]) -> None:
        if not _URL.fullmatch(self._url):
            raise ConfigInvalid(
                f"OMNI_QUEUE has to be the URL of an SQS queue, not {self._url!r}: "
                "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.",
                key="OMNI_QUEUE",
            )
        text = json.dumps(
            body, separators=(",", ":"), allow_nan=False
        )  # ASCII: SQS refuses some characters, U+FFFE say
        client = self._client()
        with mapped("SQS", f"queue {self._url.rpartition('/')[2]!r}", "sqs:SendMessage", self._meaning):
            client.send_message(QueueUrl=self._url, MessageBody=text)

    def _meaning(self, code: str, _message: str) -> Error | None:
        if code in _MISSING:
            return ConfigInvalid(
                f"There is no SQS queue at {self._url}: create it, or set OMNI_QUEUE and OMNI_REGION.",
                key="OMNI_QUEUE",
            )
        if code.startswith(("KMS.", "Kms")) and "Throttl" not in code:
            return SourceAuth(
                f"SQS may not use the key of the queue {self._url.rpartition('/')[2]!r} ({code}): this function's role "
                "needs kms:GenerateDataKey and kms:Decrypt on it, and the key has to be enabled.",
                service="SQS", permission="kms:GenerateDataKey and kms:Decrypt", aws_code=code,
            )  # fmt: skip
        return None
