"""Set-up of the real runtimes: ``.venv313`` with a bare Python 3.13 and a folder for each cloud's runtime library.

    python -m tests.runtimes.azure_setup        once, with the package index in reach; afterwards nothing is fetched

Azure's library needs Python 3.13, which is also what functions run on. Where there is no 3.13 it says so and ends well:
the tests that need it are then skipped with the reason, or fail where all parts are required.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from core.errors import ConfigInvalid, Error
from infra import interpreter
from infra.layer import BUILD, ROOT, compile_all
from infra.wheels import Pin, Target, closure, lock, unpack
from tests.runtimes.places import PYTHON, RUNTIMES, VENV

LOCK = Path(__file__).with_name("azure.lock")


def main() -> int:
    try:
        python = interpreter.find(PYTHON)
    except ConfigInvalid as error:
        print(f"the tests of the clouds' runtimes will be skipped: {error.message}")
        return 0
    try:
        made = [cloud for cloud in RUNTIMES if _runtime(cloud)]
    except Error as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    if not (VENV / "bin" / "python").is_file():
        subprocess.run([str(python), "-m", "venv", "--without-pip", str(VENV)], check=True)
    print(f"runtimes in {VENV}: {', '.join(made) or 'nothing new'}")
    return 0


def _runtime(cloud: str) -> bool:
    place = VENV / "runtimes" / cloud
    wheels = closure([RUNTIMES[cloud]], _pins(), Target(PYTHON), BUILD / "wheels" / PYTHON)
    names = "\n".join(sorted(wheel.name for wheel in wheels.values()))
    listing = place / "WHEELS"
    if listing.is_file() and listing.read_text() == names:
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        folder = Path(scratch) / cloud
        unpack(wheels.values(), folder)
        compile_all(folder, PYTHON, strict=False)
        (folder / "WHEELS").write_text(names)
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
    return True


def _pins() -> dict[str, list[Pin]]:
    """The project's lock, and the few pins of the library that cannot be installed on older Pythons."""
    return {**lock(LOCK), **lock(ROOT / "requirements.lock")}


if __name__ == "__main__":
    sys.exit(main())
