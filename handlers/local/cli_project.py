"""`omni init`, `check`, `audit`, `bundle`, `policy test`, `version`."""

from __future__ import annotations

import argparse
import os
import platform as machine
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid, Error
from handlers.local.cli_common import (
    duration,
    load_project,
    note,
    open_app,
    print_json,
    print_rows,
    project_root,
    say,
    wants_json,
)


def init(options: argparse.Namespace) -> int:
    from handlers.local.starter import write

    folder = Path(options.dir)
    files = write(folder)
    if wants_json(options):
        print_json({"project": str(folder.resolve()), "files": files})
        return 0
    say(f"A project is in {folder}: {', '.join(files)}\n\nTry:")
    for command in (
        "ask 'SELECT region, sum(amount) AS total FROM orders GROUP BY region ORDER BY total DESC'",
        "ask 'SELECT * FROM customers' --as guest,role=viewer",
        "alert run big-orders",
    ):
        say(f"  omni --project {folder} {command}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Exit 1 when something is wrong: each finding has a place where there is one."""
    from handlers.local.checks import findings

    found = findings(project_root(options), os.environ, online=options.online)
    errors = [f for f in found if f["level"] == "error"]
    if wants_json(options):
        print_json({"ok": not errors, "findings": found})
    else:
        for finding in found:
            kind = "note" if finding["level"] == "note" else f"{finding['level']}: {finding['code']}"
            say(f"{kind}: {finding['message']}")
        notes = len(found) - len(errors)
        say(f"{len(errors)} error{'' if len(errors) == 1 else 's'}, {notes} note{'' if notes == 1 else 's'}")
    return 1 if errors else 0


def audit(options: argparse.Namespace) -> int:
    app = open_app(options)
    if options.verify:
        broken = app.audit.verify(options.tenant)
        count = sum(1 for _ in app.audit.records(options.tenant))
        if wants_json(options):
            print_json({"ok": not broken, "records": count, "findings": [asdict(f) for f in broken]})
        else:
            for finding in broken:
                say(f"broken: {finding.what}")
            say(f"{count} records, the chain is {'broken' if broken else 'whole'}")
        return 1 if broken else 0
    records = [dict(r) for r in app.audit.records(options.tenant, _since(options.since))]
    if wants_json(options):
        print_json({"records": records})
        return 0
    rows = [
        [
            r["at"],
            r["event"],
            r.get("principal"),
            r.get("origin", ""),
            r.get("code", ""),
            r.get("sql") or ", ".join(r.get("tables", [])),
        ]
        for r in records
    ]
    print_rows(["at", "event", "principal", "origin", "code", "sql / tables"], rows)
    return 0


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return datetime.now(UTC) - timedelta(seconds=duration(text, "--since"))


def bundle(options: argparse.Namespace) -> int:
    from infra import bundle as bundles
    from infra import parts
    from infra.places import writing

    root = load_project(options).root  # a project that does not validate is not bundled
    extra = {"python": options.python} if options.python else {}
    make: Any = parts.parts if options.parts else bundles.build
    note(f"Building what {options.cloud} gets ...")
    with writing(Path(options.out)):
        report = make(options.cloud, root, Path(options.out), **extra)
    if wants_json(options):
        print_json({k: str(v) if isinstance(v, Path) else v for k, v in asdict(report).items()})
    else:
        say((parts if options.parts else bundles).describe(report))
    return 0


def policy_test(options: argparse.Namespace) -> int:
    """Exit 1 when an expectation fails."""
    from core import bootstrap
    from core.deadline import Deadline
    from core.policy import check as policy_check

    app = open_app(options)

    def lookup(full_name: str) -> Any:
        source, _, table = full_name.partition(".")
        try:
            return app.catalog.table(source, table, Deadline(10))
        except Error:
            return None  # the source is away: types are read off the tests' own values

    results = policy_check.run(bootstrap.policies(app.project.document["policies"]), lookup)
    failed = [r for r in results if not r.passed]
    if wants_json(options):
        print_json({"ok": not failed, "tests": len(results), "failed": [asdict(r) for r in failed]})
    else:
        for r in failed:
            verb = "should see" if r.should_see else "should not see"
            say(f"failed: {r.place}: {r.user} {verb} {dict(r.row)} of {r.table}")
        say(f"{len(results)} tests, {len(failed)} failed")
    return 1 if failed else 0


def version(options: argparse.Namespace) -> int:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        number = installed("omnisentinel")
    except PackageNotFoundError:
        raise ConfigInvalid("omnisentinel is not installed here; run `make setup`.") from None
    if wants_json(options):
        print_json({"version": number, "python": machine.python_version()})
    else:
        say(f"omnisentinel {number}")
    return 0
