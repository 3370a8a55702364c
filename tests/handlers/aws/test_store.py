"""What is DynamoDB's own about the Store; the port's contract is tested with every other store in tests/contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from core.errors import ConfigInvalid, RateLimitExhausted, ResourceLimit, SourceAuth, SourceError, StateConflict
from core.ports import ABSENT, Delete, Put
from handlers.aws.store import DynamoStore
from tests.runtimes.ministack import client


class Refusing:
    """A client whose calls all fail with one code of AWS."""

    def __init__(self, code: str, **more: Any) -> None:
        self.error = ClientError({"Error": {"Code": code, "Message": "item 4711 of ann"}, **more}, "Any")

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        def call(**_: Any) -> Any:
            raise self.error

        return call


def refusing(code: str, **more: Any) -> DynamoStore:
    refused = Refusing(code, **more)
    return DynamoStore(lambda: refused, "state")


@pytest.fixture
def dynamodb(endpoint: str) -> Any:
    return client("dynamodb", endpoint)


@pytest.fixture
def store(dynamodb: Any, table: str) -> DynamoStore:
    return DynamoStore(lambda: dynamodb, table)


def test_a_put_whose_answer_was_lost_and_that_the_sdk_repeats_is_no_conflict(dynamodb: Any, table: str) -> None:
    class Twice:
        def put_item(self, **asked: Any) -> Any:
            dynamodb.put_item(**asked)
            return dynamodb.put_item(**asked)

    (version,) = DynamoStore(lambda: Twice(), table).write("p", [Put("k", {"n": 1}, ABSENT)])
    found = DynamoStore(lambda: dynamodb, table).get("p", "k")
    assert found is not None
    assert (found.version, found.body) == (version, {"n": 1})
    with pytest.raises(StateConflict):
        DynamoStore(lambda: dynamodb, table).write("p", [Put("k", {"n": 2}, ABSENT)])


def test_a_query_reads_every_page(dynamodb: Any, table: str, store: DynamoStore) -> None:
    big = "x" * 300_000
    for n in range(8):
        store.write("p", [Put(f"k{n}", {"n": n, "big": big})])
    assert [item.body["n"] for item in store.query("p")] == list(range(8))
    assert [item.body["n"] for item in store.query("p", "k2", "k6", limit=2, descending=True)] == [6, 5]


def test_a_limit_counts_what_is_alive(store: DynamoStore) -> None:
    for n in range(6):
        store.write("p", [Put(f"k{n}", {"n": n}, expires_at=1.5 if n < 4 else None)])
    assert [item.body["n"] for item in store.query("p", limit=2)] == [4, 5]


def test_one_change_that_does_not_hold_undoes_the_others(store: DynamoStore) -> None:
    store.write("p", [Put("taken", {"n": 0})])
    with pytest.raises(StateConflict) as caught:
        store.write("p", [Put("new", {"n": 1}), Put("taken", {"n": 1}, ABSENT), Delete("gone")])
    assert caught.value.details["key"] == "taken"
    assert store.get("p", "new") is None


def test_an_item_that_is_too_large_says_so(store: DynamoStore) -> None:
    with pytest.raises(ResourceLimit):
        store.write("p", [Put("k", {"big": "x" * 450_000})])
    with pytest.raises(ResourceLimit):
        store.write("p", [Put("é" * 512 + "é", {})])


def test_a_missing_table_is_named(dynamodb: Any) -> None:
    store = DynamoStore(lambda: dynamodb, "not-there")
    for act in (lambda: store.get("p", "k"), lambda: store.query("p"), lambda: store.write("p", [Put("k", {})])):
        with pytest.raises(ConfigInvalid, match="not-there"):
            act()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", SourceAuth),
        ("ExpiredTokenException", SourceAuth),
        ("ProvisionedThroughputExceededException", RateLimitExhausted),
        ("InternalServerError", SourceError),
    ],
)
def test_amazons_errors_become_ours_and_its_words_stay_out(code: str, expected: type[Exception]) -> None:
    for act in (lambda s: s.get("p", "k"), lambda s: s.write("p", [Put("k", {}), Put("l", {})])):
        with pytest.raises(expected) as caught:
            act(refusing(code))
        assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("act", "permission"),
    [
        (lambda s: s.get("p", "k"), "dynamodb:GetItem"),
        (lambda s: s.query("p"), "dynamodb:Query"),
        (lambda s: s.write("p", [Put("k", {})]), "dynamodb:PutItem"),
        (lambda s: s.write("p", [Delete("k")]), "dynamodb:DeleteItem"),
    ],
)
def test_a_refusal_names_the_permission(act: Callable[[DynamoStore], Any], permission: str) -> None:
    with pytest.raises(SourceAuth, match=permission):
        act(refusing("AccessDeniedException"))


def test_why_a_transaction_was_cancelled_decides_the_error() -> None:
    def cancelled(*reasons: str) -> DynamoStore:
        return refusing("TransactionCanceledException", CancellationReasons=[{"Code": r} for r in reasons])

    changes = [Put("a", {}), Put("b", {}, ABSENT)]
    with pytest.raises(StateConflict, match="b"):
        cancelled("None", "ConditionalCheckFailed").write("p", changes)
    with pytest.raises(StateConflict, match="a"):
        cancelled("TransactionConflict", "None").write("p", changes)
    for throttled in ("ProvisionedThroughputExceeded", "ThrottlingError"):
        with pytest.raises(RateLimitExhausted):
            cancelled("None", throttled).write("p", changes)
    with pytest.raises(ResourceLimit, match="400 kB"):
        cancelled("None", "ItemCollectionSizeLimitExceeded").write("p", changes)
    large = {"Code": "ValidationError", "Message": "Item size has exceeded the maximum allowed size"}
    with pytest.raises(ResourceLimit, match="400 kB"):
        refusing("TransactionCanceledException", CancellationReasons=[large]).write("p", changes)


def test_an_item_of_someone_else_is_an_error_and_not_nothing(dynamodb: Any, table: str, store: DynamoStore) -> None:
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "p"}, "sk": {"S": "k"}, "body": {"S": "{broken"}})
    with pytest.raises(SourceError):
        store.get("p", "k")


def test_reads_are_consistent_for_what_was_just_written_has_to_be_seen() -> None:
    asked: list[dict[str, Any]] = []

    class Recording:
        def get_item(self, **given: Any) -> dict[str, Any]:
            asked.append(given)
            return {}

        def query(self, **given: Any) -> dict[str, Any]:
            asked.append(given)
            return {"Items": []}

    store = DynamoStore(lambda: Recording(), "state")
    store.get("p", "k")
    store.query("p")
    assert [given["ConsistentRead"] for given in asked] == [True, True]
