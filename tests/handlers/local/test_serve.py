"""`omni serve` as a process: answers over HTTP with a key, catches up a missed slot at start, ends on SIGTERM."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.ports import Put
from handlers.local.store import LocalStore
from tests.handlers.local.test_cli import ROOT, good

KEY = "k-0123456789"


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMNI_SECRET_GUEST_KEY": KEY}
    command = [sys.executable, "-m", "handlers.local.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=1).close()
                break
            except urllib.error.URLError:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                time.sleep(0.05)
        yield url, process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def call(url: str, *, key: str | None = KEY, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    good("init", "p", cwd=tmp_path)
    folder = tmp_path / "p"
    text = (folder / "omni.yaml").read_text()
    (folder / "omni.yaml").write_text(
        text.replace("  local: {roles", '  guest: {roles: [viewer], key: "secret:guest_key"}\n  local: {roles')
    )
    return folder


def test_http_answers_as_the_key_says_and_ends_on_sigterm(home: Path) -> None:
    with serving(home) as (url, process):
        status, answer = call(f"{url}/v1/query", body={"sql": "SELECT count(*) AS n FROM shop.orders"})
        assert (status, answer["rows"]) == (200, [[3]])
        status, answer = call(f"{url}/v1/query", body={"sql": "SELECT $a + 1 AS x", "params": {"a": 41}})
        assert (status, answer["rows"]) == (200, [[42]])
        assert call(f"{url}/v1/query", key=None, body={"sql": "SELECT 1"})[0] == 401
        assert call(f"{url}/v1/query", key="wrong", body={"sql": "SELECT 1"})[0] == 401
        assert call(f"{url}/v1/query", body={"sql": "DROP TABLE x"})[1]["error"]["code"] == "SQL_REJECTED"
        assert call(f"{url}/v1/query", body={"sql": "SELECT * FROM shop.nothing"})[0] == 403
        assert call(f"{url}/v1/query", body={"sq": "SELECT 1"})[0] == 400
        assert [t["table"] for t in call(f"{url}/v1/tables")[1]["tables"]] == ["shop.customers", "shop.orders"]
        assert call(f"{url}/v1/explain", body={"sql": "SELECT id FROM shop.orders"})[1]["rows_filtered"] == [
            "shop.orders"
        ]
        assert call(f"{url}/v1/alerts")[0] == 403
        assert call(f"{url}/nothing")[0] == 404
        scrape = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(scrape, timeout=5) as metrics:
            assert b"omni" in metrics.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    good("audit", "--verify", cwd=home)


def raw(url: str, text: bytes, *, half_close: bool = False) -> tuple[int, Any]:
    """What a client gets that writes ``text`` and nothing more: status and JSON of the first answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.getheader("Content-Type") == "application/json" and answer.getheader("X-Request-Id")
        return answer.status, json.loads(answer.read())


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", *lines, "", ""]
    ).encode()


def test_a_request_that_is_not_whole_asks_for_nothing_and_every_refusal_is_json(home: Path) -> None:
    omni = (home / "omni.yaml").read_text()
    (home / "omni.yaml").write_text(omni.replace("guest: {roles: [viewer]", "guest: {roles: [admin]"))
    dry = b'{"dry_run": true}'
    with serving(home) as (url, _):
        run = "/v1/alerts/big-orders/run"
        for part in (b"", dry[:5], dry[:-1]):
            status, told = raw(url, head("POST", run, f"Content-Length: {len(dry)}") + part, half_close=True)
            assert status == 400 and f"ended after {len(part)} of {len(dry)} bytes" in told["error"]["message"]
        assert call(f"{url}/v1/alerts/big-orders")[1]["slot"] is None, "nothing was run"
        for status, request in (
            (400, head("POST", run, "Content-Length: \u00b2")),
            (400, head("POST", run, "Content-Length: " + "9" * 5_000)),
            (400, head("POST", run, "Content-Length: -1")), (501, head("POST", run, "Transfer-Encoding: chunked")),
            (400, head("GET", "http://[/")), (501, head("BREW", "/")), (414, head("GET", "/" + "x" * 70_000)),
            (431, head("GET", "/", "X: " + "y" * 70_000)), (505, b"GET / HTTP/9.9\r\n\r\n"),
        ):  # fmt: skip
            assert raw(url, request)[0] == status, request[:80]
        assert raw(url, head("POST", run, f"Content-Length: {len(dry)}") + dry)[0] == 200


def test_who_sends_a_byte_now_and_then_holds_no_thread() -> None:
    from handlers.local.http_server import Handler, Server

    server = Server(("127.0.0.1", 0), type("Hasty", (Handler,), {"whole_s": 0.5}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with socket.create_connection(server.server_address[:2], timeout=10) as connection:
            began = time.monotonic()
            with suppress(BrokenPipeError, ConnectionResetError):
                for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 10_000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)
                    assert time.monotonic() - began < 8, "it still listens"
    finally:
        server.shutdown()
        server.server_close()


def test_whole_numbers_are_what_they_are_however_long(home: Path) -> None:
    long = 123456789012345678901234567890
    with serving(home) as (url, _):
        sql = "SELECT $n = 123456789012345678901234567890 AS same, $n::VARCHAR AS n"
        _, answer = call(f"{url}/v1/query", body={"sql": sql, "params": {"n": long}})
    assert answer["rows"] == [[True, str(long)]]


def test_a_slot_that_was_due_while_nobody_served_is_run_at_start(home: Path) -> None:
    """A restart does not forget: the last slot ran, the process went away, the next came due meanwhile."""
    path = home / "alerts" / "orders.yaml"
    path.write_text(path.read_text().replace('"0 9 * * 1-5"', '"0 * * * *"').replace("Europe/Berlin", "UTC"))
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    if datetime.now(UTC) - hour < timedelta(seconds=90):
        hour -= timedelta(hours=1)  # the sweep leaves the trigger a minute
    earlier = hour - timedelta(hours=2)
    good("alert", "run", "big-orders", "--slot", earlier.isoformat(), cwd=home)
    # The alert is known since then, not since a moment ago: a sweep looks no further back.
    store = LocalStore(home / ".omni" / "state.db")
    store.write("alerts", [Put("big-orders", {"since": earlier.isoformat().replace("+00:00", "Z")})])
    store.close()
    with serving(home) as (_, process):
        for _ in range(100):
            status = json.loads(good("alert", "status", "big-orders", "--json", cwd=home).stdout)
            if datetime.fromisoformat(status["slot"]) >= hour:
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert datetime.fromisoformat(status["slot"]) >= hour


def test_port_in_use_is_a_clear_error(home: Path) -> None:
    from tests.handlers.local.test_cli import omni

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = omni("serve", "--port", str(taken.getsockname()[1]), cwd=home)
    assert done.returncode == 2
    assert "Choose another --port" in done.stderr


def test_a_job_outlives_a_killed_server(home: Path) -> None:
    slow = "SELECT count(*) AS n FROM shop.orders a, range(200000000) r WHERE r.range % 7 = a.id"
    with serving(home) as (url, process):
        status, job = call(f"{url}/v1/query", body={"sql": slow, "mode": "async"})
        assert (status, set(job)) == (202, {"job_id", "status_url"})
        wait_for(lambda: call(url + job["status_url"])[1]["state"] == "RUNNING")
        process.kill()
    with serving(home) as (url, _):
        wait_for(lambda: call(url + job["status_url"])[1]["state"] in ("DONE", "FAILED"))
        status, found = call(url + job["status_url"])
        assert (found["state"], found["attempts"]) == ("DONE", 2), found
        status, answer = call(f"{url}{job['status_url']}/result")
        assert (status, answer["row_count"]) == (200, 1)
        assert call(url + job["status_url"], key="another")[0] == 401


def wait_for(true: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.05)


LONG = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 400000000) SELECT count(*) AS c FROM t"


def until_running(folder: Path, job: str) -> None:
    for _ in range(200):
        if json.loads(good("job", job, "--as", "guest", "--json", cwd=folder).stdout)["state"] == "RUNNING":
            return
        time.sleep(0.05)
    pytest.fail("nobody works on the job")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_under_a_query_it_ends_well_and_gives_its_job_back(home: Path, number: signal.Signals) -> None:
    """DuckDB ends a process that is taken down around it with SIGABRT; and a restart is no attempt of the job."""
    with serving(home) as (url, process):
        job = call(f"{url}/v1/query", body={"sql": LONG, "mode": "async"})[1]["job_id"]
        until_running(home, job)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "Traceback" not in said and "terminate called" not in said
    told = json.loads(good("job", job, "--as", "guest", "--json", cwd=home).stdout)
    assert (told["state"], told["attempts"]) == ("QUEUED", 0)


def test_asked_to_end_under_a_question_over_http_it_ends_well(home: Path) -> None:
    def ask(url: str) -> None:
        with suppress(OSError, http.client.HTTPException):  # its answer does not come any more
            call(f"{url}/v1/query", body={"sql": LONG})

    with serving(home) as (url, process):
        asking = threading.Thread(target=ask, args=(url,))
        asking.start()
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        asking.join()
    assert process.returncode == 0 and "terminate called" not in said, said


def test_a_worker_that_is_interrupted_gives_its_job_back(home: Path) -> None:
    job = good("ask", "--async", LONG, "--as", "guest", cwd=home).stdout.strip()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "handlers.local.cli", "work"]
    process = subprocess.Popen(command, cwd=home, env=env, stderr=subprocess.PIPE, text=True)
    until_running(home, job)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said
    assert "goes back to its queue" in said
    told = json.loads(good("job", job, "--as", "guest", "--json", cwd=home).stdout)
    assert (told["state"], told["attempts"]) == ("QUEUED", 0)
