"""Webhooks and Slack over a real local HTTP server, through the real wire."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from core.deadline import Deadline
from core.errors import CallerError, ConfigInvalid, Error, SourceError
from core.model import Channel
from core.notify.send import Resolver, SendFailed, send
from tests.core.notify.parts import FixedSecrets, deliver, events, firing
from tests.core.receiver import Reply, WebhookReceiver

KEY = "whsec_" + base64.b64encode(b"a key of thirty-two bytes at all").decode()


def hook(url: str, **options: Any) -> Channel:
    return Channel("hook", "webhook", {"url": url, **options})


def test_the_event_arrives_as_flat_json() -> None:
    event = firing(columns=("note",), row=("grüße",))
    with WebhookReceiver() as receiver:
        assert deliver(event, hook(receiver.url)).detail == "HTTP 204"
    (call,) = receiver.calls
    assert (call.method, call.path) == ("POST", "/hook")
    assert call.headers["content-type"] == "application/json"
    body = call.json
    assert body["type"] == "alert.firing"
    assert body["timestamp"] == "2026-01-31T09:00:00Z"
    assert body["subject"] == "[ALERT] revenue: 1234.50 (threshold 1000)"
    for name in ("id", "alert", "kind", "severity", "slot", "actual_value", "threshold", "context", "key", "state"):
        assert body[name] == event[name]


def test_every_kind_is_json() -> None:
    told = events()
    with WebhookReceiver() as receiver:
        for event in told.values():
            deliver(event, hook(receiver.url))
    assert [c.json["kind"] for c in receiver.calls] == list(told)


def test_the_id_is_the_idempotency_key_and_the_body_is_the_same_every_time() -> None:
    event = firing()
    with WebhookReceiver() as receiver:
        for _ in range(2):
            deliver(event, hook(receiver.url))
    first, second = receiver.calls
    assert first.body == second.body
    for call in receiver.calls:
        assert call.headers["idempotency-key"] == call.headers["webhook-id"] == event["id"]


@pytest.mark.parametrize("key", [KEY, "a plain text ü"])
def test_the_signature_is_what_the_standard_library_verifies(key: str) -> None:
    with WebhookReceiver() as receiver:
        deliver(firing(columns=("note",), row=("ü",)), hook(receiver.url, sign_with="secret:hk"), secrets={"hk": key})
    (call,) = receiver.calls
    standard = key if key.startswith("whsec_") else base64.b64encode(key.encode()).decode()
    Webhook(standard).verify(call.body.decode(), call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(standard).verify(call.body.decode() + " ", call.headers)
    assert key not in str(call)


def test_without_a_key_there_is_no_signature() -> None:
    with WebhookReceiver() as receiver:
        deliver(firing(), hook(receiver.url))
    assert "webhook-signature" not in receiver.calls[0].headers


def test_a_key_that_is_not_base64() -> None:
    with pytest.raises(ConfigInvalid, match="base64") as caught:
        deliver(firing(), hook("https://example.com", sign_with="secret:hk"), secrets={"hk": "whsec_!!secret!!"})
    assert "!!secret!!" not in str(caught.value.to_dict("rq"))


def test_own_headers_and_their_secrets() -> None:
    headers = {"X-Team": "data", "Authorization": "Bearer secret:tok", "X-Key": "secret:tok"}
    with WebhookReceiver() as receiver:
        deliver(firing(), hook(receiver.url, headers=headers), secrets={"tok": "t0ken"})
    (call,) = receiver.calls
    assert [call.headers[h] for h in ("x-team", "authorization", "x-key")] == ["data", "Bearer t0ken", "t0ken"]


@pytest.mark.parametrize(
    "headers", [{"X-A": "a\r\nX-B: b"}, {"X\nA": "a"}, {"X-A": "ü"}, {"webhook-id": "mine"}, {"Host": "elsewhere"}]
)
def test_headers_that_cannot_be(headers: dict[str, str]) -> None:
    with WebhookReceiver() as receiver, pytest.raises(ConfigInvalid):
        deliver(firing(), hook(receiver.url, headers=headers))
    assert receiver.calls == []


@pytest.mark.parametrize("method", ["put", "PATCH"])
def test_other_methods(method: str) -> None:
    with WebhookReceiver() as receiver:
        deliver(firing(), hook(receiver.url, method=method))
    assert receiver.calls[0].method == method.upper()
    assert receiver.calls[0].json["alert"] == "revenue"


def test_a_get_says_the_gist_in_its_parameters() -> None:
    with WebhookReceiver() as receiver:
        deliver(firing(), hook(receiver.url + "?a=1", method="GET"))
    (call,) = receiver.calls
    assert call.body == b""
    assert "/hook?a=1&id=revenue%2F-%2F" in call.path
    assert "severity=ALERT" in call.path


def test_an_unknown_method() -> None:
    with pytest.raises(ConfigInvalid, match="POST, PUT, PATCH, GET"):
        deliver(firing(), hook("https://example.com", method="DELETE"))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_sent(status: int) -> None:
    with WebhookReceiver() as receiver:
        receiver.replies = [Reply(status)]
        assert deliver(firing(), hook(receiver.url)).detail == f"HTTP {status}"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 599])
def test_worth_another_try(status: int) -> None:
    with WebhookReceiver() as receiver:
        receiver.replies = [Reply(status)]
        with pytest.raises(SendFailed) as caught:
            deliver(firing(), hook(receiver.url))
    assert caught.value.retryable
    assert caught.value.retry_after_ms is None
    assert len(receiver.calls) == 1  # retries are the outbox's, not the wire's


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 405, 410, 413, 422])
def test_final(status: int, method: str) -> None:
    with WebhookReceiver() as receiver:
        receiver.replies = [Reply(status, {"Location": "http://169.254.169.254/"})]
        with pytest.raises(SendFailed) as caught:
            deliver(firing(), hook(receiver.url, method=method))
    assert not caught.value.retryable
    assert not isinstance(caught.value, CallerError)  # which the outbox would try again
    assert str(status) in caught.value.message
    assert len(receiver.calls) == 1


@pytest.mark.parametrize(
    ("value", "ms"),
    [("120", 120_000), ("0", 0), ("soon", None), ("inf", 86_400_000), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after(value: str, ms: int | None) -> None:
    with WebhookReceiver() as receiver:
        receiver.replies = [Reply(429, {"Retry-After": value})]
        with pytest.raises(SendFailed) as caught:
            deliver(firing(), hook(receiver.url))
    assert caught.value.retry_after_ms == ms


def test_a_dropped_connection_is_worth_another_try() -> None:
    with WebhookReceiver() as receiver:
        receiver.replies = [Reply(drop=True)]
        with pytest.raises(Error) as caught:
            deliver(firing(), hook(receiver.url))
    assert caught.value.retryable


def test_nobody_listens() -> None:
    with WebhookReceiver() as receiver:
        url = receiver.url
    with pytest.raises(Error) as caught:
        deliver(firing(), hook(url))
    assert caught.value.retryable


def test_a_private_address_has_to_be_allowed() -> None:
    with WebhookReceiver() as receiver, pytest.raises(Error):
        deliver(firing(), hook(receiver.url), allow=())
    assert receiver.calls == []


def test_no_error_shows_a_secret_url() -> None:
    """The path of a webhook is often its password."""
    with WebhookReceiver() as receiver:
        secret = receiver.url + "/T0KEN-in-the-path?key=S3CRET"
        for replies in ([Reply(404)], [Reply(500)], [Reply(drop=True)]):
            receiver.replies = replies
            with pytest.raises(Error) as caught:
                deliver(firing(), hook("secret:url"), secrets={"url": secret})
            shown = json.dumps(caught.value.to_dict("rq"))
            assert "T0KEN" not in shown
            assert "S3CRET" not in shown
    with pytest.raises(Error) as caught:
        deliver(firing(), hook("secret:url"), secrets={"url": secret})
    assert "T0KEN" not in json.dumps(caught.value.to_dict("rq"))


def test_a_quoted_secret_is_taken_out_of_an_error() -> None:
    resolve = Resolver(FixedSecrets({"url": "https://h.example/services/T123/B456/token99", "k": "hunter2"}))
    assert resolve("secret:url") == "https://h.example/services/T123/B456/token99"
    assert resolve("Bearer secret:k") == "Bearer hunter2"
    assert resolve("just text") == "just text"
    clean = resolve.redacted(ConfigInvalid("bad /services/T123/B456/token99 with hunter2", place="token99"))
    assert not any(s in json.dumps(clean.to_dict("rq")) for s in ("hunter2", "token99", "T123/B456"))
    assert clean.retryable
    plain = ConfigInvalid("nothing in it")
    assert resolve.redacted(plain) is plain


class QuotingWire:
    """A network layer that is careless with what it quotes."""

    def send(self, method: str, url: str, **options: Any) -> Any:
        raise SourceError(f"no route to {url} with {options['headers']}", url=url)


@pytest.mark.parametrize("kind", ["webhook", "slack"])
def test_whatever_the_wire_quotes_no_secret_leaves(kind: str) -> None:
    secrets = FixedSecrets({"url": "https://hooks.example.com/services/T0/B0/xyz789", "tok": "t0ken"})
    channel = Channel("ops", kind, {"url": "secret:url", "headers": {"Authorization": "Bearer secret:tok"}})
    with pytest.raises(SendFailed) as caught:
        send(firing("ops"), channel, secrets=secrets, wire=QuotingWire(), smtp={}, deadline=Deadline(5))
    shown = json.dumps(caught.value.to_dict("rq"))
    assert "no route to" in shown
    assert not any(s in shown for s in ("t0ken", "xyz789"))
    assert caught.value.retryable
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["secret:missing", "", "ftp://example.com", "not a url"])
def test_a_wrong_url_is_a_clear_error(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        deliver(firing(), hook(url))


def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(ConfigInvalid, match="email, slack, webhook"):
        deliver(firing(), Channel("x", "pigeon", {}))


def test_slack() -> None:
    with WebhookReceiver() as receiver:
        channel = Channel("ops", "slack", {"url": "secret:slack"})
        deliver(firing(), channel, secrets={"slack": receiver.url})
        receiver.replies = [Reply(404)]
        with pytest.raises(SendFailed) as caught:
            deliver(firing(), channel, secrets={"slack": receiver.url})
    assert not caught.value.retryable
    assert receiver.calls[0].json["blocks"][0]["text"]["text"] == "[ALERT] revenue: 1234.50 (threshold 1000)"
