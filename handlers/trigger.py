"""What **watch** is told, by a scheduler or a person: ``{"alert": NAME, "scheduled_at": ISO}`` or ``{"sweep": true}``.

Every scheduler delivers at least once, so a delivery that comes twice, or while another run holds the alert, is
answered as done and not as a failure: retrying it would be useless. Every other error is a failure of the function, for
that is what schedulers retry and alarms count. An alert whose query fails is no such error: its outcome is ERROR.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import ConfigInvalid, Error, NotFound, SourceError, StateConflict, Unauthenticated
from handlers.http import (
    HttpRequest,
    HttpResponse,
    StatusError,
    answer,
    built,
    checked,
    failure,
    json_body,
    request_id,
    stamped,
)
from handlers.instant import instant

if TYPE_CHECKING:
    from core.app import App

_LOG = logging.getLogger(__name__)
_KEYS: dict[str, tuple[type, ...]] = {"alert": (str,), "scheduled_at": (str,), "sweep": (bool,), "time": (str,)}
_ENVELOPE = frozenset({"version", "id", "detail-type", "source", "account", "region", "resources", "detail"})
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
_LITERAL = "<aws.scheduler."


@dataclass(frozen=True, slots=True)
class Order:
    """Run one alert for ``slot`` (None: now), or sweep where ``alert`` is None."""

    alert: str | None
    slot: datetime | None = None


def order(event: object, *, fallback: str | None = None) -> Order:
    """Read an event. ``fallback``: when the scheduler says it fired, where the event itself does not.

    An EventBridge envelope is accepted around it: ``detail`` holds the order and ``time`` the slot.
    Raises ConfigInvalid that names what is missing, unknown or of the wrong type.
    """
    if not isinstance(event, Mapping):
        raise ConfigInvalid('The event has to be an object such as {"alert": "NAME"}.')
    body: dict[str, Any] = dict(event)
    if "detail-type" in body:
        body = _opened(body)
    given: dict[str, Any] = checked(body, _KEYS)
    if given.get("sweep"):
        if "alert" in given:
            raise ConfigInvalid("Send either 'alert' or 'sweep', not both.", key="sweep")
        return Order(None)
    if not given.get("alert"):
        raise ConfigInvalid('The event names no alert: send {"alert": "NAME"} or {"sweep": true}.', key="alert")
    for key in ("scheduled_at", "time"):
        text = given.get(key)
        if text and not text.startswith(_LITERAL):  # a scheduler that fills in no template sends its own name for it
            return Order(given["alert"], instant(text, key))
    return Order(given["alert"], instant(fallback, "schedule time") if fallback else None)


def carry_out(app: Callable[[], App], told: Order, time_left_s: float | None = None) -> dict[str, Any]:
    """Run or sweep, in the ``time_left_s`` that the platform leaves this call; returns the JSON-ready report:
    ``{"alert", "slot", "skipped"}`` where another run holds it.

    Raises what keeps the run from being done. A sweep goes through all alerts first, then raises SourceError for those
    that failed.
    """
    if told.alert is None:
        return _swept(_with_dead_logged(app().sweep(time_left_s)))
    try:
        return _with_dead_logged(app().watch(told.alert, told.slot, time_left_s=time_left_s))
    except StateConflict as held:
        _LOG.info("alert %s is held by another run", told.alert)
        slot = told.slot.strftime("%Y-%m-%dT%H:%M:%SZ") if told.slot else None
        return {"alert": told.alert, "slot": slot, "skipped": held.message}


def _with_dead_logged(report: dict[str, Any]) -> dict[str, Any]:
    """A message that was given up reaches nobody: in a cloud the log is where an alarm can be set on it."""
    if report.get("given_up") or report.get("put_off"):
        from core.alert.dead import put_off, sentence

        for entry in report.get("given_up", ()):
            _LOG.error("%s", sentence(entry))
        for entry in report.get("put_off", ()):
            _LOG.warning("%s", put_off(entry))
    return report


def respond(
    app: Callable[[], App],
    request: HttpRequest,
    *,
    fallback: str | None = None,
    key: str | None = None,
    time_left_s: float | None = None,
) -> HttpResponse:
    """The HTTP form, for clouds whose scheduler calls a URL. ``key``: an API key to check besides the platform's check.

    Never raises. 4xx: this call is wrong and will stay so. Everything else that fails is 429 or 5xx, which schedulers
    try again and show as failed, whatever its status is elsewhere.
    """
    rid = request_id(request)
    try:
        if request.method.upper() != "POST":
            raise ConfigInvalid("watch knows POST only.", key="method")
        told = order(json_body(request), fallback=fallback)
    except Exception as error:  # noqa: BLE001 (the edge: mapped, and logged where it is not the caller's)
        return stamped(failure(error, rid), request, rid)
    try:
        ready = built(app, rid)
        if key is not None:
            ready.authenticate(key)
        response = answer(carry_out(lambda: ready, told, time_left_s))
    except Exception as error:  # noqa: BLE001 (as above)
        response = failure(_failed(error), rid)
    return stamped(response, request, rid)


def own_key(authorization: str | None) -> str | None:
    """The API key that a caller of **watch** over HTTP sent besides what its platform checked, or None.

    A JWT is the platform's: schedulers send one, and IAM verified it before this code ran. Sending a forged one gains
    nothing, for sending none is as good here.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or _JWT.fullmatch(token.strip()):
        return None
    return token.strip()


def _failed(error: Exception) -> Exception:
    """The error of a call that was well formed, with a status that says so. An alert, a slot or a key may still be
    the call's mistake."""
    if not isinstance(error, Error):
        return error
    of_the_call = isinstance(error, NotFound | Unauthenticated) or error.details.get("key") == "slot"
    if of_the_call:
        return error
    _LOG.error("watch failed: %s: %s", error.code, error.message, extra={"code": error.code})
    return error if error.status == 429 or error.status >= 500 else StatusError(500, error)


def _swept(report: dict[str, Any]) -> dict[str, Any]:
    failed = report["errors"]
    if failed:
        raise SourceError(
            f"The sweep failed for {len(failed)} alert{'s' * (len(failed) > 1)}: "
            + "; ".join(f"{one['alert']}: {one['code']}: {one['message']}" for one in failed[:5]),
            **report,
        )
    return report


def _opened(envelope: dict[str, Any]) -> dict[str, Any]:
    """The order inside an EventBridge envelope; ``detail`` may be an object or its text."""
    import orjson

    detail = envelope.get("detail") or {}
    try:
        inner = orjson.loads(detail) if isinstance(detail, str) else detail
    except orjson.JSONDecodeError:
        raise ConfigInvalid("'detail' of the event is not JSON.", key="detail") from None
    if not isinstance(inner, Mapping):
        raise ConfigInvalid("'detail' of the event has to be an object.", key="detail")
    outer = {name: value for name, value in envelope.items() if name not in _ENVELOPE}
    return {**outer, **inner}
