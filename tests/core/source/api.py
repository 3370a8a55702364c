"""A small paged API and connectors for it, to see each paging style and each way that a page can be wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.source.pages import RestSource
from core.source.spec import load
from core.wire import Wire

TABLE = """
version: "1"
name: things
base_url: http://127.0.0.1
paging: {paging}
tables:
  things:
    read: {{path: "/groups/{{group}}/things", rows: "{rows}"}}
    columns:
      group: VARCHAR
      id: {{type: BIGINT, filter: {{"=": {{param: id, exact: true}}}}}}
      kind: {{type: VARCHAR, filter: {{"=": {{param: kind, exact: true, values: [a, b]}}}}}}
      owner_name: {{type: VARCHAR, path: owner.name}}
      score: {{type: DOUBLE, optional: true}}
      good: BOOLEAN
      born: DATE
      seen: {{type: TIMESTAMPTZ, filter: {{">=": {{param: since, back: 1}}, "<": {{param: until}}}}}}
      tags: JSON
"""
STYLES = {
    "link": "{style: link, size_param: size, size: %d}",
    "page": "{style: page, size_param: size, size: %d, page_param: page}",
    "page_total": "{style: page, size_param: size, size: %d, page_param: page, total: meta.total}",
    "offset": "{style: offset, size_param: size, size: %d, offset_param: skip}",
    "offset_total": "{style: offset, size_param: size, size: %d, offset_param: skip, total: meta.total}",
    "cursor": "{style: cursor, size_param: size, size: %d, cursor: meta.next}",
    "none": "{style: none}",
}


class NoSecrets:
    def get(self, name: str) -> str:
        raise KeyError(name)

    def forget(self, name: str) -> bool:
        return False


def thing(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "kind": "ab"[number % 2],
        "owner": {"name": f"n{number % 7}"} if number % 5 else None,
        "score": number / 4,
        "good": number % 3 == 0,
        "born": f"2024-01-{number % 28 + 1:02}",
        "seen": f"2024-01-01T{number % 24:02}:00:00Z",
        "tags": ["t", {"n": number}],
    }


def connector(folder: Path, style: str, *, size: int = 10, text: str = TABLE) -> Path:
    paging = STYLES[style] % size if "%" in STYLES[style] else STYLES[style]
    rows = "" if style in ("link", "none") else "items"
    file = folder / f"{style}{size}" / "connector.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.format(paging=paging, rows=rows))
    return file


class Api:
    """``/groups/<group>/things``: ``count`` things in a style. ``tamper``: changes a body before it is sent."""

    def __init__(self, style: str, count: int, *, cap: int = 1000) -> None:
        self.style, self.items, self.cap = style, [thing(i) for i in range(1, count + 1)], cap
        self.requests: list[str] = []
        self.tamper: Callable[[str, Any], Any] = lambda path, body: body
        self.under_way = self.most = 0
        self.gate = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                with outer.gate:
                    outer.requests.append(self.path)
                    outer.under_way += 1
                    outer.most = max(outer.most, outer.under_way)
                body, headers = outer.answer(self.path)
                raw = json.dumps(outer.tamper(self.path, body)).encode()
                self.send_response(200)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(raw)))
                with outer.gate:
                    outer.under_way -= 1
                self.end_headers()
                self.wfile.write(raw)
                self.wfile.flush()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.wire = Wire(NoSecrets(), network_allow=["127.0.0.1"])

    def answer(self, path: str) -> tuple[Any, dict[str, str]]:
        url = urlsplit(path)
        asked = {k: v[0] for k, v in parse_qs(url.query).items()}
        items = self.items
        if "kind" in asked:
            items = [i for i in items if i["kind"] == asked["kind"]]
        if "id" in asked:
            items = [i for i in items if str(i["id"]) == asked["id"]]
        if "since" in asked:
            items = [i for i in items if i["seen"] > asked["since"]]
        size = min(self.cap, int(asked.get("size", "1000000")))
        page = int(asked.get("page", "1"))
        start = int(asked.get("skip", asked.get("cursor", (page - 1) * size)))
        part = items[start : start + size]
        more = start + size < len(items)
        if self.style == "none":
            return items, {}
        if self.style == "link":
            last = -(-len(items) // size)
            where = self.url + url.path + "?" + "".join(f"{k}={v}&" for k, v in asked.items() if k != "page")
            link = f'<{where}page={page + 1}>; rel="next", <{where}page={last}>; rel="last"' if more else ""
            return part, {"link": link} if link else {}
        meta = {"total": len(items), "next": str(start + size) if more else None}
        return {"items": part, "meta": meta}, {}

    def source(self, file: Path) -> RestSource:
        return RestSource("api", load(file), self.wire, base_url=self.url)

    def __enter__(self) -> Api:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.wire.close()
