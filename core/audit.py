"""One record per ask and per alert run: intent before the first call, outcome after. No intent, no query.

Records form chains, some per tenant: each holds the SHA-256 of the one before, so that an edit, a removal, a swap or a
copy breaks it; the head is kept beside the chain, so that a cut tail shows as well (against one who can write the
head too, anchor it elsewhere). A record holds no row and no secret; literals of the SQL are the asker's own.

The main chain is the partition ``audit:TENANT``. Its head is one item, which lets one writer a time append: where two
meet, the one that lost goes on in one of ``CHAINS`` others, the partitions ``audit-NN:TENANT``, so that a thousand
alerts of one minute do not wait for one another. A chain stands in the main partition as ``~chain/NN`` before its first
record, so that the removal of a whole one shows. Readers see all chains as one, by time.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.deadline import Deadline
from core.errors import Error, RateLimitExhausted, StateConflict
from core.ports import ABSENT, Item, Put, Store

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
GENESIS = "0" * 64
HEAD = "~head"  # sorts behind all numbers
CHAINS = 64
"""Chains beside the main one. More of them wait less in a crowd, and make a small log slower to read."""
PATIENCE_S = 20.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0
_OPENED = "~chain/"
_PAGE = 500
_MAIN: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a chain is broken, and how."""

    tenant: str
    sequence: int
    what: str


class Audit:
    """Append-only, for writers on any number of machines. ``patience_s``: how long an append may wait for others."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        *,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._patience_s = patience_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._chance = chance or random.Random()
        self._chain: dict[str, int | None] = {}
        self._heads: dict[str, Item | None] = {}
        self._lock = threading.Lock()

    def append(self, tenant: str, record: Mapping[str, Any]) -> int:
        """Write one record; its sequence number. Raises the store's error: an ask without a record must not run.

        Where others write the same chain, or the store has too much to do, it tries again, in another chain and after
        a growing random wait; RateLimitExhausted when its patience is over.
        """
        deadline = Deadline(self._patience_s, self._monotonic)
        tries = 0
        while True:
            try:
                with self._lock:
                    return self._append(tenant, record)
            except (StateConflict, RateLimitExhausted) as error:
                wait = self._wait(error, tries)
                if wait >= deadline.left():
                    raise RateLimitExhausted(
                        f"The audit log is too busy: no record could be written in {self._patience_s:g} s. Ask again.",
                        retry_after_ms=1_000,
                        scope="audit",
                    ) from error
                with self._lock:
                    self._elsewhere(tenant, error)
            tries += 1
            self._sleep(wait)

    def _wait(self, error: Error, tries: int) -> float:
        longest = min(_FIRST_WAIT_S * 2.0 ** min(tries, 20), _LONGEST_WAIT_S)
        asked = (error.retry_after_ms or 0) / 1_000
        return max(asked, self._chance.uniform(0.0, longest))

    def _elsewhere(self, tenant: str, error: Error) -> None:
        """Forget the head, which another has moved, and go on in any other chain."""
        self._heads.pop(tenant, None)
        if isinstance(error, StateConflict):
            self._chain[tenant] = self._chance.randrange(CHAINS)

    def _append(self, tenant: str, record: Mapping[str, Any]) -> int:
        chain = self._chain_of(tenant)
        partition = _partition(tenant, chain)
        if tenant not in self._heads:
            self._heads[tenant] = self._store.get(partition, HEAD)
        head = self._heads[tenant]
        if chain is not None and (head is None or not head.body["sequence"]):
            head = self._opened(tenant, chain, head)
        sequence = int(head.body["sequence"]) + 1 if head else 1
        body = {
            **record,
            **({} if chain is None else {"chain": chain}),
            "sequence": sequence,
            "tenant": tenant,
            "at": self._clock().isoformat(timespec="milliseconds"),
            "previous": head.body["hash"] if head else GENESIS,
        }
        new_head = {"sequence": sequence, "hash": digest(body)}
        # Should the write fail, whether it was done is unknown: the next one looks.
        self._heads.pop(tenant, None)
        versions = self._store.write(
            partition,
            [
                Put(_key(sequence), body, expect=ABSENT),
                Put(HEAD, new_head, expect=head.version if head else ABSENT),
            ],
        )
        self._heads[tenant] = Item(partition, HEAD, versions[1], new_head)
        return sequence

    def _chain_of(self, tenant: str) -> int | None:
        """The chain that this process writes. Where there is more than the main one, a new process takes any of them
        that is there: it would only lose against the others."""
        if tenant not in self._chain:
            any_of = self._chance.randrange(CHAINS)
            found = self._store.get(_partition(tenant, any_of), HEAD)
            self._chain[tenant] = _MAIN if found is None else any_of
            if found is not None:
                self._heads[tenant] = found
        return self._chain[tenant]

    def _opened(self, tenant: str, chain: int, head: Item | None) -> Item:
        """The head of a chain without records: made, and announced where all chains of the tenant stand. Each step
        may be done again, by this process or another."""
        partition = _partition(tenant, chain)
        if head is None:
            start = {"sequence": 0, "hash": GENESIS}
            (version,) = self._store.write(partition, [Put(HEAD, start, expect=ABSENT)])
            head = Item(partition, HEAD, version, start)
        opened = {"chain": chain, "at": self._clock().isoformat(timespec="milliseconds")}
        self._store.write(_partition(tenant, _MAIN), [Put(f"{_OPENED}{chain:02d}", opened)])
        return head

    def records(self, tenant: str = "default", since: datetime | None = None) -> Iterator[Mapping[str, Any]]:
        """Records of all chains by time; those before ``since`` are skipped."""
        chains: Sequence[int | None] = (_MAIN, *self._chains(tenant))
        # "intent" sorts before "outcome": of one millisecond, the question stands first.
        for record in heapq.merge(
            *(self._read(tenant, chain) for chain in chains), key=lambda r: (_at(r), str(r.get("event", "")))
        ):
            if since is None or _at(record) >= since:
                yield record

    def verify(self, tenant: str = "default") -> list[Finding]:
        """Walk the chains. Empty when all are whole."""
        return [f for chain in (_MAIN, *self._chains(tenant)) for f in self._verified(tenant, chain)]

    def _chains(self, tenant: str) -> list[int]:
        items = self._store.query(_partition(tenant, _MAIN), _OPENED, f"{_OPENED}~")
        return [int(item.key.removeprefix(_OPENED)) for item in items]

    def _read(self, tenant: str, chain: int | None) -> Iterator[Mapping[str, Any]]:
        first = _key(0)
        while True:
            items = self._store.query(_partition(tenant, chain), first, _key(10**15), limit=_PAGE)
            for item in items:
                yield item.body
            if len(items) < _PAGE:
                return
            first = items[-1].key + "!"

    def _verified(self, tenant: str, chain: int | None) -> list[Finding]:
        previous, expected = GENESIS, 1
        of = "" if chain is None else f" of chain {chain}"
        for record in self._read(tenant, chain):
            sequence = int(record.get("sequence", -1))
            if sequence != expected:
                return [Finding(tenant, expected, f"record {expected}{of} is missing")]
            if record.get("previous") != previous or record.get("chain") != chain:
                what = f"record {sequence}{of} does not follow the one before it: changed or swapped"
                return [Finding(tenant, sequence, what)]
            previous, expected = digest(record), expected + 1
        head = self._store.get(_partition(tenant, chain), HEAD)
        last = expected - 1
        if head is None:
            return [Finding(tenant, last, f"the head{of} is missing")] if last or chain is not None else []
        if int(head.body["sequence"]) != last or head.body["hash"] != previous:
            name = "the chain" if chain is None else f"chain {chain}"
            what = f"{name} ends at record {last}, its head says {head.body['sequence']}: cut or changed"
            return [Finding(tenant, last, what)]
        return []


def digest(record: Mapping[str, Any]) -> str:
    """SHA-256 over canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(_canonical(record).encode("utf-8", "surrogatepass")).hexdigest()


def _at(record: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(record["at"]))


def _partition(tenant: str, chain: int | None) -> str:
    return f"audit:{tenant}" if chain is None else f"audit-{chain:02d}:{tenant}"


def _key(sequence: int) -> str:
    return f"{sequence:016d}"
