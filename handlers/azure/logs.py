"""Structured logs: each line of ours is one JSON object, which Log Analytics reads with ``parse_json(Message)``.

The Functions worker hands whatever reaches the root logger to the host. Azure's SDK tells of every request it makes;
what is worth telling of them, our own errors say.
"""

from __future__ import annotations

import copy
import logging
import os

import orjson

_OURS = ("request_id", "route", "status", "elapsed_ms", "code", "place", "function", "message_id", "dequeue_count")


class _Json(logging.Handler):
    """Writes a record anew as JSON and hands it on to the root logger's handlers."""

    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelname, "message": record.getMessage(), "logger": record.name}
        line |= {name: getattr(record, name) for name in _OURS if hasattr(record, name)}
        if record.exc_info:
            line["stack_trace"] = logging.Formatter().formatException(record.exc_info)
        written = copy.copy(record)
        written.msg, written.args, written.exc_info, written.exc_text = (
            orjson.dumps(line, default=str).decode(),
            (),
            None,
            None,
        )
        logging.getLogger().handle(written)


def structured() -> None:
    """For our loggers, and no other's. OMNI_LOG_LEVEL sets the level."""
    level = logging.getLevelNamesMapping().get(os.environ.get("OMNI_LOG_LEVEL", "").upper(), logging.INFO)
    for name in ("core", "handlers", "omni"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [_Json()]
        logger.setLevel(level)
        logger.propagate = False
    for name in ("azure", "urllib3", "msal"):
        logging.getLogger(name).setLevel(logging.WARNING)
