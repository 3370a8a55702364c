"""`make demo`: one question over three sources asked as two people, the alerts, and the mail that one of them sent.

Everything runs on this machine: SQLite, files, recorded GitHub traffic behind a local server, and a mail server that
keeps what it gets. With GITHUB_TOKEN set, the same project asks the real API instead.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from samples.load import load
from tests.replay.obtain import obtain
from tests.replay.server import Recorded, ReplayServer

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "build" / "demo"
SLOT = "2026-03-03T09:00:00Z"


class Inbox(Message):
    """Keeps every mail as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[bytes] = []

    def handle_message(self, message: object) -> None:
        self.mails.append(bytes(message))  # type: ignore[call-overload] # its stubs know no bytes()


def main() -> int:
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.copytree(ROOT / "samples" / "company", PROJECT, ignore=shutil.ignore_patterns(".omni", "*.db"))
    load(PROJECT)
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    with contextlib.ExitStack() as stack:
        stack.callback(controller.stop)
        controller.start()
        env = {
            **os.environ,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(controller.port),
            "OMNI_SECRET_HOOK_KEY": "demo",
        }
        env["HOOK_URL"] = stack.enter_context(hook())
        env.update(stack.enter_context(github()))
        story(env)
        mail(inbox)
    then()
    return 0


@contextlib.contextmanager
def github() -> Iterator[dict[str, str]]:
    """The environment that says which GitHub to ask."""
    token = os.environ.get("GITHUB_TOKEN")
    if token:
        print("GITHUB_TOKEN is set: asking the real API.\n")
        yield {"OMNI_SECRET_GITHUB_TOKEN": token, "GITHUB_AUTH": "secret:github_token"}
        return
    with ReplayServer(Recorded.load(obtain())) as server:
        yield {"GITHUB_API_URL": server.url}


class _Hook(BaseHTTPRequestHandler):
    """Takes every webhook."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def hook() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alerts"
    server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def story(env: dict[str, str]) -> None:
    question = PROJECT / "queries" / "5_customers_blocked_by_issues.sql"
    print(
        "Which customers wait for open GitHub issues, and what did they pay? Orders are in SQLite, tickets in files.\n"
    )
    print(question.read_text("utf-8"))
    say("Mira, a manager, sees everything:")
    omni(env, "ask", "-f", str(question), "--as", "mira")
    say("Sam, support for the north, sees his customers and no amounts. Same question:")
    omni(env, "ask", "-f", str(question), "--as", "sam")
    say("The same questions can be watched. All alerts, as of the morning of 3 March 2026:")
    omni(env, "alert", "run", "--all", "--slot", SLOT)


def omni(env: dict[str, str], *arguments: str) -> None:
    """Show and run one command; an error ends the demo."""
    shown = " ".join(shlex.quote(str(a).replace(f"{ROOT}/", "")) for a in arguments)
    print(f"$ omni --project build/demo {shown}", flush=True)
    command = [sys.executable, "-m", "handlers.local.cli", "--project", str(PROJECT), *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"the demo stopped: omni ended with {done.returncode}")
    print()


def mail(inbox: Inbox) -> None:
    say(f"The inbox of the local mail server holds {len(inbox.mails)} mails. The first one:")
    if not inbox.mails:
        raise SystemExit("the demo stopped: no mail arrived")
    message = message_from_bytes(inbox.mails[0], policy=policy.default)
    for header in ("From", "To", "Subject", "Message-ID"):
        print(f"  {header}: {message[header]}")
    body = message.get_body(("plain",))
    print("\n".join(f"  {line}" for line in (body.get_content() if body else "").splitlines()))


def say(text: str) -> None:
    print(f"── {text}\n", flush=True)


def then() -> None:
    print(
        "\nTry next:\n"
        "  . .venv/bin/activate\n"
        "  omni --project build/demo tables\n"
        "  omni --project build/demo ask -f samples/company/queries/2_top_customers.sql\n"
        "  omni --project build/demo explain -f samples/company/queries/5_customers_blocked_by_issues.sql\n"
        "  omni --project build/demo alert status\n"
        "  omni --project build/demo audit --verify\n"
        "  omni init my-project"
    )


if __name__ == "__main__":
    sys.exit(main())
