"""The one place that talks HTTP: guard, timeouts, retries, rate limits, size limits, redaction.

What it sends a secret to is decided here, and no message it makes holds a header, a query string or a body.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urljoin

from core.deadline import Deadline
from core.errors import ConfigInvalid, RateLimitExhausted, SourceAuth, SourceError
from core.ports import Secrets
from core.wire_guard import Guard, Target, is_public, parse
from core.wire_pool import BrokenError, Pool

ATTEMPTS = 3
REDIRECTS = 3
MAX_BYTES = 100_000_000
SHORT_WAIT_S = 5.0
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "private-token"})
_AGAIN = frozenset({429, 500, 502, 503, 504})
_REDIRECT = frozenset({301, 302, 303, 307, 308})


class Headers(Mapping[str, str]):
    """Case-insensitive. Made from names in lower case; repeated headers are joined by a comma."""

    def __init__(self, items: Mapping[str, str]) -> None:
        self._items = items if isinstance(items, dict) else dict(items)

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()]

    def __iter__(self) -> Any:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@dataclass(frozen=True, slots=True)
class Response:
    """``body`` is whole and decoded. ``url``: where it came from in the end. ``calls``: requests made, with retries."""

    status: int
    headers: Headers
    body: bytes
    elapsed_ms: float
    url: str = ""
    calls: int = 1


class Credential(Protocol):
    """Something secret added at send time. ``name`` is how messages call it: the reference, never the value."""

    @property
    def name(self) -> str: ...

    def apply(self, secrets: Secrets, url: str, headers: dict[str, str]) -> str:
        """Add the credential to ``headers`` or to the URL, and return the URL."""
        ...


class Wire:
    """HTTP with a budget. Safe for use by many threads; connections are kept for warm reuse.

    ``network_allow``: hosts or CIDRs that may be reached although they are private. ``ca_file``: trust this too.
    """

    def __init__(self, secrets: Secrets, *, network_allow: Sequence[str] = (), ca_file: str | None = None) -> None:
        self.secrets = secrets
        self._guard = Guard(network_allow)
        self._pool = Pool(ca_file)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline: Deadline,
        retries: bool = True,
        credential: Credential | None = None,
        label: str = "",
        max_bytes: int = MAX_BYTES,
    ) -> Response:
        """Send one request and return the whole answer, whatever its status (``check`` maps statuses to errors).

        A GET is tried up to three times on connection errors, cut bodies, 429 and 5xx, within the deadline;
        other methods once. GET redirects are followed within the same origin only. A 401 to a credential that was
        kept is tried once more with the secret as it is now.
        ``label``: how messages call the target where the URL's path is itself a secret (a webhook's).
        Raises ConfigInvalid (unusable URL), SourceError (unreachable, cut, refused address), SourceTimeout.
        """
        given = dict(headers or {})
        started = time.monotonic()
        attempts = ATTEMPTS if retries and method == "GET" else 1
        calls, renewed = 0, False
        while True:
            calls += 1
            try:
                status, found, content, final = self._follow(
                    method, url, given, body, deadline, credential, label, max_bytes
                )
                if status == 401 and credential is not None and not renewed and deadline.left() > 0:
                    renewed = True
                    if self.secrets.forget(credential.name.removeprefix("secret:")):
                        continue  # it may have been rotated a moment ago
                wait = _pause(calls, found) if status in _AGAIN and calls < attempts else None
                if wait is None or wait > min(SHORT_WAIT_S, deadline.left() * 0.8):
                    elapsed = (time.monotonic() - started) * 1000
                    return Response(status, found, content, elapsed, final, calls)
            except BrokenError as err:
                wait = _pause(calls, None)
                if calls >= attempts or wait > deadline.left():
                    raise err.as_error from None
            time.sleep(wait)

    def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        credential: Credential | None,
        label: str,
        max_bytes: int,
    ) -> tuple[int, Headers, bytes, str]:
        target = parse(url)
        origin, name = target.origin, label or target.label
        for _ in range(REDIRECTS + 1):
            status, found, content = self._once(
                method, url, target, headers, body, deadline, credential, label or target.label, max_bytes
            )
            place = found.get("location")
            if method != "GET" or status not in _REDIRECT or not place:
                return status, found, content, url
            try:
                further = urljoin(url, place)
                target = parse(further)
            except (ValueError, ConfigInvalid):
                raise SourceError(f"{name} redirects to something that is no URL.", target=name) from None
            if target.origin != origin:
                # Whoever answers could send our credential anywhere: the caller sees the redirect itself.
                return status, found, content, url
            url = further
        raise SourceError(f"{name} redirects in a circle (more than {REDIRECTS} times).", target=name)

    def _once(
        self,
        method: str,
        url: str,
        target: Target,
        given: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        credential: Credential | None,
        name: str,
        max_bytes: int,
    ) -> tuple[int, Headers, bytes]:
        headers = {"Host": target.netloc, "Accept-Encoding": "gzip", "User-Agent": "omnisentinel", **given}
        secret = credential is not None or not _SECRET_HEADERS.isdisjoint(k.lower() for k in given)
        addresses = self._guard.addresses(target, deadline)
        if secret and target.scheme == "http":
            self._refuse_plain(target, addresses)
        if credential is not None:
            secret_url = credential.apply(self.secrets, url, headers)
            target = target if secret_url == url else parse(secret_url)
        broken: BrokenError | None = None
        for address in addresses:
            try:
                status, found, content = self._pool.exchange(
                    method, target, address, headers, body, deadline, name, max_bytes
                )
                return status, Headers(found), content
            except BrokenError as err:
                broken = err
                if not err.never_connected:
                    break
        self._guard.forget(target)
        assert broken is not None
        raise broken

    def _refuse_plain(self, target: Target, addresses: Sequence[str]) -> None:
        if any(is_public(a) and not self._guard.allowed(target.host, a) for a in addresses):
            raise ConfigInvalid(
                f"A credential would travel to {target.host} unencrypted. Use https:// in the URL.", key="url"
            )

    def close(self) -> None:
        """Close every kept connection."""
        self._pool.close()


def _pause(calls: int, headers: Headers | None) -> float:
    """Seconds to wait: what the server asks for, else exponential backoff with full jitter."""
    asked = retry_after_s(headers) if headers is not None else None
    return asked if asked is not None else random.uniform(0.05, 0.2 * 2**calls)


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that Retry-After (a number or a date) or a spent X-RateLimit-Reset asks for; None where neither is."""
    instant = time.time() if now is None else now
    asked = headers.get("retry-after", "").strip()
    if asked:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, float(asked))
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, parsedate_to_datetime(asked).timestamp() - instant)
    if headers.get("x-ratelimit-remaining", "").strip() == "0":
        with contextlib.suppress(ValueError):
            return max(0.0, float(headers.get("x-ratelimit-reset", "")) - instant)
    return None


def is_rate_limit(response: Response) -> bool:
    """429, or the 403 that some APIs (GitHub) answer with when a quota is spent."""
    if response.status == 429:
        return True
    spent = response.headers.get("x-ratelimit-remaining", "").strip() == "0"
    return response.status == 403 and (spent or "retry-after" in response.headers)


def check(response: Response, *, source: str, target: str, credential: str = "") -> Response:
    """Return a 2xx response, or raise what its status means.

    ``source``: the scope that messages and details name. ``target``: the URL without its query.
    ``credential``: the *name* of the secret that was sent, '' for none.
    """
    status = response.status
    if 200 <= status < 300:
        return response
    details: dict[str, Any] = {"source": source, "status": status, "target": target}
    if is_rate_limit(response):
        wait = retry_after_s(response.headers)
        raise RateLimitExhausted(
            f"Source {source}: the rate limit is used up"
            + (f"; try again in {wait:.0f} s." if wait is not None else "; try again later."),
            retry_after_ms=int((60.0 if wait is None else wait) * 1000),
            scope=source,
            **details,
        )
    if status in (401, 403):
        used = f"the credential {credential}" if credential else "the request without a credential"
        verb = "does not know" if status == 401 else "does not allow"
        raise SourceAuth(
            f"Source {source} {verb} {used} ({status} at {target}). Check the secret and its permissions.",
            credential=credential or None,
            **details,
        )
    raise SourceError(f"Source {source}: {target} {_MEANING.get(status) or _meaning(status)}.", **details)


_MEANING = {
    404: "was not found (404): check the name and the base_url, and whether the credential may see it",
    410: "is gone (410)",
    422: "refused the request's parameters (422)",
}


def _meaning(status: int) -> str:
    if status >= 500:
        return f"answered with an error of its own ({status}), {ATTEMPTS} times"
    if 300 <= status < 400:
        return f"redirects to another host ({status}), which is not followed: correct the base_url"
    return f"refused the request ({status})"
