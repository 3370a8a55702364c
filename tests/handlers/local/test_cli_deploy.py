"""`omni deploy` and `omni schedule` as a user types them: the real terraform on a root module of one's own, and
EventBridge Scheduler in an emulator."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import pytest

from tests.handlers.local.test_cli import good, omni
from tests.parts import foreign
from tests.runtimes.ministack import CREDENTIALS, Ministack, client, shared
from tests.runtimes.places import python313

ROOT_MODULE = """
variable "manifest" { type = string }
variable "region" { type = string }
locals { told = jsondecode(file(var.manifest)) }
resource "terraform_data" "function" { input = [local.told.code.file, local.told.project.file, var.region] }
resource "terraform_data" "timer" {
  for_each = local.told.timers
  input    = each.value.native
}
output "digest" { value = local.told.project.digest }
output "settings" { value = { OMNI_SECRET_PREFIX = "nowhere/", OMNI_REGION = "us-east-1" } }
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    good("init", "p", cwd=tmp_path)
    return tmp_path / "p"


@pytest.fixture
def deployable(home: Path) -> Path:
    python313()
    foreign("terraform", shutil.which("terraform") is not None, "install Terraform 1.9 or later")
    (home / "deploy" / "aws").mkdir(parents=True)
    (home / "deploy" / "aws" / "main.tf").write_text(ROOT_MODULE)
    (home / "deploy" / "aws" / "terraform.tfvars").write_text('region = "eu-central-1"\n')
    return home


def schedule(home: Path, cron: str) -> None:
    alert = home / "alerts" / "orders.yaml"
    lines = [line for line in alert.read_text().splitlines() if not line.startswith("schedule:")]
    alert.write_text("\n".join([*lines, f'schedule: "{cron}"']) + "\n")


# ── deploy ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_plan_apply_status_and_back(deployable: Path) -> None:
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert (status["deployed"], status["in_step"], status["history"]) == (None, False, [])
    planned = good("deploy", "aws", cwd=deployable)
    assert "3 resources: 3 to create" in planned.stdout and "source shop:" in planned.stdout
    assert not (deployable / "deploy" / "aws" / "terraform.tfstate").exists(), "a plan is the default"
    first = json.loads(good("deploy", "aws", "--apply", "--json", cwd=deployable).stdout)
    assert first["counts"] == {"create": 3}
    schedule(deployable, "*/5 * * * *")
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert (status["deployed"], status["in_step"]) == (first["outputs"]["digest"], False)
    second = json.loads(good("deploy", "aws", "--apply", "--json", cwd=deployable).stdout)
    assert second["timers"] == [{"action": "change", "alert": "big-orders"}]
    assert "(the same)" in good("deploy", "status", "aws", cwd=deployable).stdout
    back = good("deploy", "rollback", "aws", cwd=deployable)
    assert "change   timer of big-orders" in back.stdout
    good("deploy", "rollback", "aws", "--apply", cwd=deployable)
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert status["deployed"] == first["outputs"]["digest"] == status["outputs"]["digest"]
    assert len(status["history"]) == 3


def test_a_deployment_that_nobody_can_ask_is_noted(deployable: Path) -> None:
    assert "No principal in omni.yaml has a key, so nobody can ask" in good("deploy", "aws", cwd=deployable).stderr
    (deployable / "deploy" / "aws").rename(deployable / "deploy" / "azure")
    omni_yaml = deployable / "omni.yaml"
    omni_yaml.write_text(omni_yaml.read_text().replace(
        "  local: {roles", '  "entra:0a1b2c3d-1111-2222-3333-444455556666": {roles: [viewer]}\n  local: {roles'
    ))  # fmt: skip
    assert "No principal" not in good("deploy", "azure", cwd=deployable).stderr, "Entra says who they are"


def test_apps_that_nobody_called_yet_are_woken(deployable: Path) -> None:
    (deployable / "deploy" / "aws").rename(deployable / "deploy" / "azure")
    root = deployable / "deploy" / "azure" / "main.tf"
    root.write_text(root.read_text() + 'output "apps" { value = { stable = "https://127.0.0.1:9" } }\n')
    done = good("deploy", "azure", "--apply", "--json", "--wait", "0", cwd=deployable)
    assert "https://127.0.0.1:9/healthz does not answer" in done.stderr
    assert json.loads(done.stdout)["awake"] == {"stable": 0}
    again = good("deploy", "azure", "--apply", "--json", "--wait", "0", cwd=deployable)
    assert json.loads(again.stdout)["awake"] is None and "healthz" not in again.stderr, "nothing was changed"


def test_secrets_that_are_not_in_the_cloud_yet_are_named(deployable: Path) -> None:
    omni_yaml = deployable / "omni.yaml"
    omni_yaml.write_text(omni_yaml.read_text().replace(
        "  local: {roles", '  ann: {roles: [viewer], key: "secret:ann_key"}\n  local: {roles'
    ))  # fmt: skip
    env = {**CREDENTIALS, "OMNI_ENDPOINT_URL": shared(Ministack).url}
    done = good("deploy", "aws", "--apply", "--json", cwd=deployable, env=env)
    assert "No principal" not in done.stderr
    assert json.loads(done.stdout)["absent_secrets"] == ["ann_key"]
    assert "secret ann_key: Secrets Manager has no secret 'nowhere/ann_key'" in done.stderr
    again = good("deploy", "aws", "--apply", "--json", cwd=deployable, env={"AWS_PROFILE": "nope"})
    assert "Whether the secrets are there is not known: CONFIG_INVALID: AWS_PROFILE names" in again.stderr


def broken(home: Path) -> None:
    (home / "omni.yaml").write_text((home / "omni.yaml").read_text() + "sourcess: {}\n")


def test_a_first_apply_that_failed_is_told_with_what_it_left(deployable: Path) -> None:
    root = deployable / "deploy" / "aws" / "main.tf"
    whole = root.read_text()
    fails = """
resource "terraform_data" "fails" {
  depends_on = [terraform_data.function, terraform_data.timer]
  provisioner "local-exec" { command = "false" }
}
"""
    root.write_text(whole + fails)
    assert "Nothing was deployed" in good("deploy", "status", "aws", cwd=deployable).stdout
    assert omni("deploy", "aws", "--apply", cwd=deployable).returncode == 3
    told = good("deploy", "status", "aws", cwd=deployable).stdout
    assert "An apply to aws did not finish: 4 resources are in the state. Say `omni deploy aws --apply`" in told
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert (status["deployed"], status["unfinished"], status["resources"]) == (None, True, 4)
    root.write_text(whole)
    good("deploy", "aws", "--apply", cwd=deployable)
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert (status["unfinished"], status["resources"], status["in_step"]) == (False, 3, True)


def test_a_project_that_does_not_load_can_be_looked_at_and_taken_back(deployable: Path) -> None:
    first = json.loads(good("deploy", "aws", "--apply", "--json", cwd=deployable).stdout)["outputs"]["digest"]
    schedule(deployable, "*/5 * * * *")
    good("deploy", "aws", "--apply", cwd=deployable)
    broken(deployable)
    assert "project   does not load: omni.yaml:" in good("deploy", "status", "aws", cwd=deployable).stdout
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert (status["project"], status["in_step"], len(status["history"])) == (None, False, 2)
    assert "sourcess" in status["project_error"]["message"] and status["project_error"]["code"] == "CONFIG_INVALID"
    assert omni("deploy", "aws", cwd=deployable).returncode == 2, "forward needs a project"
    back = good("deploy", "rollback", "aws", "--apply", cwd=deployable)
    assert "calls of the sources are not known: omni.yaml:" in back.stderr
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable).stdout)
    assert status["deployed"] == first
    assert "is not there" in omni("--project", str(deployable.parent), "deploy", "status", "aws", cwd=deployable).stderr


CANARY = """
output "canary" {
  value = {
    application = "omni"
    region      = "eu-central-1"
    functions   = { ask = { alias = "live", function = "omni-ask", group = "ask", version = "2" } }
  }
}
"""


def test_what_is_known_here_is_told_also_where_aws_is_out_of_reach(deployable: Path) -> None:
    root = deployable / "deploy" / "aws" / "main.tf"
    root.write_text(root.read_text() + CANARY)
    env = {"AWS_PROFILE": "nope"}
    done = omni("deploy", "aws", "--apply", cwd=deployable, env=env)
    assert done.returncode == 2
    assert "AWS_PROFILE names a profile" in done.stderr and "The apply is done, but the calls were not" in done.stderr
    told = good("deploy", "status", "aws", cwd=deployable, env=env).stdout
    assert "(the same)" in told and "Where the calls go is not known: AWS_PROFILE names a profile" in told
    status = json.loads(good("deploy", "status", "aws", "--json", cwd=deployable, env=env).stdout)
    assert (status["in_step"], status["canary"], status["canary_error"]["code"]) == (True, None, "CONFIG_INVALID")


SHARING = """
variable "manifest" { type = string }
variable "canary" {
  type    = any
  default = {}
}
locals {
  told   = jsondecode(file(var.manifest))
  newest = "o-ask-${substr(local.told.project.sha256, 0, 6)}"
  stable = try(var.canary.stable.ask, local.newest)
}
resource "terraform_data" "service" { input = [local.newest, local.stable, try(var.canary.percent, 100)] }
output "canary" {
  value = { ask = {
    service  = "o-ask"
    revision = local.newest
    stable   = local.stable == local.newest ? null : local.stable
    percent  = try(var.canary.percent, 100)
  } }
}
output "settings" { value = { OMNI_SCHEDULE_GROUP = "projects/p1/locations/europe-west3" } }
"""


def test_a_canary_that_nobody_can_watch_keeps_its_share_until_somebody_goes_on_or_back(deployable: Path) -> None:
    (deployable / "deploy" / "gcp").mkdir()
    (deployable / "deploy" / "gcp" / "main.tf").write_text(SHARING)
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}
    schedule(deployable, "0 9 * * 1-5")
    first = json.loads(good("deploy", "gcp", "--apply", "--json", cwd=deployable, env=env).stdout)["outputs"]["canary"]
    assert (first["ask"]["stable"], first["ask"]["percent"]) == (None, 100)
    schedule(deployable, "*/5 * * * *")
    for _ in range(2):  # the second goes on where the first was left
        done = omni("deploy", "gcp", "--apply", cwd=deployable, env=env)
        assert done.returncode == 3 and "gcloud auth application-default login" in done.stderr, done.stderr
        status = json.loads(good("deploy", "status", "gcp", "--json", cwd=deployable, env=env).stdout)
        assert (status["in_step"], len(status["history"])) == (False, 1), "it is not settled"
        now = status["outputs"]["canary"]["ask"]
        assert (now["stable"], now["percent"]) == (first["ask"]["revision"], 5)
        assert status["canary"]["ask"]["weights"] == {now["revision"]: 0.05}
    told = good("deploy", "status", "gcp", cwd=deployable, env=env).stdout
    assert f"ask: calls go to version {now['stable']}, 5% to version {now['revision']}" in told
    assert "`omni deploy gcp --apply` goes on with it" in told
    schedule(deployable, "0 9 * * 1-5")
    assert omni("deploy", "gcp", "--apply", cwd=deployable, env=env).returncode == 0, "back to what serves anyway"
    status = json.loads(good("deploy", "status", "gcp", "--json", cwd=deployable, env=env).stdout)
    assert status["outputs"]["canary"] == first


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["deploy"], "required: what"),
        (["deploy", "mars"], "invalid choice"),
        (["deploy", "status"], "Say which cloud"),
        (["deploy", "aws", "gcp"], "takes no second cloud"),
        (["deploy", "aws", "--plan", "--apply"], "not both"),
        (["deploy", "rollback", "aws"], "no earlier deployment"),
        (["schedule", "render"], "--cloud"),
        (["schedule", "plan", "--cloud", "aws"], "OMNI_SCHEDULE_GROUP"),
    ],
)
def test_wrong_words(home: Path, arguments: list[str], says: str) -> None:
    done = omni(*arguments, cwd=home)
    assert (done.returncode, done.stdout) == (2, "") and says in done.stderr, done.stderr


def test_what_takes_its_time_is_said_and_what_is_missing_before(deployable: Path, tmp_path: Path) -> None:
    said = good("deploy", "aws", cwd=deployable).stderr
    assert said.index("Building what aws gets ...") < said.index("Terraform plans in ")
    assert "Building what gcp gets ..." in good("bundle", "gcp", "--parts", cwd=deployable).stderr
    for env in ({"PATH": str(tmp_path)}, {"TF_WORKSPACE": "staging"}):
        done = omni("deploy", "aws", cwd=deployable, env=env)
        assert done.returncode == 2 and "Building" not in done.stderr
        assert "Install Terraform" in done.stderr or "one folder is one deployment" in done.stderr


def test_a_folder_that_is_none_is_told(home: Path) -> None:
    (home / "dist").write_text("")
    done = omni("bundle", "gcp", "--parts", cwd=home)
    assert done.returncode == 2 and "dist cannot be written or read" in done.stderr, done.stderr


def test_a_variable_that_nobody_set_is_named_with_where_to_set_it(deployable: Path) -> None:
    (deployable / "deploy" / "aws" / "terraform.tfvars").unlink()
    done = omni("deploy", "aws", cwd=deployable)
    assert done.returncode == 2
    assert "Set region in terraform.tfvars" in done.stderr


def test_a_schedule_that_the_cloud_has_not_is_told_before_anything_is_built(deployable: Path) -> None:
    schedule(deployable, "0 9 13 * 5")
    done = omni("deploy", "aws", "--apply", cwd=deployable)
    assert done.returncode == 2
    assert "orders.yaml" in done.stderr and "alert 'big-orders'" in done.stderr
    assert not (deployable / "dist" / "aws" / "deployment.json").exists()


# ── schedule ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_render_says_it_in_the_clouds_words(home: Path) -> None:
    found = json.loads(good("schedule", "render", "--cloud", "aws", "--json", cwd=home).stdout)
    assert found["big-orders"]["native"] == {"expression": "cron(0 9 ? * 2-6 *)"}
    assert "cron(* * * * ? *)" in good("schedule", "render", "--cloud", "aws", cwd=home).stdout


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: big-orders\nquery: SELECT 1 AS actual_value\nschedule: '0 9 1 * *'\n", 3),
        ("alerts:\n  - {name: a, query: SELECT 1 AS actual_value}\n  - name: big-orders\n"
         "    query: SELECT 1 AS actual_value\n    schedule: '0 9 1 * *'\n", 5),
        ("- name: big-orders\n  schedule: '0 9 1 * *'\n  query: SELECT 1 AS actual_value\n", 2),
        ("database: {url: 'sqlite:///data/x.db'}\nalerts:\n  - name: big-orders\n"
         "    query: SELECT 1 AS actual_value\n    schedule: '0 9 1 * *'\n", 5),
    ],
)  # fmt: skip
def test_a_schedule_that_a_cloud_has_not_is_told_with_its_own_line(home: Path, text: str, line: int) -> None:
    (home / "alerts" / "orders.yaml").write_text(text)
    done = omni("schedule", "render", "--cloud", "azure", "--json", cwd=home)
    told = json.loads(done.stderr)["error"]
    assert told["message"].startswith(f"alerts/orders.yaml:{line}: alert 'big-orders': ")
    assert (told["code"], told["details"]["file"], told["details"]["line"]) == (
        "CONFIG_INVALID", "alerts/orders.yaml", line,
    )  # fmt: skip


def test_timers_are_made_changed_and_deleted_until_they_are_as_the_project_says(home: Path) -> None:
    url, group = shared(Ministack).url, f"g{uuid.uuid4().hex[:8]}"
    client("scheduler", url).create_schedule_group(Name=group)
    env = {
        **CREDENTIALS, "OMNI_ENDPOINT_URL": url, "OMNI_SCHEDULE_GROUP": group,
        "OMNI_SCHEDULE_TARGET": "arn:aws:lambda:us-east-1:000000000000:function:watch:live",
        "OMNI_SCHEDULE_ROLE": "arn:aws:iam::000000000000:role/timers",
    }  # fmt: skip

    def changes(action: str) -> list[tuple[str, str]]:
        told = json.loads(good("schedule", action, "--cloud", "aws", "--json", cwd=home, env=env).stdout)
        return [(one["action"], one["timer"]) for one in told["changes"]]

    assert changes("plan") == [("create", "big-orders"), ("create", "sweep")]
    assert client("scheduler", url).list_schedules(GroupName=group)["Schedules"] == [], "a plan makes none"
    assert changes("apply") == [("create", "big-orders"), ("create", "sweep")]
    assert changes("plan") == []
    schedule(home, "30 7 * * *")
    assert "1 timer would be changed" in good("schedule", "plan", "--cloud", "aws", cwd=home, env=env).stdout
    assert "1 timer was changed" in good("schedule", "apply", "--cloud", "aws", cwd=home, env=env).stdout
    (home / "alerts" / "orders.yaml").unlink()
    assert changes("plan") == changes("apply") == [("delete", "big-orders")]
    assert "as the project says" in good("schedule", "plan", "--cloud", "aws", cwd=home, env=env).stdout


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"AWS_PROFILE": "nope"}, "AWS_PROFILE names a profile that is not in AWS's configuration"),
        ({"OMNI_REGION": "bad region"}, "see OMNI_REGION"),
        ({"OMNI_ENDPOINT_URL": "notaurl"}, "OMNI_ENDPOINT_URL is no URL"),
    ],
)
def test_a_variable_of_aws_that_is_wrong_is_named(home: Path, changed: dict[str, str], says: str) -> None:
    env = {
        **CREDENTIALS, "OMNI_SCHEDULE_GROUP": "g", "OMNI_REGION": "eu-central-1",
        "OMNI_SCHEDULE_TARGET": "arn:aws:lambda:us-east-1:000000000000:function:watch:live",
    } | changed  # fmt: skip
    for action in ("plan", "apply"):
        done = omni("schedule", action, "--cloud", "aws", cwd=home, env=env)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
