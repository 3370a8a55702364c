"""Between fetch and engine: rows outside the permit are dropped and masks applied, in a database of its own.

The engine's optimiser may evaluate a query's expressions before a filter. Were the row filter part of the engine's
SQL, a cast that fails on a hidden row would tell of it. So hidden rows never reach the engine's database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.model import BatchStream
from core.policy.gate import PermittedScan

MAX_CHUNK = 32


class Sieve:
    """Holds the connections that its streams read through; close it after the engine is done.

    ``rows``: how many rows came through. Only these may be counted in an answer: a count before the sieve would tell
    how many are hidden.
    """

    def __init__(self, salt: str) -> None:
        self.rows = 0
        self._salt = salt
        self._connections: list[Any] = []

    def apply(self, permitted: PermittedScan, raw: BatchStream, select: str | None = None) -> Any:
        """An Arrow reader of permitted rows only, with the columns the query may see, in order; counts them.

        ``select``: what ``sifting.select`` made of ``permitted``, where it is known.
        """
        from arro3.core import RecordBatchReader

        reader = RecordBatchReader.from_arrow(raw)
        if permitted.masks or permitted.restricted:
            reader = self._sifted(select or _select(permitted, self._salt), reader)
        return self._counted(reader)

    def _sifted(self, select: str, reader: Any) -> Any:
        """Chunk by chunk, so that reading stays lazy; the chunks grow, so that a long read pays little for them.

        (DuckDB 2.0.0 crashes when a streaming result reads a registered stream; a table in between does not.)
        """
        import duckdb
        from arro3.core import RecordBatchReader

        connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connections.append(connection)
        # A time without zone in a policy is UTC, as it is where a source filters by it.
        connection.execute("SET python_enable_replacements=false; SET TimeZone='UTC'")
        statement = f"CREATE OR REPLACE TEMP TABLE permitted AS {select}"

        def chunk(batches: list[Any]) -> Any:
            connection.register("raw", RecordBatchReader.from_batches(reader.schema, batches))
            connection.execute(statement)
            connection.unregister("raw")
            return RecordBatchReader.from_arrow(connection.table("permitted"))

        def chunks() -> Iterator[Any]:
            waiting: list[Any] = []
            size = 1
            for batch in reader:
                waiting.append(batch)
                if len(waiting) >= size:
                    yield from chunk(waiting)
                    waiting, size = [], min(size * 2, MAX_CHUNK)
            if waiting:
                yield from chunk(waiting)

        return RecordBatchReader.from_batches(chunk([]).schema, chunks())

    def _counted(self, reader: Any) -> Any:
        from arro3.core import RecordBatchReader

        def batches() -> Any:
            for batch in reader:
                self.rows += batch.num_rows
                yield batch

        return RecordBatchReader.from_batches(reader.schema, batches())

    def __enter__(self) -> Sieve:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()


def _select(permitted: PermittedScan, salt: str) -> str:
    from core.policy.sifting import select  # the parser comes with it

    return select(permitted, salt)
