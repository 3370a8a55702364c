"""The Keys port on Key Vault: a random inner key is wrapped there, and seals the data key here.

Key Vault wraps bytes without looking at what they belong to. So the data key is sealed with AES-GCM under a fresh inner
key, tenant and context being its additional data, and Key Vault wraps that inner key. Wrapping is done by the service
and never with a public key kept here: it is the service that knows that a key was disabled.

    version 1:  01 · length of the wrapping key's version, 1 byte · that version · length of the wrapped inner key, 2
                bytes · the wrapped inner key · nonce, 12 bytes · the sealed data key
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Mapping
from typing import Any

import orjson

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError
from handlers.azure.clients import NETWORK, Identity, parted, vault_name
from handlers.azure.errors import mapped

ALGORITHM = "RSA-OAEP-256"
EXAMPLE = "https://VAULT.vault.azure.net/keys/KEY"
_NONCE = 12
_DISABLED = frozenset({"KeyDisabled", "KeyExpired", "KeyNotYetValid", "KeyOperationForbidden"})


class VaultKeys:
    """``key``: the URL of a key, in which ``{tenant}`` stands for the tenant."""

    def __init__(self, identity: Identity, key: str) -> None:
        self._identity, self._key = identity, key
        self._clients: dict[str, Any] = {}

    def wrap(self, tenant: str, key: bytes, context: Mapping[str, str]) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        inner, nonce = os.urandom(32), os.urandom(_NONCE)
        answer = self._call("wrapkey", tenant, "", inner)
        try:
            version = str(answer["kid"]).rstrip("/").rpartition("/")[2].encode()
            wrapped = _unquoted(answer["value"])
            head = struct.pack(f">BB{len(version)}sH", 1, len(version), version, len(wrapped))
        except (KeyError, ValueError, struct.error) as error:
            raise SourceError("Key Vault answered a wrap with no key.", service="Key Vault") from error
        return head + wrapped + nonce + AESGCM(inner).encrypt(nonce, key, _bound(tenant, context))

    def unwrap(self, tenant: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        version, inner_wrapped, nonce, sealed = _opened(wrapped)
        answer = self._call("unwrapkey", tenant, version, inner_wrapped)
        try:
            return AESGCM(_unquoted(answer["value"])).decrypt(nonce, sealed, _bound(tenant, context))
        except (KeyError, ValueError, InvalidTag) as error:
            raise _closed() from error

    def _call(self, action: str, tenant: str, version: str, value: bytes) -> Any:
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        vault, name = self._place(tenant)
        if vault not in self._clients:
            from azure.keyvault.keys import KeyClient

            own = not vault.endswith(".azure.net")
            self._clients[vault] = KeyClient(
                vault, self._identity.credential(), verify_challenge_resource=not own, **NETWORK
            )
        body = {"alg": ALGORITHM, "value": base64.urlsafe_b64encode(value).rstrip(b"=").decode()}
        request = HttpRequest("POST", "/".join(p for p in (f"{vault}/keys", name, version, action) if p), json=body)
        verb = "wrap" if action == "wrapkey" else "unwrap"
        permission = f"Microsoft.KeyVault/vaults/keys/{verb}/action (the role Key Vault Crypto Service Encryption User)"

        def meaning(status: int, code: str) -> Error | None:
            if code in _DISABLED:
                return SourceAuth(f"The key {name!r} in {vault} is disabled or not in force ({code}).",
                                  service="Key Vault", permission=permission)  # fmt: skip
            if status == 404 and not version:
                return ConfigInvalid(
                    f"There is no key {name!r} in {vault}: create it, or set OMNI_KEY.", key="OMNI_KEY"
                )
            if action == "unwrapkey" and status in (400, 404):
                return _closed()
            return None

        with mapped("Key Vault", f"key {name!r}", permission, meaning):
            response = self._clients[vault].send_request(request)
            if response.status_code >= 400:
                raise HttpResponseError(response=response)
            return response.json()

    def _place(self, tenant: str) -> tuple[str, str]:
        if not self._key:
            raise ConfigInvalid(f"There is no key for tenants: set OMNI_KEY to its URL, {EXAMPLE}.", key="OMNI_KEY")
        filled = self._key.replace("{tenant}", vault_name(tenant))
        vault, (kind, name) = parted(filled, "OMNI_KEY", EXAMPLE, segments=2)
        if kind != "keys":
            raise ConfigInvalid(f"OMNI_KEY has to be a URL such as {EXAMPLE}.", key="OMNI_KEY")
        return vault, name


def _bound(tenant: str, context: Mapping[str, str]) -> bytes:
    """Canonical JSON: no two pairs of tenant and context have the same."""
    return orjson.dumps(["omnisentinel", 1, tenant, dict(context)], option=orjson.OPT_SORT_KEYS)


def _opened(wrapped: bytes) -> tuple[str, bytes, bytes, bytes]:
    try:
        kind, length = struct.unpack_from(">BB", wrapped)
        version, inner = struct.unpack_from(f">{length}sH", wrapped, 2)
        at = 2 + length + 2
        parts = (wrapped[at : at + inner], wrapped[at + inner : at + inner + _NONCE], wrapped[at + inner + _NONCE :])
        text = version.decode("ascii")
    except (struct.error, UnicodeDecodeError):
        raise _closed() from None
    if kind != 1 or not text.isalnum() or len(parts[0]) != inner or len(parts[2]) < 16:
        raise _closed()
    return text, *parts


def _unquoted(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _closed() -> SourceAuth:
    return SourceAuth(
        "This wrapped key does not open: it belongs to another tenant or context, or was altered.", service="Key Vault"
    )
