"""A deployment as ``omni bundle gcp --parts`` leaves it, with zips of a few bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.alert.timers import native, native_zone, timer_id

ALERTS = {
    "big-orders": ("0 9 * * 1-5", "Europe/Berlin"),
    "Über <alles> & $x": ("*/15 * * * *", "Europe/Berlin"),
    "a" * 90: ("30 6 1 * *", "America/New_York"),
}


def timer(name: str, cron: str, timezone: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": timer_id(name), "cron": cron, "timezone": native_zone(cron, timezone), "payload": dict(payload),
        "native": native("gcp", cron, timezone),
    }  # fmt: skip


def write_manifest(folder: Path, **changed: Any) -> Path:
    """``deployment.json`` in ``folder``, and its zips."""
    folder.mkdir(parents=True, exist_ok=True)
    timers = {name: timer(name, cron, zone, {"alert": name}) for name, (cron, zone) in ALERTS.items()}
    timers["sweep"] = timer("sweep", "* * * * *", "UTC", {"sweep": True})
    manifest: dict[str, Any] = {
        "version": 1, "cloud": "gcp", "python": "3.13", "architecture": "x86_64", "timers": timers,
        "secrets": ["ann_key", "hook-key"], "environment": ["CRM_URL"], "watch_timeout_s": 130, "ask_timeout_s": 60,
    }  # fmt: skip
    for kind in ("code", "project"):
        content = f"{kind} of {folder.name} {changed.pop(kind + '_says', '')}".encode()
        digest = hashlib.sha256(content)
        file = f"{kind}-{digest.hexdigest()[:12]}.zip"
        (folder / file).write_bytes(content)
        manifest[kind] = {
            "file": file, "sha256": digest.hexdigest(), "bytes": len(content), "digest": "sha256:0123",
            "sha256_base64": base64.b64encode(digest.digest()).decode(),
        }  # fmt: skip
    path = folder / "deployment.json"
    path.write_text(json.dumps({**manifest, **changed}))
    return path


def variables(manifest: Path, **changed: Any) -> dict[str, Any]:
    given = {
        "project_id": "stub-project", "region": "europe-west3", "manifest": str(manifest),
        "environment": {"CRM_URL": "https://crm.example.com"}, "ask_invokers": ["allUsers"],
        "alarm_emails": ["ops@example.com"],
    }  # fmt: skip
    return {**given, **changed}


@pytest.fixture(scope="session", autouse=True)
def gcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In gcloud's place for whole runs of terraform: notes what it was told and builds nothing. It knows of the
    secrets in the file ``known`` beside it: a line NAME LABEL each."""
    folder = tmp_path_factory.mktemp("gcloud")
    told = folder / "told"
    program = folder / "gcloud"
    (folder / "known").touch()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {told}\n'
        f'[ "$1 $2" != "secrets describe" ] || sed -n "s/^$3 //p" {folder}/known | grep ""\n'
    )
    program.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    yield told
    os.environ["PATH"] = before


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(tmp_path_factory.mktemp("dist") / "gcp")


@pytest.fixture(scope="session")
def good(manifest: Path) -> dict[str, Any]:
    return variables(manifest)
