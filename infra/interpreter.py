"""Find the Python that a function will run on: bytecode must be compiled by its very minor version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigInvalid

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def find(python: str) -> Path:
    """An interpreter of version ``python`` ("3.13"): this one, on PATH, pyenv's or uv's.

    ConfigInvalid says where it was looked for and what to do instead.
    """
    for candidate in _candidates(python):
        if _is(candidate, python):
            return candidate
    raise ConfigInvalid(
        f"No Python {python} found (looked on PATH, in pyenv's versions and asked uv). Install it, or bundle for the "
        f"Python that runs now with `--python {RUNNING}` if your function runs on that.",
        python=python,
    )


def _candidates(python: str) -> Iterator[Path]:
    if python == RUNNING:
        yield Path(sys.executable)
    on_path = shutil.which(f"python{python}")
    if on_path:
        yield Path(on_path)
    roots = (os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv"))
    for root in filter(None, roots):
        yield from sorted((Path(root) / "versions").glob(f"{python}.*/bin/python{python}"))
    uv = shutil.which("uv")
    if uv:
        asked = [uv, "python", "find", "--offline", "--no-project", python]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
        if found.returncode == 0 and found.stdout.strip():
            yield Path(found.stdout.strip())


def _is(candidate: Path, python: str) -> bool:
    """Whether it runs and is that version: a shim on PATH may be neither."""
    question = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        said = subprocess.run(question, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 (as above)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and said.stdout.strip() == python
