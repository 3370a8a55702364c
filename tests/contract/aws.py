"""AWS's ports against an emulator, as ``conftest`` wants them; ``platform_aws_*`` name the emulator."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from core.ports import Owner, Secrets, Store
from core.settings import Settings
from handlers.aws.platform import SECRET_TTL_S, AwsOwner, AwsSecrets, Clients
from handlers.aws.store import DynamoStore
from tests.runtimes.ministack import client, create_table

Stores = Callable[[Path], AbstractContextManager[Store]]
SecretsMade = Callable[[Path], AbstractContextManager[tuple[Secrets, Callable[[str, str | None], None]]]]


def stores(endpoint: Callable[[], str]) -> Stores:
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
    dynamodb = client("dynamodb", url)
    store = _Addressed(lambda: dynamodb, table)
    store.address = address
    return store


def address(store: Store) -> str:
    assert isinstance(store, _Addressed)
    return store.address


def secrets_of(endpoint: Callable[[], str]) -> SecretsMade:
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

        yield AwsSecrets(_Known(endpoint()), prefix, lambda: now[0]), put

    return secrets


class _Known(Clients):
    """Clients with the emulator's credentials, whatever this machine's are."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(Settings(endpoint_url=endpoint), {})
        self._made = {"secretsmanager": client("secretsmanager", endpoint)}


@contextmanager
def owner(_folder: Path) -> Iterator[Owner]:
    yield AwsOwner("2026/01/31/[$LATEST]0123456789abcdef")
