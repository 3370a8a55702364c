"""A small deployment's manifest with two tiny zips, as ``omni bundle aws --parts`` writes it."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from core.alert.timers import native, native_zone, timer_id

ALERTS = {"big-orders": ("0 9 * * 1-5", "Europe/Berlin"), "Stock & <price>": ("*/15 * * * *", "UTC")}


def write(folder: Path, **changes: Any) -> Path:
    """``deployment.json`` in ``folder``, with ``changes`` over it. ``code_says``, ``project_says``: a zip's content."""
    folder.mkdir(parents=True, exist_ok=True)
    timers = {name: _timer(name, *when, {"alert": name}) for name, when in ALERTS.items()}
    timers["sweep"] = _timer("sweep", "* * * * *", "UTC", {"sweep": True})
    manifest: dict[str, Any] = {
        "version": 1, "cloud": "aws", "python": "3.13", "architecture": "x86_64",
        "code": _zip(folder, "code", "handlers/aws/main.py", changes.pop("code_says", "code")),
        "project": {**_zip(folder, "project", "omnisentinel/project/omni.yaml", changes.pop("project_says", "project")),
                    "digest": "sha256:0123456789abcdef"},
        "timers": timers, "secrets": ["ann_key", "hook_key"], "environment": [],
        "watch_timeout_s": 120, "ask_timeout_s": 75,
    }  # fmt: skip
    path = folder / "deployment.json"
    path.write_text(json.dumps({**manifest, **changes}))
    return path


def _timer(name: str, cron: str, timezone: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": timer_id(name), "cron": cron, "timezone": native_zone(cron, timezone), "payload": payload,
        "native": native("aws", cron, timezone),
    }  # fmt: skip


def _zip(folder: Path, kind: str, member: str, text: str) -> dict[str, Any]:
    draft = folder / f"{kind}.zip"
    with zipfile.ZipFile(draft, "w") as archive:
        archive.writestr(zipfile.ZipInfo(member), text)
    digest = hashlib.sha256(draft.read_bytes())
    place = draft.rename(folder / f"{kind}-{digest.hexdigest()[:12]}.zip")
    return {
        "file": place.name, "sha256": digest.hexdigest(), "bytes": place.stat().st_size,
        "sha256_base64": base64.b64encode(digest.digest()).decode(),
    }  # fmt: skip
