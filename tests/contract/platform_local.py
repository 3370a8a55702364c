"""The laptop's ports; see ``conftest``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.ports import Keys, Objects, Owner, Queue, Secrets, Store
from core.settings import Settings
from handlers.local.platform import LocalStore, platform
from handlers.local.queue import LocalQueue

PLACES = ("OMNI_SECRET_NOT_THERE", ".omni/secrets/not_there")


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    made = platform(Settings(), {}, folder).store
    assert isinstance(made, LocalStore)
    yield made
    made.close()


def address(store: Store) -> str:
    assert isinstance(store, LocalStore)
    return str(store.path)


def reopen(address: str) -> Store:
    return LocalStore(Path(address), busy_s=30.0)


@contextmanager
def secrets(folder: Path) -> Iterator[tuple[Secrets, Callable[[str, str | None], None]]]:
    kept = folder / ".omni" / "secrets"

    def put(name: str, value: str | None) -> None:
        kept.mkdir(parents=True, exist_ok=True)
        if value is None:
            (kept / name).unlink(missing_ok=True)
        else:
            (kept / name).write_text(value + "\n", "utf-8")

    yield platform(Settings(), {}, folder).secrets, put


@contextmanager
def owner(folder: Path) -> Iterator[Owner]:
    yield platform(Settings(), {}, folder).owner


@contextmanager
def objects(folder: Path) -> Iterator[Objects]:
    made = platform(Settings(), {}, folder).objects
    assert made is not None
    yield made


@contextmanager
def queue(folder: Path) -> Iterator[tuple[Queue, Callable[[], list[dict[str, Any]]]]]:
    made = platform(Settings(), {}, folder).queue
    assert isinstance(made, LocalQueue)

    def taken() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        made.take(found.append)
        return found

    yield made, taken


@contextmanager
def keys(folder: Path) -> Iterator[tuple[Keys, Callable[[str], None]]]:
    made = platform(Settings(), {}, folder).keys
    assert made is not None

    def disable(tenant: str) -> None:
        file = folder / ".omni" / "keys" / f"{tenant}.key"
        file.rename(file.with_suffix(".disabled"))

    yield made, disable
