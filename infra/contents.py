"""What goes into a function's bundle: an allow-list, so that a secret or a state file cannot slip in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid
from infra.snapshot import SIDE_FILES, is_database

CLOUDS = ("aws", "gcp", "azure")
_DECLARED = ("omni.yaml", "policies/**/*.yaml", "policies/**/*.yml", "alerts/**/*.yaml", "alerts/**/*.yml",
             "connectors/*/connector.yaml")  # fmt: skip
_TERRAFORM = r"^deploy/|\.tf(state|plan|vars)\b"
_NEVER = re.compile(rf"{_TERRAFORM}|(^|/)(\.[^/]*|__pycache__|.*\.pem|.*\.key|.*-(wal|shm|journal))(/|$)")
_UNSAID = re.compile(rf"{_TERRAFORM}|(^|/)\.(omni|git|venv|terraform)/")
"""Never taken as well, and nobody asks why: not called left out."""
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

    Hidden files (``.omni/``, ``.env``), keys, ``deploy/`` with Terraform's state and SQLite's side files are never
    taken, whatever names them. The side files of a database that is taken do not count as left out: its snapshot has
    what they hold.
    Raises ConfigInvalid where there is no omni.yaml, and for a link that leads out of the folder.
    """
    if not (root / "omni.yaml").is_file():
        raise ConfigInvalid(f"{root} is not a project: it has no omni.yaml.", file=str(root / "omni.yaml"))
    taken = {_relative(path, root) for pattern in _DECLARED for path in root.glob(pattern) if path.is_file()}
    documents = {n: _yaml(root / n) for n in sorted(taken) if n == "omni.yaml" or n.startswith("alerts/")}
    for file, document in documents.items():
        for text in _source_texts(document):
            taken |= set(named(root, text) or named(root, text, Path(file).parent))
    taken = {path for path in taken if not _NEVER.search(path)}
    _check_links(root, taken)
    inside = {path + ending for path in taken if is_database(root / path) for ending in SIDE_FILES}
    left = {p for p in _below(root, ".") if p not in taken and p not in inside and not _UNSAID.search(p)}
    return ProjectFiles(tuple(sorted(taken)), tuple(sorted(left)), _connectors(documents.values()))


def _check_links(root: Path, taken: Iterable[str]) -> None:
    """What a link leads to is bundled as if it lay here. On this machine no source reads it, and it may be anything."""
    here = root.resolve()
    for path in sorted(taken):
        if not (root / path).resolve().is_relative_to(here):
            raise ConfigInvalid(
                f"{path} is a link that leads out of the project's folder, and is not bundled. Put a copy in its "
                "place, or remove it.", file=str(root / path),
            )  # fmt: skip


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


def named(root: Path, text: str, beside: Path = Path()) -> list[str]:
    """Files below ``root`` that a source's text names: a path, a folder, a glob, or a URL of a database file.

    ``beside``: the folder below ``root`` that the text is relative to. Some of what is named may never be taken.
    """
    found = _REST.fullmatch(text)
    name = (found["path"] if found else text).partition("?")[0].strip()
    if not name or name in (".", "./") or name.startswith(("/", "~", "secret:", "${")) or ".." in Path(name).parts:
        return []
    try:
        matches = sorted((root / beside).glob(name.removeprefix("./")))
    except (ValueError, NotImplementedError):
        return []
    inside = [m for m in matches if m.resolve() != root.resolve() and m.resolve().is_relative_to(root.resolve())]
    return [
        path for m in inside for path in ([_relative(m, root)] if m.is_file() else _below(root, _relative(m, root)))
    ]


def _connectors(documents: Iterable[Any]) -> frozenset[str]:
    found: set[str] = set()
    for document in documents:
        sources = document.get("sources") if isinstance(document, Mapping) else None
        for source in (sources or {}).values() if isinstance(sources, Mapping) else ():
            if isinstance(source, Mapping) and isinstance(source.get("connector"), str):
                found.add(source["connector"])
    return frozenset(found)
