"""The table store beyond the contract: rows that expired, answers that were lost, refusals in Azure's own words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.errors import (
    ConfigInvalid,
    Error,
    RateLimitExhausted,
    ResourceLimit,
    SourceAuth,
    SourceError,
    SourceTimeout,
    StateConflict,
)
from core.ports import ABSENT, Delete, Platform, Put, Store
from core.settings import Settings
from handlers.azure.clients import Identity
from handlers.azure.platform import platform, table_client
from handlers.azure.store import TableStore
from tests.runtimes.azure_cloud import AzureCloud
from tests.runtimes.azure_refusing import refusing
from tests.runtimes.process import free_port


class Wire:
    """Between a client and its transport: passes on, and does ``after`` with the answer (a lost one, a refusal)."""

    def __init__(self, client: Any, after: Callable[[int], None]) -> None:
        self._send, self._after, self.sent = client._client._client._pipeline._transport.send, after, 0
        client._client._client._pipeline._transport.send = self.send

    def send(self, request: Any, **kwargs: Any) -> Any:
        answer = self._send(request, **kwargs)
        self.sent += 1
        self._after(self.sent)
        return answer


def made(settings: Mapping[str, str], after: Callable[[int], None] | None = None) -> tuple[TableStore, Any]:
    client = table_client(settings["OMNI_STORE_TABLE"], Identity(settings))()
    wire = Wire(client, after or (lambda _: None))
    return TableStore(lambda: client, "t"), wire


def test_an_unconditional_or_conditional_write_is_one_request(settings: dict[str, str]) -> None:
    store, wire = made(settings)
    (version,) = store.write("p", [Put("k", {"n": 1})])
    store.write("p", [Put("k", {"n": 2}, expect=version)])
    store.write("p", [Put("new", {}, expect=ABSENT)])
    store.write("p", [Put(f"k{i}", {}) for i in range(100)])
    assert wire.sent == 4


@pytest.mark.parametrize("expect", ["absent", "version", "none"])
@pytest.mark.parametrize("more", [[], [Put("other", {"n": 1})], [Delete("nothing")]])
def test_a_write_whose_answer_was_lost_is_known_again(
    settings: dict[str, str], expect: str, more: list[Put | Delete]
) -> None:
    from azure.core.exceptions import ServiceResponseError

    def lose(sent: int) -> None:
        if sent == 1:
            raise ServiceResponseError("the connection was reset")

    before, _ = made(settings)
    (version,) = before.write("p", [Put("k", {"n": 1})])
    wanted = {"absent": ABSENT, "version": version, "none": None}[expect]
    if expect == "absent":
        before.write("p", [Delete("k")])
    store, _ = made(settings, lose)
    found = store.write("p", [Put("k", {"n": 2}, expect=wanted), *more])
    item = before.get("p", "k")
    assert item is not None
    assert (item.body, item.version) == ({"n": 2}, found[0])
    before.write("p", [Put("k", {"n": 3}, expect=found[0])])


def test_deletes_of_what_is_not_there_do_not_stop_a_batch(settings: dict[str, str]) -> None:
    store, wire = made(settings)
    store.write("p", [Put("there", {})])
    wire.sent = 0
    store.write("p", [Delete(f"gone{i}") for i in range(60)] + [Delete("there"), Put("new", {})])
    assert [i.key for i in store.query("p")] == ["new"]
    assert wire.sent <= 4, "one try, one look, one batch, the query"


def test_delete_only_if_absent(settings: dict[str, str]) -> None:
    store, _ = made(settings)
    assert list(store.write("p", [Delete("k", expect=ABSENT)])) == [""]
    store.write("p", [Put("k", {})])
    with pytest.raises(StateConflict):
        store.write("p", [Delete("k", expect=ABSENT), Put("other", {})])
    assert store.get("p", "other") is None


def test_an_expired_row_in_a_batch_is_replaced(settings: dict[str, str]) -> None:
    store, _ = made(settings)
    store.write("p", [Put("lease", {"by": 1}, expires_at=time.time() - 1), Put("x", {})])
    store.write("p", [Put("lease", {"by": 2}, expect=ABSENT), Put("x", {"n": 1})])
    found = store.get("p", "lease")
    assert found is not None
    assert found.body == {"by": 2}


@pytest.mark.parametrize("more", [[], [Put("x", {})]])
def test_of_two_who_take_over_an_expired_row_one_wins(settings: dict[str, str], more: list[Put]) -> None:
    other, _ = made(settings)
    other.write("p", [Put("lease", {"by": 0}, expires_at=time.time() - 1)])

    def race(sent: int) -> None:
        if sent == 2:  # refused, looked, and about to replace what is over
            other.write("p", [Put("lease", {"by": 1}, expect=ABSENT)])

    store, _ = made(settings, race)
    with pytest.raises(StateConflict):
        store.write("p", [Put("lease", {"by": 2}, expect=ABSENT), *more])
    found = store.get("p", "lease")
    assert found is not None
    assert found.body == {"by": 1}


def test_who_comes_upon_many_expired_rows_removes_them(settings: dict[str, str]) -> None:
    store, wire = made(settings)
    client = table_client(settings["OMNI_STORE_TABLE"], Identity(settings))()
    store.write("p", [Put(f"old{i:02}", {}, expires_at=time.time() - 5) for i in range(30)] + [Put("new", {})])
    assert len(list(client.list_entities())) == 31
    assert [i.key for i in store.query("p")] == ["new"]
    assert len(list(client.list_entities())) == 1
    wire.sent = 0
    store.query("p")
    assert wire.sent == 1, "nothing to remove, nothing asked"


def test_removing_never_takes_a_row_that_was_written_anew(settings: dict[str, str]) -> None:
    other = table_client(settings["OMNI_STORE_TABLE"], Identity(settings))()

    def race(sent: int) -> None:
        if sent == 2:  # after the read of the range, before the removal
            TableStore(lambda: other, "t").write("p", [Put("old00", {"n": 2})])

    store, _ = made(settings, race)
    store.write("p", [Put(f"old{i:02}", {}, expires_at=time.time() - 5) for i in range(30)])
    assert list(store.query("p")) == []
    found = store.get("p", "old00")
    assert found is not None
    assert found.body == {"n": 2}


def test_a_body_is_in_pieces_and_a_foreign_row_is_told(settings: dict[str, str], ports: Platform) -> None:
    client = table_client(settings["OMNI_STORE_TABLE"], Identity(settings))()
    ports.store.write("p", [Put("k", {"text": "🙂" * 40_000})])
    row = next(iter(client.list_entities()))
    assert [name for name in row if name.startswith("b")] == ["b0", "b1", "b2"]
    assert all(len(row[f"b{i}"].encode("utf-16-le")) <= 65_536 for i in range(3))
    client.upsert_entity({"PartitionKey": "p", "RowKey": "mine", "text": "SECRET-VALUE"})
    with pytest.raises(SourceError, match="not ours") as caught:
        ports.store.get("p", "mine")
    assert "SECRET-VALUE" not in str(caught.value.to_dict("r"))


REFUSALS: list[tuple[int, str, type[Error], str]] = [
    (404, "TableNotFound", ConfigInvalid, "OMNI_STORE_TABLE"),
    (403, "AuthorizationPermissionMismatch", SourceAuth, "tables/entities/read"),
    (403, "AuthorizationFailure", SourceAuth, "tables/entities/read"),
    (401, "InvalidAuthenticationInfo", SourceAuth, "AZURE_CLIENT_ID"),
    (503, "ServerBusy", RateLimitExhausted, "throttles"),
    (429, "AnotherWord", RateLimitExhausted, "throttles"),
    (500, "OperationTimedOut", SourceTimeout, "in time"),
    (504, "GatewayTimeout", SourceTimeout, "in time"),
    (413, "RequestBodyTooLarge", ResourceLimit, "1 MiB"),
    (400, "PropertyValueTooLarge", ResourceLimit, "1 MiB"),
    (400, "InvalidInput", SourceError, "InvalidInput"),
    (500, "InternalError", SourceError, "InternalError"),
]


@pytest.mark.parametrize(("status", "code", "kind", "text"), REFUSALS)
def test_each_refusal_is_told_with_its_code_and_without_azures_words(
    cloud: AzureCloud, settings: dict[str, str], status: int, code: str, kind: type[Error], text: str
) -> None:
    with refusing(cloud, status, code) as url:
        store = platform(Settings(store_table=f"{url}/state"), settings).store
        with pytest.raises(kind, match=text) as caught:
            store.get("p", "k")
        assert "AZURES-OWN-WORDS" not in str(caught.value.to_dict("r"))
        if status >= 429:  # tried again, which takes its time
            return
        for write in ([Put("k", {})], [Put("k", {}), Delete("l")], [Put("k", {}, expect=ABSENT)]):
            with pytest.raises(kind):
                store.write("p", write)
        with pytest.raises(kind):
            store.query("p")


def test_out_of_reach_is_an_error_that_can_be_retried(settings: dict[str, str]) -> None:
    store: Store = platform(Settings(store_table=f"https://127.0.0.1:{free_port()}/a/state"), settings).store
    with pytest.raises(SourceError) as caught:
        store.get("p", "k")
    assert caught.value.retryable


@pytest.mark.parametrize("url", ["omnisentinel", "http://a.table.core.windows.net/t", "https://a.table.core.windows.net",
                                 "https://a.table.core.windows.net/t?sig=SECRET", ""])  # fmt: skip
def test_a_url_of_another_shape_names_the_setting(settings: dict[str, str], url: str) -> None:
    with pytest.raises(ConfigInvalid, match="OMNI_STORE_TABLE"):
        platform(Settings(store_table=url), settings).store.get("p", "k")


@pytest.mark.parametrize("url", [
    "postgresql://ann:HUNTER2@db.example.com/omni", "https://ann:HUNTER2@a.table.core.windows.net/t",
    "https://a.table.core.windows.net/t?sig=HUNTER2", "https://a.table.core.windows.net/t#HUNTER2",
    "https://[HUNTER2/t", "https://a\u2100HUNTER2/t",
])  # fmt: skip
def test_a_value_that_may_hold_a_password_is_never_told(settings: dict[str, str], url: str) -> None:
    made = platform(
        Settings(store_table=url, secret_prefix=url, objects=url, queue=url, key=url, schedule_group=url), settings
    )
    assert "HUNTER2" not in str(made.facts)
    assert made.objects is not None
    assert made.queue is not None
    assert made.keys is not None
    assert made.scheduler is not None
    uses = {
        "STORE_TABLE": lambda: made.store.get("p", "k"), "SECRET_PREFIX": lambda: made.secrets.get("key"),
        "OBJECTS": lambda: made.objects.get("a"), "QUEUE": lambda: made.queue.send({}),
        "KEY": lambda: made.keys.wrap("t", b"k" * 32, {}), "SCHEDULE_GROUP": lambda: made.scheduler.list(),
    }  # fmt: skip
    for name, use in uses.items():
        with pytest.raises(ConfigInvalid, match=f"OMNI_{name} has to be") as caught:
            use()
        assert "HUNTER2" not in str(caught.value.to_dict("r"))
        assert caught.value.__context__ is None


def test_what_is_told_of_a_deployment_are_its_resources(settings: dict[str, str]) -> None:
    table, prefix = "https://a.table.core.windows.net/state", "https://v.vault.azure.net/secrets/"
    facts = platform(Settings(store_table=table, secret_prefix=prefix), settings).facts
    assert facts == {"state": f"Azure table {table}", "secrets": f"Key Vault, {prefix}*"}
