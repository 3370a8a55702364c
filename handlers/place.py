"""Where a function's project is, and how it gets there: beside the code, in a layer, or as a blob."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from core.errors import ConfigInvalid
from core.settings import Settings

if TYPE_CHECKING:
    from core.ports import Objects
    from core.project import Project

BUNDLED = Path(__file__).resolve().parent.parent / "project"
"""Where a bundle keeps its project: beside ``handlers/``."""
LAYER = Path("/opt/omnisentinel/project")
"""Where a Lambda layer of its own puts it."""
VALIDATED = "project.json"
"""Beside the project's folder, what bundling made of its YAML, ``{"digest", "document"}``: a cold start reads and
checks none of it."""
_OBJECT = re.compile(r"(?:.*/)?project-(?P<digest>[0-9a-f]{12})\.zip")


def folder(settings: Settings) -> Path:
    """Where the project will be: OMNI_PROJECT, the blob's place on this disk, the bundle, the layer, or here."""
    if settings.project_object:
        return _unpacked(settings.project_object) / "project"
    if settings.project == ".":
        return next((place for place in (BUNDLED, LAYER) if place.is_dir()), Path())
    return Path(settings.project)


def fetch(settings: Settings, objects: Objects | None) -> None:
    """Bring the blob OMNI_PROJECT_OBJECT to ``folder(settings)``, unless it is there. Nothing where none is set.

    Its name carries the beginning of its sha256, so that a revision always runs what it was deployed with.
    Raises ConfigInvalid where the blob is not there, is not a project's, or not the one that its name says.
    """
    name = settings.project_object
    if not name:
        return
    _ours(_temporary())
    if _unpacked(name).is_dir():
        return
    if objects is None:
        raise ConfigInvalid("OMNI_PROJECT_OBJECT is set, and OMNI_OBJECTS is not.", key="OMNI_OBJECTS")
    found = _OBJECT.fullmatch(name)
    body = objects.get(name) if found else None
    if found is None or body is None:
        raise ConfigInvalid(
            f"There is no project {name!r} in OMNI_OBJECTS: it has to be projects/project-DIGEST.zip, as deployment "
            "puts it there.", key="OMNI_PROJECT_OBJECT",
        )  # fmt: skip
    if hashlib.sha256(body).hexdigest()[:12] != found["digest"]:
        raise ConfigInvalid(
            f"The project {name!r} is not what it was deployed as. Deploy again.", key="OMNI_PROJECT_OBJECT"
        )
    _unpack(body, _unpacked(name))


def load(place: Path, env: Mapping[str, str]) -> Project:
    """The project: as validated when it was bundled, else read and validated now. Raises ConfigInvalid."""
    from core import project

    validated = place.parent / VALIDATED
    if (place in (BUNDLED, LAYER) or place.is_relative_to(_temporary())) and validated.is_file():
        kept = orjson.loads(validated.read_bytes())
        return project.from_document(place, kept["digest"], kept["document"], env)
    return project.load(place, env)


def _unpack(body: bytes, place: Path) -> None:
    """Beside its place, then moved: another thread sees the whole or nothing."""
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        draft = Path(scratch) / "project"
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                archive.extractall(draft)
        except zipfile.BadZipFile:
            raise ConfigInvalid("The project's blob is not a zip. Deploy again.", key="OMNI_PROJECT_OBJECT") from None
        try:
            draft.rename(place)
        except OSError:
            if not place.is_dir():  # else another thread was first
                raise


def _ours(folder: Path) -> None:
    """Made where it is not there. Others on this machine could have put theirs in its place."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise ConfigInvalid(f"{folder} belongs to others as well: remove it.", file=str(folder))


def _unpacked(name: str) -> Path:
    return _temporary() / Path(name).stem


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"omnisentinel-{os.getuid()}"
