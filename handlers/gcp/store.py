"""The Store port on one Firestore collection (Native mode).

A document's id is ``names.document_id`` of partition and key. Its fields: ``id`` the same again, and the one field with
an index, for Firestore cannot go backwards through ids; ``body`` JSON text; ``nonce`` random; ``expires`` the exact
expiry and ``ttl`` the second after it, by which Firestore deletes the document some time later (a TTL policy on
``ttl``). ``version`` is the document's update time and its expiry, so that a write is one atomic commit whose
preconditions Firestore checks, without reading first.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import orjson

from core.errors import ConfigInvalid, Error, RateLimitExhausted, ResourceLimit, SourceError, StateConflict
from core.ports import ABSENT, Change, Delete, Item, Put
from handlers.gcp.errors import ATTEMPT_S, mapped, patient
from handlers.gcp.names import bounds, document_id, fitting, key_of

MAX_BYTES = 1_000_000
"""Of a body: a document has at most 1 MiB, with its names and its index."""
_TRIES = 6
_TABLE = r"(?:projects/(?P<project>[^/]+)/databases/(?P<database>[^/]+)/documents/)?(?P<collection>[A-Za-z][\w-]{0,99})"
_VERSION = re.compile(r"(?P<seconds>\d+)\.(?P<nanos>\d{9})-(?P<nonce>\w+)(?:/(?P<expires>\S+))?")
_PAGE = 300
_READ = "datastore.entities.get and datastore.entities.list"
_WRITE = "datastore.entities.create, .update and .delete"


def place(table: str) -> tuple[str | None, str, str]:
    """Project (None: the credentials' own), database and collection of OMNI_STORE_TABLE. Raises ConfigInvalid."""
    found = fitting(_TABLE, table, "OMNI_STORE_TABLE", "projects/P/databases/D/documents/COLLECTION")
    return found["project"], found["database"] or "(default)", found["collection"]


class FirestoreStore:
    """``client()`` gives a google.cloud.firestore.Client; ``clock()`` seconds since the epoch."""

    def __init__(self, client: Callable[[], Any], collection: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._collection, self._clock = client, collection, clock

    def get(self, partition: str, key: str) -> Item | None:
        with self._mapped(_READ):
            found = self._documents().document(document_id(partition, key)).get(retry=patient(), timeout=ATTEMPT_S)
        item = _item(partition, found) if found.exists else None
        return item if item is not None and self._alive(item.expires_at) else None

    def query(
        self,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Sequence[Item]:
        if (limit is not None and limit <= 0) or (last is not None and first.encode() > last.encode()):
            return []
        low, high = bounds(partition, first, last)
        found: list[Item] = []
        while True:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found) + 8)  # some may have expired
            page = self._page(low, high, size, descending=descending)
            items = (_item(partition, document) for document in page)
            found += [item for item in items if self._alive(item.expires_at)]
            if len(page) < size or (limit is not None and len(found) >= limit):
                return found[:limit]
            low, high = (low, page[-1].id) if descending else (page[-1].id + "\x01", high)

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        if not changes:
            return []
        for change in changes:
            if change.expect not in (None, ABSENT) and not self._possible(str(change.expect)):
                raise _conflict(partition, change.key)
        return _Write(self, partition, changes).done()

    def _possible(self, version: str) -> bool:
        """Whether a document may still have this version: it is one of ours, and has not expired."""
        found = _VERSION.fullmatch(version)
        return found is not None and self._alive(float(found["expires"]) if found["expires"] else None)

    def _page(self, low: str, high: str, size: int, *, descending: bool) -> list[Any]:
        with self._mapped(_READ):
            from google.cloud.firestore_v1.base_query import FieldFilter

            query = (
                self._documents()
                .where(filter=FieldFilter("id", ">=", low))
                .where(filter=FieldFilter("id", "<", high))
                .order_by("id", direction="DESCENDING" if descending else "ASCENDING")
                .limit(size)
            )
            return list(query.stream(retry=patient(), timeout=ATTEMPT_S))

    def _documents(self) -> Any:
        return self._client().collection(self._collection)

    def _alive(self, expires_at: float | None) -> bool:
        return expires_at is None or expires_at > self._clock()

    def _mapped(self, permission: str) -> AbstractContextManager[None]:
        return mapped("Firestore", f"collection {self._collection!r}", permission, self._meaning)

    def _meaning(self, code: str) -> Error | None:
        if code in ("NOT_FOUND", "FAILED_PRECONDITION"):
            return ConfigInvalid(
                f"There is no Firestore database in Native mode for the collection {self._collection!r} here, or the "
                "field 'id' has no index: create the database, or set OMNI_STORE_TABLE to "
                "projects/P/databases/D/documents/COLLECTION.", table=self._collection, google_code=code,
            )  # fmt: skip
        if code == "INVALID_ARGUMENT":
            return ResourceLimit(
                "Firestore cannot keep this: a document is over 1 MiB, or a write over 10 MiB.", table=self._collection
            )
        if code == "ABORTED":
            return RateLimitExhausted(
                f"Many writes at once to the collection {self._collection!r} ({code}). Try again.",
                retry_after_ms=200, scope="gcp", service="Firestore", google_code=code,
            )  # fmt: skip
        return None


class _Write:
    """One atomic commit, tried again where that is safe."""

    def __init__(self, store: FirestoreStore, partition: str, changes: Sequence[Change]) -> None:
        self._store, self._partition, self._changes = store, partition, changes
        self._ids = [document_id(partition, change.key) for change in changes]
        self._nonces = [os.urandom(12).hex() if isinstance(change, Put) else "" for change in changes]
        self._expired: dict[int, Any] = {}
        """Update times of documents that have expired and may be written over as if they were absent."""
        self._bodies = [_body(change) for change in changes]

    def done(self) -> list[str]:
        doubtful = False
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(random.uniform(0.02, 0.08) * attempt)
            with self._store._mapped(_WRITE):
                from google.api_core import exceptions as api

                try:
                    return self._versions([result.update_time for result in self._commit()])
                except (api.AlreadyExists, api.NotFound, api.FailedPrecondition):
                    pass  # judged below, by what is there
                except api.Aborted:
                    if attempt == _TRIES - 1:
                        raise
                    continue  # contention: nothing was written
                except (api.ServiceUnavailable, api.InternalServerError, api.Unknown):
                    if attempt >= 2 or not self._recognisable():
                        raise
                    doubtful = True  # it may have been written, and its answer lost
                    continue
            versions = self._judged(doubtful=doubtful)
            if versions is not None:
                return versions
        raise _conflict(self._partition, next((c.key for c in self._changes if c.expect is not None), ""))

    def _commit(self) -> Sequence[Any]:
        """Preconditions go with each change. Raises AlreadyExists, NotFound or FailedPrecondition where one fails."""
        from google.cloud.firestore_v1 import DELETE_FIELD

        client = self._store._client()
        batch, documents = client.batch(), self._store._documents()
        for at, change in enumerate(self._changes):
            reference, expected = documents.document(self._ids[at]), self._expected(at, change)
            if isinstance(change, Delete):
                absent = change.expect == ABSENT and expected is None
                option = _last(client, expected) if expected is not None else None
                batch.delete(reference, option=client.write_option(exists=False) if absent else option)
                continue
            fields = self._fields(at, change)
            if expected is not None:
                gone = {name: DELETE_FIELD for name in ("expires", "ttl") if name not in fields}
                batch.update(reference, {**fields, **gone}, option=_last(client, expected))
            elif change.expect == ABSENT:
                batch.create(reference, fields)
            else:
                batch.set(reference, fields)
        found: Sequence[Any] = batch.commit(retry=None, timeout=ATTEMPT_S)
        return found

    def _expected(self, at: int, change: Change) -> Any:
        """The update time that the document has to have, or None."""
        if change.expect in (None, ABSENT):
            return self._expired.get(at)
        return _time(str(change.expect))

    def _fields(self, at: int, put: Put) -> dict[str, Any]:
        fields: dict[str, Any] = {"id": self._ids[at], "body": self._bodies[at], "nonce": self._nonces[at]}
        if put.expires_at is not None:
            fields["expires"] = float(put.expires_at)
            fields["ttl"] = datetime.fromtimestamp(int(put.expires_at) + 1, UTC)
        return fields

    def _versions(self, times: Sequence[Any]) -> list[str]:
        return [
            _version(at, nonce, change.expires_at) if isinstance(change, Put) else ""
            for at, nonce, change in zip(times, self._nonces, self._changes, strict=True)
        ]

    def _recognisable(self) -> bool:
        """Whether it can be told afterwards that it was this write that was done."""
        return any(isinstance(change, Put) for change in self._changes) or all(c.expect is None for c in self._changes)

    def _judged(self, *, doubtful: bool) -> list[str] | None:
        """Read what is there. Raises StateConflict naming the key whose expectation does not hold; returns the versions
        where it is this very write that is there already; None: try again."""
        documents = self._store._documents()
        references = [documents.document(name) for name in self._ids]
        with self._store._mapped(_READ):
            read = self._store._client().get_all(references, retry=patient(), timeout=ATTEMPT_S)
            there = {document.id: document for document in read if document.exists}
        if doubtful and self._is_done(there):
            return self._versions([getattr(there.get(name), "update_time", None) for name in self._ids])
        self._expired.clear()
        for at, (name, change) in enumerate(zip(self._ids, self._changes, strict=True)):
            document = there.get(name)
            if change.expect is None:
                continue
            item = None if document is None else _item(self._partition, document)
            alive = item is not None and self._store._alive(item.expires_at)
            if (item.version if alive and item is not None else ABSENT) != change.expect:
                raise _conflict(self._partition, change.key)
            if document is not None and not alive:
                self._expired[at] = document.update_time
        return None

    def _is_done(self, there: Mapping[str, Any]) -> bool:
        return all(
            name in there and there[name].get("nonce") == nonce if nonce else name not in there
            for name, nonce in zip(self._ids, self._nonces, strict=True)
        )


def _last(client: Any, update_time: Any) -> Any:
    return client.write_option(last_update_time=update_time)


def _body(change: Change) -> str:
    if isinstance(change, Delete):
        return ""
    text = orjson.dumps(change.body).decode()
    if len(text) > MAX_BYTES // 4 and (size := len(text.encode())) > MAX_BYTES:
        raise ResourceLimit(
            f"The state {change.key[:80]!r} would take {size:,} bytes; Firestore keeps at most 1 MiB.",
            key=change.key[:80],
        )
    return text


def _version(update_time: Any, nonce: str, expires_at: float | None) -> str:
    """All documents of a commit have one update time: the nonce keeps their versions apart."""
    stamp = update_time.timestamp_pb()
    expiry = "" if expires_at is None else f"/{float(expires_at)!r}"
    return f"{stamp.seconds}.{stamp.nanos:09d}-{nonce}{expiry}"


def _time(version: str) -> Any:
    from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped] # it has no types

    found = _VERSION.fullmatch(version)
    assert found is not None, "looked at by write"
    return Timestamp(seconds=int(found["seconds"]), nanos=int(found["nanos"]))


def _item(partition: str, document: Any) -> Item:
    fields = document.to_dict() or {}
    try:
        expires = fields.get("expires")
        expires_at = None if expires is None else float(expires)
        return Item(
            partition, key_of(document.id), _version(document.update_time, fields["nonce"], expires_at),
            orjson.loads(fields["body"]), expires_at,
        )  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise SourceError("A document of the state collection is not ours: its fields do not fit.", service="Firestore",
                          key=str(document.id)[:80]) from error  # fmt: skip


def _conflict(partition: str, key: str) -> StateConflict:
    return StateConflict(f"{partition}/{key} was changed by another run. Read it again.", partition=partition, key=key)
