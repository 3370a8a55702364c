"""The Azure functions in Microsoft's own worker library on Python 3.13, with recorded requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import SHIMS
from infra.layer import ROOT, layer
from tests.handlers.conftest import ANN_SEES, JOIN, KEYS, Receiver, event
from tests.runtimes.azure_worker import Reply, Worker
from tests.runtimes.places import PYTHON, python313, runtime


@pytest.fixture
def worker(project: Path, tmp_path: Path) -> Iterator[Worker]:
    """The app from the working tree, with the dependencies a bundle would have."""
    python, library = python313(), runtime("azure")
    folder = tmp_path / "app"
    folder.mkdir()
    for name, text in SHIMS["azure"].items():
        (folder / name).write_text(text)
    env = {"OMNI_PROJECT": str(project), "OMNI_STATE_DIR": str(tmp_path / "state"), **KEYS}
    dependencies = layer("azure", (), PYTHON, offline=True).folder
    with Worker(folder, env, python=python, paths=[ROOT, library, dependencies]) as started:
        yield started


def send(worker: Worker, function: str, name: str, **changed: Any) -> Reply:
    recorded = {**event(name), **changed}
    return worker.http(
        function, recorded["method"], recorded["url"], body=recorded["body"].encode(), headers=recorded["headers"]
    )


def test_the_functions_and_their_triggers(worker: Worker) -> None:
    triggers = {name: next(b for b in found if b["type"].lower().endswith("trigger"))
                for name, found in worker.functions.items()}  # fmt: skip
    assert set(triggers) == {"ask", "watch", "work"}
    assert (triggers["ask"]["route"], triggers["ask"]["authLevel"].lower()) == ("{*path}", "anonymous")
    assert (triggers["watch"]["route"], triggers["watch"]["authLevel"].lower()) == ("watch", "function")
    assert triggers["work"]["queueName"] == "omnisentinel-jobs"


def test_http_asks(worker: Worker) -> None:
    reply = send(worker, "ask", "azure_ask")
    assert reply.status == 200, reply.body
    assert reply.json()["rows"] == ANN_SEES
    assert reply.headers["Cache-Control"] == "no-store"
    reply = send(worker, "ask", "azure_ask", body=json.dumps({"sql": JOIN}))
    assert (reply.status, reply.json()["rows"]) == (200, [[1, "open"], [3, "closed"]])


def test_errors_have_their_shape_and_status(worker: Worker) -> None:
    recorded = event("azure_ask")["headers"]
    cases = [
        ({"body": "{"}, 400, "CONFIG_INVALID"),
        ({"body": '{"sql": "DELETE FROM shop.orders"}'}, 400, "SQL_REJECTED"),
        ({"headers": {**recorded, "Authorization": "Bearer nope"}}, 401, "UNAUTHENTICATED"),
        ({"url": "https://omnisentinel-test.azurewebsites.net/v1/nope"}, 404, "NOT_FOUND"),
        ({"method": "PUT"}, 405, "CONFIG_INVALID"),
    ]
    for changed, status, code in cases:
        reply = send(worker, "ask", "azure_ask", **changed)
        assert (reply.status, reply.json()["error"]["code"]) == (status, code)
    healthz = worker.http("ask", "GET", "https://omnisentinel-test.azurewebsites.net/healthz")
    assert healthz.status == 200


def test_logic_apps_call_fires_once_however_often_it_comes(worker: Worker, receiver: Receiver) -> None:
    first = send(worker, "watch", "azure_logic_apps")
    assert first.status == 200, first.body
    assert (first.json()["outcome"], first.json()["delivered"]) == ("ALERT", 1)
    assert first.json()["slot"].startswith("2026-01-31T09:00:00")
    assert send(worker, "watch", "azure_logic_apps").status == 200
    assert len(receiver.got) == 1
    assert send(worker, "watch", "azure_logic_apps", body='{"alert": "nope"}').status == 404
    assert send(worker, "watch", "azure_logic_apps", headers={"Authorization": "Bearer nope"}).status == 401


def test_watch_tells_a_wrong_call_from_a_failure(worker: Worker, project: Path) -> None:
    assert send(worker, "watch", "azure_logic_apps", body='{"alrt": "x"}').status == 400
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    reply = send(worker, "watch", "azure_logic_apps")
    assert (reply.status, reply.json()["error"]["code"]) == (500, "CONFIG_INVALID")


def test_jobs_go_back_to_the_queue(worker: Worker) -> None:
    error = worker.queue("work", event("azure_queue")["queue"])
    assert error is not None
    assert "Jobs are not there yet" in error["message"]
