"""The three functions on Azure, as plain functions of Microsoft's request and message types.

ask     HTTP, every path; our API key is the identity
watch   HTTP, called by Logic Apps or a person; the host checks the function key before this code runs
work    a Storage queue
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import azure.functions as func

from core.errors import ConfigInvalid
from handlers import trigger
from handlers.azure.platform import platform
from handlers.http import HttpRequest, HttpResponse, respond
from handlers.runtime import Warm

HTTP_LIMIT_S = 220.0
"""Azure's front end gives up on a response after 230 s, whatever the function's own timeout is."""
_warm = Warm(platform)


def ask(request: func.HttpRequest) -> func.HttpResponse:
    """One HTTP request of the API."""
    return _reply(respond(_warm.app, _request(request), time_left_s=HTTP_LIMIT_S))


def watch(request: func.HttpRequest) -> func.HttpResponse:
    """``{"alert", "scheduled_at"?}`` or ``{"sweep": true}``."""
    key = trigger.own_key(request.headers.get("Authorization"))
    return _reply(trigger.respond(_warm.app, _request(request), key=key))


def work(message: func.QueueMessage) -> None:
    """Jobs are not there yet: raises, so that the message goes back, and after five tries to the poison queue."""
    logging.getLogger(__name__).error("jobs are not there yet: message %s goes back", message.id)
    raise ConfigInvalid("Jobs are not there yet: this message goes back to its queue.")


def _request(request: func.HttpRequest) -> HttpRequest:
    return HttpRequest(
        request.method, urlsplit(request.url).path, dict(request.headers), dict(request.params), request.get_body()
    )


def _reply(response: HttpResponse) -> func.HttpResponse:
    return func.HttpResponse(body=response.body, status_code=response.status, headers=dict(response.headers))
