"""Keys as Firestore document ids that sort as the port's keys do, and what names of resources look like."""

from __future__ import annotations

import hashlib
import re

from core.errors import ConfigInvalid, ResourceLimit

MAX_ID_BYTES = 1_400
"""Firestore allows 1,500; the id is also kept as an indexed field, which sorts by 1,500 bytes with its overhead."""
_LONG_PARTITION_BYTES = 500


def document_id(partition: str, key: str) -> str:
    """``PARTITION.-KEY``. Raises ResourceLimit where the key is too long for Firestore.

    In both parts ``.`` is written ``.0`` and ``/`` is ``.1``: of two texts the one whose UTF-8 bytes come first still
    does, no id is ``.``, ``..``, ``__x__`` or a path, and ``.-`` can only be the divider.
    """
    found = _head(partition) + _escaped(key)
    if len(found.encode()) > MAX_ID_BYTES:
        raise ResourceLimit(f"Firestore keys have at most {MAX_ID_BYTES} bytes, the partition included.", key=key[:80])
    return found


def bounds(partition: str, first: str, last: str | None) -> tuple[str, str]:
    """The ids of ``first <= key <= last``: the lowest, included, and the first above, not included."""
    low, head = _head(partition) + _escaped(first), _head(partition)
    # What sorts directly after an id is that id and the lowest character, which no key has in it.
    return low, head[:-1] + "." if last is None else head + _escaped(last) + "\x01"


def key_of(document: str) -> str:
    """The key in an id."""
    return document.partition(".-")[2].replace(".1", "/").replace(".0", ".")


def _head(partition: str) -> str:
    if len(partition.encode()) > _LONG_PARTITION_BYTES:  # only its being apart from others counts, not its order
        return f".2{hashlib.sha256(partition.encode()).hexdigest()}.-"
    return f"{_escaped(partition)}.-"


def _escaped(text: str) -> str:
    return text.replace(".", ".0").replace("/", ".1")


def fitting(pattern: str, value: str, variable: str, example: str) -> re.Match[str]:
    """``value`` of the setting ``variable`` read by ``pattern``; ConfigInvalid with an ``example`` where it differs.

    The value is not told: what stands there by mistake may hold a password.
    """
    found = re.fullmatch(pattern, value)
    if found is None:
        said = "is of another form" if value else "is not set"
        raise ConfigInvalid(f"{variable} {said}: on Google Cloud it has to look like {example}.", key=variable)
    return found
