"""The laptop's keys: one file a tenant, 32 random bytes, AES-GCM around data keys."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from core.errors import SourceAuth, SourceError

_NONCE = 12


class LocalKeys:
    """A tenant's key is made at its first ``wrap``, in ``TENANT.key`` (mode 0600). Renamed to ``TENANT.disabled`` it
    opens nothing until it is renamed back; deleted, what was wrapped with it is lost for good."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wrap(self, tenant: str, key: bytes, context: Mapping[str, str]) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key(tenant, make=True)).encrypt(nonce, key, _bound(tenant, context))

    def unwrap(self, tenant: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, sealed = wrapped[:_NONCE], wrapped[_NONCE:]
        try:
            if len(sealed) < 16:
                raise InvalidTag
            return AESGCM(self._key(tenant, make=False)).decrypt(nonce, sealed, _bound(tenant, context))
        except InvalidTag:
            raise SourceAuth(
                f"The data key does not open with the key of tenant {tenant!r}: it was altered, or wrapped for another "
                "tenant or purpose.", tenant=tenant,
            ) from None  # fmt: skip

    def _key(self, tenant: str, *, make: bool) -> bytes:
        file = self._folder / f"{quote(tenant, safe='').replace('.', '%2E')}.key"
        try:
            if make and not file.exists() and not file.with_suffix(".disabled").exists():
                self._make(file)
            return file.read_bytes()
        except FileNotFoundError:
            raise SourceAuth(
                f"The key of tenant {tenant!r} is disabled or gone: there is no {file}.", tenant=tenant, file=str(file)
            ) from None
        except OSError as error:
            raise SourceError(f"The key {file} cannot be used: {error.strerror}.", file=str(file)) from None

    def _make(self, file: Path) -> None:
        """Written whole beside its place, then linked: of two processes that make it one wins, and both read that."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = file.with_name(f".{os.urandom(8).hex()}")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123 (the mode)
                out.write(os.urandom(32))
            file.hardlink_to(draft)
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)


def _bound(tenant: str, context: Mapping[str, str]) -> bytes:
    return json.dumps([tenant, sorted(context.items())]).encode()
