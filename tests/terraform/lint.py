"""tflint's recommended rules for Terraform modules that can be judged without it, and our own on order and docs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def problems(folder: Path) -> list[str]:
    """``RULE: what`` for each breach in one module."""
    files = {path: hcl2.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.tf"))}
    text = "\n".join(re.sub(r"(?m)^\s*#.*$", "", path.read_text("utf-8")) for path in files)
    return [*_structure(files), *_declared(files, text), *_used(files, text), *_style(files, text)]


def _structure(files: Mapping[Path, Any]) -> Iterator[str]:
    settings = [one for document in files.values() for one in document.get("terraform", [])]
    if not any("required_version" in one for one in settings):
        yield "required_version: there is none"
    providers = _providers(settings)
    for name, one in providers.items():
        if "version" not in {_bare(key) for key in one}:
            yield f"required_providers: {name} has no version"
    used = {kind.split("_")[0] for _, kind, _ in _resources(files)}
    for name in sorted(used - set(providers) - {"terraform"}):
        yield f"required_providers: {name} is used and not declared"
    for kind in ("variable", "output"):
        for path, name, _ in _blocks(files, kind):
            if path.name != f"{kind}s.tf":
                yield f"structure: {kind} {name} belongs in {kind}s.tf"


def _declared(files: Mapping[Path, Any], text: str) -> Iterator[str]:
    for kind in ("variable", "output"):
        names = [name for _, name, _ in _blocks(files, kind)]
        if names != sorted(names):
            yield f"order: {kind}s are not in alphabetical order"
        for _, name, body in _blocks(files, kind):
            if not body.get("description"):
                yield f"documented: {kind} {name} has no description"
            if kind == "variable" and "type" not in body:
                yield f"typed: variable {name} has no type"
            if not _NAME.fullmatch(name):
                yield f"naming: {kind} {name}"


def _used(files: Mapping[Path, Any], text: str) -> Iterator[str]:
    for _, name, _ in _blocks(files, "variable"):
        if not re.search(rf"\bvar\.{name}\b", text):
            yield f"unused: variable {name}"
    for document in files.values():
        for block in document.get("locals", []):
            for name in map(_bare, block):
                if not name.startswith("__") and not re.search(rf"\blocal\.{name}\b", text):
                    yield f"unused: local {name}"
    for kind, of, name in _resources(files):
        if not _NAME.fullmatch(name):
            yield f"naming: {of}.{name}"
        if kind == "data" and not re.search(rf"\bdata\.{of}\.{name}\b", text):
            yield f"unused: data {of}.{name}"


def _style(files: Mapping[Path, Any], text: str) -> Iterator[str]:
    if re.search(r"^\s*//", text, re.M):
        yield "comments: write # and not //"
    for found in re.findall(r'=\s*("\$\{[^{}"]+\}")\s*$', text, re.M):
        yield f"interpolation: {found} needs no quotes"


def _providers(settings: list[Any]) -> dict[str, Mapping[str, Any]]:
    found = {}
    for one in settings:
        for required in one.get("required_providers", []):
            found |= {_bare(name): body for name, body in required.items() if isinstance(body, dict)}
    return found


def _blocks(files: Mapping[Path, Any], kind: str) -> Iterator[tuple[Path, str, Any]]:
    for path, document in files.items():
        for block in document.get(kind, []):
            for name, body in block.items():
                if not name.startswith("__"):
                    yield path, _bare(name), body


def _resources(files: Mapping[Path, Any]) -> Iterator[tuple[str, str, str]]:
    for kind in ("resource", "data"):
        for document in files.values():
            for block in document.get(kind, []):
                for of, named in block.items():
                    yield from ((kind, _bare(of), _bare(name)) for name in named if not name.startswith("__"))


def _bare(text: str) -> str:
    return text.strip('"')
