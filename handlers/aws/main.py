"""The three functions on AWS: ``handlers.aws.main.ask | watch | work``.

ask     function URL, or API Gateway HTTP API (payload 2.0)
watch   EventBridge Scheduler, an EventBridge rule, or a direct invoke from the console
work    SQS batches
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from core.errors import ConfigInvalid, Error, NotFound, ResourceLimit
from core.ports import Platform
from core.settings import Settings
from handlers.aws.identity import with_key
from handlers.aws.observe import observed
from handlers.aws.payload import MAX_PAYLOAD_BYTES, size
from handlers.http import HttpRequest, HttpResponse, failure, public, respond
from handlers.runtime import Warm
from handlers.trigger import Order, carry_out, order
from handlers.work import carry_out_job

MARGIN_S = 1.0
"""Kept back from the function's time for writing the answer or the error."""
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

    Raises every error but a run that overlaps and a timer of an alert that this version does not have: only what is
    raised counts as an error for Lambda, which then tries an asynchronous invocation again, and for an alarm on its
    Errors. A sweep that went well counts in the metric Swept: an alarm on its absence tells that the timers have
    stopped.
    """
    with observed("watch", context) as seen:
        try:
            told = order(event)
            try:
                report = carry_out(_warm.app, told, _time_left(context))
            except NotFound as unknown:
                return _not_here(told, unknown)
            if told.alert is None:
                seen.counts["Swept"] = 1
            return report
        except Exception as error:  # noqa: BLE001 (raised again, without the cause of a defect, which the log has)
            shown = public(error, context.aws_request_id)
            _LOG.error(
                "watch failed: %s: %s",
                shown.code,
                shown.message,
                extra={"code": shown.code},
            )
            raise shown from None


def _not_here(told: Order, unknown: NotFound) -> dict[str, Any]:
    """The report on an alert that this version does not have, where a timer asked for it: it brings a slot.

    Timers of new alerts come with the apply, and the alias still gives most calls to the version before for as long as
    the canary takes. Another attempt would find that version again, and a person would be told of a dead letter. Who
    names no slot asked by hand, and is told.
    """
    if told.slot is None or unknown.details.get("alert") != told.alert:
        raise unknown
    _LOG.warning(
        "no run: this version has no alert %s; the timer is newer, or names no alert", told.alert,
        extra={"code": unknown.code},
    )  # fmt: skip
    return {"alert": told.alert, "slot": told.slot.strftime("%Y-%m-%dT%H:%M:%SZ"), "skipped": unknown.message}


def work(event: Any, context: Any) -> dict[str, Any]:
    """An SQS batch. What could not be done is reported by message, and only that comes back to the queue.

    A queue that reports whole batches would have every job of it run again, so its mapping needs
    ReportBatchItemFailures.
    """
    with observed("work", context) as seen:
        records = event.get("Records") if isinstance(event, dict) else None
        if not isinstance(records, list):
            raise ConfigInvalid("work takes batches from an SQS queue; this event has no 'Records'.", key="Records")
        if not all(isinstance(record, dict) for record in records):
            raise ConfigInvalid("A record of this batch is no object: it is not from SQS.", key="Records")
        failed = [record.get("messageId") for record in records if not _done(record, context)]
        seen.failed = bool(failed)
        return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def _done(record: Mapping[str, Any], context: Any) -> bool:
    """Whether the queue may forget the message. One that finds no time left goes back untouched."""
    left = _time_left(context)
    if left <= 0:
        _LOG.warning("no time left for message %s: it goes back to the queue", record.get("messageId"))
        return False
    try:
        carry_out_job(_warm.app, record.get("body") or "", left)
    except Error:
        return False  # carry_out_job has logged it
    except Exception:  # noqa: BLE001 (the edge: logged, and the message comes back)
        _LOG.exception("message %s failed", record.get("messageId"))
        return False
    return True


def _request(event: Any) -> HttpRequest:
    given = event.get("requestContext") if isinstance(event, dict) else None
    context = given if isinstance(given, dict) else {}
    http = context.get("http")
    headers, body = (event.get("headers") or {}, event.get("body") or "") if http else ({}, "")
    if not (isinstance(http, dict) and isinstance(headers, dict) and isinstance(body, str)):
        raise ConfigInvalid(
            "ask takes HTTP requests from a function URL or an API Gateway HTTP API with payload format 2.0.",
            key="requestContext",
        )
    path, stage = str(event.get("rawPath") or "/"), str(context.get("stage") or "$default")
    if stage != "$default":  # a named stage is part of the path
        path = path.removeprefix(f"/{stage}") or "/"
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError:
        raise ConfigInvalid("The body says that it is base64 and is not.", key="body") from None
    return HttpRequest(
        method=str(http.get("method") or "GET"),
        path=path,
        headers=with_key({str(name): str(value) for name, value in headers.items()}),
        query=dict(parse_qsl(str(event.get("rawQueryString") or ""), keep_blank_values=True)),
        body=raw,
    )


def _shaped(response: HttpResponse, request_id: str) -> dict[str, Any]:
    if size(response.body) > MAX_PAYLOAD_BYTES:
        response = failure(ResourceLimit(
            f"The answer is larger than the {MAX_PAYLOAD_BYTES // 1_000_000} MB that Lambda can return: "
            "ask for fewer columns or rows, or aggregate.", limit_bytes=MAX_PAYLOAD_BYTES,
        ), response.headers.get("X-Request-Id", request_id))  # fmt: skip
    return {
        "statusCode": response.status,
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "body": response.body.decode(),
        "isBase64Encoded": False,
    }


def _time_left(context: Any) -> float:
    return float(context.get_remaining_time_in_millis()) / 1_000 - MARGIN_S
