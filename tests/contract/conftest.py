"""One contract suite for every port of every platform.

To have a platform tested, add one module ``tests/contract/platform_<name>.py`` with any of these, all of them context
managers; a port that is not offered is not tested for that platform:

    store(folder: Path) -> Iterator[Store]                      an empty store, its own for each use
    address(store: Store) -> str                                with ``reopen``: where another process finds it
    reopen(address: str) -> Store                               called in another process; a plain function, as address
    secrets(folder: Path) -> Iterator[tuple[Secrets, Callable[[str, str | None], None]]]
                                                                and how to set (None: remove) one from outside
    owner(folder: Path) -> Iterator[Owner]
    objects(folder: Path) -> Iterator[Objects]
    queue(folder: Path) -> Iterator[tuple[Queue, Callable[[], list[dict]]]]
                                                                and how a worker takes every message that is there
    schedulers(folder: Path) -> Iterator[tuple[Scheduler, Scheduler]]
                                                                of two deployments in one account, both empty
    keys(folder: Path) -> Iterator[tuple[Keys, Callable[[str], None]]]
                                                                and how to disable a tenant's key from outside
    PLACES: tuple[str, ...]                                     what the text of a missing secret's error has to name
    INEXPRESSIBLE: str                                          a cron that the service does not have
    PARALLEL = False                                            (optional) where concurrent writers are too slow here
    WRONG: Mapping[str, str]                                    (optional) test -> what its emulator does wrong

``folder`` is an empty folder of the test. A module may call ``tests.parts.need`` for what a machine may lack.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tests.contract
from core.ports import Keys, Objects, Owner, Queue, Scheduler, Secrets, Store

_PREFIX = "platform_"
NAMES = sorted(
    m.name.removeprefix(_PREFIX) for m in pkgutil.iter_modules(tests.contract.__path__) if m.name.startswith(_PREFIX)
)


PORTS = ("store", "secrets", "owner", "objects", "queue", "schedulers", "keys")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs on the platforms that have all ports it asks for; one that has not is no test to skip."""
    if "offered" in metafunc.fixturenames:
        wanted = [port for port in PORTS if port in metafunc.fixturenames]
        modules = {name: importlib.import_module(f"tests.contract.{_PREFIX}{name}") for name in NAMES}
        having = [name for name, module in modules.items() if all(hasattr(module, port) for port in wanted)]
        assert having, f"no platform has {wanted}"
        marked = [_marked(modules[name], metafunc.function.__name__) for name in having]
        metafunc.parametrize("offered", marked, ids=having)


def _marked(offered: ModuleType, test: str) -> Any:
    """An emulator's mistake is expected to fail: where it is mended, the test says so."""
    reason = getattr(offered, "WRONG", {}).get(test)
    return pytest.param(offered, marks=pytest.mark.xfail(reason=reason, strict=True)) if reason else offered


def _port(offered: ModuleType, name: str) -> Callable[..., object]:
    made: Callable[..., object] = getattr(offered, name)
    return made


@pytest.fixture
def store(offered: ModuleType, tmp_path: Path) -> Iterator[Store]:
    with _port(offered, "store")(tmp_path) as made:
        yield made


@pytest.fixture
def secrets(offered: ModuleType, tmp_path: Path) -> Iterator[tuple[Secrets, Callable[[str, str | None], None]]]:
    with _port(offered, "secrets")(tmp_path) as made:
        yield made


@pytest.fixture
def owner(offered: ModuleType, tmp_path: Path) -> Iterator[Owner]:
    with _port(offered, "owner")(tmp_path) as made:
        yield made


@pytest.fixture
def objects(offered: ModuleType, tmp_path: Path) -> Iterator[Objects]:
    with _port(offered, "objects")(tmp_path) as made:
        yield made


@pytest.fixture
def queue(offered: ModuleType, tmp_path: Path) -> Iterator[tuple[Queue, Callable[[], list[dict[str, Any]]]]]:
    with _port(offered, "queue")(tmp_path) as made:
        yield made


@pytest.fixture
def schedulers(offered: ModuleType, tmp_path: Path) -> Iterator[tuple[Scheduler, Scheduler]]:
    with _port(offered, "schedulers")(tmp_path) as made:
        yield made


@pytest.fixture
def keys(offered: ModuleType, tmp_path: Path) -> Iterator[tuple[Keys, Callable[[str], None]]]:
    with _port(offered, "keys")(tmp_path) as made:
        yield made
