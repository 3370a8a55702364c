"""A child process that outlives us: what it says goes into files, so that our end does not break its pipes.

Terraform writes its state when it stops. Whoever kills us, closes the terminal or the pipe that we write to must not
end it between making a resource and noting that it has.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_POLL_S = 0.05
_STALE_S = 3_600.0
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Ended:
    """``interrupted``: we were told to stop meanwhile, and passed it on."""

    code: int
    out: str
    err: str
    interrupted: bool


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str], place: Path, *, shown: bool = False) -> Ended:
    """Run to the end. ``place``: where the files of what it says are while it runs; for nobody else to read.

    SIGINT, SIGTERM and SIGHUP go to the child as SIGINT and it is waited for. ``shown``: its standard output goes to
    our standard error as it comes.
    """
    place.mkdir(parents=True, exist_ok=True)
    sweep(place, "said-*")
    out, err = _file(place), _file(place)
    try:
        with out, err:
            child = subprocess.Popen(  # noqa: S603 (our own arguments)
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
            with _PassingOn(child) as passing:
                _wait(child, Path(out.name), shown)
        said = [Path(file.name).read_text("utf-8", "replace") for file in (out, err)]
        return Ended(child.returncode, said[0], said[1], passing.interrupted)
    finally:
        for file in (out, err):
            Path(file.name).unlink(missing_ok=True)


def sweep(place: Path, pattern: str) -> None:
    """Remove the files of runs that were killed."""
    for file in place.glob(pattern):
        try:
            if time.time() - file.stat().st_mtime > _STALE_S:
                file.unlink()
        except FileNotFoundError:
            continue  # another run was faster


def _file(place: Path) -> IO[bytes]:
    handle, name = tempfile.mkstemp(prefix="said-", dir=place)
    os.close(handle)
    return Path(name).open("wb")


def _wait(child: subprocess.Popen[bytes], said: Path, shown: bool) -> None:
    with said.open("rb") as file:
        line = b""
        while True:
            ended = child.poll() is not None
            while part := file.readline():
                line += part
                if line.endswith(b"\n"):
                    shown = shown and _echo(line)
                    line = b""
            if ended:
                return
            time.sleep(_POLL_S)


def _echo(line: bytes) -> bool:
    """Whether anybody reads it: a reader that has gone is no reason to stop."""
    try:
        sys.stderr.write(f"  {line.decode('utf-8', 'replace')}")
        sys.stderr.flush()
    except (OSError, ValueError):
        return False
    return True


class _PassingOn:
    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._before: dict[int, Any] = {}
        self.interrupted = False

    def __enter__(self) -> _PassingOn:
        if threading.current_thread() is threading.main_thread():
            for number in _PASSED_ON:
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def _pass_on(self, *_: object) -> None:
        self.interrupted = True
        self._child.send_signal(signal.SIGINT)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
