"""The three functions on Google Cloud, for functions-framework: targets ``ask``, ``watch`` and ``work``.

ask     HTTP
watch   HTTP, called by Cloud Scheduler or a person; deploy it so that only IAM principals may call it
work    a CloudEvent of a Pub/Sub message (deploy with ``--signature-type cloudevent``)
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from core.errors import ConfigInvalid
from handlers import trigger
from handlers.gcp.logs import structured
from handlers.gcp.platform import platform
from handlers.http import MAX_BODY_BYTES, HttpRequest, HttpResponse, respond
from handlers.runtime import Warm

if TYPE_CHECKING:
    from flask import Request

MARGIN_S = 1.0
structured()
_warm = Warm(platform)
_Reply = tuple[bytes, int, dict[str, str]]


def ask(request: Request) -> _Reply:
    """One HTTP request of the API."""
    return _reply(respond(_warm.app, _request(request), time_left_s=_time_left()))


def watch(request: Request) -> _Reply:
    """``{"alert", "scheduled_at"?}`` or ``{"sweep": true}``; Cloud Scheduler's own header gives the slot else."""
    return _reply(trigger.respond(
        _warm.app, _request(request), fallback=request.headers.get("X-CloudScheduler-ScheduleTime"),
        key=trigger.own_key(request.headers.get("Authorization")),
    ))  # fmt: skip


def work(event: Any) -> None:
    """Jobs are not there yet: raises, so that Pub/Sub keeps the message and delivers it again."""
    logging.getLogger(__name__).error("jobs are not there yet: event %s goes back", event["id"])
    raise ConfigInvalid("Jobs are not there yet: this message goes back to its topic.")


def _request(request: Request) -> HttpRequest:
    """At most one byte more is read than is allowed: a longer body is refused, not kept."""
    body = request.stream.read(MAX_BODY_BYTES + 1)
    return HttpRequest(request.method, quote(request.path), dict(request.headers), request.args.to_dict(), body)


def _reply(response: HttpResponse) -> _Reply:
    return response.body, response.status, dict(response.headers)


def _time_left() -> float | None:
    """A request carries no clock here; functions are told the timeout they were deployed with."""
    text = os.environ.get("CLOUD_RUN_TIMEOUT_SECONDS", "")
    return float(text) - MARGIN_S if text.isdecimal() else None
