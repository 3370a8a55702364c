"""The OpenAPI 3.1 document of the HTTP API; a test holds it against the routes."""

from __future__ import annotations

from typing import Any


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/E{status}"} for status in (*statuses, 500)}


def _operation(
    name: str, summary: str, ok: dict[str, Any], errors: dict[str, Any], *,
    body: dict[str, Any] | None = None, parameters: tuple[str, ...] = (), public: bool = False,
) -> dict[str, Any]:  # fmt: skip
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": {"200": ok, **errors}}
    if body is not None:
        required = bool(body.pop("needed", True))
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": body}}}
    if parameters:
        operation["parameters"] = [{"$ref": f"#/components/parameters/{p}"} for p in parameters]
    if public:
        operation["security"] = []
    return operation


def _object(properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _parameter(name: str, place: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}


_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_FREE = {"type": "object", "additionalProperties": True}
_CALLER = (400, 401, 413)
_LATER = (403, 409, 422, 429, 502, 503, 504)

_SCHEMAS: dict[str, Any] = {
    "Query": _object(
        {
            "sql": {"type": "string", "minLength": 1, "description": "One SELECT; tables are named source.table."},
            "params": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
            "max_staleness_ms": {**_COUNT, "description": "Oldest data the answer may use."},
            "timeout_ms": {"type": "integer", "minimum": 1},
            "mode": {"type": "string", "enum": ["sync", "async"], "default": "sync",
                     "description": "async: the answer is a job's id; fetch it later."},
            "dialect": {"type": "string", "default": "duckdb"},
        },
        ("sql",),
        additionalProperties=False,
    ),
    "Answer": _object(
        {
            "columns": {"type": "array", "items": _object({"name": _TEXT, "type": _TEXT}, ("name", "type"))},
            "rows": {"type": "array", "items": {"type": "array"}},
            "row_count": _COUNT,
            "complete": {"type": "boolean"},
            "warnings": {"type": "array", "items": _TEXT},
            "freshness": {"type": "object", "additionalProperties": _object(
                {"fetched_at": {"type": "string", "format": "date-time"}, "age_ms": {"type": "number"},
                 "from_cache": {"type": "boolean"}})},
            "stats": _FREE,
            "masked": {"type": "array", "items": _TEXT},
            "trace_id": _TEXT,
        },
        ("columns", "rows", "row_count", "complete", "warnings", "freshness", "stats", "masked", "trace_id"),
    ),
    "Run": _object(
        {
            "alert": _TEXT,
            "slot": {"type": "string", "format": "date-time"},
            "outcome": {"type": "string", "enum": ["OK", "WARN", "ALERT", "NO_DATA", "ERROR"]},
            "instances": {"type": "array", "items": _FREE},
            "events": {"type": "array", "items": _FREE},
            "delivered": _COUNT,
            "owed": _COUNT,
            "dead": _COUNT,
            "given_up": {"type": "array", "items": _FREE},
            "put_off": {"type": "array", "items": _FREE},
            "state": {"type": ["string", "null"]},
            "error": _ref("ErrorBody"),
        },
        ("alert", "slot"),
    ),
    "ErrorBody": _object(
        {
            "code": {"type": "string", "enum": [
                "SQL_SYNTAX", "SQL_REJECTED", "CONFIG_INVALID", "UNAUTHENTICATED", "ENTITLEMENT_DENIED", "NOT_FOUND",
                "STATE_CONFLICT", "RESOURCE_LIMIT", "RATE_LIMIT_EXHAUSTED", "SOURCE_ERROR", "SOURCE_AUTH",
                "SOURCE_TIMEOUT", "STALE_DATA", "INTERNAL"]},
            "message": _TEXT,
            "details": _FREE,
            "retry_after_ms": _COUNT,
            "request_id": _TEXT,
        },
        ("code", "message", "details", "request_id"),
    ),
    "Error": _object({"error": _ref("ErrorBody")}, ("error",)),
}  # fmt: skip

_STATUS_MEANS = {
    400: "The request is wrong.", 401: "No identity, or one that does not verify.",
    403: "Not allowed, or not there.", 404: "There is nothing of that name.",
    409: "Another run holds it.", 413: "The body is over 1 MB.",
    422: "More rows, memory or calls than one request may use.", 429: "A quota is used up; see Retry-After.",
    500: "A defect of ours; the log has the cause under request_id.", 502: "A source failed.",
    503: "Only data older than allowed could be had.", 504: "A source did not answer in time.",
}  # fmt: skip


def _response(status: int) -> dict[str, Any]:
    response = _json(_ref("Error"), _STATUS_MEANS[status])
    if status == 429:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
    return response


def _listing(name: str) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": _FREE}}, (name,))


_SILENCE = _object(
    {"for": {"type": "string", "examples": ["2h"]}, "because": {"type": "string", "minLength": 1, "maxLength": 500}},
    ("for", "because"), additionalProperties=False,
)  # fmt: skip
_RUN = _object(
    {"slot": {"type": "string", "format": "date-time"}, "dry_run": {"type": "boolean", "default": False}},
    additionalProperties=False, needed=False,
)  # fmt: skip

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "OmniSentinel", "version": "1",
             "description": "Ask SQL across sources under one policy; see, run and silence alerts."},
    "security": [{"key": []}],
    "paths": {
        "/v1/query": {"post": _operation(
            "query", "Ask one question.", _json(_ref("Answer"), "The answer."),
            {"202": _json(_FREE, "Mode async: the job's id, and where its status is."), **_errors(*_CALLER, *_LATER)},
            body=_ref("Query"))},
        "/v1/jobs/{job}": {"get": _operation(
            "job", "The status of a job of yours.", _json(_FREE, "The status."), _errors(401, 404),
            parameters=("job",))},
        "/v1/jobs/{job}/result": {"get": _operation(
            "jobResult", "The answer of a job of yours, or the error it ended with.",
            _json(_ref("Answer"), "The answer."),
            {"202": _json(_FREE, "Not yet: the status."), **_errors(*_CALLER, 404, *_LATER)}, parameters=("job",))},
        "/v1/explain": {"post": _operation(
            "explain", "What would be called, pushed down, masked and filtered.", _json(_FREE, "The plan."),
            _errors(*_CALLER, *_LATER), body=_ref("Query"))},
        "/v1/tables": {"get": _operation(
            "tables", "The tables this caller may see.", _json(_listing("tables"), "The catalog."),
            _errors(401, 403, 502, 504), parameters=("source",))},
        "/v1/tables/{table}": {"get": _operation(
            "table", "One table's columns as this caller may see them.", _json(_FREE, "The table."),
            _errors(401, 403, 502, 504), parameters=("table",))},
        "/v1/alerts": {"get": _operation(
            "alerts", "All alerts and their state.", _json(_listing("alerts"), "The alerts."), _errors(401, 403))},
        "/v1/alerts/{name}": {"get": _operation(
            "alert", "One alert.", _json(_FREE, "The alert."), _errors(401, 403, 404), parameters=("name",))},
        "/v1/alerts/{name}/history": {"get": _operation(
            "history", "What happened, newest first.", _json(_listing("history"), "The history."),
            _errors(400, 401, 403, 404), parameters=("name", "limit"))},
        "/v1/alerts/{name}/run": {"post": _operation(
            "run", "Run an alert now, or for a slot.", _json(_ref("Run"), "What came of it."),
            _errors(*_CALLER, 404, *_LATER), body=_RUN, parameters=("name",))},
        "/v1/alerts/{name}/silence": {
            "post": _operation("silence", "Send nothing for a while; the state goes on.", _json(_FREE, "The silence."),
                               _errors(*_CALLER, 403, 404), body=_SILENCE, parameters=("name",)),
            "delete": _operation("unsilence", "End a silence.", _json(_FREE, "What is left."),
                                 _errors(401, 403, 404), parameters=("name",)),
        },
        "/healthz": {"get": _operation("healthz", "The process answers; no I/O.", _json(_FREE, "Alive."), _errors(),
                                       public=True)},
        "/readyz": {"get": _operation("readyz", "The project has loaded.", _json(_FREE, "Ready."),
                                      {"503": _json(_FREE, "Not ready.")}, public=True)},
        "/metrics": {"get": _operation(
            "metrics", "Prometheus metrics, where the server keeps any.",
            {"description": "Metrics.", "content": {"text/plain": {"schema": _TEXT}}}, _errors(401, 404))},
        "/openapi.json": {"get": _operation("openapi", "This document.", _json(_FREE, "OpenAPI 3.1."), _errors(),
                                            public=True)},
    },
    "components": {
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        "schemas": _SCHEMAS,
        "responses": {f"E{status}": _response(status) for status in _STATUS_MEANS},
        "parameters": {
            "name": _parameter("name", "path", _TEXT, "The alert's name."),
            "table": _parameter("table", "path", {"type": "string", "examples": ["shop.orders"]}, "source.table"),
            "job": _parameter("job", "path", _TEXT, "The job's id."),
            "source": _parameter("source", "query", _TEXT, "Only this source's tables."),
            "limit": _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
                                "At most so many."),
        },
    },
}  # fmt: skip
