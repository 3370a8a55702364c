"""Answer -> JSON, CSV or a table on the terminal: one encoding of values for all of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from core.model import Answer

SAFE_INTEGER = 2**53


def value(v: Any) -> Any:
    """JSON-ready: integers beyond 2^53 and decimals as strings, moments as ISO 8601, NaN and infinities as strings."""
    if v is None or isinstance(v, bool | str):
        return v
    if isinstance(v, int):
        return v if -SAFE_INTEGER <= v <= SAFE_INTEGER else str(v)
    if isinstance(v, float):
        return v if math.isfinite(v) else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(v), "NaN")
    if isinstance(v, Decimal):
        return format(v, "f") if v.is_finite() else str(v)
    if isinstance(v, datetime | date | time):
        return v.isoformat()
    if isinstance(v, timedelta):
        return interval(v)
    if isinstance(v, bytes | bytearray | memoryview):
        return bytes(v).hex()
    if isinstance(v, Mapping):
        return {str(value(k)): value(x) for k, x in v.items()}
    if isinstance(v, list | tuple | set | frozenset):
        return [value(x) for x in v]
    if isinstance(v, UUID):
        return str(v)
    return str(v)


def interval(v: timedelta) -> str:
    """ISO 8601 duration."""
    seconds = Decimal(v.days * 86_400 + v.seconds) + Decimal(v.microseconds) / 1_000_000
    sign = "-" if seconds < 0 else ""
    days, rest = divmod(abs(seconds), 86_400)
    return f"{sign}P{days}DT{rest.normalize():f}S"


def to_dict(answer: Answer) -> dict[str, Any]:
    """The answer's JSON object, as in the HTTP and CLI contract."""
    return {
        "columns": [{"name": name, "type": kind} for name, kind in answer.columns],
        "rows": [[value(v) for v in row] for row in answer.rows],
        "row_count": len(answer.rows),
        "complete": answer.complete,
        "warnings": list(answer.warnings),
        "freshness": {
            table: {"fetched_at": _utc(f.fetched_at), "age_ms": round(f.age_ms, 1), "from_cache": f.from_cache}
            for table, f in sorted(answer.freshness.items())
        },
        "stats": dict(answer.stats),
        "masked": list(answer.masked),
        "trace_id": answer.trace_id,
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(answer: Answer) -> bytes:
    import orjson

    return orjson.dumps(to_dict(answer))


def ndjson(answer: Answer) -> Iterator[bytes]:
    import orjson

    names = unique([name for name, _ in answer.columns])
    for row in answer.rows:
        yield orjson.dumps({name: value(v) for name, v in zip(names, row, strict=True)}) + b"\n"


def unique(names: Sequence[str]) -> list[str]:
    """The names with _1, _2 ... behind repeated ones: an object has each key once."""
    result: list[str] = []
    for name in names:
        free, number = name, 0
        while free in result:
            number += 1
            free = f"{name}_{number}"
        result.append(free)
    return result


def to_csv(answer: Answer) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for name, _ in answer.columns])
    writer.writerows([["" if v is None else _cell(v) for v in row] for row in answer.rows])
    return out.getvalue()


def _cell(v: Any) -> str:
    shown = value(v)
    if isinstance(shown, str):
        return shown
    if isinstance(shown, bool):
        return "true" if shown else "false"
    if isinstance(shown, list | dict):
        import json

        return json.dumps(shown, ensure_ascii=False)
    return str(shown)


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, width: int = 60) -> str:
    """A plain-text table; long cells are cut with an ellipsis, control characters shown escaped."""
    cells = [[_clip("NULL" if v is None else _cell(v), width) for v in row] for row in rows]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(headers))]
    widths = [max([len(h)] + [len(row[i]) for row in cells]) for i, h in enumerate(headers)]

    def line(row: Sequence[str]) -> str:
        parts = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([line(list(headers)), rule, *(line(row) for row in cells)])


def _clip(text: str, width: int) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def _is_number(text: str) -> bool:
    return text == "NULL" or text.replace(".", "", 1).replace("-", "", 1).isdigit()
