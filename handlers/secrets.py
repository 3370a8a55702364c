"""What the clouds' Secrets ports share: a value is kept for a minute, and dropped for who was refused with it."""

from __future__ import annotations

import time
from collections.abc import Callable

SECRET_TTL_S = 60.0


class KeptSecrets:
    """``core.ports.Secrets`` over ``_fetch``, which asks the cloud. ``monotonic``: seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, str]] = {}

    def get(self, name: str) -> str:
        kept = self._kept.get(name)
        now = self._monotonic()
        if kept is None or now - kept[0] >= SECRET_TTL_S:
            kept = self._kept[name] = (now, self._fetch(name))
        return kept[1]

    def forget(self, name: str) -> bool:
        """Drop the value: a rotation is picked up."""
        return self._kept.pop(name, None) is not None

    def _fetch(self, name: str) -> str:
        """The newest value. Raises as ``core.ports.Secrets`` says."""
        raise NotImplementedError
