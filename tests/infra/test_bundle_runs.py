"""Each cloud's real runtime starts from the unpacked bundle: Python 3.13 with nothing of ours but the bundle itself."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.conftest import ANN_SEES, JOIN, SECRETS, event
from tests.infra.bundles import unpacked
from tests.runtimes.azure_cloud import shared as azure
from tests.runtimes.azure_worker import Worker
from tests.runtimes.functions_framework import Function
from tests.runtimes.google_cloud import GoogleCloud
from tests.runtimes.lambda_api import Lambda
from tests.runtimes.ministack import CREDENTIALS, Ministack, client, create_table
from tests.runtimes.ministack import shared as emulator
from tests.runtimes.places import python313, runtime


def both(ask: Any) -> None:
    """``ask(sql) -> rows``: one source, and a join that needs the engine."""
    assert ask("SELECT id, team, amount FROM shop.orders ORDER BY id") == ANN_SEES
    assert ask(JOIN) == [[1, "open"], [3, "closed"]]


def test_aws(shared: Path) -> None:
    python, library, folder = python313(), runtime("aws"), unpacked("aws", shared)
    url, name = emulator(Ministack).url, f"b{uuid.uuid4().hex[:8]}"
    create_table(url, name)
    for secret, value in SECRETS.items():
        client("secretsmanager", url).create_secret(Name=f"{name}/{secret}", SecretString=value)
    env = {"OMNI_STORE_TABLE": name, "OMNI_SECRET_PREFIX": f"{name}/", "OMNI_ENDPOINT_URL": url, **CREDENTIALS}
    with Lambda("handlers.aws.main.ask", folder, env, python=python, paths=[library]) as function:

        def ask(sql: str) -> Any:
            status, answer = function.invoke({**event("aws_function_url"), "body": json.dumps({"sql": sql})}).http()
            assert status == 200, (answer, function.log())
            return answer["rows"]

        both(ask)
    with Lambda("handlers.aws.main.watch", folder, env, python=python, paths=[library]) as function:
        result = function.invoke(event("aws_eventbridge_scheduler"))
        assert result.error is None, result.error
        assert (result.payload["outcome"], result.payload["owed"]) == ("ALERT", 1), "nobody listens at its webhook"


@pytest.fixture
def google() -> Iterator[GoogleCloud]:
    with GoogleCloud() as made:
        yield made


def test_gcp(shared: Path, google: GoogleCloud) -> None:
    python, library, folder = python313(), runtime("gcp"), unpacked("gcp", shared)
    with Function("ask", folder / "main.py", google.env, python=python, paths=[library]) as function:

        def ask(sql: str) -> Any:
            recorded = event("gcp_ask")
            response = function.request(
                "POST", "/v1/query", body=json.dumps({"sql": sql}).encode(), headers=recorded["headers"]
            )
            assert response.status == 200, (response.data, function.log())
            return json.loads(response.data)["rows"]

        both(ask)
    with Function("watch", folder / "main.py", google.env, python=python, paths=[library]) as function:
        recorded = event("gcp_cloud_scheduler")
        response = function.request("POST", "/", body=recorded["body"].encode(), headers=recorded["headers"])
        assert response.status == 200, (response.data, function.log())
        told = json.loads(response.data)
        assert (told["outcome"], told["owed"]) == ("ALERT", 1), "nobody listens at its webhook"


def test_azure(shared: Path) -> None:
    python, library, folder = python313(), runtime("azure"), unpacked("azure", shared)
    with Worker(folder, azure().deployment(SECRETS), python=python, paths=[library]) as worker:

        def ask(sql: str) -> Any:
            recorded = event("azure_ask")
            reply = worker.http(
                "ask", "POST", recorded["url"], body=json.dumps({"sql": sql}).encode(), headers=recorded["headers"]
            )
            assert reply.status == 200, (reply.body, worker.log())
            return reply.json()["rows"]

        both(ask)
        recorded = event("azure_logic_apps")
        reply = worker.http("watch", "POST", recorded["url"], body=recorded["body"].encode())
        assert (reply.status, reply.json()["outcome"], reply.json()["owed"]) == (200, "ALERT", 1), worker.log()


@pytest.fixture
def sealed(shared: Path) -> Iterator[Path]:
    """The AWS bundle with every folder closed to writing, as Lambda's disk is (root writes anyway; others do not)."""
    folder = unpacked("aws", shared)
    yield folder
    assert not any(p.name.endswith((".db-wal", ".db-shm", ".db-journal")) for p in (folder / "project").iterdir())


def test_a_run_leaves_nothing_in_the_bundle(sealed: Path) -> None:
    before = sorted((str(p), p.stat().st_mtime_ns) for p in sealed.rglob("*") if p.is_file())
    env = {"OMNI_ENDPOINT_URL": emulator(Ministack).url, "OMNI_STORE_TABLE": "not-there", **CREDENTIALS}
    with Lambda("handlers.aws.main.watch", sealed, env, python=python313(), paths=[runtime("aws")]) as function:
        raised = function.invoke(event("aws_eventbridge_scheduler")).error
        assert raised is not None
        assert raised["errorType"] == "ConfigInvalid"
    after = sorted((str(p), p.stat().st_mtime_ns) for p in sealed.rglob("*") if p.is_file())
    assert before == after
    assert os.environ.get("OMNI_PROJECT") is None
