"""One write to a table, from the port's changes to the service's operations, and what to do when it is refused.

A write is tried as if nothing stood in its way: one request. Where the service refuses it, what is there is read, and
either an expectation does not hold (StateConflict), or the operations are put together anew with what is now known: an
expired row in the place of a new one is replaced, a row that is gone already need not be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import StateConflict
from core.ports import ABSENT, Change, Delete, Put
from handlers.azure.errors import code_of

_REFUSALS = frozenset({
    "EntityAlreadyExists", "UpdateConditionNotSatisfied", "ConditionNotMet", "ResourceNotFound", "EntityNotFound",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Existing:
    """A row that is there, expired or not. ``put``: the random mark of the write that made it."""

    key: str
    etag: str
    expires_at: float | None
    put: str


class Refused(Exception):
    """The service says that a row is there, is not there, or is another one; or its answer was lost."""


class Attempt:
    """``entities``: for each Put its properties, without keys. ``now``: seconds since the epoch."""

    def __init__(self, partition: str, pk: str, changes: Sequence[Change], entities: Sequence[Mapping[str, Any]],
                 row_keys: Sequence[str], now: float) -> None:  # fmt: skip
        self._partition, self._changes, self._now = partition, changes, now
        self._entities: list[dict[str, Any]] = [
            {"PartitionKey": pk, "RowKey": rk, **entity} for rk, entity in zip(row_keys, entities, strict=True)
        ]
        self._known: Mapping[str, Existing] | None = None
        self._unsure = False

    @property
    def needs_to_know(self) -> bool:
        """Whether what is there has to be read first: the service has no "delete if absent" to refuse."""
        return self._known is None and any(isinstance(c, Delete) and c.expect == ABSENT for c in self._changes)

    def send(self, client: Any) -> list[str]:
        """Write all or nothing; the version of each Put, '' of a Delete. Raises Refused, StateConflict, AzureError."""
        from azure.core.exceptions import HttpResponseError, ServiceResponseError

        made = [self._operation(change, entity) for change, entity in zip(self._changes, self._entities, strict=True)]
        operations = [operation for operation in made if operation is not None]
        try:
            answers = iter(_sent(client, operations))
        except HttpResponseError as error:
            if code_of(error) in _REFUSALS:
                raise Refused from error
            raise
        except ServiceResponseError as error:  # the SDK repeats no POST: it may have been done, or not
            if self._unsure:
                raise
            self._unsure = True
            raise Refused from error
        etags = ["" if operation is None else str(next(answers).get("etag", "")) for operation in made]
        return self._versions(etags)

    def learn(self, there: Mapping[str, Existing]) -> list[str] | None:
        """``there``: what is under the keys. Returns the versions if this very write had been done, its answer lost."""
        self._known = there
        ours = {change.key: entity["put"] for change, entity in zip(self._changes, self._entities, strict=True)
                if isinstance(change, Put)}  # fmt: skip
        if not any(key in there and there[key].put == put for key, put in ours.items()):
            return None
        return self._versions([there[c.key].etag if c.key in there else "" for c in self._changes])

    def _versions(self, etags: Sequence[str]) -> list[str]:
        return [
            version(change.expires_at, entity["put"], etag) if isinstance(change, Put) else ""
            for change, entity, etag in zip(self._changes, self._entities, etags, strict=True)
        ]

    def _operation(self, change: Change, entity: dict[str, Any]) -> tuple[Any, ...] | None:
        there = None if self._known is None else self._known.get(change.key)
        alive = there is not None and not _over(there.expires_at, self._now)
        if change.expect is None:
            if isinstance(change, Put):
                return ("upsert", entity, {"mode": "replace"})
            return None if self._known is not None and there is None else ("delete", entity)
        if change.expect == ABSENT:
            if alive:
                raise conflict(self._partition, change.key)
            if there is not None:
                return _conditional(change, entity, there.etag)
            return ("create", entity) if isinstance(change, Put) else None
        expires, _, etag = parted_version(change.expect)
        stale = self._known is not None and (there is None or there.etag != etag)
        if stale or not etag or (expires and _over(float(expires), self._now)):
            raise conflict(self._partition, change.key)
        return _conditional(change, entity, etag)


def version(expires_at: float | None, put: str, etag: str) -> str:
    """``EXPIRY PUT ETAG``: the ETag is what the service compares, the expiry tells without reading that a row is over,
    and the mark keeps rows apart that were written in the same instant."""
    return f"{'' if expires_at is None else repr(float(expires_at))} {put} {etag}"


def parted_version(text: str) -> tuple[str, str, str]:
    expires, _, rest = text.partition(" ")
    put, _, etag = rest.partition(" ")
    return expires, put, etag


def conflict(partition: str, key: str) -> StateConflict:
    return StateConflict(f"{partition}/{key} was changed by another run. Read it again.", partition=partition, key=key)


def only_if(etag: str) -> dict[str, Any]:
    """The keyword arguments of an operation that expects this ETag."""
    from azure.core import MatchConditions

    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _over(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and expires_at <= now


def _conditional(change: Change, entity: dict[str, Any], etag: str) -> tuple[Any, ...]:
    if isinstance(change, Put):
        return ("update", entity, {"mode": "replace", **only_if(etag)})
    return ("delete", entity, only_if(etag))


def _sent(client: Any, operations: Sequence[tuple[Any, ...]]) -> Iterable[Mapping[str, Any]]:
    if not operations:
        return []
    kind, entity, *options = operations[0]
    if len(operations) > 1 or (kind == "delete" and options):  # delete_entity passes over a row that is not there
        done: Iterable[Mapping[str, Any]] = client.submit_transaction(operations)
        return done
    given = dict(options[0]) if options else {}
    if kind == "delete":
        client.delete_entity(entity)
        return [{}]
    call = {"create": client.create_entity, "upsert": client.upsert_entity, "update": client.update_entity}[kind]
    return [call(entity, **given)]
