"""Sends one message over one channel, once: no retries and no sleeps here, they live in the outbox.

Error (core.errors)
└── SourceError
    └── SendFailed    the channel said no, or did not answer; ``retryable`` says whether to try again
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.deadline import Deadline
from core.errors import CallerError, ConfigInvalid, Error, SourceError
from core.model import Channel
from core.notify.message import message
from core.ports import Secrets

TYPES = ("email", "slack", "webhook")


class SendFailed(SourceError):
    """``retryable``: the same message may be taken later. ``retry_after_ms``: not before, if the channel said so."""

    def __init__(self, text: str, *, retryable: bool, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(text, retry_after_ms=None if retry_after_s is None else int(retry_after_s * 1000), **details)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class SendResult:
    """``detail``: what the channel answered, for the history; no secret in it."""

    detail: str = ""


class Response(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Wire(Protocol):
    """What is needed of ``core.wire.Wire``: one guarded request, no retries."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        retries: bool,
        label: str,
        max_bytes: int,
    ) -> Response: ...


def send(
    event: Mapping[str, Any],
    channel: Channel,
    *,
    secrets: Secrets,
    wire: Wire,
    smtp: Mapping[str, Any],
    deadline: Deadline,
) -> SendResult:
    """Send ``event`` (with its message ``id`` and ``channel``) to ``channel``; return what the channel answered.

    Raises SendFailed; ConfigInvalid where a setting or a secret is missing or wrong; SourceTimeout or SourceError from
    the network, which are worth another try. No error holds a secret.
    """
    words = message(event)
    used = Resolver(secrets)
    try:
        if channel.type == "email":
            from core.notify.email import send_email

            return send_email(words, channel, used, smtp, deadline)
        if channel.type == "webhook":
            from core.notify.webhook import send_webhook

            return send_webhook(words, channel, used, wire, deadline)
        if channel.type == "slack":
            from core.notify.slack import send_slack

            return send_slack(words, channel, used, wire, deadline)
    except Error as error:
        raise used.redacted(error) from None
    raise ConfigInvalid(
        f"Channel {channel.name!r} has the type {channel.type!r}; known types are {', '.join(TYPES)}.",
        channel=channel.name,
    )


class Resolver:
    """Resolves ``secret:NAME`` and remembers the values, so that they can be kept out of errors."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        """The value of a reference; ``Bearer secret:NAME`` keeps its first word; other text is itself."""
        found = _REFERENCE.fullmatch(value)
        if found is None:
            return value
        secret = self._secrets.get(found["name"])
        self._values.add(secret)
        return (found["scheme"] or "") + secret

    def redacted(self, error: Error) -> Error:
        """The error, or a copy without the secrets its text or details quoted."""
        if not any(self._quoted(text) for text in (error.message, *map(str, error.details.values()))):
            return error
        clean = SendFailed(
            self._without(error.message),
            # A caller's error is mended by the caller, so it is tried again like those that are retryable.
            retryable=error.retryable or isinstance(error, CallerError),
            retry_after_s=None if error.retry_after_ms is None else error.retry_after_ms / 1000,
        )
        clean.details = {k: self._without(str(v)) for k, v in error.details.items()}
        return clean

    def _quoted(self, text: str) -> bool:
        return any(part in text for part in self._parts())

    def _without(self, text: str) -> str:
        for part in self._parts():
            text = text.replace(part, "***")
        return text

    def _parts(self) -> list[str]:
        """The secrets and, of those that are URLs, the path and query, which hold the token."""
        parts = set(self._values)
        for value in self._values:
            if "://" in value:
                path = value.split("://", 1)[1].partition("/")[2]
                parts.update(p for p in (path, *re.split(r"[/?&=]", path)) if len(p) > 5)
        return sorted(filter(None, parts), key=len, reverse=True)


_REFERENCE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9_-]* )?secret:(?P<name>\S+)")


def option(channel: Channel, name: str) -> str:
    """A text option that has to be there."""
    value = channel.options.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ConfigInvalid(f"Channel {channel.name!r} needs the option {name!r}.", channel=channel.name, key=name)
    return value.strip()


_MAX_ANSWER = 1_000_000
RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 worth another try. 409 is what a receiver answers while the first attempt with the same
idempotency key is still at work: not known to have arrived, so it is tried again under the same id."""


def exchange(
    channel: Channel, wire: Wire, method: str, url: str, headers: Mapping[str, str], body: bytes | None, left: Deadline
) -> SendResult:
    """One request, and what its answer means. No message shows the URL, which may be a secret itself."""
    label = f"Channel {channel.name!r}"
    answer = wire.send(
        method, url, headers=headers, body=body, deadline=left, retries=False, label=label, max_bytes=_MAX_ANSWER
    )
    return accepted(answer, channel)


def accepted(response: Response, channel: Channel) -> SendResult:
    """The result of a 2xx answer; SendFailed for every other: retryable for 5xx and ``RETRIED``, else final."""
    status = response.status
    if 200 <= status < 300:
        return SendResult(f"HTTP {status}")
    retryable = status >= 500 or status in RETRIED
    hint = "Its receiver cannot take it now." if retryable else "Check the channel's options."
    if 300 <= status < 400:
        hint = "Redirects are not followed: put the new address into the channel's url."
    raise SendFailed(
        f"Channel {channel.name!r} answered HTTP {status}. {hint}",
        retryable=retryable,
        retry_after_s=_retry_after(response) if retryable else None,
        channel=channel.name,
        http_status=status,
    )


def _retry_after(response: Response) -> float | None:
    from core.wire import retry_after_s

    asked = retry_after_s(response.headers)
    return None if asked is None else min(asked, 86_400.0)


def header_value(text: str, channel: Channel, name: str) -> str:
    """The text as a header's value; ConfigInvalid where it holds a line break or another control character."""
    if not text.isprintable() or not text.isascii():
        raise ConfigInvalid(
            f"Channel {channel.name!r}: the header {name!r} may only hold printable ASCII text.",
            channel=channel.name,
            key=name,
        )
    return text


def texts(value: Any) -> Iterable[str]:
    """An option that is one text or a list of texts."""
    if isinstance(value, str):
        return (value,)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else ()
