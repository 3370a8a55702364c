"""One Google Cloud project for functions under test: emulators and fakes, and the variables that lead to them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.handlers.conftest import SECRETS
from tests.runtimes import google_emulators as emulators
from tests.runtimes.google_fakes import GoogleFakes
from tests.runtimes.google_storage import GoogleStorage

PROJECT = emulators.PROJECT


class GoogleCloud:
    """``with GoogleCloud() as cloud: Function(..., cloud.env)``: a state, secrets, a bucket and a topic of its own."""

    def __init__(self, secrets: Mapping[str, str] = SECRETS) -> None:
        self.firestore, self.pubsub = emulators.firestore().address, emulators.pubsub().address
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.fakes, self.storage = GoogleFakes(), GoogleStorage(buckets={self.name: {}})
        self.prefix = f"projects/{PROJECT}/secrets/{self.name}-"
        self.topic = f"projects/{PROJECT}/topics/{self.name}"
        for name, value in secrets.items():
            self.fakes.add(self.prefix + name, value)
        os.environ["PUBSUB_EMULATOR_HOST"] = self.pubsub
        from google.pubsub_v1 import PublisherClient, SubscriberClient

        self.publisher, self.subscriber = PublisherClient(), SubscriberClient()
        self.publisher.create_topic(name=self.topic)

    @property
    def env(self) -> dict[str, str]:
        return {
            "FIRESTORE_EMULATOR_HOST": self.firestore, "PUBSUB_EMULATOR_HOST": self.pubsub,
            "STORAGE_EMULATOR_HOST": self.storage.url, "OMNI_ENDPOINT_URL": self.fakes.url,
            "OMNI_STORE_TABLE": f"projects/{PROJECT}/databases/(default)/documents/{self.name}",
            "OMNI_SECRET_PREFIX": self.prefix, "OMNI_OBJECTS": self.name, "OMNI_QUEUE": self.topic,
        }  # fmt: skip

    def push_to(self, url: str, attempts: int = 5) -> str:
        """A push subscription as Terraform makes it, with a topic for dead letters; returns a pull one of those."""
        dead, letters = self.topic + "-dead", f"projects/{PROJECT}/subscriptions/{self.name}-dead"
        self.publisher.create_topic(name=dead)
        self.subscriber.create_subscription(name=letters, topic=dead)
        self.subscriber.create_subscription(request={
            "name": f"projects/{PROJECT}/subscriptions/{self.name}", "topic": self.topic,
            "push_config": {"push_endpoint": url}, "ack_deadline_seconds": 10,
            "dead_letter_policy": {"dead_letter_topic": dead, "max_delivery_attempts": attempts},
            "retry_policy": {"minimum_backoff": {"seconds": 0}, "maximum_backoff": {"seconds": 1}},
        })  # fmt: skip
        return letters

    def take(self, subscription: str, timeout_s: float = 20.0) -> list[Any]:
        """Messages that are there within that time."""
        request = {"subscription": subscription, "max_messages": 10}
        return list(self.subscriber.pull(request=request, timeout=timeout_s).received_messages)

    def __enter__(self) -> GoogleCloud:
        return self

    def __exit__(self, *_: object) -> None:
        self.fakes.close()
        self.storage.close()


def source(folder: Path) -> Path:
    """A function's source: the shim of a bundle, for a function is never rooted in handlers/gcp."""
    from infra.bundle import SHIMS

    path = folder / "main.py"
    path.write_text(SHIMS["gcp"]["main.py"])
    return path
