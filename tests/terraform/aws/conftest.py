from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.aws import manifest
from tests.terraform.harness import Module, Values


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The least that the module has to be told."""
    return {"manifest": str(manifest.write(tmp_path_factory.mktemp("dist")))}


@pytest.fixture(scope="session")
def applied(_modules: Callable[..., Module], good: dict[str, Any]) -> Values:
    """The state of a deployment with everything on, imagined by the stub."""
    vpc = {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}
    return _modules("aws").apply({**good, "tracing": True, "vpc": vpc, "url_auth": "NONE"})


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return tmp_path / "dist"
