"""The three functions on Google Cloud, for functions-framework: targets ``ask``, ``watch`` and ``work``.

ask     HTTP
watch   HTTP, called by Cloud Scheduler or a person; deploy it so that only IAM principals may call it
work    a CloudEvent of a Pub/Sub message (``--signature-type cloudevent``), from Eventarc or a push subscription;
        deploy it so that only the subscription's service account may call it
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from core.errors import ConfigInvalid, ResourceLimit
from handlers import trigger
from handlers.gcp.identity import with_key
from handlers.gcp.logs import structured, traced
from handlers.gcp.payload import MAX_ANSWER_BYTES
from handlers.http import MAX_BODY_BYTES, HttpRequest, HttpResponse, failure, public, respond
from handlers.runtime import Warm
from handlers.work import carry_out_job

if TYPE_CHECKING:
    from flask import Request

    from core.ports import Platform
    from core.settings import Settings

MARGIN_S = 1.0
"""Kept back from the function's time for writing the answer or the error."""

_Reply = tuple[bytes, int, dict[str, str]]


def _platform(settings: Settings, env: Mapping[str, str], root: Path) -> Platform:
    from handlers.gcp.platform import platform

    return platform(settings, env, root)


structured()
_warm = Warm(_platform)


def ask(request: Request) -> _Reply:
    """One HTTP request of the API."""
    with traced(request.headers.get("Traceparent")):
        return _reply(respond(_warm.app, _request(request), time_left_s=_time_left()))


def watch(request: Request) -> _Reply:
    """``{"alert", "scheduled_at"?}`` or ``{"sweep": true}``; Cloud Scheduler's own header gives the slot else."""
    with traced(request.headers.get("Traceparent")):
        told = _request(request)
        return _reply(trigger.respond(
            _warm.app, told, fallback=request.headers.get("X-CloudScheduler-ScheduleTime"),
            key=trigger.own_key(told.headers.get("authorization")), time_left_s=_time_left(),
        ))  # fmt: skip


def work(event: Any) -> None:
    """One job. Raises what has to bring the message back: Pub/Sub delivers it again, and after its subscription's
    number of attempts puts it among the dead letters."""
    from flask import has_request_context, request

    with traced(request.headers.get("Traceparent") if has_request_context() else None):
        message = _message(event.data)
        name = str(message.get("messageId") or event["id"])
        try:
            body = base64.b64decode(str(message.get("data") or ""), validate=True)
        except ValueError:
            raise ConfigInvalid("The message's data is not base64.", key="data") from None
        try:
            carry_out_job(_warm.app, body, _time_left())
        except Exception as error:  # noqa: BLE001 (raised again, without the cause of a defect, which the log has)
            raise public(error, name) from None


def _message(data: Any) -> Mapping[str, Any]:
    """The Pub/Sub message in an event's data."""
    message = data.get("message") if isinstance(data, Mapping) else None
    if not isinstance(message, Mapping):
        raise ConfigInvalid("work takes events of Pub/Sub messages; this one has no 'message'.", key="message")
    return message


def _request(request: Request) -> HttpRequest:
    """At most one byte more is read than is allowed: a longer body is refused, not kept."""
    body = request.stream.read(MAX_BODY_BYTES + 1)
    headers = with_key(dict(request.headers))
    return HttpRequest(request.method, quote(request.path), headers, request.args.to_dict(), body)


def _reply(response: HttpResponse) -> _Reply:
    if len(response.body) > MAX_ANSWER_BYTES:
        response = failure(ResourceLimit(
            f"The answer is larger than the {MAX_ANSWER_BYTES // 1_000_000} MB that Cloud Run returns: "
            "ask for fewer columns or rows, or aggregate.", limit_bytes=MAX_ANSWER_BYTES,
        ), response.headers.get("X-Request-Id", ""))  # fmt: skip
    return response.body, response.status, dict(response.headers)


def _time_left() -> float | None:
    """A request carries no clock here; functions are told the timeout they were deployed with."""
    text = os.environ.get("CLOUD_RUN_TIMEOUT_SECONDS", "")
    return float(text) - MARGIN_S if text.isdecimal() else None
