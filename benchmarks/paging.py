"""50,000 rows in 500 pages at 5 ms a page: our stream into a DuckDB aggregate, beside a raw loop that only reads.

    python -m benchmarks.paging

The server is a process of its own; each measured run too. Prints both times, their ratio (at most 1.15) and the
resident memory of ours (under 160 MB), and fails where a bound is broken.
"""

from __future__ import annotations

import http.client
import http.server
import json
import multiprocessing as mp
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGES, ROWS, DELAY_S, CONNECTIONS, ROUNDS = 500, 100, 0.005, 8, 7
BOUND, MEMORY_MB = 1.15, 160

CONNECTOR = """
version: "1"
name: paged
base_url: http://127.0.0.1
paging: {style: link, size_param: per_page, size: 100}
tables:
  items:
    read: {path: /items}
    columns:
      id: BIGINT
      title: VARCHAR
      state: VARCHAR
      user_login: {type: VARCHAR, path: user.login}
      comments: BIGINT
      amount: DOUBLE
      locked: BOOLEAN
      created_at: TIMESTAMPTZ
      updated_at: TIMESTAMPTZ
      labels: JSON
"""


def item(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Item number {number} of the benchmark",
        "state": "open" if number % 3 else "closed",
        "user": {"login": f"user{number % 97}", "id": number % 97},
        "comments": number % 11,
        "amount": number * 0.25,
        "locked": False,
        "created_at": "2026-01-31T09:00:00Z",
        "updated_at": "2026-02-01T10:30:00Z",
        "labels": [{"name": "bug"}, {"name": f"l{number % 5}"}],
    }


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────


def serve(ready: Any) -> None:
    """One thread a connection; every answer leaves in one write, 5 ms after its request came."""
    bodies = [json.dumps([item(p * ROWS + i) for i in range(ROWS)]).encode() for p in range(PAGES)]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            page = int(self.path.partition("&page=")[2] or 1)
            time.sleep(DELAY_S)
            body = bodies[page - 1]
            self.send_response_only(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if page < PAGES:
                url = f"http://127.0.0.1:{server.server_port}/items?per_page=100"
                link = f'<{url}&page={page + 1}>; rel="next", <{url}&page={PAGES}>; rel="last"'
                self.send_header("link", link)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ready.send(server.server_port)
    server.serve_forever()


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────


def raw(port: int) -> tuple[float, int]:
    """Eight connections that read every body and parse nothing."""
    pages = iter(range(1, PAGES + 1))
    lock, total = threading.Lock(), [0]

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                page = next(pages, None)
            if page is None:
                connection.close()
                return
            connection.request("GET", f"/items?per_page=100&page={page}")
            body = connection.getresponse().read()
            with lock:
                total[0] += len(body)

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, total[0]


def ours(port: int) -> tuple[float, int]:
    """The connector, through wire, window, stream and DuckDB."""
    import duckdb

    from core.deadline import Deadline
    from core.model import EVERY_ROW, Scan
    from core.query.fetch import open_scans
    from core.source.base import Fetching, Ledger
    from core.source.pages import RestSource
    from core.source.spec import load
    from core.wire import Wire

    class NoSecrets:
        def get(self, name: str) -> str:
            raise KeyError(name)

        def forget(self, name: str) -> bool:
            return False

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "connector.yaml"
        file.write_text(textwrap.dedent(CONNECTOR))
        spec = load(file)
    wire = Wire(NoSecrets(), network_allow=["127.0.0.1"])
    source = RestSource("paged", spec, wire, base_url=f"http://127.0.0.1:{port}")
    deadline = Deadline(60)
    table = source.table("items", deadline)
    assert table is not None
    columns = tuple(c.name for c in table.columns if not c.hidden)
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SELECT 1").fetchall()
    started = time.perf_counter()
    fetching = Fetching(deadline, Ledger(), connections=CONNECTIONS)
    with open_scans([(Scan("items", table, columns), EVERY_ROW)], {"paged": source}, fetching) as streams:
        connection.register("items", streams["items"])
        sql = "SELECT count(*), sum(amount), sum(id), count(DISTINCT user_login), max(updated_at) FROM items"
        found = connection.execute(sql).fetchall()[0]
    elapsed = time.perf_counter() - started
    number = PAGES * ROWS
    assert found[:4] == (number, number * (number - 1) / 8, number * (number - 1) // 2, 97), found
    return elapsed, found[0]


def measured(what: str, port: int) -> tuple[float, float]:
    """(seconds, peak resident MB) of one run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.paging", what, str(port)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def main() -> int:
    receive, send = mp.Pipe(duplex=False)
    server = mp.get_context("spawn").Process(target=serve, args=(send,), daemon=True)
    server.start()
    try:
        port = receive.recv()
        runs = [(measured("raw", port), measured("ours", port)) for _ in range(ROUNDS)]
    finally:
        server.terminate()
        server.join()
    floor, mine = min(r[0][0] for r in runs), min(r[1][0] for r in runs)
    memory = max(r[1][1] for r in runs)
    print(f"raw loop, {CONNECTIONS} connections, nothing parsed: {floor:.3f} s")
    print(f"stream into DuckDB, {PAGES * ROWS} rows:             {mine:.3f} s")
    print(f"ratio {mine / floor:.2f} (bound {BOUND})   resident {memory:.0f} MB (bound {MEMORY_MB})")
    return 0 if mine / floor <= BOUND and memory < MEMORY_MB else 1


def one(what: str, port: int) -> None:
    import resource

    run: Callable[[int], tuple[float, int]] = {"raw": raw, "ours": ours}[what]
    elapsed, _ = run(port)
    print(elapsed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        one(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(main())
