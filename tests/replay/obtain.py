"""Takes PyGithub's recorded GitHub traffic from its source distribution, at set-up: none of it is committed here.

    python -m tests.replay.obtain [FOLDER]

Does nothing where the recordings are there already, so everything after set-up works without a network.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.10.0"
SHA256 = "90ff24ef1cd1bd57124c2a3869cafee9d7b066909129ecdaba2c2d1903bc118d"
FOLDER = Path(__file__).resolve().parents[2] / "build" / "replay"


def recordings(folder: Path = FOLDER) -> Path | None:
    """The folder with the recordings of this version, or None before ``obtain``."""
    found = folder / VERSION
    return found if (found / ".complete").exists() else None


def obtain(folder: Path = FOLDER) -> Path:
    """Download, verify and unpack the recordings; return their folder."""
    present = recordings(folder)
    if present is not None:
        return present
    target = folder / VERSION
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--no-binary", ":all:", "--dest", download, f"PyGithub=={VERSION}"], check=True)
        archive = next(Path(download).glob("*.tar.gz"))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != SHA256:
            raise SystemExit(f"{archive.name} is not the one that was recorded here: sha256 {digest}")
        _unpack(archive, target)
    (target / ".complete").touch()
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Only the recordings, under their bare names."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            content = tar.extractfile(member) if member.isfile() and path.parent.name == "ReplayData" else None
            if content is not None:
                (target / path.name).write_bytes(content.read())


if __name__ == "__main__":
    print(obtain(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
