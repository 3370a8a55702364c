"""Walks the pages of a REST scan: sends what ``rest`` decides, in ordered concurrent windows, only while pulled.

The first page goes alone: it says how many there are, and a query that needs no more has made one call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from core.deadline import Deadline
from core.errors import ResourceLimit, SourceError, SourceTimeout
from core.model import BatchStream, Scan, Table
from core.source.arrow import Stream, scan_schema, schema_of
from core.source.auth import Auth
from core.source.base import Fetching
from core.source.rest import Page, Reader, Request, first
from core.source.spec import ConnectorSpec
from core.wire import Response, Wire, check

if TYPE_CHECKING:
    from arro3.core import RecordBatch

_OPENED_AT_ONCE = 5
"""The first window opens connections. Many a small server lets five wait until it accepts them; what comes beyond is
dropped, and tried again by the kernel a second later."""


class RestSource:
    """One API behind a connector. ``auth`` None: requests carry no credential."""

    kind = "rest"

    def __init__(
        self, name: str, spec: ConnectorSpec, wire: Wire, *, base_url: str = "", auth: Auth | None = None
    ) -> None:
        self.name = name
        self.connector = spec.name
        self.spec = spec
        self._wire = wire
        self._base_url = (base_url or spec.base_url).rstrip("/")
        self._auth = auth

    def table_names(self, deadline: Deadline) -> Sequence[str]:
        return sorted(self.spec.tables)

    def table(self, name: str, deadline: Deadline) -> Table | None:
        found = self.spec.table(name)
        return found.table(self.name) if found else None

    def open(self, scan: Scan, fetching: Fetching) -> BatchStream:
        table = self.spec.table(scan.table.name)
        if table is None:
            raise SourceError(f"Source {self.name} has no table {scan.table.name}.", source=self.name)
        columns = scan_schema(scan)
        by_name = {f.name: f for f in table.fields}
        schema = schema_of(columns)
        fields = tuple(by_name[name] for name, _ in columns)
        reader = Reader(self.name, self.connector, table, fields, schema, scan.rows, scan.masked)
        opening = first(self.spec, table, scan, self._base_url)
        steps = deque(_Step(r) for r in opening.requests)
        walk = _Walk(self, reader, scan, fetching, opening.limit, steps, seen={r.url for r in opening.requests})
        return Stream(schema, walk.batches())

    def send(self, request: Request, fetching: Fetching) -> Response:
        """Send one request, counting it in the ledger."""
        ledger = fetching.ledger
        _reserve(self.name, fetching)
        response = self._wire.send(
            "GET", request.url, headers=self.spec.headers, deadline=fetching.deadline, credential=self._auth
        )
        ledger.add(self.name, calls=response.calls - 1, size=len(response.body), ms=response.elapsed_ms)
        return response

    def page(self, request: Request, response: Response, reader: Reader) -> Page:
        """What the answer holds, or the error that its status means."""
        json = "json" in response.headers.get("content-type", "")
        if response.status == 404 and request.read.missing == "no_rows" and json:
            return reader.empty()
        # What is not there and what is hidden look alike to who may not see all.
        if response.status == 404 and request.echo and request.first and reader.restricted:
            return reader.empty()
        check(response, source=self.name, target=request.label, credential=self._auth.name if self._auth else "")
        return reader.read(request, response)


def _reserve(source: str, fetching: Fetching) -> None:
    """Count a call before it is made; RESOURCE_LIMIT where the whole ask has none left."""
    ledger = fetching.ledger
    with ledger.lock:
        made = sum(t.calls for t in ledger.tallies.values())
    if made >= fetching.max_calls:
        raise ResourceLimit(
            f"The query needs more than {fetching.max_calls} calls to its sources. Filter by a column that the source "
            "can filter, or raise the call limit.",
            max_calls=fetching.max_calls,
            source=source,
        )
    ledger.add(source, calls=1)


@dataclass(slots=True)
class _Step:
    """One request of the walk, and its answer once it was sent."""

    request: Request
    future: Future[Response] | None = None


@dataclass(slots=True)
class _Walk:
    """The state of one scan: steps in order, of which the first few are under way."""

    source: RestSource
    reader: Reader
    scan: Scan
    fetching: Fetching
    limit: int | None
    steps: deque[_Step]
    taken: int = 0
    rows: int = 0
    seen: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    pool: ThreadPoolExecutor | None = None

    def batches(self) -> Iterator[RecordBatch]:
        try:
            while self.steps and not self._enough():
                page = self._next()
                yield page.batch
        finally:
            self.stop.set()
            if self.pool is not None:
                self.pool.shutdown(wait=True, cancel_futures=True)

    def _enough(self) -> bool:
        return self.limit is not None and self.rows >= self.limit

    def _next(self) -> Page:
        self._send_ahead()
        step = self.steps.popleft()
        # Answers are read here and not where they were fetched: a connection that parses is not fetching.
        response = self._send(step.request) if step.future is None else step.future.result()
        page = self.source.page(step.request, response, self.reader)
        self.taken += 1
        self.rows += page.rows
        self._append(page)
        self.fetching.ledger.fetched(self.scan.table.full_name, datetime.now(UTC), 0.0, False)
        self._tell()
        return page

    def _append(self, page: Page) -> None:
        """Queue what follows right behind its page, before the next list begins."""
        for request in reversed(page.following):
            if request.url in self.seen:
                raise SourceError(
                    f"Source {self.source.name}: {request.label} leads in a circle through its pages.",
                    source=self.source.name,
                )
            self.seen.add(request.url)
            self.steps.appendleft(_Step(request))

    def _send_ahead(self) -> None:
        width = self.fetching.connections * 2 if self.taken > 1 else min(self.fetching.connections, _OPENED_AT_ONCE)
        ahead = min(width, len(self.steps))
        if self.limit is not None:
            ahead = min(ahead, -(-(self.limit - self.rows) // self.steps[0].request.read.paging.size))
        if ahead < 2:
            return
        if self.pool is None:
            self.pool = ThreadPoolExecutor(self.fetching.connections, thread_name_prefix=f"fetch-{self.source.name}")
        for i in range(ahead):
            step = self.steps[i]
            if step.future is None:
                step.future = self.pool.submit(self._send, step.request)

    def _send(self, request: Request) -> Response:
        if self.stop.is_set():
            raise SourceTimeout(f"Source {self.source.name}: the fetch was stopped.", source=self.source.name)
        return self.source.send(request, self.fetching)

    def _tell(self) -> None:
        progress = self.fetching.progress
        if progress is not None:
            known = not any(s.request.first or s.request.last for s in self.steps)
            total = self.taken + len(self.steps) if known else None
            progress(self.source.name, self.scan.table.name, rows=self.rows, calls=self.taken, total_calls=total)
