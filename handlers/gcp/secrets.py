"""The Secrets port on Secret Manager."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from core.errors import ConfigInvalid, Error, SourceError
from handlers.gcp.errors import ATTEMPT_S, mapped, patient
from handlers.gcp.names import fitting
from handlers.secrets import KeptSecrets

PREFIX = r"projects/[^/]+/secrets/[\w-]*"
_ACCESS = "secretmanager.versions.access"
_LIST = "secretmanager.versions.list"


class GcpSecrets(KeptSecrets):
    """``client()`` gives a SecretManagerServiceClient. ``prefix``: ``projects/P/secrets/omnisentinel-``."""

    def __init__(self, client: Callable[[], Any], prefix: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(monotonic)
        self._client, self._prefix = client, prefix

    def _fetch(self, name: str) -> str:
        fitting(PREFIX, self._prefix, "OMNI_SECRET_PREFIX", "projects/P/secrets/omnisentinel-")
        full = self._prefix + name
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", name):
            raise ConfigInvalid(
                f"{name[:80]!r} is not a name of a secret in Secret Manager: it takes letters, digits, '-' and '_'.",
                secret=name[:80],
            )
        found = self._accessed(full, "latest")
        if found is None:  # the newest version is disabled or destroyed
            newest = self._newest_enabled(full)
            found = None if newest is None else self._accessed(full, newest)
        if found is None:
            raise ConfigInvalid(
                f"Every version of the secret {full!r} is disabled or destroyed. Enable one, or add a new one.",
                secret=full,
            )
        return _text(full, found)

    def _accessed(self, full: str, version: str) -> Any:
        """The version's payload; None where it is disabled or destroyed. Raises ConfigInvalid where it is absent."""
        from google.api_core.exceptions import FailedPrecondition

        with mapped("Secret Manager", f"secret {full!r}", _ACCESS, lambda code: _missing(full, code)):
            try:
                request = {"name": f"{full}/versions/{version}"}
                return self._client().access_secret_version(request, retry=patient(), timeout=ATTEMPT_S).payload
            except FailedPrecondition:
                return None

    def _newest_enabled(self, full: str) -> str | None:
        with mapped("Secret Manager", f"versions of the secret {full!r}", _LIST, lambda code: _missing(full, code)):
            request = {"parent": full, "filter": "state:ENABLED", "page_size": 25}
            listed = self._client().list_secret_versions(request, retry=patient(), timeout=ATTEMPT_S)
            return max((str(v.name).rpartition("/")[2] for v in listed), key=int, default=None)


def _missing(full: str, code: str) -> Error | None:
    if code != "NOT_FOUND":
        return None
    return ConfigInvalid(
        f"Secret Manager has no secret {full!r} with a value. Create it with a version, or set OMNI_SECRET_PREFIX to "
        "where it is.", secret=full,
    )  # fmt: skip


def _text(full: str, payload: Any) -> str:
    import google_crc32c

    data = bytes(payload.data)
    if payload.data_crc32c and int(google_crc32c.value(data)) != payload.data_crc32c:
        raise SourceError(f"The value of the secret {full!r} was damaged on its way: try again.", secret=full)
    try:
        value = data.decode()
    except UnicodeDecodeError:
        raise ConfigInvalid(f"The secret {full!r} is not UTF-8 text.", secret=full) from None
    if not value:
        raise ConfigInvalid(f"The secret {full!r} is empty. Add a version with a value.", secret=full)
    return value
