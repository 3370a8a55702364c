"""Kept connections and one exchange over them: http.client, a judged address, a deadline, a size limit.

http.client and not urllib3: a page costs half the CPU (0.20 against 0.37 ms), and a cold alert 30 ms less to import.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

from core.deadline import Deadline
from core.errors import ConfigInvalid, Error, SourceError, SourceTimeout
from core.wire_guard import Target

CONNECT_S = 10.0
IDLE_S = 55.0
FRESH_S = 1.0
HOSTS = 64
IDLE = 32
CHUNK = 262_144
Key = tuple[str, str, int, str]


class BrokenError(Exception):
    """No whole answer came; ``as_error`` is what the caller sees when no attempt is left.

    ``never_connected``: another address may do. ``stale``: a kept connection that the server had closed meanwhile.
    """

    def __init__(self, as_error: Error, *, never_connected: bool = False, stale: bool = False) -> None:
        super().__init__(as_error.message)
        self.as_error = as_error
        self.never_connected = never_connected
        self.stale = stale


class Pool:
    """Connections by (scheme, name, port, address). Safe for many threads; each connection serves one at a time."""

    def __init__(self, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._idle: OrderedDict[Key, deque[tuple[float, http.client.HTTPConnection]]] = OrderedDict()
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        target: Target,
        address: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        name: str,
        max_bytes: int,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request to ``address`` and read the whole answer. ``name``: what messages call the target.

        Raises BrokenError where no whole answer came, SourceTimeout and SourceError where trying again is no use.
        """
        key = (target.scheme, target.host, target.port, address)
        kept = self._take(key, sure=method != "GET")
        try:
            return self._try(kept or self._new(key), key, method, target, headers, body, deadline, name, max_bytes)
        except BrokenError as err:
            # A server may close a kept connection at any time: that says nothing about the server.
            if not (err.stale and kept is not None and method == "GET"):
                raise
        return self._try(self._new(key), key, method, target, headers, body, deadline, name, max_bytes)

    def _try(
        self,
        connection: http.client.HTTPConnection,
        key: Key,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        name: str,
        max_bytes: int,
    ) -> tuple[int, Mapping[str, str], bytes]:
        whole = False
        try:
            left = deadline.need(name)
            if connection.sock is None:
                _connect(connection, min(CONNECT_S, left), name)
            connection.sock.settimeout(left)
            response = _ask(connection, method, target.path, body, headers, name, deadline)
            try:
                content = _Body(response, connection, deadline, max_bytes, name).read()
            except (OSError, http.client.HTTPException, zlib.error) as err:
                raise _broken(err, name, deadline) from None
            whole = not response.will_close
            return response.status, _joined(response), content
        finally:
            if whole:
                self._keep(key, connection)
            else:
                connection.close()

    def _take(self, key: Key, *, sure: bool) -> http.client.HTTPConnection | None:
        """The connection used last. One that the server closed is found now, or by a GET that is then sent again."""
        while True:
            with self._lock:
                idle = self._idle.get(key)
                if not idle:
                    return None
                since, connection = idle.pop()
            idle_s = time.monotonic() - since
            if idle_s < IDLE_S and not ((sure or idle_s > FRESH_S) and _readable(connection.sock)):
                return connection
            connection.close()

    def _keep(self, key: Key, connection: http.client.HTTPConnection) -> None:
        surplus = [connection]
        with self._lock:
            idle = self._idle.setdefault(key, deque())
            self._idle.move_to_end(key)
            if len(idle) < IDLE:
                idle.append((time.monotonic(), connection))
                surplus = []
            if len(self._idle) > HOSTS:
                surplus += [c for _, c in self._idle.popitem(last=False)[1]]
        for one in surplus:
            one.close()

    def _new(self, key: Key) -> http.client.HTTPConnection:
        scheme, host, port, address = key
        if scheme == "http":
            return http.client.HTTPConnection(address, port)
        if self._tls is None:
            tls = ssl.create_default_context()
            if self._ca_file:
                tls.load_verify_locations(self._ca_file)
            self._tls = tls
        return _TlsConnection(address, port, host, self._tls)

    def close(self) -> None:
        """Close every kept connection."""
        with self._lock:
            idle, self._idle = self._idle, OrderedDict()
        for connections in idle.values():
            for _, connection in connections:
                connection.close()


class _TlsConnection(http.client.HTTPConnection):
    """Connects to an address and checks the certificate against the name that was asked for."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(address, port)
        self._name = name
        self._context = context

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def _readable(sock: socket.socket | None) -> bool:
    """An idle connection with something to read was closed by the server, or is out of step."""
    if sock is None:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _connect(connection: http.client.HTTPConnection, seconds: float, name: str) -> None:
    connection.timeout = seconds
    try:
        connection.connect()
    except ssl.SSLError as err:
        raise _broken(err, name, None) from None
    except TimeoutError:
        error: Error = SourceError(
            f"{name} does not accept a connection in time. Check the URL and the network.", target=name
        )
        raise BrokenError(error, never_connected=True) from None
    except OSError:
        error = SourceError(
            f"{name} cannot be reached (connection refused or no route). Check the URL and the network.", target=name
        )
        raise BrokenError(error, never_connected=True) from None


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    name: str,
    deadline: Deadline,
) -> http.client.HTTPResponse:
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse()
    except ValueError:
        # http.client repeats the header's value in its message.
        raise ConfigInvalid(f"{name}: a header has characters that no HTTP header may have.", target=name) from None
    except (OSError, http.client.HTTPException) as err:
        broken = _broken(err, name, deadline)
        broken.stale = isinstance(err, ConnectionError)  # RemoteDisconnected is one
        raise broken from None


def _broken(err: Exception, name: str, deadline: Deadline | None) -> BrokenError:
    """Say what happened from the kind of failure alone: the libraries' own texts repeat URLs and bytes."""
    if isinstance(err, ssl.SSLError):
        if isinstance(err, ssl.SSLCertVerificationError):
            return BrokenError(SourceError(f"{name}: its TLS certificate is not valid for it.", target=name))
        return BrokenError(SourceError(f"{name}: the TLS connection failed.", target=name))
    if isinstance(err, TimeoutError):
        within = f" within {deadline.seconds:g} s" if deadline else ""
        return BrokenError(SourceTimeout(f"{name} did not answer{within}.", target=name))
    if isinstance(err, zlib.error):
        return BrokenError(SourceError(f"{name}: the answer's compression is broken.", target=name))
    return BrokenError(SourceError(f"{name}: the connection broke before the whole answer came.", target=name))


def _joined(response: http.client.HTTPResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in response.headers.items():
        lower = key.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


class _Body:
    """Reads a body piece by piece, so that neither a slow drip nor a small gzip that unfolds hugely gets past."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        deadline: Deadline,
        max_bytes: int,
        name: str,
    ) -> None:
        self._response, self._sock = response, connection.sock
        self._deadline, self._max, self._name = deadline, max_bytes, name
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            raise SourceError(f"{name}: the answer is compressed as {encoding}, which was not asked for.", target=name)
        self._gzip: Any = _gunzip() if "gzip" in encoding else None
        self._left = response.length  # None: chunked, or up to the end of the connection
        self._size = 0

    def read(self) -> bytes:
        pieces: list[bytes] = []
        while piece := self._piece():
            if self._gzip is not None:
                pieces += self._unfold(piece)
            else:
                self._grow(len(piece))
                pieces.append(piece)
        if self._left or (self._gzip is not None and pieces and not self._gzip.eof):
            raise http.client.IncompleteRead(b"")
        self._response.close()
        return b"".join(pieces) if len(pieces) != 1 else pieces[0]

    def _piece(self) -> bytes:
        if self._left == 0:
            return b""
        left = self._deadline.need(self._name)
        if self._sock is not None:
            self._sock.settimeout(left)
        piece = self._response.read1(CHUNK)
        if self._left is not None:
            self._left -= len(piece)
        return piece

    def _unfold(self, piece: bytes) -> list[bytes]:
        found: list[bytes] = []
        while piece:
            if self._gzip.eof:  # another member follows
                self._gzip = _gunzip()
            out = self._gzip.decompress(piece, self._max - self._size + 1)
            self._grow(len(out))
            found.append(out)
            piece = self._gzip.unconsumed_tail or self._gzip.unused_data
        return found

    def _grow(self, by: int) -> None:
        self._size += by
        if self._size > self._max:
            raise SourceError(f"{self._name}: the answer is larger than {self._max} bytes.", target=self._name)


def _gunzip() -> Any:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)
