"""AWS's ports: Secrets Manager, DynamoDB, S3, SQS, EventBridge Scheduler, KMS, and who this function instance is.

A client is made when it is first used: making one reads the service's description, 10 to 30 ms.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from core.ports import Platform
from core.settings import Settings
from handlers.aws.clients import Clients
from handlers.aws.keys import AwsKeys
from handlers.aws.objects import S3Objects
from handlers.aws.queue import SqsQueue
from handlers.aws.scheduler import AwsScheduler
from handlers.aws.secrets import AwsSecrets
from handlers.aws.store import DynamoStore


def platform(settings: Settings, env: Mapping[str, str], _root: Path | None = None) -> Platform:
    """The ports of this AWS account and region. Makes no call yet."""
    clients = Clients(settings, env)

    def client(service: str) -> Callable[[], Any]:
        return partial(clients.get, service)

    return Platform(
        name="aws",
        secrets=AwsSecrets(client("secretsmanager"), settings.secret_prefix),
        store=DynamoStore(client("dynamodb"), settings.store_table),
        owner=AwsOwner(env.get("AWS_LAMBDA_LOG_STREAM_NAME", "")),
        objects=S3Objects(client("s3"), settings.objects),
        queue=SqsQueue(client("sqs"), settings.queue),
        scheduler=AwsScheduler(client("scheduler"), settings),
        keys=AwsKeys(client("kms"), settings.key),
        facts={"state": f"DynamoDB table {settings.store_table}",
               "secrets": f"Secrets Manager, {settings.secret_prefix}*"},
    )  # fmt: skip


class AwsOwner:
    """This function instance. Whether another has ended cannot be known here: its lease's expiry decides."""

    def __init__(self, log_stream: str) -> None:
        self._name = f"aws:{log_stream or 'local'}:{os.urandom(6).hex()}"

    def name(self) -> str:
        return self._name

    def gone(self, owner: str) -> bool:
        return False
