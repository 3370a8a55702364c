"""Set-up of checkov, which judges the Terraform modules, in an environment of its own: its packages are not ours.

python -m tests.runtimes.checkov_setup      once, with the package index in reach; afterwards nothing is fetched
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from infra.layer import BUILD

VERSION = "3.3.30"
PLACE = BUILD / f"checkov-{VERSION}"
PROGRAM = PLACE / "bin" / "checkov"
_READY = PLACE / ".ready"


def main() -> int:
    if ready():
        print(f"checkov {VERSION} in {PLACE}: nothing new")
        return 0
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(PLACE / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
        with tempfile.TemporaryDirectory() as scratch:  # some of its dependencies come as source and are built there
            subprocess.run([*pip, f"checkov=={VERSION}"], check=True, cwd=scratch)
    except subprocess.CalledProcessError as error:
        print(f"checkov {VERSION} could not be installed (exit {error.returncode}): its tests say so", file=sys.stderr)
        return 0
    _READY.touch()
    print(f"checkov {VERSION} in {PLACE}")
    return 0


def ready() -> bool:
    return _READY.is_file() and PROGRAM.is_file()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """checkov over a folder of Terraform, with no network."""
    command = [str(PLACE / "bin" / "python"), str(PROGRAM), "-d", str(folder), "--framework", "terraform", "--compact",
               "--skip-download", "-o", "json", *arguments]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


if __name__ == "__main__":
    sys.exit(main())
