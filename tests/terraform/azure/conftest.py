"""A deployment as ``omni bundle azure --parts`` leaves it, with zips of a few bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.alert.timers import logic_apps, timer_id
from tests.terraform.azure.state import State
from tests.terraform.harness import Module

ALERTS = {
    "low-stock": ("0 9 * * 1-5", "Europe/Berlin"),
    "Über @{alles}": ("*/15 * * * *", "UTC"),
    "a" * 60: ("30 6 * * *", "America/New_York"),
}


def timer(name: str, cron: str, timezone: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": timer_id(name), "cron": cron, "timezone": timezone, "payload": dict(payload),
        "native": {"recurrence": logic_apps(cron, timezone)},
    }  # fmt: skip


def write_manifest(folder: Path, **changed: Any) -> Path:
    """``deployment.json`` in ``folder``, and its zips."""
    folder.mkdir(parents=True, exist_ok=True)
    timers = {name: timer(name, cron, zone, {"alert": name}) for name, (cron, zone) in ALERTS.items()}
    timers["sweep"] = timer("sweep", "* * * * *", "UTC", {"sweep": True})
    manifest: dict[str, Any] = {
        "version": 1, "cloud": "azure", "python": "3.13", "architecture": "x86_64", "timers": timers,
        "secrets": ["Ann.Key-2", "ann_key", "ops_key"], "environment": ["CRM_URL"], "watch_timeout_s": 130,
        "ask_timeout_s": 60,
    }  # fmt: skip
    for kind in ("code", "project"):
        content = f"{kind} of {folder.name}".encode()
        digest = hashlib.sha256(content)
        file = f"{kind}-{digest.hexdigest()[:12]}.zip"
        (folder / file).write_bytes(content)
        manifest[kind] = {
            "file": file, "sha256": digest.hexdigest(), "bytes": len(content),
            "sha256_base64": base64.b64encode(digest.digest()).decode(),
        }  # fmt: skip
    path = folder / "deployment.json"
    path.write_text(json.dumps({**manifest, **changed}))
    return path


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(tmp_path_factory.mktemp("dist") / "azure")


@pytest.fixture(scope="session")
def good(manifest: Path) -> dict[str, Any]:
    """Variables of the module that are right, and as few as there may be for that project."""
    return {"manifest": str(manifest), "region": "westeurope", "alarm_emails": ["oncall@example.com"],
            "environment": {"CRM_URL": "postgresql://crm.example.com/crm"}}  # fmt: skip


@pytest.fixture(scope="session")
def applied(once: Callable[..., Module], good: dict[str, Any]) -> State:
    return once("azure").apply(good).resources()


@pytest.fixture(scope="session")
def outputs(once: Callable[..., Module], good: dict[str, Any]) -> dict[str, Any]:
    return once("azure").apply(good).outputs()
