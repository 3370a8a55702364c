"""What PostgreSQL's own troubles become when it keeps the state."""

from __future__ import annotations

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
