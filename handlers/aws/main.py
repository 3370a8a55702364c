"""The three functions on AWS: ``handlers.aws.main.ask | watch | work``.

ask     function URL, or API Gateway HTTP API (payload 2.0)
watch   EventBridge Scheduler, an EventBridge rule, or a direct invoke from the console
work    SQS batches
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from core.errors import ConfigInvalid, Error, ResourceLimit
from core.ports import Platform
from core.settings import Settings
from handlers.aws.identity import with_key
from handlers.aws.observe import observed
from handlers.http import HttpRequest, HttpResponse, failure, public, respond
from handlers.runtime import Warm
from handlers.trigger import carry_out, order

MARGIN_S = 1.0
"""Kept back from the function's time for writing the answer or the error."""
MAX_PAYLOAD_BYTES = 6_000_000
"""Lambda refuses a response of more than 6 MB, as JSON, with an error of its own that says nothing to the caller."""

_LOG = logging.getLogger(__name__)


def _platform(settings: Settings, env: Mapping[str, str], root: Path) -> Platform:
    from handlers.aws.platform import platform

    return platform(settings, env, root)


_warm = Warm(_platform)


def ask(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One HTTP request; returns the payload 2.0 response. Never raises."""
    with observed("ask", context) as seen:
        try:
            request = _request(event)
        except Error as error:
            response = failure(error, context.aws_request_id)
        else:
            response = respond(_warm.app, request, time_left_s=_time_left(context))
        seen.failed = response.status >= 500
        return _shaped(response, context.aws_request_id)


def watch(event: Any, context: Any) -> dict[str, Any]:
    """One alert, or a sweep; returns the run's report.

    Raises every error but a run that overlaps: only what is raised counts as an error for Lambda, which then tries an
    asynchronous invocation again, and for an alarm on its Errors.
    """
    with observed("watch", context):
        try:
            return carry_out(_warm.app, order(event))
        except Exception as error:  # noqa: BLE001 (raised again, without the cause of a defect, which the log has)
            told = public(error, context.aws_request_id)
            _LOG.error("watch failed: %s: %s", told.code, told.message, extra={"code": told.code})
            raise told from None


def work(event: Any, context: Any) -> dict[str, Any]:
    """An SQS batch. Jobs are not there yet: every message is reported as failed, so that none is lost."""
    with observed("work", context) as seen:
        records = event.get("Records") if isinstance(event, dict) else None
        if not isinstance(records, list):
            raise ConfigInvalid("work takes batches from an SQS queue; this event has no 'Records'.", key="Records")
        seen.failed = True
        for record in records:
            _LOG.error("jobs are not there yet: message %s goes back to the queue", record.get("messageId"))
        return {"batchItemFailures": [{"itemIdentifier": record.get("messageId")} for record in records]}


def _request(event: Any) -> HttpRequest:
    http = event.get("requestContext", {}).get("http") if isinstance(event, dict) else None
    if not isinstance(http, dict):
        raise ConfigInvalid(
            "ask takes HTTP requests from a function URL or an API Gateway HTTP API with payload format 2.0.",
            key="requestContext",
        )
    body = event.get("body") or ""
    path, stage = event.get("rawPath") or "/", event["requestContext"].get("stage") or "$default"
    if stage != "$default":  # a named stage is part of the path
        path = path.removeprefix(f"/{stage}") or "/"
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError:
        raise ConfigInvalid("The body says that it is base64 and is not.", key="body") from None
    return HttpRequest(
        method=http.get("method", "GET"),
        path=path,
        headers=with_key(event.get("headers") or {}),
        query=dict(parse_qsl(event.get("rawQueryString") or "", keep_blank_values=True)),
        body=raw,
    )


def _shaped(response: HttpResponse, request_id: str) -> dict[str, Any]:
    text = response.body.decode()
    if len(text) > MAX_PAYLOAD_BYTES // 6 and len(json.dumps(text)) > MAX_PAYLOAD_BYTES:  # escaping can grow it sixfold
        response = failure(ResourceLimit(
            f"The answer is larger than the {MAX_PAYLOAD_BYTES // 1_000_000} MB that Lambda can return: "
            "ask for fewer columns or rows, or aggregate.", limit_bytes=MAX_PAYLOAD_BYTES,
        ), response.headers.get("X-Request-Id", request_id))  # fmt: skip
        text = response.body.decode()
    return {
        "statusCode": response.status,
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "body": text,
        "isBase64Encoded": False,
    }


def _time_left(context: Any) -> float:
    return float(context.get_remaining_time_in_millis()) / 1_000 - MARGIN_S
