"""A server of the Lambda Runtime API, and awslambdaric (Amazon's own runtime client) as a process that polls it.

with Lambda("handlers.aws.main.ask", folder, env) as function:
    result = function.invoke(event)          # Result(payload, error)
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.runtimes.process import Child

_NEXT = "/2018-06-01/runtime/invocation/next"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:omnisentinel-test"


@dataclass(frozen=True, slots=True)
class Result:
    """``payload`` as the function returned it, or ``error`` as the runtime reported it (errorType, ...)."""

    payload: Any
    error: dict[str, Any] | None

    def http(self) -> tuple[int, dict[str, Any]]:
        """Status and parsed body of a payload 2.0 response."""
        assert self.error is None, self.error
        return self.payload["statusCode"], json.loads(self.payload["body"])


class _Api(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.todo: queue.Queue[tuple[str, bytes, float] | None] = queue.Queue()
        self.done: queue.Queue[tuple[str, Any, bool]] = queue.Queue()

    def handle_error(self, *_: object) -> None:
        """A runtime that is ended hangs up in the middle of its poll."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one write: else every call waits for a delayed acknowledgement
    server: _Api

    def do_GET(self) -> None:
        assert self.path == _NEXT, self.path
        item = self.server.todo.get()
        if item is None:
            self.close_connection = True
            return
        request_id, body, seconds = item
        self._send(200, body, {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1_000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
        })  # fmt: skip

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send(202, b'{"status":"OK"}', {})
        kind = self.path.rsplit("/", 1)[-1]
        self.server.done.put((self.path, json.loads(body), kind == "error"))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Lambda:
    """One function instance. ``python`` and ``paths`` choose the interpreter and its PYTHONPATH."""

    def __init__(
        self, handler: str, folder: Path, env: Mapping[str, str], *,
        python: Path = Path(sys.executable), paths: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        self._api = _Api()
        self._thread = threading.Thread(target=self._api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.started = time.monotonic()
        self.child = Child([str(python), "-m", "awslambdaric", handler], {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_address[1]}",
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": str(folder),
            "AWS_LAMBDA_FUNCTION_NAME": "omnisentinel-test",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/31/[$LATEST]0123456789abcdef",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": ":".join(str(p) for p in (folder, *paths)),
            **env,
        }, folder)  # fmt: skip

    def invoke(self, event: Any, *, seconds: float = 30.0, wait: float = 60.0) -> Result:
        """Send one event with ``seconds`` left on its clock; AssertionError where the process ends instead."""
        request_id = str(uuid.uuid4())
        self._api.todo.put((request_id, json.dumps(event).encode(), seconds))
        end = time.monotonic() + wait
        while True:
            try:
                path, body, failed = self._api.done.get(timeout=0.05)
            except queue.Empty:
                ended = self.child.process.poll() is not None
                if ended or time.monotonic() > end:
                    raise AssertionError(
                        f"no answer ({'it ended' if ended else 'too slow'}):\n{self.child.log()}"
                    ) from None
                continue
            assert request_id in path or path.endswith("/init/error"), path
            return Result(None, body) if failed else Result(body, None)

    def log(self) -> str:
        return self.child.log()

    def __enter__(self) -> Lambda:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()
        self._api.todo.put(None)
        self._api.shutdown()
        self._api.server_close()
