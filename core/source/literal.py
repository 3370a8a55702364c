"""What a literal of a query or policy means beside a column of a given type.

One place, so that a source, the sieve and the contract test read ``team = 5`` the same way.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from core.model import Scalar

WHOLE = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)


def pushable(value: Scalar, kind: str) -> bool:
    """Whether a query's literal surely means the same in a source as in the engine.

    Stricter than ``coerce``: the engine may round a text to a number, and reads a time without zone in the session's.
    What is not pushable stays in the engine, which is slow and never wrong.
    """
    if kind in WHOLE or kind == "DOUBLE" or kind.startswith("DECIMAL"):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
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
    except (ValueError, InvalidOperation, OverflowError):
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
