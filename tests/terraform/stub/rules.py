"""The checks that a schema cannot say and a provider makes: computed arguments, required ones that are null, values,
and arguments that exclude each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.terraform.stub.wire import UNKNOWN, error

Path = tuple[str | int, ...]


def check(block: Mapping[str, Any], rules: Mapping[str, Any], config: Mapping[str, Any]) -> list[Any]:
    """Diagnostics for one resource's configuration."""
    return [*_flags(block, config, ()), *_values(rules, config), *_together(rules, config)]


def _flags(block: Mapping[str, Any], config: Mapping[str, Any], at: Path) -> Iterator[Any]:
    for name, one in block.get("attributes", {}).items():
        settable = one.get("optional") or one.get("required")
        if not settable and config.get(name) is not None:
            yield error("Value for unconfigurable attribute",
                        f'Can\'t configure a value for "{name}": the provider decides it.', (*at, name))  # fmt: skip
        if one.get("required") and config.get(name) is None:
            yield error("Missing required argument", f'The argument "{name}" is required, but it is null.', (*at, name))
    for name, one in block.get("block_types", {}).items():
        for i, inner in enumerate(_instances(one["nesting_mode"], config.get(name))):
            step: Path = (*at, name, i) if one["nesting_mode"] == "list" else (*at, name)
            yield from _flags(one["block"], inner, step)


def _instances(nesting: str, value: Any) -> list[Any]:
    if value is None or value is UNKNOWN:
        return []
    found = [value] if nesting in ("single", "group") else list(value.values() if nesting == "map" else value)
    return [one for one in found if isinstance(one, dict)]


def _values(rules: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Any]:
    for path, limit in rules.get("values", {}).items():
        for at, value in _leaves(config, path.split("."), ()):
            if "enum" in limit and value not in limit["enum"]:
                allowed = ", ".join(map(str, limit["enum"][:30]))
                yield error(f"expected {path} to be one of [{allowed}], got {value}", steps=at)
            if "pattern" in limit and not re.search(limit["pattern"], str(value)):
                yield error(f"invalid value for {path}: {value!r}", f"It must match {limit['pattern']}", at)
            if isinstance(value, int | float) and not isinstance(value, bool):
                if value < limit.get("min", value):
                    yield error(f"expected {path} to be at least {limit['min']}, got {value}", steps=at)
                if value > limit.get("max", value):
                    yield error(f"expected {path} to be at most {limit['max']}, got {value}", steps=at)


def _leaves(value: Any, parts: Sequence[str], at: Path) -> Iterator[tuple[Path, Any]]:
    if value is None or value is UNKNOWN or value == "":
        return
    if isinstance(value, list):
        for i, one in enumerate(value):
            yield from _leaves(one, parts, (*at, i))
    elif not parts:
        yield at, value
    elif isinstance(value, dict):
        yield from _leaves(value.get(parts[0]), parts[1:], (*at, parts[0]))


def _together(rules: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Any]:
    def given(names: Sequence[str]) -> list[str]:
        return [name for name in names if config.get(name) not in (None, [])]

    for names in rules.get("exactly_one_of", ()):
        if not any(config.get(name) is UNKNOWN for name in names) and len(given(names)) != 1:
            detail = f"exactly one of {', '.join(names)} must be given, not {len(given(names))}"
            yield error("Invalid combination of arguments", detail, (names[0],))
    for names in rules.get("conflicts", ()):
        if len(given(names)) > 1:
            yield error("Conflicting configuration arguments", f"{' and '.join(given(names))} exclude each other",
                        (names[0],))  # fmt: skip
