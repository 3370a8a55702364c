"""A runtime as a child process: started with a clean environment, its output kept for messages, ended with the test."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_S = 60.0
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SYSTEMROOT")


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` and what any process needs of this one: no PYTHONPATH, no credentials, no OMNI_* of the developer."""
    return {**{name: os.environ[name] for name in _KEPT if name in os.environ}, **env}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Child:
    """``with Child([...], env) as child``: the process; ``child.log()`` what it wrote so far."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path, **pipes: Any) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self.process = subprocess.Popen(
            list(command), env=clean(env), cwd=cwd, stderr=self._file, **{"stdout": self._file, **pipes},
        )  # fmt: skip

    def log(self) -> str:
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode(errors="replace")

    def wait_for_port(self, port: int) -> None:
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"it did not start to listen:\n{self.log()}") from None
                time.sleep(0.02)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self._file.close()
