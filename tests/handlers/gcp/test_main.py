"""The Google Cloud functions in functions-framework, started as Cloud Run starts it, with recorded requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.layer import ROOT
from tests.handlers.conftest import ANN_SEES, JOIN, Receiver, event
from tests.runtimes.functions_framework import Function
from tests.runtimes.google_cloud import PROJECT, GoogleCloud, source
from tests.runtimes.google_fakes import Code, Refuse

Start = Callable[..., Function]


@pytest.fixture
def cloud() -> Iterator[GoogleCloud]:
    with GoogleCloud() as made:
        yield made


@pytest.fixture
def start(project: Path, tmp_path: Path, cloud: GoogleCloud) -> Iterator[Start]:
    running: list[Function] = []

    def started(target: str, **env: str) -> Function:
        settings = {"OMNI_PROJECT": str(project), **cloud.env, **env}
        signature = "cloudevent" if target == "work" else "http"
        running.append(Function(target, source(tmp_path), settings, signature=signature, paths=[ROOT]))
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


def lines(function: Function) -> list[dict[str, Any]]:
    return [json.loads(line) for line in function.log().splitlines() if line.startswith("{")]


def test_http_asks(start: Start) -> None:
    ask = start("ask")
    status, answer = send(ask, "gcp_ask")
    assert status == 200, (answer, ask.log())
    assert answer["rows"] == ANN_SEES
    status, answer = send(ask, "gcp_ask", body=json.dumps({"sql": JOIN}))
    assert (status, answer.get("rows")) == (200, [[1, "open"], [3, "closed"]]), (answer, ask.log())
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


IAM = "Bearer eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6ImFubkBleGFtcGxlLmNvbSJ9.SIGNATURE_REMOVED_BY_GOOGLE"


def test_behind_iam_the_key_has_a_header_of_its_own(start: Start) -> None:
    ask = start("ask")
    both = {"Authorization": IAM, "X-Omni-Authorization": "Bearer ann-key"}
    status, answer = send(ask, "gcp_ask", headers=both)
    assert (status, answer.get("rows")) == (200, ANN_SEES)
    for headers in ({"Authorization": IAM}, {**both, "X-Omni-Authorization": "Bearer nope"}):
        status, answer = send(ask, "gcp_ask", headers=headers)
        assert (status, answer["error"]["code"]) == (401, "UNAUTHENTICATED"), "a token that anybody can write"


def test_cloud_schedulers_call_fires_once_however_often_it_comes(start: Start, receiver: Receiver) -> None:
    watch = start("watch")
    status, first = send(watch, "gcp_cloud_scheduler")
    assert status == 200, (first, watch.log())
    assert (first["outcome"], first["delivered"]) == ("ALERT", 1)
    assert first["slot"].startswith("2026-01-31T09:00:00"), "the slot is the scheduler's header"
    status, _ = send(watch, "gcp_cloud_scheduler")
    assert status == 200
    assert len(receiver.got) == 1


def test_another_instance_knows_what_the_first_did(start: Start, receiver: Receiver) -> None:
    assert send(start("watch"), "gcp_cloud_scheduler")[0] == 200
    assert send(start("watch"), "gcp_cloud_scheduler")[0] == 200
    assert len(receiver.got) == 1, "the state is in Firestore and not in an instance"


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
    (line,) = [one for one in lines(ask) if one["severity"] == "ERROR" and "sourcse" in one["message"]]
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["logging.googleapis.com/trace"] == f"projects/{PROJECT}/traces/{trace}"


def test_a_missing_permission_is_named(start: Start, cloud: GoogleCloud) -> None:
    cloud.fakes.refuse["AccessSecretVersion"] = [Refuse(Code.PERMISSION_DENIED)] * 9
    ask = start("ask")
    _, answer = send(ask, "gcp_ask")
    told = json.dumps(answer) + ask.log()
    assert "secretmanager.versions.access" in told
    assert "s3cret" not in told, "Google's own text stays out of it"


# ── work ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(ask: Function) -> str:
    status, job = send(ask, "gcp_ask", body=json.dumps({"sql": JOIN, "mode": "async"}))
    assert status == 202, (job, ask.log())
    return str(job["job_id"])


def polled(ask: Function, job: str, wanted: str) -> None:
    end = time.monotonic() + 60
    while True:
        response = ask.request("GET", f"/v1/jobs/{job}", headers={"Authorization": "Bearer ann-key"})
        state = json.loads(response.data)["state"]
        if state == wanted:
            return
        assert time.monotonic() < end, state
        time.sleep(0.1)


def test_a_question_is_pushed_to_work_and_fetched_by_who_asked(start: Start, cloud: GoogleCloud) -> None:
    ask, work = start("ask"), start("work")
    cloud.push_to(f"http://127.0.0.1:{work.port}/")
    job = asked(ask)
    polled(ask, job, "DONE")
    result = f"/v1/jobs/{job}/result"
    response = ask.request("GET", result, headers={"Authorization": "Bearer ann-key"})
    assert json.loads(response.data)["rows"] == [[1, "open"], [3, "closed"]]
    assert ask.request("GET", result, headers={"Authorization": "Bearer ops-key"}).status == 404


def test_a_message_that_is_no_job_ends_among_the_dead_letters(start: Start, cloud: GoogleCloud) -> None:
    work = start("work")
    letters = cloud.push_to(f"http://127.0.0.1:{work.port}/")
    cloud.publisher.publish(topic=cloud.topic, messages=[{"data": b"no json"}])
    (message,) = cloud.take(letters, 60)
    assert bytes(message.message.data) == b"no json"
    assert any("not JSON" in line["message"] for line in lines(work))


def test_an_event_of_eventarc_is_taken(start: Start, cloud: GoogleCloud) -> None:
    work = start("work")
    recorded = event("gcp_pubsub")
    response = work.request("POST", "/", body=recorded["body"].encode(), headers=recorded["headers"])
    assert response.status == 500, "its job is none of ours"
    for odd in ({}, {"message": "x"}, {"message": {"data": "%%"}}):
        assert work.request("POST", "/", body=json.dumps(odd).encode(), headers=recorded["headers"]).status == 500
