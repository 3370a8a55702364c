"""Bytes to Ask and Answer or Error to bytes: the HTTP edge that the three clouds and ``omni serve`` share.

    respond(app, request, time_left_s=...)      one request in, one response out; never raises
    failure(error, request_id)                  the same mapping for what went wrong before there was an app

Identity comes from ``Authorization: Bearer <API key>`` and never from the body. Nothing here is ever cacheable.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from core.errors import ConfigInvalid, Error, Internal, ResourceLimit, Unauthenticated

if TYPE_CHECKING:
    from core.app import App
    from core.model import Principal
    from handlers.metrics import Metrics

MAX_BODY_BYTES = 1_000_000
JSON_TYPE = "application/json"
_LOG = logging.getLogger(__name__)
_LONG = re.compile(rb"[0-9]{19}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """``path`` is still percent-encoded and has no query; header names match in any case; ``query`` is decoded."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """What a route gets: the request, who asks, and how much time the platform leaves."""

    request: HttpRequest
    request_id: str
    time_left_s: float | None
    app: Callable[[], App]
    metrics: Metrics | None = None
    principal: Principal | None = None


class StatusError(Exception):
    """An error whose HTTP status is not the one of its code: 404 for a route, 405, 413."""

    def __init__(self, status: int, error: Error, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status, self.error, self.headers = status, error, dict(headers or {})


def respond(
    app: App | Callable[[], App],
    request: HttpRequest,
    *,
    time_left_s: float | None = None,
    principal: Principal | None = None,
    metrics: Metrics | None = None,
) -> HttpResponse:
    """Answer one request. ``app`` may be a function that builds it, called only by routes that need it.

    ``time_left_s``: what the platform leaves for this request; None where it sets no bound. ``principal``: an identity
    that the platform has already verified; else the Bearer key decides. ``metrics``: counts, and opens /metrics.
    """
    from handlers import routes

    started = time.monotonic()
    rid = request_id(request)
    call = Call(request, rid, time_left_s, lambda: built(app, rid), metrics, principal)
    route = "unmatched"
    try:
        found, arguments = routes.match(request.method, request.path)
        route = found.pattern
        response = found.run(call if found.public else _identified(call), *arguments)
    except Exception as error:  # noqa: BLE001 (the edge: a defect becomes INTERNAL, is logged, and never a bare 500)
        response = failure(error, rid)
    elapsed = time.monotonic() - started
    if metrics is not None:
        metrics.observe(route, response.status, elapsed)
    _LOG.info("%s %s %d", request.method[:16], route, response.status, extra={
        "request_id": rid, "route": route, "status": response.status, "elapsed_ms": round(elapsed * 1e3, 1),
    })  # fmt: skip
    return stamped(response, request, rid)


def failure(error: BaseException, request_id: str) -> HttpResponse:
    """The one mapping from an error to a response. What is not an Error, or is INTERNAL, is logged and not shown."""
    told = public(error, request_id)
    status, extra = (error.status, error.headers) if isinstance(error, StatusError) else (told.status, {})
    if told.retry_after_ms is not None or told.status == 429:
        extra["Retry-After"] = str(max(1, math.ceil((told.retry_after_ms or 1_000) / 1_000)))
    if told.status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="omnisentinel"'
    return answer({"error": told.to_dict(request_id)}, status=status, headers=extra)


def public(error: BaseException, request_id: str) -> Error:
    """The error as a caller may see it; a defect's cause goes to the log under the same request id."""
    if isinstance(error, StatusError):
        return error.error
    if isinstance(error, Error) and error.code != Internal.code:
        return error
    _LOG.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
    return Internal(f"Something failed on our side. Quote request {request_id} when you report it.")


def answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A JSON response; ``value`` is JSON-ready, or already encoded bytes."""
    body = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_UTC_Z, default=str)
    return HttpResponse(status, {"Content-Type": JSON_TYPE, **(headers or {})}, body)


def stamped(response: HttpResponse, request: HttpRequest, rid: str) -> HttpResponse:
    """The response with what every one carries: it is never stored, and names the request it answers."""
    headers = {**response.headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
               "X-Request-Id": rid}  # fmt: skip
    trace = request.header("traceparent")
    if trace is not None and _TRACEPARENT.fullmatch(trace):
        headers["Traceparent"] = trace
    return HttpResponse(response.status, headers, response.body)


def request_id(request: HttpRequest) -> str:
    """The caller's ``x-request-id``, else the trace id of its ``traceparent``, else a new one."""
    given = request.header("x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    trace = _TRACEPARENT.fullmatch(request.header("traceparent") or "")
    return trace[1] if trace else uuid.uuid4().hex


def bearer(header: str | None) -> str:
    """The key of an Authorization header; Unauthenticated where there is none."""
    scheme, _, key = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthenticated("No identity: send the header `Authorization: Bearer <API key>`.")
    return key.strip()


def json_object(
    request: HttpRequest, known: Mapping[str, tuple[type, ...]], needed: tuple[str, ...] = ()
) -> dict[str, object]:
    """The body as a JSON object whose keys are ``known`` (name -> accepted types); null counts as not given.

    The media type is not asked for: `curl -d` sends another one, and what counts is that the body is JSON.
    Raises StatusError 413 over 1 MB, and ConfigInvalid that names the key at fault.
    """
    found = json_body(request)
    if not isinstance(found, dict):
        raise ConfigInvalid('The body has to be a JSON object such as {"' + next(iter(known), "") + '": ...}.')
    return checked(found, known, needed)


def json_body(request: HttpRequest) -> Any:
    """The body as JSON (nothing counts as ``{}``), whatever its media type; errors as ``json_object``."""
    if len(request.body) > MAX_BODY_BYTES:
        raise StatusError(
            413,
            ResourceLimit(
                f"The body has {len(request.body)} bytes; at most {MAX_BODY_BYTES} are read.",
                limit_bytes=MAX_BODY_BYTES,
            ),
        )
    try:
        found = orjson.loads(request.body or b"{}")
        # orjson makes a float of a whole number beyond 64 bits; what it has read, json reads too.
        return json.loads(request.body) if _LONG.search(request.body) else found
    except orjson.JSONDecodeError as e:
        raise ConfigInvalid(f"The body is not JSON: {e.msg} (line {e.lineno}, column {e.colno}).",
                            line=e.lineno, column=e.colno) from None  # fmt: skip


def checked(
    found: Mapping[str, object], known: Mapping[str, tuple[type, ...]], needed: tuple[str, ...] = ()
) -> dict[str, object]:
    """``found`` without nulls, or ConfigInvalid for a key that is unknown, missing or of the wrong type."""
    for key in found:
        if key not in known:
            raise ConfigInvalid(
                f"Unknown key {key[:80]!r}.{nearest(key, known)} Known keys: {', '.join(known)}.", key=key[:80]
            )
    given = {key: value for key, value in found.items() if value is not None}
    for key, value in given.items():
        if type(value) not in known[key]:
            raise ConfigInvalid(f"{key!r} has to be {_KINDS[known[key][0]]}, not {_KINDS[type(value)]}.", key=key)
    for key in needed:
        if key not in given:
            raise ConfigInvalid(f"{key!r} is missing.", key=key)
    return given


def nearest(word: str, known: Mapping[str, object]) -> str:
    """``" Did you mean 'x'?"``, or nothing."""
    import difflib

    close = difflib.get_close_matches(word, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object",
          list: "a list", type(None): "null"}  # fmt: skip


def built(app: App | Callable[[], App], rid: str) -> App:
    """The App. Why a deployment does not start is for its log: who asks is not yet known here."""
    if not callable(app):
        return app
    try:
        return app()
    except ConfigInvalid as error:
        _LOG.error("the project does not load: %s", error.message, extra={"request_id": rid, "place": error.details})
        raise StatusError(
            500,
            ConfigInvalid(
                f"This deployment's project or settings are not valid; its log says why under request {rid}."
            ),
        ) from error


def _identified(call: Call) -> Call:
    if call.principal is not None:
        return call
    key = bearer(call.request.header("authorization"))
    return replace(call, principal=call.app().authenticate(key))
