"""What Terraform deploys: the code and the project as two zips, and the manifest that names them.

    report = parts("aws", Path("my-project"), Path("dist"))

    dist/aws/code-DIGEST.zip       our code and its dependencies; the same for every project that uses the same drivers
    dist/aws/project-DIGEST.zip    omni.yaml, policies, alerts, connectors, bundled data, and project.json
    dist/aws/deployment.json       both files, the timers, the secrets and variables that the project refers to

A change of YAML makes another project zip and leaves the code zip alone. The digest is the beginning of the sha256 of
the file: the same input gives the same name, and another content never has it. The manifest is written last.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid
from core.project import Project
from infra.bundle import LIMIT_BYTES, PYTHON, limited, stage_code, stage_project
from infra.bundled import owners
from infra.contents import CLOUDS, code_files, project_files
from infra.layer import BUILD, ROOT, Layer, layer, pack
from infra.schedules import project_timers

MANIFEST = "deployment.json"
VERSION = 1
PROJECT_IN = {"aws": "omnisentinel/"}
"""Where the project lies within its zip: a Lambda layer is unpacked to /opt, which other layers share."""
MARGIN_S = 90
"""What a run of an alert may take besides its query: for delivering what it owes."""
MOST_S = {"aws": 900, "gcp": 3_600, "azure": 600}
"""The longest that a function may run: the service's own limit, on Azure ours, for Flex Consumption has none."""
_SECRET = re.compile(r"secret:([A-Za-z0-9][A-Za-z0-9_.-]*)")
_REFERRING = ("sources", "channels", "principals", "smtp")
"""Where a project's document refers to secrets and variables; what is written elsewhere is only text."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}")


@dataclass(frozen=True, slots=True)
class PartsReport:
    """``reused``: the code zip was there already. ``left_out``: files of the project's folder that are in no zip."""

    manifest: Path
    code: Path
    project: Path
    reused: bool
    unzipped_bytes: int
    left_out: tuple[str, ...]


def parts(
    cloud: str, project_root: Path, out: Path, *, python: str = PYTHON, offline: bool = False, limit: int = LIMIT_BYTES
) -> PartsReport:
    """Write ``out/CLOUD/`` for the project in ``project_root``.

    Raises ConfigInvalid for an unknown cloud, a mistake in the project, a schedule that the cloud cannot express, an
    alert that runs longer than its functions may, and what ``infra.bundle.build`` raises.
    """
    if cloud not in CLOUDS:
        raise ConfigInvalid(f"Unknown cloud {cloud!r}: aws, gcp or azure.", cloud=cloud)
    files = project_files(project_root)
    folder = out / cloud
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        own = Path(scratch)
        found = stage_project(own / "project", project_root, files.taken)
        manifest = _described(found, cloud, python)  # before the slow part: what is wrong in it is said at once
        project_zip = _project(own / "project", cloud, own)
        code_zip, reused = _code(cloud, files.connectors, python, offline=offline, scratch=own)
        entries = [info for path in (code_zip, project_zip) for info in zipfile.ZipFile(path).infolist()]
        sizes = limited(entries, limit, owners(project_root, found.document["sources"]))
        code, project = _placed(code_zip, folder, "code"), _placed(project_zip, folder, "project")
        manifest |= {"code": _file(code), "project": {**_file(project), "digest": found.digest}}
        draft = own / MANIFEST
        draft.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", "utf-8")
        draft.replace(folder / MANIFEST)
    return PartsReport(
        folder / MANIFEST, code, project, reused, sum(sizes.values()), _left(files.left, project_root, out)
    )


def _left(paths: Sequence[str], root: Path, out: Path) -> tuple[str, ...]:
    """Without what earlier builds put there."""
    ours = out.resolve()
    return tuple(path for path in paths if not (root / path).resolve().is_relative_to(ours))


def _described(found: Project, cloud: str, python: str) -> dict[str, Any]:
    longest = math.ceil(max((rule.timeout_s for rule in found.alerts.values()), default=0.0)) + MARGIN_S
    if longest > MOST_S[cloud]:
        slow = max(found.alerts.values(), key=lambda rule: rule.timeout_s)
        raise ConfigInvalid(
            f"{slow.place}: alert {slow.name!r} may take {slow.timeout_s:.0f} s and {MARGIN_S} s for its messages: a "
            f"function on {cloud} is given {MOST_S[cloud]} s at most.", alert=slow.name, key="timeout",
        )  # fmt: skip
    texts = [text for part in _REFERRING for text in _texts(found.document.get(part))]
    return {
        "version": VERSION,
        "cloud": cloud,
        "python": python,
        "architecture": "x86_64",
        "timers": project_timers(found, cloud),
        "secrets": sorted({name for text in texts for name in _SECRET.findall(text)}),
        "environment": sorted({name for text in texts for name, default in _VARIABLE.findall(text) if not default}),
        "watch_timeout_s": max(120, longest),
        "ask_timeout_s": max(60, math.ceil(found.defaults.timeout_s) + 15),
    }


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _project(staged: Path, cloud: str, scratch: Path) -> Path:
    packed = scratch / "project.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        pack(staged, archive, PROJECT_IN.get(cloud, ""))
    return packed


def _code(cloud: str, connectors: frozenset[str], python: str, *, offline: bool, scratch: Path) -> tuple[Path, bool]:
    """The code zip out of ``build/code``, and whether it lay there: made once per state of code and wheels."""
    dependencies = layer(cloud, connectors, python, offline=offline)
    kept = BUILD / "code" / f"{cloud}-{_recipe(cloud, dependencies)}.zip"
    if kept.is_file():
        return kept, True
    kept.parent.mkdir(parents=True, exist_ok=True)
    own, packed = scratch / "code", scratch / "code.zip"
    stage_code(cloud, own, python)
    shutil.copyfile(dependencies.packed, packed)
    with zipfile.ZipFile(packed, "a") as archive:
        pack(own, archive)
    draft = kept.with_name(f"{kept.name}.{os.getpid()}")
    shutil.copyfile(packed, draft)
    draft.replace(kept)
    return kept, False


def _recipe(cloud: str, dependencies: Layer) -> str:
    digest = hashlib.sha256(dependencies.folder.parent.name.encode())
    for path in (*code_files(ROOT, cloud), "infra/bundle.py", "infra/layer.py", "requirements.lock"):
        digest.update(path.encode() + b"\0" + hashlib.sha256((ROOT / path).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _placed(made: Path, folder: Path, kind: str) -> Path:
    """``folder/KIND-DIGEST.zip``, written only where it is not there: its name says what is in it."""
    place = folder / f"{kind}-{_sha256(made)[:12]}.zip"
    if not place.is_file() or _sha256(place) != _sha256(made):
        draft = place.with_suffix(f".{os.getpid()}")
        try:
            shutil.copyfile(made, draft)
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
    return place


def _file(path: Path) -> dict[str, Any]:
    hexadecimal = _sha256(path)
    return {
        "file": path.name,
        "sha256": hexadecimal,
        "sha256_base64": base64.b64encode(bytes.fromhex(hexadecimal)).decode(),
        "bytes": path.stat().st_size,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(report: PartsReport) -> str:
    """The report for a person."""
    lines = [
        f"{report.manifest}",
        f"{report.code.name}  {report.code.stat().st_size / 1e6:.1f} MB{', as it was' if report.reused else ''}",
        f"{report.project.name}  {report.project.stat().st_size / 1e3:.1f} kB",
        f"{report.unzipped_bytes / 1e6:.1f} MB unzipped",
    ]
    if report.left_out:
        shown = ", ".join(report.left_out[:20])
        more = f" and {len(report.left_out) - 20} more" if len(report.left_out) > 20 else ""
        lines.append(f"left out of the project: {shown}{more}")
    return "\n".join(lines)
