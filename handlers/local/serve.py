"""`omni serve`: the HTTP API, the scheduler, the sweeper and the worker of jobs in one process."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading

from core.errors import ConfigInvalid
from handlers.local.cli_common import open_app
from handlers.local.http_server import Handler, Server
from handlers.metrics import Metrics


def serve(options: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT. What is under way may end within seconds; then jobs are given back to their queue,
    and what is owed stays in the outbox."""
    from handlers.local.queue import LocalQueue, Worker
    from handlers.local.scheduler import Scheduler
    from handlers.work import carry_out_job

    app = open_app(options)
    logging.basicConfig(level=app.settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    handler = type("Bound", (Handler,), {"app": app, "metrics": Metrics()})
    try:
        server = Server((options.host, options.port), handler)
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
    sys.stderr.write(
        f"omni serves http://{host!s}:{port}, {scheduled} alert{'s' * (scheduled != 1)} on schedule. Ctrl-C stops.\n"
    )
    sys.stderr.flush()
    stop.wait()
    server.shutdown()
    ended = scheduler.stop()
    if worker is not None:
        ended &= worker.stop()
    app.give_back()
    if not ended or server.busy():
        _leave()
    app.close()
    return 0


def _leave() -> None:
    """End the process under a query that goes on: DuckDB would have it end with SIGABRT once the interpreter is taken
    down around it. Nothing is lost: what a run or a job has done so far is on record, and taken up again."""
    sys.stderr.write(
        "Ended in the middle of a query. Alerts and jobs go on with the next start; questions have to be asked again.\n"
    )
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
