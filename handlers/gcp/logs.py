"""Structured logs as Cloud Logging reads them: one JSON object a line on stderr, ``severity`` and ``message`` in it."""

from __future__ import annotations

import logging
import os

import orjson

_OURS = ("request_id", "route", "status", "elapsed_ms", "code", "place")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        line |= {name: getattr(record, name) for name in _OURS if hasattr(record, name)}
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
