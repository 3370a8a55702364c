"""A slot as text: the instant a schedule fired for."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.errors import ConfigInvalid

_FRACTION = re.compile(r"\.(\d+)(?=Z|[+-]|$)")


def instant(text: str, key: str) -> datetime:
    """An ISO 8601 instant with its zone, in UTC, cut to the second: no slot is finer, though clouds send nanoseconds.

    Raises ConfigInvalid that names ``key``.
    """
    try:
        found = datetime.fromisoformat(_FRACTION.sub("", text.strip()))
        if found.tzinfo is None:
            raise ValueError("no zone")
        return found.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ConfigInvalid(
            f"{key!r} has to be an instant with its zone such as 2026-01-31T09:00:00Z, not {text[:60]!r}.", key=key
        ) from None
