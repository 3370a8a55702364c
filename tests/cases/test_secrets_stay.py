"""No secret in anything that is shown or kept, whatever fails: each is refused by a server that repeats it.

The commands run as a person runs them, with tracebacks and logs as talkative as they get.
"""

from __future__ import annotations

import base64
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.layer import ROOT
from tests.core.notify.mailserver import free_port
from tests.postgres.server import PASSWORD

SECRETS = {
    name: f"Zq7-{name}-s3cr3t"
    for name in (
        "bearer",
        "header",
        "query",
        "basic",
        "pg",
        "pg_url",
        "hook_token",
        "hook_path",
        "sign",
        "smtp",
        "slack",
    )
}
STYLES = {
    "bearer": "{style: bearer, option: token}",
    "header": "{style: header, option: token, parameter: X-Token, template: 'Key {secret}'}",
    "query": "{style: query, option: token, parameter: access_token}",
    "basic": "{style: basic, option: token, user_option: user}",
}
CONNECTOR = """\
version: "1"
name: {style}
base_url: {url}
auth: {auth}
tables:
  things:
    read: {{path: "/{{answer}}/things"}}
    columns:
      answer: VARCHAR
      id: BIGINT
"""
ANSWERS = ("401", "403", "404", "429", "500", "302", "text", "drift")


class Repeating(BaseHTTPRequestHandler):
    """Answers as the path says, and repeats in body, headers and reason all that it was sent."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = f"{self.path} {dict(self.headers)} {body!r}"
        answer = self.path.split("/")[1]
        status = int(answer) if answer.isdecimal() else 200
        data = told.encode() if answer != "drift" else f'[{{"id": "{self.headers["Authorization"]}"}}]'.encode()
        self.send_response(status, told.replace("\n", " ")[:500])
        self.send_header("Content-Type", "text/plain" if answer == "text" else "application/json")
        self.send_header("X-Told", told.replace("\n", " ").replace("\r", " "))
        if status == 302:
            self.send_header("Location", f"https://elsewhere.invalid{self.path}?told={self.headers['X-Token']}")
        if status == 429:
            self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 (the name http.server looks for)

    def log_message(self, *args: object) -> None:
        pass


class RefusingMail(socketserver.StreamRequestHandler):
    """SMTP that refuses every login, and repeats it."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            word = line.strip().upper()
            if word.startswith(b"EHLO"):
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
            elif word.startswith(b"AUTH"):
                said = b" ".join([line.strip(), *(base64.b64decode(part + b"==") for part in line.split()[2:])])
                self.wfile.write(b"535 5.7.8 no: " + said.replace(b"\0", b" ") + b"\r\n")
            else:
                self.wfile.write(b"250 ok\r\n")


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def servers() -> Iterator[tuple[int, int]]:
    mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), RefusingMail)
    mail.daemon_threads = True
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Repeating)) as http, serving(mail) as smtp:
        yield http, smtp


@pytest.fixture
def company(tmp_path: Path, servers: tuple[int, int]) -> Path:
    http, smtp = servers
    url = f"http://127.0.0.1:{http}"
    for style, auth in STYLES.items():
        folder = tmp_path / "connectors" / style
        folder.mkdir(parents=True)
        (folder / "connector.yaml").write_text(CONNECTOR.format(style=style, url=url, auth=auth))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text('policies: [{table: "*", rows: [{roles: [admin]}]}]\n')
    closed = free_port()
    (tmp_path / "omni.yaml").write_text(f"""\
version: 1
sources:
  bearer: {{connector: bearer, token: "secret:bearer"}}
  header: {{connector: header, token: "secret:header"}}
  query: {{connector: query, token: "secret:query"}}
  basic: {{connector: basic, token: "secret:basic", user: me}}
  down: {{connector: postgres, url: "postgresql://u@127.0.0.1:{closed}/db", password: "secret:pg"}}
  hidden: {{connector: postgres, url: "secret:pg_url"}}
  odd: {{connector: postgres, url: "secret:odd_url"}}
  file: {{connector: sqlite, url: "secret:file_url"}}
smtp: {{host: 127.0.0.1, port: {smtp}, tls: none, user: me, password: "secret:smtp", from: a@example.com}}
channels:
  hook:
    {{type: webhook, url: "{url}/500/hook", headers: {{Authorization: "Bearer secret:hook_token"}},
      sign_with: "secret:sign"}}
  there: {{type: webhook, url: "secret:hook_url"}}
  away: {{type: webhook, url: "secret:away_url"}}
  slack: {{type: slack, url: "secret:slack_url"}}
  mail: {{type: email, to: [b@example.com]}}
principals:
  local: {{roles: [admin]}}
network: {{allow: ["127.0.0.1"]}}
""")
    (tmp_path / "alerts").mkdir()
    (tmp_path / "alerts" / "a.yaml").write_text("""\
alerts:
  - name: fires
    query: "SELECT 'ALERT' AS status"
    as: {name: bot, roles: [admin]}
    notify: [hook, there, away, slack, mail]
  - name: breaks
    query: "SELECT 'OK' AS status FROM query.things WHERE answer = '401'"
    as: {name: bot, roles: [admin]}
    notify: [hook]
""")
    return tmp_path


def environment(http: int, **more: str) -> dict[str, str]:
    texts = {
        **SECRETS,
        "pg_url": f"postgresql://u:{SECRETS['pg_url']}@127.0.0.1:1/db",
        "odd_url": f"postgresql://u:{SECRETS['pg_url']}@127.0.0.1:port/db",
        "file_url": f"sqlite:////nowhere/{SECRETS['pg_url']}.db",
        "hook_url": f"http://127.0.0.1:{http}/404/{SECRETS['hook_path']}?key={SECRETS['hook_path']}",
        "away_url": f"https://10.0.0.1/{SECRETS['hook_path']}",
        "slack_url": f"http://127.0.0.1:{http}/403/services/{SECRETS['slack']}",
        **more,
    }
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, **{f"OMNI_SECRET_{n.upper()}": text for n, text in texts.items()},
            "OMNI_DEBUG": "1", "OMNI_LOG_LEVEL": "DEBUG", "PYTHONWARNINGS": "default"}  # fmt: skip


TALKATIVE = """\
import json, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from handlers.local.cli import main
for command in json.loads(sys.argv[1]):
    print("==", *command)
    try:
        code = main(command)
    except SystemExit as end:
        code = end.code
    print("== exit", code)
"""


def omni(company: Path, env: dict[str, str], *commands: tuple[str, ...]) -> str:
    """All that the commands print, with every logger of every library at DEBUG."""
    given = json.dumps([[*command, "--project", str(company)] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", TALKATIVE, given],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.stdout.count("== exit") == len(commands), done.stdout
    return done.stdout


def leaked(text: str) -> list[str]:
    """The names of the secrets in ``text``, as they are or as HTTP and SMTP write them."""
    found = []
    for name, secret in SECRETS.items():
        ways = [secret, *(b64(part + secret) for part in ("", "me:", "\0me\0"))]
        if any(way in text for way in ways):
            found.append(name)
    return found


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kept(company: Path) -> str:
    """Every byte under .omni: state, outbox, history, audit."""
    return "".join(p.read_bytes().decode("latin-1") for p in (company / ".omni").rglob("*") if p.is_file())


def test_sources_that_refuse(company: Path, servers: tuple[int, int]) -> None:
    asks = [f"SELECT id FROM {style}.things WHERE answer = '{answer}'" for style in STYLES for answer in ANSWERS]
    asks += [f"SELECT 1 AS one FROM {source}.t" for source in ("down", "hidden", "odd", "file")]
    said = omni(company, environment(servers[0]), *(("ask", sql) for sql in asks))
    assert leaked(said) == [], said
    assert said.count("== exit 0") == 0
    for code in ("SOURCE_AUTH", "SOURCE_ERROR", "RATE_LIMIT_EXHAUSTED", "CONFIG_INVALID"):
        assert f"error: {code}" in said
    looks = [("check", "--online"), ("audit", "--json"), ("describe", "bearer.things"), ("tables",)]
    assert leaked(omni(company, environment(servers[0]), *looks)) == []
    assert "SOURCE_AUTH" in kept(company), "the audit is in what was searched"
    assert leaked(kept(company)) == []


def test_channels_that_refuse(company: Path, servers: tuple[int, int]) -> None:
    runs = [("alert", "run", "fires"), ("alert", "run", "breaks"), ("alert", "run", "fires", "--json")]
    looks = [("alert", "status", "--json"), ("alert", "show", "fires"), ("alert", "history", "fires", "--json"),
             ("alert", "history", "breaks"), ("check", "--online"), ("audit", "--json")]  # fmt: skip
    said = omni(company, environment(servers[0]), *runs, *looks)
    assert leaked(said) == [], said
    for sign in ("500", "404", "403", "535", "10.0.0.1"):
        assert sign in said, "each channel was tried"
    assert leaked(kept(company)) == []


def test_a_database_that_refuses_the_password(company: Path, servers: tuple[int, int], postgres_url: str) -> None:
    url = postgres_url.replace(f":{PASSWORD}@", f":{SECRETS['pg_url']}@")
    said = omni(company, environment(servers[0], pg_url=url), ("ask", "SELECT 1 AS one FROM hidden.t"))
    assert "SOURCE_AUTH" in said
    assert leaked(said + kept(company)) == [], said
