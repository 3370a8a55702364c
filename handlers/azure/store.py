"""The Store port on one table of Azure Table Storage.

PartitionKey and RowKey are the port's partition and key (see ``rowkeys``). ``b0``, ``b1``, ... are the body's JSON text
in pieces, for a property holds 64 KiB; ``expires`` is the exact expiry; ``put`` is random, by which a write knows its
own work again after an answer was lost.

Tables delete nothing by themselves. Who comes upon many expired rows in a query deletes them, as far as one batch goes.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import orjson

from core.errors import ConfigInvalid, Error, ResourceLimit, SourceError, StateConflict
from core.ports import Change, Item, Put
from handlers.azure.batch import Attempt, Existing, Refused, conflict, only_if, version
from handlers.azure.errors import code_of, mapped
from handlers.azure.rowkeys import decoded, encoded

PIECE = 16_000
"""Characters a property: at most 32,000 UTF-16 units, 64,000 bytes of the 65,536 allowed."""
PERMISSION = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/"
_CLEAN_FROM = 20
_POINT_READS = 10
_MARKS = ["PartitionKey", "RowKey", "expires", "put"]
_TRIES = 5
_LOG = logging.getLogger(__name__)


class TableStore:
    """``client()`` gives an azure.data.tables.TableClient; ``clock()`` seconds since the epoch."""

    def __init__(self, client: Callable[[], Any], table: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._table, self._clock = client, table, clock

    def get(self, partition: str, key: str) -> Item | None:
        from azure.core.exceptions import ResourceNotFoundError

        client, pk, rk = self._client(), encoded(partition), encoded(key)
        with self._mapped("read"):
            try:
                found = client.get_entity(pk, rk)
            except ResourceNotFoundError as error:
                if code_of(error) == "TableNotFound":
                    raise
                return None
        item = _item(found)
        return item if self._alive(item.expires_at) else None

    def query(
        self,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Sequence[Item]:
        """A table is read forwards only: ``descending`` reads the whole range and keeps its end."""
        if limit is not None and limit <= 0:
            return []
        condition, values = _range(partition, first, last)
        page = limit if limit is not None and limit < 1_000 and not descending else None
        found: deque[Item] = deque(maxlen=limit if descending else None)
        expired: list[Existing] = []
        with self._mapped("read"):
            for entity in self._client().query_entities(condition, parameters=values, results_per_page=page):
                item = _item(entity)
                if self._alive(item.expires_at):
                    found.append(item)
                    if not descending and limit is not None and len(found) >= limit:
                        break
                elif len(expired) < 100:
                    expired.append(_existing(entity))
        self._clean(partition, expired)
        return list(reversed(found)) if descending else list(found)

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        if not changes:
            return []
        attempt = Attempt(
            partition, encoded(partition), changes, [_properties(c) if isinstance(c, Put) else {} for c in changes],
            [encoded(c.key) for c in changes], self._clock(),
        )  # fmt: skip
        if attempt.needs_to_know:
            attempt.learn(self._existing(partition, changes))
        for _ in range(_TRIES):
            try:
                with self._mapped("write and delete"):
                    return attempt.send(self._client())
            except Refused:
                done = attempt.learn(self._existing(partition, changes))
                if done is not None:
                    return done
        raise conflict(partition, changes[0].key)

    def _existing(self, partition: str, changes: Sequence[Change]) -> Mapping[str, Existing]:
        """What is there under the changes' keys, expired or not: a few by their keys, many as one range."""
        from azure.core.exceptions import ResourceNotFoundError

        keys, found, client = {c.key for c in changes}, [], self._client()
        with self._mapped("read"):
            if len(keys) > _POINT_READS:
                condition, values = _range(partition, min(keys, key=str.encode), max(keys, key=str.encode))
                found = [_existing(e) for e in client.query_entities(condition, parameters=values, select=_MARKS)]
            for key in keys if len(keys) <= _POINT_READS else ():
                with suppress(ResourceNotFoundError):
                    found.append(_existing(client.get_entity(encoded(partition), encoded(key), select=_MARKS)))
        return {one.key: one for one in found if one.key in keys}

    def _clean(self, partition: str, expired: Sequence[Existing]) -> None:
        if len(expired) < _CLEAN_FROM:
            return
        pk = encoded(partition)
        gone = [("delete", {"PartitionKey": pk, "RowKey": encoded(e.key)}, only_if(e.etag)) for e in expired]
        try:
            with self._mapped("delete", _racing):
                self._client().submit_transaction(gone)
        except Error as error:  # a reader's courtesy: the next one tries again
            _LOG.info("%d expired rows of %s stay for now: %s", len(gone), self._table, error.message)

    def _alive(self, expires_at: float | None) -> bool:
        return expires_at is None or expires_at > self._clock()

    def _mapped(self, action: str, racing: Callable[[str], Error | None] | None = None) -> AbstractContextManager[None]:
        def meaning(status: int, code: str) -> Error | None:
            return (racing(code) if racing is not None else None) or self._meaning(status, code)

        return mapped("Table Storage", f"table {self._table!r}", PERMISSION + action, meaning)

    def _meaning(self, status: int, code: str) -> Error | None:
        if code in ("TableNotFound", "TableBeingDeleted") or (status == 404 and code == "ResourceNotFound"):
            return ConfigInvalid(
                f"There is no Azure table {self._table!r} in this account: create it, or set OMNI_STORE_TABLE.",
                table=self._table,
            )
        if status == 413 or code in ("EntityTooLarge", "PropertyValueTooLarge", "RequestBodyTooLarge",
                                     "ContentLengthExceeded", "RequestEntityTooLarge"):  # fmt: skip
            return ResourceLimit(
                "Azure Tables cannot keep this: an entity is over 1 MiB, or a write over 4 MB.", table=self._table
            )
        return None


def _racing(code: str) -> Error | None:
    """What a batch of clean-up deletes meets when another was there first."""
    if code in ("UpdateConditionNotSatisfied", "ConditionNotMet", "ResourceNotFound", "EntityNotFound"):
        return StateConflict("another has cleaned up")
    return None


def _properties(put: Put) -> dict[str, Any]:
    text = orjson.dumps(put.body).decode()
    made: dict[str, Any] = {"put": os.urandom(8).hex()}
    made |= {f"b{i}": text[at : at + PIECE] for i, at in enumerate(range(0, len(text), PIECE))}
    if put.expires_at is not None:
        made["expires"] = float(put.expires_at)
    return made


def _item(entity: Mapping[str, Any]) -> Item:
    try:
        one = _existing(entity)
        pieces: list[str] = []
        while f"b{len(pieces)}" in entity:
            pieces.append(entity[f"b{len(pieces)}"])
        return Item(
            decoded(entity["PartitionKey"]), one.key, version(one.expires_at, one.put, one.etag),
            orjson.loads("".join(pieces)), one.expires_at,
        )  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise _foreign(entity) from error


def _existing(entity: Any) -> Existing:
    try:
        expires = entity.get("expires")
        return Existing(
            decoded(entity["RowKey"]), entity.metadata["etag"], None if expires is None else float(expires),
            str(entity.get("put", "")),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise _foreign(entity) from error


def _foreign(entity: Mapping[str, Any]) -> SourceError:
    return SourceError("An entity of the state table is not ours: its properties do not fit.",
                       service="Table Storage", key=str(entity.get("RowKey", ""))[:80])  # fmt: skip


def _range(partition: str, first: str, last: str | None) -> tuple[str, dict[str, str]]:
    condition, values = "PartitionKey eq @p", {"p": encoded(partition)}
    if first:
        condition, values["first"] = condition + " and RowKey ge @first", encoded(first)
    if last is not None:
        condition, values["last"] = condition + " and RowKey le @last", encoded(last)
    return condition, values
