"""`omni check`: everything that can be wrong in a project, each finding with its place.

Offline it reads files only. Online it also lists the sources, plans every alert's query and resolves the secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core import bootstrap, project, validate
from core.deadline import Deadline
from core.errors import ConfigInvalid, Error
from core.model import Rule
from core.project import Project
from core.settings import Settings
from core.source.sqlite import locate

Finding = dict[str, Any]
_SECRET = re.compile(r"secret:(\S+)")
SOURCE_S = 10.0


def findings(root: Path, env: Mapping[str, str], *, online: bool) -> list[Finding]:
    """``{"level": "error" | "note", "code", "message", "details"}``, errors first."""
    files = list(project.read(root))
    broken = [_finding(error) for error in validate.errors(root, files)]
    if broken:
        return broken
    loaded = project.load(root, env)
    from handlers.local.platform import platform

    settings = Settings.from_env(env)
    app = bootstrap.build(settings, platform(settings, env, loaded.root), loaded)
    found = list(_offline(app, loaded))
    if online:
        found += _online(app, loaded)
    found += [{"level": "note", "code": "NOTE", "message": note, "details": {}} for note in loaded.notes]
    return sorted(found, key=lambda f: f["level"] != "error")


def _finding(error: Error) -> Finding:
    return {"level": "error", "code": error.code, "message": error.message, "details": dict(error.details)}


def _offline(app: Any, loaded: Project) -> Iterator[Finding]:
    for name in loaded.source_names():
        try:
            app.catalog.source(name)
        except Error as error:
            yield _finding(error)
        else:
            yield from _absent(name, loaded)
    for name in loaded.channel_names():
        try:
            channel = loaded.channel(name)
            if channel.type == "email" and not (loaded.smtp or channel.options.get("host")):
                yield _note(f"channel {name!r}: no mail server is set; add `smtp:` to omni.yaml or set SMTP_HOST")
        except Error as error:
            yield _finding(error)
    for rule in loaded.alerts.values():
        try:
            _parse(rule)
        except Error as error:
            yield _at(rule, error)
        if not rule.channels:
            yield _note(f"{rule.place}: alert {rule.name!r} tells nobody: `notify` is empty")


def _absent(name: str, loaded: Project) -> Iterator[Finding]:
    """A database may be made later, by whoever fills it: worth a note, no error."""
    source = loaded.source(name)
    url = str(source.options.get("url"))
    if source.connector == "sqlite" and url.startswith("sqlite:"):
        path = locate(url, loaded.root, source.place)
        if not path.is_file():
            yield _note(f"{source.place}: source {name!r}: there is no SQLite database at {path}")


def _parse(rule: Rule) -> None:
    from core.query.parse import parse

    parse(rule.query, dialect=rule.dialect, now=datetime.now(UTC), timezone=rule.timezone)


def _online(app: Any, loaded: Project) -> Iterator[Finding]:
    for name in loaded.source_names():
        try:
            app.catalog.names(name, Deadline(SOURCE_S))
        except Error as error:
            yield _finding(_named(error, f"source {name!r}"))
    for reference in sorted(_references(loaded)):
        try:
            app.platform.secrets.get(reference)
        except Error as error:
            yield _finding(error)
    for rule in loaded.alerts.values():
        try:
            app.explain(rule.as_ask(datetime.now(UTC), "check"))
        except Error as error:
            yield _at(rule, error)


def _references(loaded: Project) -> set[str]:
    """Names of all secrets that the project refers to."""
    found: set[str] = set()
    stack: list[Any] = [loaded.document["sources"], loaded.document["channels"], loaded.document["smtp"]]
    stack += [p.key for p in loaded.principals.values()]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            stack += list(top.values())
        elif isinstance(top, list):
            stack += top
        elif isinstance(top, str):
            found |= {name for name in _SECRET.findall(top) if top.startswith("secret:") or " secret:" in top}
    return found


def _named(error: Error, what: str) -> ConfigInvalid:
    problem = ConfigInvalid(f"{what}: {error.message}")
    problem.code = error.code
    return problem


def _at(rule: Rule, error: Error) -> Finding:
    file, _, line = rule.place.rpartition(":")
    message = (
        error.message if error.message.startswith(rule.place) else f"{rule.place}: alert {rule.name!r}: {error.message}"
    )
    return {
        "level": "error",
        "code": error.code,
        "message": message,
        "details": {"file": file, "line": int(line), **error.details},
    }


def _note(text: str) -> Finding:
    return {"level": "note", "code": "NOTE", "message": text, "details": {}}
