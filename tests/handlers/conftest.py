from __future__ import annotations

import http.server
import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EVENTS = Path(__file__).parent / "events"
SECRETS = {"ann_key": "ann-key", "ops_key": "ops-key", "hook_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
KEYS = {f"OMNI_SECRET_{name.upper()}": value for name, value in SECRETS.items()}
JOIN = "SELECT o.id, t.state FROM shop.orders o JOIN desk.open t ON t.order_id = o.id ORDER BY o.id"
ANN_SEES = [[1, "a", 10], [3, "a", 30]]
"""Rows of shop.orders (id, team, amount) that ann, of team a, may see; the third team's are never shown."""


@dataclass
class Receiver:
    """A webhook's other end: what was posted to it."""

    port: int
    got: list[tuple[dict[str, str], Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def project(tmp_path: Path, receiver: Receiver) -> Path:
    """Orders in SQLite, tickets as a file, one alert with a webhook; ann sees team a, ops may run alerts."""
    return write_project(tmp_path / "company", receiver.url)


def write_project(root: Path, hook: str) -> Path:
    for folder in (root, root / "policies", root / "alerts", root / "tickets", root / ".omni"):
        folder.mkdir(parents=True)
    with sqlite3.connect(root / "shop.db") as db:
        db.execute("CREATE TABLE orders (id INTEGER, team TEXT, amount INTEGER)")
        db.executemany("INSERT INTO orders VALUES (?, ?, ?)", [(1, "a", 10), (2, "b", 20), (3, "a", 30)])
    db.close()
    (root / "tickets" / "open.csv").write_text("order_id,state\n1,open\n2,open\n3,closed\n")
    (root / ".env").write_text("TOKEN=never-in-a-bundle\n")
    (root / ".omni" / "state.db").write_text("never in a bundle")
    (root / "omni.yaml").write_text(f"""\
version: 1
sources:
  shop: {{connector: sqlite, url: "sqlite:///shop.db"}}
  desk: {{connector: files, path: tickets}}
channels:
  hook: {{type: webhook, url: "{hook}", sign_with: "secret:hook_key"}}
principals:
  ann: {{roles: [viewer], teams: [a], key: "secret:ann_key"}}
  ops: {{roles: [operator], key: "secret:ops_key"}}
network: {{allow: ["127.0.0.1"]}}
defaults: {{timezone: UTC, timeout: 20s}}
""")
    (root / "policies" / "shop.yaml").write_text("""\
table: shop.orders
rows:
  - roles: [bot]
  - where: {team: {in: $user.teams}}
""")
    (root / "policies" / "desk.yaml").write_text("table: desk.open\nrows:\n  - roles: [viewer, bot]\n")
    (root / "alerts" / "stock.yaml").write_text("""\
name: low-stock
query: SELECT CASE WHEN sum(amount) < 100 THEN 'ALERT' ELSE 'OK' END AS status,
              sum(amount) AS actual_value, 100 AS threshold FROM shop.orders
schedule: "0 9 * * *"
as: {name: stock-bot, roles: [bot]}
notify: [hook]
""")
    return root


def event(name: str) -> Any:
    """A recorded event."""
    return json.loads((EVENTS / f"{name}.json").read_text())
