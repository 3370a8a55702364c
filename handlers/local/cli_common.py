"""What several commands share: the App of the project, who asks, durations, printing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.durations import seconds
from core.errors import ConfigInvalid
from core.model import Principal
from core.project import Project


def project_root(options: argparse.Namespace) -> Path:
    """--project or OMNI_PROJECT, else the nearest folder upward that has omni.yaml."""
    from core import project

    chosen = getattr(options, "project", None) or os.environ.get("OMNI_PROJECT") or None
    return Path(chosen).resolve() if chosen is not None else project.find(Path.cwd())


def load_project(options: argparse.Namespace) -> Project:
    from core import project
    from core.settings import Settings

    root = project_root(options)
    return project.load(root, os.environ, cache=state_folder(Settings.from_env(os.environ), root) / "cache")


def state_folder(settings: Any, root: Path) -> Path:
    return root / settings.state_dir if settings.state_dir else root / ".omni"


def open_app(options: argparse.Namespace) -> Any:
    """The App on the laptop's ports."""
    from core import bootstrap
    from core.settings import Settings
    from handlers.local.platform import platform

    project = load_project(options)
    settings = Settings.from_env(os.environ)
    return bootstrap.build(settings, platform(settings, os.environ, project.root), project)


def wants_json(options: argparse.Namespace) -> bool:
    return bool(getattr(options, "json", False))


def principal(text: str | None, project: Project) -> Principal:
    """``NAME[,role=R][,team=T][,tenant=X]``; a name of omni.yaml brings what is written there.

    The laptop's owner may be anybody: who can run this can read the project's files. A function never comes here.
    """
    given = text if text is not None else os.environ.get("OMNI_AS", "local")
    name, *rest = [part.strip() for part in given.split(",")]
    if not name:
        # An unset shell variable must not make the asker the owner of the machine.
        raise ConfigInvalid("--as (or OMNI_AS) is empty; it needs a name, such as ann or ann,role=viewer.", key="--as")
    known = project.principals.get(name)
    base = known.principal if known else Principal(name)
    roles, teams, tenant = set(base.roles), list(base.teams), base.tenant
    for part in rest:
        key, _, value = part.partition("=")
        if key == "role" and value:
            roles.add(value)
        elif key == "team" and value:
            teams.append(value)
        elif key == "tenant" and value:
            tenant = value
        else:
            raise ConfigInvalid(f"--as: {part!r} is none of role=R, team=T, tenant=X.", key="--as")
    return Principal(name, frozenset(roles), tuple(dict.fromkeys(teams)), tenant, base.attributes)


def duration(text: str, option: str) -> float:
    """Seconds; ConfigInvalid names the option."""
    try:
        return seconds(text)
    except ValueError as error:
        raise ConfigInvalid(f"{option}: {error}.", key=option) from None


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_rows(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int = 60) -> None:
    """A table; cells longer than ``width`` are cut."""
    from core.query.present import table

    sys.stdout.write(table(headers, rows, width=width) + "\n")


def note(text: str) -> None:
    """To standard error. Who reads it may have gone, which is no reason to stop."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
