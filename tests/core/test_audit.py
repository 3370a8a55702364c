"""The audit chain: appended by many at once, and every kind of tampering is found."""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.audit import Audit
from handlers.local.store import LocalStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def audit(path: Path) -> Audit:
    return Audit(LocalStore(path), lambda: datetime.now(UTC))


def filled(path: Path) -> Audit:
    log = audit(path)
    for number in range(5):
        log.append("default", {"event": "intent", "number": number})
    return log


def test_records_follow_one_another(path: Path) -> None:
    log = filled(path)
    assert [r["sequence"] for r in log.records()] == [1, 2, 3, 4, 5]
    assert log.verify() == []


def test_writers_share_one_chain(path: Path) -> None:
    logs = [audit(path) for _ in range(4)]

    def write(log: Audit) -> None:
        for _ in range(25):
            log.append("default", {"event": "x"})

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(logs[0].records())) == 100
    assert audit(path).verify() == []


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        ("UPDATE items SET body = replace(body, '\"number\":2', '\"number\":7') WHERE key LIKE '%3'", "record 4"),
        ("DELETE FROM items WHERE key LIKE '%0003'", "record 3 is missing"),
        ("DELETE FROM items WHERE key LIKE '%0005'", "cut"),
        ("DELETE FROM items WHERE key = '~head'", "head is missing"),
        (
            "UPDATE items SET body = (SELECT body FROM items i WHERE i.key LIKE '%0002') WHERE key LIKE '%0003'",
            "record 3 is missing",
        ),
        (
            "UPDATE items SET body = replace(body, '\"number\":4', '\"number\":9') WHERE key LIKE '%0005'",
            "cut or changed",
        ),
    ],
)
def test_tampering_is_found(path: Path, tampering: str, says: str) -> None:
    filled(path)
    with sqlite3.connect(path) as db:
        assert db.execute(tampering).rowcount == 1
    db.close()
    found = audit(path).verify()
    assert len(found) == 1
    assert says in found[0].what


def test_tenants_have_chains_of_their_own(path: Path) -> None:
    log = filled(path)
    log.append("other", {"event": "x"})
    assert len(list(log.records("other"))) == 1
    assert log.verify("other") == []


def test_a_record_holds_no_row(path: Path) -> None:
    """What an ask returned is nowhere in its record."""
    from core import bootstrap, project
    from core.model import Principal
    from core.settings import Settings
    from handlers.local.platform import platform

    folder = path.parent / "p"
    (folder / "policies").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "omni.yaml").write_text("version: 1\nsources: {d: {connector: files, path: data}}\n")
    (folder / "policies" / "p.yaml").write_text('table: "*"\nrows: [{roles: [admin]}]\n')
    (folder / "data" / "t.csv").write_text("a\nvery-private-value\n")
    app = bootstrap.build(Settings(), platform(Settings(), {}, folder), project.load(folder, {}))
    answer = app.ask(app.request("SELECT a FROM d.t", Principal("x", frozenset({"admin"}))))
    assert answer.rows == [("very-private-value",)]
    text = json.dumps([dict(r) for r in app.audit.records()])
    assert "very-private-value" not in text
    assert '"rows": 1' in text
