"""The Azure functions in Microsoft's own worker library on Python 3.13, with recorded requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import SHIMS
from infra.layer import ROOT, layer
from tests.handlers.conftest import ANN_SEES, JOIN, SECRETS, Receiver, event
from tests.runtimes.azure_cloud import AzureCloud
from tests.runtimes.azure_worker import Reply, Worker
from tests.runtimes.places import PYTHON, python313, runtime

ANN_AT_ENTRA = "0a1b2c3d-1111-2222-3333-444455556666"


def started(folder: Path, project: Path, env: dict[str, str]) -> Worker:
    """The app from the working tree, with the dependencies a bundle would have."""
    python, library = python313(), runtime("azure")
    folder.mkdir()
    for name, text in SHIMS["azure"].items():
        (folder / name).write_text(text)
    dependencies = layer("azure", (), PYTHON, offline=True).folder
    return Worker(folder, {"OMNI_PROJECT": str(project), **env}, python=python, paths=[ROOT, library, dependencies])


@pytest.fixture
def worker(project: Path, tmp_path: Path, cloud: AzureCloud) -> Iterator[Worker]:
    with started(tmp_path / "app", project, cloud.deployment(SECRETS)) as made:
        yield made


def send(worker: Worker, function: str, name: str, **changed: Any) -> Reply:
    recorded = {**event(name), **changed}
    return worker.http(
        function, recorded["method"], recorded["url"], body=recorded["body"].encode(), headers=recorded["headers"]
    )


def triggers(worker: Worker) -> dict[str, dict[str, Any]]:
    return {name: next(b for b in found if b["type"].lower().endswith("trigger"))
            for name, found in worker.functions.items()}  # fmt: skip


def test_the_functions_and_their_triggers(worker: Worker) -> None:
    found = triggers(worker)
    assert set(found) == {"ask", "watch", "work"}
    assert (found["ask"]["route"], found["ask"]["authLevel"].lower()) == ("{*path}", "anonymous")
    assert (found["watch"]["route"], found["watch"]["authLevel"].lower()) == ("watch", "function")
    assert found["work"]["connection"] == "JobsStorage"


def test_two_deployments_in_one_account_have_two_queues(tmp_path: Path, project: Path) -> None:
    for name in ("omni-jobs", "other-jobs"):
        env = {"OMNI_QUEUE": f"https://account.queue.core.windows.net/{name}"}
        with started(tmp_path / name, project, env) as made:
            assert triggers(made)["work"]["queueName"] == name


def test_http_asks(worker: Worker) -> None:
    reply = send(worker, "ask", "azure_ask")
    assert reply.status == 200, (reply.body, worker.log())
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


def test_a_line_of_the_log_is_json_and_the_sdk_is_quiet(worker: Worker) -> None:
    send(worker, "ask", "azure_ask", headers={"X-Request-Id": "r-1"}, body="{")
    worker.queue("work", "{")
    lines = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    assert any(line["level"] == "WARNING" and line.get("dequeue_count") == 1 for line in lines), worker.log()
    assert "azure.core.pipeline" not in worker.log()
    assert "Bearer" not in worker.log()


def test_logic_apps_call_fires_once_however_often_it_comes(worker: Worker, receiver: Receiver) -> None:
    first = send(worker, "watch", "azure_logic_apps")
    assert first.status == 200, (first.body, worker.log())
    assert (first.json()["outcome"], first.json()["delivered"]) == ("ALERT", 1)
    assert first.json()["slot"].startswith("2026-01-31T09:00:00")
    assert send(worker, "watch", "azure_logic_apps").status == 200
    assert len(receiver.got) == 1
    assert send(worker, "watch", "azure_logic_apps", body='{"alert": "nope"}').status == 404
    assert send(worker, "watch", "azure_logic_apps", headers={"Authorization": "Bearer nope"}).status == 401
    swept = send(worker, "watch", "azure_logic_apps", body='{"sweep": true, "scheduled_at": "2026-01-31T09:01:00Z"}')
    assert swept.status == 200, swept.body


def test_watch_tells_a_wrong_call_from_a_failure(worker: Worker, project: Path) -> None:
    assert send(worker, "watch", "azure_logic_apps", body='{"alrt": "x"}').status == 400
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    reply = send(worker, "watch", "azure_logic_apps")
    assert (reply.status, reply.json()["error"]["code"]) == (500, "CONFIG_INVALID")


def test_a_job_goes_through_the_queue(worker: Worker, cloud: AzureCloud) -> None:
    body = json.dumps({**json.loads(event("azure_ask")["body"]), "mode": "async"})
    reply = send(worker, "ask", "azure_ask", body=body)
    assert reply.status == 202, (reply.body, worker.log())
    job = reply.json()["job_id"]
    for _ in range(2):  # the host may bring it twice
        assert worker.queue("work", json.dumps({"job": job})) is None
    site, key = "https://omnisentinel-test.azurewebsites.net", {"Authorization": "Bearer ann-key"}
    assert worker.http("ask", "GET", f"{site}/v1/jobs/{job}", headers=key).json()["state"] == "DONE"
    result = worker.http("ask", "GET", f"{site}/v1/jobs/{job}/result", headers=key)
    assert (result.status, result.json()["rows"]) == (200, ANN_SEES)
    other = worker.http("ask", "GET", f"{site}/v1/jobs/{job}/result", headers={"Authorization": "Bearer ops-key"})
    assert other.status == 404


def test_a_message_that_is_no_job_goes_back_and_in_the_end_to_the_poison_queue(worker: Worker) -> None:
    for text in ("no json", "{}", '{"job": 7}'):
        error = worker.queue("work", text)
        assert error is not None
        assert "ConfigInvalid" in error["message"] + error["stack"], error


# ── App Service authentication ───────────────────────────────────────────────────────────────────────────────────


def signed_in(object_id: str, **more: str) -> dict[str, str]:
    """What App Service adds to a request whose token it has checked."""
    claims = [{"typ": "name", "val": "ops"}, {"typ": "preferred_username", "val": "ops@example.com"},
              {"typ": "http://schemas.microsoft.com/identity/claims/objectidentifier", "val": object_id}]  # fmt: skip
    principal = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(principal).encode()).decode(),
            "X-MS-CLIENT-PRINCIPAL-NAME": "ops", "Authorization": "Bearer aaa.bbb.ccc", **more}  # fmt: skip


def test_who_entra_has_verified_is_a_principal_by_object_id(project: Path, tmp_path: Path, cloud: AzureCloud) -> None:
    text = (project / "omni.yaml").read_text()
    entry = f'principals:\n  "entra:{ANN_AT_ENTRA}": {{roles: [viewer], teams: [a]}}\n'
    (project / "omni.yaml").write_text(text.replace("principals:\n", entry))
    env = {**cloud.deployment(SECRETS), "WEBSITE_AUTH_ENABLED": "True"}
    with started(tmp_path / "app", project, env) as worker:
        reply = send(worker, "ask", "azure_ask", headers=signed_in(ANN_AT_ENTRA.upper()))
        assert (reply.status, reply.json().get("rows")) == (200, ANN_SEES), reply.body
        unknown = send(worker, "ask", "azure_ask", headers=signed_in("ffffffff-1111-2222-3333-444455556666"))
        assert unknown.status == 401, "a name in a token is not who somebody is"
        own = signed_in(ANN_AT_ENTRA, **{"X-Omni-Authorization": "Bearer nope"})
        assert send(worker, "ask", "azure_ask", headers=own).status == 401, "our own key comes first"
        for broken in ("%%%", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"claims": 1}').decode()):
            headers = {**signed_in(ANN_AT_ENTRA), "X-MS-CLIENT-PRINCIPAL": broken}
            assert send(worker, "ask", "azure_ask", headers=headers).status == 401


def test_a_forged_principal_says_nothing_where_app_service_does_not_authenticate(
    project: Path, tmp_path: Path, cloud: AzureCloud
) -> None:
    text = (project / "omni.yaml").read_text()
    entry = f'principals:\n  "entra:{ANN_AT_ENTRA}": {{roles: [viewer], teams: [a]}}\n'
    (project / "omni.yaml").write_text(text.replace("principals:\n", entry))
    with started(tmp_path / "app", project, cloud.deployment(SECRETS)) as worker:
        forged = signed_in(ANN_AT_ENTRA)
        assert send(worker, "ask", "azure_ask", headers=forged).status == 401
        forged["Authorization"] = "Bearer ann-key"
        assert send(worker, "ask", "azure_ask", headers=forged).status == 200
