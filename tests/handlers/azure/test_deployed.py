"""The code zip in Microsoft's worker library, and the project as a blob: what Terraform deploys."""

from __future__ import annotations

import zipfile
from pathlib import Path

from infra.parts import parts
from tests.handlers.conftest import ANN_SEES, SECRETS, event
from tests.runtimes.azure_cloud import AzureCloud
from tests.runtimes.azure_worker import Worker
from tests.runtimes.places import python313, runtime


def test_a_cold_start_reads_its_project_from_the_container(project: Path, tmp_path: Path, cloud: AzureCloud) -> None:
    from handlers.azure.clients import Identity
    from handlers.azure.objects import container_client

    python, library = python313(), runtime("azure")
    made = parts("azure", project, tmp_path / "dist", offline=True)
    app = tmp_path / "app"
    with zipfile.ZipFile(made.code) as archive:
        archive.extractall(app)
    assert not (app / "project").exists()
    env = {**cloud.deployment(SECRETS), "OMNI_PROJECT_OBJECT": f"projects/{made.project.name}", "TMPDIR": str(tmp_path)}
    with Worker(app, env, python=python, paths=[library]) as worker:
        recorded = event("azure_ask")
        url, body, headers = recorded["url"], recorded["body"].encode(), recorded["headers"]
        missing = worker.http("ask", "POST", url, body=body, headers=headers)
        assert missing.status == 500, "no blob yet; the next request tries again"
        container = container_client(env["OMNI_OBJECTS"], Identity(env))
        container.upload_blob(env["OMNI_PROJECT_OBJECT"], made.project.read_bytes())  # as Terraform names it
        reply = worker.http("ask", "POST", url, body=body, headers=headers)
        assert (reply.status, reply.json()["rows"]) == (200, ANN_SEES), worker.log()
