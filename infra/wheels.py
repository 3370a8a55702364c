"""Wheels for a function's Python, chosen by the lock file, checked against its hashes and kept for offline work.

    pins = lock(ROOT / "requirements.lock")             what the lock says, per name
    wheels = closure(roots, pins, target, cache)        files, downloading only what the cache lacks
    unpack(wheels, folder)                              as an installer would lay them out, without scripts

The running interpreter need not be the target: markers are evaluated for the target, never for this process.
"""

from __future__ import annotations

import email.parser
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from core.errors import ConfigInvalid

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64",
             "manylinux1_x86_64", "linux_x86_64")  # fmt: skip
_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the lock: exact version, for which environments, and the hashes of its files."""

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter that will run the function: CPython ``python`` ("3.13") on 64-bit Intel Linux."""

    python: str

    def environment(self, extra: str = "") -> dict[str, str]:
        """The marker variables of the target."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "platform_python_implementation": "CPython",
            "platform_machine": "x86_64",
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
            "extra": extra,
        }

    def tags(self) -> frozenset[Tag]:
        """The wheel tags the target can install."""
        major, minor = (int(part) for part in self.python.split("."))
        return frozenset(
            [
                *cpython_tags((major, minor), platforms=PLATFORMS),
                *compatible_tags((major, minor), f"cp{major}{minor}", platforms=PLATFORMS),
            ]
        )


def lock(path: Path) -> dict[str, list[Pin]]:
    """Read a hashed lock file; ConfigInvalid where it is missing."""
    if not path.is_file():
        raise ConfigInvalid(f"{path} is missing: run `make lock`, or bundle from a checkout.", file=str(path))
    pins: dict[str, list[Pin]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", path.read_text()):
        found = _PIN.match(block.split("\n", 1)[0].strip())
        if found is None:
            continue
        name = canonicalize_name(found["name"])
        marker = Marker(found["marker"]) if found["marker"] else None
        pins.setdefault(name, []).append(Pin(name, found["version"], marker, tuple(_HASH.findall(block))))
    return pins


def closure(
    roots: Iterable[str], pins: Mapping[str, Sequence[Pin]], target: Target, cache: Path, *, offline: bool = False
) -> dict[str, Path]:
    """The wheels that ``roots`` (requirement strings) need, by distribution name.

    Downloads into ``cache`` what is not there yet, level by level, because only a wheel knows what it needs.
    Raises ConfigInvalid where the lock has no pin, or where ``offline`` and the cache lacks a file.
    """
    wheels: dict[str, Path] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(text) for text in roots]
    while todo:
        level = [r for r in todo if r.marker is None or r.marker.evaluate(target.environment())]
        wanted = [_pin(r, pins, target) for r in level]
        wheels.update(_obtain([p for p in wanted if p.name not in wheels], target, cache, offline))
        todo = [needed for r in level for needed in _needs(r, wheels[canonicalize_name(r.name)], target, seen)]
    return wheels


def unpack(wheels: Iterable[Path], into: Path) -> None:
    """Lay the wheels' modules and metadata out under ``into``; scripts, headers and data are left behind."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                path = _place(entry.filename)
                if path is None or entry.is_dir():
                    continue
                place = into / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(entry))


def _place(name: str) -> str | None:
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return None if ".." in name.split("/") or name.startswith("/") else name
    kind, _, rest = rest.partition("/")
    return rest if kind in ("purelib", "platlib") and ".." not in rest.split("/") else None


def _pin(requirement: Requirement, pins: Mapping[str, Sequence[Pin]], target: Target) -> Pin:
    name = canonicalize_name(requirement.name)
    for pin in pins.get(name, ()):
        if pin.marker is None or pin.marker.evaluate(target.environment()):
            if not requirement.specifier.contains(pin.version, prereleases=True):
                break
            return pin
    raise ConfigInvalid(
        f"requirements.lock has no {requirement} for Python {target.python}: run `make lock` and commit the result.",
        requirement=str(requirement),
    )


def _needs(requirement: Requirement, wheel: Path, target: Target, seen: set[tuple[str, str]]) -> list[Requirement]:
    """What the wheel requires for the extras asked for, each (name, extra) answered once."""
    found: list[Requirement] = []
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1)
        metadata = email.parser.BytesParser().parsebytes(archive.read(name), headersonly=True)
    listed = metadata.get_all("Requires-Dist", [])
    for extra in ("", *sorted(requirement.extras)):
        key = (canonicalize_name(requirement.name), extra)
        if key in seen:
            continue
        seen.add(key)
        for text in listed:
            needed = Requirement(text)
            if needed.marker is None and not extra:
                found.append(needed)
            elif needed.marker is not None and needed.marker.evaluate(target.environment(extra)):
                needed.marker = None
                found.append(needed)
    return found


def _obtain(pins: Sequence[Pin], target: Target, cache: Path, offline: bool) -> dict[str, Path]:
    cache.mkdir(parents=True, exist_ok=True)
    have = _cached(cache, target)
    missing = list({p.name: p for p in pins if (p.name, p.version) not in have}.values())
    if missing and offline:
        names = ", ".join(f"{p.name}=={p.version}" for p in missing)
        raise ConfigInvalid(
            f"Offline, and the wheels for Python {target.python} of {names} are not in {cache}: run `make setup` (or "
            f"`python -m infra.bundle --prefetch --python {target.python}`) once with the package index in reach.",
            folder=str(cache),
        )
    if missing:
        _download(missing, target, cache)
        have = _cached(cache, target)
    found: dict[str, Path] = {}
    for pin in pins:
        wheel = have.get((pin.name, pin.version))
        if wheel is None:
            raise ConfigInvalid(f"No wheel of {pin.name}=={pin.version} for Python {target.python}.", package=pin.name)
        _verify(pin, wheel)
        found[pin.name] = wheel
    return found


def _cached(cache: Path, target: Target) -> dict[tuple[str, str], Path]:
    tags = target.tags()
    found: dict[tuple[str, str], Path] = {}
    for wheel in sorted(cache.glob("*.whl")):
        name, version, _, fits = parse_wheel_filename(wheel.name)
        if fits & tags:
            found[(canonicalize_name(name), str(version))] = wheel
    return found


def _verify(pin: Pin, wheel: Path) -> None:
    digest = "sha256:" + hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest not in pin.hashes:
        raise ConfigInvalid(
            f"{wheel.name} is not the file that requirements.lock names: delete {wheel} and try again.", file=str(wheel)
        )


def _download(pins: Sequence[Pin], target: Target, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        listing = Path(scratch) / "pins.txt"
        listing.write_text(
            "".join(f"{p.name}=={p.version} " + " ".join(f"--hash={h}" for h in p.hashes) + "\n" for p in pins)
        )
        platforms = [part for name in PLATFORMS for part in ("--platform", name)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", "--require-hashes", "--implementation", "cp", "--python-version",
                   target.python, *platforms, "--dest", str(cache), "--requirement", str(listing)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    if done.returncode != 0:
        last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][-1:] or ["pip failed"]
        raise ConfigInvalid(
            f"Could not download wheels for Python {target.python}: {last[0]} "
            "Check that the package index can be reached, or bundle with the Python that set-up prepared.",
            python=target.python,
        )
