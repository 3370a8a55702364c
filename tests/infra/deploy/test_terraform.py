"""The real terraform binary on modules that need no provider: what its errors become, what survives an interrupt."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError, StateConflict
from infra.deploy.terraform import Terraform, explained, find
from tests.parts import foreign

LOCK_HOLDER = """
import sys, time
from infra.deploy.terraform import Terraform
from pathlib import Path
folder = Path(sys.argv[1])
Terraform(folder, folder / "log").apply(folder / "plan")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    foreign("terraform", shutil.which("terraform") is not None, "install Terraform 1.9 or later")
    return tmp_path


def module(folder: Path, text: str) -> Terraform:
    (folder / "main.tf").write_text(text)
    made = Terraform(folder, folder / "out" / "terraform.log")
    made.init()
    return made


def test_plan_apply_and_outputs(folder: Path) -> None:
    terraform = module(
        folder,
        """
variable "word" { type = string }
resource "terraform_data" "a" { input = var.word }
output "word" { value = terraform_data.a.output }
output "hidden" {
  value     = "s3cret"
  sensitive = true
}
""",
    )
    plan = terraform.plan(folder / "plan", {"word": "hello"})
    assert [c["change"]["actions"] for c in plan["resource_changes"]] == [["create"]]
    terraform.apply(folder / "plan")
    assert terraform.outputs() == {"word": "hello"}
    assert "$ terraform apply" in terraform.log.read_text()
    assert "s3cret" not in terraform.log.read_text()
    with pytest.raises(StateConflict, match="Plan again"):
        terraform.apply(folder / "plan")


def test_the_log_is_for_nobody_else_and_has_the_last_two_runs(folder: Path) -> None:
    log = folder / "out" / "terraform.log"
    log.parent.mkdir()
    log.write_text("of an older version\n")
    log.chmod(0o644)
    terraform = module(folder, 'resource "terraform_data" "a" {}')
    assert log.stat().st_mode & 0o777 == 0o600, "where it was there already too"
    for run in ("one", "two", "two", "three"):
        terraform.begin(run)
        terraform.plan(folder / "plan", {})
    old = log.with_name("terraform.log.old")
    assert log.read_text().startswith("# run three\n$ terraform plan") and log.read_text().count("$ terraform") == 1
    assert old.read_text().startswith("# run two\n") and old.read_text().count("$ terraform plan") == 2
    assert {file.stat().st_mode & 0o777 for file in (log, old)} == {0o600}


def test_the_resources_are_those_of_the_state_and_not_what_is_only_read(folder: Path) -> None:
    (folder / "other.tfstate").write_text('{"version": 4, "serial": 1, "lineage": "x", "outputs": {}, "resources": []}')
    (folder / "inner").mkdir()
    read = """
data "terraform_remote_state" "read" {
  backend = "local"
  config  = { path = "other.tfstate" }
}
resource "terraform_data" "data" { input = 1 }
"""
    (folder / "inner" / "main.tf").write_text(read)
    terraform = module(folder, read + 'module "inner" { source = "./inner" }')
    assert terraform.resources() == [], "before the first apply"
    terraform.plan(folder / "plan", {})
    terraform.apply(folder / "plan")
    assert terraform.resources() == ["terraform_data.data", "module.inner.terraform_data.data"]


def test_a_variable_that_is_refused_is_named_with_the_modules_own_words(folder: Path) -> None:
    terraform = module(
        folder,
        """
variable "region" {
  type = string
  validation {
    condition     = var.region != "mars"
    error_message = "The region has to be one of AWS's, such as eu-central-1."
  }
}
""",
    )
    with pytest.raises(ConfigInvalid, match="Variable region: The region has to be one of AWS's") as refused:
        terraform.plan(folder / "plan", {"region": "mars"})
    assert refused.value.details["key"] == "region"


def test_a_condition_of_the_module_is_told_in_its_own_words_and_once(folder: Path) -> None:
    terraform = module(
        folder,
        """
resource "terraform_data" "a" {
  for_each = toset(["x", "y", "z"])
  lifecycle {
    precondition {
      condition     = each.key == ""
      error_message = "The project refers to variables that `environment` does not set: NOPE."
    }
  }
}
""",
    )
    with pytest.raises(ConfigInvalid) as refused:
        terraform.plan(folder / "plan", {})
    assert refused.value.message == "The project refers to variables that `environment` does not set: NOPE."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('resource "terraform_data" "a" { input = \n }', "Invalid expression on main.tf line 1"),
        ('resource "terraform_data" "a" { inptu = 1 }', 'Unsupported argument on main.tf line 1.*Did you mean "input"'),
        ('resource "terraform_data" "a" {\n inptu { }\n }', "Unsupported block type on main.tf line 2"),
        ('module "x" { source = "./m" }', 'Missing required argument on main.tf line 1.*"need" is required'),
        ('output "a" { value = nofunc(1) }', "Call to unknown function"),
        ('module "x" { source = "./nowhere" }', "Unreadable module directory"),
    ],
)
def test_a_mistake_in_the_files_is_told_with_its_place_and_where_the_rest_is(
    folder: Path, text: str, says: str
) -> None:
    (folder / "m").mkdir()
    (folder / "m" / "main.tf").write_text('variable "need" { type = number }')
    with pytest.raises(ConfigInvalid, match=rf"refuses the files of the root module: {says}.*terraform\.log") as told:
        module(folder, text).plan(folder / "plan", {})
    assert "encountered problems" not in told.value.message
    assert "nowhere" in text or (told.value.details["file"], told.value.details["line"] >= 1) == ("main.tf", True)


def test_a_condition_of_an_output_is_told_in_its_own_words(folder: Path) -> None:
    terraform = module(
        folder,
        """
variable "n" { type = number }
output "o" {
  value = 1
  precondition {
    condition     = var.n > 1
    error_message = "No output without two."
  }
}
""",
    )
    with pytest.raises(ConfigInvalid, match=r"^No output without two\.$"):
        terraform.plan(folder / "plan", {"n": "1"})


def test_a_lock_that_cannot_be_written_is_no_other_run(folder: Path) -> None:
    terraform = module(folder, 'resource "terraform_data" "a" {}')
    (folder / ".terraform.tfstate.lock.info").mkdir()
    with pytest.raises(ConfigInvalid, match=r"could not lock the state: .*is a directory\. See that the root") as told:
        terraform.plan(folder / "plan", {})
    assert "force-unlock" not in told.value.message


def test_a_provider_outside_the_range_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "mirror" / "registry.terraform.io" / "hashicorp" / "aws" / "5.0.0" / "linux_amd64"
    place.mkdir(parents=True)
    (place / "terraform-provider-aws_v5.0.0").touch()
    (folder / "rc").write_text(f'provider_installation {{\n filesystem_mirror {{ path = "{folder / "mirror"}" }}\n}}\n')
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(folder / "rc"))
    asked = '{ source = "hashicorp/aws", version = ">= 5.100, < 7" }'
    with pytest.raises(ConfigInvalid, match="outside the range that the module was tested with") as refused:
        module(folder, f"terraform {{\n required_providers {{\n aws = {asked}\n }}\n}}")
    assert "hashicorp/aws" in refused.value.message


SLOW = """
resource "terraform_data" "quick" { input = 1 }
resource "terraform_data" "slow" {
  depends_on = [terraform_data.quick]
  provisioner "local-exec" { command = "sleep 8" }
}
"""


def applying(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", LOCK_HOLDER, str(folder)], text=True, stderr=subprocess.PIPE)
    for _ in range(200):
        state = folder / "terraform.tfstate"
        if state.is_file() and "quick" in state.read_text():
            return child
        time.sleep(0.1)
    raise AssertionError("it did not begin")


def test_a_locked_state_says_who_holds_it(folder: Path) -> None:
    terraform = module(folder, SLOW)
    terraform.plan(folder / "plan", {})
    child = applying(folder)
    try:
        with pytest.raises(StateConflict, match=r"locked by .+@.+ since .+force-unlock") as refused:
            terraform.plan(folder / "plan2", {})
        assert refused.value.details["lock"]
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)


def test_an_interrupted_apply_keeps_what_it_did_and_goes_on_the_next_time(folder: Path) -> None:
    terraform = module(folder, SLOW)
    terraform.plan(folder / "plan", {})
    child = applying(folder)
    child.send_signal(signal.SIGTERM)
    child.wait(60)
    assert child.returncode != 0
    state = json.loads((folder / "terraform.tfstate").read_text())
    assert "quick" in {one["name"] for one in state["resources"]}
    left = terraform.plan(folder / "plan", {})
    assert "terraform_data.quick" not in {
        c["address"] for c in left["resource_changes"] if c["change"]["actions"] != ["no-op"]
    }


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_whoever_ends_us_does_not_end_terraform_before_it_has_kept_its_state(folder: Path, number: int) -> None:
    """A closed terminal is told to it, and it stops well; of a kill it hears nothing and goes on to its end."""
    begun = folder / "begun"
    slowly = f"touch '{begun}'; for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done"
    text = SLOW.replace("sleep 8", slowly)
    terraform = module(folder, text + 'resource "terraform_data" "last" { depends_on = [terraform_data.slow] }')
    terraform.plan(folder / "plan", {})
    child = applying(folder)
    for _ in range(300):
        if begun.exists():
            break
        time.sleep(0.1)
    child.send_signal(number)
    child.wait(60)
    lock = folder / ".terraform.tfstate.lock.info"
    for _ in range(300):
        if not lock.exists():
            break
        time.sleep(0.1)
    kept = {one["name"] for one in json.loads((folder / "terraform.tfstate").read_text())["resources"]}
    assert {"quick", "slow"} <= kept and ("last" in kept) == (number == signal.SIGKILL)


def test_who_reads_what_we_say_may_go_away(folder: Path) -> None:
    terraform = module(folder, SLOW.replace("sleep 8", "sleep 2"))
    terraform.plan(folder / "plan", {})
    child = applying(folder)
    assert child.stderr is not None
    child.stderr.close()
    assert child.wait(60) == 0
    assert "slow" in {one["name"] for one in json.loads((folder / "terraform.tfstate").read_text())["resources"]}


def test_an_interrupt_is_said_to_be_one(folder: Path) -> None:
    terraform = module(folder, SLOW)
    terraform.plan(folder / "plan", {})
    child = applying(folder)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert (
        "was interrupted; what it had done is in its state" in told
        and "execution halted" not in told.split("Interrupted")[-1]
    )


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (
            "│ Error: reading S3 Bucket (x): operation error S3: HeadBucket: User: arn:aws:iam::1:user/me is not\n"
            "│ authorized to perform: s3:ListBucket on resource: x",
            SourceAuth, "needs s3:ListBucket",
        ),
        ('Error: Permission "run.services.create" denied on x', SourceAuth, "needs run.services.create"),
        ("Error: Required 'cloudkms.keyRings.create' permission for 'x'", SourceAuth, "needs cloudkms.keyRings.create"),
        ("Error: no valid credential sources for S3 Backend found", SourceAuth, "sign in first"),
        (
            "Error: Failed to query available provider packages\n\nlocked provider hashicorp/aws 4.67.0 does not\n"
            "match configured version constraint >= 5.100.0",
            ConfigInvalid, "outside the range",
        ),
        (
            "│ Error: creating IAM Role (x): operation error IAM: CreateRole, https response error StatusCode: 403, "
            "AccessDenied: User: arn:aws:iam::1:user/me is not authorized to perform: iam:CreateRole on resource: x",
            SourceAuth, "needs iam:CreateRole",
        ),
        (
            "╷\n│ Error: Error creating Job: googleapi: Error 403: Permission 'cloudscheduler.jobs.create' denied on x",
            SourceAuth, "needs cloudscheduler.jobs.create",
        ),
        (
            "Error: The client 'x' with object id 'y' does not have authorization to perform action "
            "'Microsoft.Logic/workflows/write' over scope 'z'",
            SourceAuth, "needs Microsoft.Logic/workflows/write",
        ),
        ("Error: No valid credential sources found", SourceAuth, "sign in first"),
        (
            "Error: Error acquiring the state lock\n\nError message: open terraform.tfstate: permission denied\n\n"
            "Terraform acquires a state lock", ConfigInvalid, "state: open terraform.tfstate: permission denied.",
        ),
        (
            "Error: Error acquiring the state lock\n\nError message: operation error S3: PutObject, https\n"
            "response error StatusCode: 403, AccessDenied\n\nTerraform acquires",
            SourceAuth, "AccessDenied. Your identity has to be",
        ),
        (
            "Error: Error acquiring the state lock\n\nError message: User: me is not authorized to perform:\n"
            "dynamodb:PutItem on resource: x", SourceAuth, "needs dynamodb:PutItem",
        ),
        (
            "Error: Error acquiring the state lock\n\nError message: dial tcp: no such host\n\nTerraform acquires",
            SourceError, "could not lock the state: dial tcp: no such host.",
        ),
        (
            "Error: creating Function (x): StatusCode: 400, Invalid value\n\n  with aws_lambda_function.x,\n  on"
            " main.tf line 3, in resource \"aws_lambda_function\" \"x\":", SourceError, "creating Function",
        ),
        (
            "Error: Could not create it\n\n  with aws_iam_role.x,\n  on main.tf line 3, in resource \"aws_iam_role\""
            " \"x\":\n\nsomething odd", SourceError, "something odd",
        ),
        (
            "Error: Invalid request\n\n  with azurerm_x.y,\n  on main.tf line 3:\n\nunexpected status 409 (409 "
            "Conflict)",
            SourceError, "409 Conflict",
        ),
        (
            "Error: local-exec provisioner error\n\nError running command 'gcloud builds submit " + "x" * 2_000 +
            "': exit status 1. Output: ERROR: (gcloud.builds.submit) the bucket is not there",
            SourceError, "(gcloud.builds.submit) the bucket is not there",
        ),
        (
            "Error: local-exec provisioner error\n\nError running command 'gcloud builds submit " + "x" * 2_000 +
            "': exit status 1. Output: ERROR: You do not currently have an active account selected.\nPlease run:\n\n"
            "  $ gcloud auth login", SourceAuth, "`gcloud auth login`",
        ),
        ("╷\n│ Error: invalid AWS Region: mars-1\n│", ConfigInvalid, "no AWS region 'mars-1'"),
        ("\x1b[31mError: \x1b[0mSomething else\n\nwent wrong", SourceError, "Something else went wrong"),
    ],
)  # fmt: skip
def test_what_the_clouds_refuse(text: str, kind: type[Error], says: str) -> None:
    error = explained(text, "apply", Path("/x/terraform.log"))
    assert isinstance(error, kind)
    assert says in error.message


def test_without_terraform_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigInvalid, match=r"Install Terraform 1\.9"):
        find()
    old = tmp_path / "terraform"
    old.write_text('#!/bin/sh\necho \'{"terraform_version": "1.5.7"}\'\n')
    old.chmod(0o755)
    with pytest.raises(ConfigInvalid, match=r"not Terraform 1\.9"):
        find()
