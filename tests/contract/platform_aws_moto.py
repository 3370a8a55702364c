"""AWS's ports against moto; see ``conftest``."""

from __future__ import annotations

from tests.contract.aws import address, owner, reopen, secrets_of, stores
from tests.runtimes.ministack import Moto, shared

__all__ = ["PLACES", "address", "owner", "reopen", "secrets", "store"]

PLACES = ("Secrets Manager", "OMNI_SECRET_PREFIX")


def _endpoint() -> str:
    return shared(Moto).url


store = stores(_endpoint)
secrets = secrets_of(_endpoint)
