"""kill -9 at every step of a real process; the next process finishes its work at once, under the same id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.alert.slot import iso
from tests.core.alert.killed import RULE, watcher
from tests.core.receiver import Call, WebhookReceiver

ROOT = Path(__file__).resolve().parents[3]
WRITES = {
    1: "before anything",
    2: "before it is claimed",
    3: "after the claim, before the commit",
    4: "after the commit, before sending is marked",
    5: "after the answer, before it is marked as sent",
}


def _start(folder: Path, url: str, slot: datetime, stop: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.core.alert.killed", str(folder), url, iso(slot), str(stop)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, text=True)


def _kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.mark.parametrize("stop", WRITES, ids=WRITES.values())
@pytest.mark.parametrize("redelivered", [True, False], ids=["the trigger comes again", "only the sweep"])
def test_killed_before_a_write(tmp_path: Path, stop: int, redelivered: bool) -> None:
    slot = datetime.now(UTC)
    with WebhookReceiver() as receiver:
        child = _start(tmp_path, receiver.url, slot, stop)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "stopped\n"
        finally:
            _kill(child)
        before = len(receiver.calls)
        assert before == (1 if stop == 5 else 0)
        second = watcher(tmp_path, receiver.url)
        if redelivered:
            second.run(RULE, slot)
        swept = second.sweep([RULE])
        committed = stop >= 4
        assert swept["errors"] == []
        assert swept["owed"] == 0
        assert len({c.headers["idempotency-key"] for c in receiver.calls}) == (1 if committed or redelivered else 0)
        # Only a death between the answer and the mark may send twice, and then under one id.
        assert len(receiver.calls) == (2 if stop == 5 else len({c.headers["webhook-id"] for c in receiver.calls}))
        assert len({c.body for c in receiver.calls}) <= 1
        status = second.status([RULE])[0]
        assert status["held_by"] is None
        second.sweep([RULE])
        assert len(receiver.calls) <= 2


def test_killed_while_the_receiver_reads(tmp_path: Path) -> None:
    slot = datetime.now(UTC)
    with WebhookReceiver() as receiver:
        child = _start(tmp_path, receiver.url, slot, 0)

        def kill_once(call: Call) -> None:
            if len(receiver.calls) == 1:
                _kill(child)

        receiver.on_call = kill_once
        try:
            assert child.wait(60) == -signal.SIGKILL
        finally:
            child.kill()
            child.communicate()
        second = watcher(tmp_path, receiver.url)
        second.run(RULE, slot)
        assert [c.headers["webhook-id"] for c in receiver.calls] == [receiver.calls[0].headers["webhook-id"]] * 2
        records = second.history(RULE.name)
        assert [r["attempts"] for r in records if r["kind"] == "delivery"] == [2]


def test_a_second_process_waits_for_a_living_one(tmp_path: Path) -> None:
    """The guard must not take a lease from a process that only is slow."""
    slot = datetime.now(UTC)
    with WebhookReceiver() as receiver:
        child = _start(tmp_path, receiver.url, slot, 4)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "stopped\n"
            swept = watcher(tmp_path, receiver.url).sweep([RULE])
            assert (swept["delivered"], swept["owed"], receiver.calls) == (0, 1, [])
        finally:
            _kill(child)
            child.communicate()


def test_undisturbed(tmp_path: Path) -> None:
    with WebhookReceiver() as receiver:
        child = _start(tmp_path, receiver.url, datetime.now(UTC), 0)
        out, _ = child.communicate(timeout=60)
        assert json.loads(out)["delivered"] == 1
        assert [c.json["kind"] for c in receiver.calls] == ["firing"]
