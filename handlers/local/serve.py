"""`omni serve`: the HTTP API, the scheduler, the sweeper and the worker of jobs in one process."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from core.errors import ConfigInvalid
from handlers.http import HttpRequest, respond
from handlers.local.cli_common import open_app
from handlers.metrics import Metrics

MAX_BODY = 1_000_001
IDLE_S = 30.0


class _Handler(BaseHTTPRequestHandler):
    """Bytes in, bytes out; what they mean is in handlers.http."""

    protocol_version = "HTTP/1.1"
    server_version = "omni"
    sys_version = ""

    def version_string(self) -> str:
        return self.server_version

    timeout = IDLE_S
    app: Any = None
    metrics: Any = None

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return
        parts = urlsplit(self.path)
        request = HttpRequest(
            self.command,
            parts.path,
            dict(self.headers.items()),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            body,
        )
        response = respond(self.app, request, time_left_s=None, metrics=self.metrics)
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _body(self) -> bytes | None:
        """The request's body; one byte more than allowed is enough for the 413. None after an answer of our own."""
        text = self.headers.get("Content-Length") or "0"
        if not text.isdigit() or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self.send_error(411 if not text.isdigit() else 501)
            return None
        length = int(text)
        if length >= MAX_BODY:
            self.close_connection = True
        return self.rfile.read(min(length, MAX_BODY))

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = do_PATCH = do_OPTIONS = _serve  # noqa: N815 the base's names

    def log_message(self, format: str, *args: Any) -> None:
        sys.stderr.write(f"{self.address_string()} {format % args}\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(options: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; a run that is under way is finished, what is owed stays in the outbox."""
    from handlers.local.queue import LocalQueue, Worker
    from handlers.local.scheduler import Scheduler
    from handlers.work import carry_out_job

    app = open_app(options)
    logging.basicConfig(level=app.settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    handler = type("Handler", (_Handler,), {"app": app, "metrics": Metrics()})
    try:
        server = _Server((options.host, options.port), handler)
    except OSError as error:
        raise ConfigInvalid(
            f"Cannot listen on {options.host}:{options.port}: {error.strerror}. Choose another --port.", key="--port"
        ) from None
    scheduler = Scheduler(app, app.project.alerts.values())
    scheduler.start()
    queue = app.platform.queue
    worker = Worker(queue, lambda body: carry_out_job(lambda: app, body)) if isinstance(queue, LocalQueue) else None
    if worker is not None:
        worker.start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    host, port = server.server_address[:2]
    scheduled = sum(1 for rule in app.project.alerts.values() if rule.enabled and rule.schedule)
    sys.stderr.write(f"omni serves http://{host!s}:{port}, {scheduled} alerts on schedule. Ctrl-C stops.\n")
    sys.stderr.flush()
    stop.wait()
    server.shutdown()
    scheduler.stop()
    if worker is not None:
        worker.stop()
    app.close()
    return 0
