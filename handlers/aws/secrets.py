"""The Secrets port on Secrets Manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from core.errors import ConfigInvalid, Error
from handlers.aws.errors import mapped

SECRET_TTL_S = 60.0


class AwsSecrets:
    """``get`` keeps a value for 60 s; ``forget`` drops it, for who was refused with it: a rotation is picked up."""

    def __init__(self, client: Callable[[], Any], prefix: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client, self._prefix, self._monotonic = client, prefix, monotonic
        self._kept: dict[str, tuple[float, str]] = {}

    def get(self, name: str) -> str:
        kept = self._kept.get(name)
        now = self._monotonic()
        if kept is None or now - kept[0] >= SECRET_TTL_S:
            kept = self._kept[name] = (now, self._fetch(self._prefix + name))
        return kept[1]

    def forget(self, name: str) -> bool:
        return self._kept.pop(name, None) is not None

    def _fetch(self, full: str) -> str:
        client = self._client()

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
