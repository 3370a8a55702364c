"""Interprets a connector: a scan becomes requests, an answer becomes a page of Arrow columns.

Pure: no socket, no clock, no sleep, and of a secret only its name. ``pages`` does what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson
from arro3.core import Array, RecordBatch, Schema

from core.errors import SourceError, SqlRejected
from core.model import EVERY_ROW, Compare, Condition, Scalar, Scan
from core.source import paginate
from core.source.arrow import DoesNotFitError, build_array, instants_from_text
from core.source.condition import holds, judged
from core.source.literal import CANNOT, coerce
from core.source.spec import ConnectorSpec, FieldSpec, Filter, Read, TableSpec
from core.wire import Response

ANY_ZONE_S = 14 * 3600.0


@dataclass(frozen=True, slots=True)
class Request:
    """One GET. ``url`` carries no secret. ``echo``: the values that its rows' path columns have.

    ``first``: it opens its list. ``last``: no later page of its list is known yet, so it says what follows.
    """

    url: str
    read: Read
    echo: Mapping[str, str]
    first: bool = True
    last: bool = True

    @property
    def label(self) -> str:
        """Scheme, host and path: what messages may show."""
        return self.url.split("?")[0]


@dataclass(frozen=True, slots=True)
class Page:
    """``following``: requests that this page made known, in order."""

    batch: RecordBatch
    rows: int
    following: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """How a scan starts: one request a chain, and the limit that may still be trusted (None: read to the end)."""

    requests: tuple[Request, ...]
    limit: int | None


# ── a scan becomes requests ──────────────────────────────────────────────────────────────────────────────────────


def first(spec: ConnectorSpec, table: TableSpec, scan: Scan, base_url: str) -> Opening:
    """The first request of each chain. SqlRejected where a required column is not bound or cannot be such a value."""
    bound = _bound(table, scan.narrow)
    read = next((r for r in table.reads if all(k in bound for k in r.keys)), None)
    if read is None:
        ways = " or ".join(" and ".join(r.keys) for r in table.reads)
        raise SqlRejected(
            f"{scan.table.full_name} can only be read with a value for {ways}: "
            f"add WHERE {table.reads[0].keys[0]} = '...'.",
            table=scan.table.full_name,
            column=table.reads[0].keys[0],
        )
    params, used = _params(table, scan.narrow)
    trusted = all(p.column.lower() in read.keys or p in used for p in scan.narrow)
    exact = all(_is_exact(table, p) for p in scan.narrow)
    limit = scan.limit if trusted and exact else None
    size = min(read.paging.size, limit) if limit else read.paging.size
    requests = []
    for echo in _combinations(read.keys, bound):
        path = read.path
        for key, value in echo.items():
            path = path.replace("{" + key + "}", _segment(scan, table, key, value))
        url = paginate.with_params(base_url + path, **params) if params else base_url + path
        requests.append(Request(paginate.start(read.paging, url, size), read, echo))
    return Opening(tuple(requests), limit)


def _bound(table: TableSpec, narrow: Sequence[Compare]) -> dict[str, list[str]]:
    """The values that = and IN allow for each path column, in the query's order; several predicates intersect."""
    keys = {k.lower(): k for r in table.reads for k in r.keys}
    found: dict[str, list[str]] = {}
    for p in narrow:
        key = keys.get(p.column.lower())
        if key is None or p.op not in ("=", "in"):
            continue
        given = p.value if isinstance(p.value, tuple) else (p.value,)
        values = list(dict.fromkeys(str(v) for v in given if v is not None))
        found[key] = values if key not in found else [v for v in found[key] if v in values]
    return found


def _combinations(keys: Sequence[str], bound: Mapping[str, list[str]]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{}]
    for key in keys:
        found = [{**one, key: value} for one in found for value in bound[key]]
    return found


def _segment(scan: Scan, table: TableSpec, key: str, value: str) -> str:
    pattern = table.patterns.get(key)
    fits = pattern.fullmatch(value) if pattern else value
    # A dot segment would climb to another path of the API, with our credential.
    if not fits or any(part in ("", ".", "..") for part in value.split("/")):
        shape = f" It has to match {pattern.pattern}" if pattern else ""
        raise SqlRejected(
            f"{scan.table.full_name}: the value given for {key} cannot be one.{shape}",
            table=scan.table.full_name,
            column=key,
        )
    return quote(value, safe="/" if pattern else "")


def _params(table: TableSpec, narrow: Sequence[Compare]) -> tuple[dict[str, str], list[Compare]]:
    """The query parameters, and the predicates that are wholly in them."""
    params, used, filled = dict(table.params), [], set()
    for p in narrow:
        sent = _sent(table, p)
        if sent is None or sent[0] in filled:
            continue
        params[sent[0]] = sent[1]
        filled.add(sent[0])
        used.append(p)
    return params, used


def _filter(table: TableSpec, p: Compare) -> tuple[FieldSpec, Filter] | None:
    for f in table.fields:
        if f.name.lower() == p.column.lower():
            flt = next((flt for op, flt in f.filters.items() if op == p.op), None)
            return (f, flt) if flt is not None else None
    return None


def _is_exact(table: TableSpec, p: Compare) -> bool:
    found = _filter(table, p)
    return found is not None and found[1].faith == "exact"


def _sent(table: TableSpec, p: Compare) -> tuple[str, str] | None:
    found = _filter(table, p)
    if found is None or not found[1].param or isinstance(p.value, tuple):
        return None
    text = _as_text(p.value, found[0].type, found[1], upper=p.op in ("<", "<="))
    if not text or (found[1].values and text not in found[1].values):
        return None
    return found[1].param, text


def _as_text(value: Scalar, kind: str, flt: Filter, *, upper: bool) -> str | None:
    if kind == "TIMESTAMPTZ":
        return _instant(value, flt, upper=upper)
    known = coerce(value, kind)
    if known is CANNOT:
        return None
    if isinstance(known, bool):
        return "true" if known else "false"
    return known.isoformat() if isinstance(known, date) else str(known)


def _instant(value: Scalar, flt: Filter, *, upper: bool) -> str | None:
    moment = coerce(value, "TIMESTAMPTZ")
    if not isinstance(moment, datetime):
        return None
    slack = flt.back_s
    # Without a zone it means the session's, which is not known here: no zone is further away than 14 hours.
    if isinstance(value, str) and datetime.fromisoformat(value.strip()).tzinfo is None:
        slack += ANY_ZONE_S
    try:
        if upper:
            moment = (moment + timedelta(seconds=slack + 0.999999)).replace(microsecond=0)
        else:
            moment = (moment - timedelta(seconds=slack)).replace(microsecond=0)
    except OverflowError:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ── an answer becomes a page ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Reader:
    """What a scan takes from each answer, worked out once."""

    source: str
    connector: str
    table: TableSpec
    fields: tuple[FieldSpec, ...]
    schema: Schema
    rows: Condition = EVERY_ROW
    masked: frozenset[str] = frozenset()

    @property
    def restricted(self) -> bool:
        return self.rows != EVERY_ROW

    def read(self, request: Request, response: Response) -> Page:
        """The page in ``response``. SourceError names the URL's path and what is wrong, never a value."""
        where = f"Source {self.source}: {request.label}"
        body = _parsed(response, where)
        items = _items(body, request.read, where)
        following = self._following(request, response, body, len(items), where)
        if self.restricted:
            items = self._permitted(items, request)
        arrays = [self._column(f, items, request) for f in self.fields]
        return Page(RecordBatch(arrays, schema=self.schema), len(items), following)

    def _permitted(self, items: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
        """Without items that the asker may not see, as far as that can be told here: they say nothing of drift."""
        by_name = {f.name.lower(): f for f in self.table.fields}
        if not judged(self.rows, lambda name: by_name[name.lower()].type if name.lower() in by_name else ""):
            return items

        def value(item: dict[str, Any], name: str) -> Any:
            f = by_name[name.lower()]
            if f.from_path and f.name in request.echo:
                return request.echo[f.name]
            try:
                return _values(f, [item])[0]
            except AttributeError:
                return None

        return [i for i in items if holds(self.rows, lambda name: by_name[name.lower()].type, partial(value, i))]

    def _lenient(self, f: FieldSpec) -> bool:
        """Whether what a value is must not show: it is masked, or may be in a row that is hidden."""
        kinds = {f.name.lower(): f.type for f in self.table.fields}
        unsure = self.restricted and not judged(self.rows, lambda name: kinds.get(name.lower(), ""))
        return unsure or f.name.lower() in self.masked

    def _told_by_absence(self, f: FieldSpec) -> bool:
        """Whether a page without any value shows drift. Hidden items decide which visible ones share a page."""
        return not (f.optional or self.restricted or self._lenient(f))

    def _following(self, request: Request, response: Response, body: Any, rows: int, where: str) -> tuple[Request, ...]:
        if not request.last:
            return ()
        after = paginate.following(
            request.read.paging, request.url, response.headers, body, rows, first=request.first, where=where
        )
        last = len(after.urls) - 1
        return tuple(
            Request(url, request.read, request.echo, first=False, last=after.more and i == last)
            for i, url in enumerate(after.urls)
        )

    def empty(self) -> Page:
        """A page without rows, for a look-up that found nothing."""
        arrays = [build_array([], f.type) for f in self.fields]
        return Page(RecordBatch(arrays, schema=self.schema), 0)

    def _column(self, f: FieldSpec, items: list[dict[str, Any]], request: Request) -> Array:
        if f.from_path and f.name in request.echo:
            return build_array([request.echo[f.name]] * len(items), "VARCHAR")
        convert = _CONVERT.get(f.type, _plain(f.type))
        try:
            values = _values(f, items)
            if self._told_by_absence(f) and items and not any(v is not None for v in values):
                self._drifted(f, items, request)
            return convert(values)
        except (DoesNotFitError, AttributeError, TypeError, ValueError):
            if self._lenient(f):
                return convert([_readable(f, item, convert) for item in items])
            raise SourceError(
                f"Connector {self.connector} has drifted: {self.table.name}.{f.name} should be {f.type}, and a "
                f"value at {'.'.join(f.path)} in {request.label} is something else. Update the connector.",
                connector=self.connector,
                table=self.table.name,
                column=f.name,
            ) from None

    def _drifted(self, f: FieldSpec, items: list[dict[str, Any]], request: Request) -> None:
        if any(_has(item, f.path) for item in items):
            return
        raise SourceError(
            f"Connector {self.connector} has drifted: no item at {request.label} has {'.'.join(f.path)}, the column "
            f"{self.table.name}.{f.name}. Update the connector, or mark the column optional.",
            connector=self.connector,
            table=self.table.name,
            column=f.name,
        )


def _parsed(response: Response, where: str) -> Any:
    if response.status not in (200, 203):
        raise SourceError(f"{where} answered {response.status}, which has no rows. Try again later.", target=where)
    kind = response.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if "json" not in kind:
        raise SourceError(
            f"{where} answered with {kind or 'no type'} instead of JSON: check the base_url.", target=where
        )
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError:
        raise SourceError(
            f"{where}: the body ({len(response.body)} bytes) is not whole, valid JSON.", target=where
        ) from None


def _items(body: Any, read: Read, where: str) -> list[dict[str, Any]]:
    found = paginate.at(body, read.rows)
    if read.single:
        found = [found]
    place = ".".join(read.rows) or "the body"
    if not isinstance(found, list):
        raise SourceError(f"{where}: {place} should be a list and is not.", target=where)
    if not all(isinstance(item, dict) for item in found):
        raise SourceError(f"{where}: {place} should hold objects, and some are not.", target=where)
    return found


def _values(f: FieldSpec, items: list[dict[str, Any]]) -> list[Any]:
    if f.whole:
        return items
    if len(f.path) == 1:
        key = f.path[0]
        return [item.get(key) for item in items]
    if len(f.path) == 2:
        outer, inner = f.path
        return [None if (o := item.get(outer)) is None else o.get(inner) for item in items]
    return [_deep(item, f.path) for item in items]


def _readable(f: FieldSpec, item: dict[str, Any], convert: Callable[[Sequence[Any]], Array]) -> Any:
    """The value, or None where it is not of the column's type."""
    try:
        value = _values(f, [item])[0]
        convert([value])
    except (DoesNotFitError, AttributeError, TypeError, ValueError):
        return None
    return value


def _deep(item: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if item is None:
            return None
        item = item.get(step)
    return item


def _has(item: Any, path: tuple[str, ...]) -> bool:
    """Whether the API still speaks of this path: a null on the way counts, an absent key does not."""
    for step in path:
        if item is None:
            return True
        if not isinstance(item, dict) or step not in item:
            return False
        item = item[step]
    return True


def _json(values: Sequence[Any]) -> Array:
    return build_array([None if v is None else orjson.dumps(v).decode() for v in values], "JSON")


def _days(values: Sequence[Any]) -> Array:
    return build_array([None if v is None else date.fromisoformat(v) for v in values], "DATE")


def _plain(kind: str) -> Callable[[Sequence[Any]], Array]:
    return lambda values: build_array(values, kind)


_CONVERT: dict[str, Callable[[Sequence[Any]], Array]] = {
    "JSON": _json,
    "TIMESTAMPTZ": instants_from_text,
    "DATE": _days,
}
