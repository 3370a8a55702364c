"""Scans side by side: they wait together, stop when nobody pulls, and no thread is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pytest
from arro3.core import RecordBatch

from core.deadline import Deadline
from core.errors import Error, Internal, SourceError, SourceTimeout
from core.model import EVERY_ROW, Column, Compare, Condition, Scan, Table
from core.query.fetch import AHEAD, filters_rows, open_scans
from core.source.arrow import Stream, rows_to_batch, schema_of
from core.source.base import Fetching, Ledger

COLUMNS = (("id", "BIGINT"),)
TABLE = Table("s", "t", (Column("id", "BIGINT"),))
SCHEMA = schema_of(COLUMNS)


def batch(number: int) -> RecordBatch:
    return rows_to_batch([(number,)], COLUMNS, SCHEMA, "s.t")


class Counted:
    """A source of ``count`` batches of one row; ``step`` runs before each."""

    connector = kind = "counted"

    def __init__(self, name: str, count: int, step: Any = None) -> None:
        self.name, self.count, self.step = name, count, step or (lambda number: None)
        self.made = 0
        self.closed = False

    def table_names(self, deadline: Deadline) -> Sequence[str]:
        return ["t"]

    def table(self, name: str, deadline: Deadline) -> Table | None:
        return TABLE

    def open(self, scan: Scan, fetching: Fetching) -> Stream:
        def batches() -> Iterator[RecordBatch]:
            try:
                for number in range(self.count):
                    self.step(number)
                    self.made += 1
                    yield batch(number)
            finally:
                self.closed = True

        return Stream(SCHEMA, batches())


def of(source: str, alias: str = "") -> tuple[Scan, Condition]:
    return Scan(alias or source, Table(source, "t", TABLE.columns), ("id",)), EVERY_ROW


def fetching(seconds: float = 10.0) -> Fetching:
    return Fetching(Deadline(seconds), Ledger())


def scan_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("scan-")]


def total(streams: Any, *aliases: str) -> int:
    with duckdb.connect() as connection:
        for alias in aliases:
            connection.register(alias, streams[alias])
        found = connection.execute(" UNION ALL ".join(f"SELECT id FROM {a}" for a in aliases)).fetchall()
    return len(found)


@pytest.mark.parametrize("ahead", [0, 1, 4, None])
def test_every_batch_arrives(ahead: int | None) -> None:
    sources = {"a": Counted("a", 20), "b": Counted("b", 0)}
    with open_scans([of("a"), of("b")], sources, fetching(), ahead=ahead) as streams:
        assert total(streams, "a", "b") == 20
        assert streams.error() is None
    assert sources["a"].closed and not scan_threads()


def test_sources_wait_for_each_other_in_parallel() -> None:
    """Each waits until all three have begun: one after the other would never end."""
    barrier = threading.Barrier(3)
    sources = {n: Counted(n, 3, lambda number: barrier.wait(10)) for n in "abc"}
    with open_scans([of(n) for n in "abc"], sources, fetching(30)) as streams:
        assert total(streams, "a", "b", "c") == 9


def test_reading_ahead_is_bounded_and_a_lone_scan_reads_only_what_is_pulled() -> None:
    def settled(source: Counted) -> int:
        before = -1
        while before != source.made:
            before = source.made
            time.sleep(0.1)
        return before

    alone = Counted("a", 1000)
    with open_scans([of("a")], {"a": alone}, fetching()) as streams:
        pulled = iter(streams["a"])
        assert alone.made == 0
        next(pulled)
        assert settled(alone) == 1
    pair = {"a": Counted("a", 1000), "b": Counted("b", 1000)}
    with open_scans([of("a"), of("b")], pair, fetching()) as streams:
        next(iter(streams["a"]))
        assert settled(pair["a"]) == AHEAD + 1 and settled(pair["b"]) == AHEAD
    assert not scan_threads() and pair["b"].closed


def test_a_limit_stops_the_reading() -> None:
    alone = Counted("a", 1000)
    with open_scans([of("a")], {"a": alone}, fetching()) as streams, duckdb.connect() as connection:
        connection.register("a", streams["a"])
        assert connection.execute("SELECT * FROM a LIMIT 1").fetchall() == [(0,)]
    assert alone.made < 20 and alone.closed


@pytest.mark.parametrize("ahead", [0, 4])
def test_an_error_keeps_its_code(ahead: int) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise SourceError("page 3 is broken", source="a")

    with open_scans([of("a")], {"a": Counted("a", 5, fail)}, fetching(), ahead=ahead) as streams:
        with pytest.raises(duckdb.Error):
            total(streams, "a")
        error = streams.error()
        assert isinstance(error, SourceError) and error.message == "page 3 is broken"
    assert not scan_threads()


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_defect_of_a_source_is_an_internal_error_without_detail(ahead: int) -> None:
    def fail(number: int) -> None:
        raise KeyError("hidden value")

    with open_scans([of("a")], {"a": Counted("a", 5, fail)}, fetching(), ahead=ahead) as streams:
        with pytest.raises((duckdb.Error, Error)):
            total(streams, "a")
        error = streams.error()
        assert isinstance(error, Internal) and "hidden" not in error.message and "KeyError" in error.message


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_source_that_cannot_be_opened(ahead: int) -> None:
    class Closed(Counted):
        def open(self, scan: Scan, fetching: Fetching) -> Stream:
            raise SourceError("cannot be opened")

    with open_scans([of("a")], {"a": Closed("a", 1)}, fetching(), ahead=ahead) as streams:
        with pytest.raises(SourceError, match="cannot be opened"):
            _ = streams["a"].schema
        assert isinstance(streams.error(), SourceError)


def test_the_deadline_ends_the_wait() -> None:
    released = threading.Event()
    slow = Counted("a", 5, lambda number: released.wait(20))
    streams = open_scans([of("a")], {"a": slow}, fetching(0.3), ahead=1)
    try:
        with pytest.raises(SourceTimeout, match=r"s\.t|a\.t"):
            next(iter(streams["a"]))
        assert isinstance(streams.error(), SourceTimeout)
    finally:
        released.set()
        streams.close()
    assert not scan_threads()


def test_close_while_reading_leaves_no_thread() -> None:
    for _ in range(20):
        sources = {n: Counted(n, 10_000) for n in "abcd"}
        with open_scans([of(n) for n in "abcd"], sources, fetching()) as streams:
            next(iter(streams["a"]))
        assert not scan_threads()


def test_two_scans_of_one_source_and_of_one_name() -> None:
    sources = {"a": Counted("a", 7)}
    with open_scans([of("a", "x"), of("a", "y")], sources, fetching()) as streams:
        assert total(streams, "x", "y") == 14
    with pytest.raises(Internal, match="called x"):
        open_scans([of("a", "x"), of("a", "x")], sources, fetching())
    with pytest.raises(Internal, match="No source"):
        open_scans([of("nowhere")], sources, fetching())
    assert not scan_threads()


def test_a_source_that_can_filter_gets_the_condition() -> None:
    given: list[Condition] = []

    class Filtering(Counted):
        def open_filtered(self, scan: Scan, rows: Condition, fetching: Fetching) -> Stream:
            given.append(rows)
            return self.open(scan, fetching)

    mine = Compare("id", "=", 1)
    with open_scans(
        [(of("a")[0], mine), of("b")], {"a": Filtering("a", 1), "b": Counted("b", 1)}, fetching()
    ) as streams:
        total(streams, "a", "b")
    assert given == [mine]
    assert filters_rows(Filtering("a", 1)) and not filters_rows(Counted("b", 1))
