"""A stamp of this code: what is kept from one process for the next is only used by the code that made it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def stamp(*names: str) -> str:
    """Of what the named files of core say, and of the parser's version. A bundle's files all have the same time."""
    parser = find_spec("sqlglot")
    version = Path(str(parser.origin)).with_name("_version.py") if parser is not None and parser.origin else None
    total = hashlib.sha256()
    for place in (*(_HERE / name for name in names), *((version,) if version is not None else ())):
        total.update(place.read_bytes())
    return total.hexdigest()[:32]
