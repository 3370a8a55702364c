"""Permitted scans to Arrow streams: the only I/O of the query path.

Each scan has a thread that reads ahead a bounded number of batches, so that sources wait for each other in
parallel, and that stops where nobody pulls. No thread outlives ``close``.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from core.deadline import Deadline
from core.errors import Error, Internal, SourceError, SourceTimeout
from core.model import EVERY_ROW, BatchStream, Condition, Scan
from core.source.base import Fetching, Source

if TYPE_CHECKING:
    from arro3.core import RecordBatch, Schema

AHEAD = 4


class Streams(Mapping[str, "OpenStream"]):
    """The open streams of one query, by the scan's alias. Use as a context manager: leaving ends every thread."""

    def __init__(self, streams: dict[str, OpenStream]) -> None:
        self._streams = streams

    def __getitem__(self, alias: str) -> OpenStream:
        return self._streams[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def error(self) -> Error | None:
        """The first error inside any stream: what the engine raises instead of DuckDB's text about it."""
        return next((s.error for s in self._streams.values() if s.error is not None), None)

    def close(self) -> None:
        """Stop reading ahead, wait for what is under way, and let go of cursors and connections."""
        for stream in self._streams.values():
            stream.stop()
        for stream in self._streams.values():
            stream.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_scans(
    scans: Sequence[tuple[Scan, Condition]],
    sources: Mapping[str, Source],
    fetching: Fetching,
    *,
    ahead: int | None = None,
) -> Streams:
    """Start reading every scan at once; streams by ``scan.alias``.

    A source that can filter rows by the scan's condition does (databases, files); elsewhere the caller's sieve has
    to. ``ahead``: how many batches each scan reads before they are wanted; 0 reads only what is pulled. Unless given,
    several scans read ahead (their waits overlap), and one alone does not (it may be stopped early by a LIMIT).
    Errors of a source surface where its stream is read, and stay in ``stream.error``.
    """
    before = ahead if ahead is not None else (AHEAD if len(scans) > 1 else 0)
    streams: dict[str, OpenStream] = {}
    opened = Streams(streams)
    try:
        for scan, condition in scans:
            if scan.alias in streams:
                raise Internal(f"Two scans are called {scan.alias}.")
            streams[scan.alias] = (
                AheadStream(scan, condition, sources, fetching, before)
                if before
                else DirectStream(scan, condition, sources, fetching)
            )
    except BaseException:
        opened.close()
        raise
    return opened


def filters_rows(source: Source) -> bool:
    """Whether the source applies a scan's condition itself, so that other rows never leave it."""
    return hasattr(source, "open_filtered")


def _open(source: Source, scan: Scan, condition: Condition, fetching: Fetching) -> BatchStream:
    filtered: Any = getattr(source, "open_filtered", None)
    if filtered is not None:
        stream: BatchStream = filtered(scan, condition, fetching)
        return stream
    return source.open(scan, fetching)


_END = object()


class OpenStream:
    """A BatchStream of one scan. ``error`` keeps what went wrong, with its code: DuckDB only repeats its text."""

    def __init__(self, scan: Scan, condition: Condition, sources: Mapping[str, Source], fetching: Fetching) -> None:
        self.scan = scan
        self.error: Error | None = None
        self._condition = condition
        self._source = _find(sources, scan)
        self._fetching = fetching

    @property
    def schema(self) -> Schema:
        """The Arrow schema; waits until the source has been opened, and raises what that raised."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[RecordBatch]:
        raise NotImplementedError

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        from arro3.core import RecordBatchReader

        return RecordBatchReader.from_batches(self.schema, iter(self)).__arrow_c_stream__(requested_schema)

    def stop(self) -> None:
        """Read nothing more; what is under way ends by itself."""

    def close(self) -> None:
        """Let go of everything; no thread of the stream outlives this."""

    def _noted(self, err: Error) -> Error:
        self.error = self.error or err
        return err

    def _unforeseen(self, err: Exception) -> Error:
        name = self.scan.table.full_name
        return self._noted(Internal(f"Reading {name} failed in an unforeseen way: {type(err).__name__}."))


class DirectStream(OpenStream):
    """Reads in the thread that pulls, and nothing before it is pulled."""

    _stream: Any = None
    _closed = False

    @property
    def schema(self) -> Schema:
        schema: Schema = self._opened().schema
        return schema

    def __iter__(self) -> Iterator[RecordBatch]:
        batches = iter(self._opened())
        while not self._closed:
            try:
                batch = next(batches, None)
            except Error as err:
                raise self._noted(err) from None
            except Exception as err:
                raise self._unforeseen(err) from err
            if batch is None:
                return
            yield batch

    def _opened(self) -> Any:
        if self._stream is None:
            try:
                self._stream = _open(self._source, self.scan, self._condition, self._fetching)
            except Error as err:
                raise self._noted(err) from None
            except Exception as err:
                raise self._unforeseen(err) from err
        return self._stream

    def stop(self) -> None:
        self._closed = True

    def close(self) -> None:
        self.stop()
        if self._stream is not None:
            self._stream.close()


class AheadStream(OpenStream):
    """A thread of its own reads up to ``ahead`` batches more than were pulled."""

    def __init__(
        self, scan: Scan, condition: Condition, sources: Mapping[str, Source], fetching: Fetching, ahead: int
    ) -> None:
        super().__init__(scan, condition, sources, fetching)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(ahead)
        self._stopped = threading.Event()
        self._schema: Schema | None = None
        self._ready = threading.Event()
        self._finished = False
        self._thread = threading.Thread(target=self._fill, name=f"scan-{scan.alias}", daemon=True)
        self._thread.start()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self) -> None:
        stream: Any = None
        try:
            stream = _open(self._source, self.scan, self._condition, self._fetching)
            self._schema = stream.schema
            self._ready.set()
            for batch in self._batches(stream):
                self._queue.put(batch)
            self._queue.put(_END)
        except Error as err:
            self._fail(err)
        except Exception as err:  # noqa: BLE001  a defect in a source must reach the asker, not die with its thread
            self._fail(self._unforeseen(err))
        finally:
            if stream is not None:
                stream.close()
            self._ready.set()

    def _batches(self, stream: Any) -> Iterator[RecordBatch]:
        batches = iter(stream)
        while self._may_read():
            batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _may_read(self) -> bool:
        """Wait until another batch is wanted; False when the stream was stopped."""
        while not self._stopped.is_set():
            left = self._fetching.deadline.need(self.scan.table.full_name)
            if self._room.acquire(timeout=left):
                return not self._stopped.is_set()
        return False

    def _fail(self, err: Error) -> None:
        self.error = err
        self._queue.put(err)

    # ── the reader ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def schema(self) -> Schema:
        if not self._ready.wait(self._fetching.deadline.left()):
            raise self._noted(_late(self.scan, self._fetching.deadline))
        if self._schema is not None:
            return self._schema
        raise self._noted(self.error or SourceError(f"{self.scan.table.full_name} was closed before it was read."))

    def __iter__(self) -> Iterator[RecordBatch]:
        while not self._finished:
            self._room.release()
            try:
                found = self._queue.get(timeout=max(0.001, self._fetching.deadline.left()))
            except queue.Empty:
                raise self._noted(_late(self.scan, self._fetching.deadline)) from None
            if found is _END:
                self._finished = True
            elif isinstance(found, Error):
                self._finished = True
                raise found
            else:
                yield found

    def stop(self) -> None:
        self._stopped.set()
        self._room.release()

    def close(self) -> None:
        self.stop()
        self._thread.join()


def _find(sources: Mapping[str, Source], scan: Scan) -> Source:
    found = sources.get(scan.table.source)
    if found is None:
        raise Internal(f"No source is called {scan.table.source}.")
    return found


def _late(scan: Scan, deadline: Deadline) -> SourceTimeout:
    return SourceTimeout(
        f"{scan.table.full_name} was not read within {deadline.seconds:g} s. Raise the timeout or ask for less.",
        table=scan.table.full_name,
    )


def open_one(scan: Scan, sources: Mapping[str, Source], fetching: Fetching) -> Streams:
    """One scan without a condition of its own."""
    return open_scans([(scan, EVERY_ROW)], sources, fetching)
