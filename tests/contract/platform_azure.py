"""Azure's ports on Azurite and fakes of Key Vault and the resource manager; see ``conftest``.

As in a function: a managed identity gets the tokens, and every client is the official one over HTTPS.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.ports import Keys, Objects, Owner, Platform, Queue, Scheduler, Secrets, Store
from core.settings import Settings
from handlers.azure.clients import Identity, vault_name
from handlers.azure.platform import AzureOwner, platform, table_client
from handlers.azure.queue import StorageQueue
from handlers.azure.secrets import VaultSecrets
from handlers.azure.store import TableStore
from handlers.secrets import SECRET_TTL_S
from tests.runtimes.azure_arm import GROUP
from tests.runtimes.azure_cloud import AzureCloud, shared
from tests.runtimes.azure_vault import Secret

PLACES = ("Key Vault", "OMNI_SECRET_PREFIX")
INEXPRESSIBLE = "0 9 1 * *"
ROLE = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/timers"


def ports(cloud: AzureCloud, **changed: Any) -> Platform:
    """The platform as a function has it, with other settings as given."""
    return platform(Settings(**changed), cloud.environment())


@contextmanager
def store(_folder: Path) -> Iterator[Store]:
    cloud, name = shared(), f"state{uuid.uuid4().hex[:12]}"
    with cloud.entered():
        client = table_client(f"{cloud.table}/{name}", Identity(cloud.environment()))()
        client.create_table()
        yield reopen(f"{cloud.table}/{name}")
        client.delete_table()


class _Addressed(TableStore):
    address = ""


def reopen(address: str) -> Store:
    """In another process, too: the identity endpoint and the certificate are in its environment."""
    import os

    made = _Addressed(table_client(address, Identity(os.environ)), address.rpartition("/")[2])
    made.address = address
    return made


def address(store: Store) -> str:
    assert isinstance(store, _Addressed)
    return store.address


@contextmanager
def secrets(_folder: Path) -> Iterator[tuple[Secrets, Callable[[str, str | None], None]]]:
    cloud, prefix, now = shared(), f"{uuid.uuid4().hex[:8]}-", [0.0]

    def put(name: str, value: str | None) -> None:
        """A change is seen when the kept value is a minute old: the clock goes on by that."""
        now[0] += SECRET_TTL_S
        if value is None:
            del cloud.vault.secrets[prefix + vault_name(name)]
        else:
            cloud.vault.secrets[prefix + vault_name(name)] = Secret(value)

    with cloud.entered():
        identity = Identity(cloud.environment())
        yield VaultSecrets(identity, f"{cloud.vault_url}/secrets/{prefix}", lambda: now[0]), put


@contextmanager
def owner(_folder: Path) -> Iterator[Owner]:
    yield AzureOwner("0123456789abcdef")


@contextmanager
def objects(_folder: Path) -> Iterator[Objects]:
    cloud, name = shared(), f"objects-{uuid.uuid4().hex[:8]}"
    with cloud.entered():
        made = ports(cloud, objects=f"{cloud.blob}/{name}").objects
        assert made is not None
        container(cloud, name).create_container()
        yield made


def container(cloud: AzureCloud, name: str) -> Any:
    from handlers.azure.objects import container_client

    return container_client(f"{cloud.blob}/{name}", Identity(cloud.environment()))


@contextmanager
def queue(_folder: Path) -> Iterator[tuple[Queue, Callable[[], list[dict[str, Any]]]]]:
    cloud, name = shared(), f"jobs-{uuid.uuid4().hex[:8]}"
    with cloud.entered():
        made = StorageQueue(Identity(cloud.environment()), f"{cloud.queue}/{name}")
        client = made._client()
        client.create_queue()

        def taken() -> list[dict[str, Any]]:
            """As the Functions host does: base64 of the JSON."""
            found = []
            for message in client.receive_messages(messages_per_page=32):
                found.append(json.loads(base64.b64decode(message.content, validate=True)))
                client.delete_message(message)
            return found

        yield made, taken


@contextmanager
def schedulers(_folder: Path) -> Iterator[tuple[Scheduler, Scheduler]]:
    cloud = shared()
    cloud.arm.workflows.clear()

    def made(deployment: str) -> Scheduler:
        found = ports(
            cloud, deployment=deployment, region="westeurope", endpoint_url=cloud.management, schedule_group=GROUP,
            schedule_role=ROLE, schedule_target="https://omni.azurewebsites.net/watch",
            schedule_key="https://omni-keys.vault.azure.net/secrets/host--functionKey--default",
        ).scheduler  # fmt: skip
        assert found is not None
        return found

    with cloud.entered():
        yield made("omni"), made("omni-two")


@contextmanager
def keys(_folder: Path) -> Iterator[tuple[Keys, Callable[[str], None]]]:
    cloud, prefix = shared(), f"{uuid.uuid4().hex[:8]}-"
    for tenant in ("acme", "other"):
        cloud.vault.rotate(prefix + vault_name(tenant))
    with cloud.entered():
        made = ports(cloud, key=f"{cloud.vault_url}/keys/{prefix}{{tenant}}").keys
        assert made is not None
        yield made, lambda tenant: cloud.vault.disabled.add(prefix + vault_name(tenant))
