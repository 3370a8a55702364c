"""`omni` as a process: output, exit codes, errors. Each command of the contract once with a good and a bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent.parent


def omni(*arguments: str, cwd: Path, env: dict[str, str] | None = None, stdin: str | None = None) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "handlers.local.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = omni("init", "p", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    return tmp_path / "p"


def good(*arguments: str, cwd: Path, **options: Any) -> Any:
    done = omni(*arguments, cwd=cwd, **options)
    assert done.returncode == 0, done.stderr
    return done


def test_ask_prints_the_answer_and_nothing_else(home: Path) -> None:
    done = good("ask", "SELECT count(*) AS n FROM shop.orders", "--json", cwd=home)
    answer = json.loads(done.stdout)
    assert answer["rows"] == [[4]]
    assert set(answer) == {
        "columns", "rows", "row_count", "complete", "warnings", "freshness", "stats", "masked", "trace_id",
    }  # fmt: skip
    assert done.stderr == ""


def test_ask_formats(home: Path) -> None:
    sql = "SELECT id, NULL AS nothing, 'a,\"b' AS text, 12345678901234567890::HUGEINT AS big "
    sql += "FROM shop.orders ORDER BY id LIMIT 1"
    assert good("ask", sql, "--format", "csv", cwd=home).stdout == (
        'id,nothing,text,big\n1,,"a,""b",12345678901234567890\n'
    )
    row = json.loads(good("ask", sql, "--format", "ndjson", cwd=home).stdout)
    assert row == {"id": 1, "nothing": None, "text": 'a,"b', "big": "12345678901234567890"}
    table = good("ask", sql, cwd=home).stdout
    assert table.splitlines()[0].split() == ["id", "nothing", "text", "big"]
    assert "NULL" in table


def test_ask_from_file_stdin_and_with_params(home: Path) -> None:
    (home / "q.sql").write_text("SELECT id FROM shop.orders WHERE region = $region AND amount > $least ORDER BY id")
    params = ["--param", "region=north", "--param", "least=200", "--format", "ndjson"]
    assert good("ask", "-f", "q.sql", *params, cwd=home).stdout == '{"id":4}\n'
    assert good("ask", "-", "--format", "ndjson", cwd=home, stdin="SELECT 1 AS x").stdout == '{"x":1}\n'
    hostile = good("ask", "-f", "q.sql", "--param", "region=x' OR 1=1 --", "--param", "least=0", "--json", cwd=home)
    assert json.loads(hostile.stdout)["rows"] == []


def test_limit_says_that_it_cut(home: Path) -> None:
    answer = json.loads(good("ask", "SELECT id FROM shop.orders", "--limit", "2", "--json", cwd=home).stdout)
    assert (answer["row_count"], answer["complete"]) == (2, False)
    assert "Cut at 2 rows" in answer["warnings"][0]


def test_as_and_omni_as(home: Path) -> None:
    sql = "SELECT count(*) AS n FROM shop.orders"
    assert json.loads(good("ask", sql, "--as", "guest,role=viewer", "--json", cwd=home).stdout)["rows"] == [[3]]
    env = {"OMNI_AS": "guest,role=viewer"}
    assert json.loads(good("ask", sql, "--json", cwd=home, env=env).stdout)["rows"] == [[3]]
    denied = omni("ask", sql, "--as", "stranger", cwd=home)
    assert denied.returncode == 2
    assert "ENTITLEMENT_DENIED" in denied.stderr
    assert denied.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ask", "SELEC 1"], 2, "SQL_SYNTAX"),
        (["ask", "DELETE FROM shop.orders"], 2, "SQL_REJECTED"),
        (["ask", "SELECT * FROM shop.orders WHERE"], 2, "SQL_SYNTAX"),
        (["ask", "SELECT nothing FROM shop.orders"], 2, "SQL_REJECTED"),
        (["ask", "SELECT * FROM shop.nothing"], 2, "ENTITLEMENT_DENIED"),
        (["ask", "SELECT '" + "x" * 65_000 + "'; SELECT 2"], 2, "SQL_REJECTED"),
        (["ask", "SELECT $x"], 2, "--param x="),
        (["ask", "SELECT 1", "--param", "x=1"], 2, "does not use the parameter"),
        (["ask", "SELECT 1", "--timeout", "5"], 2, "--timeout"),
        (["ask", "SELEC 1", "--async"], 2, "SQL_SYNTAX"),
        (["ask", "SELECT 1", "--async", "--as", "stranger"], 2, "no principal 'stranger'"),
        (["job", "0" * 32], 2, "NOT_FOUND"),
        (["ask", "SELECT 1", "--dialect", "oracle"], 2, "Known: duckdb"),
        (["ask", "-f", "nothing.sql"], 2, "nothing.sql"),
        (["ask"], 2, "Give the SQL"),
        (["ask", "SELECT 1", "--as", "x,colour=red"], 2, "role=R"),
        (["ask", "SELECT count(*) FROM range(100000000000)", "--timeout", "1s"], 3, "SOURCE_TIMEOUT"),
        (["ask", "SELECT * FROM range(200000)"], 3, "RESOURCE_LIMIT"),
        (["describe", "shop.nothing"], 2, "ENTITLEMENT_DENIED"),
        (["tables", "nowhere"], 2, "ENTITLEMENT_DENIED"),
        (["alert", "run", "big-order"], 2, "Did you mean 'big-orders'?"),
        (["alert", "run"], 2, "--all"),
        (["alert", "run", "big-orders", "--slot", "yesterday"], 2, "--slot"),
        (["alert", "silence", "big-orders", "--for", "2", "--because", "x"], 2, "--for"),
        (["frobnicate"], 2, "invalid choice"),
        (["ask", "SELECT 1", "--fromat", "csv"], 2, "unrecognized arguments"),
        (["--project", "nowhere", "tables"], 2, "omni init"),
        (["serve", "--port", "99999"], 2, "is no port"),
    ],
)
def test_mistakes(home: Path, arguments: list[str], code: int, says: str) -> None:
    done = omni(*arguments, cwd=home)
    assert done.returncode == code, done.stderr
    assert says.lower() in done.stderr.lower()
    assert done.stdout == ""
    as_json = omni(*arguments, "--json", cwd=home)
    assert as_json.returncode == code
    error = json.loads(as_json.stderr)["error"]
    assert {"code", "message", "details", "request_id"} <= set(error)


def test_alert_life(home: Path) -> None:
    first = json.loads(good("alert", "run", "big-orders", "--slot", "2026-01-31T09:00:00Z", "--json", cwd=home).stdout)
    assert (first["outcome"], first["instances"][0]["state"]) == ("ALERT", "FIRING")
    assert omni("alert", "run", "big-orders", "--exit-status", cwd=home).returncode == 1
    again = json.loads(good("alert", "run", "big-orders", "--slot", "2026-01-31T09:00:00Z", "--json", cwd=home).stdout)
    assert "slot already done" in again["skipped"]
    good("alert", "silence", "big-orders", "--for", "2h", "--because", "deploy", cwd=home)
    status = json.loads(good("alert", "status", "big-orders", "--json", cwd=home).stdout)
    assert status["silence"]["because"] == "deploy"
    good("alert", "unsilence", "big-orders", cwd=home)
    kinds = [
        r["kind"] for r in json.loads(good("alert", "history", "big-orders", "--json", cwd=home).stdout)["history"]
    ]
    assert kinds[:2] == ["unsilence", "silence"]
    for command in (
        ["alert", "list"],
        ["alert", "show", "big-orders"],
        ["alert", "status"],
        ["alert", "history", "big-orders"],
    ):
        assert "big-orders" in good(*command, cwd=home).stdout or command[1] == "history"
    assert json.loads(good("sweep", "--json", cwd=home).stdout)["errors"] == []


def test_alert_without_status_column_is_an_error_not_ok(home: Path) -> None:
    path = home / "alerts" / "orders.yaml"
    path.write_text(path.read_text().replace("AS status", "AS state"))
    done = omni("alert", "run", "big-orders", "--json", cwd=home)
    result = json.loads(done.stdout)
    assert result["outcome"] == "ERROR"
    assert "status" in result["error"]["message"]
    assert done.returncode == 2


def test_dry_run_writes_nothing(home: Path) -> None:
    good("alert", "run", "big-orders", "--dry-run", cwd=home)
    assert json.loads(good("alert", "status", "big-orders", "--json", cwd=home).stdout)["state"] is None


def test_check_finds_every_file_that_is_wrong(home: Path) -> None:
    good("check", cwd=home)
    (home / "alerts" / "orders.yaml").write_text("name: x\nqery: y\n")
    (home / "policies" / "shop.yaml").write_text("table: shop.orders\nrow: []\n")
    done = omni("check", "--json", cwd=home)
    assert done.returncode == 1
    found = json.loads(done.stdout)["findings"]
    assert [f["details"]["file"] for f in found] == ["alerts/orders.yaml", "policies/shop.yaml"]


def test_check_online_meets_a_missing_source_and_secret(home: Path) -> None:
    text = (home / "omni.yaml").read_text()
    text = text.replace("  shop:", '  gone: {connector: sqlite, url: "sqlite:///gone.db"}\n  shop:')
    text = text.replace("local: {roles", 'api: {roles: [x], key: "secret:api_key"}\n  local: {roles')
    (home / "omni.yaml").write_text(text)
    assert "note: omni.yaml:4: source 'gone': there is no SQLite database at " in good("check", cwd=home).stdout
    done = omni("check", "--online", cwd=home)
    assert done.returncode == 1
    assert "gone.db" in done.stdout
    assert "OMNI_SECRET_API_KEY" in done.stdout


def test_audit_is_whole_until_it_is_touched(home: Path) -> None:
    import sqlite3

    good("ask", "SELECT 1", cwd=home)
    omni("ask", "SELECT * FROM shop.nothing", cwd=home)
    records = json.loads(good("audit", "--json", cwd=home).stdout)["records"]
    assert [r["event"] for r in records] == ["intent", "outcome"] * 2
    assert records[-1]["code"] == "ENTITLEMENT_DENIED"
    good("audit", "--verify", cwd=home)
    state = next((home / ".omni").glob("*.db"))
    with sqlite3.connect(state) as db:
        db.execute("UPDATE items SET body = replace(body, 'ENTITLEMENT_DENIED', 'OK') WHERE partition LIKE 'audit%'")
    db.close()
    assert omni("audit", "--verify", cwd=home).returncode == 1


def test_policy_test_fails_when_a_policy_does(home: Path) -> None:
    good("policy", "test", cwd=home)
    path = home / "policies" / "shop.yaml"
    path.write_text(path.read_text().replace("[north, south]", "[north, south, west]"))
    done = omni("policy", "test", cwd=home)
    assert done.returncode == 1
    assert "should not see" in done.stdout


def test_init_overwrites_nothing(home: Path) -> None:
    before = (home / "omni.yaml").read_text()
    assert omni("init", str(home), cwd=home).returncode == 2
    assert (home / "omni.yaml").read_text() == before


def test_state_of_a_newer_version_is_refused_and_kept(home: Path) -> None:
    import sqlite3

    good("ask", "SELECT 1", cwd=home)
    state = next((home / ".omni").glob("*.db"))
    with sqlite3.connect(state) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    done = omni("ask", "SELECT 1", cwd=home)
    assert done.returncode == 2
    assert "99" in done.stderr
    with sqlite3.connect(state) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.close()


def test_version(home: Path) -> None:
    assert good("version", cwd=home).stdout.startswith("omnisentinel 0.")


def test_a_job_is_asked_worked_and_fetched(home: Path) -> None:
    asked = good("ask", "SELECT count(*) AS n FROM shop.orders", "--async", cwd=home)
    job = asked.stdout.strip()
    assert "omni work" in asked.stderr
    assert json.loads(good("job", job, cwd=home).stdout)["state"] == "QUEUED"
    early = omni("job", job, "--result", cwd=home)
    assert (early.returncode, early.stdout) == (3, "") and "no answer yet" in early.stderr
    assert omni("job", job, "--as", "ann", cwd=home).returncode == 2, "it is another's"
    assert good("work", cwd=home).stdout == "1 message\n"
    assert json.loads(good("job", job, "--result", cwd=home).stdout)["rows"] == [[4]]
    assert good("work", cwd=home).stdout == "0 messages\n"
