"""One budget of time per request; every wait asks it how much is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import SourceTimeout


class Deadline:
    """A point on the monotonic clock. ``seconds`` is the whole budget from now on."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds
        self.seconds = seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - self._monotonic())

    def need(self, what: str) -> float:
        """Seconds left, or SourceTimeout naming ``what`` when nothing is left."""
        left = self.left()
        if left <= 0:
            raise SourceTimeout(
                f"Time ran out after {self.seconds:g} s while waiting for {what}. Raise the timeout or ask for less.",
                waiting_for=what,
            )
        return left
