"""AWS's ports against ministack; see ``conftest``."""

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
from tests.runtimes.ministack import Ministack, shared

__all__ = [
    "INEXPRESSIBLE", "PLACES", "address", "keys", "objects", "owner", "queue", "reopen", "schedulers", "secrets",
    "store",
]  # fmt: skip

WRONG = {
    "test_altered_bytes_do_not_open": "ministack's ciphertexts carry no authentication: altered ones open to rubbish",
}
PLACES = ("Secrets Manager", "OMNI_SECRET_PREFIX")


def _endpoint() -> str:
    return shared(Ministack).url


store = stores(_endpoint)
secrets = secrets_of(_endpoint)
objects = objects_of(_endpoint)
queue = queue_of(_endpoint)
schedulers = schedulers_of(_endpoint)
keys = keys_of(_endpoint)
