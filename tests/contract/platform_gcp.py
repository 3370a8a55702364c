"""Google Cloud's ports; see ``conftest``.

Firestore and Pub/Sub against Google's own emulators, the others against what ``tests.runtimes.google_*`` answers to
Google's own clients.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.ports import Keys, Objects, Owner, Queue, Scheduler, Secrets, Store
from core.settings import Settings
from handlers.gcp.keys import GcpKeys
from handlers.gcp.objects import GcpObjects
from handlers.gcp.platform import GcpOwner
from handlers.gcp.queue import GcpQueue
from handlers.gcp.scheduler import GcpScheduler
from handlers.gcp.secrets import GcpSecrets
from handlers.secrets import SECRET_TTL_S
from tests.contract.gcp import AddressedStore, clients, environment, fakes, open_store, storage_fake, subscribed, unique
from tests.runtimes import google_emulators

PLACES = ("Secret Manager", "OMNI_SECRET_PREFIX")
INEXPRESSIBLE = "0 9 L * *"


@contextmanager
def store(_folder: Path) -> Iterator[Store]:
    yield open_store(google_emulators.firestore().address, unique("state"))


def address(store: Store) -> str:
    assert isinstance(store, AddressedStore)
    return store.address


def reopen(address: str) -> Store:
    return open_store(*address.split(" "))


@contextmanager
def secrets(_folder: Path) -> Iterator[tuple[Secrets, Callable[[str, str | None], None]]]:
    prefix, now = f"projects/p/secrets/{unique('omni')}-", [0.0]

    def put(name: str, value: str | None) -> None:
        """A change is seen when the kept value is a minute old: the clock goes on by that."""
        now[0] += SECRET_TTL_S
        if value is None:
            del fakes().secrets[prefix + name]
        else:
            fakes().add(prefix + name, value)

    yield GcpSecrets(clients(fakes().url).secrets, prefix, lambda: now[0]), put


@contextmanager
def owner(_folder: Path) -> Iterator[Owner]:
    yield GcpOwner("omnisentinel-watch-00001-abc")


@contextmanager
def objects(_folder: Path) -> Iterator[Objects]:
    storage_fake().buckets["bucket-of-tests"].clear()
    made = clients()
    with environment("STORAGE_EMULATOR_HOST", storage_fake().url):
        made.storage()
    yield GcpObjects(made.storage, "bucket-of-tests")


@contextmanager
def queue(_folder: Path) -> Iterator[tuple[Queue, Callable[[], list[dict[str, Any]]]]]:
    emulator = google_emulators.pubsub().address
    topic, taken = subscribed(emulator)
    made = clients()
    with environment("PUBSUB_EMULATOR_HOST", emulator):
        made.publisher()
    yield GcpQueue(made.publisher, topic), lambda: [json.loads(body) for body in taken()]


@contextmanager
def schedulers(_folder: Path) -> Iterator[tuple[Scheduler, Scheduler]]:
    parent = f"projects/{unique('p')}/locations/europe-west3"

    def made(deployment: str) -> Scheduler:
        settings = Settings(
            deployment=deployment, schedule_group=parent, schedule_target="https://watch.example.run.app/",
            schedule_role="timers@p.iam.gserviceaccount.com",
        )  # fmt: skip
        return GcpScheduler(clients(fakes().url).scheduler, settings)

    yield made("omni"), made("omni-a")


@contextmanager
def keys(_folder: Path) -> Iterator[tuple[Keys, Callable[[str], None]]]:
    ring = f"projects/p/locations/europe-west3/keyRings/{unique('r')}/cryptoKeys"
    for tenant in ("acme", "other"):
        fakes().keys[f"{ring}/{tenant}"] = os.urandom(32)
    yield GcpKeys(clients(fakes().url).kms, ring + "/{tenant}"), lambda t: fakes().disabled.add(f"{ring}/{t}")
