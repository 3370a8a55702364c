"""Where a request may go: every host is resolved and judged here, and the connection goes to the judged address.

A user gives base URLs and webhook addresses; without this, any of them reaches the cloud's metadata service or the
network behind the function.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from core.deadline import Deadline
from core.errors import ConfigInvalid, SourceError, SourceTimeout

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
REMEMBER_S = 30.0
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]*:[0-9a-f:.]*")
_URL_SAFE = "/?&=%:;,+$@!*'()~#[]"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once, so that what is judged and what is connected to cannot differ.

    ``path`` includes the query. ``host`` is lower-case, an IPv6 address without brackets.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def label(self) -> str:
        """For messages: without the query, which may carry a key."""
        return f"{self.origin}{self.path.split('?')[0]}"


def parse(url: str) -> Target:
    """Take ``url`` apart; ConfigInvalid (never repeating the URL, which may hold a secret) where it is not usable."""
    if _FORBIDDEN.search(url):
        raise ConfigInvalid("A URL may not contain spaces, control characters or backslashes.", key="url")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigInvalid("A URL cannot be read. It has to look like https://host/path.", key="url") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigInvalid("A URL has to start with https:// or http:// and name a host.", key="url")
    if "@" in parts.netloc:
        raise ConfigInvalid(
            f"The URL of {host} holds a user or password. Take it out and use a secret reference.", key="url"
        )
    if not _HOST.fullmatch(host):
        raise ConfigInvalid("The host name in a URL has characters that no host name has.", key="url")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        path = quote(path, safe=_URL_SAFE)
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


class Guard:
    """Judges hosts. ``allow``: host names or CIDRs that may be reached although they are not public."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._hosts: set[str] = set()
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._hosts.add(entry.lower())
        self._known: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def addresses(self, target: Target, deadline: Deadline) -> tuple[str, ...]:
        """The addresses of ``target``, all judged. SourceError where one is private, or the name has none."""
        key = (target.host, target.port)
        with self._lock:
            known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < REMEMBER_S:
            return known[1]
        found = _resolve(target.host, target.port, deadline)
        for address in found:
            if not (is_public(address) or self.allowed(target.host, address)):
                raise SourceError(
                    f"{target.host} is at an address that is not public, so it is not called. If that is intended, "
                    "add the host or its network to network.allow in omni.yaml.",
                    host=target.host,
                )
        with self._lock:
            self._known[key] = (time.monotonic(), found)
        return found

    def allowed(self, host: str, address: str) -> bool:
        """Whether ``network.allow`` names the host or a network around ``address``."""
        return host in self._hosts or any(_strip(address) in network for network in self._networks)

    def forget(self, target: Target) -> None:
        """A connection failed: look the name up again next time."""
        with self._lock:
            self._known.pop((target.host, target.port), None)


def _strip(address: str) -> Address:
    found = ipaddress.ip_address(address.split("%")[0])
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def is_public(address: str) -> bool:
    """Whether an address is on the public internet, looked at through the ways to write IPv4 inside IPv6."""
    if "%" in address:
        return False
    found = _strip(address)
    if isinstance(found, ipaddress.IPv6Address):
        inner = [found.sixtofour, *(found.teredo or ())]
        if found in _NAT64:
            inner.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        if any(part is not None and not is_public(str(part)) for part in inner):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _resolve(host: str, port: int, deadline: Deadline) -> tuple[str, ...]:
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    left = deadline.need(f"the address of {host}")
    found: list[tuple[str, ...] | OSError] = []

    def look() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append(tuple(dict.fromkeys(str(info[4][0]) for info in infos)))
        except (OSError, UnicodeError) as err:
            found.append(err if isinstance(err, OSError) else OSError(str(err)))

    # getaddrinfo takes no timeout: a thread of its own keeps a dead resolver from eating more than the deadline.
    thread = threading.Thread(target=look, name=f"resolve-{host}", daemon=True)
    thread.start()
    thread.join(left)
    if not found:
        raise SourceTimeout(f"The address of {host} was not found in time.", host=host)
    if isinstance(found[0], OSError) or not found[0]:
        raise SourceError(f"{host} has no address: check the spelling of the URL, or the network.", host=host)
    return found[0]
