"""The AWS module in a real account: opt-in, half an hour, some cents.

    OMNI_LIVE_AWS=1 AWS_REGION=eu-central-1 pytest tests/live/test_aws.py -x

Proves what no emulator does: that IAM lets each role do its work, the key through every service, layers, URLs,
the canary and its end, and that a second plan is empty. Everything is named ``omni-live-XXXX`` and destroyed at the
end, also after a failure; secrets are deleted without recovery.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.deploy import canary
from infra.parts import parts
from tests.handlers.conftest import write_project

pytestmark = pytest.mark.skipif(os.environ.get("OMNI_LIVE_AWS") != "1", reason="set OMNI_LIVE_AWS=1 to use an account")

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"ann_key": "ann-key", "ops_key": "ops-key", "hook_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


@dataclass
class Live:
    name: str
    root: Path
    folder: Path
    project: Path

    def terraform(self, *arguments: str) -> str:
        done = subprocess.run(
            ["terraform", f"-chdir={self.root}", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 2), done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def deploy(self) -> dict[str, Any]:
        """Build, apply, and return the outputs."""
        report = parts("aws", self.project, self.folder / "dist")
        self.terraform("apply", "-input=false", "-auto-approve", f"-var=manifest={report.manifest}")
        outputs: dict[str, Any] = json.loads(self.terraform("output", "-json"))["all"]["value"]
        return outputs

    def manifest(self) -> str:
        return str(self.folder / "dist" / "aws" / "deployment.json")


def client(service: str) -> Any:
    import botocore.session

    return botocore.session.get_session().create_client(service, region_name=os.environ["AWS_REGION"])


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder, name = tmp_path_factory.mktemp("live"), f"omni-live-{uuid.uuid4().hex[:4]}"
    project = write_project(folder / "project", "https://127.0.0.1:9/hook")
    alert = project / "alerts" / "stock.yaml"
    alert.write_text(alert.read_text().replace('"0 9 * * *"', '"* * * * *"'))
    root = folder / "root"
    root.mkdir()
    (root / "main.tf").write_text(f"""\
variable "manifest" {{ type = string }}
module "this" {{
  source        = "{ROOT}/infra/terraform/aws"
  name          = "{name}"
  manifest      = var.manifest
  region        = "{os.environ["AWS_REGION"]}"
  url_auth      = "NONE"
  force_destroy = true
  canary        = {{ enabled = true, minutes = 1, percent = 50 }}
}}
output "all" {{ value = module.this }}
""")
    made = Live(name, root, folder, project)
    manager = client("secretsmanager")
    for secret, value in SECRETS.items():
        manager.create_secret(Name=f"{name}/{secret}", SecretString=value)
    try:
        made.terraform("init", "-input=false")
        yield made
    finally:
        made.terraform("destroy", "-input=false", "-auto-approve", f"-var=manifest={made.manifest()}")
        for secret in SECRETS:
            manager.delete_secret(SecretId=f"{name}/{secret}", ForceDeleteWithoutRecovery=True)


@pytest.fixture(scope="module")
def outputs(live: Live) -> dict[str, Any]:
    return live.deploy()


def eventually(look: Callable[[], Any], seconds: float) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(5)
    return found


def ask(url: str, body: Any, path: str = "v1/query", key: str = "ann-key") -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read() or b"{}")


def test_ask_answers_and_refuses(outputs: dict[str, Any]) -> None:
    question = {"sql": "SELECT id FROM shop.orders ORDER BY id"}
    status, answer = ask(outputs["function_url"], question)
    assert (status, answer.get("rows")) == (200, [[1], [3]]), answer
    assert ask(outputs["function_url"], question, key="nobody")[0] == 401


def test_a_schedule_fires_watch(outputs: dict[str, Any]) -> None:
    """Its state is there, and so is the message that nobody takes: the webhook leads nowhere."""
    table = client("dynamodb")
    eventually(
        lambda: any("low-stock" in json.dumps(item) for item in table.scan(TableName=outputs["table"])["Items"]), 240
    )


def test_a_job_comes_back(outputs: dict[str, Any]) -> None:
    url = outputs["function_url"]
    status, job = ask(url, {"sql": "SELECT count(*) AS n FROM shop.orders", "mode": "async"})
    assert status == 202, job
    path = f"v1/jobs/{job['job_id']}"
    eventually(lambda: ask(url, None, path)[1].get("state") == "DONE", 120)
    assert ask(url, None, f"{path}/result")[1]["rows"] == [[2]]


def test_a_second_plan_is_empty(live: Live, outputs: dict[str, Any]) -> None:
    told = live.terraform("plan", "-input=false", "-detailed-exitcode", f"-var=manifest={live.manifest()}")
    assert "No changes" in told


def test_a_change_goes_through_the_canary(live: Live, outputs: dict[str, Any]) -> None:
    alert = live.project / "alerts" / "stock.yaml"
    alert.write_text(alert.read_text() + "description: changed\n")
    now = {"canary": live.deploy()["canary"]}
    followed = canary.follow("aws", now, print)
    assert followed is not None
    assert set(followed["functions"]) == {"ask", "watch", "work"}

    def all_moved() -> bool:
        where = canary.progress("aws", now) or {}
        assert not [one for one in where.values() if one.get("status") in ("Failed", "Stopped")], where
        return all(one["live"] == one["newest"] for one in where.values())

    eventually(all_moved, 900)
    assert ask(outputs["function_url"], {"sql": "SELECT 1 AS one"})[0] == 200
