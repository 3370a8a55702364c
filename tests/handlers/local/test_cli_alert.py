"""`omni alert` as a process, before a webhook that is told what to answer: what is dead, owed, held is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.local.test_cli import good, home, omni

__all__ = ["home"]


class Hook(ThreadingHTTPServer):
    """``status``: what it answers. ``bodies``: what it was sent."""

    status = 200

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hook(home: Path) -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    project = home / "omni.yaml"
    project.write_text(project.read_text().replace("127.0.0.1:9/", f"127.0.0.1:{server.server_port}/"))
    change(home, "notify: []", "notify: [hook]")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def change(home: Path, old: str, new: str) -> None:
    alert = home / "alerts" / "orders.yaml"
    text = alert.read_text()
    assert old in text
    alert.write_text(text.replace(old, new))


def test_a_dead_message_is_said_wherever_one_looks(home: Path, hook: Hook) -> None:
    hook.status = 410
    ran = good("alert", "run", "big-orders", cwd=home)  # an alert that fires is done
    assert "delivered 0, owed 0, dead 1" in ran.stdout
    assert (
        "error: big-orders: the message 'firing' to channel 'hook' is dead, given up after 1 attempt: "
        "SOURCE_ERROR: Channel 'hook' answered HTTP 410." in ran.stderr
    )
    assert good("alert", "status", cwd=home).stdout.splitlines()[0].split()[-3] == "dead"
    for command in ("status", "show"):
        shown = good("alert", command, "big-orders", cwd=home).stdout
        assert "dead:        firing to hook, given up at " in shown
        assert "HTTP 410" in shown
    assert "dead" in good("alert", "history", "big-orders", cwd=home).stdout
    status = json.loads(good("alert", "status", "big-orders", "--json", cwd=home).stdout)
    assert [(d["channel"], d["error"]["code"]) for d in status["dead"]] == [("hook", "SOURCE_ERROR")]


def test_dead_messages_and_exit_codes(home: Path, hook: Hook) -> None:
    hook.status = 410
    good("alert", "run", "big-orders", cwd=home)
    change(home, "max(amount) > 900", "count(*) > 900")
    ran = omni("alert", "run", "big-orders", "--exit-status", "--json", cwd=home)
    result = json.loads(ran.stdout)
    assert (ran.returncode, result["outcome"], result["dead"]) == (1, "OK", 1)  # nobody learns that it is over
    assert json.loads(good("alert", "run", "big-orders", "--exit-status", "--json", cwd=home).stdout)["dead"] == 0
    change(home, "count(*) > 900", "nothing > 900")
    good("alert", "silence", "big-orders", "--for", "1h", "--because", "x", cwd=home)
    assert omni("alert", "run", "big-orders", cwd=home).returncode == 2
    good("alert", "unsilence", "big-orders", cwd=home)
    swept = omni("sweep", "--exit-status", "--json", cwd=home)
    assert (swept.returncode, json.loads(swept.stdout)["dead"]) == (1, 1)
    assert "'error' to channel 'hook' is dead" in swept.stderr
    assert omni("sweep", "--exit-status", cwd=home).returncode == 0


def test_what_is_owed_held_and_warned_of_is_shown(home: Path, hook: Hook) -> None:
    hook.status = 503
    change(home, "FROM shop.orders", "FROM shop.orders GROUP BY id")
    ran = good("alert", "run", "big-orders", cwd=home)
    assert "delivered 0, owed 1\n" in ran.stdout
    assert "warning: big-orders: " in ran.stderr
    assert "the message 'firing' to channel 'hook' was not taken at attempt 1 and is owed: SOURCE_ERROR: " in ran.stderr
    good("alert", "silence", "big-orders", "--for", "2h", "--because", "moving", cwd=home)
    shown = good("alert", "show", "big-orders", cwd=home).stdout
    assert "warning:     " in shown
    assert "by " in shown.split("silence:")[1].splitlines()[0]
    assert "moving" in shown
    assert "owed:        firing to hook, attempts: 1, next not before 20" in shown
    assert "HTTP 503" in shown
    good("sweep", cwd=home)
    assert "owed:        firing to hook, held by the silence" in good("alert", "show", "big-orders", cwd=home).stdout
    change(home, "max(amount)", "nothing")
    assert omni("alert", "run", "big-orders", cwd=home).returncode == 2
    shown = good("alert", "show", "big-orders", cwd=home).stdout
    assert "health:      ERROR since 20" in shown
    assert "error:       SQL_REJECTED: " in shown


@pytest.mark.parametrize(
    ("no_data", "state", "code"), [("ok", "OK", 0), ("keep", "OK", 0), ("alert", "FIRING", 1), ("error", "NO_DATA", 1)]
)
def test_no_rows_exit_as_the_alert_says(home: Path, no_data: str, state: str, code: int) -> None:
    change(home, "FROM shop.orders", "FROM shop.orders HAVING false")
    change(home, "notify: []", f"no_data: {no_data}")
    ran = omni("alert", "run", "big-orders", "--exit-status", "--json", cwd=home)
    result = json.loads(ran.stdout)
    assert (ran.returncode, result["outcome"], result["state"]) == (code, "NO_DATA", state)
    status = json.loads(good("alert", "status", "big-orders", "--json", cwd=home).stdout)
    assert (status["outcome"], status["state"]) == ("NO_DATA", state)
