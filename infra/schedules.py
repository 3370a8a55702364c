"""A project's timers, and where in its files a schedule stands that a cloud has no words for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.alert.timers import timers
from core.errors import ConfigInvalid
from core.model import Rule
from core.project import Project


def project_timers(project: Project, cloud: str) -> dict[str, dict[str, Any]]:
    """``core.alert.timers.timers`` of the project. Raises ConfigInvalid with the line of each schedule at fault, and
    with ``file`` and ``line`` of the first one.

    A rule knows the line of its alert; the YAML is looked into only where something is wrong.
    """
    rules = list(project.alerts.values())
    try:
        return timers(rules, cloud)
    except ConfigInvalid:
        rules = [replace(rule, place=_place(project.root, rule)) for rule in rules]
    try:
        return timers(rules, cloud)
    except ConfigInvalid as error:
        file, _, line = error.message.split(": alert ")[0].rpartition(":")
        place = {"file": file, "line": int(line)} if line.isdigit() else {}
        raise ConfigInvalid(error.message, **{**error.details, **place}) from None


def _place(root: Path, rule: Rule) -> str:
    from core.yaml_places import load

    file = rule.place.rpartition(":")[0]
    try:
        data, places = load((root / file).read_bytes(), file)
    except (OSError, ConfigInvalid):
        return rule.place
    path = next((path for path, name in _alerts(data) if name == rule.name), None)
    return rule.place if path is None else f"{file}:{places.line((*path, 'schedule'))}"


def _alerts(data: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Where each alert of a document is, and its name: one, a list, or a list under ``alerts``."""
    if isinstance(data, dict):
        yield (), data.get("name")
    listed = data.get("alerts") if isinstance(data, dict) else data
    for index, one in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(one, dict):
            yield (("alerts", index) if isinstance(data, dict) else (index,)), one.get("name")
