"""Cloud Storage's JSON API as its official client uses it: media with generation preconditions, in memory.

The emulators on the registries ignore those preconditions, and they are what matters here.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c


@dataclass
class Stored:
    body: bytes
    generation: int
    resource: dict[str, Any]


@dataclass
class GoogleStorage:
    """``url`` is STORAGE_EMULATOR_HOST. ``refuse``: statuses that the next requests are answered with, 0: as usual;
    ``lose``: the next upload is done and its answer is lost (503). ``calls``: method and first parts of the path."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    refuse: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    lose: bool = False
    generation: int = 1_000

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> GoogleStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        parts, query = urlsplit(url), {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
        found = re.fullmatch(r"/(?:(upload|download)/)?storage/v1/b/([^/]+)/o(?:/(.+))?", parts.path)
        if found is None:  # what needs a permission on the bucket itself
            self.calls.append(f"{method} {parts.path}")
            return 403, _error(403, "no permission on that")
        kind, bucket, name = found[1] or "metadata", found[2], unquote(found[3] or "")
        self.calls.append(f"{method} {kind}")
        if self.refuse and (status := self.refuse.pop(0)):
            return status, _error(status, "it may quote s3cret values")
        if bucket not in self.buckets:
            return 404, _error(404, "The specified bucket does not exist.")
        objects, wanted = self.buckets[bucket], query.get("ifGenerationMatch")
        if kind == "upload":
            resource, media = _multipart(headers["Content-Type"], body)
            name = resource.get("name") or query["name"]
        stored = objects.get(name)
        if kind != "upload" and stored is None:
            return 404, _error(404, f"No such object: {bucket}/{name}")
        if wanted is not None and int(wanted) != (stored.generation if stored else 0):
            # of an object that was replaced, that generation is not there any more
            return (404 if kind == "download" else 412), _error(412, "conditionNotMet")
        if kind == "upload":
            self.generation += 1
            crc = base64.b64encode(google_crc32c.value(media).to_bytes(4, "big")).decode()
            assert resource.get("crc32c") in (None, crc), "damaged on its way"
            resource |= {"name": name, "bucket": bucket, "generation": str(self.generation), "crc32c": crc,
                         "size": str(len(media)), "metageneration": "1"}  # fmt: skip
            objects[name] = Stored(media, self.generation, resource)
            if self.lose:
                self.lose = False
                return 503, _error(503, "lost")
            return 200, json.dumps(resource).encode()
        assert stored is not None
        if method == "DELETE":
            del objects[name]
            return 204, b""
        return 200, stored.body if kind == "download" else json.dumps(stored.resource).encode()


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    first, _second = message.iter_parts()
    boundary = b"--" + content_type.partition("boundary=")[2].strip("\"'").encode()
    media = body.split(boundary)[2].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    found: dict[str, Any] = json.loads(first.get_content() if first.get_content_maintype() == "text" else
                                       first.get_payload(decode=True))  # fmt: skip
    return found, media


def _error(status: int, message: str) -> bytes:
    return json.dumps({"error": {"code": status, "message": message}}).encode()


def _handler(storage: GoogleStorage) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with storage.lock:
                status, answer = storage.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
