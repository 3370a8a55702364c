"""A provider mirror on disk, of the kind that terraform installs from, whose programs are this stub."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.terraform.stub.pack import available, path

ROOT = Path(__file__).parents[3]
REGISTRY = "registry.terraform.io"
PLATFORM = "linux_amd64"


def ends(source: str) -> tuple[str, str]:
    """The oldest and the newest version of a provider that there is a pack of."""
    versions = sorted((version for one, version in available() if one == source), key=_numbers)
    return versions[0], versions[-1]


def chosen(end: str) -> dict[str, str]:
    """source -> version of every provider at one ``end`` (old, new) of its range."""
    return {source: ends(source)[("old", "new").index(end)] for source in {source for source, _ in available()}}


class Standing:
    """The providers at one end as a process that stays; ``variable`` tells terraform where to find them."""

    def __init__(self, end: str) -> None:
        packs = [str(path(source, version)) for source, version in chosen(end).items()]
        command = [sys.executable, "-m", "tests.terraform.stub.server", "--together", *packs]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_without_endpoint()
        )
        assert self._process.stdout is not None
        sockets = json.loads(self._process.stdout.readline())
        told = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": self._process.pid, "Test": True}
        self.variable = json.dumps({
            f"{REGISTRY}/{source}": {**told, "Addr": {"Network": "unix", "String": socket}}
            for source, socket in sockets.items()
        })  # fmt: skip

    def close(self) -> None:
        self._process.communicate("")


def _without_endpoint() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "OMNI_STUB_ENDPOINT"}


def lay_out(folder: Path, end: str, genuine: Mapping[str, Path] | None = None) -> Path:
    """Every provider at one ``end`` (old, new) of its range; returns the CLI configuration that names the mirror.

    ``genuine``: source -> folder ``VERSION/PLATFORM`` of the provider's own program, to be used instead.
    """
    for source, version in chosen(end).items():
        if genuine and source in genuine:
            own = genuine[source]
            place = folder / "mirror" / REGISTRY / source / own.parent.name / PLATFORM
            place.parent.mkdir(parents=True)
            place.symlink_to(own)
            continue
        name = source.partition("/")[2]
        place = folder / "mirror" / REGISTRY / source / version / PLATFORM
        place.mkdir(parents=True)
        program = place / f"terraform-provider-{name}_v{version}_x5"
        command = shlex.join([sys.executable, "-m", "tests.terraform.stub.server", str(path(source, version))])
        program.write_text(f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command}\n")
        program.chmod(0o755)
    return configuration(folder / "terraformrc", folder / "mirror")


def configuration(file: Path, mirror: Path) -> Path:
    """A CLI configuration that installs from ``mirror`` alone."""
    file.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
        "disable_checkpoint = true\n"
    )
    return file


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
