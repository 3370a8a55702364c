"""Runs one command in a child of this process, which can be ended whatever it does.

A query may sit in one call of the engine that no interrupt reaches, with the interpreter's lock held, or take more
memory than its limit says. The parent does nothing but wait: it ends the child when its time is over, and says so.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from core.errors import Error, ResourceLimit, SourceTimeout

GRACE_S = 3.0
HEADROOM_BYTES = 1_500_000_000
"""Above the engine's own limit: the interpreter, the libraries, rows on their way, and what engines count late."""


_STOPS = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


def _stop(number: int, _: object) -> None:
    """Whoever ends the parent means the query: the child goes first. The code is what a shell shows for a signal."""
    raise SystemExit(128 + number)


def guarded(run: Callable[[], int], timeout_s: float, memory_bytes: int) -> int:
    """The exit code of ``run`` in a child. Raises SourceTimeout and ResourceLimit where the child had to end.

    Where this system cannot fork, ``run`` runs here, unguarded.
    """
    if not hasattr(os, "fork"):
        return run()
    sys.stdout.flush()
    sys.stderr.flush()
    for number in _STOPS:
        signal.signal(number, _stop)
    child = os.fork()
    if child == 0:
        for number in _STOPS:
            signal.signal(number, signal.SIG_DFL)
        _limit(memory_bytes + HEADROOM_BYTES)
        code = 4
        try:
            code = run()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return _wait(child, timeout_s)


def _limit(memory_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    except (ImportError, ValueError, OSError):
        return  # the system knows no such limit: the engine's own has to do


def _wait(child: int, timeout_s: float) -> int:
    until = time.monotonic() + timeout_s + GRACE_S
    try:
        pause = 0.002
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return _code(status)
            if time.monotonic() > until:
                raise _ended(child, timeout_s)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
    except (KeyboardInterrupt, SystemExit):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def _ended(child: int, timeout_s: float) -> Error:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return SourceTimeout(f"The query did not stop within {timeout_s + GRACE_S:g} s and was ended. Ask for less.")


def _code(status: int) -> int:
    if os.WIFSIGNALED(status):
        raise ResourceLimit(
            f"The query was ended by the system (signal {os.WTERMSIG(status)}), probably for its memory. Ask for less.",
        )
    return os.waitstatus_to_exitcode(status)
