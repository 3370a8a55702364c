"""`omni ask --async`, `omni job`, `omni work`: questions that are answered later."""

from __future__ import annotations

import argparse
import sys
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


def work(options: argparse.Namespace) -> int:
    """Do what is due on this machine's queue, once."""
    app = open_app(options)
    queue = app.platform.queue
    if not isinstance(queue, LocalQueue):
        raise ConfigInvalid("omni work takes from this machine's own queue only.", key="work")
    done = queue.take(lambda body: carry_out_job(lambda: app, body))
    app.close()
    if wants_json(options):
        print_json({"messages": done})
    else:
        say(f"{done} message{'' if done == 1 else 's'}")
    return 0
