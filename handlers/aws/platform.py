"""AWS's ports: Secrets Manager, DynamoDB, S3, SQS, EventBridge Scheduler, KMS, and who this function instance is.

A client is made when it is first used: making one reads the service's description, 10 to 30 ms. watch needs state and
secrets alone, so the other ports' modules are imported when they are first used as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from core.ports import Keys, Objects, Platform, Queue, Scheduler
from core.settings import Settings
from handlers.aws import payload
from handlers.aws.clients import Clients
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
        objects=cast(Objects, _Later(lambda: _objects(client("s3"), settings))),
        queue=cast(Queue, _Later(lambda: _queue(client("sqs"), settings))),
        scheduler=cast(Scheduler, _Later(lambda: _scheduler(client("scheduler"), settings))),
        keys=cast(Keys, _Later(lambda: _keys(client("kms"), settings))),
        facts={"state": f"DynamoDB table {settings.store_table}",
               "secrets": f"Secrets Manager, {settings.secret_prefix}*"},
        answer_bytes=payload.MAX_PAYLOAD_BYTES,
        answer_size=payload.size,
    )  # fmt: skip


class _Later:
    """A port that is made when one of its methods is first asked for."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        port = self._make()
        self.__dict__.update({one: getattr(port, one) for one in dir(port) if not one.startswith("_")})
        return getattr(port, name)


def _objects(client: Callable[[], Any], settings: Settings) -> Objects:
    from handlers.aws.objects import S3Objects

    return S3Objects(client, settings.objects)


def _queue(client: Callable[[], Any], settings: Settings) -> Queue:
    from handlers.aws.queue import SqsQueue

    return SqsQueue(client, settings.queue)


def _scheduler(client: Callable[[], Any], settings: Settings) -> Scheduler:
    from handlers.aws.scheduler import AwsScheduler

    return AwsScheduler(client, settings)


def _keys(client: Callable[[], Any], settings: Settings) -> Keys:
    from handlers.aws.keys import AwsKeys

    return AwsKeys(client, settings.key)


class AwsOwner:
    """This function instance. Whether another has ended cannot be known here: its lease's expiry decides."""

    def __init__(self, log_stream: str) -> None:
        self._name = f"aws:{log_stream or 'local'}:{os.urandom(6).hex()}"

    def name(self) -> str:
        return self._name

    def gone(self, owner: str) -> bool:
        return False
