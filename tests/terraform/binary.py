"""The terraform binary, and a provider's own program where this machine has one."""

from __future__ import annotations

import functools
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.parts import need
from tests.runtimes import terraform_setup
from tests.terraform.stub.mirror import PLATFORM, REGISTRY


def terraform() -> str:
    """The path of the binary, or of the library that stands in for it (see ``terraform_setup``)."""
    found = shutil.which("terraform") or (str(terraform_setup.PROGRAM) if terraform_setup.ready() else None)
    need(
        "terraform", found is not None, "put it on PATH (1.9 or later), or run python -m tests.runtimes.terraform_setup"
    )
    assert found is not None
    return found


@functools.cache
def genuine(source: str) -> Path | None:
    """The folder of the newest version of a provider (``hashicorp/aws``) in one of the places that terraform itself
    looks in, or that OMNI_TF_PLUGINS names; None where there is none."""
    home = Path.home()
    places = [
        *(Path(one) for one in os.environ.get("OMNI_TF_PLUGINS", "").split(os.pathsep) if one),
        *_configured(Path(os.environ.get("TF_CLI_CONFIG_FILE") or home / ".terraformrc")),
        home / ".terraform.d" / "plugins",
        home / ".local" / "share" / "terraform" / "plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
        Path("/opt/terraform/plugins"),
        Path("/opt/tf-plugins"),
    ]
    found = [one for place in places for one in (place / REGISTRY / source).glob(f"*/{PLATFORM}")]
    return max(found, key=lambda one: [int(n) for n in re.findall(r"\d+", one.parent.name)], default=None)


def need_genuine(source: str) -> Path:
    found = genuine(source)
    if found is None:
        pytest.skip(f"part not available: terraform provider {source}: unpack it where terraform looks for plug-ins, "
                    "or name the folder in OMNI_TF_PLUGINS")  # fmt: skip
    return found


def _configured(file: Path) -> list[Path]:
    if not file.is_file():
        return []
    return [Path(one) for one in re.findall(r'^\s*path\s*=\s*"([^"]+)"', file.read_text(), re.M)]
