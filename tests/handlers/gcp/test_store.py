"""Firestore's part of the Store: keys as ids, and what its refusals mean."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.api_core import exceptions as api

from core.errors import ConfigInvalid, RateLimitExhausted, ResourceLimit, SourceAuth, SourceError, StateConflict
from core.ports import ABSENT, Delete, Put
from handlers.gcp.names import bounds, document_id, key_of
from handlers.gcp.store import FirestoreStore, place
from tests.contract.gcp import firestore_client, unique
from tests.runtimes import google_emulators

ALPHABET = "ab./-0~_ %é🙂ﾮ!"


def test_ids_sort_as_keys_do_and_come_back() -> None:
    drawn = random.Random(7)
    keys = sorted({"".join(drawn.choices(ALPHABET, k=drawn.randint(1, 6))) for _ in range(2_000)}, key=str.encode)
    ids = [document_id("p", key) for key in keys]
    assert sorted(ids, key=str.encode) == ids
    assert [key_of(one) for one in ids] == keys
    assert not any("/" in one or one in (".", "..") or one.startswith("__") for one in ids)
    for key in keys[:200]:
        low, high = bounds("p", key, key)
        assert [k for k, one in zip(keys, ids, strict=True) if low.encode() <= one.encode() < high.encode()] == [key]


def test_partitions_never_meet() -> None:
    drawn = random.Random(8)
    parts = sorted(
        {"".join(drawn.choices(ALPHABET, k=drawn.randint(1, 3))) for _ in range(300)} | {"p" * 501, "p" * 502}
    )
    ids = {document_id(part, key): part for part in parts for key in ("a", ".-a", "-", "é")}
    assert len(ids) == len(parts) * 4
    for part in parts:
        low, high = bounds(part, "", None)
        inside = {owner for one, owner in ids.items() if low.encode() <= one.encode() < high.encode()}
        assert inside == {part}


def test_a_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(ResourceLimit):
        document_id("p", "🙂" * 512)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("omnisentinel", (None, "(default)", "omnisentinel")),
        ("projects/p/databases/d/documents/c", ("p", "d", "c")),
        ("projects/p/databases/(default)/documents/c-1", ("p", "(default)", "c-1")),
    ],
)
def test_where_the_state_is(table: str, expected: object) -> None:
    assert place(table) == expected


@pytest.mark.parametrize("table", ["", "a/b", "projects/p/databases/d/documents/c/d", "projects/p/documents/c", "1c"])
def test_a_table_of_another_form(table: str) -> None:
    with pytest.raises(ConfigInvalid, match="OMNI_STORE_TABLE"):
        place(table)


# ── refusals: between the store and the emulator's client, as the service would give them ───────────────────────────


class Faulty:
    """The emulator's client, whose next commits fail as ``faults`` say: (error, whether it was done nevertheless)."""

    def __init__(self, client: Any) -> None:
        self.client, self.faults, self.commits = client, list[tuple[Exception, bool]](), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def batch(self) -> Any:
        made, commit = self.client.batch(), None
        commit = made.commit

        def faulty(**given: Any) -> Any:
            self.commits += 1
            if not self.faults:
                return commit(**given)
            error, done = self.faults.pop(0)
            if done:
                commit(**given)
            raise error

        made.commit = faulty
        return made


@pytest.fixture
def faulty() -> Faulty:
    return Faulty(firestore_client(google_emulators.firestore().address)())


@pytest.fixture
def store(faulty: Faulty) -> FirestoreStore:
    return FirestoreStore(lambda: faulty, unique("state"))


@pytest.mark.parametrize("expect", [None, ABSENT])
def test_a_write_whose_answer_was_lost_is_known_as_our_own(
    store: FirestoreStore, faulty: Faulty, expect: str | None
) -> None:
    faulty.faults = [(api.ServiceUnavailable("lost"), True)]
    (version,) = store.write("p", [Put("k", {"n": 1}, expect=expect)])
    found = store.get("p", "k")
    assert found is not None
    assert found.version == version
    faulty.faults = [(api.ServiceUnavailable("lost"), True)]
    (second, _) = store.write("p", [Put("k", {"n": 2}, expect=version), Delete("other")])
    assert store.get("p", "k").version == second


def test_a_lost_delete_is_not_guessed_at(store: FirestoreStore, faulty: Faulty) -> None:
    (version,) = store.write("p", [Put("k", {})])
    faulty.faults = [(api.ServiceUnavailable("lost"), True)]
    with pytest.raises(SourceError):
        store.write("p", [Delete("k", expect=version)])


def test_contention_is_tried_again_and_then_told(store: FirestoreStore, faulty: Faulty) -> None:
    faulty.faults = [(api.Aborted("contention"), False)] * 3
    store.write("p", [Put("k", {})])
    assert faulty.commits == 4
    faulty.faults = [(api.Aborted("contention"), False)] * 50
    with pytest.raises(RateLimitExhausted):
        store.write("p", [Put("k", {})])


def test_each_refusal_has_its_error(store: FirestoreStore, faulty: Faulty) -> None:
    for fault, meaning in (
        (api.PermissionDenied("s3cret"), SourceAuth),
        (api.Unauthenticated("s3cret"), SourceAuth),
        (api.ResourceExhausted("s3cret"), RateLimitExhausted),
        (api.InvalidArgument("s3cret"), ResourceLimit),
        (api.DataLoss("s3cret"), SourceError),
    ):
        faulty.faults = [(fault, False)]
        with pytest.raises(meaning) as caught:
            store.write("p", [Put("k", {})])
        assert "s3cret" not in str(caught.value.to_dict("r"))
    faulty.faults = [(api.PermissionDenied("x"), False)]
    with pytest.raises(SourceAuth, match=r"datastore\.entities\.create"):
        store.write("p", [Put("k", {})])


def test_the_key_at_fault_is_named(store: FirestoreStore) -> None:
    store.write("p", [Put("b", {})])
    with pytest.raises(StateConflict) as caught:
        store.write("p", [Put("a", {}, expect=ABSENT), Put("b", {}, expect=ABSENT), Put("c", {}, expect=ABSENT)])
    assert caught.value.details == {"partition": "p", "key": "b"}


def test_what_does_not_fit_is_refused_before_it_is_sent(store: FirestoreStore, faulty: Faulty) -> None:
    with pytest.raises(ResourceLimit, match="1 MiB"):
        store.write("p", [Put("k", {"text": "ä" * 600_000})])
    assert faulty.commits == 0


def test_a_document_that_is_not_ours_is_said(store: FirestoreStore, faulty: Faulty) -> None:
    store._documents().document(document_id("p", "k")).set({"id": document_id("p", "k"), "body": 3, "nonce": "x"})
    with pytest.raises(SourceError, match="not ours"):
        store.get("p", "k")


def test_firestore_is_told_when_to_delete(store: FirestoreStore) -> None:
    store.write("p", [Put("k", {}, expires_at=4_000_000_000.25), Put("never", {})])
    kept = store._documents().document(document_id("p", "k")).get().to_dict()
    assert kept["ttl"].timestamp() == 4_000_000_001
    assert "ttl" not in store._documents().document(document_id("p", "never")).get().to_dict()
