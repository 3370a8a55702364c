"""What goes into a function's bundle: an allow-list, so that a secret or a state file cannot slip in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid
from infra.snapshot import SIDE_FILES, is_database

CLOUDS = ("aws", "gcp", "azure")
_DECLARED = ("omni.yaml", "policies/**/*.yaml", "policies/**/*.yml", "alerts/**/*.yaml", "alerts/**/*.yml",
             "connectors/*/connector.yaml")  # fmt: skip
_NEVER = re.compile(r"(^|/)(\.[^/]*|__pycache__|.*\.pem|.*\.key|.*-(wal|shm|journal))(/|$)")
_REST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:///?(?!/)(?P<path>.*)")


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """``taken`` and ``left`` out: paths below the project's folder, sorted."""

    taken: tuple[str, ...]
    left: tuple[str, ...]
    connectors: frozenset[str]


def code_files(repository: Path, cloud: str) -> Iterator[str]:
    """Paths of our own code that ``cloud`` needs: core, the shared edge, its own folder. Nothing of another cloud."""
    yield from (p for p in _below(repository, "core") if "/samples/" not in p and not p.endswith(".md"))
    for folder in ("handlers", f"handlers/{cloud}"):
        for path in sorted((repository / folder).iterdir()):
            if path.is_file() and path.suffix != ".pyc":
                yield f"{folder}/{path.name}"


def project_files(root: Path) -> ProjectFiles:
    """The declared YAML and the data files that its sources name below the folder.

    Hidden files (``.omni/``, ``.env``), keys and SQLite's side files are never taken, whatever names them. Neither
    ``.omni/`` nor the side files of a database that is taken count as left out: its snapshot has what they hold.
    Raises ConfigInvalid where there is no omni.yaml.
    """
    if not (root / "omni.yaml").is_file():
        raise ConfigInvalid(f"{root} is not a project: it has no omni.yaml.", file=str(root / "omni.yaml"))
    taken = {_relative(path, root) for pattern in _DECLARED for path in root.glob(pattern) if path.is_file()}
    documents = [_yaml(root / name) for name in sorted(taken) if name == "omni.yaml" or name.startswith("alerts/")]
    for text in {text for document in documents for text in _source_texts(document)}:
        taken |= set(_data(root, text))
    taken = {path for path in taken if not _NEVER.search(path)}
    inside = {path + ending for path in taken if is_database(root / path) for ending in SIDE_FILES}
    left = {p for p in _below(root, ".") if p not in taken and p not in inside and not p.startswith(".omni/")}
    return ProjectFiles(tuple(sorted(taken)), tuple(sorted(left)), _connectors(documents))


def _below(root: Path, folder: str) -> Iterator[str]:
    for path in sorted((root / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield _relative(path, root)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is not YAML: run `omni check`.", file=str(path)) from error


def _source_texts(document: Any) -> Iterator[str]:
    """Every text in the definitions of sources; in an alert file those under ``database``."""
    if isinstance(document, Mapping):
        for key in ("sources", "database"):
            yield from _texts(document.get(key))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _data(root: Path, text: str) -> Iterator[str]:
    """Files below ``root`` that a source's text names: a path, a folder, a glob, or a URL of a database file."""
    found = _REST.fullmatch(text)
    name = (found["path"] if found else text).partition("?")[0].strip()
    if not name or name in (".", "./") or name.startswith(("/", "~", "secret:", "${")) or ".." in Path(name).parts:
        return
    try:
        matches = sorted(root.glob(name.removeprefix("./")))
    except (ValueError, NotImplementedError):
        return
    for match in matches:
        if match.resolve() == root.resolve() or not match.resolve().is_relative_to(root.resolve()):
            continue
        yield from ([_relative(match, root)] if match.is_file() else _below(root, _relative(match, root)))


def _connectors(documents: list[Any]) -> frozenset[str]:
    found: set[str] = set()
    for document in documents:
        sources = document.get("sources") if isinstance(document, Mapping) else None
        for source in (sources or {}).values() if isinstance(sources, Mapping) else ():
            if isinstance(source, Mapping) and isinstance(source.get("connector"), str):
                found.add(source["connector"])
    return frozenset(found)
