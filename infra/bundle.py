"""A function's zip: that cloud's code and dependencies with bytecode, and one project. The same input, the same bytes.

    report = build("aws", Path("my-project"), Path("dist/aws.zip"))

    core/ handlers/          our code; no other cloud's folder
    project/                 omni.yaml, policies, alerts, connectors and the data files its sources name
    project.json             the same, validated: a cold start parses no YAML, and a mistake is found here
    ...                      the dependencies, at the root (Azure: under .python_packages, where its worker looks)
    main.py | function_app.py, host.json      root shims that Google's and Azure's runtimes ask for; Lambda needs none

boto3 is in Lambda's own image, but as it happens to be there, without our pin and without bytecode: the bundle brings
its botocore (without the service descriptions that we do not call, 2 MB instead of 25).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import project
from core.errors import ConfigInvalid, Error
from core.project import Project
from core.source.spec import COMPILED, compiled
from infra.bundled import owners, whole
from infra.contents import CLOUDS, code_files, project_files
from infra.layer import BUILD, PACKAGES, ROOT, RUNTIME_BRINGS, compile_all, layer, pack
from infra.snapshot import is_database, snapshot
from infra.wheels import Target, closure, lock

LIMIT_BYTES = 250_000_000
DIRECT_UPLOAD_BYTES = 50 * 2**20
"""Lambda takes a larger zip from S3 only."""
PYTHON = "3.13"
SHIMS = {
    "aws": {},
    "gcp": {"main.py": 'from handlers.gcp.main import ask, watch, work\n\n__all__ = ["ask", "watch", "work"]\n'},
    "azure": {
        "function_app.py": 'from handlers.azure.function_app import app\n\n__all__ = ["app"]\n',
        "host.json": json.dumps({
            "version": "2.0",
            "functionTimeout": "00:05:00",
            "extensions": {"http": {"routePrefix": ""}, "queues": {
                "maxDequeueCount": 5, "visibilityTimeout": "00:01:00", "batchSize": 4, "newBatchThreshold": 2,
            }},
            "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
            "logging": {"logLevel": {"default": "Information"}},
        }, indent=2) + "\n",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BundleReport:
    """``digest``: sha256 of the zip. ``largest``: (top folder or file, bytes unzipped). ``left_out``: project files."""

    path: Path
    cloud: str
    python: str
    zipped_bytes: int
    unzipped_bytes: int
    digest: str
    files: int
    largest: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]


def build(
    cloud: str, project_root: Path, out: Path, *, python: str = PYTHON, offline: bool = False, limit: int = LIMIT_BYTES
) -> BundleReport:
    """Write the zip for ``cloud`` with the project in ``project_root`` to ``out`` (a folder: ``out/CLOUD.zip``).

    ``offline``: use cached wheels only. Raises ConfigInvalid for an unknown cloud, a folder without omni.yaml, a
    missing interpreter or wheel, a mistake in the project's files, and a bundle over ``limit`` bytes unzipped.
    """
    if cloud not in CLOUDS:
        raise ConfigInvalid(f"Unknown cloud {cloud!r}: aws, gcp or azure.", cloud=cloud)
    target = out if out.suffix == ".zip" else out / f"{cloud}.zip"
    files = project_files(project_root)
    dependencies = layer(cloud, files.connectors, python, offline=offline)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        own, packed = Path(scratch) / "own", Path(scratch) / "bundle.zip"
        stage_code(cloud, own, python)
        found = stage_project(own, project_root, files.taken)
        shutil.copyfile(dependencies.packed, packed)
        with zipfile.ZipFile(packed, "a") as archive:
            pack(own, archive)
            entries = archive.infolist()
        sizes = limited(entries, limit, owners(project_root, found.document["sources"]))
        packed.replace(target)
    return BundleReport(
        path=target, cloud=cloud, python=python, zipped_bytes=target.stat().st_size, unzipped_bytes=sum(sizes.values()),
        digest=hashlib.sha256(target.read_bytes()).hexdigest(), files=len(entries),
        largest=tuple(sizes.most_common(8)), left_out=files.left,
    )  # fmt: skip


def prefetch(python: str = PYTHON) -> int:
    """Fetch the wheels of every cloud and driver, so that bundling works offline afterwards. Returns their number."""
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    roots = declared["dependencies"] + [text for name, texts in extras.items() if name != "dev" for text in texts]
    return len(closure(roots, lock(ROOT / "requirements.lock"), Target(python), BUILD / "wheels" / python))


def stage_code(cloud: str, own: Path, python: str) -> None:
    """Our code and the shims as they will lie in the zip, byte-compiled."""
    for path in code_files(ROOT, cloud):
        _copy(ROOT / path, own / path)
    for name, text in {**SHIMS[cloud], **_requirements(cloud, python)}.items():
        (own / name).write_text(text)
    _compile_connectors(own / "core" / "connectors")
    compile_all(own, python, strict=True)


def stage_project(own: Path, project_root: Path, taken: Sequence[str]) -> Project:
    """The project's files in ``own/project``, and beside it what validating made of them.

    Raises ConfigInvalid, also where a source's data is not in it.
    """
    for path in taken:
        copy = snapshot if is_database(project_root / path) else _copy
        copy(project_root / path, own / "project" / path)
    _compile_connectors(own / "project" / "connectors")
    found = project.load(own / "project", {})
    whole(project_root, found.document["sources"], taken)
    validated = {"digest": found.digest, "document": found.document}
    (own / "project.json").write_text(json.dumps(validated, sort_keys=True, separators=(",", ":")))
    return found


def _compile_connectors(folder: Path) -> None:
    """Beside each connector's YAML, what validating made of it: a cold start reads and checks none of it."""
    for file in sorted(folder.glob("*/connector.yaml")):
        file.with_name(COMPILED).write_bytes(compiled(file))


def limited(entries: Sequence[zipfile.ZipInfo], limit: int, owners: Mapping[str, str]) -> Counter[str]:
    """Bytes unzipped by top folder or file. Raises ConfigInvalid where they are more than ``limit`` in all.

    ``owners``: which source each data file of the project belongs to.
    """
    sizes = _sizes(entries)
    total = sum(sizes.values())
    if total > limit:
        raise ConfigInvalid(
            f"The bundle has {total / 1e6:.0f} MB unzipped; {limit / 1e6:.0f} MB are allowed. Largest: "
            + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes.most_common(6))
            + f". {_large_data(entries, owners)}",
            unzipped_bytes=total, limit_bytes=limit,
        )  # fmt: skip
    return sizes


def _large_data(entries: Sequence[zipfile.ZipInfo], owners: Mapping[str, str]) -> str:
    """The project's own part in it, and what to do; what else is in a bundle is the same for every project."""
    sizes = Counter({path: e.file_size for e in entries if (path := e.filename.partition("project/")[2]) in owners})
    shown = ", ".join(f"{path} {size / 1e6:.1f} MB (source {owners[path]})" for path, size in sizes.most_common(5))
    return (
        f"Data files: {shown}. Name fewer of them, leave out old rows, or put the data where a source reaches it over "
        "the network, such as PostgreSQL."
        if shown
        else "No data file is in it."
    )


def _requirements(cloud: str, python: str) -> dict[str, str]:
    """What the cloud's own build installs: the runtime it brings, at our pins."""
    brought = RUNTIME_BRINGS.get(cloud)
    if brought is None:
        return {}
    pins, environment = lock(ROOT / "requirements.lock"), Target(python).environment()
    lines = [
        f"{pin.name}=={pin.version}\n"
        for name in brought
        for pin in pins.get(name, ())
        if pin.marker is None or pin.marker.evaluate(environment)
    ]
    return {"requirements.txt": "".join(lines)}


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def _sizes(entries: Sequence[zipfile.ZipInfo]) -> Counter[str]:
    """Bytes unzipped by top folder or file, a package counting as one wherever it lies."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.filename.removeprefix(PACKAGES["azure"]).partition("/")[0]] += entry.file_size
    return sizes


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m infra.bundle --prefetch`` (set-up), or ``python -m infra.bundle CLOUD PROJECT [--out DIR]``."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cloud", nargs="?", choices=CLOUDS)
    parser.add_argument("project", nargs="?", type=Path, default=Path())
    parser.add_argument("--out", type=Path, default=Path("dist"))
    parser.add_argument("--python", default=PYTHON)
    parser.add_argument("--offline", action="store_true", help="use cached wheels only")
    parser.add_argument("--prefetch", action="store_true", help="only fetch the wheels of every cloud and driver")
    given = parser.parse_args(arguments)
    try:
        if given.prefetch:
            print(f"{prefetch(given.python)} wheels for Python {given.python}")  # noqa: T201 (a command's answer)
        elif given.cloud is None:
            parser.error("name a cloud, or use --prefetch")
        else:
            print(describe(build(given.cloud, given.project, given.out, python=given.python, offline=given.offline)))  # noqa: T201 (as above)
    except Error as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)  # noqa: T201 (as above)
        return error.exit_code
    return 0


def describe(report: BundleReport) -> str:
    """The report for a person."""
    lines = [
        f"{report.path}  {report.zipped_bytes / 1e6:.1f} MB zipped, {report.unzipped_bytes / 1e6:.1f} MB unzipped, "
        f"{report.files} files, Python {report.python}",
        f"sha256 {report.digest}",
        "largest: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in report.largest),
    ]
    if report.cloud == "aws" and report.zipped_bytes > DIRECT_UPLOAD_BYTES:
        lines.append("over 50 MiB: upload it through S3")
    if report.left_out:
        lines.append("left out of the project: " + ", ".join(report.left_out[:20])
                     + (f" and {len(report.left_out) - 20} more" if len(report.left_out) > 20 else ""))  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
