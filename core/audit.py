"""One record per ask and per alert run: intent before the first call, outcome after. No intent, no query.

Records form a chain per tenant: each holds the SHA-256 of the one before, so that an edit, a removal, a swap or a
copy breaks it; the head is kept beside the chain, so that a cut tail shows as well (against one who can write the
head too, anchor it elsewhere). A record holds no row and no secret; literals of the SQL are the asker's own.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import Internal, StateConflict
from core.ports import ABSENT, Item, Put, Store

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
GENESIS = "0" * 64
HEAD = "~head"  # sorts behind all numbers
_ATTEMPTS = 50
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a chain is broken, and how."""

    tenant: str
    sequence: int
    what: str


class Audit:
    """Append-only. Writers on any number of machines share one chain: a conflict means another was first; try again."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._heads: dict[str, Item | None] = {}
        self._lock = threading.Lock()

    def append(self, tenant: str, record: Mapping[str, Any]) -> int:
        """Write one record; its sequence number. Raises the store's error: an ask without a record must not run."""
        with self._lock:
            try:
                return self._append(tenant, record, fresh=False)
            except StateConflict:
                return self._insist(tenant, record)

    def _insist(self, tenant: str, record: Mapping[str, Any]) -> int:
        """Others write too: again with the newest head, after a short random wait, until it is our turn."""
        from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_random

        turns = Retrying(
            retry=retry_if_exception_type(StateConflict),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random(0, 0.02),
        )
        try:
            return turns(self._append, tenant, record, fresh=True)
        except RetryError:
            raise Internal("The audit log is too busy to be written. Ask again.") from None

    def _append(self, tenant: str, record: Mapping[str, Any], *, fresh: bool) -> int:
        partition = _partition(tenant)
        if fresh or tenant not in self._heads:
            self._heads[tenant] = self._store.get(partition, HEAD)
        head = self._heads[tenant]
        sequence = int(head.body["sequence"]) + 1 if head else 1
        body = {
            **record,
            "sequence": sequence,
            "tenant": tenant,
            "at": self._clock().isoformat(timespec="milliseconds"),
            "previous": head.body["hash"] if head else GENESIS,
        }
        new_head = {"sequence": sequence, "hash": digest(body)}
        versions = self._store.write(
            partition,
            [
                Put(_key(sequence), body, expect=ABSENT),
                Put(HEAD, new_head, expect=head.version if head else ABSENT),
            ],
        )
        self._heads[tenant] = Item(partition, HEAD, versions[1], new_head)
        return sequence

    def records(self, tenant: str = "default", since: datetime | None = None) -> Iterator[Mapping[str, Any]]:
        """Records in order; those before ``since`` are skipped."""
        first = _key(0)
        while True:
            items = self._store.query(_partition(tenant), first, _key(10**15), limit=_PAGE)
            for item in items:
                if since is None or datetime.fromisoformat(str(item.body["at"])) >= since:
                    yield item.body
            if len(items) < _PAGE:
                return
            first = items[-1].key + "!"

    def verify(self, tenant: str = "default") -> list[Finding]:
        """Walk the chain. Empty when whole."""
        previous, expected = GENESIS, 1
        for record in self.records(tenant):
            sequence = int(record.get("sequence", -1))
            if sequence != expected:
                return [Finding(tenant, expected, f"record {expected} is missing")]
            if record.get("previous") != previous:
                return [
                    Finding(
                        tenant, sequence, f"record {sequence} does not follow the one before it: changed or swapped"
                    )
                ]
            previous, expected = digest(record), expected + 1
        head = self._store.get(_partition(tenant), HEAD)
        last = expected - 1
        if head is None:
            return [Finding(tenant, last, "the head is missing")] if last else []
        if int(head.body["sequence"]) != last or head.body["hash"] != previous:
            return [
                Finding(
                    tenant,
                    last,
                    f"the chain ends at record {last}, its head says {head.body['sequence']}: cut or changed",
                )
            ]
        return []


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 over canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(_canonical(record).encode("utf-8", "surrogatepass")).hexdigest()


def _partition(tenant: str) -> str:
    return f"audit:{tenant}"


def _key(sequence: int) -> str:
    return f"{sequence:016d}"
