"""Set-up of Azurite, Microsoft's emulator of Azure Storage, from npm into ``build/azurite``, at one version.

    python -m tests.runtimes.azurite_setup      once, with the package index in reach; afterwards nothing is fetched

Where there is no npm it says so and ends well: the tests that need Azurite are then skipped with the reason, or fail
where all parts are required.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.layer import BUILD

VERSION = "3.37.0"
FOLDER = BUILD / "azurite" / VERSION
SCRIPT = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def main() -> int:
    npm = shutil.which("npm")
    if SCRIPT.is_file():
        print(f"azurite {VERSION} is there")
        return 0
    if npm is None or shutil.which("node") is None:
        print("the tests on Azurite will be skipped: there is no npm on this machine")
        return 0
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as scratch:
        place = Path(scratch) / VERSION
        place.mkdir()
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--omit=dev",
             "--prefix", str(place), f"azurite@{VERSION}"],
            capture_output=True, text=True, check=False, cwd=place,
        )  # fmt: skip
        if done.returncode != 0:
            print(f"azurite {VERSION} could not be installed: {done.stderr[-500:].strip()}", file=sys.stderr)
            return 1
        if not SCRIPT.is_file():
            place.rename(FOLDER)
    print(f"azurite {VERSION} in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
