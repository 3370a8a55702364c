"""The HTTP server of `omni serve`: bytes in, bytes out; what they mean is in handlers.http.

A request is carried out only when it is whole: a body that ends early asks for nothing.
"""

from __future__ import annotations

import http
import io
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from core.errors import ConfigInvalid, SourceTimeout
from handlers.http import HttpRequest, HttpResponse, StatusError, failure, request_id, respond, stamped

MAX_BODY = 1_000_001
IDLE_S = 30.0
WHOLE_S = 60.0
"""A request has to be there whole within this time of the answer before it."""


class Handler(BaseHTTPRequestHandler):
    """One connection. ``app``, ``metrics``: see handlers.http."""

    protocol_version = "HTTP/1.1"
    server_version = "omni"
    sys_version = ""
    timeout = IDLE_S
    whole_s = WHOLE_S
    app: Any = None
    metrics: Any = None

    def setup(self) -> None:
        super().setup()
        self._reading = _Deadline(self.connection)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._reading)

    def handle_one_request(self) -> None:
        self._reading.until = time.monotonic() + self.whole_s
        super().handle_one_request()

    def version_string(self) -> str:
        return self.server_version

    def _serve(self) -> None:
        try:
            request = self._whole()
        except StatusError as error:
            self.close_connection = True  # what follows on this connection could be read as another request
            self._refuse(error)
            return
        with self.server.working():  # type: ignore[attr-defined] # this handler serves a Server
            self._answer(respond(self.app, request, time_left_s=None, metrics=self.metrics))

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = do_PATCH = do_OPTIONS = _serve  # noqa: N815 the base's names

    def _whole(self) -> HttpRequest:
        """The request with its body; one byte more than allowed is enough for the 413."""
        if self.headers.get("Transfer-Encoding"):
            raise StatusError(501, ConfigInvalid("Chunked bodies are not read here: send a Content-Length."))
        text = self.headers.get("Content-Length") or "0"
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise StatusError(400, ConfigInvalid("Content-Length has to be a number of bytes."))
        wanted = min(int(text), MAX_BODY)
        try:
            body = self.rfile.read(wanted)
        except TimeoutError:
            raise StatusError(408, SourceTimeout(f"The body did not come within {self.whole_s:g} s.")) from None
        if len(body) < wanted:
            raise StatusError(400, ConfigInvalid(
                f"The body ended after {len(body)} of {wanted} bytes: nothing was done."
            ))  # fmt: skip
        if wanted == MAX_BODY:
            self.close_connection = True
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise StatusError(400, ConfigInvalid("The request's target is no path.")) from None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return HttpRequest(self.command, parts.path, dict(self.headers.items()), query, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base finds wrong with a request, in our form."""
        self.close_connection = True
        self.request_version = self.protocol_version  # a version that is none would get an answer without headers
        self._refuse(StatusError(code, ConfigInvalid(f"{message or http.HTTPStatus(code).phrase}.")))

    def _refuse(self, error: StatusError) -> None:
        told = HttpRequest(getattr(self, "command", None) or "", "", dict(getattr(self, "headers", None) or {}))
        rid = request_id(told)
        self._answer(stamped(failure(error, rid), told, rid))

    def _answer(self, response: HttpResponse) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if getattr(self, "command", None) != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:
        sys.stderr.write(f"{self.address_string()} {format % args}\n")


class _Deadline(socket.SocketIO):
    """Reads of a connection until ``until`` (monotonic): who sends a byte a minute holds no thread for ever."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, "r")
        self._connection = connection
        self.until = time.monotonic() + WHOLE_S

    def readinto(self, buffer: Any) -> int | None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request was not whole in time")
        self._connection.settimeout(min(IDLE_S, left))
        try:
            return super().readinto(buffer)
        finally:
            self._connection.settimeout(IDLE_S)


class Server(ThreadingHTTPServer):
    """One thread a connection; ``busy()``: whether any of them is answering."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._answering = 0
        self._counting = threading.Lock()

    @contextmanager
    def working(self) -> Iterator[None]:
        with self._counting:
            self._answering += 1
        try:
            yield
        finally:
            with self._counting:
                self._answering -= 1

    def busy(self) -> bool:
        return self._answering > 0
