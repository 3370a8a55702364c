"""YAML with the line of every key, so that an error can say where."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from core.errors import ConfigInvalid

Key = tuple[str | int, ...]
MAX_NODES = 200_000


@dataclass(slots=True)
class Places:
    """The line of each key's path; a path that is not there has its nearest parent's."""

    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, path: Sequence[str | int]) -> int:
        key = tuple(path)
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def load(body: bytes, name: str) -> tuple[Any, Places]:
    """Parse one document; ConfigInvalid names the line where it is not YAML or has a key twice."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise ConfigInvalid(f"{name}:{line}: not UTF-8 text. Save the file as UTF-8.", file=name, line=line) from None
    places = Places()
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        root = yaml.compose(text, Loader=loader)
        if root is not None:
            _walk(root, (), places, name)
        return yaml.load(text, Loader=loader), places  # noqa: S506 - a safe loader, chosen above
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigInvalid(f"{name}:{line}: not valid YAML: {error.problem}.", file=name, line=line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigInvalid(f"{name}: not valid YAML: {str(error).splitlines()[0]}.", file=name, line=1) from None


def _walk(node: yaml.Node, path: Key, places: Places, name: str) -> None:
    if len(places.lines) > MAX_NODES:  # aliases of aliases multiply
        raise ConfigInvalid(f"{name}: the document unfolds to more than {MAX_NODES:,} values.", file=name, line=1)
    places.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            if inner in places.lines:
                line = key.start_mark.line + 1
                raise ConfigInvalid(
                    f"{name}:{line}: the key {key.value!r} is there twice. Remove one.",
                    file=name,
                    line=line,
                    key=str(key.value),
                )
            places.lines[inner] = key.start_mark.line + 1
            _walk(value, inner, places, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            places.lines[(*path, index)] = value.start_mark.line + 1
            _walk(value, (*path, index), places, name)


_THERE_ARE = "docs/configuration.md and docs/alerts.md have the keys that there are."


def invalid(
    error: ValidationError, name: str, places: Places, model: type[BaseModel], prefix: Key = ()
) -> ConfigInvalid:
    """The first fault as ``file:line: key: what is wrong``, with the nearest known key for an unknown one.

    ``prefix``: where in the document the model's part begins.
    """
    first = _deepest(error)
    path = _document_path(prefix, first["loc"], places)
    line = places.line(path)
    key = ".".join(str(part) for part in path[len(prefix) :]) or str(first["loc"][-1] if first["loc"] else "document")
    if first["type"] == "extra_forbidden":
        known = sorted(set(_keys(model)))
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        text = f"unknown key {key!r}; did you mean {near[0]!r}?" if near else f"unknown key {key!r}: {_THERE_ARE}"
    elif first["type"] == "missing":
        missing = str(first["loc"][-1])
        key = ".".join([*(str(p) for p in path[len(prefix) :]), missing]) if key != missing else missing
        text = f"{missing!r} is missing."
    else:
        message = str(first["msg"]).removeprefix("Value error, ")
        text = f"{key}: {message.rstrip('.')}."
    return ConfigInvalid(f"{name}:{line}: {text}", file=name, line=line, key=key)


def _deepest(error: ValidationError) -> Any:
    """Of a union's complaints the one that got furthest: it is about the alternative that was meant."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    extra = [e for e in errors if e["type"] == "extra_forbidden"]
    return extra[0] if extra else max(errors, key=lambda e: len(e["loc"]) if e is errors[0] else len(e["loc"]) - 1)


def _document_path(prefix: Key, loc: Sequence[str | int], places: Places) -> Key:
    """The parts of pydantic's location that are keys of the document: it also names union members and models."""
    path: Key = prefix
    for part in loc:
        if (*path, part) in places.lines:
            path = (*path, part)
        elif isinstance(part, str) and part.endswith("_") and (*path, part[:-1]) in places.lines:
            path = (*path, part[:-1])
    return path


def _keys(model: type[BaseModel]) -> Iterator[str]:
    seen: set[type] = set()
    stack: list[Any] = [model]
    while stack:
        top = stack.pop()
        if isinstance(top, type) and issubclass(top, BaseModel) and top not in seen:
            seen.add(top)
            for name, info in top.model_fields.items():
                yield info.alias or name
                stack.append(info.annotation)
        else:
            stack += list(get_args(top))
