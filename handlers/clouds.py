"""Where each cloud's functions and ports are: names only, imported when asked, so that no cloud drags in another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import ConfigInvalid

FUNCTIONS: Mapping[str, Mapping[str, str]] = {
    "aws": {name: f"handlers.aws.main:{name}" for name in ("ask", "watch", "work")},
    "gcp": {name: f"handlers.gcp.main:{name}" for name in ("ask", "watch", "work")},
    "azure": {name: f"handlers.azure.main:{name}" for name in ("ask", "watch", "work")},
}
PLATFORMS: Mapping[str, str] = {name: f"handlers.{name}.platform:platform" for name in ("local", "aws", "gcp", "azure")}


def load(place: str) -> Any:
    """Import ``module:attribute``; ConfigInvalid naming the extra to install where a cloud's SDK is absent."""
    import importlib

    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("core", "handlers"):
            raise
        cloud = module.split(".")[1]
        raise ConfigInvalid(
            f"{place} needs {error.name}, which is not installed: install the extra `{cloud}`.", key=cloud
        ) from error
