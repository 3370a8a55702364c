"""Reading a state that the stub left: the app as Azure would have got it."""

from __future__ import annotations

from typing import Any

State = dict[str, dict[str, Any]]


def app(state: State, name: str = "stable") -> dict[str, Any]:
    """``properties`` of the app as Azure gets them, its settings as a mapping besides."""
    properties: dict[str, Any] = state[f'azapi_resource.app["{name}"]']["body"]["properties"]
    settings = {one["name"]: one["value"] for one in properties["siteConfig"]["appSettings"]}
    host = state[f'azapi_resource.app["{name}"]']["name"] + ".azurewebsites.net"
    return {**properties, "app_settings": settings, "host": host}
