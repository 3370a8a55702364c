"""What the three clouds share around the App: one per warm process, built when the first request needs it."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.settings import Settings
from handlers import place

if TYPE_CHECKING:
    from core.app import App
    from core.ports import Platform

# A cold start makes half a million objects that stay. The collector would walk them all, again and again.
gc.set_threshold(50_000, 20, 100)

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
        """The App; raises what ``Settings``, the project or the platform raise (ConfigInvalid mostly)."""
        if self._app is None:
            with self._lock:
                if self._app is None:
                    self._app = self._build()
        return self._app

    def _build(self) -> App:
        from core import bootstrap

        settings = Settings.from_env(self._env)
        folder = place.folder(settings)
        platform = self._platform(settings, self._env, folder)
        place.fetch(settings, platform.objects)
        return bootstrap.build(settings, platform, place.load(folder, self._env))
