"""An answer becomes readings: one per instance of the alert. Pure.

The query's contract: a column ``status`` (any case) holding ALERT, WARN or OK (any case, spaces around it allowed),
optionally ``actual_value`` and ``threshold``; all other columns are context. Without ``key`` the alert has one
instance, and of several rows the worst decides (the first of equals). With ``key`` each value of the key columns is
an instance of its own, and of rows with the same key the worst decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, cast

from core.errors import ConfigInvalid, Error, ResourceLimit
from core.model import Answer, Outcome, Rule, Severity

SINGLE = "-"
"""The instance of an alert without key columns."""

MAX_INSTANCES = 500
RANK: Mapping[str, int] = {"OK": 0, "WARN": 1, "ALERT": 2}
_TEXT = 1_000
_KEY_TEXT = 200
_CONTEXT = 200_000
_CONTEXT_OF_ONE = 16_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What one instance showed. ``instance`` is its percent-encoded id; all values are JSON-ready."""

    instance: str
    key: Mapping[str, Any]
    status: Severity
    actual_value: Any = None
    threshold: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``error`` is ``Error.to_dict`` where the outcome is ERROR. ``readings`` are empty for ERROR and NO_DATA."""

    outcome: Outcome
    readings: tuple[Reading, ...] = ()
    error: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


def failed(error: Error, request_id: str) -> Evaluation:
    """The evaluation of a question that could not be answered."""
    return Evaluation("ERROR", error=error.to_dict(request_id))


def evaluate(answer: Answer, rule: Rule, request_id: str) -> Evaluation:
    """Read the answer by the contract above; what does not keep it is an ERROR, never an OK."""
    try:
        return _readings(answer, rule)
    except Error as error:
        return failed(error, request_id)


def _readings(answer: Answer, rule: Rule) -> Evaluation:
    if not answer.complete:
        raise ResourceLimit(
            f"The answer for alert {rule.name!r} was cut after {len(answer.rows)} rows, so it cannot be judged. "
            "Aggregate or filter in its query.",
            alert=rule.name,
        )
    names = [name for name, _ in answer.columns]
    places = {name.lower(): i for i, name in reversed(list(enumerate(names)))}
    status_at = places.get("status")
    if status_at is None:
        raise _contract(rule, f"has no column 'status'; its columns are {_listed(names)}")
    key_at = [_key_place(rule, column, places, names) for column in rule.key]
    if not answer.rows:
        return Evaluation("NO_DATA")
    if not key_at:
        statuses = [_status(row[status_at], rule) for row in answer.rows]
        worst = max(range(len(statuses)), key=lambda i: RANK[statuses[i]])
        chosen = {SINGLE: (statuses[worst], answer.rows[worst])}
    else:
        chosen = _by_key(answer.rows, status_at, key_at, rule)
    layout = _Layout(names, status_at, places.get("actual_value"), places.get("threshold"), frozenset(key_at))
    room = min(_CONTEXT_OF_ONE, _CONTEXT // len(chosen))
    readings = tuple(layout.reading(instance, status, row, key_at, room) for instance, (status, row) in chosen.items())
    outcome = max((r.status for r in readings), key=RANK.__getitem__)
    return Evaluation(outcome, readings, warnings=_remarks(answer, rule))


def _remarks(answer: Answer, rule: Rule) -> tuple[str, ...]:
    if rule.key or len(answer.rows) == 1:
        return ()
    return (f"The query returned {len(answer.rows)} rows and the alert has no key: the worst row decides.",)


def _by_key(
    rows: Sequence[tuple[Any, ...]], status_at: int, key_at: Sequence[int], rule: Rule
) -> dict[str, tuple[Severity, tuple[Any, ...]]]:
    chosen: dict[str, tuple[Severity, tuple[Any, ...]]] = {}
    for row in rows:
        status = _status(row[status_at], rule)
        instance = instance_id([row[i] for i in key_at])
        old = chosen.get(instance)
        if old is None or RANK[status] > RANK[old[0]]:
            chosen[instance] = (status, row)
    if len(chosen) > MAX_INSTANCES:
        raise ResourceLimit(
            f"Alert {rule.name!r} has {len(chosen):,} instances; at most {MAX_INSTANCES} are watched. "
            "Return fewer rows, or choose key columns with fewer values.",
            alert=rule.name,
            instances=len(chosen),
        )
    return chosen


def instance_id(values: Sequence[Any]) -> str:
    """The values of the key columns, percent-encoded and joined by commas; a long one is cut and hashed."""
    from urllib.parse import quote

    text = ",".join("%00" if value is None else quote(str(json_ready(value)), safe="") for value in values)
    if len(text) > _KEY_TEXT:
        import hashlib

        text = f"{text[:120]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return "%2D" if text == SINGLE else text or "%20"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which column means what."""

    names: Sequence[str]
    status: int
    actual: int | None
    threshold: int | None
    keys: frozenset[int]

    def reading(
        self, instance: str, status: Severity, row: tuple[Any, ...], key_at: Sequence[int], room: int
    ) -> Reading:
        special = {self.status, self.actual, self.threshold} | self.keys
        return Reading(
            instance,
            {self.names[i]: _cut(json_ready(row[i]), _KEY_TEXT) for i in key_at},
            status,
            None if self.actual is None else _cut(json_ready(row[self.actual]), _TEXT),
            None if self.threshold is None else _cut(json_ready(row[self.threshold]), _TEXT),
            _fitted([(name, row[i]) for i, name in enumerate(self.names) if i not in special], room),
        )


def _fitted(columns: Sequence[tuple[str, Any]], room: int) -> dict[str, Any]:
    """As much of the context as may be stored: state has a size limit on every cloud."""
    context: dict[str, Any] = {}
    for name, value in columns:
        ready = json_ready(value)
        if isinstance(ready, list | dict):
            import json

            ready = ready if len(json.dumps(ready)) <= _TEXT else _cut(json.dumps(ready), _TEXT)
        ready = _cut(ready, _TEXT)
        room -= len(name.encode()) + (_size(ready) if isinstance(ready, str | list | dict) else 20) + 6
        if room < 0:
            context["..."] = f"{len(columns) - len(context)} more columns"
            break
        context[name] = ready
    return context


def _size(value: Any) -> int:
    return len(str(value).encode("utf-8", "surrogatepass"))


def _cut(value: Any, length: int) -> Any:
    if isinstance(value, str) and len(value) > length:
        return f"{value[: length - 30]}... ({len(value):,} characters)"
    return value


def json_ready(value: Any) -> Any:
    """The value as the contract shows it in JSON: big integers, decimals, NaN and infinities are texts."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -(2**53) <= value <= 2**53 else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return _converted(value)


def _converted(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else str(value)
    if isinstance(value, datetime | date | time):
        text = value.isoformat()
        return text.replace("+00:00", "Z") if isinstance(value, datetime) else text
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(v) for v in value]
    return str(value)


def _status(value: Any, rule: Rule) -> Severity:
    text = value.strip().upper() if isinstance(value, str) else value
    if text in ("OK", "WARN", "ALERT"):
        return cast(Severity, text)
    shown = "NULL" if value is None else repr(str(value)[:40])
    raise _contract(rule, f"returned the status {shown}")


def _key_place(rule: Rule, column: str, places: Mapping[str, int], names: Sequence[str]) -> int:
    at = places.get(column.lower())
    if at is None:
        raise _contract(
            rule, f"has no column {column!r}, which the alert names as key; its columns are {_listed(names)}"
        )
    return at


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(n[:60]) for n in names[:30]) + (", ..." if len(names) > 30 else "")


def _contract(rule: Rule, what: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"The query of alert {rule.name!r} {what}. "
        "It has to return a column 'status' with ALERT, WARN or OK in every row.",
        alert=rule.name,
        place=rule.place or None,
    )
