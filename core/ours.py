"""What the App puts around its platform: errors of our own state are marked, and HTTP is imported when it is used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import Error
from core.ports import Change, Item, Store

if TYPE_CHECKING:
    from core.wire import Wire


@contextlib.contextmanager
def our_own() -> Iterator[None]:
    """Marks the errors of our own state: an alert is not broken because its state cannot be kept."""
    try:
        yield
    except Error as error:
        error.ours = True
        raise


class OwnStore:
    """The store, for what is kept in it while a question is answered."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, partition: str, key: str) -> Item | None:
        with our_own():
            return self._store.get(partition, key)

    def query(self, partition: str, first: str = "", last: str | None = None, **how: Any) -> Sequence[Item]:
        with our_own():
            return self._store.query(partition, first, last, **how)

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        with our_own():
            return self._store.write(partition, changes)


class LazyWire:
    """HTTP is imported when a message goes over it."""

    def __init__(self, make: Callable[[], Wire]) -> None:
        self._make = make

    def send(self, method: str, url: str, **options: Any) -> Any:
        return self._make().send(method, url, **options)
