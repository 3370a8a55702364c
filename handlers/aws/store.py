"""The Store port on one DynamoDB table.

Partition key ``pk`` and sort key ``sk`` (strings) are the port's partition and key. ``version`` is random, so that a
version never comes twice; ``body`` is JSON text; ``expires`` is the exact expiry and ``ttl`` the second after it, by
which DynamoDB deletes the item some time later (turn TTL on for ``ttl``).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import orjson
from botocore.exceptions import ClientError

from core.errors import ConfigInvalid, Error, ResourceLimit, SourceError, StateConflict
from core.ports import ABSENT, Change, Delete, Item, Put
from handlers.aws.errors import mapped

MAX_SORT_KEY_BYTES = 1_024
_CONTENDED_TRIES = 4


class DynamoStore:
    """``client()`` gives a botocore DynamoDB client; ``clock()`` seconds since the epoch."""

    def __init__(self, client: Callable[[], Any], table: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._table, self._clock = client, table, clock

    def get(self, partition: str, key: str) -> Item | None:
        client = self._client()
        with self._mapped("dynamodb:GetItem"):
            found = client.get_item(TableName=self._table, Key=_key(partition, key), ConsistentRead=True)
        item = _item(found["Item"]) if "Item" in found else None
        return item if item is not None and self._alive(item) else None

    def query(
        self,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Sequence[Item]:
        if limit is not None and limit <= 0:
            return []
        if last is not None and (not last or first.encode() > last.encode()):  # DynamoDB refuses an empty range
            return []
        condition, values = _range(partition, first, last)
        asked: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
            "ScanIndexForward": not descending,
        }
        if limit is not None:
            asked["Limit"] = limit
        found: list[Item] = []
        client = self._client()
        while True:
            with self._mapped("dynamodb:Query"):
                page = client.query(**asked)
            found += [item for item in map(_item, page["Items"]) if self._alive(item)]
            if "LastEvaluatedKey" not in page or (limit is not None and len(found) >= limit):
                return found[:limit]
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        if not changes:
            return []
        versions = [os.urandom(12).hex() if isinstance(change, Put) else "" for change in changes]
        actions = [self._action(partition, c, v) for c, v in zip(changes, versions, strict=True)]
        if len(changes) == 1 and isinstance(changes[0], Put):
            self._put(partition, changes[0].key, actions[0]["Put"], versions[0])
        elif len(changes) == 1 and changes[0].expect is None:
            client = self._client()
            with self._mapped("dynamodb:DeleteItem"):
                client.delete_item(**actions[0]["Delete"])
        else:
            self._transact(partition, actions)
        return versions

    def _put(self, partition: str, key: str, action: dict[str, Any], version: str) -> None:
        """One conditional put. A refusal may be the echo of our own write, whose answer was lost and which the SDK
        sent again: then the item already has our version."""
        client = self._client()
        with self._mapped("dynamodb:PutItem"):
            try:
                client.put_item(**action, ReturnValuesOnConditionCheckFailure="ALL_OLD")
            except ClientError as error:
                if _code(error) == "TransactionConflictException":
                    return self._transact(partition, [{"Put": action}])
                if _code(error) != "ConditionalCheckFailedException":
                    raise
                if error.response.get("Item", {}).get("version", {}).get("S") != version:
                    raise _conflict(partition, key) from error

    def _transact(self, partition: str, actions: list[dict[str, Any]]) -> None:
        """All or nothing; the SDK's request token makes its own retries harmless."""
        client = self._client()
        for attempt in range(_CONTENDED_TRIES):
            with self._mapped("dynamodb:PutItem and dynamodb:DeleteItem"):
                try:
                    client.transact_write_items(TransactItems=actions)
                    return
                except ClientError as error:
                    if _code(error) != "TransactionCanceledException":
                        raise
                    self._judge(error, partition, actions, last=attempt == _CONTENDED_TRIES - 1)
            time.sleep(random.uniform(0.02, 0.08) * (attempt + 1))  # another transaction touches the same items

    def _judge(self, error: ClientError, partition: str, actions: list[dict[str, Any]], *, last: bool) -> None:
        """Raise what a cancelled transaction means, or return where trying again can help."""
        told = error.response.get("CancellationReasons", [])
        reasons = [reason.get("Code", "None") for reason in told]
        for action, reason in zip(actions, reasons, strict=False):
            if reason == "ConditionalCheckFailed":
                raise _conflict(partition, _sort_key(action)) from error
        for action, reason in zip(actions, reasons, strict=False):
            if reason == "TransactionConflict" and last:
                raise _conflict(partition, _sort_key(action)) from error
        for reason in told:
            code = reason.get("Code", "None")
            if code not in ("None", "TransactionConflict"):
                known = {"Code": _REASONS.get(code, code), "Message": reason.get("Message", "")}
                raise ClientError({"Error": known}, "TransactWriteItems") from error
        if not reasons:
            raise SourceError("DynamoDB cancelled a transaction without a reason.", service="DynamoDB") from error

    def _action(self, partition: str, change: Change, version: str) -> dict[str, Any]:
        names: dict[str, Any] = {"TableName": self._table}
        condition, values = self._condition(change)
        if condition:
            used = {name: name[1:] for name in ("#expires", "#version") if name in condition}
            names |= {"ConditionExpression": condition, "ExpressionAttributeValues": values}
            names |= {"ExpressionAttributeNames": used}
        if isinstance(change, Delete):
            return {"Delete": {**names, "Key": _key(partition, change.key)}}
        return {"Put": {**names, "Item": {**_key(partition, change.key), **_attributes(change, version)}}}

    def _condition(self, change: Change) -> tuple[str, dict[str, Any]]:
        if change.expect is None:
            return "", {}
        now = {":now": {"N": _number(self._clock())}}
        if change.expect == ABSENT:
            return "attribute_not_exists(pk) OR #expires <= :now", now
        alive = "(attribute_not_exists(#expires) OR #expires > :now)"
        return f"#version = :version AND {alive}", {**now, ":version": {"S": change.expect}}

    def _alive(self, item: Item) -> bool:
        return item.expires_at is None or item.expires_at > self._clock()

    def _mapped(self, permission: str) -> AbstractContextManager[None]:
        return mapped("DynamoDB", f"table {self._table!r}", permission, self._meaning)

    def _meaning(self, code: str, message: str) -> Error | None:
        if code == "ResourceNotFoundException":
            return ConfigInvalid(
                f"There is no DynamoDB table {self._table!r} here: create it (keys pk and sk, both strings), or set "
                "OMNI_STORE_TABLE and OMNI_REGION.",
                table=self._table,
            )
        if code == "ItemCollectionSizeLimitExceededException" or (code == "ValidationException" and "size" in message):
            return ResourceLimit(
                "DynamoDB cannot keep this: an item is over 400 kB, or a write over 4 MB.", table=self._table
            )
        if code == "ValidationException":
            return SourceError(
                f"DynamoDB refused the form of a request to the table {self._table!r}: are its keys pk and sk, both "
                "strings?",
                table=self._table,
            )
        return None


_REASONS = {
    "AccessDenied": "AccessDeniedException",
    "ItemCollectionSizeLimitExceeded": "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "ThrottlingError": "ThrottlingException",
    "ValidationError": "ValidationException",
}
"""Why a transaction was cancelled, in the words of single calls. Source: DynamoDB API reference, TransactWriteItems."""


def _conflict(partition: str, key: str) -> StateConflict:
    return StateConflict(f"{partition}/{key} was changed by another run. Read it again.", partition=partition, key=key)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _key(partition: str, key: str) -> dict[str, Any]:
    if len(key.encode()) > MAX_SORT_KEY_BYTES:
        raise ResourceLimit(f"DynamoDB keys have at most {MAX_SORT_KEY_BYTES} bytes.", key=key[:80])
    return {"pk": {"S": partition}, "sk": {"S": key}}


def _sort_key(action: Mapping[str, Any]) -> str:
    (body,) = action.values()
    return str((body.get("Item") or body.get("Key"))["sk"]["S"])


def _attributes(put: Put, version: str) -> dict[str, Any]:
    found: dict[str, Any] = {"version": {"S": version}, "body": {"S": orjson.dumps(put.body).decode()}}
    if put.expires_at is not None:
        found["expires"] = {"N": _number(put.expires_at)}
        found["ttl"] = {"N": str(int(put.expires_at) + 1)}
    return found


def _item(found: Mapping[str, Any]) -> Item:
    try:
        return Item(
            found["pk"]["S"], found["sk"]["S"], found["version"]["S"], orjson.loads(found["body"]["S"]),
            float(found["expires"]["N"]) if "expires" in found else None,
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise SourceError("An item of the state table is not ours: its attributes do not fit.", service="DynamoDB",
                          key=str(found.get("sk", {}).get("S", ""))[:80]) from error  # fmt: skip


def _range(partition: str, first: str, last: str | None) -> tuple[str, dict[str, Any]]:
    values = {":p": {"S": partition}}
    if first:
        values[":first"] = {"S": first}
    if last is not None:
        values[":last"] = {"S": last}
    if first and last is not None:
        return "pk = :p AND sk BETWEEN :first AND :last", values
    if first:
        return "pk = :p AND sk >= :first", values
    if last is not None:
        return "pk = :p AND sk <= :last", values
    return "pk = :p", values


def _number(value: float) -> str:
    """A float as DynamoDB's number, exactly: what is read back compares as what was written."""
    return format(Decimal(repr(value)), "f")
