"""AWS's ports against moto; see ``conftest``."""

from __future__ import annotations

from tests.contract.aws import (
    INEXPRESSIBLE,
    address,
    keys_of,
    objects_of,
    owner,
    queue_of,
    reopen,
    schedulers_of,
    secrets_of,
    stores,
)
from tests.runtimes.ministack import Moto, shared

__all__ = [
    "INEXPRESSIBLE", "PLACES", "address", "keys", "objects", "owner", "queue", "reopen", "schedulers", "secrets",
    "store",
]  # fmt: skip

WRONG = {"test_a_disabled_key_opens_nothing": "moto decrypts with a disabled key"}
PLACES = ("Secrets Manager", "OMNI_SECRET_PREFIX")


def _endpoint() -> str:
    return shared(Moto).url


store = stores(_endpoint)
secrets = secrets_of(_endpoint)
objects = objects_of(_endpoint)
queue = queue_of(_endpoint)
schedulers = schedulers_of(_endpoint)
keys = keys_of(_endpoint)
