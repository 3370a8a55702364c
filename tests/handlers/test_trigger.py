"""What **watch** accepts as an event, and what it makes of deliveries that come twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import ConfigInvalid, NotFound, ResourceLimit, SourceError, SourceTimeout, StateConflict
from handlers.http import HttpRequest
from handlers.trigger import Order, carry_out, order, own_key, respond
from tests.handlers.fake import FakeApp

NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"alert": "revenue"}, Order("revenue")),
        ({"sweep": True}, Order(None)),
        ({"sweep": False, "alert": "revenue"}, Order("revenue")),
        ({"alert": "revenue", "scheduled_at": "2026-01-31T09:00:00Z"}, Order("revenue", NINE)),
        ({"alert": "revenue", "scheduled_at": "2026-01-31T09:00:00.123456789Z"}, Order("revenue", NINE)),
        ({"alert": "revenue", "scheduled_at": "2026-01-31T04:00:00-05:00"}, Order("revenue", NINE)),
        ({"alert": "revenue", "scheduled_at": None}, Order("revenue")),
        ({"alert": "revenue", "scheduled_at": "<aws.scheduler.scheduled-time>"}, Order("revenue")),
        ({"alert": "revenue", "scheduled_at": "<aws.scheduler.scheduled-time>", "time": "2026-01-31T09:00:00Z"},
         Order("revenue", NINE)),
        ({"version": "0", "id": "x", "detail-type": "Scheduled Event", "source": "aws.scheduler", "account": "1",
          "time": "2026-01-31T09:00:00Z", "region": "r", "resources": [], "detail": '{"alert": "revenue"}'},
         Order("revenue", NINE)),
        ({"version": "0", "id": "x", "detail-type": "check", "source": "me", "account": "1", "region": "r",
          "time": "2026-01-31T09:00:01Z", "resources": [],
          "detail": {"alert": "a", "scheduled_at": "2026-01-31T09:00:00Z"}},
         Order("a", NINE)),
    ],
)  # fmt: skip
def test_events(event: dict[str, Any], expected: Order) -> None:
    assert order(event) == expected


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (None, "has to be an object"), ([], "has to be an object"), ({}, "names no alert"),
        ({"alert": ""}, "names no alert"),
        ({"alert": 7}, "'alert' has to be a text"), ({"alrt": "x"}, "Did you mean 'alert'"),
        ({"sweep": "yes"}, "'sweep'"),
        ({"alert": "x", "sweep": True}, "not both"), ({"alert": "x", "scheduled_at": "2026-01-31"}, "with its zone"),
        ({"alert": "x", "scheduled_at": "2026-01-31T09:00:00"}, "with its zone"),
        ({"detail-type": "x", "detail": "{"}, "not JSON"),
        ({"detail-type": "x", "detail": "[]"}, "has to be an object"),
        ({"detail-type": "Scheduled Event", "time": "2026-01-31T09:00:00Z", "detail": "{}"}, "names no alert"),
    ],
)  # fmt: skip
def test_events_that_do_not_fit_say_why(event: Any, says: str) -> None:
    with pytest.raises(ConfigInvalid, match=says):
        order(event)


def test_a_schedulers_header_is_the_slot_where_the_event_has_none() -> None:
    assert order({"alert": "x"}, fallback="2026-01-31T09:00:00.9Z") == Order("x", NINE)
    assert order({"alert": "x", "scheduled_at": "2026-01-31T08:00:00Z"}, fallback="2026-01-31T09:00:00Z").slot != NINE


def test_a_run_that_holds_the_alert_makes_this_delivery_harmless() -> None:
    app = FakeApp(StateConflict("Held by another run."))
    assert carry_out(lambda: app, Order("revenue", NINE)) == {
        "alert": "revenue", "slot": "2026-01-31T09:00:00Z", "skipped": "Held by another run.",
    }  # fmt: skip
    with pytest.raises(SourceTimeout):
        carry_out(lambda: FakeApp(SourceTimeout("Late.")), Order("revenue"))


def over_http(app: FakeApp, body: Any, *, method: str = "POST", **more: Any) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = respond(
        lambda: app, HttpRequest(method, "/", {"Content-Type": "application/octet-stream"}, {}, raw), **more
    )
    assert response.headers["Cache-Control"] == "no-store"
    return response.status, json.loads(response.body)


def test_a_sweep_that_failed_for_an_alert_is_no_success() -> None:
    app = FakeApp()
    failed = {"alert": "revenue", "code": "SOURCE_TIMEOUT", "message": "Late."}
    app.sweep = lambda time_left_s=None: {
        "drained": 2,
        "delivered": 1,
        "owed": 1,
        "missed": [],
        "ran": [],
        "errors": [failed],
    }
    with pytest.raises(SourceError, match="failed for 1 alert: revenue: SOURCE_TIMEOUT: Late") as caught:
        carry_out(lambda: app, Order(None))
    assert (caught.value.details["delivered"], caught.value.details["errors"]) == (1, [failed])
    assert over_http(app, {"sweep": True})[0] == 502


def test_a_message_that_was_given_up_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = {"code": "SOURCE_ERROR", "message": "Channel 'hook' answered HTTP 410."}
    dead = {"alert": "revenue", "channel": "hook", "kind": "firing", "attempts": 3, "error": error}
    app = FakeApp()
    app.sweep = lambda time_left_s=None: {"errors": [], "dead": 1, "given_up": [dead]}
    app.watch = lambda *_, **__: {"dead": 1, "given_up": [dead]}
    for told in (Order(None), Order("revenue", NINE)):
        caplog.clear()
        assert carry_out(lambda: app, told)["dead"] == 1
        assert [(r.levelname, "given up after 3 attempts" in r.message) for r in caplog.records] == [("ERROR", True)]


def test_why_a_message_was_not_taken_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = {"code": "SOURCE_ERROR", "message": "Channel 'hook' answered HTTP 503."}
    failed = {"alert": "revenue", "channel": "hook", "kind": "firing", "attempts": 2, "error": error}
    app = FakeApp()
    app.watch = lambda *_, **__: {"dead": 0, "put_off": [failed]}
    carry_out(lambda: app, Order("revenue", NINE))
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert (
        "'hook' was not taken at attempt 2 and is owed: SOURCE_ERROR: Channel 'hook' answered HTTP 503." in line.message
    )


def test_over_http_the_status_says_whether_a_retry_can_help() -> None:
    assert over_http(FakeApp(), {"alert": "x"})[0] == 200
    assert over_http(FakeApp(StateConflict("Held.")), {"alert": "x"})[0] == 200
    assert over_http(FakeApp(NotFound("No such alert.")), {"alert": "x"})[0] == 404
    assert over_http(FakeApp(ConfigInvalid("In the future.", key="slot")), {"alert": "x"})[0] == 400
    assert over_http(FakeApp(SourceTimeout("Late.")), {"alert": "x"})[0] == 504
    assert over_http(FakeApp(ValueError("secret")), {"alert": "x"})[0] == 500
    assert over_http(FakeApp(), b"{")[0] == 400
    assert over_http(FakeApp(), b"x" * 1_000_001)[0] == 413
    assert over_http(FakeApp(), {"alert": "x"}, method="GET")[0] == 400


def test_over_http_what_is_wrong_with_the_deployment_is_a_failure_of_the_function() -> None:
    """As 4xx, a scheduler would take it for its own mistake and not try again."""
    for error in (ConfigInvalid("No table.", key="OMNI_STORE_TABLE"), ResourceLimit("Too large.")):
        status, body = over_http(FakeApp(error), {"alert": "x"})
        assert (status, body["error"]["code"]) == (500, error.code)
    assert over_http(FakeApp(StateConflict("Another writer.")), {"sweep": True})[0] == 500

    def broken() -> FakeApp:
        raise ConfigInvalid("alerts/a.yaml:3: sourcse", file="alerts/a.yaml")

    response = respond(broken, HttpRequest("POST", "/", {}, {}, b'{"alert": "x"}'))
    assert response.status == 500
    assert b"sourcse" not in response.body, "who asks is not yet known"


def test_a_key_sent_besides_the_platforms_check_has_to_be_right() -> None:
    app = FakeApp()
    assert over_http(app, {"alert": "x"}, key="nope")[0] == 401
    assert app.asked == []
    assert over_http(app, {"alert": "x"}, key="admin-key")[0] == 200


def test_a_platforms_own_token_is_not_taken_for_a_key() -> None:
    assert own_key("Bearer eyJhbGciOi.eyJpc3MiOi.SIGNATURE_REMOVED_BY_GOOGLE") is None
    assert own_key("Bearer my-key") == "my-key"
    assert own_key(None) is None
    assert own_key("Basic eA==") is None


@pytest.mark.parametrize("told", [{"alert": "x"}, {"sweep": True}])
def test_what_the_platform_leaves_bounds_the_run(told: dict[str, Any]) -> None:
    app = FakeApp()
    carry_out(lambda: app, order(told), 42.0)
    assert app.time_left_s == 42.0
    request = HttpRequest("POST", "/", {}, {}, json.dumps(told).encode())
    assert respond(lambda: app, request, time_left_s=41.0).status == 200
    assert app.time_left_s == 41.0
