"""A whole deployment with the real terraform, on a module that only writes down what it was given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.errors import ConfigInvalid, NotFound
from infra.deploy.steps import Deployment
from infra.deploy.summary import text
from tests.handlers.conftest import write_project
from tests.infra.bundles import HOOK
from tests.parts import foreign
from tests.runtimes.places import python313

MODULE = """
variable "manifest" { type = string }
locals { told = jsondecode(file(var.manifest)) }
resource "terraform_data" "function" {
  input = [local.told.code.file, filesha256("${dirname(var.manifest)}/${local.told.project.file}")]
}
resource "terraform_data" "timer" {
  for_each = local.told.timers
  input    = each.value.native
}
output "project" { value = local.told.project.digest }
"""
ROOT_MODULE = """
variable "manifest" { type = string }
module "omnisentinel" {
  source   = "../.."
  manifest = var.manifest
}
output "project" { value = module.omnisentinel.project }
"""


@pytest.fixture
def there(tmp_path: Path) -> Deployment:
    python313()
    foreign("terraform", shutil.which("terraform") is not None, "install Terraform 1.9 or later")
    example = tmp_path / "modules" / "aws" / "examples" / "minimal"
    example.mkdir(parents=True)
    (tmp_path / "modules" / "aws" / "main.tf").write_text(MODULE)
    (example / "main.tf").write_text(ROOT_MODULE)
    now = [datetime(2026, 1, 31, tzinfo=UTC)]

    def clock() -> datetime:
        now[0] += timedelta(minutes=1)
        return now[0]

    return Deployment("aws", write_project(tmp_path / "company", HOOK), tmp_path / "dist", clock, tmp_path / "modules")


def deployed(there: Deployment) -> str:
    manifest, _ = there.prepare(offline=True)
    there.plan(manifest, {})
    return str(there.apply(manifest)["project"])


def schedule(there: Deployment, cron: str) -> None:
    alert = there.root / "alerts" / "stock.yaml"
    lines = [line for line in alert.read_text().splitlines() if not line.startswith("schedule:")]
    alert.write_text("\n".join([*lines, f'schedule: "{cron}"']) + "\n")


def test_the_root_module_is_made_once_and_then_the_users(there: Deployment) -> None:
    _, made = there.prepare(offline=True)
    assert made
    file = there.folder / "main.tf"
    file.write_text(file.read_text() + "# mine\n")
    _, made = there.prepare(offline=True)
    assert not made and file.read_text().endswith("# mine\n")


def test_plan_says_what_would_change_and_changes_nothing(there: Deployment) -> None:
    manifest, _ = there.prepare(offline=True)
    found = there.plan(manifest, {"shop": 1.5, "github": None, "rare": 0.02, "never": 0.0})
    assert found.counts == {"create": 3}
    assert found.timers == [("create", "low-stock")]
    shown = text(found)
    assert "(first deployment)" in shown and "3 resources: 3 to create" in shown
    assert "31 runs of alerts and 43,800 sweeps a month" in shown
    assert "source shop: 1.5 calls an hour" in shown and "github: as many calls as it has pages" in shown
    assert "source rare: under 0.1 calls an hour" in shown and "source never: 0.0 calls an hour" in shown
    assert not (there.folder / "terraform.tfstate").exists()
    assert there.history() == []


def test_a_second_plan_is_empty_and_a_change_of_yaml_is_told(there: Deployment) -> None:
    deployed(there)
    manifest, _ = there.prepare(offline=True)
    again = there.plan(manifest, {})
    assert again.empty and "Nothing in the cloud would change" in text(again)
    schedule(there, "*/5 * * * *")
    manifest, _ = there.prepare(offline=True)
    found = there.plan(manifest, {})
    assert found.timers == [("change", "low-stock")]
    assert found.code.endswith("(unchanged)") and " -> " in found.project
    assert found.runs == 8_760
    assert 'change   module.omnisentinel.terraform_data.timer["low-stock"]' in text(found)


def test_rollback_goes_to_what_was_deployed_before(there: Deployment) -> None:
    with pytest.raises(NotFound, match="no earlier deployment"):
        there.previous()
    first = deployed(there)
    schedule(there, "*/5 * * * *")
    second = deployed(there)
    assert deployed(there) == second, "the same again is no deployment to go back to"
    back = there.previous()
    found = there.plan(back, {})
    assert [verb for verb, _ in found.timers] == ["change"]
    assert there.apply(back, back=True)["project"] == first
    assert len(there.history()) == 4


def test_each_rollback_goes_further_back_and_never_to_what_was_taken_back(there: Deployment) -> None:
    made = []
    for minutes in (5, 6, 10):
        schedule(there, f"*/{minutes} * * * *")
        made.append(deployed(there))
    for earlier in (made[1], made[0]):
        there.plan(back := there.previous(), {})
        assert there.apply(back, back=True)["project"] == earlier
        assert "rolled_back" not in json.loads(back.read_text())
    with pytest.raises(NotFound, match="no earlier deployment"):
        there.previous()
    schedule(there, "*/12 * * * *")
    deployed(there)
    there.plan(back := there.previous(), {})
    assert there.apply(back, back=True)["project"] == made[0], "not the ones that were taken back"


def test_a_deployment_whose_run_ended_before_it_was_noted_is_noted_by_the_next(there: Deployment) -> None:
    first = deployed(there)
    schedule(there, "*/5 * * * *")
    manifest, _ = there.prepare(offline=True)
    there.plan(manifest, {})
    there.terraform.apply(there.plan_file)  # and here the process ended
    again = there.plan(manifest, {})
    assert again.empty and again.timers and "timer of" not in text(again), "it is made already"
    for _ in range(2):
        there.settle(manifest)
    assert len(there.history()) == 2
    assert json.loads(there.previous().read_text())["project"]["digest"] == first


def test_what_served_before_goes_on_reading_its_secrets(there: Deployment) -> None:
    """Until the next deployment: while a canary runs, and where it is taken back, the version before it has calls."""
    there.prepare(offline=True)
    root = there.folder / "main.tf"
    root.write_text(
        root.read_text()
        + """
variable "previous_secrets" {
  type    = list(string)
  default = []
}
output "before" { value = var.previous_secrets }
"""
    )
    omni = there.root / "omni.yaml"
    with_key = omni.read_text()
    deployed(there)
    assert there.outputs()["before"] == []
    omni.write_text(with_key.replace("secret:ann_key", "secret:other_key"))
    deployed(there)
    assert "ann_key" in there.outputs()["before"]
    manifest, _ = there.prepare(offline=True)
    assert there.plan(manifest, {}).empty, "the same again changes nothing"
    schedule(there, "*/5 * * * *")
    deployed(there)
    assert "ann_key" not in there.outputs()["before"]


def test_a_fresh_checkout_knows_what_is_deployed(there: Deployment) -> None:
    project = deployed(there)
    shutil.rmtree(there.folder / ".terraform")
    assert there.outputs()["project"] == project


def test_terraforms_own_destroy_needs_nothing_by_hand(there: Deployment) -> None:
    deployed(there)
    done = subprocess.run(["terraform", f"-chdir={there.folder}", "destroy", "-input=false", "-auto-approve"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "omni.auto.tfvars.json" in (there.folder / ".gitignore").read_text()


def test_plans_of_runs_that_were_killed_do_not_stay(there: Deployment) -> None:
    deployed(there)
    old, new = (there.plan_file.with_name(f"{name}.tfplan") for name in ("old", "new"))
    for file in (old, new):
        file.write_bytes(b"")
    os.utime(old, (0, 0))
    deployed(there)
    assert new.exists() and not old.exists()


def test_a_place_is_told_by_the_name_that_the_user_gave_it(there: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir / "tmpx1y2z3"))

    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    with pytest.raises(ConfigInvalid, match=r"dist/aws cannot be written or read: Permission denied\. Choose") as told:
        there.prepare(offline=True)
    assert "tmpx1y2z3" not in told.value.message


@pytest.mark.parametrize("how", ["TF_WORKSPACE", "terraform workspace select"])
def test_one_folder_is_one_deployment(there: Deployment, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("TF_WORKSPACE", "default")
    there.check()
    if how == "TF_WORKSPACE":
        monkeypatch.setenv("TF_WORKSPACE", "staging")
    else:
        monkeypatch.delenv("TF_WORKSPACE")
        (there.folder / ".terraform").mkdir(parents=True)
        (there.folder / ".terraform" / "environment").write_text("staging")
    with pytest.raises(ConfigInvalid, match=rf"{how}.* the workspace 'staging', but one folder is one deployment"):
        there.check()
    if how != "TF_WORKSPACE":
        (there.folder / "main.tf").write_text("terraform {\n  cloud {\n  }\n}\n")
        there.check()


@pytest.mark.parametrize("place", ["file", "deploy"])
def test_a_place_that_cannot_be_written_is_named(there: Deployment, tmp_path: Path, place: str) -> None:
    if place == "file":
        (tmp_path / "taken").write_text("")
        there = replace(there, out=tmp_path / "taken" / "dist")
    else:
        there.folder.parent.mkdir()
        there.folder.write_text("")
    with pytest.raises(ConfigInvalid, match=r"taken|deploy/aws"):
        there.prepare(offline=True)


@pytest.mark.parametrize(("part", "says"), [("project", "is not in"), ("code", "was changed or is damaged in")])
def test_rollback_without_the_zips_says_how_to_have_them_again(there: Deployment, part: str, says: str) -> None:
    deployed(there)
    schedule(there, "*/5 * * * *")
    deployed(there)
    assert there.previous().is_file()
    for zipped in (there.out / "aws").glob(f"{part}-*.zip"):
        if part == "project":
            zipped.unlink()
        else:
            zipped.write_bytes(zipped.read_bytes()[:1_000])
    with pytest.raises(ConfigInvalid, match=rf"{part}-\w+\.zip of the .* {says} .*the same input gives the same files"):
        there.previous()


def test_a_build_meanwhile_changes_nothing_of_a_run_that_has_begun(there: Deployment) -> None:
    manifest, _ = there.prepare(offline=True)
    there.plan(manifest, {})
    wanted = json.loads(manifest.read_text())["project"]["digest"]
    other = replace(there, run="another")
    schedule(other, "*/5 * * * *")
    later, _ = other.prepare(offline=True)
    other.plan(later, {})
    assert later != manifest
    assert there.apply(manifest)["project"] == wanted
    kept = there.last()
    assert kept is not None and kept["project"]["digest"] == wanted
    there.discard()
    assert not there.plan_file.exists() and other.plan_file.exists()
    assert there.terraform.log.read_text().startswith("# run another\n"), "each run begins its own log"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("{}", "it lacks cloud, code, project, secrets, timers"),
        ("[1]", "it is no mapping"),
        ("{", "Expecting property name"),
        ({"code": "code-1.zip"}, "code cannot be right"),
        ({"project": {"file": "project-1.zip"}}, "project.digest cannot be right"),
        ({"code": {"file": 1}}, "code.file cannot be right"),
        ({"timers": []}, "timers cannot be right"),
        ({"timers": {"sweep": {"cron": "* * * * *"}}}, "timers.sweep cannot be right"),
    ],
)
def test_a_manifest_that_somebody_broke_is_named(tmp_path: Path, change: str | dict[str, object], says: str) -> None:
    timer = {"cron": "0 9 * * *", "timezone": "UTC"}
    whole = {
        "cloud": "aws", "code": {"file": "code-1.zip"}, "project": {"file": "project-1.zip", "digest": "d"},
        "secrets": [], "timers": {"sweep": timer},
    }  # fmt: skip
    kept = tmp_path / "deploy" / "aws" / "deployed" / "1.json"
    kept.parent.mkdir(parents=True)
    there = Deployment("aws", tmp_path, tmp_path / "dist")
    kept.write_text(json.dumps(whole))
    assert there.last() == whole
    kept.write_text(change if isinstance(change, str) else json.dumps(whole | change))
    with pytest.raises(ConfigInvalid, match=rf"deployed/1\.json is no manifest.*{says}.*version control") as told:
        there.last()
    assert told.value.details["file"] == str(kept)


def test_what_holds_data_is_pointed_out(there: Deployment) -> None:
    from infra.deploy.summary import summary

    manifest, _ = there.prepare(offline=True)
    plan = {"resource_changes": [
        {"address": "m.aws_dynamodb_table.state", "type": "aws_dynamodb_table",
         "change": {"actions": ["delete", "create"]}},
        {"address": "m.aws_lambda_function.ask", "type": "aws_lambda_function", "change": {"actions": ["delete"]}},
        {"address": "data.x", "mode": "data", "type": "aws_region", "change": {"actions": ["read"]}},
    ]}  # fmt: skip
    found = summary(plan, json.loads(manifest.read_text()), None, {})
    assert found.endangered == ["m.aws_dynamodb_table.state"]
    assert found.counts == {"replace": 1, "destroy": 1}
    assert "DATA WOULD BE LOST: m.aws_dynamodb_table.state" in text(found)
