"""Folders that we write to, told by the name that the user gave them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ConfigInvalid


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises ConfigInvalid where the system does not let us; a draft's temporary name says nothing, ``folder`` does."""
    try:
        yield
    except OSError as error:
        place = Path(error.filename) if error.filename else folder
        if place.resolve().is_relative_to(folder.resolve()):
            place = folder
        raise ConfigInvalid(
            f"{place} cannot be written or read: {error.strerror}. Choose another --out, or make room for it.",
            file=str(place),
        ) from None
