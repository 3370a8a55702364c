"""The Keys port on KMS: a data key is encrypted under the tenant's key, bound to tenant and context.

The binding is KMS's own encryption context, ``{"tenant": ..., "context:NAME": ...}``. CloudTrail shows it, which is
why none of it may be secret, and a key policy can ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError, SourceTimeout
from handlers.aws.errors import mapped

_KEY = re.compile(
    r"(arn:aws[\w-]*:kms:[\w-]+:\d{12}:)?(alias/[A-Za-z0-9/_{}-]{1,250}|(key/)?(mrk-)?[0-9a-fA-F-]{32,36})"
)
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,200}")
_MAX_WRAPPED = 6_144
_NOT_THERE = frozenset({"NotFoundException", "InvalidArnException", "InvalidKeyUsageException"})
_OFF = frozenset({"DisabledException", "KMSInvalidStateException", "KeyUnavailableException"})
_ALTERED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_BUSY = frozenset({"DependencyTimeoutException", "KMSInternalException"})


class AwsKeys:
    """``client()`` gives a botocore KMS client; ``key``: an ARN, an id or an alias, ``{tenant}`` in it is filled in."""

    def __init__(self, client: Callable[[], Any], key: str) -> None:
        self._client, self._key = client, key

    def wrap(self, tenant: str, key: bytes, context: Mapping[str, str]) -> bytes:
        name = self._name(tenant)
        client = self._client()
        with mapped("KMS", f"key {name!r}", "kms:Encrypt", _meaning(name, tenant)):
            done = client.encrypt(KeyId=name, Plaintext=key, EncryptionContext=_bound(tenant, context))
        return bytes(done["CiphertextBlob"])

    def unwrap(self, tenant: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        name = self._name(tenant)
        if not 0 < len(wrapped) <= _MAX_WRAPPED:
            raise _refused(tenant, "length")
        client = self._client()
        with mapped("KMS", f"key {name!r}", "kms:Decrypt", _meaning(name, tenant)):
            done = client.decrypt(KeyId=name, CiphertextBlob=wrapped, EncryptionContext=_bound(tenant, context))
        return bytes(done["Plaintext"])

    def _name(self, tenant: str) -> str:
        if not _KEY.fullmatch(self._key):
            raise ConfigInvalid(
                f"OMNI_KEY has to be the ARN, id or alias of a KMS key, not {self._key!r}: "
                "alias/omnisentinel-{tenant}, for one.",
                key="OMNI_KEY",
            )
        if "{tenant}" not in self._key:
            return self._key
        if not _TENANT.fullmatch(tenant):
            raise ConfigInvalid(
                f"The tenant {tenant!r} cannot be part of a KMS alias: use letters, digits, - and _, or an OMNI_KEY "
                "without {tenant}.", key="OMNI_KEY", tenant=tenant,
            )  # fmt: skip
        return self._key.replace("{tenant}", tenant)


def _bound(tenant: str, context: Mapping[str, str]) -> dict[str, str]:
    return {"tenant": tenant, **{f"context:{name}": value for name, value in context.items()}}


def _meaning(name: str, tenant: str) -> Callable[[str, str], Error | None]:
    def meaning(code: str, _message: str) -> Error | None:
        if code in _ALTERED:
            return _refused(tenant, code)
        if code in _OFF:
            return SourceAuth(f"The KMS key {name!r} is disabled or waits for its deletion ({code}).",
                              service="KMS", tenant=tenant, aws_code=code)  # fmt: skip
        if code in _NOT_THERE:
            return ConfigInvalid(
                f"There is no KMS key {name!r} here that encrypts: create it, or set OMNI_KEY and OMNI_REGION.",
                key="OMNI_KEY", aws_code=code,
            )  # fmt: skip
        if code in _BUSY:
            kind = SourceTimeout if "Timeout" in code else SourceError
            return kind(f"KMS failed on the key {name!r} ({code}). Try again.", service="KMS", aws_code=code)
        return None

    return meaning


def _refused(tenant: str, code: str) -> SourceAuth:
    return SourceAuth(
        f"KMS does not open this data key for the tenant {tenant!r} ({code}): it was altered, or wrapped for another "
        "tenant, key or context.", service="KMS", tenant=tenant, aws_code=code,
    )  # fmt: skip
