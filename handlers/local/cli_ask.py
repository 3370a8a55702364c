"""`omni ask`, `explain`, `tables`, `describe`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid
from core.model import Answer, Ask
from core.settings import Settings, size
from handlers.local.cli_common import (
    duration,
    load_project,
    open_app,
    principal,
    print_json,
    print_rows,
    say,
    wants_json,
)

SHOW_AFTER_S = 1.0


def ask(options: argparse.Namespace) -> int:
    timeout_s = _timeout(options)
    if options.async_:
        from handlers.local.cli_job import TIMEOUT_S, submit

        app = open_app(options)
        asked = _request(app, options)
        return submit(app, asked if timeout_s else replace(asked, timeout_s=TIMEOUT_S), wants_json(options))
    from handlers.local.guardian import guarded

    if timeout_s is None:
        timeout_s = load_project(options).defaults.timeout_s
    settings = Settings.from_env(os.environ)
    return guarded(lambda: _reported(options), timeout_s, size(settings.memory_limit))


def _reported(options: argparse.Namespace) -> int:
    """Ask and print, errors included: this is where the guarded child begins and ends."""
    from handlers.local.cli import run_safely

    return run_safely(lambda: _ask(options), wants_json(options))


def _ask(options: argparse.Namespace) -> int:
    app = open_app(options)
    with _progress() as progress:
        answer = app.ask(_request(app, options), progress)
    _print(answer, options.format or ("json" if wants_json(options) else "table"))
    app.close()
    return 0


def _timeout(options: argparse.Namespace) -> float | None:
    if not options.timeout:
        return None
    timeout_s = duration(options.timeout, "--timeout")
    if timeout_s <= 0:
        raise ConfigInvalid("--timeout has to be longer than 0.", key="--timeout")
    return timeout_s


def explain(options: argparse.Namespace) -> int:
    app = open_app(options)
    plan = app.explain(_request(app, options))
    if wants_json(options):
        print_json(plan)
        return 0
    say(f"runs in: {plan['runs_in']} ({plan['why']})")
    say(f"calls:   {plan['calls'] if plan['calls'] is not None else 'as many as there are pages'}")
    for scan in plan["scans"]:
        say(f"\n{scan['table']} as {scan['as']}")
        say(f"  columns     {', '.join(scan['columns'])}")
        say(f"  pushed      {' AND '.join(scan['pushed']) or 'nothing'}")
        for kept in scan["not_pushed"]:
            say(f"  not pushed  {kept['predicate']}: {kept['why']}")
        if scan["limit"] is not None:
            say(f"  limit       {scan['limit']}")
        say(f"  calls       {scan['calls_note']}")
        say(f"  read        {scan['reads']}; {scan['freshness']}")
    if plan["rows_filtered"]:
        say(f"\nrows filtered by policy: {', '.join(plan['rows_filtered'])}")
    if plan["masked"]:
        say(f"masked by policy:        {', '.join(plan['masked'])}")
    say(f"\n{plan['sql']}")
    return 0


def tables(options: argparse.Namespace) -> int:
    app = open_app(options)
    found = app.tables(principal(options.as_, app.project), options.source)
    if wants_json(options):
        print_json({"tables": found})
        return 0
    print_rows(["table", "connector"], [[t["table"], t["connector"]] for t in found if "error" not in t])
    for broken in (t for t in found if "error" in t):
        sys.stderr.write(f"{broken['table']}: {broken['error']}\n")
    return 0


def describe(options: argparse.Namespace) -> int:
    app = open_app(options)
    found = app.describe(principal(options.as_, app.project), options.table)
    if wants_json(options):
        print_json(found)
        return 0
    say(found["table"] + (f": {found['doc']}" if found["doc"] else ""))
    if found["rows_filtered"]:
        say("You see some of its rows only.")
    rows = [[c["name"], c["type"], _notes(c), " ".join(c["pushdown"]), c["doc"]] for c in found["columns"]]
    print_rows(["column", "type", "notes", "filtered at source by", "about"], rows)
    return 0


def _notes(column: dict[str, Any]) -> str:
    notes = ["required"] if column["required"] else []
    notes += ["not in *"] if column["hidden"] else []
    notes += [f"masked ({column['masked']})"] if column["masked"] else []
    return ", ".join(notes)


# ── the question ─────────────────────────────────────────────────────────────────────────────────────────────────


def _request(app: Any, options: argparse.Namespace) -> Ask:
    question: Ask = app.request(
        _sql(options),
        principal(options.as_, app.project),
        params=dict(_param(text) for text in options.param),
        timeout_s=_timeout(options),
        max_staleness_ms=round(duration(options.max_staleness, "--max-staleness") * 1000)
        if options.max_staleness
        else None,
        dialect=options.dialect or "duckdb",
        row_limit=getattr(options, "limit", None),
        origin="cli",
    )
    return question


def _sql(options: argparse.Namespace) -> str:
    if (options.sql is None) == (options.file is None):
        raise ConfigInvalid(
            "Give the SQL as an argument, with -f FILE, or - for standard input; one of these.", key="sql"
        )
    if options.sql == "-":
        return sys.stdin.read()
    if options.sql is not None:
        return str(options.sql)
    try:
        return Path(options.file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigInvalid(f"{options.file} cannot be read: {reason}.", file=options.file) from None


def _param(text: str) -> tuple[str, Any]:
    """``k=v``; v is a number, true, false, null or a JSON list where it reads as one, else a text."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigInvalid(f"--param {text!r}: write it as name=value.", key="--param")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


# ── while it runs ────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """One line on a terminal's stderr for a fetch that takes long; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    started = time.monotonic()
    shown = threading.Event()

    def show(source: str, table: str, *, rows: int, calls: int, total_calls: int | None) -> None:
        if time.monotonic() - started < SHOW_AFTER_S:
            return
        shown.set()
        of = f" of {total_calls}" if total_calls else ""
        sys.stderr.write(f"\r\x1b[K{source}.{table}: {rows:,} rows, call {calls}{of}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if shown.is_set():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


# ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────


def _print(answer: Answer, form: str) -> None:
    from core.query import present

    if form == "json":
        sys.stdout.buffer.write(present.to_json(answer) + b"\n")
    elif form == "ndjson":
        sys.stdout.buffer.writelines(present.ndjson(answer))
    elif form == "csv":
        sys.stdout.write(present.to_csv(answer))
    else:
        sys.stdout.write(present.table([name for name, _ in answer.columns], answer.rows) + "\n")
        _footer(answer)
    if form in ("ndjson", "csv"):
        for warning in answer.warnings:
            sys.stderr.write(f"warning: {warning}\n")


def _footer(answer: Answer) -> None:
    stats = answer.stats
    count = len(answer.rows)
    calls = stats["calls"]
    parts = [f"{count} row{'' if count == 1 else 's'}", f"{stats['elapsed_ms']:.0f} ms"]
    if calls is not None:
        parts.append(f"{calls} call{'' if calls == 1 else 's'}")
    lines = [", ".join(parts)]
    if answer.masked:
        lines.append(f"masked: {', '.join(answer.masked)}")
    lines += [f"warning: {warning}" for warning in answer.warnings]
    sys.stdout.flush()
    # Answers go to stdout and nothing else does: the note about them goes beside.
    sys.stderr.write("\n".join(f"({line})" for line in lines) + "\n")
