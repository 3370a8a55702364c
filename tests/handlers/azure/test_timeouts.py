"""A service that takes a connection and says nothing: every port gives up, and says so."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.errors import SourceAuth, SourceTimeout
from core.ports import ABSENT, Platform, Put
from core.settings import Settings
from handlers.azure import clients, keys, objects, queue, secrets
from handlers.azure import platform as platform_module
from handlers.azure.platform import platform
from tests.runtimes.azure_cloud import AzureCloud

SHORT = {"connection_timeout": 0.2, "read_timeout": 0.2, "retry_total": 0, "retry_connect": 0, "retry_read": 0}


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {**clients.NETWORK, **SHORT}
    for module in (clients, keys, platform_module, secrets):
        monkeypatch.setattr(module, "NETWORK", short)
    for module in (objects, queue):
        monkeypatch.setattr(module, "STORAGE", short)
    monkeypatch.setattr(objects, "_READ_S", 0.2)


CALLS: dict[str, Callable[[Platform], Any]] = {
    "get": lambda p: p.store.get("p", "k"),
    "query": lambda p: p.store.query("p"),
    "put": lambda p: p.store.write("p", [Put("k", {})]),
    "batch": lambda p: p.store.write("p", [Put("k", {}, ABSENT), Put("l", {})]),
    "secret": lambda p: p.secrets.get("k"),
    "blob read": lambda p: p.objects and p.objects.get("a"),
    "blob write": lambda p: p.objects and p.objects.put("a", b""),
    "send": lambda p: p.queue and p.queue.send({}),
    "wrap": lambda p: p.keys and p.keys.wrap("t", b"k" * 32, {}),
    "timers": lambda p: p.scheduler and p.scheduler.list(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.usefixtures("impatient")
def test_a_silent_service_is_a_timeout(cloud: AzureCloud, silent: int, call: str) -> None:
    url = f"https://127.0.0.1:{silent}"
    settings = Settings(
        store_table=f"{url}/a/state", secret_prefix=f"{url}/secrets/a-", objects=f"{url}/a/box", queue=f"{url}/a/jobs",
        key=f"{url}/keys/k", schedule_group="/subscriptions/s/resourceGroups/g", endpoint_url=url,
    )  # fmt: skip
    with pytest.raises(SourceTimeout) as caught:
        CALLS[call](platform(settings, cloud.environment()))
    assert caught.value.retryable


@pytest.mark.usefixtures("impatient")
def test_a_silent_identity_endpoint_is_no_endless_wait(
    cloud: AzureCloud, settings: dict[str, str], silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{silent}/msi/token")
    with pytest.raises((SourceTimeout, SourceAuth)):
        platform(Settings.from_env(settings), settings).store.get("p", "k")
