"""What **work** does with one message of the queue, whatever cloud brought it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from core.errors import ConfigInvalid, Error, StateConflict

if TYPE_CHECKING:
    from core.app import App

_LOG = logging.getLogger(__name__)


def carry_out_job(
    app: Callable[[], App], body: bytes | str | Mapping[str, Any], time_left_s: float | None = None
) -> dict[str, Any]:
    """Run the job that the message names. Returning means that the queue may forget the message.

    Returns ``{"job", "state", "skipped"?, "error"?}``. Raises whatever has to bring the message back, and with it, in
    the end, among the dead letters: ConfigInvalid for a message that is none of ours, StateConflict where another
    worker took over a job that took too long here, and errors that another attempt may not meet.
    """
    try:
        message = orjson.loads(body) if isinstance(body, bytes | str) else body
    except orjson.JSONDecodeError:
        _LOG.error("a message of the queue is not JSON")
        raise ConfigInvalid("The message of the queue is not JSON.", key="body") from None
    try:
        done = app().work(message, time_left_s)
    except StateConflict as held:
        _LOG.info("%s", held.message)
        raise
    except Error as error:
        job = message.get("job") if isinstance(message, Mapping) else None
        _LOG.error("job %s failed: %s: %s", job, error.code, error.message, extra={"code": error.code})
        raise
    _LOG.info("job %s: %s", done["job"], done.get("skipped") or done["state"])
    return done
