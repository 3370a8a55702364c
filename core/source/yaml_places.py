"""YAML with the line of every key, so that an error can say where.

Kept beside the connector schema: a connector is read on the cold path of one query, and needs no more than this.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from core.errors import ConfigInvalid

Key = tuple[str | int, ...]


@dataclass(slots=True)
class Places:
    """The line of each key's path; a path that is not there has its nearest parent's."""

    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, path: Sequence[str | int]) -> int:
        key = tuple(path)
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def load(file: Path) -> tuple[Any, Places]:
    """Read ``file``; ConfigInvalid names the line where it is not YAML, or has a key twice."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigInvalid(f"{file} cannot be read: {type(err).__name__}.", file=str(file)) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        places = Places()
        if root is not None:
            _walk(root, (), places, file)
        return yaml.safe_load(text), places
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigInvalid(f"{file}:{line}: not valid YAML: {err.problem}.", file=str(file), line=line) from None


def _walk(node: yaml.Node, path: Key, places: Places, file: Path) -> None:
    places.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            if inner in places.lines:
                line = key.start_mark.line + 1
                raise ConfigInvalid(f"{file}:{line}: the key {key.value} is there twice.", file=str(file), line=line)
            places.lines[inner] = key.start_mark.line + 1
            _walk(value, inner, places, file)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _walk(value, (*path, i), places, file)


def invalid(err: ValidationError, file: Path, places: Places, model: type[BaseModel]) -> ConfigInvalid:
    """The first fault as file:line: key: what is wrong, with the nearest known key for an unknown one."""
    first = err.errors()[0]
    path = tuple(part for part in first["loc"])
    known = [p for p in path if tuple(path[: path.index(p) + 1]) in places.lines]
    line = places.line(known)
    key = ".".join(str(p) for p in path)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _known_keys(model), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        text = f"unknown key {key}{hint}"
    else:
        text = f"{key}: {first['msg']}."
    return ConfigInvalid(f"{file}:{line}: {text}", file=str(file), line=line, key=key)


def _known_keys(model: type[BaseModel], seen: frozenset[type] = frozenset()) -> list[str]:
    """All keys that the document's models have: near enough for a suggestion."""
    found: list[str] = []
    for cls in [model, *_children(model)]:
        found += [f.alias or n for n, f in cls.model_fields.items()]
    return found


def _children(model: type[BaseModel]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for info in model.model_fields.values():
        for part in _parts(info.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel) and part not in found:
                found += [part, *_children(part)]
    return found


def _parts(annotation: Any) -> list[Any]:
    inner = getattr(annotation, "__args__", ())
    return [annotation, *(p for arg in inner for p in _parts(arg))]
