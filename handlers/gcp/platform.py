"""Google Cloud's ports: Secret Manager, Firestore, Cloud Storage, Pub/Sub, Cloud KMS, Cloud Scheduler, and who this
instance is.

All with Google's own clients. None is imported before it is used: they cost a cold start 50 to 200 ms each, and watch
on a database needs two of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from core.ports import Platform
from core.settings import Settings
from handlers.gcp.clients import Clients
from handlers.gcp.keys import GcpKeys
from handlers.gcp.objects import GcpObjects
from handlers.gcp.payload import MAX_ANSWER_BYTES
from handlers.gcp.queue import GcpQueue
from handlers.gcp.scheduler import GcpScheduler
from handlers.gcp.secrets import PREFIX, GcpSecrets
from handlers.gcp.store import FirestoreStore, place


def platform(settings: Settings, env: Mapping[str, str], _root: Path | None = None) -> Platform:
    """The ports of one project. Makes no call yet; raises ConfigInvalid where OMNI_STORE_TABLE is of another form."""
    clients = Clients(settings)
    project, database, collection = place(settings.store_table)
    prefix = settings.secret_prefix
    if not re.fullmatch(PREFIX, prefix):  # told when a secret is asked for; it may be anything, a password in it too
        prefix = "(OMNI_SECRET_PREFIX is of another form)"
    return Platform(
        name="gcp",
        secrets=GcpSecrets(clients.secrets, settings.secret_prefix),
        store=FirestoreStore(lambda: clients.firestore(project, database), collection),
        owner=GcpOwner(env.get("K_REVISION", "")),
        objects=GcpObjects(clients.storage, settings.objects),
        queue=GcpQueue(clients.publisher, settings.queue),
        scheduler=GcpScheduler(clients.scheduler, settings),
        keys=GcpKeys(clients.kms, settings.key),
        facts={
            "state": f"Firestore collection {settings.store_table}",
            "secrets": f"Secret Manager, {prefix}*",
        },
        answer_bytes=MAX_ANSWER_BYTES,
    )


class GcpOwner:
    """This instance of a revision. Whether another has ended cannot be known here: its lease's expiry decides."""

    def __init__(self, revision: str) -> None:
        self._name = f"gcp:{revision or 'local'}:{os.urandom(6).hex()}"

    def name(self) -> str:
        return self._name

    def gone(self, owner: str) -> bool:
        return False
