"""API key -> principal. The keys are secrets of the platform, compared in constant time and never kept in text."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping

from core.errors import ConfigInvalid, Unauthenticated
from core.model import Principal
from core.ports import Secrets
from core.project import PrincipalConfig

SECRET = "secret:"  # noqa: S105 (a prefix, no password)
REFRESH_S = 60.0
RETRY_S = 2.0


class Identities:
    """``principals`` of a project. A rotated key is picked up within seconds: an unknown key makes all be read again.

    That is done at most every few seconds, for anybody can send unknown keys.
    """

    def __init__(
        self,
        principals: Mapping[str, PrincipalConfig],
        secrets: Secrets,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._principals = principals
        self._secrets = secrets
        self._now = monotonic
        self._digests: dict[bytes, str] = {}
        self._read_at = float("-inf")

    def by_key(self, bearer: str) -> Principal:
        """Raises Unauthenticated, with one text for every reason; the secret manager's own error where it fails."""
        wanted = _digest(bearer)
        age = self._now() - self._read_at
        if bearer and (age > REFRESH_S or (wanted not in self._digests and age > RETRY_S)):
            self._read()
        for known, name in self._digests.items():
            if hmac.compare_digest(known, wanted):
                return self._principals[name].principal
        raise Unauthenticated(
            "The API key is not known. Send `Authorization: Bearer <key>` of a principal in omni.yaml."
        )

    def _read(self) -> None:
        digests: dict[bytes, str] = {}
        for name, config in self._principals.items():
            if config.key is None:
                continue
            if not config.key.startswith(SECRET):
                raise ConfigInvalid(
                    f"principals.{name}.key has to be a reference such as secret:{name}_key.", key="key"
                )
            try:
                value = self._secrets.get(config.key.removeprefix(SECRET))
            except ConfigInvalid as error:
                # One principal's missing key must not lock the others out, nor be told to a stranger.
                logging.getLogger("omni.identity").warning("principal %s has no key: %s", name, error.message)
                continue
            if value:
                digests[_digest(value)] = name
        self._digests = digests
        self._read_at = self._now()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
