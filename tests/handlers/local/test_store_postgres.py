"""What PostgreSQL's own troubles become when it keeps the state."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import psycopg
import pytest

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError, SourceTimeout, StateConflict
from core.ports import Put
from core.settings import Settings
from handlers.local.platform import platform
from handlers.local.store_postgres import PostgresStore
from tests.contract.platform_postgres import database
from tests.handlers.local.test_cli import good, omni


def test_two_machines_share_alerts_and_audit(tmp_path: Path) -> None:
    good("init", "p", cwd=tmp_path)
    good("init", "q", cwd=tmp_path)
    env = {"OMNI_STORE_TABLE": "secret:state_url", "OMNI_SECRET_STATE_URL": database()}
    good("alert", "silence", "big-orders", "--for", "2h", "--because", "test", cwd=tmp_path / "p", env=env)
    assert '"silence' in good("alert", "status", "big-orders", "--json", cwd=tmp_path / "q", env=env).stdout
    good("ask", "SELECT 1", cwd=tmp_path / "p", env=env)
    assert "SELECT 1" in good("audit", cwd=tmp_path / "q", env=env).stdout
    assert not (tmp_path / "p" / ".omni" / "state.db").exists()


def test_a_job_of_one_machine_is_answered_by_another(tmp_path: Path) -> None:
    good("init", "p", cwd=tmp_path)
    good("init", "q", cwd=tmp_path)
    env = {"OMNI_STORE_TABLE": database()}
    job = good("ask", "SELECT count(*) AS n FROM shop.orders", "--async", cwd=tmp_path / "p", env=env).stdout.strip()
    assert good("work", cwd=tmp_path / "q", env=env).stdout == "1 message\n"
    assert '"rows": [[4]]' in " ".join(
        good("job", job, "--result", cwd=tmp_path / "p", env=env).stdout.split()
    ).replace("[ [ 4 ] ]", "[[4]]")


@pytest.mark.parametrize("url", ["Postgresql://bob:pw@h/db", "mysql://h/db", "h:5432", "/var/db"])
def test_what_is_no_store_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="postgresql://USER@HOST/DB") as refused:
        platform(Settings(store_table=url), {}, tmp_path)
    assert "bob" not in refused.value.message


def test_a_wrong_password_is_said_without_it(tmp_path: Path) -> None:
    url = database()
    begin, _, rest = url.partition("@")
    wrong = f"{begin.rpartition(':')[0]}:wr0ng-pass@{rest}"
    good("init", "p", cwd=tmp_path)
    done = omni("alert", "list", cwd=tmp_path / "p", env={"OMNI_STORE_TABLE": wrong})
    assert done.returncode == 3 and "SOURCE_AUTH" in done.stderr
    assert "wr0ng-pass" not in done.stderr


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("postgresql://127.0.0.1:1/x", SourceError, "check OMNI_STORE_TABLE"),
        ("postgresql://%zz", ConfigInvalid, "no URL of a PostgreSQL database"),
    ],
)
def test_a_server_that_is_not_there(url: str, kind: type[Error], says: str, tmp_path: Path) -> None:
    store = platform(Settings(store_table=url), {}, tmp_path).store
    with pytest.raises(kind, match=says):
        store.get("a", "b")


def test_a_database_that_is_not_there() -> None:
    url = database()
    with pytest.raises(ConfigInvalid, match="not there"):
        PostgresStore(lambda: url.replace("@/c", "@/nothing")).get("a", "b")


def test_a_missing_permission_is_named() -> None:
    url = database()
    PostgresStore(lambda: url).write("a", [Put("b", {})])
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE ROLE lesser LOGIN PASSWORD 'x'") if not db.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = 'lesser'"
        ).fetchone() else None
        db.execute("GRANT SELECT ON omni_items TO lesser")
    lesser = PostgresStore(lambda: "postgresql://lesser:x@" + url.partition("@")[2])
    assert lesser.get("a", "b") is not None
    with pytest.raises(SourceAuth, match="INSERT, UPDATE and DELETE"):
        lesser.write("a", [Put("b", {})])


def test_a_connection_that_the_server_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    url = database()
    store = PostgresStore(lambda: url)
    store.write("a", [Put("b", {"n": 1})])
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                   "AND datname = current_database()")  # fmt: skip
    with pytest.raises(SourceError):
        store.write("a", [Put("b", {"n": 2})])  # within its idle time nobody looks; what was sent is not repeated
    assert store.get("a", "b") is not None


def test_a_lock_that_stays_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.local.store_postgres.STATEMENT_MS", 300)
    url = database()
    store = PostgresStore(lambda: url)
    store.write("a", [Put("b", {})])
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE omni_items")
        with pytest.raises(SourceTimeout):
            store.get("a", "b")
    with pytest.raises(StateConflict):
        store.write("a", [Put("b", {}, "other")])


class Proxy:
    """A way to the server over TCP. ``silent``: it still takes what is sent, and passes nothing on."""

    def __init__(self, url: str) -> None:
        facts = psycopg.conninfo.conninfo_to_dict(url)
        self._server = f"{facts['host']}/.s.PGSQL.{facts.get('port', '5432')}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.silent = threading.Event()
        self.url = url.partition("@")[0] + f"@127.0.0.1:{self._listener.getsockname()[1]}/{facts['dbname']}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._server)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if not self.silent.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("use", ["read", "write", "idle"])
def test_a_network_that_swallows_everything_is_a_timeout(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.local.store_postgres.ANSWER_S", 0.5)
    proxy = Proxy(database())
    store = PostgresStore(lambda: proxy.url)
    store.write("a", [Put("b", {"n": 1})])
    if use == "idle":
        monkeypatch.setattr("handlers.local.store_postgres._IDLE_S", 0.0)
        monkeypatch.setattr("handlers.local.store_postgres.CONNECT_S", 1)
    proxy.silent.set()
    begun = time.monotonic()
    with pytest.raises(SourceTimeout):
        store.write("a", [Put("b", {"n": 2})]) if use == "write" else store.get("a", "b")
    assert time.monotonic() - begun < 5.0
    proxy.silent.clear()
    found = store.get("a", "b")  # over a new connection, and nobody holds the lock
    assert found is not None and found.body == {"n": 1}


def test_an_idle_connection_does_not_outlive_a_dead_network() -> None:
    """What the system watches, so that a reader of a silent server ends even where nothing was sent."""
    proxy = Proxy(database())
    store = PostgresStore(lambda: proxy.url)
    store.get("a", "b")
    assert store._connection is not None
    with socket.socket(fileno=os.dup(store._connection.fileno())) as seen:
        assert seen.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


def test_a_write_that_is_done_is_no_error_because_the_purge_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.local.store_postgres._PURGE_EVERY", 1)
    monkeypatch.setattr("handlers.local.store_postgres._PURGE", "DELETE FROM nothing WHERE %(now)s = 1")
    url = database()
    store = PostgresStore(lambda: url)
    assert len(store.write("a", [Put("b", {"n": 1})])) == 1
    assert store.get("a", "b") is not None
