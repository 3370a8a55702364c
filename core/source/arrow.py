"""Python values to Arrow columns, and the lazy stream of record batches that every source returns.

The types are DuckDB's names. One list per column, never an object per row; a value that is not of its column's
declared type is an error that names the column and never the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema

from core.errors import Error, SourceError
from core.model import Scan

EPOCH = datetime(1970, 1, 1)
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
WIDE = Context(prec=100)
"""Python's own context has 28 digits; DECIMAL has up to 38."""
MICROSECOND = timedelta(microseconds=1)
DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")

_PLAIN: dict[str, DataType] = {
    "SMALLINT": DataType.int16(),
    "INTEGER": DataType.int32(),
    "BIGINT": DataType.int64(),
    "DOUBLE": DataType.float64(),
    "BOOLEAN": DataType.bool(),
    "VARCHAR": DataType.string(),
    "BLOB": DataType.binary(),
    "JSON": DataType.string(),
    "UUID": DataType.binary(16),
    "DATE": DataType.date32(),
    "TIME": DataType.time64("us"),
    "TIMESTAMP": DataType.timestamp("us"),
    "TIMESTAMPTZ": DataType.timestamp("us", tz="UTC"),
}
_EXTENSION = {"JSON": "arrow.json", "UUID": "arrow.uuid"}


class DoesNotFitError(ValueError):
    """A value is not of its column's type. Carries no value on purpose."""


def arrow_type(name: str) -> DataType:
    """The Arrow type that DuckDB reads as its own type ``name``."""
    decimal = DECIMAL.fullmatch(name)
    if decimal:
        return DataType.decimal128(int(decimal[1]), int(decimal[2]))
    return _PLAIN[name]


def schema_of(columns: Sequence[tuple[str, str]]) -> Schema:
    """The Arrow schema of (name, DuckDB type) pairs; JSON and UUID keep their type in DuckDB."""
    return Schema([_field(name, kind) for name, kind in columns])


def _field(name: str, kind: str) -> Field:
    extension = _EXTENSION.get(kind)
    metadata = {"ARROW:extension:name": extension, "ARROW:extension:metadata": ""} if extension else None
    return Field(name, arrow_type(kind), nullable=True, metadata=metadata)


def scan_schema(scan: Scan) -> tuple[tuple[str, str], ...]:
    """The (name, type) pairs of the columns that ``scan`` asks for, in its order."""
    found = []
    for name in scan.columns:
        column = scan.table.column(name)
        if column is None:
            raise SourceError(f"{scan.table.full_name} has no column {name}.", table=scan.table.full_name, column=name)
        found.append((column.name, column.type))
    return tuple(found)


def build_array(values: Sequence[Any], kind: str) -> Array:
    """One Arrow column. ``values`` are Python values of the type (dates as date, decimals as Decimal, JSON as text).

    Raises DoesNotFitError where a value is of another type or out of the type's range.
    """
    try:
        maker = _MAKERS.get(kind)
        if maker is not None:
            return maker(values)
        decimal = DECIMAL.fullmatch(kind)
        if decimal:
            return _decimals(values, int(decimal[1]), int(decimal[2]))
        return Array(values, _PLAIN[kind])
    except (TypeError, ValueError, OverflowError, AttributeError) as err:
        raise DoesNotFitError(kind) from err


def _plain(kind: str) -> Callable[[Sequence[Any]], Array]:
    target = _PLAIN[kind]
    return lambda values: Array(values, target)


def _strict(allowed: tuple[type, ...], kind: str) -> Callable[[Sequence[Any]], Array]:
    """For numbers, where arrow would take True for 1."""
    target = _PLAIN[kind]
    accepted = frozenset((*allowed, type(None)))

    def make(values: Sequence[Any]) -> Array:
        if not accepted.issuperset(map(type, values)):
            raise DoesNotFitError(kind)
        return Array(values, target)

    return make


def _dates(values: Sequence[Any]) -> Array:
    if any(isinstance(v, datetime) for v in values):
        raise DoesNotFitError("DATE")
    days = [None if v is None else v.toordinal() - EPOCH_DAY for v in values]
    return Array(days, DataType.int32()).cast(_PLAIN["DATE"])


def _times(values: Sequence[time | None]) -> Array:
    micros = [
        None if v is None else ((v.hour * 60 + v.minute) * 60 + v.second) * 1_000_000 + v.microsecond for v in values
    ]
    return Array(micros, DataType.int64()).cast(_PLAIN["TIME"])


def _timestamps(values: Sequence[Any]) -> Array:
    micros = [None if v is None else (v - EPOCH) // MICROSECOND for v in values]
    return Array(micros, DataType.int64()).cast(_PLAIN["TIMESTAMP"])


def _instants(values: Sequence[Any]) -> Array:
    micros = [None if v is None else (v - EPOCH_UTC) // MICROSECOND for v in values]
    return Array(micros, DataType.int64()).cast(_PLAIN["TIMESTAMPTZ"])


def _uuids(values: Sequence[UUID | None]) -> Array:
    return Array([None if v is None else v.bytes for v in values], _PLAIN["UUID"])


def _decimals(values: Sequence[Decimal | None], precision: int, scale: int) -> Array:
    step, bound = Decimal(1).scaleb(-scale), Decimal(10) ** (precision - scale)
    texts: list[str | None] = []
    for value in values:
        if value is None:
            texts.append(None)
        elif not value.is_finite() or abs(value) >= bound or value.quantize(step, context=WIDE) != value:
            raise DoesNotFitError("DECIMAL")
        else:
            texts.append(format(value, "f"))
    array = Array(texts, DataType.string()).cast(DataType.decimal128(precision, scale))
    return _no_new_nulls(array, values)


def instants_from_text(values: Sequence[str | None]) -> Array:
    """ISO 8601 texts to TIMESTAMPTZ, in native code; DoesNotFitError where one is not a timestamp."""
    array = Array(values, _PLAIN["VARCHAR"]).cast(_PLAIN["TIMESTAMPTZ"])
    return _no_new_nulls(array, values)


def _no_new_nulls(array: Array, values: Sequence[Any]) -> Array:
    # A cast turns what it cannot read into NULL: silently losing a value is worse than an error.
    if array.null_count and array.null_count != sum(v is None for v in values):
        raise DoesNotFitError("cast")
    return array


_MAKERS: dict[str, Callable[[Sequence[Any]], Array]] = {
    "SMALLINT": _strict((int,), "SMALLINT"),
    "INTEGER": _strict((int,), "INTEGER"),
    "BIGINT": _strict((int,), "BIGINT"),
    "DOUBLE": _strict((int, float), "DOUBLE"),
    "JSON": _plain("VARCHAR"),
    "UUID": _uuids,
    "DATE": _dates,
    "TIME": _times,
    "TIMESTAMP": _timestamps,
    "TIMESTAMPTZ": _instants,
}


def rows_to_batch(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[tuple[str, str]],
    schema: Schema,
    where: str,
    lenient: frozenset[str] = frozenset(),
) -> RecordBatch:
    """Turn driver rows into one record batch; SOURCE_ERROR names ``where``, the column and how many rows do not fit.

    ``lenient``: columns (lower case) in which a value that does not fit is NULL.
    """
    width = len(columns)
    lists: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [()] * width
    arrays = []
    for (name, kind), values in zip(columns, lists, strict=True):
        try:
            arrays.append(build_array(values, kind))
        except DoesNotFitError:
            if name.lower() not in lenient:
                raise misfit(where, name, kind, values) from None
            arrays.append(build_array(fitting(values, kind), kind))
    return RecordBatch(arrays, schema=schema)


def misfit(where: str, column: str, kind: str, values: Sequence[Any]) -> SourceError:
    """The error for a column whose values are not of its type: how many, never which."""
    bad = sum(not _fits(v, kind) for v in values) or 1
    return SourceError(
        f"{where}: {bad} of {len(values)} rows read have a value in column {column} that is not a {kind}. "
        "Correct the data or the column's declared type.",
        table=where,
        column=column,
        rows=bad,
    )


def fitting(values: Sequence[Any], kind: str) -> list[Any]:
    """The values, with NULL for each that is not of the type."""
    return [value if _fits(value, kind) else None for value in values]


def _fits(value: Any, kind: str) -> bool:
    try:
        build_array([value], kind)
    except DoesNotFitError:
        return False
    return True


class Stream:
    """A lazy Arrow stream over a generator of record batches.

    DuckDB asks for the capsule more than once (once to learn the schema), so each capsule reads from the same
    iterator. What fails inside is kept in ``error``: the engine only reports its text, and raises this instead.
    """

    def __init__(self, schema: Schema, batches: Iterable[RecordBatch]) -> None:
        self.schema = schema
        self.error: Error | None = None
        self._batches: Iterator[RecordBatch] = iter(batches)
        self._done = False

    def __iter__(self) -> Iterator[RecordBatch]:
        while True:
            try:
                batch = next(self._batches)
            except StopIteration:
                return
            except Error as err:
                self.error = err
                raise
            yield batch

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return RecordBatchReader.from_batches(self.schema, iter(self)).__arrow_c_stream__(requested_schema)

    def close(self) -> None:
        """Let go of what the stream holds (a cursor, connections). Reading on ends without rows."""
        if self._done:
            return
        self._done = True
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()
