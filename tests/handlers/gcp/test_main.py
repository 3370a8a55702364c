"""The Google Cloud functions in functions-framework, started as Cloud Run starts it, with recorded requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import SHIMS
from infra.layer import ROOT
from tests.handlers.conftest import ANN_SEES, JOIN, KEYS, Receiver, event
from tests.runtimes.functions_framework import Function

Start = Callable[..., Function]


@pytest.fixture
def start(project: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[Function] = []
    source = tmp_path / "main.py"  # the shim of a bundle: a function is never rooted in handlers/gcp
    source.write_text(SHIMS["gcp"]["main.py"])

    def started(target: str, *, signature: str = "http", **env: str) -> Function:
        settings = {"OMNI_PROJECT": str(project), "OMNI_STATE_DIR": str(tmp_path / "state"), **KEYS, **env}
        running.append(Function(target, source, settings, signature=signature, paths=[ROOT]))
        return running[-1]

    yield started
    for one in running:
        one.__exit__()


def send(function: Function, name: str, **changed: Any) -> tuple[int, Any]:
    recorded = {**event(name), **changed}
    response = function.request(
        recorded["method"], recorded["path"], body=recorded["body"].encode(), headers=recorded["headers"]
    )
    return response.status, json.loads(response.data) if response.data else None


def test_http_asks(start: Start) -> None:
    ask = start("ask")
    status, answer = send(ask, "gcp_ask")
    assert status == 200, answer
    assert answer["rows"] == ANN_SEES
    status, answer = send(ask, "gcp_ask", body=json.dumps({"sql": JOIN}))
    assert (status, answer["rows"]) == (200, [[1, "open"], [3, "closed"]])
    response = ask.request("GET", "/v1/tables/shop.orders", headers={"Authorization": "Bearer ann-key"})
    assert (response.status, response.headers["cache-control"]) == (200, "no-store")


def test_errors_have_their_shape_and_status(start: Start) -> None:
    ask = start("ask")
    assert ask.request("GET", "/healthz").status == 200
    recorded = event("gcp_ask")["headers"]
    cases = [
        ({"body": "{"}, 400, "CONFIG_INVALID"),
        ({"body": "x" * 1_000_001}, 413, "RESOURCE_LIMIT"),
        ({"body": '{"sql": "DELETE FROM shop.orders"}'}, 400, "SQL_REJECTED"),
        ({"headers": {**recorded, "Authorization": "Bearer nope"}}, 401, "UNAUTHENTICATED"),
        ({"path": "/v1/nope"}, 404, "NOT_FOUND"),
        ({"method": "PUT"}, 405, "CONFIG_INVALID"),
    ]
    for changed, status, code in cases:
        got, answer = send(ask, "gcp_ask", **changed)
        assert (got, answer["error"]["code"]) == (status, code)


def test_cloud_schedulers_call_fires_once_however_often_it_comes(start: Start, receiver: Receiver) -> None:
    watch = start("watch")
    status, first = send(watch, "gcp_cloud_scheduler")
    assert status == 200, first
    assert (first["outcome"], first["delivered"]) == ("ALERT", 1)
    assert first["slot"].startswith("2026-01-31T09:00:00"), "the slot is the scheduler's header"
    status, _ = send(watch, "gcp_cloud_scheduler")
    assert status == 200
    assert len(receiver.got) == 1


def test_watch_says_what_is_wrong_with_a_call(start: Start) -> None:
    watch = start("watch")
    assert send(watch, "gcp_cloud_scheduler", body='{"alert": "nope"}')[0] == 404
    status, answer = send(watch, "gcp_cloud_scheduler", body='{"alrt": "x"}')
    assert (status, "alert" in answer["error"]["message"]) == (400, True)
    assert send(watch, "gcp_cloud_scheduler", headers={"Authorization": "Bearer nope"})[0] == 401
    assert send(watch, "gcp_cloud_scheduler", body='{"sweep": true}')[0] == 200


def test_a_cold_start_that_fails_answers_and_logs_why(start: Start, project: Path) -> None:
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    ask = start("ask")
    status, answer = send(ask, "gcp_ask")
    assert (status, answer["error"]["code"]) == (500, "CONFIG_INVALID")
    status, answer = send(start("watch"), "gcp_cloud_scheduler")
    assert (status, answer["error"]["code"]) == (500, "CONFIG_INVALID"), "a scheduler tries 5xx again"
    lines = [json.loads(line) for line in ask.log().splitlines() if line.startswith("{")]
    assert any(line["severity"] == "ERROR" and "sourcse" in line["message"] for line in lines)


def test_jobs_go_back_to_their_topic(start: Start) -> None:
    work = start("work", signature="cloudevent")
    status, _ = send_event(work)
    assert status == 500
    assert "Jobs are not there yet" in work.log()


def send_event(function: Function) -> tuple[int, bytes]:
    recorded = event("gcp_pubsub")
    response = function.request("POST", "/", body=recorded["body"].encode(), headers=recorded["headers"])
    return response.status, response.data


def test_a_state_that_will_be_lost_is_warned_about(start: Start, tmp_path: Path) -> None:
    ask = start("ask", OMNI_STATE_DIR="", TMPDIR=str(tmp_path))
    send(ask, "gcp_ask")
    assert "OMNI_STATE_DIR" in ask.log()
