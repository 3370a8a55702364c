"""The canary on Google Cloud: what the numbers of Cloud Monitoring lead to, and how they are asked for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError, TransportError

from core.errors import SourceAuth, SourceError
from infra.deploy.canary import progress
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


def test_status_shows_a_split_that_was_left() -> None:
    assert progress("gcp", LIVE) == {
        name: {"live": f"o-{name}-1", "newest": f"o-{name}-1", "weights": {}} for name in ("ask", "watch")
    }
    found = progress("gcp", SHARED)
    assert found is not None
    assert found["ask"] == {"live": "o-ask-1", "newest": "o-ask-2", "weights": {"o-ask-2": 0.05}}
    taken = {"canary": {"ask": SHARED["canary"]["ask"] | {"percent": 0}}}
    assert progress("gcp", taken) == {"ask": {"live": "o-ask-1", "newest": "o-ask-2", "weights": {}}}


class Flaky:
    """Answers by the list, then 200 for ever."""

    def __init__(self, *answers: int | None) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, _url: str) -> tuple[int, bytes]:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else 200
        if answer is None:
            raise SourceError("Cloud Monitoring cannot be reached (ConnectionError).")
        return answer, b"{}"


def baked(get: Any, seconds: float = 60.0) -> tuple[str | None, list[str], float]:
    said: list[str] = []
    slept: list[float] = []
    found = bake(SHARED, Monitoring("p1", get), said.append, seconds=seconds, sleep=slept.append)
    return found, said, sum(slept)


def test_a_hiccup_of_the_numbers_ends_nothing() -> None:
    why, said, slept = baked(Flaky(500, None, 503, 429, 200, 200, 500, 500, 500, 500))
    assert why is None and slept >= 60.0 + LAG_S
    assert "Cloud Monitoring failed (500). It is asked again in 30 s." in said
    assert "Cloud Monitoring cannot be reached (ConnectionError). It is asked again in 30 s." in said


@pytest.mark.parametrize(
    ("answer", "says"), [(500, "failed (500)"), (None, "cannot be reached"), (429, "failed (429)")]
)
def test_what_cannot_be_watched_has_to_go(answer: int | None, says: str) -> None:
    get = Flaky(*[answer] * 100)
    why, _, slept = baked(get, 3_600.0)
    assert why is not None and why.startswith("it could not be watched: ") and says in why
    assert (get.asked, slept) == (5, 120.0)


def test_the_last_look_has_to_be_one_that_saw_something() -> None:
    get = Flaky(*[200] * 2 * 8, *[500] * 4)
    why, _, slept = baked(get)
    assert why is None and slept > 60.0 + LAG_S, "it looks again before it gives all calls away"
    why, _, _ = baked(Flaky(*[200] * 2 * 8, *[500] * 5))
    assert why is not None


def test_an_answer_that_is_no_json_is_a_failure_of_theirs() -> None:
    with pytest.raises(SourceError, match="no JSON"):
        Monitoring("p1", lambda _url: (200, b"<html>"))("s", "r")


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_look_decides_nothing(status: int) -> None:
    get = Flaky(status)
    with pytest.raises(SourceAuth, match=r"monitoring\.timeSeries\.list.*keep their share"):
        baked(get)
    assert get.asked == 1, "at once"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefreshError("revoked", retryable=False), SourceAuth),
        (RefreshError("later", retryable=True), SourceError),
        (TransportError("no route"), SourceError),
    ],
)
def test_a_token_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type) -> None:
    class Expired(Credentials):  # type: ignore[misc] # google-auth has no types
        def refresh(self, _request: Any) -> None:
            raise error

    monkeypatch.setattr("google.auth.default", lambda **_: (Expired(), "p1"))
    with pytest.raises(kind):
        Monitoring("p1")("s", "r")
