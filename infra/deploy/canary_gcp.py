"""The canary on Google Cloud: Terraform splits the calls between two revisions, this watches the new one and decides.

What Cloud Monitoring counted of the new revision is read every half minute: calls, those that failed (5xx), and the
95th percentile of their time. Too many errors, or too slow, and the calls go back; else they all come over in the end.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from core.errors import SourceAuth, SourceError

PERCENT = 5
POLL_S = 30.0
UNSEEN = 5
"""Polls in a row that may fail, two and a half minutes."""
LAG_S = 180.0
"""Cloud Monitoring tells of a call up to three minutes later."""
MOST_ERRORS = 0.05
SLOWEST_MS: Mapping[str, float] = {"ask": 10_000.0, "watch": 60_000.0, "work": math.inf}
_SCOPE = "https://www.googleapis.com/auth/monitoring.read"
_MONITORING = "https://monitoring.googleapis.com"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a revision did: ``calls``, ``failed`` ones, and ``p95_ms`` (None where nobody called)."""

    calls: int
    failed: int
    p95_ms: float | None


def first(outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The module's variable ``canary`` for a deployment after this one: what serves now keeps all but 5 % of the calls.
    None before the first deployment."""
    told: Mapping[str, Mapping[str, Any]] = outputs.get("canary") or {}
    stable = {name: one.get("stable") or one["revision"] for name, one in told.items()}
    return {"stable": stable, "percent": PERCENT} if stable else None


def back(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The variable that gives all calls to what served before."""
    return {"stable": split(outputs), "percent": 0}


def split(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Function -> the revision that it shares its calls with; those that share none are not in it."""
    return {name: str(one["stable"]) for name, one in (outputs.get("canary") or {}).items() if one.get("stable")}


def progress(outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where each function's calls go, as the last apply left it: ``{name: {"live", "newest", "weights"}}``."""
    told: Mapping[str, Mapping[str, Any]] = outputs.get("canary") or {}
    return {name: _shares(one) for name, one in told.items()} or None


def _shares(one: Mapping[str, Any]) -> dict[str, Any]:
    newest = str(one["revision"])
    if not one.get("stable"):
        return {"live": newest, "newest": newest, "weights": {}}
    percent = float(one.get("percent") or 0)
    return {"live": str(one["stable"]), "newest": newest, "weights": {newest: percent / 100} if percent else {}}


def bake(
    outputs: Mapping[str, Any],
    metrics: Callable[[str, str], Seen],
    note: Callable[[str], None],
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Watch the new revisions for ``seconds``, and longer for what is told late. Returns why they have to go, or None.

    ``metrics(service, revision)``: what was counted since the beginning. Without any call there is nothing to hold
    against a revision, and that is said. A SourceError of it is borne a few times in a row; after that the revisions
    have to go, for what nobody watches must not get all calls.
    """
    told: Mapping[str, Mapping[str, Any]] = outputs["canary"]
    shared = {name: told[name] for name in split(outputs)}
    note(f"{', '.join(sorted(shared))}: the new revision takes {PERCENT} % of the calls for {seconds / 60:.0f} minutes")
    left, unseen = seconds + LAG_S, 0
    while True:
        try:
            seen = {name: metrics(str(one["service"]), str(one["revision"])) for name, one in shared.items()}
        except SourceError as error:
            unseen += 1
            if unseen >= UNSEEN:
                return f"it could not be watched: {error.message}"
            note(f"{error.message} It is asked again in {POLL_S:.0f} s.")
        else:
            unseen = 0
            if why := next(filter(None, (_wrong(name, counted) for name, counted in seen.items())), None):
                return why
            if left <= 0:
                break
        sleep(min(POLL_S, left) if left > 0 else POLL_S)
        left -= POLL_S
    for name, counted in seen.items():
        note(
            f"{name}: {counted.calls} calls, {counted.failed} failed" if counted.calls else f"{name}: nobody called it"
        )
    return None


def _wrong(name: str, seen: Seen) -> str | None:
    if seen.calls and seen.failed / seen.calls > MOST_ERRORS:
        return f"{name} failed in {seen.failed} of {seen.calls} calls"
    if seen.p95_ms is not None and seen.p95_ms > SLOWEST_MS[name]:
        return f"{name} took {seen.p95_ms / 1e3:.1f} s (95th percentile), bound {SLOWEST_MS[name] / 1e3:.0f} s"
    return None


class Monitoring:
    """Cloud Monitoring's time series over its REST API, with the credentials that Terraform uses as well.

    ``get(url) -> (status, body)``: for who has a session of their own.
    """

    def __init__(
        self, project: str, get: Callable[[str], tuple[int, bytes]] | None = None, url: str = _MONITORING
    ) -> None:
        self._project, self._url = project, url
        self._get = get or _session()
        self._since = datetime.now(UTC)

    def __call__(self, service: str, revision: str) -> Seen:
        """Raises SourceAuth naming the permission, and SourceError."""
        counted = self._series(service, revision, "request_count", "ALIGN_DELTA", "metric.labels.response_code_class")
        calls = failed = 0
        for one in counted:
            number = sum(int(point["value"].get("int64Value", 0)) for point in one.get("points", ()))
            calls += number
            failed += number if one["metric"]["labels"].get("response_code_class") == "5xx" else 0
        slow = self._series(service, revision, "request_latencies", "ALIGN_PERCENTILE_95", "")
        times = [float(point["value"]["doubleValue"]) for one in slow for point in one.get("points", ())]
        return Seen(calls, failed, max(times, default=None))

    def _series(self, service: str, revision: str, metric: str, aligner: str, group: str) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        asked = {
            "filter": f'metric.type="run.googleapis.com/{metric}" AND resource.labels.service_name="{service}" '
                      f'AND resource.labels.revision_name="{revision}"',
            "interval.startTime": self._since.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "interval.endTime": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "aggregation.alignmentPeriod": f"{max(60, math.ceil((now - self._since).total_seconds()))}s",
            "aggregation.perSeriesAligner": aligner,
        }  # fmt: skip
        if group:
            asked |= {"aggregation.crossSeriesReducer": "REDUCE_SUM", "aggregation.groupByFields": group}
        status, body = self._get(f"{self._url}/v3/projects/{self._project}/timeSeries?{urlencode(asked)}")
        if status in (401, 403):
            raise SourceAuth(
                f"Cloud Monitoring refuses to tell of the canary ({status}): your identity needs "
                "monitoring.timeSeries.list. The new revisions keep their share of calls; say it again, or go back.",
                permission="monitoring.timeSeries.list",
            )  # fmt: skip
        if status != 200:
            raise SourceError(f"Cloud Monitoring failed ({status}).")
        try:
            found: list[dict[str, Any]] = json.loads(body).get("timeSeries", [])
        except ValueError as error:
            raise SourceError("Cloud Monitoring answered what is no JSON.") from error
        return found


def _session() -> Callable[[str], tuple[int, bytes]]:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise SourceAuth(
            "No Google Cloud credentials on this machine: `gcloud auth application-default login`."
        ) from error
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call] # google-auth has no types here

    def get(url: str) -> tuple[int, bytes]:
        from google.auth.exceptions import RefreshError, TransportError
        from requests import RequestException

        try:
            answer = session.get(url, timeout=20)
        except RefreshError as error:
            if error.retryable:
                raise SourceError("Google gives no token for Cloud Monitoring now.") from error
            raise SourceAuth(
                "The Google Cloud credentials of this machine are not taken any more: "
                "`gcloud auth application-default login`. The new revisions keep their share of calls."
            ) from error
        except (RequestException, TransportError) as error:
            raise SourceError(f"Cloud Monitoring cannot be reached ({type(error).__name__}).") from error
        return answer.status_code, answer.content

    return get
