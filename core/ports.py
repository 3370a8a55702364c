"""What core asks of a cloud. Every cloud (the laptop is one) provides these, and one contract test runs on all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """The result must: return a value that was the newest at most a minute ago; raise ConfigInvalid naming the secret
    and where it was looked for. ``forget``: for who was refused with a value; True where a kept one was dropped, so
    that asking again may give a rotated one.
    """

    def get(self, name: str) -> str: ...

    def forget(self, name: str) -> bool: ...


class Owner(Protocol):
    """Who this process is, and whether another has certainly ended.

    ``gone`` may say True only when it is certain; False means unknown, and the lease's expiry decides.
    """

    def name(self) -> str: ...

    def gone(self, owner: str) -> bool: ...


class Objects(Protocol):
    """Blobs by name.

    The caller guarantees: a name is 1 to 500 characters without control characters; a body has at most 100 MB.
    The result must: keep each name apart from every other (``a`` and ``a/b``, ``..``, ``%2F`` are only names); be
    read-your-writes; never show half a blob, nor an expired one; with ``only_if_absent`` raise StateConflict where the
    name is taken by a blob that has not expired, so that of many who try one wins; raise SourceTimeout, SourceError or
    SourceAuth as Store does. A blob that is not there is deleted without complaint.
    ``expires_at``: seconds since the epoch; the service itself may remove the bytes up to two days later.
    """

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None: ...

    def delete(self, name: str) -> None: ...


class Queue(Protocol):
    """At-least-once hand-over to the **work** function, in any order.

    The caller guarantees: a body is a JSON object of at most 32 kB.
    The result must: return only when the service has taken the message for good; raise as Store does.
    """

    def send(self, body: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """One timer of **watch**.

    ``name``: the alert's, or ``sweep``. ``cron``: five fields as in the project; ``timezone``: an IANA name.
    ``payload``: what watch is sent, ``{"alert": NAME}`` or ``{"sweep": true}``; the adapter adds ``scheduled_at`` in
    its service's own way where the service knows it.
    """

    name: str
    cron: str
    timezone: str
    payload: Mapping[str, Any]


class Scheduler(Protocol):
    """The timers of one deployment; what other deployments in the account have is neither seen nor touched.

    The result must: raise ConfigInvalid naming the schedule where the service cannot express it exactly, before any
    call; make ``upsert`` and ``delete`` safe to repeat; return from ``list``, sorted by name, what ``upsert`` was
    given, with ``cron`` as the service's own text where somebody has changed the timer by hand; raise as Store does.
    """

    def upsert(self, schedule: Schedule) -> None: ...

    def delete(self, name: str) -> None: ...

    def list(self) -> Sequence[Schedule]: ...


class Keys(Protocol):
    """Wraps and unwraps data keys under a tenant's key.

    The caller guarantees: a data key is 16 to 64 bytes; ``context`` is at most 8 short texts, none of them secret.
    The result must: bind tenant and context to the wrapped key, so that ``unwrap`` with any other raises SourceAuth,
    as it does for bytes that were altered and for a key that was disabled; never write a data key anywhere.
    """

    def wrap(self, tenant: str, key: bytes, context: Mapping[str, str]) -> bytes: ...

    def unwrap(self, tenant: str, wrapped: bytes, context: Mapping[str, str]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Platform:
    """The ports of one cloud. A port that is None is not there yet on that cloud; who needs it says so clearly.

    ``answer_bytes``: the largest HTTP answer that the cloud lets through, None where there is no limit;
    ``answer_size``: how it counts a body.
    """

    name: str
    secrets: Secrets
    store: Store
    owner: Owner
    objects: Objects | None = None
    queue: Queue | None = None
    scheduler: Scheduler | None = None
    keys: Keys | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    answer_bytes: int | None = None
    answer_size: Callable[[bytes], int] = len
