"""Google Cloud's ports for ``conftest``, and which calls they made of which service (``CALLS``)."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from core.settings import Settings
from handlers.gcp.clients import Clients
from handlers.gcp.store import FirestoreStore
from tests.runtimes.google_emulators import PROJECT
from tests.runtimes.google_fakes import GoogleFakes
from tests.runtimes.google_storage import GoogleStorage

CALLS: set[str] = set()
"""``google.firestore.v1.Firestore/Commit`` and so on: what Google's clients sent in this process."""


class _Recorded(logging.Handler):
    """Google's gRPC transports log every request they send, by the RPC's name, where DEBUG is on."""

    def emit(self, record: logging.LogRecord) -> None:
        name = getattr(record, "rpcName", "")
        if name:
            CALLS.add(str(name).lstrip("/"))


class _Streams(grpc.UnaryStreamClientInterceptor):
    """They do not log the calls that are answered by a stream: these are seen as they pass."""

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        CALLS.add(str(details.method).lstrip("/"))
        return continuation(details, request)


@contextmanager
def _streams_recorded() -> Iterator[None]:
    """For channels made within."""
    plain = grpc.insecure_channel
    grpc.insecure_channel = lambda *given, **named: grpc.intercept_channel(plain(*given, **named), _Streams())
    try:
        yield
    finally:
        grpc.insecure_channel = plain


def record() -> None:
    for package in ("cloud.firestore_v1", "cloud.secretmanager_v1", "cloud.kms_v1", "cloud.scheduler_v1", "pubsub_v1"):
        logger = logging.getLogger(f"google.{package}")
        if not any(isinstance(handler, _Recorded) for handler in logger.handlers):
            logger.addHandler(_Recorded())
            logger.setLevel(logging.DEBUG)
            logger.propagate = False


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """``name`` set while a client is made: Google's libraries read their emulators' addresses from the environment."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None) if before is None else os.environ.update({name: before})


@functools.cache
def fakes() -> GoogleFakes:
    made = GoogleFakes()
    atexit.register(made.close)
    return made


@functools.cache
def storage_fake() -> GoogleStorage:
    made = GoogleStorage(buckets={"bucket-of-tests": {}})
    atexit.register(made.close)
    return made


def clients(endpoint: str = "") -> Clients:
    record()
    return Clients(Settings(endpoint_url=endpoint))


def firestore_client(address: str) -> Callable[[], Any]:
    made = clients()
    with environment("FIRESTORE_EMULATOR_HOST", address), _streams_recorded():
        assert made.firestore(PROJECT, "(default)")._firestore_api, "made now, with its channel"
    return lambda: made.firestore(PROJECT, "(default)")


class AddressedStore(FirestoreStore):
    """A store that another process can find again."""

    address = ""


def open_store(address: str, collection: str) -> AddressedStore:
    store = AddressedStore(firestore_client(address), collection)
    store.address = f"{address} {collection}"
    return store


def unique(start: str) -> str:
    return f"{start}-{uuid.uuid4().hex[:10]}"


def subscribed(address: str) -> tuple[str, Callable[[], list[bytes]]]:
    """A topic of its own, and how to take every message that its subscription has."""
    from google.pubsub_v1 import PublisherClient, SubscriberClient

    with environment("PUBSUB_EMULATOR_HOST", address):
        publisher, subscriber = PublisherClient(), SubscriberClient()
    topic, subscription = (f"projects/{PROJECT}/{kind}/{unique('t')}" for kind in ("topics", "subscriptions"))
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=subscription, topic=topic)

    def taken() -> list[bytes]:
        found: list[bytes] = []
        while True:
            try:
                reply = subscriber.pull(
                    request={"subscription": subscription, "max_messages": 10}, timeout=2 if found else 10, retry=None
                )
            except Exception as error:
                if getattr(error, "grpc_status_code", None) is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
                return found
            if not reply.received_messages:
                return found
            ids = [message.ack_id for message in reply.received_messages]
            subscriber.acknowledge(request={"subscription": subscription, "ack_ids": ids})
            found += [bytes(message.message.data) for message in reply.received_messages]

    return topic, taken
