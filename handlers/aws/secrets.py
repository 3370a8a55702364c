"""The Secrets port on Secrets Manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from core.errors import ConfigInvalid, Error
from handlers.aws.errors import mapped
from handlers.secrets import KeptSecrets


class AwsSecrets(KeptSecrets):
    """``client()`` gives a client of Secrets Manager; ``prefix`` stands before each name."""

    def __init__(self, client: Callable[[], Any], prefix: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(monotonic)
        self._client, self._prefix = client, prefix

    def _fetch(self, name: str) -> str:
        full, client = self._prefix + name, self._client()

        def meaning(code: str, _message: str) -> Error | None:
            return _missing(full) if code in ("ResourceNotFoundException", "InvalidRequestException") else None

        with mapped("Secrets Manager", f"secret {full!r}", "secretsmanager:GetSecretValue", meaning):
            found = client.get_secret_value(SecretId=full)
        try:
            value = found.get("SecretString") or found.get("SecretBinary", b"").decode()
        except UnicodeDecodeError:
            raise ConfigInvalid(f"The secret {full!r} is neither text nor UTF-8.", secret=full) from None
        if not value:
            raise _missing(full)
        return str(value)


def _missing(full: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"Secrets Manager has no secret {full!r} with a value. Create it, or set OMNI_SECRET_PREFIX to where it is.",
        secret=full,
    )
