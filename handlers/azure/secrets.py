"""Key Vault's secrets: ``secret:ann_key`` is the secret ``<prefix>ann-key``, see ``clients.vault_name``."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from core.errors import ConfigInvalid, Error
from handlers.azure.clients import NETWORK, Identity, parted, vault_name
from handlers.azure.errors import mapped
from handlers.secrets import KeptSecrets

PERMISSION = "Microsoft.KeyVault/vaults/secrets/getSecret/action (the role Key Vault Secrets User)"
_EXAMPLE = "https://VAULT.vault.azure.net/secrets/omnisentinel-"
_MAX_NAME = 127


def secret_client(vault: str, identity: Identity) -> Any:
    """An azure.keyvault.secrets.SecretClient."""
    from azure.keyvault.secrets import SecretClient

    own = not vault.endswith(".azure.net")  # an emulator, or another cloud's domain: the challenge names another host
    return SecretClient(vault, identity.credential(), verify_challenge_resource=not own, **NETWORK)


class VaultSecrets(KeptSecrets):
    """``prefix``: the URL of a secret, up to what stands before each name. ``clock``: seconds since the epoch."""

    def __init__(
        self, identity: Identity, prefix: str, monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        super().__init__(monotonic)
        self._identity, self._prefix, self._clock = identity, prefix, clock
        self._client: Any = None

    def _fetch(self, name: str) -> str:
        vault, (kind, before) = parted(
            self._prefix + "x" * self._prefix.endswith("/"), "OMNI_SECRET_PREFIX", _EXAMPLE, segments=2
        )
        if kind != "secrets":
            raise ConfigInvalid(f"OMNI_SECRET_PREFIX has to be a URL such as {_EXAMPLE}.", key="OMNI_SECRET_PREFIX")
        full = ("" if self._prefix.endswith("/") else before) + vault_name(name)
        if len(full) > _MAX_NAME:
            raise ConfigInvalid(f"The secret's name {full[:80]!r} is longer than the {_MAX_NAME} letters of Key Vault.",
                                secret=name[:80])  # fmt: skip
        if self._client is None:
            self._client = secret_client(vault, self._identity)

        def meaning(status: int, code: str) -> Error | None:
            if status == 404:
                return _missing(name, full, vault, "has no")
            return _missing(name, full, vault, "has a disabled") if code == "SecretDisabled" else None

        with mapped("Key Vault", f"secret {full!r}", PERMISSION, meaning):
            found = self._client.get_secret(full)
        self._check_times(name, full, vault, found.properties)
        if not found.value:
            raise _missing(name, full, vault, "has an empty")
        return str(found.value)

    def _check_times(self, name: str, full: str, vault: str, properties: Any) -> None:
        """Key Vault gives a secret out whatever its dates say; whoever set them meant them."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        if properties.enabled is False:
            raise _missing(name, full, vault, "has a disabled")
        if properties.expires_on is not None and properties.expires_on <= now:
            raise _missing(name, full, vault, "has an expired")
        if properties.not_before is not None and properties.not_before > now:
            raise _missing(name, full, vault, "has a not yet valid")


def _missing(name: str, full: str, vault: str, state: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"Key Vault {vault} {state} secret {full!r} for secret:{name}. Set it there, or set OMNI_SECRET_PREFIX to "
        "where it is.",
        secret=full,
    )
