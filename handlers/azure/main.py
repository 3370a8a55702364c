"""The three functions on Azure, as plain functions of Microsoft's request and message types.

ask     HTTP, every path; our API key is the identity, or whom App Service authentication has verified
watch   HTTP, called by Logic Apps or a person; the host checks the function key before this code runs
work    a Storage queue: jobs
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import azure.functions as func

from core.errors import Error
from handlers import trigger
from handlers.azure.identity import easy_auth, verified, with_key
from handlers.azure.logs import structured
from handlers.azure.platform import platform
from handlers.http import HttpRequest, HttpResponse, public, respond
from handlers.runtime import Warm

if TYPE_CHECKING:
    from core.model import Principal

HTTP_LIMIT_S = 220.0
"""Azure's front end gives up on a response after 230 s, whatever the function's own timeout is."""
TIMEOUT_S = 300.0
"""``functionTimeout`` in the bundle's host.json."""
MARGIN_S = 5.0
"""Kept back from the function's own timeout, for writing the answer."""
_LOG = logging.getLogger(__name__)
_TIMEOUT = re.compile(r"(\d\d):(\d\d):(\d\d)")

structured()
_warm = Warm(platform)


def ask(request: func.HttpRequest) -> func.HttpResponse:
    """One HTTP request of the API."""
    asked = _request(request)
    return _reply(
        respond(_warm.app, asked, time_left_s=min(HTTP_LIMIT_S, timeout_s() - MARGIN_S), principal=_principal(asked))
    )


def watch(request: func.HttpRequest) -> func.HttpResponse:
    """``{"alert", "scheduled_at"?}`` or ``{"sweep": true}``."""
    asked = _request(request)
    key = trigger.own_key(asked.header("authorization"))
    return _reply(trigger.respond(_warm.app, asked, key=key, time_left_s=timeout_s() - MARGIN_S))


def work(message: func.QueueMessage) -> None:
    """One job. What is raised makes the host show the message again, and after five times move it to the queue
    ``NAME-poison``, which an alarm watches."""
    from handlers.work import carry_out_job

    try:
        carry_out_job(_warm.app, message.get_body(), timeout_s() - MARGIN_S)
    except Exception as error:  # noqa: BLE001 (raised again, as the host may show it)
        told = public(error, message.id or "?")
        _LOG.warning("the message goes back to its queue", extra={
            "code": told.code, "message_id": message.id, "dequeue_count": message.dequeue_count, "function": "work",
        })  # fmt: skip
        raise told from None  # without the cause of a defect, which the log has


def timeout_s() -> float:
    """The function's time limit. Azure's runtime does not tell a function when it will be ended: the host's timeout is
    what ``host.json`` of the bundle says, unless an app setting says otherwise."""
    found = _TIMEOUT.fullmatch(os.environ.get("AzureFunctionsJobHost__functionTimeout", ""))  # noqa: SIM112 (Azure's)
    if found is None:
        return TIMEOUT_S
    hours, minutes, seconds = map(int, found.groups())
    return max(hours * 3_600 + minutes * 60 + seconds, MARGIN_S + 1.0)


def _principal(request: HttpRequest) -> Principal | None:
    """The project's principal for whom App Service has verified, or None: then the API key decides."""
    name = verified(request.headers)
    if name is None:
        return None
    try:
        config = _warm.app().project.principals.get(name)
    except Error:
        return None  # told by the route that needs the project
    return config.principal if config is not None else None


def _request(request: func.HttpRequest) -> HttpRequest:
    headers = with_key(request.headers, platform_checks=easy_auth(os.environ))
    return HttpRequest(request.method, urlsplit(request.url).path, headers, dict(request.params), request.get_body())


def _reply(response: HttpResponse) -> func.HttpResponse:
    return func.HttpResponse(body=response.body, status_code=response.status, headers=dict(response.headers))
