"""Microsoft's worker library for Python 3.13 as a process, driven by the messages that the Functions host sends.

Not covered: the host itself, which matches routes and checks function keys (it is .NET and cannot run here).
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.runtimes.process import Child

CHILD = Path(__file__).with_name("azure_child.py")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Worker:
    """One worker process with the function app in ``folder``. ``functions``: name -> its bindings, as indexed."""

    def __init__(self, folder: Path, env: Mapping[str, str], *, python: Path, paths: Sequence[Path]) -> None:
        self.child = Child(
            [str(python), str(CHILD)],
            {"PYTHONPATH": ":".join(map(str, paths)), "PYTHONSAFEPATH": "1", "FUNCTIONS_WORKER_RUNTIME": "python",
             **env},
            folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._send({"directory": str(folder)})
        started = self._receive()
        assert started["ok"], started["error"]
        self.functions: dict[str, list[dict[str, Any]]] = self._receive()["functions"]

    def http(
        self, function: str, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One HTTP invocation; AssertionError where the function raised."""
        done = self._invoke({"function": function, "http": {
            "method": method, "url": url, "headers": {k.lower(): v for k, v in (headers or {}).items()},
            "query": dict(parse_qsl(urlsplit(url).query)), "params": {"path": urlsplit(url).path.lstrip("/")},
            "body": base64.b64encode(body).decode(),
        }})  # fmt: skip
        assert done["ok"], done["error"]
        return Reply(done["status"], done["headers"], base64.b64decode(done["body"]))

    def queue(self, function: str, text: str) -> dict[str, str] | None:
        """One queue message; returns the error the host would see, or None."""
        done = self._invoke({"function": function, "queue": text, "metadata": {
            "Id": "8a2f0c5e-5b0b-4b4e-8d7f-1d2a8f6f6a11", "DequeueCount": "1", "PopReceipt": "AgAAAAMAAAA=",
        }})  # fmt: skip
        error: dict[str, str] | None = done["error"] if not done["ok"] else None
        return error

    def log(self) -> str:
        return self.child.log()

    def _invoke(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._send(asked)
        return self._receive()

    def _send(self, value: dict[str, Any]) -> None:
        assert self.child.process.stdin is not None
        self.child.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.child.process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self.child.process.stdout is not None
        line = self.child.process.stdout.readline()
        assert line, f"the worker ended:\n{self.child.log()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()
