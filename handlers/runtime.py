"""What the three clouds share around the App: one per warm process, built when the first request needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from core.settings import Settings

if TYPE_CHECKING:
    from core.app import App
    from core.ports import Platform
    from core.project import Project

BUNDLED = Path(__file__).resolve().parent.parent / "project"
"""Where a bundle keeps its project: beside ``handlers/``."""
VALIDATED = BUNDLED.with_name("project.json")
"""What bundling made of the project's YAML, ``{"digest", "document"}``: a cold start reads and checks none of it."""

PlatformOf = Callable[[Settings, Mapping[str, str], Path], "Platform"]


class Warm:
    """Keeps one App for the life of the process. A start that failed is tried again by the next request.

    ``platform(settings, env, project)`` gives the cloud's ports. The environment is read once, here, at first use.
    """

    def __init__(self, platform: PlatformOf, env: Mapping[str, str] = os.environ) -> None:
        self._platform = platform
        self._env = env
        self._lock = threading.Lock()
        self._app: App | None = None

    def app(self) -> App:
        """The App; raises what ``Settings``, ``project.load`` or the platform raise (ConfigInvalid mostly)."""
        if self._app is None:
            with self._lock:
                if self._app is None:
                    self._app = self._build()
        return self._app

    def _build(self) -> App:
        from core import bootstrap

        settings = Settings.from_env(self._env)
        folder = project_folder(settings)
        platform = self._platform(settings, self._env, folder)
        return bootstrap.build(settings, platform, load(folder, self._env))


def load(folder: Path, env: Mapping[str, str]) -> Project:
    """The project: as validated when it was bundled, else read and validated now. Raises ConfigInvalid."""
    from core import project

    if folder == BUNDLED and VALIDATED.is_file():
        kept = orjson.loads(VALIDATED.read_bytes())
        return project.from_document(folder, kept["digest"], kept["document"], env)
    return project.load(folder, env)


def project_folder(settings: Settings) -> Path:
    """OMNI_PROJECT where it is set, else the bundled project, else the working directory."""
    if settings.project == "." and BUNDLED.is_dir():
        return BUNDLED
    return Path(settings.project)
