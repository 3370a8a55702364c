"""`omni ask --async`, `omni job`, `omni work`: questions that are answered later."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import orjson

from core.errors import ConfigInvalid, StateConflict
from handlers.local.cli_common import open_app, principal, print_json, say, wants_json
from handlers.local.queue import LocalQueue
from handlers.work import carry_out_job

if TYPE_CHECKING:
    from core.app import App
    from core.model import Ask

TIMEOUT_S = 600.0


def submit(app: App, ask: Ask, as_json: bool) -> int:
    """Put the question on the queue and print the job."""
    job = app.submit(ask)
    if as_json:
        print_json(job)
    else:
        say(job["job_id"])
        sys.stderr.write(f"Queued. `omni serve` or `omni work` does it; `omni job {job['job_id']}` shows it.\n")
    return 0


def job(options: argparse.Namespace) -> int:
    app = open_app(options)
    who = principal(options.as_, app.project)
    if not options.result:
        print_json(app.job(options.id, who))
        return 0
    found = app.job_result(options.id, who)
    if found is None:
        state = app.job(options.id, who)["state"]
        raise StateConflict(f"The job is {state}: there is no answer yet.", retry_after_ms=2_000, job=options.id)
    print_json(orjson.loads(found))
    return 0


class _Stop:
    """Called by a signal. The thread that works is inside the engine, where no signal is looked at."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.number = 0

    def __call__(self, number: int, _frame: object) -> None:
        self.number = number
        self.called.set()


def _taken(app: App, queue: LocalQueue, stop: _Stop) -> int:
    """How many messages were done. A signal ends this process: the job under way is given back to its queue."""
    found: list[int | BaseException] = []

    def take() -> None:
        try:
            found.append(queue.take(lambda body: carry_out_job(lambda: app, body), stop.called.is_set))
        except BaseException as error:  # noqa: BLE001 (raised by the thread that waits)
            found.append(error)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    while thread.is_alive() and not stop.called.is_set():
        thread.join(0.05)
    if stop.called.is_set():
        app.give_back()
        sys.stderr.write("interrupted: the job goes back to its queue\n")
        sys.stderr.flush()
        os._exit(128 + stop.number)  # the engine goes on, and would end a process that waits for it with SIGABRT
    (done,) = found
    if isinstance(done, BaseException):
        raise done
    return done


def work(options: argparse.Namespace) -> int:
    """Do what is due on this machine's queue, once."""
    app = open_app(options)
    queue = app.platform.queue
    if not isinstance(queue, LocalQueue):
        raise ConfigInvalid("omni work takes from this machine's own queue only.", key="work")
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    done = _taken(app, queue, stop)
    app.close()
    if wants_json(options):
        print_json({"messages": done})
    else:
        say(f"{done} message{'' if done == 1 else 's'}")
    return 0
