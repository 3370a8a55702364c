"""What core asks of a cloud. Every cloud (the laptop is one) provides these, and one contract test runs on all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """One stored document. ``version`` is opaque: it may only be handed back as ``expect``."""

    partition: str
    key: str
    version: str
    body: Mapping[str, Any]
    expires_at: float | None = None


ABSENT = ""
"""As ``Put.expect``: the item must not exist yet."""


@dataclass(frozen=True, slots=True)
class Put:
    """Store ``body`` (JSON-ready) under ``key``.

    ``expect`` None: whatever is there; ABSENT: only if nothing is there; else: only if the version is this one.
    ``expires_at``: seconds since the epoch after which readers no longer see the item.
    """

    key: str
    body: Mapping[str, Any]
    expect: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove ``key``; ``expect`` as in Put (deleting what is not there succeeds when ``expect`` is None)."""

    key: str
    expect: str | None = None


Change = Put | Delete


class Store(Protocol):
    """Items under (partition, key), with a version, written atomically within one partition.

    The caller guarantees: partition and key are 1 to 512 characters without control characters; at most 100
    changes a write, each key once; bodies are JSON objects of at most 350 kB.
    The result must: be read-your-writes on ``get`` and ``query``; order ``query`` by the key's UTF-8 bytes; never
    show an expired item (a Put with ABSENT over an expired item succeeds); apply all changes of a write or none;
    raise StateConflict exactly when an ``expect`` does not hold; raise SourceTimeout/SourceError/SourceAuth when
    the service cannot be reached, answers wrongly or refuses, naming the missing permission.
    """

    def get(self, partition: str, key: str) -> Item | None: ...

    def query(
        self,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Sequence[Item]:
        """Items with ``first <= key <= last``."""
        ...

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        """Apply all changes; return the new version of each Put ('' for each Delete), in order."""
        ...


class Secrets(Protocol):
    """The result must: return the newest value; raise ConfigInvalid naming the secret and where it was looked for."""

    def get(self, name: str) -> str: ...


class Owner(Protocol):
    """Who this process is, and whether another has certainly ended.

    ``gone`` may say True only when it is certain; False means unknown, and the lease's expiry decides.
    """

    def name(self) -> str: ...

    def gone(self, owner: str) -> bool: ...


class Objects(Protocol):
    """Blobs by name. ``put`` with ``only_if_absent`` raises StateConflict where the name is taken."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None: ...

    def delete(self, name: str) -> None: ...


class Queue(Protocol):
    """At-least-once hand-over to the **work** function."""

    def send(self, body: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """One alert's timer. ``cron`` has five fields; ``timezone`` is an IANA name."""

    name: str
    cron: str
    timezone: str
    payload: Mapping[str, Any]


class Scheduler(Protocol):
    def upsert(self, schedule: Schedule) -> None: ...

    def delete(self, name: str) -> None: ...

    def list(self) -> Sequence[Schedule]: ...


class Keys(Protocol):
    """Wraps and unwraps data keys under a tenant's key; ``context`` is bound to the result."""

    def wrap(self, tenant: str, key: bytes, context: Mapping[str, str]) -> bytes: ...

    def unwrap(self, tenant: str, wrapped: bytes, context: Mapping[str, str]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Platform:
    """The ports of one cloud. A port that is None is not there yet on that cloud; who needs it says so clearly."""

    name: str
    secrets: Secrets
    store: Store
    owner: Owner
    objects: Objects | None = None
    queue: Queue | None = None
    scheduler: Scheduler | None = None
    keys: Keys | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
