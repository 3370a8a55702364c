"""API key -> principal. The keys are secrets of the platform, compared in constant time and never kept in text."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from core.errors import ConfigInvalid, Unauthenticated
from core.model import Principal
from core.ports import Secrets
from core.project import PrincipalConfig

SECRET = "secret:"  # noqa: S105
REFRESH_S = 60.0


class Identities:
    """``principals`` of a project. A rotated key is picked up within a minute, or at once when a known one fails."""

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
        """Raises Unauthenticated, with one text for every reason; ConfigInvalid where a key's secret is missing."""
        wanted = _digest(bearer)
        if not bearer or self._now() - self._read_at > REFRESH_S or wanted not in self._digests:
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
            value = self._secrets.get(config.key.removeprefix(SECRET))
            if value:
                digests[_digest(value)] = name
        self._digests = digests
        self._read_at = self._now()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
