"""The Keys port on Cloud KMS: data keys are encrypted by a symmetric key that never leaves it.

Tenant and context are the additional authenticated data, as canonical JSON. Checksums go both ways, as Google asks:
what was damaged on the way is neither kept nor used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError
from handlers.gcp.errors import ATTEMPT_S, mapped, patient
from handlers.gcp.names import fitting

_KEY = r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+"
_WRAP, _UNWRAP = "cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt"


class GcpKeys:
    """``client()`` gives a KeyManagementServiceClient; ``key``: its name, with ``{tenant}`` filled in."""

    def __init__(self, client: Callable[[], Any], key: str) -> None:
        self._client, self._key = client, key

    def wrap(self, tenant: str, key: bytes, context: Mapping[str, str]) -> bytes:
        name, bound = self._name(tenant), _bound(tenant, context)
        with mapped("Cloud KMS", f"key {name!r}", _WRAP, lambda code: _meaning(code, name, "wraps")):
            request = {
                "name": name, "plaintext": key, "plaintext_crc32c": _crc(key),
                "additional_authenticated_data": bound, "additional_authenticated_data_crc32c": _crc(bound),
            }  # fmt: skip
            found = self._client().encrypt(request, retry=patient(), timeout=ATTEMPT_S)
        verified = found.verified_plaintext_crc32c and found.verified_additional_authenticated_data_crc32c
        if not verified or _crc(found.ciphertext) != found.ciphertext_crc32c:
            raise _damaged(name)
        return bytes(found.ciphertext)

    def unwrap(self, tenant: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        name, bound = self._name(tenant), _bound(tenant, context)
        with mapped("Cloud KMS", f"key {name!r}", _UNWRAP, lambda code: _meaning(code, name, "opens")):
            request = {
                "name": name, "ciphertext": wrapped, "ciphertext_crc32c": _crc(wrapped),
                "additional_authenticated_data": bound, "additional_authenticated_data_crc32c": _crc(bound),
            }  # fmt: skip
            found = self._client().decrypt(request, retry=patient(), timeout=ATTEMPT_S)
        if _crc(found.plaintext) != found.plaintext_crc32c:
            raise _damaged(name)
        return bytes(found.plaintext)

    def _name(self, tenant: str) -> str:
        fitting(_KEY, self._key, "OMNI_KEY", "projects/P/locations/L/keyRings/R/cryptoKeys/K")
        if "{tenant}" in self._key and not re.fullmatch(r"[\w-]{1,63}", tenant, re.ASCII):
            raise ConfigInvalid(
                f"The tenant {tenant[:80]!r} cannot have a Cloud KMS key of its own: the names of keys take letters, "
                "digits, '-' and '_', at most 63.", tenant=tenant[:80],
            )  # fmt: skip
        return self._key.replace("{tenant}", tenant)


def _bound(tenant: str, context: Mapping[str, str]) -> bytes:
    """Canonical: one text for one tenant and context, whatever is in them."""
    return orjson.dumps({"context": dict(context), "tenant": tenant}, option=orjson.OPT_SORT_KEYS)


def _crc(data: bytes) -> int:
    import google_crc32c

    return int(google_crc32c.value(bytes(data)))


def _meaning(code: str, name: str, verb: str) -> Error | None:
    told: dict[str, Any] = {"key": name, "google_code": code, "service": "Cloud KMS"}
    if code == "INVALID_ARGUMENT" and verb == "opens":
        return SourceAuth(f"The key {name!r} does not open this: another tenant or context, or altered bytes.", **told)
    if code == "FAILED_PRECONDITION":
        return SourceAuth(f"The key {name!r} is disabled, destroyed or of another kind: it {verb} nothing.", **told)
    if code == "NOT_FOUND":
        return ConfigInvalid(f"There is no key {name!r}: create it, or set OMNI_KEY to the one to use.", key=name)
    return None


def _damaged(name: str) -> SourceError:
    return SourceError(f"What Cloud KMS answered for the key {name!r} was damaged on its way: try again.", key=name)
