from __future__ import annotations

import uuid

import pytest

from tests.runtimes.ministack import Ministack, Moto, create_table, shared


@pytest.fixture(params=[Ministack, Moto], ids=["ministack", "moto"])
def endpoint(request: pytest.FixtureRequest) -> str:
    return shared(request.param).url


@pytest.fixture
def table(endpoint: str) -> str:
    name = f"state-{uuid.uuid4().hex[:8]}"
    create_table(endpoint, name)
    return name
