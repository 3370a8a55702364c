"""Lines of the log as the Functions host gets them."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, format="%(message)s", stream=sys.stdout)
from handlers.azure.logs import structured
structured()
structured()
logging.getLogger("core.x").info("one %s", "word", extra={"request_id": "r-1", "secret": "never"})
logging.getLogger("handlers.y").debug("too much")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("omni.jobs").exception("failed")
logging.getLogger("azure.core.pipeline.policies.http_logging_policy").info("GET https://x/?sig=SECRET")
logging.getLogger("azure.identity").warning("worth knowing")
logging.getLogger("somebody").info("else")
"""


def test_ours_are_json_once_and_the_sdks_chatter_is_not_there() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    first, second = json.loads(lines[0]), json.loads(lines[1])
    assert first == {"level": "INFO", "message": "one word", "logger": "core.x", "request_id": "r-1"}
    assert (second["level"], second["logger"]) == ("ERROR", "omni.jobs")
    assert "ZeroDivisionError" in second["stack_trace"]
    assert lines[2:] == ["worth knowing", "else"]
