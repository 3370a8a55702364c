from __future__ import annotations

from pathlib import Path

import pytest

from tests.handlers.conftest import project, receiver

__all__ = ["project", "receiver", "shared"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the whole run, the same for every worker."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "bundles"
    folder.mkdir(exist_ok=True)
    return folder
