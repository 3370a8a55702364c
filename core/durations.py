"""Durations as users write them: 200ms, 90s, 10m, 2h, 1d."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def seconds(value: Any) -> float:
    """The duration in seconds. A bare number is refused: its unit would be a guess. Raises ValueError."""
    if isinstance(value, float | int) and not isinstance(value, bool) and value == 0:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration; write a number and a unit, such as 200ms, 90s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]
