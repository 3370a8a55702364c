"""Serves recorded GitHub traffic: `python -m tests.replay.server --port 8099`.

A request that was recorded (method, path, query) gets the recorded answer, with its headers; Link headers lead back
here. Lists of issues, pull requests, commits and repositories that were recorded in pieces are also served whole:
the recorded objects, put together, filtered by ``state`` and ``since`` and cut into pages as GitHub documents it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gzip
import hashlib
import json
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.replay.obtain import obtain

Query = tuple[tuple[str, str], ...]
_LISTS = re.compile(r"/repos/([^/]+)/([^/]+)/(issues|pulls|commits)|/users/([^/]+)/(repos)")
_ITEM = re.compile(r"https?://[^/]+/repos/([^/]+/[^/]+)/(issues|pulls|commits)/[^/]+")
_REPOSITORY = re.compile(r"https?://[^/]+/repos/(([^/]+)/[^/]+)")
_NEEDED = {
    "issues": ("number", "title", "state", "user", "created_at", "updated_at", "html_url", "labels", "comments"),
    "pulls": ("number", "title", "state", "user", "created_at", "updated_at", "html_url", "head", "base"),
    "commits": ("sha", "commit", "parents"),
    "repos": ("id", "full_name", "owner", "private", "fork", "html_url"),
}
# The repository moved in 2013, and GitHub redirects: what was recorded under the old name belongs to the new one.
MOVED = {"jacquev6/pygithub": "pygithub/pygithub"}


@dataclass(frozen=True)
class Exchange:
    file: str
    method: str
    path: str
    query: Query
    status: int
    headers: Mapping[str, str]
    body: str


def exchanges(folder: Path) -> Iterator[Exchange]:
    """The recorded exchanges, ten lines each: scheme, method, host, port, URL, headers, body; status, headers, body."""
    for file in sorted(folder.glob("*.txt")):
        lines = file.read_text("utf-8").split("\n")
        at = 0
        while at + 9 < len(lines):
            part = lines[at : at + 10]
            if part[0] not in ("http", "https") or not part[7].isdigit():
                at += 1  # bodies of binary downloads span lines
                continue
            headers = {k.lower(): v for k, v in ast.literal_eval(part[8])} if part[8].startswith("[") else {}
            url = urlsplit(part[4])
            query = tuple(sorted(parse_qsl(url.query, keep_blank_values=True)))
            yield Exchange(file.name, part[1], url.path, query, int(part[7]), headers, part[9])
            at += 10


@dataclass
class Recorded:
    """Everything that can be answered. ``prefer``: files whose exchange wins where several have the same request."""

    prefer: Sequence[str] = ()
    exact: dict[tuple[str, str, Query], Exchange] = field(default_factory=dict)
    lists: dict[tuple[str, str], dict[Any, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def load(cls, folder: Path, prefer: Sequence[str] = ()) -> Recorded:
        found = cls(prefer)
        for exchange in exchanges(folder):
            found._keep(exchange)
            if exchange.method == "GET" and exchange.status == 200 and exchange.body[:1] in "[{":
                with contextlib.suppress(json.JSONDecodeError):  # some recorded downloads begin like JSON
                    found._collect(json.loads(exchange.body))
        return found

    def _keep(self, exchange: Exchange) -> None:
        key = (exchange.method, exchange.path.lower(), exchange.query)
        old = self.exact.get(key)
        rank = (exchange.status == 200, exchange.file in self.prefer)
        if old is None or rank > (old.status == 200, old.file in self.prefer):
            self.exact[key] = exchange

    def _collect(self, body: Any) -> None:
        """Note every whole object anywhere in an answer under the list it belongs to."""
        if isinstance(body, list):
            for item in body:
                self._collect(item)
        elif isinstance(body, dict):
            url = str(body.get("url") or "")
            item, repository = _ITEM.fullmatch(url), _REPOSITORY.fullmatch(url)
            if item:
                self._note(item[2], item[1].lower(), body)
            elif repository:
                self._note("repos", repository[2].lower(), body)
            for value in body.values():
                if isinstance(value, dict | list):
                    self._collect(value)

    def _note(self, kind: str, owner: str, body: dict[str, Any]) -> None:
        if any(k not in body for k in _NEEDED[kind]):
            return
        identity = body[{"commits": "sha", "repos": "full_name"}.get(kind, "number")]
        rows = self.lists[MOVED.get(owner, owner), kind]
        old = rows.get(identity)
        if old is None or _when(body) >= _when(old):
            rows[identity] = body

    def answer(self, method: str, path: str, query: Query, base: str) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of one request; ``base``: where this server is, for links."""
        exchange = self.exact.get((method, path.lower(), query))
        if exchange is not None:
            kept = {k: v for k, v in exchange.headers.items() if k in _KEPT}
            if "link" in kept:
                kept["link"] = re.sub(r"<https?://[^/]+", f"<{base}", kept["link"])
            return exchange.status, kept, exchange.body.encode()
        whole = self._whole(path.lower(), dict(query), base + path) if method == "GET" else None
        if whole is not None:
            return whole
        return 404, {"content-type": "application/json; charset=utf-8"}, b'{"message":"Not Found","status":"404"}'

    def _whole(self, path: str, query: dict[str, str], url: str) -> tuple[int, dict[str, str], bytes] | None:
        found = _LISTS.fullmatch(path)
        if found is None:
            return self._one(path)
        owner = found[4] or f"{found[1]}/{found[2]}"
        rows = self.lists.get((MOVED.get(owner, owner), found[5] or found[3]))
        if rows is None:
            return None
        items = sorted(rows.values(), key=_when, reverse=True)
        if (found[5] or found[3]) in ("issues", "pulls") and query.get("state", "open") != "all":
            items = [i for i in items if i["state"] == query.get("state", "open")]
        if "since" in query:
            items = [i for i in items if _when(i) >= query["since"]]
        size = min(100, max(1, int(query.get("per_page", "30"))))
        page, last = max(1, int(query.get("page", "1"))), max(1, -(-len(items) // size))
        headers = {"content-type": "application/json; charset=utf-8"}
        links = _links(url, query, page, last)
        if links:
            headers["link"] = links
        return 200, headers, json.dumps(items[(page - 1) * size : page * size]).encode()

    def _one(self, path: str) -> tuple[int, dict[str, str], bytes] | None:
        """A repository that was recorded as a part of other answers only."""
        _, _, name = path.partition("/repos/")
        for full_name, body in self.lists.get((name.partition("/")[0], "repos"), {}).items():
            if full_name.lower() == name:
                return 200, {"content-type": "application/json; charset=utf-8"}, json.dumps(body).encode()
        return None


_KEPT = frozenset(
    "content-type link etag last-modified location retry-after x-ratelimit-limit x-ratelimit-remaining "
    "x-ratelimit-reset".split()
)


def _when(item: Mapping[str, Any]) -> str:
    commit = item.get("commit")
    if isinstance(commit, dict):
        return str((commit.get("committer") or {}).get("date"))
    return str(item.get("updated_at") or "")


def _links(url: str, query: dict[str, str], page: int, last: int) -> str:
    def link(number: int, rel: str) -> str:
        return f'<{url}?{urlencode({**query, "page": number})}>; rel="{rel}"'

    parts = [link(page - 1, "prev")] if page > 1 else []
    parts += [link(page + 1, "next"), link(last, "last")] if page < last else []
    parts += [link(1, "first")] if page > 1 else []
    return ", ".join(parts)


class ReplayServer(ThreadingHTTPServer):
    """``requests``: method and URL of each request so far. ``token``: when set, others are answered 401."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, recorded: Recorded, port: int = 0, *, token: str = "", delay_s: float = 0.0) -> None:
        self.recorded, self.token, self.delay_s = recorded, token, delay_s
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has enough hangs up in the middle of a page: that is how a LIMIT stops a fetch."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def __enter__(self) -> ReplayServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: ReplayServer

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(f"{self.command} {self.path}")
        if server.delay_s:
            time.sleep(server.delay_s)
        given = self.headers.get("Authorization", "")
        if server.token and given.split(" ")[-1] != server.token:
            self._send(401, {"content-type": "application/json"}, b'{"message":"Bad credentials"}')
            return
        url = urlsplit(self.path)
        query = tuple(sorted(parse_qsl(url.query, keep_blank_values=True)))
        status, headers, body = server.recorded.answer(self.command, url.path, query, server.url)
        headers.setdefault("etag", f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        if status == 200 and self.headers.get("If-None-Match") == headers["etag"]:
            self._send(304, headers, b"")
        else:
            self._send(status, headers, body)

    do_POST = do_GET  # noqa: N815 (http.server names it)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        if body and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers = {**headers, "content-encoding": "gzip"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--token", default="")
    given = parser.parse_args(arguments)
    recorded = Recorded.load(obtain())
    with ReplayServer(recorded, given.port, token=given.token, delay_s=given.delay_ms / 1000) as server:
        print(f"recorded GitHub traffic at {server.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
