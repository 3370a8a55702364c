"""`omni schedule`: the timers that the project needs, in a cloud's words and in the cloud."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import ConfigInvalid
from core.settings import Settings
from handlers import clouds
from handlers.local.cli_common import load_project, print_json, print_rows, say, wants_json
from infra.deploy.aws_errors import sdk_explained
from infra.schedules import project_timers

if TYPE_CHECKING:
    from core.ports import Schedule, Scheduler
    from core.project import Project


@dataclass(frozen=True, slots=True)
class Change:
    """``action``: create, change or delete. ``before`` and ``after`` are None where there is none."""

    action: str
    name: str
    before: Schedule | None
    after: Schedule | None


def render(options: argparse.Namespace) -> int:
    found = project_timers(load_project(options), options.cloud)
    if wants_json(options):
        print_json(found)
        return 0
    rows = [
        [name, one["cron"], one["timezone"], json.dumps(next(iter(one["native"].values()))).strip('"')]
        for name, one in found.items()
    ]
    print_rows(["timer", "cron", "zone", options.cloud], rows, width=1_000)
    return 0


def plan(options: argparse.Namespace) -> int:
    project = load_project(options)
    with sdk_explained(options.cloud, "scheduler:ListSchedules"):
        changes = _changes(_scheduler(options, project), project, options.cloud)
    _show(changes, options, "would be", "would be")
    return 0


def apply(options: argparse.Namespace) -> int:
    """Create and change first, then delete: wherever it stops, no alert lacks its timer, and it can be repeated."""
    project = load_project(options)
    with sdk_explained(options.cloud, "scheduler:ListSchedules"):
        scheduler = _scheduler(options, project)
        changes = _changes(scheduler, project, options.cloud)
    for change in sorted(changes, key=lambda one: one.action == "delete"):
        if change.after is not None:
            scheduler.upsert(change.after)
        else:
            scheduler.delete(change.name)
        sys.stderr.write(f"{change.action} {change.name}\n")
    _show(changes, options, "was", "were")
    return 0


def _changes(scheduler: Scheduler, project: Project, cloud: str) -> list[Change]:
    from core.ports import Schedule

    wanted = {
        name: Schedule(name, one["cron"], one["timezone"], one["payload"])
        for name, one in project_timers(project, cloud).items()
    }
    there = {one.name: one for one in scheduler.list()}
    found: list[Change] = []
    for name in sorted(set(wanted) | set(there)):
        before, after = there.get(name), wanted.get(name)
        if before != after:
            action = "create" if before is None else "delete" if after is None else "change"
            found.append(Change(action, name, before, after))
    return found


def _scheduler(options: argparse.Namespace, project: Project) -> Scheduler:
    settings = Settings.from_env(os.environ)
    platform = clouds.load(clouds.PLATFORMS[options.cloud])(settings, os.environ, project.root)
    if platform.scheduler is None or not settings.schedule_group or not settings.schedule_target:
        raise ConfigInvalid(
            "Set OMNI_SCHEDULE_GROUP, OMNI_SCHEDULE_TARGET and OMNI_SCHEDULE_ROLE to what the deployment's outputs say "
            "(`terraform output`).", key="OMNI_SCHEDULE_GROUP",
        )  # fmt: skip
    scheduler: Scheduler = platform.scheduler
    return scheduler


def _show(changes: list[Change], options: argparse.Namespace, one: str, many: str) -> None:
    if wants_json(options):
        print_json({"changes": [_as_json(one) for one in changes]})
    elif not changes:
        say("The timers are as the project says.")
    else:
        rows = [[found.action, found.name, _words(found.before), _words(found.after)] for found in changes]
        print_rows(["action", "timer", "before", "after"], rows)
        say(f"1 timer {one} changed" if len(changes) == 1 else f"{len(changes)} timers {many} changed")


def _words(one: Schedule | None) -> str:
    return "" if one is None else f"{one.cron} {one.timezone}"


def _as_json(change: Change) -> dict[str, Any]:
    return {
        "action": change.action,
        "timer": change.name,
        "before": None if change.before is None else {"cron": change.before.cron, "timezone": change.before.timezone},
        "after": None if change.after is None else {"cron": change.after.cron, "timezone": change.after.timezone},
    }
