"""Blobs and the queue beyond the contract: names, lost answers, refusals."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from core.errors import ConfigInvalid, Error, RateLimitExhausted, ResourceLimit, SourceAuth, SourceError, StateConflict
from core.ports import Platform
from core.settings import Settings
from handlers.azure.clients import Identity
from handlers.azure.objects import BlobObjects, blob_name, container_client
from handlers.azure.platform import platform
from handlers.azure.queue import StorageQueue
from tests.runtimes.azure_cloud import AzureCloud
from tests.runtimes.azure_refusing import refusing

NAMES = [
    "a",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "a.",
    "a/.",
    "..",
    ".",
    "a/../b",
    "a%2Fb",
    "a%2fb",
    "%-",
    "A",
    "é",
    "x" * 400,
    "🙂" * 200,
]


def test_blob_names_are_azures_and_no_two_meet() -> None:
    made = [blob_name(n) for n in NAMES]
    assert len(set(made)) == len(NAMES)
    for name in made:
        assert len(name) <= 1_024
        assert not name.endswith((".", "/"))
        assert all(s not in ("", ".", "..") for s in name.split("/"))
    assert blob_name("projects/project-0123456789ab.zip") == "projects/project-0123456789ab.zip"


def test_a_creation_whose_answer_was_lost_is_known_again(settings: dict[str, str]) -> None:
    from azure.core.exceptions import ServiceResponseError

    client = container_client(settings["OMNI_OBJECTS"], Identity(settings))
    transport = client._client._client._pipeline._transport
    send, sent = transport.send, []

    def lossy(request: Any, **kwargs: Any) -> Any:
        answer = send(request, **kwargs)
        sent.append(request.method)
        if len(sent) == 1:
            raise ServiceResponseError("reset")
        return answer

    transport.send = lossy
    objects = BlobObjects(Identity(settings), settings["OMNI_OBJECTS"])
    objects._made = client
    objects.put("a", b"1", only_if_absent=True)
    assert objects.get("a") == b"1"
    assert len(sent) > 2
    with pytest.raises(StateConflict):
        objects.put("a", b"2", only_if_absent=True)


def test_an_expired_blob_that_is_renewed_meanwhile_is_not_overwritten(
    settings: dict[str, str], ports: Platform
) -> None:
    assert ports.objects is not None
    ports.objects.put("a", b"old", expires_at=time.time() - 5)
    mine = BlobObjects(Identity(settings), settings["OMNI_OBJECTS"])
    alive, other = mine._alive, ports.objects

    def renewed(name: str, metadata: dict[str, str]) -> bool:
        other.put("a", b"theirs")
        return alive(name, metadata)

    mine._alive = renewed  # type: ignore[assignment,method-assign]
    with pytest.raises(StateConflict):
        mine.put("a", b"mine", only_if_absent=True)
    assert ports.objects.get("a") == b"theirs"


REFUSALS = [
    (404, "ContainerNotFound", ConfigInvalid, "OMNI_OBJECTS"),
    (403, "AuthorizationPermissionMismatch", SourceAuth, "containers/blobs/"),
    (503, "ServerBusy", RateLimitExhausted, "throttles"),
    (400, "InvalidHeaderValue", SourceError, "InvalidHeaderValue"),
]


@pytest.mark.parametrize(("status", "code", "kind", "text"), REFUSALS)
def test_each_refusal_of_a_blob_is_told(
    cloud: AzureCloud, settings: dict[str, str], status: int, code: str, kind: type[Error], text: str
) -> None:
    with refusing(cloud, status, code) as url:
        objects = platform(Settings(objects=f"{url}/box"), settings).objects
        assert objects is not None
        calls = [lambda: objects.put("a", b""), lambda: objects.get("a"), lambda: objects.delete("a"),
                 lambda: objects.put("a", b"", only_if_absent=True)]  # fmt: skip
        for call in calls[: 1 if status == 503 else 4]:
            with pytest.raises(kind, match=text) as caught:
                call()
            assert "AZURES-OWN-WORDS" not in str(caught.value.to_dict("r"))


def test_without_their_settings_ports_say_which(cloud: AzureCloud) -> None:
    made = platform(Settings(), cloud.environment())
    assert made.objects is not None
    assert made.queue is not None
    with pytest.raises(ConfigInvalid, match="OMNI_OBJECTS"):
        made.objects.get("a")
    with pytest.raises(ConfigInvalid, match="OMNI_QUEUE"):
        made.queue.send({})
    bad = platform(Settings(objects="box", queue="http://a.queue.core.windows.net/q"), cloud.environment())
    assert bad.objects is not None
    assert bad.queue is not None
    with pytest.raises(ConfigInvalid, match="OMNI_OBJECTS"):
        bad.objects.get("a")
    with pytest.raises(ConfigInvalid, match="OMNI_QUEUE"):
        bad.queue.send({})


def test_a_message_is_base64_as_the_functions_host_reads_it(settings: dict[str, str], ports: Platform) -> None:
    assert ports.queue is not None
    ports.queue.send({"job": "ü"})
    raw = StorageQueue(Identity(settings), settings["OMNI_QUEUE"])._client().receive_message().content
    assert json.loads(base64.b64decode(raw, validate=True)) == {"job": "ü"}


def test_a_message_over_azures_limit_is_refused_here(ports: Platform) -> None:
    assert ports.queue is not None
    ports.queue.send({"text": "x" * 49_000})
    with pytest.raises(ResourceLimit):
        ports.queue.send({"text": "x" * 49_152})


@pytest.mark.parametrize(("status", "code", "kind", "text"), [
    (404, "QueueNotFound", ConfigInvalid, "OMNI_QUEUE"),
    (403, "AuthorizationPermissionMismatch", SourceAuth, "queues/messages/add/action"),
    (400, "MessageTooLarge", SourceError, "MessageTooLarge"),
])  # fmt: skip
def test_each_refusal_of_the_queue_is_told(
    cloud: AzureCloud, settings: dict[str, str], status: int, code: str, kind: type[Error], text: str
) -> None:
    with refusing(cloud, status, code) as url:
        queue = platform(Settings(queue=f"{url}/jobs"), settings).queue
        assert queue is not None
        with pytest.raises(kind, match=text):
            queue.send({})
