"""A deployment on Google Cloud, asked from this machine: see docs/gcp.md. Skipped unless OMNI_LIVE_GCP=1."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import ConfigInvalid, SourceAuth, StateConflict
from core.ports import ABSENT, Delete, Platform, Put, Schedule
from core.settings import Settings
from handlers.gcp.platform import platform
from tests.contract.test_store import ORDERED

pytestmark = pytest.mark.skipif(
    os.environ.get("OMNI_LIVE_GCP") != "1", reason="a real project: set OMNI_LIVE_GCP=1, see docs/gcp.md"
)
PARTITION = f"live-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def ports() -> Iterator[Platform]:
    made = platform(Settings.from_env(os.environ), os.environ)
    yield made
    left = [Delete(item.key) for item in made.store.query(PARTITION)]
    for at in range(0, len(left), 100):
        made.store.write(PARTITION, left[at : at + 100])


def test_documents_come_in_the_order_of_utf8_both_ways(ports: Platform) -> None:
    """Backwards needs an index that the emulator does not ask for."""
    ports.store.write(PARTITION, [Put(k, {"k": k}) for k in ORDERED])
    assert [i.key for i in ports.store.query(PARTITION)] == ORDERED
    assert [i.key for i in ports.store.query(PARTITION, descending=True, limit=3)] == ORDERED[:-4:-1]
    assert [i.key for i in ports.store.query(PARTITION, "a/", "a0")] == ["a/", "a/1", "a/10", "a/2", "a0"]


def test_expectations_hold(ports: Platform) -> None:
    (version,) = ports.store.write(PARTITION, [Put("held", {"n": 1}, expect=ABSENT)])
    with pytest.raises(StateConflict):
        ports.store.write(PARTITION, [Put("held", {}, expect=ABSENT), Put("beside", {})])
    assert ports.store.get(PARTITION, "beside") is None
    (again,) = ports.store.write(PARTITION, [Put("held", {"n": 2}, expect=version)])
    with pytest.raises(StateConflict):
        ports.store.write(PARTITION, [Delete("held", expect=version)])
    ports.store.write(PARTITION, [Delete("held", expect=again), Delete("never-there")])


def test_an_expired_document_is_absent(ports: Platform) -> None:
    ports.store.write(PARTITION, [Put("over", {}, expires_at=time.time() - 5)])
    assert ports.store.get(PARTITION, "over") is None
    ports.store.write(PARTITION, [Put("over", {"n": 1}, expect=ABSENT)])


def test_a_large_body(ports: Platform) -> None:
    body = {"text": "ä" * 100_000 + "🙂" * 10_000}
    ports.store.write(PARTITION, [Put("large", body)])
    found = ports.store.get(PARTITION, "large")
    assert found is not None
    assert found.body == body


def test_blobs(ports: Platform) -> None:
    assert ports.objects is not None
    name = f"job/{PARTITION}/1.json"
    ports.objects.put(name, b"1" * 1_000_000, only_if_absent=True, expires_at=time.time() + 600)
    with pytest.raises(StateConflict):
        ports.objects.put(name, b"2", only_if_absent=True)
    assert ports.objects.get(name) == b"1" * 1_000_000
    ports.objects.delete(name)
    assert ports.objects.get(name) is None


def test_a_secret_that_is_not_there_is_told(ports: Platform) -> None:
    with pytest.raises(ConfigInvalid, match="has no secret"):
        ports.secrets.get("live_test_not_there")


def test_keys_are_bound_to_tenant_and_context(ports: Platform) -> None:
    assert ports.keys is not None
    wrapped = ports.keys.wrap("live", b"k" * 32, {"a": "b"})
    assert ports.keys.unwrap("live", wrapped, {"a": "b"}) == b"k" * 32
    with pytest.raises(SourceAuth):
        ports.keys.unwrap("other", wrapped, {"a": "b"})


def test_a_timer_is_made_listed_and_removed(ports: Platform) -> None:
    assert ports.scheduler is not None
    one = Schedule(PARTITION, "0 3 * * 0", "Europe/Berlin", {"alert": PARTITION})
    ports.scheduler.upsert(one)
    try:
        assert one in ports.scheduler.list()
    finally:
        ports.scheduler.delete(PARTITION)
    assert one not in ports.scheduler.list()


def http(path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    url = os.environ["OMNI_LIVE_ASK_URL"].rstrip("/") + path
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_the_function_answers_and_refuses() -> None:
    """Of a deployment whose ask anyone may connect to."""
    assert http("/readyz")[0] == 200, "the project loads from its object"
    assert http("/v1/query", {"sql": "SELECT 1"})[0] == 401
    forged = "Bearer e30.e30.SIGNATURE_REMOVED_BY_GOOGLE"
    assert http("/v1/query", {"sql": "SELECT 1"}, Authorization=forged)[0] in (401, 403)
