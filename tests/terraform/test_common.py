"""What holds for the modules of all clouds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.deploy.summary import KEEPS_DATA
from tests.terraform.binary import terraform
from tests.terraform.harness import MODULES, ROOT, Module
from tests.terraform.lint import problems
from tests.terraform.reference import written
from tests.terraform.stub import mirror

SOURCES = {"aws": "hashicorp/aws", "gcp": "hashicorp/google", "azure": "hashicorp/azurerm"}
CLOUDS = sorted(path.parent.name for path in MODULES.glob("*/terraform.tf"))
EXAMPLES = ("minimal", "complete")


def test_there_is_a_module_for_each_cloud() -> None:
    assert set(CLOUDS) == set(SOURCES)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_it_is_formatted(cloud: str) -> None:
    command = [terraform(), "fmt", "-check", "-recursive", "-diff", "-no-color", str(MODULES / cloud)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", [c + e for c in CLOUDS for e in ("", *(f"/examples/{x}" for x in EXAMPLES))])
def test_it_is_well_kept(folder: str) -> None:
    found = problems(MODULES / folder)
    if "examples" in folder:  # one file may be easier to read
        found = [one for one in found if not one.startswith(("structure", "order"))]
    assert found == []


@pytest.mark.parametrize("end", ["old", "new"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_it_and_its_examples_are_valid_at_both_ends_of_the_range(
    once: Callable[..., Module], cloud: str, end: str
) -> None:
    ours = once(cloud, end)
    ours.validate()
    for example in EXAMPLES:
        ours.validate(f"examples/{example}")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_range_is_the_one_that_is_tested(cloud: str) -> None:
    old, new = (version.split(".") for version in mirror.ends(SOURCES[cloud]))
    wanted = f">= {old[0]}.{old[1]}, < {int(new[0]) + 1}"
    seen = 0
    for file in [MODULES / cloud / "terraform.tf", *(MODULES / cloud).glob("examples/*/*.tf")]:
        for found in re.findall(rf'"{SOURCES[cloud]}"\s+version\s*=\s*"([^"]+)"', file.read_text("utf-8")):
            assert found.removesuffix(".0") == wanted, file
            seen += 1
    assert seen >= 1 + len(EXAMPLES)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_its_own_tests_pass(module: Callable[..., Module], cloud: str) -> None:
    assert sorted((MODULES / cloud / "tests").glob("*.tftest.hcl"))
    told = module(cloud).test()
    passed = re.search(r"(\d+) passed, 0 failed", told)
    assert passed is not None and int(passed[1]) >= 3, told


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_readme_names_every_variable_and_output(cloud: str) -> None:
    readme = (MODULES / cloud / "README.md").read_text("utf-8")
    for kind in ("variable", "output"):
        declared = re.findall(rf'(?m)^{kind} "(\w+)"', (MODULES / cloud / f"{kind}s.tf").read_text("utf-8"))
        assert [name for name in declared if f"`{name}`" not in readme] == []
    assert written(readme, MODULES / cloud) == readme, "python -m tests.terraform.reference"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_module_configures_no_provider_and_an_example_uses_the_module(cloud: str) -> None:
    for file in (MODULES / cloud).glob("*.tf"):
        assert not re.search(r'(?m)^provider "', file.read_text("utf-8")), file
    for example in EXAMPLES:
        assert '"../.."' in (MODULES / cloud / "examples" / example / "main.tf").read_text("utf-8")


HOLDS_NOTHING = re.compile(
    r".*(_iam_member|_policy|_policy_document|_role|_role_policy|_role_assignment|_role_definition|_alias|_alarm"
    r"|_diagnostic_setting|_permission|_configuration|_controls|_access_block|_sink|_budget|_budget_resource_group)"
    r"|(aws_lambda|aws_codedeploy|aws_scheduler|aws_sns|google_monitoring|azurerm_monitor|azapi)_.*"
    r"|aws_s3_object|google_cloud_run_v2_service|google_cloud_scheduler_job|google_firestore_field"
    r"|google_kms_key_ring|google_logging_metric|google_project_service|google_pubsub_topic|google_service_account"
    r"|google_storage_bucket_object|azurerm_application_insights|azurerm_resource_group|azurerm_service_plan"
    r"|azurerm_storage_blob|azurerm_user_assigned_identity|terraform_data|time_sleep|google_project_iam_custom_role"
)
"""Types that are made again as they were, or whose content is in another that is named in KEEPS_DATA: zips are built
from the same input, and Google deletes no key ring."""


@pytest.mark.parametrize("cloud", CLOUDS)
def test_whether_a_type_holds_data_is_decided_for_each(cloud: str) -> None:
    """One that nobody thought of would be destroyed without a word by `omni deploy`."""
    text = "".join(file.read_text("utf-8") for file in (MODULES / cloud).glob("*.tf"))
    used = set(re.findall(r'(?m)^resource "(\w+)"', text))
    harmless = {kind for kind in used if HOLDS_NOTHING.fullmatch(kind)}
    assert harmless & KEEPS_DATA == set()
    assert used - harmless - KEEPS_DATA == set()
    assert len(used & KEEPS_DATA) >= 5


def test_neither_locks_nor_states_are_kept() -> None:
    """A lock file made with the stub would break everyone's init."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert not [one for one in tracked.splitlines() if re.search(r"\.terraform|\.tfstate|\.tfplan", one)]


# ── the lint itself ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lint_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text("""\
variable "b" {}
variable "a" {
  description = "x"
  type        = string
}
locals { unused = 1 }
data "aws_region" "Odd" {}
resource "aws_sqs_queue" "q" {
  name = "${var.a}"
}
// old comment
""")
    told = "\n".join(problems(tmp_path))
    for rule in ("required_version", "aws is used", "variable b belongs", "alphabetical", "b has no description",
                 "b has no type", "unused: variable b", "unused: local unused", "unused: data aws_region.Odd",
                 "naming: aws_region.Odd", "needs no quotes", "write # and not //"):  # fmt: skip
        assert rule in told, rule
