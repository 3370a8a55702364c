"""AWS's ports against an emulator, as ``conftest`` wants them; ``platform_aws_*`` name the emulator.

What the adapters call is recorded (``CALLS``), for the test that compares it with the policies in Terraform.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from core.ports import Keys, Objects, Owner, Queue, Scheduler, Secrets, Store
from core.settings import Settings
from handlers.aws.keys import AwsKeys
from handlers.aws.objects import S3Objects
from handlers.aws.platform import AwsOwner
from handlers.aws.queue import SqsQueue
from handlers.aws.scheduler import AwsScheduler
from handlers.aws.secrets import AwsSecrets
from handlers.aws.store import DynamoStore
from handlers.secrets import SECRET_TTL_S
from tests.runtimes.ministack import client, create_table

ACCOUNT = "000000000000"
INEXPRESSIBLE = "0 9 1 * 1"
"""Days of the month and of the week both, which EventBridge does not combine as cron does."""

CALLS: dict[str, set[str]] = defaultdict(set)
"""Port -> IAM actions of the calls that its adapter made in this process."""

_ACTIONS = {
    "s3:HeadObject": ("s3:GetObject",),
    "dynamodb:TransactWriteItems": (),  # its items need their own actions, see _actions
}


def recorded(port: str, service: str, url: str) -> Callable[[], Any]:
    """A client of the emulator for the adapter of ``port``, whose calls go to CALLS."""
    made = client(service, url)

    def note(model: Any, params: Any, context: Any, **_: Any) -> None:
        CALLS[port] |= set(_actions(service, model.name, params))

    made.meta.events.register("before-call", note)
    return lambda: made


def _actions(service: str, operation: str, params: Any) -> Iterator[str]:
    """What IAM asks a caller of the operation for."""
    name = f"{service}:{operation}"
    yield from _ACTIONS.get(name, (name,))
    if "x-amz-tagging" in params.get("headers", {}):
        yield "s3:PutObjectTagging"
    if operation == "TransactWriteItems":
        for item in json.loads(params["body"])["TransactItems"]:
            yield from (f"dynamodb:{kind}Item" for kind in item)


Stores = Callable[[Path], AbstractContextManager[Store]]
SecretsMade = Callable[[Path], AbstractContextManager[tuple[Secrets, Callable[[str, str | None], None]]]]
Endpoint = Callable[[], str]


def stores(endpoint: Endpoint) -> Stores:
    @contextmanager
    def store(_folder: Path) -> Iterator[Store]:
        table = f"contract-{uuid.uuid4().hex[:10]}"
        create_table(endpoint(), table)
        yield reopen(f"{endpoint()} {table}")
        client("dynamodb", endpoint()).delete_table(TableName=table)

    return store


class _Addressed(DynamoStore):
    address = ""


def reopen(address: str) -> Store:
    url, _, table = address.partition(" ")
    store = _Addressed(recorded("store", "dynamodb", url), table)
    store.address = address
    return store


def address(store: Store) -> str:
    assert isinstance(store, _Addressed)
    return store.address


def secrets_of(endpoint: Endpoint) -> SecretsMade:
    @contextmanager
    def secrets(_folder: Path) -> Iterator[tuple[Secrets, Callable[[str, str | None], None]]]:
        prefix, now = f"{uuid.uuid4().hex[:8]}/", [0.0]
        manager = client("secretsmanager", endpoint())

        def put(name: str, value: str | None) -> None:
            """A change is seen when the kept value is a minute old: the clock goes on by that."""
            now[0] += SECRET_TTL_S
            if value is None:
                manager.delete_secret(SecretId=prefix + name, ForceDeleteWithoutRecovery=True)
                return
            try:
                manager.create_secret(Name=prefix + name, SecretString=value)
            except manager.exceptions.ResourceExistsException:
                manager.put_secret_value(SecretId=prefix + name, SecretString=value)

        yield AwsSecrets(recorded("secrets", "secretsmanager", endpoint()), prefix, lambda: now[0]), put

    return secrets


@contextmanager
def owner(_folder: Path) -> Iterator[Owner]:
    yield AwsOwner("2026/01/31/[$LATEST]0123456789abcdef")


def objects_of(endpoint: Endpoint) -> Callable[[Path], AbstractContextManager[Objects]]:
    @contextmanager
    def objects(_folder: Path) -> Iterator[Objects]:
        bucket = f"contract-{uuid.uuid4().hex[:10]}"
        client("s3", endpoint()).create_bucket(Bucket=bucket)
        yield S3Objects(recorded("objects", "s3", endpoint()), bucket)

    return objects


def queue_of(
    endpoint: Endpoint,
) -> Callable[[Path], AbstractContextManager[tuple[Queue, Callable[[], list[dict[str, Any]]]]]]:
    @contextmanager
    def queue(_folder: Path) -> Iterator[tuple[Queue, Callable[[], list[dict[str, Any]]]]]:
        sqs = client("sqs", endpoint())
        url = sqs.create_queue(QueueName=f"contract-{uuid.uuid4().hex[:10]}")["QueueUrl"]

        def taken() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                found += [json.loads(one["Body"]) for one in got]
                for one in got:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            return found

        yield SqsQueue(recorded("queue", "sqs", endpoint()), url), taken

    return queue


def schedulers_of(endpoint: Endpoint) -> Callable[[Path], AbstractContextManager[tuple[Scheduler, Scheduler]]]:
    """Two deployments in one group, whose names begin alike: the harder case, for Terraform gives each its own."""

    @contextmanager
    def schedulers(_folder: Path) -> Iterator[tuple[Scheduler, Scheduler]]:
        group = f"contract-{uuid.uuid4().hex[:10]}"
        client("scheduler", endpoint()).create_schedule_group(Name=group)

        def made(deployment: str) -> Scheduler:
            return AwsScheduler(recorded("scheduler", "scheduler", endpoint()), settings(group, deployment))

        yield made("omni"), made("omni-a")

    return schedulers


def settings(group: str, deployment: str) -> Settings:
    """What a timer needs to know."""
    return Settings(
        deployment=deployment, schedule_group=group,
        schedule_target=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{deployment}-watch:live",
        schedule_role=f"arn:aws:iam::{ACCOUNT}:role/{deployment}-timers",
    )  # fmt: skip


def keys_of(endpoint: Endpoint) -> Callable[[Path], AbstractContextManager[tuple[Keys, Callable[[str], None]]]]:
    """A key for each of two tenants, by alias."""

    @contextmanager
    def keys(_folder: Path) -> Iterator[tuple[Keys, Callable[[str], None]]]:
        kms, prefix = client("kms", endpoint()), f"alias/contract-{uuid.uuid4().hex[:8]}"
        ids: dict[str, str] = {}
        for tenant in ("acme", "other"):
            ids[tenant] = kms.create_key()["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=f"{prefix}-{tenant}", TargetKeyId=ids[tenant])
        made = AwsKeys(recorded("keys", "kms", endpoint()), f"{prefix}-{{tenant}}")
        yield made, lambda tenant: kms.disable_key(KeyId=ids[tenant])

    return keys
