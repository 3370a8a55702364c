"""Azure's ports: Key Vault, Table Storage, Blob Storage, a Storage queue, Logic Apps, and who this instance is.

Each client, and the part of Azure's SDK behind it, is imported when its port is first used: **watch** pays for the
table and the vault only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.ports import Platform
from core.settings import Settings
from handlers.azure.clients import NETWORK, Identity, parted, shown
from handlers.azure.keys import VaultKeys
from handlers.azure.objects import BlobObjects
from handlers.azure.queue import StorageQueue
from handlers.azure.scheduler import LogicApps
from handlers.azure.secrets import VaultSecrets
from handlers.azure.store import TableStore

TABLE_EXAMPLE = "https://ACCOUNT.table.core.windows.net/TABLE"


def platform(settings: Settings, env: Mapping[str, str], _root: Path | None = None) -> Platform:
    """The ports of this subscription. Makes no call yet; a setting of the wrong shape is told when its port is used."""
    identity = Identity(env)
    return Platform(
        name="azure",
        secrets=VaultSecrets(identity, settings.secret_prefix),
        store=TableStore(table_client(settings.store_table, identity), settings.store_table.rpartition("/")[2]),
        owner=AzureOwner(env.get("WEBSITE_INSTANCE_ID", "") or env.get("CONTAINER_NAME", "")),
        objects=BlobObjects(identity, settings.objects),
        queue=StorageQueue(identity, settings.queue),
        scheduler=LogicApps(identity, settings),
        keys=VaultKeys(identity, settings.key),
        facts={
            "state": f"Azure table {shown(settings.store_table, 'OMNI_STORE_TABLE')}",
            "secrets": f"Key Vault, {shown(settings.secret_prefix, 'OMNI_SECRET_PREFIX')}*",
        },
    )


def table_client(url: str, identity: Identity) -> Callable[[], Any]:
    """A function that gives the azure.data.tables.TableClient, made at its first call. It raises ConfigInvalid for a
    URL of another shape, and SourceAuth."""
    made: list[Any] = []

    def client() -> Any:
        if not made:
            account, (table,) = parted(url, "OMNI_STORE_TABLE", TABLE_EXAMPLE, segments=1)
            from azure.data.tables import TableClient

            made.append(TableClient(account, table, credential=identity.credential(), **NETWORK))
        return made[0]

    return client


class AzureOwner:
    """This function instance. Whether another has ended cannot be known here: its lease's expiry decides."""

    def __init__(self, instance: str) -> None:
        self._name = f"azure:{instance[:24] or 'local'}:{os.urandom(6).hex()}"

    def name(self) -> str:
        return self._name

    def gone(self, owner: str) -> bool:
        return False
