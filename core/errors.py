"""Every error a user can meet, drawn as one tree.

    Error
    ├── caller's mistake (exit 2)
    │   ├── SqlSyntax            SQL_SYNTAX           400   the text is not SQL
    │   ├── SqlRejected          SQL_REJECTED         400   it is SQL, but not a query that may run here
    │   ├── ConfigInvalid        CONFIG_INVALID       400   a project file, setting or option is wrong
    │   ├── Unauthenticated      UNAUTHENTICATED      401   no identity, or one that does not verify
    │   ├── EntitlementDenied    ENTITLEMENT_DENIED   403   not allowed, or not there: never told apart
    │   └── NotFound             NOT_FOUND            404   an alert, job or channel of that name does not exist
    ├── try again later (exit 3)
    │   ├── StateConflict        STATE_CONFLICT       409   another run holds it, or changed it first
    │   ├── ResourceLimit        RESOURCE_LIMIT       422   more memory, rows or calls than one request may use
    │   ├── RateLimitExhausted   RATE_LIMIT_EXHAUSTED 429   a quota is used up; carries retry_after_ms and scope
    │   ├── SourceError          SOURCE_ERROR         502   the source answered, and the answer is unusable
    │   ├── SourceAuth           SOURCE_AUTH          502   the source refused our credential
    │   ├── SourceTimeout        SOURCE_TIMEOUT       504   the source did not answer in time
    │   └── StaleData            STALE_DATA           503   only an answer older than allowed could be had
    └── Internal (exit 4)        INTERNAL             500   our fault

Each message says what happened, where, and what to do. No message may hold a secret or a value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Error(Exception):
    """Base of all errors that reach a user.

    ``message`` is one or two sentences for a person. ``details`` is JSON-ready and holds the place
    (``file``, ``line``, ``key``) or the part at fault. ``retry_after_ms`` is set where waiting helps.
    ``ours``: our own state (the store, the audit log) failed, which says nothing about what was asked.
    """

    code = "INTERNAL"
    status = 500
    exit_code = 4
    retryable = False
    ours = False

    def __init__(self, message: str, *, retry_after_ms: int | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.details: Mapping[str, Any] = {k: v for k, v in details.items() if v is not None}

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """Return ``{"code", "message", "details", "retry_after_ms"?, "request_id"}``."""
        body: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "details": dict(self.details),
            "request_id": request_id,
        }
        if self.retry_after_ms is not None:
            body["retry_after_ms"] = self.retry_after_ms
        return body


class CallerError(Error):
    """The request itself has to change."""

    status = 400
    exit_code = 2


class SqlSyntax(CallerError):
    code = "SQL_SYNTAX"


class SqlRejected(CallerError):
    code = "SQL_REJECTED"


class ConfigInvalid(CallerError):
    code = "CONFIG_INVALID"


class Unauthenticated(CallerError):
    code = "UNAUTHENTICATED"
    status = 401


class EntitlementDenied(CallerError):
    code = "ENTITLEMENT_DENIED"
    status = 403


class NotFound(CallerError):
    code = "NOT_FOUND"
    status = 404


class LaterError(Error):
    """The same request may succeed later."""

    exit_code = 3
    retryable = True


class StateConflict(LaterError):
    code = "STATE_CONFLICT"
    status = 409


class ResourceLimit(LaterError):
    code = "RESOURCE_LIMIT"
    status = 422
    retryable = False


class RateLimitExhausted(LaterError):
    code = "RATE_LIMIT_EXHAUSTED"
    status = 429


class SourceError(LaterError):
    code = "SOURCE_ERROR"
    status = 502


class SourceAuth(LaterError):
    code = "SOURCE_AUTH"
    status = 502
    retryable = False


class SourceTimeout(LaterError):
    code = "SOURCE_TIMEOUT"
    status = 504


class StaleData(LaterError):
    code = "STALE_DATA"
    status = 503


class Internal(Error):
    """A defect of ours: the message carries no detail of the cause, the log does."""


def by_code(told: Mapping[str, Any]) -> Error:
    """The error that ``to_dict`` told of. A code that is not known any more is Internal."""
    kinds: list[type[Error]] = [Error]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in reversed(kinds) if kind.code == told.get("code")), Internal)
    made = found(str(told.get("message", "")), retry_after_ms=told.get("retry_after_ms"))
    made.details = dict(told.get("details") or {})
    return made
