"""What a literal of a query or policy means beside a column of a given type.

One place, so that a source, the sieve and the contract test read ``team = 5`` the same way.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from core.model import Comparison, Scalar

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_RANGES: Mapping[str, tuple[int, int]] = {
    **{kind: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in _BITS.items()},
    **{f"U{kind}": (0, 2**bits - 1) for kind, bits in _BITS.items() if bits <= 64},
}
WHOLE = frozenset(_RANGES)
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_EXACT = 10**36
"""A fraction above it has more digits than the engine's decimals: there it is a double, and rounds."""


def pushable(value: Scalar, kind: str) -> bool:
    """Whether a query's literal surely means the same in a source as in the engine.

    Stricter than ``coerce``: the engine may round a text to a number, and reads a time without zone in the session's.
    What is not pushable stays in the engine, which is slow and never wrong.
    """
    if kind in WHOLE or kind == "DOUBLE" or kind.startswith("DECIMAL"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        exact = isinstance(value, int) or kind == "DOUBLE" or abs(value) < _EXACT
        return exact and abs(value) <= sys.float_info.max
    if kind in ("VARCHAR", "JSON") and not isinstance(value, str):
        return False
    found = coerce(value, kind)
    if found is CANNOT:
        return False
    if kind in ("TIMESTAMP", "TIMESTAMPTZ"):
        return (datetime.fromisoformat(str(value).strip()).tzinfo is not None) == (kind == "TIMESTAMPTZ")
    return True


class _Cannot:
    """The literal cannot be a value of the column's type, so no row compares with it."""

    def __repr__(self) -> str:
        return "CANNOT"


CANNOT = _Cannot()


def coerce(value: Scalar, kind: str) -> Any:
    """``value`` as a Python value that compares with a column of DuckDB type ``kind``; CANNOT where there is none.

    Beside a number column a text that reads as a number counts as it (a fraction stays one: ``id = 1.5`` is false,
    ``id < 1.5`` is not); beside a text column a number is its text. Dates and times are ISO 8601 texts, one without
    zone beside TIMESTAMPTZ is UTC. NULL is CANNOT: nothing compares with it.
    """
    if value is None:
        return CANNOT
    try:
        return _coerce(value, kind)
    except (ValueError, ArithmeticError):
        return CANNOT


def _coerce(value: Any, kind: str) -> Any:
    if kind in WHOLE or kind == "DOUBLE" or kind == "FLOAT" or kind.startswith("DECIMAL"):
        return _number(value, kind)
    if kind == "BOOLEAN":
        return _boolean(value)
    if kind == "UUID":
        return UUID(_text(value))
    if kind == "DATE":
        return date.fromisoformat(_text(value).strip())
    if kind == "TIME":
        return time.fromisoformat(_text(value).strip())
    if kind == "TIMESTAMP":
        moment = datetime.fromisoformat(_text(value).strip())
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    if kind in ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"):
        moment = datetime.fromisoformat(_text(value).strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if kind in ("VARCHAR", "JSON"):
        return _text({True: "true", False: "false"}[value] if isinstance(value, bool) else str(value))
    raise ValueError(kind)


def _text(value: Any) -> str:
    # NUL and lone surrogates are in no database's text, and drivers refuse them.
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not a text")
    value.encode("utf-8")
    return value


def _number(value: Any, kind: str) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")
    if kind in ("DOUBLE", "FLOAT"):
        return float(value)
    if isinstance(value, int):
        return value
    number = Decimal(repr(value) if isinstance(value, float) else value.strip())
    if not number.is_finite():
        raise ValueError("not a number")
    return int(number) if number == number.to_integral_value() and abs(number) < 10**38 else number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a boolean")
    return value


# ── a comparison that needs no other type than the column's ──────────────────────────────────────────────────────


def fitted(op: Comparison, value: Any, kind: str) -> tuple[Comparison, Any] | bool:
    """``op value`` beside a column of type ``kind``, with a value of just that type; a bool where all is decided.

    The same rows satisfy it (NULL never does). DuckDB compares two numbers in a type that holds the digits of both,
    and fails on a stored value that this type cannot hold: beside DECIMAL(10,2) a literal with 38 decimals leaves no
    place for anything else.
    So a literal between two values of the type becomes the next of them, and one beyond them all decides.
    """
    grid = _grid(kind)
    if grid is None or op not in ("=", "!=", "<", "<=", ">", ">="):
        return op, value
    scale, lowest, highest = grid
    place = _bounded(Decimal(value)) * 10**scale
    below, above = math.floor(place), math.ceil(place)
    if op in ("=", "!="):
        return (op, _unit(below, scale)) if below == above and lowest <= below <= highest else op == "!="
    if op in ("<", "<="):
        last = below if op == "<=" else above - 1
        return last >= highest if not lowest <= last < highest else ("<=", _unit(last, scale))
    start = above if op == ">=" else below + 1
    return start <= lowest if not lowest < start <= highest else (">=", _unit(start, scale))


def _grid(kind: str) -> tuple[int, int, int] | None:
    """The decimals of a type of exact numbers, and its least and greatest value in units of the last of them."""
    if kind in _RANGES:
        return (0, *_RANGES[kind])
    found = _DECIMAL.fullmatch(kind)
    if found is None:
        return None
    largest = 10 ** int(found[1]) - 1
    return int(found[2]), -largest, largest


def _bounded(value: Decimal) -> Fraction:
    """As an exact fraction; what is beyond all types, or finer than any, as something of small size that is so too."""
    if value and not -41 <= value.adjusted() <= 41:
        value = Decimal((int(value < 0), (1,), 41 if value.adjusted() > 0 else -41))
    return Fraction(value)


def _unit(number: int, scale: int) -> int | Decimal:
    return Decimal(f"{number}E-{scale}") if scale else number
