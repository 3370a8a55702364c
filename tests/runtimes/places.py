"""Where the parts of the runtimes are: Python 3.13, and a folder per cloud with only that cloud's runtime in it.

``python -m tests.runtimes.azure_setup`` makes the folders (set-up does). A test asks ``python313()`` and
``runtime("azure")``, and is skipped with the reason where a part is absent.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import ConfigInvalid
from infra import interpreter
from infra.layer import ROOT
from tests.parts import need

VENV = ROOT / ".venv313"
PYTHON = "3.13"
RUNTIMES = {
    "aws": "awslambdaric",
    "gcp": "functions-framework",
    "azure": "azure-functions-runtime",
}


def python313() -> Path:
    """The interpreter of the runtimes' own environment, which has no packages at all."""
    python = VENV / "bin" / "python"
    need("Python 3.13", python.is_file(), _why())
    return python


def runtime(cloud: str) -> Path:
    """The folder with that cloud's runtime library (and what it needs), and nothing of ours."""
    folder = VENV / "runtimes" / cloud
    need(RUNTIMES[cloud], folder.is_dir(), "run `python -m tests.runtimes.azure_setup`")
    return folder


def _why() -> str:
    try:
        interpreter.find(PYTHON)
    except ConfigInvalid as error:
        return error.message
    return "run `python -m tests.runtimes.azure_setup`"
