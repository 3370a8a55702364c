"""The dependencies of one cloud's function, laid out, pruned and byte-compiled; kept under ``build/layers``."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from core.errors import ConfigInvalid
from infra import interpreter
from infra.wheels import Target, closure, lock, unpack

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
AWS_SERVICES = ("dynamodb", "kms", "s3", "scheduler", "secretsmanager", "sqs", "sts")
"""Service descriptions of botocore that stay: it ships four hundred, and we call these."""
RUNTIME_BRINGS = {"gcp": ("functions-framework",)}
"""Installed by the cloud itself: in the extra for tests and for development, not in the bundle."""
PACKAGES = {"azure": ".python_packages/lib/site-packages/"}
"""Where a cloud's runtime looks for packages, if not at the root."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNWANTED = frozenset({"tests", "__pycache__", "include"})
_UNWANTED_SUFFIXES = (".pyi", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp")
FORBIDDEN = ("pandas", "pyarrow", "pip", "setuptools", "numpy")


def requirements(cloud: str, connectors: Iterable[str]) -> list[str]:
    """What pyproject.toml asks for: the core's dependencies, the cloud's extra and the used drivers' extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: Mapping[str, list[str]] = project["optional-dependencies"]
    brought = {canonicalize_name(name) for name in RUNTIME_BRINGS.get(cloud, ())}
    wanted = [*project["dependencies"], *extras.get(cloud, [])]
    for connector in sorted(set(connectors) & set(extras)):
        wanted += extras[connector]
    return [text for text in wanted if canonicalize_name(_distribution(text)) not in brought]


@dataclass(frozen=True, slots=True)
class Layer:
    """The dependencies as a folder of modules, and ``packed`` as the zip that a bundle begins with."""

    folder: Path
    packed: Path


def layer(cloud: str, connectors: Iterable[str], python: str, *, offline: bool = False) -> Layer:
    """Made once per set of wheels. Raises ConfigInvalid for what is missing or must not be in a bundle."""
    wheels = closure(
        requirements(cloud, connectors), lock(ROOT / "requirements.lock"), Target(python),
        BUILD / "wheels" / python, offline=offline,
    )  # fmt: skip
    barred = sorted(set(FORBIDDEN) & set(wheels))
    if barred:
        raise ConfigInvalid(
            f"{', '.join(barred)} must not be in a function's bundle: it is too large.", packages=barred
        )
    recipe = "\n".join([*sorted(w.name for w in wheels.values()), *AWS_SERVICES, Path(__file__).read_text()])
    place = BUILD / "layers" / f"{cloud}-{python}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            made = Path(scratch) / "layer"
            unpack(wheels.values(), made / "modules")
            _prune(made / "modules")
            _lighten(made / "modules" / "botocore" / "data")
            compile_all(made / "modules", python, strict=False)
            with zipfile.ZipFile(made / "modules.zip", "w") as archive:
                pack(made / "modules", archive, PACKAGES.get(cloud, ""))
            try:
                made.rename(place)
            except OSError:
                if not place.is_dir():  # else another process was first
                    raise
    return Layer(place / "modules", place / "modules.zip")


def pack(folder: Path, archive: zipfile.ZipFile, prefix: str = "") -> None:
    """Add the files below ``folder``, sorted and without times or owners: the same input gives the same bytes."""
    there = set(archive.namelist())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            info = zipfile.ZipInfo(prefix + path.relative_to(folder).as_posix(), _EPOCH)
            if info.filename in there:
                raise ConfigInvalid(f"{info.filename} is both ours and a dependency's.", file=info.filename)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, 6)


def compile_all(folder: Path, python: str, *, strict: bool) -> None:
    """Byte-compile below ``folder`` for ``python``, valid on a read-only disk. ``strict``: every file has to compile.

    Raises ConfigInvalid where that Python is absent or a file does not compile.
    """
    command = [str(interpreter.find(python)), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
               "-s", str(folder), "-p", "/", str(folder)]  # fmt: skip
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(  # noqa: S603 (our own arguments)
        command, capture_output=True, text=True, check=False, env={**clean, "PYTHONHASHSEED": "0"}
    )
    if strict and done.returncode != 0:
        raise ConfigInvalid(
            f"The code does not compile for Python {python}: {done.stdout[-1_000:].strip()}", python=python
        )


def _distribution(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement).name


def _prune(folder: Path) -> None:
    for path in _unwanted(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _lighten(data: Path) -> None:
    """botocore's descriptions without their prose and unpacked, its list of endpoints without other services: each
    cold start parses them, and this takes a twentieth of its time away."""
    for path in sorted(data.rglob("*.json*")) if data.is_dir() else ():
        raw = path.read_bytes()
        told = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        if path.name == "endpoints.json":
            for partition in told["partitions"]:
                partition["services"] = {k: v for k, v in partition["services"].items() if k in AWS_SERVICES}
        path.unlink()
        place = path.with_suffix("") if path.suffix == ".gz" else path
        place.write_text(json.dumps(_without_prose(told), separators=(",", ":")), "utf-8")


def _without_prose(value: Any) -> Any:
    """A shape may have a member of that name; prose is a text. botocore insists on that of client parameters."""
    if isinstance(value, dict):
        return {
            k: v if k == "clientContextParams" else _without_prose(v)
            for k, v in value.items()
            if not (k == "documentation" and isinstance(v, str))
        }
    return [_without_prose(one) for one in value] if isinstance(value, list) else value


def _unwanted(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.name in _UNWANTED and path.is_dir():
            yield path
        if path.is_file() and (path.suffix in _UNWANTED_SUFFIXES or path.name == "RECORD"):
            yield path
    data = folder / "botocore" / "data"
    if data.is_dir():
        yield from (p for p in sorted(data.iterdir()) if p.is_dir() and p.name not in AWS_SERVICES)
        yield from sorted(data.glob("*/*/examples-1.json*"))
    yield from sorted(folder.glob("sqlalchemy/testing"))
