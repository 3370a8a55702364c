"""`omni deploy` from a fresh project on every cloud: the root module that it makes is one that plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.handlers.local.test_cli import good, omni
from tests.runtimes.places import python313
from tests.terraform.binary import terraform

VARIABLES = {
    "aws": "",
    "gcp": 'project_id = "acme-alerts-1"\nregion = "europe-west3"\n',
    "azure": 'subscription_id = "11111111-2222-3333-4444-555555555555"\nregion = "westeurope"\n'
    'alarm_emails = ["ops@example.com"]\n',
}
TIMERS = {"aws": "aws_scheduler_schedule", "gcp": "google_cloud_scheduler_job", "azure": "azapi_resource"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    python313()
    terraform()
    good("init", "p", cwd=tmp_path)
    return tmp_path / "p"


@pytest.mark.parametrize("cloud", VARIABLES)
def test_a_newcomers_first_deployment(cloud: str, home: Path, configurations: Callable[[str], Path]) -> None:
    env = {"TF_CLI_CONFIG_FILE": str(configurations("new")), "AWS_REGION": "eu-central-1"}
    first = omni("deploy", cloud, cwd=home, env=env)
    if VARIABLES[cloud]:
        assert first.returncode == 2 and "in terraform.tfvars" in first.stderr, first.stderr
    assert "yours to edit" in first.stderr
    (home / "deploy" / cloud / "terraform.tfvars").write_text(VARIABLES[cloud])
    planned = json.loads(good("deploy", cloud, "--json", cwd=home, env=env).stdout)
    assert planned["counts"] == {"create": len(planned["resources"])} and planned["endangered"] == []
    made = {one["address"] for one in planned["resources"]}
    assert any(f'{TIMERS[cloud]}.timer["big-orders"]' in address for address in made)
    assert 0.3 < planned["dollars_per_month"] < 30
    assert not list((home / "deploy" / cloud).glob("*.tfstate"))
