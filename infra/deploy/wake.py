"""After an apply: ask an app whether it is well, until it is. Azure starts nothing before somebody asks.

An app's first answer takes a minute or two: its instance comes up, roles that were given just now begin to count, and
the host writes the access keys that the timers read.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

PATIENCE_S = 300.0
_POLL_S, _ASK_S = 10.0, 60.0
Ask = Callable[[str], int]
"""URL -> the status of its answer, 0 where none came."""


def wake(
    cloud: str,
    outputs: Mapping[str, Any],
    note: Callable[[str], None],
    *,
    patience_s: float = PATIENCE_S,
    ask: Ask | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, int] | None:
    """App -> its last answer to ``/healthz``; 200 means that it is awake. None where nothing has to be woken.

    ``outputs``: the root module's; ``apps`` has every app, ``ask_url`` alone the one that is always there. An app that
    does not wake within ``patience_s`` is noted, and no reason to fail: what was applied is applied.
    """
    if cloud != "azure":
        return None
    apps: Mapping[str, str] = outputs.get("apps") or ({"stable": outputs["ask_url"]} if outputs.get("ask_url") else {})
    if not apps:
        return None
    look, until, answers = ask or _status, clock() + patience_s, dict.fromkeys(apps, 0)
    while True:
        for name in [name for name, status in answers.items() if status != 200]:
            answers[name] = look(f"{apps[name].rstrip('/')}/healthz")
        if set(answers.values()) == {200} or clock() >= until:
            break
        sleep(_POLL_S)
    for name, status in answers.items():
        if status == 200:
            note(f"{name}: awake")
        else:
            told = f"answers {status}" if status else "does not answer"
            note(f"{name}: {apps[name]}/healthz {told} after {patience_s / 60:.0f} minutes. Its log says why; until it "
                 "answers, its timers may fail at the step `key`.")  # fmt: skip
    return answers


def _status(url: str) -> int:
    if not url.startswith("https://"):
        return 0
    try:
        with urllib.request.urlopen(url, timeout=_ASK_S) as answer:  # noqa: S310 (https only, see above)
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0
