"""Counts of requests in Prometheus' text format, for ``omni serve``. The clouds count in their own monitoring."""

from __future__ import annotations

import threading


class Metrics:
    """Requests by route pattern and status (never by path: a path is the caller's to choose)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        with self._lock:
            count, total = self._seen.get((route, status), (0, 0.0))
            self._seen[route, status] = (count + 1, total + seconds)

    def render(self) -> bytes:
        with self._lock:
            seen = sorted(self._seen.items())
        lines = [
            "# HELP omni_http_request_seconds Time to answer HTTP requests.",
            "# TYPE omni_http_request_seconds summary",
        ]
        for (route, status), (count, total) in seen:
            labels = f'{{route="{route}",status="{status}"}}'
            lines += [f"omni_http_request_seconds_count{labels} {count}",
                      f"omni_http_request_seconds_sum{labels} {total:.6f}"]  # fmt: skip
        return ("\n".join(lines) + "\n").encode()
