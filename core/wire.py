"""The one place that talks HTTP: guard, timeouts, retries, rate limits, size limits, redaction.

What it sends a secret to is decided here, and no message it makes holds a header, a query string or a body.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urljoin

import urllib3
from urllib3 import exceptions as failures

from core.deadline import Deadline
from core.errors import ConfigInvalid, Error, RateLimitExhausted, SourceAuth, SourceError, SourceTimeout
from core.ports import Secrets
from core.wire_guard import Guard, Target, is_public, parse

ATTEMPTS = 3
REDIRECTS = 3
MAX_BYTES = 100_000_000
SHORT_WAIT_S = 5.0
CONNECT_S = 10.0
POOLS = 64
CONNECTIONS = 32
_CHUNK = 262_144
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "private-token"})
_AGAIN = frozenset({429, 500, 502, 503, 504})


class Headers(Mapping[str, str]):
    """Case-insensitive; repeated headers are joined by a comma."""

    def __init__(self, items: Mapping[str, str]) -> None:
        self._items = {k.lower(): v for k, v in items.items()}

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
        self._ca_file = ca_file
        self._pools: OrderedDict[tuple[str, str, int, str], urllib3.HTTPConnectionPool] = OrderedDict()
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

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
        other methods once. GET redirects are followed within the same origin only.
        ``label``: how messages call the target where the URL's path is itself a secret (a webhook's).
        Raises ConfigInvalid (unusable URL), SourceError (unreachable, cut, refused address), SourceTimeout.
        """
        given = dict(headers or {})
        started = time.monotonic()
        attempts = ATTEMPTS if retries and method == "GET" else 1
        calls = 0
        while True:
            calls += 1
            try:
                status, found, content, final = self._follow(
                    method, url, given, body, deadline, credential, label, max_bytes
                )
                wait = _pause(calls, found) if status in _AGAIN and calls < attempts else None
                if wait is None or wait > min(SHORT_WAIT_S, deadline.left() * 0.8):
                    elapsed = (time.monotonic() - started) * 1000
                    return Response(status, found, content, elapsed, final, calls)
            except _BrokenError as err:
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
        origin = parse(url).origin
        for _ in range(REDIRECTS + 1):
            status, found, content = self._once(method, url, headers, body, deadline, credential, label, max_bytes)
            place = found.get("location")
            if method != "GET" or status not in (301, 302, 303, 307, 308) or not place:
                return status, found, content, url
            further = urljoin(url, place)
            if parse(further).origin != origin:
                # Whoever answers could send our credential anywhere: the caller sees the redirect itself.
                return status, found, content, url
            url = further
        name = label or parse(url).label
        raise SourceError(f"{name} redirects in a circle (more than {REDIRECTS} times).", target=name)

    def _once(
        self,
        method: str,
        url: str,
        given: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        credential: Credential | None,
        label: str,
        max_bytes: int,
    ) -> tuple[int, Headers, bytes]:
        headers = {"Accept-Encoding": "gzip", "User-Agent": "omnisentinel", **given}
        name = label or parse(url).label
        secret = credential is not None or not _SECRET_HEADERS.isdisjoint(k.lower() for k in headers)
        if credential is not None:
            url = credential.apply(self.secrets, url, headers)
        target = parse(url)
        headers["Host"] = target.netloc
        addresses = self._guard.addresses(target, deadline)
        if (
            secret
            and target.scheme == "http"
            and any(is_public(a) and not self._guard.allowed(target.host, a) for a in addresses)
        ):
            raise ConfigInvalid(
                f"A credential would travel to {target.host} unencrypted. Use https:// in the URL.", key="url"
            )
        broken: _BrokenError | None = None
        for address in addresses:
            try:
                return self._exchange(method, target, address, headers, body, deadline, name, max_bytes)
            except _BrokenError as err:
                broken = err
                if not err.never_connected:
                    break
        self._guard.forget(target)
        assert broken is not None
        raise broken

    def _exchange(
        self,
        method: str,
        target: Target,
        address: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        name: str,
        max_bytes: int,
    ) -> tuple[int, Headers, bytes]:
        left = deadline.need(name)
        pool = self._pool(target, address)
        try:
            raw = pool.urlopen(
                method,
                target.path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_S, left), read=left),
                preload_content=False,
            )
            try:
                content = _read(raw, deadline, max_bytes, name)
            except BaseException:
                raw.close()
                raise
            raw.release_conn()
        except failures.HTTPError as err:
            raise _as_broken(err, name, deadline) from None
        return raw.status, Headers(raw.headers), content

    def _pool(self, target: Target, address: str) -> urllib3.HTTPConnectionPool:
        key = (target.scheme, target.host, target.port, address)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._new_pool(target, address)
                if len(self._pools) > POOLS:
                    self._pools.popitem(last=False)[1].close()
            else:
                self._pools.move_to_end(key)
            return pool

    def _new_pool(self, target: Target, address: str) -> urllib3.HTTPConnectionPool:
        # The pool's host is the judged address, so there is no second look-up that could answer differently;
        # the certificate is still checked against the name.
        if target.scheme == "http":
            return urllib3.HTTPConnectionPool(address, target.port, maxsize=CONNECTIONS)
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if self._ca_file:
                self._tls.load_verify_locations(self._ca_file)
        return urllib3.HTTPSConnectionPool(
            address,
            target.port,
            maxsize=CONNECTIONS,
            ssl_context=self._tls,
            server_hostname=target.host,
            assert_hostname=target.host,
        )

    def close(self) -> None:
        """Close every kept connection."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            pool.close()


class _BrokenError(Exception):
    """No whole answer came; ``as_error`` is what the caller sees when no attempt is left."""

    def __init__(self, as_error: Error, *, never_connected: bool = False) -> None:
        super().__init__(as_error.message)
        self.as_error = as_error
        self.never_connected = never_connected


def _as_broken(err: failures.HTTPError, name: str, deadline: Deadline) -> _BrokenError:
    """Say what happened from the kind of failure alone: urllib3's own texts repeat the URL with its query."""
    if isinstance(err, failures.NewConnectionError | failures.ConnectTimeoutError):
        slow = isinstance(err, failures.ConnectTimeoutError) and not isinstance(err, failures.NewConnectionError)
        what = "does not accept a connection in time" if slow else "cannot be reached (connection refused or no route)"
        return _BrokenError(
            SourceError(f"{name} {what}. Check the URL and the network.", target=name), never_connected=True
        )
    if isinstance(err, failures.TimeoutError):
        return _BrokenError(SourceTimeout(f"{name} did not answer within {deadline.seconds:g} s.", target=name))
    if isinstance(err, failures.SSLError):
        return _BrokenError(SourceError(f"{name}: the TLS certificate or handshake is not valid.", target=name))
    if isinstance(err, failures.DecodeError):
        return _BrokenError(SourceError(f"{name}: the answer's compression is broken.", target=name))
    return _BrokenError(SourceError(f"{name}: the connection broke before the whole answer came.", target=name))


def _read(raw: Any, deadline: Deadline, max_bytes: int, name: str) -> bytes:
    """The whole decoded body, within the deadline and the size limit (also of what a small gzip unfolds to)."""
    chunks: list[bytes] = []
    size = 0
    while True:
        chunk = raw.read1(_CHUNK)
        if not chunk:
            break
        size += len(chunk)
        if size > max_bytes:
            raise SourceError(f"{name}: the answer is larger than {max_bytes} bytes.", target=name)
        chunks.append(chunk)
        deadline.need(name)
    return b"".join(chunks) if len(chunks) != 1 else chunks[0]


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
