"""The routes of the HTTP API: which verb of the App each one calls, and what it may be given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from core.durations import seconds
from core.errors import ConfigInvalid, EntitlementDenied, NotFound, SourceTimeout
from handlers.http import Call, HttpResponse, StatusError, answer, json_object
from handlers.instant import instant

if TYPE_CHECKING:
    from core.model import Ask, Principal

_LOG = logging.getLogger(__name__)
OPERATORS = frozenset({"admin", "operator"})
"""Roles that may see alerts' values, run alerts and silence them over HTTP."""
_QUERY_KEYS: dict[str, tuple[type, ...]] = {
    "sql": (str,), "params": (dict,), "max_staleness_ms": (int,), "timeout_ms": (int,), "mode": (str,),
    "dialect": (str,),
}  # fmt: skip
_RUN_WAIT_S = 10.0
_JOB_TIMEOUT_S = 600.0
"""Of a job whose caller sets no ``timeout_ms``; the worker's own time is a bound besides."""
_POLL_S = 2
_MOST_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Route:
    """``run(call, *arguments)``; the arguments are the ``{}`` segments of the pattern. Public needs no identity."""

    method: str
    pattern: str
    run: Callable[..., HttpResponse]
    public: bool = False


def match(method: str, path: str) -> tuple[Route, list[str]]:
    """The route and its path arguments; StatusError 404 for an unknown path, 405 (with Allow) for another method."""
    segments = path.strip("/").split("/")
    allowed: list[str] = []
    for route in ROUTES:
        arguments = _fits(route.pattern.strip("/").split("/"), segments)
        if arguments is None:
            continue
        if route.method == method.upper():
            return route, arguments
        allowed.append(route.method)
    if allowed:
        raise StatusError(405, ConfigInvalid(f"This path knows {', '.join(allowed)} only.", key="method"),
                      {"Allow": ", ".join(allowed)})  # fmt: skip
    raise StatusError(404, NotFound("There is nothing at this path; GET /openapi.json lists what there is."))


def _fits(pattern: list[str], segments: list[str]) -> list[str] | None:
    if len(pattern) != len(segments):
        return None
    arguments = []
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not given:
                return None
            arguments.append(given)
        elif wanted != given:
            return None
    from urllib.parse import unquote

    return [unquote(a) for a in arguments]


# ── ask ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _query(call: Call) -> HttpResponse:
    given = _given(call)
    if given.get("mode") != "async":
        from core.query.present import to_json

        return answer(to_json(call.app().ask(_bounded_ask(call, given))))
    ask = _ask(call, given)
    job = call.app().submit(ask if "timeout_ms" in given else replace(ask, timeout_s=_JOB_TIMEOUT_S))
    place = f"/v1/jobs/{job['job_id']}"
    return answer({"job_id": job["job_id"], "status_url": place}, status=202, headers={"Location": place})


def _explain(call: Call) -> HttpResponse:
    return answer(call.app().explain(_bounded_ask(call, _given(call))))


def _given(call: Call) -> dict[str, Any]:
    given: dict[str, Any] = json_object(call.request, _QUERY_KEYS, ("sql",))
    mode = given.get("mode", "sync")
    if mode not in ("sync", "async"):
        raise ConfigInvalid(f'\'mode\' has to be "sync" or "async", not {mode[:40]!r}.', key="mode")
    return given


def _bounded_ask(call: Call, given: Mapping[str, Any]) -> Ask:
    """The question, within the time that the platform leaves for answering it here."""
    ask = _ask(call, given)
    return replace(ask, timeout_s=_bounded(ask.timeout_s, call))


def _ask(call: Call, given: Mapping[str, Any]) -> Ask:
    for key, least in (("timeout_ms", 1), ("max_staleness_ms", 0)):
        if given.get(key, least) < least:
            raise ConfigInvalid(f"{key!r} has to be at least {least}, not {given[key]}.", key=key)
    if given.get("timeout_ms", 1) > _MOST_MS:
        raise ConfigInvalid(f"'timeout_ms' has to be at most {_MOST_MS} (a day).", key="timeout_ms")
    for name, value in given.get("params", {}).items():
        if not isinstance(value, str | int | float | bool | None):
            raise ConfigInvalid(f"Parameter {name[:80]!r} has to be a text, a number, true, false or null.",
                                key="params")  # fmt: skip
    options: dict[str, Any] = {key: given[key] for key in ("params", "max_staleness_ms", "dialect") if key in given}
    if "timeout_ms" in given:
        options["timeout_s"] = given["timeout_ms"] / 1_000
    return call.app().request(given["sql"], _who(call), origin="http", request_id=call.request_id, **options)


def _bounded(timeout_s: float, call: Call) -> float:
    """The caller's timeout, within what the platform leaves."""
    if call.time_left_s is None:
        return timeout_s
    if call.time_left_s <= 0:
        raise SourceTimeout("The function had no time left to start the query. Raise its timeout.")
    return min(timeout_s, call.time_left_s)


def _job(call: Call, job: str) -> HttpResponse:
    status = call.app().job(job, _who(call))
    if status["state"] == "DONE":
        status["result_url"] = f"/v1/jobs/{job}/result"
    return answer(status)


def _job_result(call: Call, job: str) -> HttpResponse:
    """The answer; 202 with the status while there is none; the error of a job that failed, with its own status."""
    found = call.app().job_result(job, _who(call))
    if found is not None:
        return answer(found)
    return answer(call.app().job(job, _who(call)), status=202, headers={"Retry-After": str(_POLL_S)})


def _tables(call: Call) -> HttpResponse:
    return answer({"tables": call.app().tables(_who(call), call.request.query.get("source") or None)})


def _table(call: Call, name: str) -> HttpResponse:
    return answer(call.app().describe(_who(call), name))


# ── watch ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _alerts(call: Call) -> HttpResponse:
    _operator(call)
    return answer({"alerts": call.app().alerts()})


def _alert(call: Call, name: str) -> HttpResponse:
    _operator(call)
    return answer(call.app().alert(name))


def _history(call: Call, name: str) -> HttpResponse:
    _operator(call)
    text = call.request.query.get("limit", "50")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 1_000):
        raise ConfigInvalid("'limit' has to be a whole number from 1 to 1000.", key="limit")
    return answer({"alert": name, "history": call.app().history(name, int(text))})


def _run(call: Call, name: str) -> HttpResponse:
    _operator(call)
    given = json_object(call.request, {"slot": (str,), "dry_run": (bool,)})
    slot = instant(cast("str", given["slot"]), "slot") if "slot" in given else None
    wait = _bounded(_RUN_WAIT_S, call)
    return answer(call.app().watch(name, slot, dry_run=bool(given.get("dry_run", False)), wait_s=wait))


def _silence(call: Call, name: str) -> HttpResponse:
    who = _operator(call)
    given = json_object(call.request, {"for": (str,), "because": (str,)}, ("for", "because"))
    because = cast("str", given["because"]).strip()
    if not because or len(because) > 500:
        raise ConfigInvalid("'because' has to say why, in at most 500 characters.", key="because")
    try:
        length = seconds(given["for"])
    except ValueError as error:
        raise ConfigInvalid(f"'for': {error}.", key="for") from None
    if length <= 0:
        raise ConfigInvalid("'for' has to be longer than nothing.", key="for")
    return answer(call.app().silence(name, length, because, who.name))


def _unsilence(call: Call, name: str) -> HttpResponse:
    who = _operator(call)
    return answer(call.app().unsilence(name, who.name))


def _operator(call: Call) -> Principal:
    who = _who(call)
    if not who.roles & OPERATORS:
        raise EntitlementDenied("Alerts over HTTP are for the roles admin and operator.")
    return who


def _who(call: Call) -> Principal:
    if call.principal is None:
        raise RuntimeError("a route that needs an identity ran without one")
    return call.principal


# ── about itself ─────────────────────────────────────────────────────────────────────────────────────────────────


def _healthz(_call: Call) -> HttpResponse:
    return answer({"status": "ok"})


def _readyz(call: Call) -> HttpResponse:
    """Ready once the project has loaded. The reason why not is for the log: this route asks for no identity."""
    from handlers.http import public

    try:
        call.app()
    except Exception as error:  # noqa: BLE001 (whatever stops the start means not ready)
        _LOG.error("not ready", exc_info=error, extra={"request_id": call.request_id})
        return answer({"status": "not ready", "code": public(error, call.request_id).code}, status=503)
    return answer({"status": "ready"})


def _metrics(call: Call) -> HttpResponse:
    if call.metrics is None:
        raise StatusError(404, NotFound("Metrics of a function are in its cloud's monitoring."))
    return HttpResponse(200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}, call.metrics.render())


def _openapi(_call: Call) -> HttpResponse:
    from handlers.openapi import DOCUMENT

    return answer(cast("Mapping[str, object]", DOCUMENT))


ROUTES = (
    Route("POST", "/v1/query", _query),
    Route("GET", "/v1/jobs/{job}", _job),
    Route("GET", "/v1/jobs/{job}/result", _job_result),
    Route("POST", "/v1/explain", _explain),
    Route("GET", "/v1/tables", _tables),
    Route("GET", "/v1/tables/{table}", _table),
    Route("GET", "/v1/alerts", _alerts),
    Route("GET", "/v1/alerts/{name}", _alert),
    Route("GET", "/v1/alerts/{name}/history", _history),
    Route("POST", "/v1/alerts/{name}/run", _run),
    Route("POST", "/v1/alerts/{name}/silence", _silence),
    Route("DELETE", "/v1/alerts/{name}/silence", _unsilence),
    Route("GET", "/healthz", _healthz, public=True),
    Route("GET", "/readyz", _readyz, public=True),
    Route("GET", "/metrics", _metrics),
    Route("GET", "/openapi.json", _openapi, public=True),
)
