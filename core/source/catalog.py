"""What the sources of a project have, remembered for a while: tables by name, and where a bare name is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from core.deadline import Deadline
from core.errors import Error
from core.model import EVERY_ROW, Condition, Table
from core.source.base import Source

TTL_S = 60.0
KEPT_FOR_ROWS = 10_000


class Catalog:
    """Looks tables up in ``sources`` (by name). Safe for many threads; answers are at most ``ttl_s`` old."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        ttl_s: float = TTL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sources = sources
        self._ttl_s = ttl_s
        self._now = monotonic
        self._lock = threading.Lock()
        self._names: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._tables: dict[tuple[str, str], tuple[float, Table]] = {}
        self._tables_for: dict[tuple[str, str, str], tuple[float, Table]] = {}

    def source(self, name: str) -> Source | None:
        """The source of that name, case-insensitively."""
        wanted = name.lower()
        return next((self.sources[n] for n in self.sources if n.lower() == wanted), None)

    def source_names(self) -> list[str]:
        return list(self.sources)

    def table(self, source: str, name: str, deadline: Deadline) -> Table | None:
        """One table, names matched case-insensitively; None where source or table is not there.

        Raises what the source raises when it cannot be asked. Absence is not remembered: a new table shows at once.
        """
        found = self.source(source)
        if found is None:
            return None
        key = (found.name.lower(), name.lower())
        with self._lock:
            known = self._tables.get(key)
        if known is not None and self._now() - known[0] < self._ttl_s:
            return known[1]
        table = found.table(name, deadline)
        if table is not None:
            with self._lock:
                self._tables[key] = (self._now(), table)
        return table

    def table_for(self, source: str, name: str, rows: Condition, deadline: Deadline) -> Table | None:
        """As ``table``, for an asker who may see ``rows`` only.

        It differs where a source reads columns and types off its rows (``table_for``), which hidden ones must not
        decide.
        """
        found = self.source(source)
        describe: Any = getattr(found, "table_for", None)
        if found is None or describe is None or rows == EVERY_ROW:
            return self.table(source, name, deadline)
        key = (found.name.lower(), name.lower(), repr(rows))
        with self._lock:
            known = self._tables_for.get(key)
        if known is not None and self._now() - known[0] < self._ttl_s:
            return known[1]
        table: Table | None = describe(name, rows, deadline)
        if table is not None:
            with self._lock:
                while len(self._tables_for) >= KEPT_FOR_ROWS:
                    del self._tables_for[next(iter(self._tables_for))]
                self._tables_for[key] = (self._now(), table)
        return table

    def names(self, source: str, deadline: Deadline) -> Sequence[str]:
        """The tables of one source; () where there is no such source."""
        found = self.source(source)
        if found is None:
            return ()
        key = found.name.lower()
        with self._lock:
            known = self._names.get(key)
        if known is not None and self._now() - known[0] < self._ttl_s:
            return known[1]
        names = tuple(found.table_names(deadline))
        with self._lock:
            self._names[key] = (self._now(), names)
        return names

    def sources_with(self, table: str, deadline: Deadline, among: Collection[str]) -> list[str]:
        """The names of those sources of ``among`` that have ``table``, sorted.

        A source that cannot be listed only matters while the name is found nowhere: then its error is raised,
        for the table may be there.
        """
        wanted = table.lower()
        found: list[str] = []
        failed: Error | None = None
        for name in sorted(set(self.sources) & set(among)):
            try:
                if any(n.lower() == wanted for n in self.names(name, deadline)):
                    found.append(name)
            except Error as err:
                failed = failed or err
        if not found and failed is not None:
            raise failed
        return found

    def forget(self) -> None:
        """Ask the sources again next time."""
        with self._lock:
            self._names.clear()
            self._tables.clear()
            self._tables_for.clear()
