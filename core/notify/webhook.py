"""Webhooks: the event as one flat JSON object, signed as Standard Webhooks, with an idempotency key.

Body: the event (see ``core.alert.event``) with ``type`` (``alert.<kind>``), ``timestamp``, ``subject`` and ``text``.
Headers: ``Idempotency-Key`` and ``webhook-id`` (the message's id, the same at every attempt), ``webhook-timestamp``
(seconds of this attempt) and, where ``sign_with`` is set, ``webhook-signature: v1,<base64 HMAC-SHA256>`` over
``id.timestamp.body``. The key is ``whsec_<base64>`` or else the text itself.
Options: url, method (POST, PUT, PATCH, or GET with the gist as parameters and no body), headers, sign_with.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from core.deadline import Deadline
from core.errors import ConfigInvalid
from core.model import Channel
from core.notify.message import Message
from core.notify.send import Resolver, SendResult, Wire, exchange, header_value, option

METHODS = ("POST", "PUT", "PATCH", "GET")
_RESERVED = frozenset(
    {"idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature", "content-length", "host"}
)


def send_webhook(message: Message, channel: Channel, resolve: Resolver, wire: Wire, deadline: Deadline) -> SendResult:
    """Send once; see ``send.accepted`` for which answers count as sent, as worth a retry, and as final."""
    url = resolve(option(channel, "url"))
    method = str(channel.options.get("method", "POST")).upper()
    if method not in METHODS:
        raise ConfigInvalid(
            f"Channel {channel.name!r}: method has to be one of {', '.join(METHODS)}.",
            channel=channel.name,
            key="method",
        )
    body: bytes | None = None
    if method == "GET":
        url += ("&" if "?" in url else "?") + urlencode(_gist(message))
    else:
        body = payload(message)
    now = str(int(time.time()))
    headers = {
        "User-Agent": "OmniSentinel",
        **_own_headers(channel, resolve),
        **({} if body is None else {"Content-Type": "application/json"}),
        "Idempotency-Key": message.id,
        "webhook-id": message.id,
        "webhook-timestamp": now,
    }
    if channel.options.get("sign_with"):
        key = signing_key(resolve(option(channel, "sign_with")), channel)
        headers["webhook-signature"] = signature(key, message.id, now, body or b"")
    return exchange(channel, wire, method, url, headers, body, deadline)


def payload(message: Message) -> bytes:
    """The body: the same bytes at every attempt."""
    event = message.event
    body = {
        "type": f"alert.{event['kind']}",
        "timestamp": event["slot"],
        **event,
        # As sqlsentinel called them, for receivers that were written for it.
        "alert_name": event["alert"],
        "status": event["severity"],
        "subject": message.subject,
        "text": message.text,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def signing_key(secret: str, channel: Channel) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConfigInvalid(
            f"Channel {channel.name!r}: what sign_with names begins with 'whsec_' but is not base64 after it.",
            channel=channel.name,
            key="sign_with",
        ) from None


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")


def _gist(message: Message) -> dict[str, str]:
    event = message.event
    return {
        "id": message.id,
        "alert": message.alert,
        "kind": str(event["kind"]),
        "severity": str(event["severity"]),
        "slot": str(event["slot"]),
        "subject": message.subject,
    }


def _own_headers(channel: Channel, resolve: Resolver) -> dict[str, str]:
    own = channel.options.get("headers") or {}
    if not isinstance(own, Mapping):
        raise ConfigInvalid(
            f"Channel {channel.name!r}: headers has to map names to values.", channel=channel.name, key="headers"
        )
    found: dict[str, str] = {}
    for name, value in own.items():
        if str(name).lower() in _RESERVED:
            raise ConfigInvalid(
                f"Channel {channel.name!r}: the header {name!r} is set by OmniSentinel itself.",
                channel=channel.name,
                key=str(name),
            )
        found[header_value(str(name), channel, str(name))] = header_value(resolve(str(value)), channel, str(name))
    return found
