"""The canary on Google Cloud: what the numbers of Cloud Monitoring lead to, and how they are asked for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.errors import SourceAuth, SourceError
from infra.deploy.canary_gcp import LAG_S, Monitoring, Seen, back, bake, first, split

LIVE = {"canary": {
    "ask": {"percent": 100, "revision": "o-ask-1", "service": "o-ask", "stable": None},
    "watch": {"percent": 100, "revision": "o-watch-1", "service": "o-watch", "stable": None},
}}  # fmt: skip
SHARED = {"canary": {
    "ask": {"percent": 5, "revision": "o-ask-2", "service": "o-ask", "stable": "o-ask-1"},
    "watch": {"percent": 100, "revision": "o-watch-1", "service": "o-watch", "stable": None},
}}  # fmt: skip


def test_the_first_deployment_has_nothing_to_share_with() -> None:
    assert first({}) is None
    assert first(LIVE) == {"percent": 5, "stable": {"ask": "o-ask-1", "watch": "o-watch-1"}}


def test_after_a_canary_that_was_left_or_taken_back_the_old_revision_goes_on_serving() -> None:
    assert first(SHARED) == {"percent": 5, "stable": {"ask": "o-ask-1", "watch": "o-watch-1"}}
    assert back(SHARED) == {"percent": 0, "stable": {"ask": "o-ask-1"}}
    assert split(LIVE) == {}


class Metrics:
    """Tells one thing after another, and then the last for ever."""

    def __init__(self, *told: Seen) -> None:
        self.told, self.asked = list(told), 0

    def __call__(self, service: str, revision: str) -> Seen:
        assert (service, revision) == ("o-ask", "o-ask-2")
        self.asked += 1
        return self.told[min(self.asked, len(self.told)) - 1]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ((Seen(0, 0, None), Seen(100, 2, 900.0)), None),
        ((Seen(0, 0, None),), None),
        ((Seen(10, 0, 500.0), Seen(20, 2, 500.0)), "ask failed in 2 of 20 calls"),
        ((Seen(1, 1, 500.0),), "ask failed in 1 of 1 calls"),
        ((Seen(10, 0, 500.0), Seen(20, 0, 12_000.0)), "ask took 12.0 s"),
    ],
)
def test_what_is_counted_decides(told: tuple[Seen, ...], why: str | None) -> None:
    slept: list[float] = []
    said: list[str] = []
    found = bake(SHARED, Metrics(*told), said.append, seconds=600.0, sleep=slept.append)
    assert (found or "").startswith(why) if why else found is None
    if why is None:
        assert sum(slept) == pytest.approx(600.0 + LAG_S), "to the end, and as long as the numbers may be late"
    else:
        assert sum(slept) < 60.0, "at once"
    if told == (Seen(0, 0, None),):
        assert "ask: nobody called it" in said


def series(number: int, kind: str) -> dict[str, Any]:
    return {"metric": {"labels": {"response_code_class": kind}}, "points": [{"value": {"int64Value": str(number)}}]}


def test_the_numbers_are_asked_for_by_revision() -> None:
    asked: list[dict[str, list[str]]] = []

    def get(url: str) -> tuple[int, bytes]:
        assert urlsplit(url).path == "/v3/projects/p1/timeSeries"
        query = parse_qs(urlsplit(url).query)
        asked.append(query)
        if "request_latencies" in query["filter"][0]:
            return 200, json.dumps({"timeSeries": [{"points": [{"value": {"doubleValue": 812.5}}]}]}).encode()
        return 200, json.dumps({"timeSeries": [series(18, "2xx"), series(2, "5xx"), series(5, "4xx")]}).encode()

    assert Monitoring("p1", get)("o-ask", "o-ask-2") == Seen(25, 2, 812.5)
    for query in asked:
        assert 'service_name="o-ask"' in query["filter"][0] and 'revision_name="o-ask-2"' in query["filter"][0]
        assert query["interval.startTime"][0].endswith("Z")


def test_nobody_called_is_no_error() -> None:
    assert Monitoring("p1", lambda _url: (200, b"{}"))("s", "r") == Seen(0, 0, None)


@pytest.mark.parametrize(("status", "kind"), [(403, SourceAuth), (500, SourceError)])
def test_numbers_that_cannot_be_had_decide_nothing(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"keep their share|monitoring\.timeSeries\.list"):
        bake(SHARED, Monitoring("p1", lambda _url: (status, b"")), lambda _t: None, seconds=60.0, sleep=lambda _s: None)
