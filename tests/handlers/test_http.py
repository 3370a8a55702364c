"""The HTTP edge over an App that is ten lines: what is accepted, what is refused, and what an error looks like."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from core import errors
from core.errors import ConfigInvalid, EntitlementDenied, Internal, RateLimitExhausted, SourceTimeout
from handlers.http import MAX_BODY_BYTES, HttpRequest, HttpResponse, respond
from handlers.metrics import Metrics
from tests.handlers.fake import NOW, PEOPLE, FakeApp

ANN = {"Authorization": "Bearer viewer-key"}
OPS = {"authorization": "bearer operator-key"}


def call(
    app: Any, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **more: Any
) -> HttpResponse:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    query = more.pop("query", {})
    return respond(app, HttpRequest(method, path, ANN if headers is None else headers, query, raw), **more)


def error(response: HttpResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.body)["error"]
    return found


def test_a_query_reaches_the_app_with_its_options_and_its_asker() -> None:
    app = FakeApp()
    response = call(app, "POST", "/v1/query", {
        "sql": "SELECT 1", "params": {"a": 1}, "max_staleness_ms": 0, "timeout_ms": 1500, "mode": "sync",
        "dialect": "duckdb",
    }, headers={**ANN, "X-Request-Id": "r-1"})  # fmt: skip
    assert response.status == 200
    assert json.loads(response.body)["rows"] == [[1]]
    ((_, ask),) = app.asked
    assert (ask.principal, ask.params, ask.max_staleness_ms, ask.timeout_s) == (PEOPLE["viewer-key"], {"a": 1}, 0, 1.5)
    assert (ask.origin, ask.request_id) == ("http", "r-1")


def test_the_platforms_clock_bounds_the_query() -> None:
    app = FakeApp()
    call(app, "POST", "/v1/query", {"sql": "SELECT 1", "timeout_ms": 20_000}, time_left_s=2.5)
    assert app.asked[0][1].timeout_s == 2.5
    response = call(app, "POST", "/v1/query", {"sql": "SELECT 1"}, time_left_s=0.0)
    assert (response.status, error(response)["code"]) == (504, "SOURCE_TIMEOUT")
    assert len(app.asked) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 5_000, "not JSON"),
        (b"[1]", "JSON object"),
        (b'"x"', "JSON object"),
        ({}, "'sql' is missing"),
        ({"sql": None}, "'sql' is missing"),
        ({"sql": 1}, "'sql' has to be a text, not a whole number"),
        ({"sql": "SELECT 1", "timeout": 5}, "Did you mean 'timeout_ms'"),
        ({"sql": "SELECT 1", "user": "root"}, "Unknown key 'user'"),
        ({"sql": "SELECT 1", "timeout_ms": True}, "'timeout_ms' has to be a whole number"),
        ({"sql": "SELECT 1", "timeout_ms": 1.5}, "'timeout_ms' has to be a whole number"),
        ({"sql": "SELECT 1", "timeout_ms": 0}, "at least 1"),
        ({"sql": "SELECT 1", "timeout_ms": 86_400_001}, "at most 86400000"),
        ({"sql": "SELECT 1", "max_staleness_ms": -1}, "at least 0"),
        ({"sql": "SELECT 1", "params": [1]}, "'params' has to be an object, not a list"),
        ({"sql": "SELECT 1", "params": {"a": {"b": 1}}}, "Parameter 'a'"),
        ({"sql": "SELECT 1", "mode": "maybe"}, "'mode' has to be"),
    ],
)
def test_a_body_that_does_not_fit_is_told_why(body: Any, says: str) -> None:
    app = FakeApp()
    for path in ("/v1/query", "/v1/explain"):
        response = call(app, "POST", path, body)
        assert (response.status, error(response)["code"]) == (400, "CONFIG_INVALID")
        assert says in error(response)["message"]
    assert app.asked == []


def test_a_body_of_another_kind_or_over_a_megabyte_is_refused() -> None:
    app = FakeApp()
    form = {**ANN, "Content-Type": "application/x-www-form-urlencoded"}
    response = call(app, "POST", "/v1/query", b"sql=1", headers=form)
    assert (response.status, error(response)["code"]) == (400, "CONFIG_INVALID")
    assert call(app, "POST", "/v1/query", b'{"sql": "SELECT 1"}', headers=form).status == 200  # what `curl -d` sends
    exact = json.dumps({"sql": "x" * (MAX_BODY_BYTES - 11)}).encode()
    assert len(exact) == MAX_BODY_BYTES
    assert call(app, "POST", "/v1/query", exact).status == 200
    response = call(app, "POST", "/v1/query", exact + b" ")
    assert (response.status, error(response)["code"]) == (413, "RESOURCE_LIMIT")


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic dmlld2Vy"},
                {"Authorization": "Bearer nope"}, {"Authorization": "viewer-key"}, {"X-Api-Key": "viewer-key"}],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/query"), ("POST", "/v1/explain"), ("GET", "/v1/tables"), ("GET", "/v1/tables/a.b"),
     ("GET", "/v1/alerts"), ("GET", "/v1/alerts/x"), ("GET", "/v1/alerts/x/history"), ("POST", "/v1/alerts/x/run"),
     ("POST", "/v1/alerts/x/silence"), ("DELETE", "/v1/alerts/x/silence"), ("GET", "/metrics")],
)  # fmt: skip
def test_nothing_is_done_for_who_is_not_known(method: str, path: str, headers: dict[str, str]) -> None:
    app = FakeApp()
    response = call(app, method, path, {"sql": "SELECT 1"}, headers=headers, metrics=Metrics())
    assert (response.status, error(response)["code"]) == (401, "UNAUTHENTICATED")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert app.asked == []


def test_who_asks_never_comes_from_the_body_or_the_query() -> None:
    app = FakeApp()
    call(app, "GET", "/v1/tables", query={"as": "root", "source": "shop"}, headers={**ANN, "X-Principal": "root"})
    assert app.asked == [("tables", "ann", "shop")]


def test_an_identity_that_the_platform_verified_needs_no_key() -> None:
    app = FakeApp()
    assert call(app, "GET", "/v1/tables/shop.orders", headers={}, principal=PEOPLE["viewer-key"]).status == 200
    assert app.asked == [("describe", "ann", "shop.orders")]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/v1/alerts", None), ("GET", "/v1/alerts/revenue", None), ("GET", "/v1/alerts/revenue/history", None),
     ("POST", "/v1/alerts/revenue/run", {}), ("POST", "/v1/alerts/revenue/silence", {"for": "2h", "because": "x"}),
     ("DELETE", "/v1/alerts/revenue/silence", None)],
)  # fmt: skip
def test_alerts_are_for_operators_and_admins(method: str, path: str, body: Any) -> None:
    app = FakeApp()
    response = call(app, method, path, body)
    assert (response.status, error(response)["code"]) == (403, "ENTITLEMENT_DENIED")
    assert app.asked == []
    assert call(app, method, path, body, headers=OPS).status == 200
    assert call(app, method, path, body, headers={"Authorization": "Bearer admin-key"}).status == 200


def test_a_manual_run_and_silences_reach_the_app() -> None:
    app = FakeApp()
    call(
        app, "POST", "/v1/alerts/re%20venue/run", {"slot": "2026-01-31T10:00:00.5+01:00", "dry_run": True}, headers=OPS
    )
    call(app, "POST", "/v1/alerts/revenue/silence", {"for": "2h", "because": " deploy "}, headers=OPS)
    call(app, "DELETE", "/v1/alerts/revenue/silence", headers=OPS)
    call(app, "GET", "/v1/alerts/revenue/history", headers=OPS, query={"limit": "7"})
    assert app.asked == [
        ("watch", "re venue", NOW, True),
        ("silence", "revenue", 7_200.0, "deploy", "ops"),
        ("unsilence", "revenue", "ops"),
        ("history", "revenue", 7),
    ]


@pytest.mark.parametrize(
    ("path", "body", "query"),
    [("/v1/alerts/x/run", {"slot": "yesterday"}, {}), ("/v1/alerts/x/run", {"slot": "2026-01-31T09:00:00"}, {}),
     ("/v1/alerts/x/silence", {"for": "soon", "because": "x"}, {}),
     ("/v1/alerts/x/silence", {"for": "0s", "because": "x"}, {}),
     ("/v1/alerts/x/silence", {"for": "2h", "because": " "}, {}), ("/v1/alerts/x/silence", {"for": "2h"}, {}),
     ("/v1/alerts/x/history", None, {"limit": "0"}), ("/v1/alerts/x/history", None, {"limit": "1e3"}),
     ("/v1/alerts/x/history", None, {"limit": "-1"}), ("/v1/alerts/x/history", None, {"limit": "99999999999999"})],
)  # fmt: skip
def test_what_does_not_fit_an_alerts_route_is_refused(path: str, body: Any, query: dict[str, str]) -> None:
    app = FakeApp()
    response = call(app, "GET" if body is None else "POST", path, body, headers=OPS, query=query)
    assert (response.status, error(response)["code"]) == (400, "CONFIG_INVALID")
    assert app.asked == []


def test_unknown_paths_and_methods() -> None:
    for path in ("/", "/v2/query", "/v1/query/x", "/v1/nothing/1", "//v1//query", "/v1/alerts//run"):
        response = call(FakeApp(), "GET", path)
        assert (response.status, error(response)["code"]) == (404, "NOT_FOUND"), path
    response = call(FakeApp(), "PUT", "/v1/alerts/x/silence")
    assert (response.status, response.headers["Allow"]) == (405, "POST, DELETE")


def test_healthz_touches_nothing_and_readyz_tells_strangers_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise ConfigInvalid("omni.yaml:3: the environment variable CRM_URL is not set.")

    assert call(broken, "GET", "/healthz", headers={}).status == 200
    ready = call(broken, "GET", "/readyz", headers={})
    assert ready.status == 503
    assert json.loads(ready.body) == {"status": "not ready", "code": "CONFIG_INVALID"}
    assert "CRM_URL" in caplog.text
    assert call(FakeApp(), "GET", "/readyz", headers={}).status == 200


def test_a_project_that_does_not_load_is_our_fault_and_its_reason_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Any:
        raise ConfigInvalid("omni.yaml:3: the environment variable CRM_URL is not set.")

    response = call(broken, "POST", "/v1/query", {"sql": "SELECT 1"}, headers={**ANN, "X-Request-Id": "r-9"})
    assert (response.status, error(response)["code"]) == (500, "CONFIG_INVALID")
    assert "CRM_URL" not in response.body.decode()
    assert "r-9" in error(response)["message"]
    assert "CRM_URL" in caplog.text


def test_each_code_keeps_its_status() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.Error) and kind.code != "INTERNAL":
            response = call(FakeApp(kind("What happened.", table="a.b")), "GET", "/v1/tables")
            assert response.status == kind.status
            assert error(response)["code"] == kind.code
            assert error(response)["details"] == {"table": "a.b"}
            assert error(response)["request_id"] == response.headers["X-Request-Id"]


def test_a_used_up_quota_says_when_to_come_back() -> None:
    response = call(FakeApp(RateLimitExhausted("Used up.", retry_after_ms=1_200, scope="tenant")), "GET", "/v1/tables")
    assert (response.status, response.headers["Retry-After"]) == (429, "2")
    assert error(response)["retry_after_ms"] == 1_200
    assert call(FakeApp(RateLimitExhausted("Used up.")), "GET", "/v1/tables").headers["Retry-After"] == "1"
    assert "Retry-After" not in call(FakeApp(SourceTimeout("Late.")), "GET", "/v1/tables").headers


@pytest.mark.parametrize("fault", [ValueError("row 4711 of ann"), Internal("row 4711 of ann"), KeyError("4711")])
def test_a_defect_is_internal_hidden_and_logged(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = call(FakeApp(fault), "GET", "/v1/tables", headers={**ANN, "X-Request-Id": "r-500"})
    assert (response.status, error(response)["code"]) == (500, "INTERNAL")
    assert "4711" not in response.body.decode()
    assert "r-500" in error(response)["message"]
    assert "r-500" in caplog.text
    assert "4711" in caplog.text


def test_request_ids_are_honoured_when_they_are_harmless() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    cases = {
        "abc-1.2_3": "abc-1.2_3", "x" * 129: None, "a b": None, "a\r\nSet-Cookie: x": None, "<script>": None, "": None,
    }  # fmt: skip
    for given, expected in cases.items():
        got = call(FakeApp(), "GET", "/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"]
        assert (got == expected) if expected else (got != given and len(got) == 32)
    response = call(FakeApp(), "GET", "/healthz", headers={"Traceparent": trace})
    assert response.headers["X-Request-Id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert response.headers["Traceparent"] == trace
    for bad in (trace.upper(), trace.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), trace + "\n"):
        assert "Traceparent" not in call(FakeApp(), "GET", "/healthz", headers={"traceparent": bad}).headers


def test_nothing_is_ever_stored_by_a_cache() -> None:
    cases = [("GET", "/healthz", ANN), ("GET", "/v1/tables", ANN), ("GET", "/v1/tables", {}), ("GET", "/nope", ANN)]
    for method, path, headers in cases:
        assert call(FakeApp(), method, path, headers=headers).headers["Cache-Control"] == "no-store"


def test_metrics_are_by_pattern_and_only_where_a_server_keeps_them() -> None:
    metrics = Metrics()
    call(FakeApp(), "GET", "/v1/tables/secret.table", metrics=metrics)
    call(FakeApp(EntitlementDenied("No.")), "GET", "/v1/tables/secret.other", metrics=metrics)
    call(FakeApp(), "GET", '/"}evil', metrics=metrics)
    response = call(FakeApp(), "GET", "/metrics", metrics=metrics)
    text = response.body.decode()
    assert 'omni_http_request_seconds_count{route="/v1/tables/{table}",status="200"} 1' in text
    assert 'omni_http_request_seconds_count{route="/v1/tables/{table}",status="403"} 1' in text
    assert "secret" not in text
    assert "evil" not in text
    assert call(FakeApp(), "GET", "/metrics").status == 404


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_mode_async_answers_with_a_job_and_asks_nothing_yet() -> None:
    app = FakeApp()
    response = call(app, "POST", "/v1/query", {"sql": "SELECT 1", "mode": "async"}, time_left_s=5.0)
    assert (response.status, json.loads(response.body)) == (202, {"job_id": "j1", "status_url": "/v1/jobs/j1"})
    assert response.headers["Location"] == "/v1/jobs/j1"
    ((verb, ask),) = app.asked
    assert (verb, ask.timeout_s) == ("submit", 600.0), "this function's time is no bound for a job"
    call(app, "POST", "/v1/query", {"sql": "SELECT 1", "mode": "async", "timeout_ms": 90_000}, time_left_s=5.0)
    assert app.asked[1][1].timeout_s == 90.0


def test_a_jobs_status_and_its_answer_go_to_who_asks_as_whom() -> None:
    app = FakeApp()
    assert json.loads(call(app, "GET", "/v1/jobs/j1").body)["state"] == "QUEUED"
    waiting = call(app, "GET", "/v1/jobs/j1/result")
    assert (waiting.status, json.loads(waiting.body)["state"], waiting.headers["Retry-After"]) == (202, "QUEUED", "2")
    app.result = b'{"rows": [[1]]}'
    assert json.loads(call(app, "GET", "/v1/jobs/j1").body)["result_url"] == "/v1/jobs/j1/result"
    done = call(app, "GET", "/v1/jobs/j1/result")
    assert (done.status, done.body) == (200, b'{"rows": [[1]]}')
    assert {told[1:] for told in app.asked} == {("j1", "ann")}


def test_a_job_that_failed_answers_with_its_error() -> None:
    response = call(FakeApp(fail=RateLimitExhausted("Quota.", retry_after_ms=1_500)), "GET", "/v1/jobs/j1/result")
    assert (response.status, response.headers["Retry-After"]) == (429, "2")
