"""A stamp of this code: what is kept from one process for the next is only used by the code that made it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def stamp(*names: str) -> str:
    """Size and time of the named files of core. Changes with every edit and every installed version."""
    parts = [(_HERE / name).stat() for name in names]
    return "-".join(f"{p.st_mtime_ns:x}.{p.st_size:x}" for p in parts)
