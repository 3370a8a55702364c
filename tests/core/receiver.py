"""A webhook's other side on a free local port: keeps what it got and answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 204
    headers: dict[str, str] | None = None
    drop: bool = False  # hang up without an answer


class WebhookReceiver:
    """Use as a context manager. ``replies`` are answered in turn, then 204. ``on_call`` runs before the answer."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.on_call: Callable[[Call], None] = lambda call: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                outer._handle(self)

            do_POST = do_GET = do_PUT = do_PATCH = handle_any  # noqa: N815 the names http.server looks for

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> WebhookReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        call = Call(request.command, request.path, {k.lower(): v for k, v in request.headers.items()}, body)
        self.calls.append(call)
        reply = self.replies.pop(0) if self.replies else Reply()
        self.on_call(call)
        if reply.drop:
            request.connection.close()
            return
        try:
            request.send_response(reply.status)
            for name, value in (reply.headers or {}).items():
                request.send_header(name, value)
            request.send_header("Content-Length", "0")
            request.end_headers()
        except OSError:
            return  # the caller was killed meanwhile
