"""Structured logs as Cloud Logging reads them: one JSON object a line on stderr, with ``severity``, ``message`` and the
trace of the request it belongs to."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import orjson

_OURS = ("request_id", "route", "status", "elapsed_ms", "code", "place")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_trace: ContextVar[Mapping[str, str] | None] = ContextVar("trace", default=None)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        line |= {name: getattr(record, name) for name in _OURS if hasattr(record, name)}
        line |= _trace.get() or {}
        if record.exc_info:
            line["stack_trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def structured() -> None:
    """Send our loggers (and no other's) to stderr in that form. OMNI_LOG_LEVEL sets the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json())
    level = logging.getLevelNamesMapping().get(os.environ.get("OMNI_LOG_LEVEL", "").upper(), logging.INFO)
    for name in ("core", "handlers"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


@contextmanager
def traced(traceparent: str | None) -> Iterator[None]:
    """Around one request: what is logged within carries its trace, so that Cloud Logging shows them together."""
    found = _TRACEPARENT.fullmatch((traceparent or "").strip())
    kept = _trace.set(None if found is None else _fields(found[1], found[2]))
    try:
        yield
    finally:
        _trace.reset(kept)


def _fields(trace: str, span: str) -> dict[str, str]:
    project = _project()
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{trace}" if project else trace,
        "logging.googleapis.com/spanId": span,
    }


def _project() -> str:
    """The function's project: Cloud Run sets no variable for it, the names of our resources begin with it."""
    found = re.match(r"projects/([^/]+)/", os.environ.get("OMNI_STORE_TABLE", ""))
    return found[1] if found else os.environ.get("GOOGLE_CLOUD_PROJECT", "")
