from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.parts import need
from tests.runtimes.ministack import Ministack, Moto, command, create_table


@pytest.fixture(scope="session")
def ministack() -> Iterator[Ministack]:
    need("ministack", command("ministack") is not None, "install the dev extra")
    stack = Ministack()
    yield stack
    stack.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    need("moto", command("moto_server") is not None, "install the dev extra")
    server = Moto()
    yield server
    server.close()


@pytest.fixture(params=["ministack", "moto"])
def endpoint(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param).url
    return url


@pytest.fixture
def table(endpoint: str) -> str:
    name = f"state-{uuid.uuid4().hex[:8]}"
    create_table(endpoint, name)
    return name
