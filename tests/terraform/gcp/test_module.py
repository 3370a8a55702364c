"""infra/terraform/gcp in the hands of the real terraform, at both ends of the provider's range."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from core.ports import Schedule
from core.settings import PREFIX, Settings
from handlers.gcp.scheduler import GcpScheduler, description
from handlers.gcp.store import place
from infra.deploy import canary_gcp
from infra.deploy.summary import KEEPS_DATA
from tests.contract.gcp import clients
from tests.runtimes.google_fakes import GoogleFakes
from tests.terraform.binary import terraform
from tests.terraform.gcp.conftest import ALERTS, variables, write_manifest
from tests.terraform.harness import MODULES, Failed, Module, Values

ModuleOf = Callable[..., Module]
ENDS = ("old", "new")
SHARES = ("ask", "watch", "work")
SERVICE = 'google_cloud_run_v2_service.this["{}"]'


@pytest.fixture(scope="module")
def state(once: ModuleOf, good: dict[str, Any]) -> Values:
    """What an apply leaves, with the values that the cloud decides invented."""
    return once("gcp").apply(good)


def service(values: Values, name: str) -> dict[str, Any]:
    return values.resources("google_cloud_run_v2_service")[SERVICE.format(name)]


def environment(values: Values, name: str) -> dict[str, str]:
    (container,) = service(values, name)["template"][0]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def images(values: Values, name: str) -> list[str]:
    return [one["image"] for one in service(values, name)["template"][0]["containers"]]


def test_it_is_formatted() -> None:
    command = [terraform(), "fmt", "-check", "-recursive", "-diff", str(MODULES / "gcp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("end", ENDS)
def test_it_is_applied_stays_as_it_is_and_goes_without_a_trace(
    module: ModuleOf, end: str, good: dict[str, Any]
) -> None:
    ours = module("gcp", end)
    ours.validate()
    assert {str(done) for done in ours.plan(good).actions().values()} == {"['create']"}
    ours.apply(good)
    assert ours.plan(good).actions() == {}
    assert ours.destroy().resources() == {}


SERVICES = {"cloud_run_v2": "run", "kms": "cloudkms", "cloud_scheduler": "cloudscheduler", "project_iam": "iam",
            "service_account": "iam", "secret_manager": "secretmanager", "artifact_registry": "artifactregistry",
            "billing": "billingbudgets", "project_service": "serviceusage"}  # fmt: skip


def test_every_api_that_the_module_calls_is_enabled(module: ModuleOf, good: dict[str, Any]) -> None:
    """With a project to which calls are counted, each has to be enabled there. Service Usage enables the others."""
    plan = module("gcp").plan({**good, "budget": {"amount": 5, "billing_account": "012345-6789AB-CDEF01"}})
    enabled = {one["service"] for one in plan.resources("google_project_service").values()}
    kinds = {a.partition(".")[0].removeprefix("google_") for a in plan.resources() if a.startswith("google_")}
    called = {next((api for part, api in SERVICES.items() if kind.startswith(part)), kind.split("_")[0])
              for kind in kinds} - {"serviceusage"}  # fmt: skip
    assert {f"{one}.googleapis.com" for one in called} - enabled == set()
    assert not [one for one in (module("gcp").plan(good)).resources() if "billingbudgets" in one]


def test_the_policy_on_a_metric_of_logs_comes_when_the_metric_is_known(state: Values) -> None:
    (this,) = state.document["values"]["root_module"]["child_modules"]
    after = {one["address"]: one.get("depends_on", []) for one in this["resources"]}
    waits_for = after["module.this.google_monitoring_alert_policy.missed_sweeps"]
    slow = {"google_cloud_scheduler_job.timer", "google_cloud_run_v2_service.this"}
    assert {f"module.this.{name}" for name in (*slow, "google_logging_metric.sweeps")} <= set(waits_for)
    metric = after["module.this.google_logging_metric.sweeps"]
    assert not {f"module.this.{name}" for name in slow} & set(metric), "made at the beginning"


def test_silence_of_the_sweep_rings_when_it_is_silence_and_goes_on_ringing(state: Values) -> None:
    policies = state.resources("google_monitoring_alert_policy")
    silence = policies.pop("google_monitoring_alert_policy.missed_sweeps")
    (absent,) = silence["conditions"][0]["condition_absent"]
    late_s = 600  # until Monitoring counts what is in logs
    assert int(absent["duration"].removesuffix("s")) > late_s
    assert silence["alert_strategy"] == [], "it closes an incident that has no data, and this one never has"
    assert {one["alert_strategy"][0]["auto_close"] for one in policies.values()} == {"1800s"}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("example", ["minimal", "complete"])
def test_the_examples_are_valid(module: ModuleOf, end: str, example: str) -> None:
    module("gcp", end).validate(f"examples/{example}")


@pytest.mark.parametrize("end", ENDS)
def test_its_own_tests_pass(module: ModuleOf, end: str) -> None:
    assert "0 failed" in module("gcp", end).test()


def test_what_the_complete_example_says_is_taken(module: ModuleOf, manifest: Path) -> None:
    text = (MODULES / "gcp" / "examples" / "complete" / "main.tf").read_text()
    given = variables(
        manifest, name="omni-prod", residency="europe-", labels={"team": "data"}, settings={"threads": "2"},
        vpc={"network": "n", "subnetwork": "s"}, alarms={"missed_sweep_minutes": 20}, tracing=True,
        budget={"amount": 50, "billing_account": "012345-6789AB-CDEF01", "currency": "EUR"},
    )  # fmt: skip
    assert all(re.search(rf"\b{name} +=", text) for name in given)
    plan = module("gcp").plan(given)
    (budget,) = plan.resources("google_billing_budget").values()
    assert budget["amount"][0]["specified_amount"][0] | {"nanos": None} == {
        "currency_code": "EUR", "units": "50", "nanos": None,
    }  # fmt: skip
    enabled = {one["service"] for one in plan.resources("google_project_service").values()}
    assert "billingbudgets.googleapis.com" in enabled, "the provider counts the call against this project"
    ask = service(plan, "ask")
    assert ask["template"][0]["vpc_access"][0]["network_interfaces"][0]["subnetwork"] == "s"
    assert ask["labels"] == {"team": "data", "deployment": "omni-prod"}


# ── what the functions are told ──────────────────────────────────────────────────────────────────────────────────


def test_functions_get_settings_that_exist_and_that_the_adapters_read(state: Values) -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    for name in ("ask", "watch", "work"):
        found = environment(state, name)
        assert {key for key in found if key.startswith(PREFIX)} <= known
        settings = Settings.from_env(found)
        assert place(settings.store_table) == ("stub-project", "omnisentinel", "state")
        assert settings.secret_prefix == "projects/stub-project/secrets/omnisentinel-"
        assert settings.project_object.startswith("projects/project-")
        assert settings.queue.endswith("/topics/omnisentinel-jobs")
        assert settings.deployment == "omnisentinel"
        assert (found["FUNCTION_TARGET"], found["FUNCTION_SIGNATURE_TYPE"]) == (
            name, "cloudevent" if name == "work" else "http",
        )  # fmt: skip
        assert found["CRM_URL"] == "https://crm.example.com"
        assert found["CLOUD_RUN_TIMEOUT_SECONDS"] == service(state, name)["template"][0]["timeout"].removesuffix("s")


def test_every_setting_that_can_be_set_is_a_setting() -> None:
    text = (MODULES / "gcp" / "variables.tf").read_text().split('variable "settings"')[1].split("], name)")[0]
    offered = set(re.findall(r'"([a-z_]+)"', text.split("contains([")[1]))
    assert offered <= {field.name for field in fields(Settings)}


def secrets_told(gcloud: Path, deployment: str) -> list[str]:
    """What gcloud was told of a deployment's secrets."""
    return [one for one in gcloud.read_text().splitlines() if re.match(rf"secrets \w+ {deployment}-", one)]


def test_secrets_are_made_empty_where_they_have_to_stay_and_terraform_has_no_value(
    module: ModuleOf, good: dict[str, Any], gcloud: Path
) -> None:
    state = module("gcp").apply({**good, "name": "without", "labels": {"team": "data"}})
    assert not [one for one in state.resources() if "secret_version" in one]
    told = secrets_told(gcloud, "without")
    where = "--replication-policy user-managed --locations europe-west3 --labels deployment=without,team=data"
    for name in ("without-ann_key", "without-hook-key"):
        looked, made = (one for one in told if f" {name} " in one)
        assert looked.startswith("secrets describe "), "one that is there is left as it is"
        assert made == f"secrets create {name} --project stub-project {where} --quiet"
    assert state.outputs()["secrets"] == ["without-ann_key", "without-hook-key"]


def test_a_secret_that_is_there_is_taken_unless_it_is_another_deployments(
    module: ModuleOf, good: dict[str, Any], gcloud: Path
) -> None:
    known = gcloud.parent / "known"
    known.write_text("there-ann_key there\nthere-hook-key \n")
    module("gcp").apply({**good, "name": "there"})
    assert [one.split()[1] for one in secrets_told(gcloud, "there")] == ["describe", "describe"], "none is made"
    known.write_text("their-ann_key their-other\n")
    with pytest.raises(Failed, match=r"(?s)their-ann_key is the deployment\s+their-other's"):
        module("gcp").apply({**good, "name": "their"})
    known.write_text("")


def test_a_secret_that_the_project_drops_keeps_its_values_and_nobody_reads_it(
    module: ModuleOf, tmp_path: Path, good: dict[str, Any], gcloud: Path
) -> None:
    ours, path = module("gcp"), write_manifest(tmp_path / "gcp")
    good = {**good, "manifest": str(path), "name": "drops"}
    ours.apply(good)
    write_manifest(tmp_path / "gcp", secrets=["ann_key"])
    plan = ours.plan(good)
    assert not [change["address"] for change in plan.document["resource_changes"]
                if change["type"] in KEEPS_DATA and "delete" in change["change"]["actions"]]  # fmt: skip
    readers = [f'google_secret_manager_secret_iam_member.function["{name}/hook-key"]' for name in SHARES]
    assert {a: done for a, done in plan.actions().items() if "iam_member" in a} == {a: ["delete"] for a in readers}
    ours.apply(good)
    ours.destroy()
    assert not [one for one in secrets_told(gcloud, "drops") if "delete" in one]


def test_a_revision_that_shares_its_calls_reads_its_own_secrets_until_it_has_none(
    module: ModuleOf, tmp_path: Path, good: dict[str, Any], gcloud: Path
) -> None:
    """Bindings move at once, and 95 % of the calls ten minutes later."""
    ours, path = module("gcp"), write_manifest(tmp_path / "gcp")
    good = {**good, "manifest": str(path), "name": "shares"}
    ours.apply(good)
    write_manifest(tmp_path / "gcp", secrets=["ann_key", "new_key"])

    def moved(**more: Any) -> dict[str, list[str]]:
        actions = ours.plan({**good, **more}).actions()
        prefix = "google_secret_manager_secret_iam_member.function"
        return {a.removeprefix(prefix): done for a, done in actions.items() if a.startswith(prefix)}

    gains = {f'["{name}/new_key"]': ["create"] for name in SHARES}
    losses = {f'["{name}/hook-key"]': ["delete"] for name in SHARES}
    assert moved(previous_secrets=["ann_key", "hook-key"]) == gains
    assert moved() == {**gains, **losses}
    shared = ours.apply({**good, "previous_secrets": ["ann_key", "hook-key"]})
    assert shared.outputs()["secrets"] == ["shares-ann_key", "shares-new_key"], "of this project's own"


def test_a_project_without_secrets_is_taken(module: ModuleOf, tmp_path: Path) -> None:
    plan = module("gcp").plan(variables(write_manifest(tmp_path / "gcp", secrets=[])))
    assert not [address for address in plan.resources() if "_secret_" in address or "terraform_data.secret" in address]


def test_everything_stays_in_the_region(state: Values) -> None:
    found = state.resources()
    places = {one.get("location") or one.get("region") or one.get("location_id") for one in found.values()} - {None}
    assert places == {"europe-west3"}
    for topic in state.resources("google_pubsub_topic").values():
        assert topic["message_storage_policy"][0]["allowed_persistence_regions"] == ["europe-west3"]


# ── timers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_timer_for_each_alert_exactly_as_omni_schedule_makes_it(state: Values, manifest: Path) -> None:
    jobs = {one["name"]: one for one in state.resources("google_cloud_scheduler_job").values()}
    told = state.outputs()["settings"]
    timers = json.loads(manifest.read_text())["timers"]
    with GoogleFakes() as fakes:
        scheduler = GcpScheduler(clients(fakes.url).scheduler, Settings.from_env(told))
        for name, one in timers.items():
            scheduler.upsert(Schedule(name, one["cron"], one["timezone"], one["payload"]))
        assert {name.rpartition("/")[2] for name in fakes.jobs} == set(jobs)
        for full, made in fakes.jobs.items():
            ours = jobs[full.rpartition("/")[2]]
            target = ours["http_target"][0]
            assert base64.b64decode(target["body"]) == made.http_target.body
            assert ours["description"] == made.description
            assert (ours["schedule"], ours["time_zone"]) == (made.schedule, made.time_zone)
            assert target["uri"] == made.http_target.uri
            assert target["oidc_token"][0]["audience"] == made.http_target.oidc_token.audience
            assert target["oidc_token"][0]["service_account_email"] == made.http_target.oidc_token.service_account_email
            assert ours["attempt_deadline"] == f"{made.attempt_deadline.total_seconds():.0f}s"
    assert len(jobs) == len(ALERTS) + 1
    assert all(len(one["description"]) <= 500 for one in jobs.values())


def test_a_description_is_json_either_way() -> None:
    assert json.loads(description("omni", Schedule("a", "0 9 * * *", "UTC", {})))["deployment"] == "omni"


def test_timers_can_be_left_to_omni_schedule(module: ModuleOf, good: dict[str, Any]) -> None:
    assert not module("gcp").plan({**good, "manage_timers": False}).resources("google_cloud_scheduler_job")


# ── deployments beside one another, and after one another ────────────────────────────────────────────────────────


IN_ANOTHER = (
    "google_project_service",
    "google_storage_bucket_object",
    "google_firestore_field",
    "google_kms_crypto_key",
)
"""What lies in a resource of the deployment's own, or is the project's."""
NAMES = ("name", "account_id", "role_id", "secret_id", "repository_id", "bucket_id")


def names(values: Values) -> set[tuple[str, str]]:
    found = values.resources()
    own = {address: one for address, one in found.items() if not address.startswith(IN_ANOTHER)}
    return {(address.partition(".")[0], str(one[key])) for address, one in own.items() if "iam_member" not in address
            for key in NAMES if one.get(key) and not str(one[key]).startswith("stub-")}  # fmt: skip


def test_two_deployments_in_one_project_share_nothing(module: ModuleOf, good: dict[str, Any]) -> None:
    first, second = (names(module("gcp").apply({**good, "name": name})) for name in ("omni", "omni-prod"))
    assert min(len(first), len(second)) > 25
    assert first & second == set()


def test_a_change_of_yaml_leaves_the_code_and_what_earlier_revisions_read(
    module: ModuleOf, tmp_path: Path, good: dict[str, Any]
) -> None:
    ours, path = module("gcp"), write_manifest(tmp_path / "gcp")
    before = ours.apply({**good, "manifest": str(path)})
    write_manifest(tmp_path / "gcp", project_says="more")
    plan = ours.plan({**good, "manifest": str(path)})
    assert set(plan.actions()) == {
        *(SERVICE.format(name) for name in ("ask", "watch", "work")), "google_storage_bucket_object.project",
    }  # fmt: skip
    (project,) = (one for a, one in before.resources("google_storage_bucket_object").items() if a.endswith("project"))
    assert project["deletion_policy"] == "ABANDON", "the revision that has the calls reads it when it starts"
    for name in ("ask", "watch", "work"):
        old, new = (service(one, name) for one in (before, plan))
        assert images(before, name) == images(plan, name), "nothing is built"
        assert old["traffic"] == new["traffic"]
        assert environment(before, name)["OMNI_PROJECT_OBJECT"] != environment(plan, name)["OMNI_PROJECT_OBJECT"]


def test_an_image_is_built_once_for_each_code_zip(
    module: ModuleOf, tmp_path: Path, good: dict[str, Any], gcloud: Path
) -> None:
    ours, path = module("gcp"), write_manifest(tmp_path / "gcp")
    good = {**good, "manifest": str(path), "name": "builds"}

    def built() -> list[str]:
        return [line for line in gcloud.read_text().splitlines() if "/builds/functions:" in line]

    first = ours.apply(good)
    (line,) = built()
    code = json.loads(path.read_text())["code"]
    assert line.startswith(
        f"builds submit gs://builds-{first.outputs()['bucket'].rpartition('-')[2]}/code/{code['file']} "
    )
    assert f"_IMAGE=europe-west3-docker.pkg.dev/stub-project/builds/functions:{code['sha256'][:12]}," in line
    assert "_PYTHON=3.13" in line
    assert "--service-account projects/stub-project/serviceAccounts/builds-build@" in line
    assert {images(first, name)[0].rpartition(":")[2] for name in ("ask", "watch", "work")} == {code["sha256"][:12]}
    write_manifest(tmp_path / "gcp", project_says="more")
    ours.apply(good)
    assert len(built()) == 1
    write_manifest(tmp_path / "gcp", code_says="more")
    ours.apply(good)
    assert len(built()) == 2


def test_gcloud_copies_the_code_to_where_the_build_may_read_it_and_the_data_has_to_stay(
    module: ModuleOf, tmp_path: Path, good: dict[str, Any], gcloud: Path
) -> None:
    """A source in Cloud Storage is copied as well; without a folder that is said, to a bucket in the United States."""
    path = write_manifest(tmp_path / "gcp", code_says="staged")
    state = module("gcp").apply({**good, "manifest": str(path), "name": "stages"})
    (line,) = [one for one in gcloud.read_text().splitlines() if "/stages/functions:" in one]
    found = re.search(r"--gcs-source-staging-dir gs://([^/ ]+)/(\S+)", line)
    assert found is not None
    bucket, folder = found[1], found[2]
    (ours,) = state.resources("google_storage_bucket").values()
    assert (bucket, ours["location"]) == (ours["name"], "europe-west3")
    (reader,) = [one for address, one in state.resources("google_storage_bucket_iam_member").items()
                 if address.endswith(".build")]  # fmt: skip
    prefix = re.search(r"/objects/([^\"]+)\"", reader["condition"][0]["expression"])
    assert prefix is not None
    assert f"{folder}/".startswith(prefix[1])
    gone = [rule["condition"][0]["age"] for rule in ours["lifecycle_rule"] if rule["action"][0]["type"] == "Delete"
            and rule["condition"][0]["matches_prefix"] == [f"{folder}/"]]  # fmt: skip
    assert gone == [1]
    assert not f"code/{json.loads(path.read_text())['code']['file']}".startswith(f"{folder}/")


def test_a_canary_gets_five_percent_then_all_or_nothing(module: ModuleOf, good: dict[str, Any]) -> None:
    ours, stable = module("gcp"), {"ask": "omnisentinel-ask-00001-abc"}
    first = ours.apply(good).outputs()["canary"]["ask"]
    assert (first["percent"], first["stable"], first["service"]) == (100, None, "omnisentinel-ask")
    assert "/" not in first["revision"]
    second = ours.apply({**good, "canary": {"stable": stable}})
    told = second.outputs()["canary"]
    assert (told["ask"]["percent"], told["ask"]["stable"]) == (5, stable["ask"])
    assert (told["watch"]["percent"], told["watch"]["stable"]) == (100, None)
    newest, kept = service(second, "ask")["traffic"]
    assert (newest["type"], newest["percent"]) == ("TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", 5)
    assert (kept["revision"], kept["percent"]) == (stable["ask"], 95)
    back = ours.plan({**good, "canary": {"stable": stable, "percent": 0}})
    assert set(back.actions()) == {SERVICE.format("ask")}
    (only,) = service(back, "ask")["traffic"]
    assert (only["revision"], only["percent"]) == (stable["ask"], 100)
    (all_of_it,) = service(ours.plan(good), "ask")["traffic"]
    assert (all_of_it["type"], all_of_it["percent"]) == ("TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", 100)


def test_a_function_that_is_as_it_was_has_no_canary(module: ModuleOf, good: dict[str, Any]) -> None:
    ours = module("gcp")
    before = ours.apply(good).outputs()["canary"]["ask"]["revision"]
    ours.module.joinpath("variables.tf").write_text(
        re.sub(r'startswith\(revision, ".*?"\)', "true", (ours.module / "variables.tf").read_text())
    )  # an invented revision is not named after its service
    told = ours.apply({**good, "canary": {"stable": {"ask": before}}}).outputs()["canary"]["ask"]
    assert (told["revision"], told["stable"]) == (before, None), "nothing to watch, and nothing to take back"


def test_omni_deploy_understands_what_the_module_tells(state: Values) -> None:
    outputs = state.outputs()
    told = canary_gcp.first(outputs)
    assert told is not None
    assert set(told["stable"]) == {"ask", "watch", "work"}
    assert canary_gcp.split(outputs) == {}
    assert outputs["settings"]["OMNI_SCHEDULE_GROUP"].split("/")[1] == "stub-project"


def test_what_holds_data_is_kept_unless_said_otherwise(module: ModuleOf, good: dict[str, Any]) -> None:
    for kept in (True, False):
        plan = module("gcp").plan({**good, "deletion_protection": kept})
        (database,) = plan.resources("google_firestore_database").values()
        (bucket,) = plan.resources("google_storage_bucket").values()
        assert (database["delete_protection_state"] == "DELETE_PROTECTION_ENABLED") is kept
        assert bucket["force_destroy"] is not kept
