"""What the module makes of a deployment, with the real terraform at both ends of the provider range."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from core.query.job import Jobs
from core.settings import PREFIX, Settings
from handlers.azure.clients import vault_name
from handlers.azure.objects import blob_name
from handlers.azure.queue import CONNECTION, queue_name
from handlers.azure.scheduler import workflow_name
from infra.deploy.summary import KEEPS_DATA
from tests.terraform.azure.conftest import write_manifest
from tests.terraform.azure.state import State, app
from tests.terraform.binary import terraform
from tests.terraform.harness import MODULES, Module

BOTH = pytest.mark.parametrize("end", ["old", "new"])


def test_the_files_are_formatted() -> None:
    command = [terraform(), "fmt", "-check", "-recursive", "-no-color", str(MODULES / "azure")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@BOTH
@pytest.mark.parametrize("where", ["", "examples/minimal", "examples/complete"])
def test_it_is_valid(once: Callable[..., Module], end: str, where: str) -> None:
    once("azure", end).validate(where)


@BOTH
def test_it_applies_plans_nothing_more_and_is_destroyed(
    module: Callable[..., Module], good: dict[str, Any], end: str
) -> None:
    ours = module("azure", end)
    ours.apply(good)
    assert ours.plan(good).actions() == {}
    assert ours.destroy().resources() == {}


@BOTH
def test_its_own_tests_pass(once: Callable[..., Module], end: str) -> None:
    told = once("azure", end).test()
    assert "0 failed" in told


# ── the functions ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_omni_variable_is_a_field_of_settings(applied: State, outputs: dict[str, Any]) -> None:
    known = {PREFIX + f.name.upper() for f in fields(Settings)}
    for given in (app(applied)["app_settings"], outputs["settings"]):
        ours = {name: value for name, value in given.items() if name.startswith(PREFIX)}
        assert set(ours) <= known
        Settings.from_env(ours)
    needed = {"STORE_TABLE", "SECRET_PREFIX", "OBJECTS", "QUEUE", "KEY", "DEPLOYMENT", "REGION", "PROJECT_OBJECT",
              "JOB_TTL_S", "LOG_LEVEL", "TRACING", "MEMORY_LIMIT"}  # fmt: skip
    assert {n for n in app(applied)["app_settings"] if n.startswith(PREFIX)} == {PREFIX + n for n in needed}


def test_the_trigger_listens_where_jobs_are_sent(applied: State) -> None:
    settings = app(applied)["app_settings"]
    jobs = applied['azurerm_storage_queue.jobs["stable"]']["name"]
    assert queue_name(settings["OMNI_QUEUE"]) == jobs
    assert settings["OMNI_QUEUE"] == settings[f"{CONNECTION}__queueServiceUri"] + jobs
    assert settings[f"{CONNECTION}__credential"] == "managedidentity"
    assert applied['azurerm_storage_queue.poison["stable"]']["name"] == f"{jobs}-poison", "where the host puts them"


def test_the_project_lies_where_the_function_looks(applied: State) -> None:
    blob = applied['azurerm_storage_blob.project["stable"]']
    assert app(applied)["app_settings"]["OMNI_PROJECT_OBJECT"] == blob["name"]
    assert blob_name(blob["name"]) == blob["name"], "the adapter writes that name as it is"


def test_a_changed_project_leaves_the_code_alone(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    ours = module("azure")
    before = ours.apply(good)
    folder = tmp_path / "next"
    manifest = json.loads(Path(good["manifest"]).read_text())
    changed = json.loads(write_manifest(folder).read_text())
    (folder / manifest["code"]["file"]).write_bytes(
        (Path(good["manifest"]).parent / manifest["code"]["file"]).read_bytes()
    )
    (folder / "deployment.json").write_text(json.dumps({**changed, "code": manifest["code"]}))
    plan = ours.plan({**good, "manifest": str(folder / "deployment.json")})
    assert set(plan.actions()) <= {
        'azurerm_storage_blob.project["stable"]', 'azapi_resource.app["stable"]',
        'terraform_data.deployed["stable"]', 'azapi_resource_action.sync["stable"]',
    }  # fmt: skip
    after = app(plan.resources())
    assert deployed_from(after) == deployed_from(app(before.resources()))
    assert after["app_settings"]["OMNI_PROJECT_OBJECT"] == f"projects/{changed['project']['file']}"


def deployed_from(one: dict[str, Any]) -> str:
    """Where Flex Consumption takes the code."""
    return str(one["functionAppConfig"]["deployment"]["storage"]["value"])


def test_changed_code_is_another_container_that_is_there_before_the_app_looks(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    ours = module("azure")
    before = app(ours.apply(good).resources())
    newer = {**good, "manifest": str(write_manifest(tmp_path / "newer"))}
    actions = ours.plan(newer).actions()
    assert actions['azapi_resource.code["stable"]'] == ["create", "delete"]
    assert actions['azapi_resource.app["stable"]'] == ["update"]
    removed = {address.partition(".")[0] for address, done in actions.items() if "delete" in done}
    assert removed & KEEPS_DATA == set(), "`omni deploy` would not apply it"
    state = ours.apply(newer).resources()
    assert deployed_from(app(state)) != deployed_from(before)
    container = state['azapi_resource.code["stable"]']["name"]
    assert deployed_from(app(state)).endswith(f"/{container}")
    assert state['azurerm_storage_blob.code["stable"]']["name"] == "released-package.zip"


def test_the_platform_is_told_of_triggers_and_the_host_started_whenever_what_runs_has_changed(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing else does it: code out of a container is published by nobody, and timers read a key that the host makes
    when it first starts."""
    ours = module("azure")
    path = write_manifest(tmp_path / "azure")
    good = {**good, "manifest": str(path)}
    state = ours.apply(good)
    sync = state.resources()['azapi_resource_action.sync["stable"]']
    app_id = state.resources()['azapi_resource.app["stable"]']["id"]
    assert (sync["method"], f"{sync['resource_id']}/{sync['action']}") == ("POST", f"{app_id}/host/default/sync")
    (this,) = state.document["values"]["root_module"]["child_modules"]
    after = {one["address"]: one.get("depends_on", []) for one in this["resources"]}
    timer = after['module.this.azapi_resource.timer["low-stock"]']
    assert "module.this.azapi_resource_action.sync" in timer, "a timer finds its key"
    document = json.loads(path.read_text())
    for part in ("code", "project"):
        changed = {**document, part: json.loads(write_manifest(tmp_path / part).read_text())[part]}
        for kind in ("code", "project"):
            file = changed[kind]["file"]
            (tmp_path / "new" / part).mkdir(parents=True, exist_ok=True)
            place = next(one / file for one in (tmp_path / part, path.parent) if (one / file).is_file())
            (tmp_path / "new" / part / file).write_bytes(place.read_bytes())
        (tmp_path / "new" / part / "deployment.json").write_text(json.dumps(changed))
        plan = ours.plan({**good, "manifest": str(tmp_path / "new" / part / "deployment.json")})
        assert plan.actions()['azapi_resource_action.sync["stable"]'] == ["delete", "create"], part
    assert 'azapi_resource_action.sync["stable"]' not in ours.plan({**good, "log_level": "DEBUG"}).actions()


def test_answers_of_jobs_are_removed_after_they_expired(applied: State) -> None:
    (rule,) = applied["azurerm_storage_management_policy.data"]["rule"]
    (prefix,) = rule["filters"][0]["prefix_match"]
    source = Path(Jobs.__init__.__code__.co_filename).read_text()
    assert 'f"job/{' in source, "what jobs name their answers"
    assert prefix == "objects/job/"
    assert rule["actions"][0]["base_blob"][0]["delete_after_days_since_modification_greater_than"] == 2


def test_the_host_gives_a_function_the_time_that_the_longest_of_them_asks_for(
    module: Callable[..., Module], applied: State, good: dict[str, Any]
) -> None:
    assert app(applied)["app_settings"]["AzureFunctionsJobHost__functionTimeout"] == "00:10:00", "a job's, by default"
    shorter = module("azure").apply({**good, "work_timeout_s": 90}).resources()
    assert app(shorter)["app_settings"]["AzureFunctionsJobHost__functionTimeout"] == "00:02:10", "the project's watch"


def test_secrets_have_the_names_that_the_adapter_asks_for(outputs: dict[str, Any]) -> None:
    assert outputs["secrets"] == {name: vault_name(name) for name in ("Ann.Key-2", "ann_key", "ops_key")}


# ── what is switched, and what is kept apart ─────────────────────────────────────────────────────────────────────


def auth(state: State) -> dict[str, Any]:
    found: dict[str, Any] = state['azapi_update_resource.auth["stable"]']["body"]["properties"]
    return found


def test_nobody_publishes_by_name_and_password(applied: State) -> None:
    doors = {a: one["body"]["properties"]["allow"] for a, one in applied.items() if "publishing" in a}
    assert doors == {f'azapi_update_resource.publishing["stable-{door}"]': False for door in ("ftp", "scm")}


def test_the_host_finds_no_connection_string_beside_its_identity(applied: State) -> None:
    settings = app(applied)["app_settings"]
    assert "AzureWebJobsStorage" not in settings, "with it, and were it empty, the host does not start"
    assert settings["AzureWebJobsStorage__credential"] == "managedidentity"
    assert settings["AzureWebJobsStorage__accountName"] == applied["azurerm_storage_account.host"]["name"]
    assert settings["AzureWebJobsStorage__clientId"] == settings["AZURE_CLIENT_ID"]
    assert "FUNCTIONS_WORKER_RUNTIME" not in settings, "Flex Consumption refuses it"


def test_tracing_and_entra_are_off_until_asked_for(module: Callable[..., Module], good: dict[str, Any]) -> None:
    ours = module("azure")
    plain = ours.apply(good).resources()
    assert not any(a.startswith("azurerm_application_insights") for a in plain)
    assert not auth(plain)["platform"]["enabled"]
    guid = "00000000-0000-0000-0000-000000000001"
    full = ours.apply({**good, "tracing": True, "entra": {"client_id": guid, "tenant_id": guid}}).resources()
    settings = app(full)["app_settings"]
    assert settings["OMNI_TRACING"] == "true"
    assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"].startswith("Authorization=AAD;")
    assert auth(full)["platform"]["enabled"]
    assert auth(full)["globalValidation"]["unauthenticatedClientAction"] == "AllowAnonymous"
    assert guid in auth(full)["identityProviders"]["azureActiveDirectory"]["registration"]["openIdIssuer"]


def test_two_deployments_in_one_subscription_do_not_meet(module: Callable[..., Module], good: dict[str, Any]) -> None:
    def identifiers(name: str) -> set[str]:
        state = module("azure").plan({**good, "name": name}).resources()
        within_a_group = ("azurerm_storage_table", "azurerm_storage_container", "azurerm_storage_blob",
                          "azurerm_key_vault_key", "azurerm_monitor_diagnostic", "azurerm_role_assignment",
                          "azapi_update_resource", "azapi_resource.code")  # fmt: skip
        return {f"{a.partition('.')[0]} {one['name']}" for a, one in state.items()
                if one.get("name") and not a.startswith(within_a_group)}  # fmt: skip

    one, two, three = identifiers("omni"), identifiers("omni-two"), identifiers("omnitwo")
    assert len(one) > 15
    assert not one & two
    assert not two & three, "hyphens are taken out of storage accounts' names: the digest keeps them apart"


@pytest.mark.parametrize("name", ["abc", "a" * 20, "a-b-c-d-e-f-g-h-i-j"])
def test_names_fit_azures_rules(module: Callable[..., Module], good: dict[str, Any], name: str) -> None:
    import re

    state = module("azure").plan({**good, "name": name}).resources()
    rules = {
        "azurerm_storage_account": r"[a-z0-9]{3,24}", "azurerm_key_vault": r"[a-zA-Z](-?[a-zA-Z0-9]){2,23}",
        "azapi_resource.app": r"[a-z0-9][a-z0-9-]{0,58}[a-z0-9]", "azapi_resource.code": r"[a-z0-9](-?[a-z0-9]){2,62}",
        "azapi_resource.timer": r"[A-Za-z0-9-]{1,43}", "azurerm_storage_queue": r"[a-z0-9](-?[a-z0-9]){2,62}",
        "azurerm_log_analytics_workspace": r"[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]",
    }  # fmt: skip
    seen = set()
    for address, one in state.items():
        kind = address.partition("[")[0] if address.startswith("azapi") else address.partition(".")[0]
        if kind in rules:
            seen.add(kind)
            assert re.fullmatch(rules[kind], one["name"]), (kind, one["name"])
            assert kind != "azurerm_key_vault" or len(one["name"]) <= 24
    assert seen == set(rules)


def test_there_is_an_alarm_for_each_way_to_fail(applied: State) -> None:
    alarms = {a.split('"')[1] for a in applied if a.startswith("azurerm_monitor_scheduled_query")}
    assert alarms == {"errors", "poison", "timers", "sweeps"}
    assert "azurerm_monitor_metric_alert.throttled" in applied
    (group,) = [one for a, one in applied.items() if a.startswith("azurerm_monitor_action_group")]
    assert [r["email_address"] for r in group["email_receiver"]] == ["oncall@example.com"]
    sweeps = applied['azurerm_monitor_scheduled_query_rules_alert_v2.this["sweeps"]']["criteria"][0]
    assert workflow_name("omnisentinel", "sweep") in sweeps["query"]
    assert (sweeps["operator"], sweeps["threshold"]) == ("LessThan", 1)


def test_timers_may_be_somebody_elses(module: Callable[..., Module], good: dict[str, Any]) -> None:
    state = module("azure").plan({**good, "manage_timers": False}).resources()
    assert not any(".timer[" in a or "Microsoft.Logic" in str(one.get("type")) for a, one in state.items())
    alarms = {a.split('"')[1] for a in state if a.startswith("azurerm_monitor_scheduled_query")}
    assert alarms == {"errors", "poison"}, "of timers whose runs nobody logs, nothing could be told"
    assert "azurerm_user_assigned_identity.timers" in state, "whoever makes them needs it"


def test_an_apply_that_was_interrupted_goes_on(module: Callable[..., Module], good: dict[str, Any]) -> None:
    ours = module("azure")
    ours.plan(good)  # writes the root module
    half = [
        '-target=module.this.azapi_resource.timer["low-stock"]',
        "-target=module.this.azurerm_key_vault_key.tenants",
    ]
    ours._run("apply", "-input=false", "-auto-approve", *half)
    rest = ours.plan(good).actions()
    assert rest
    assert {str(done) for done in rest.values()} == {"['create']"}, "nothing that is there is made again or taken away"
    ours.apply(good)
    assert ours.plan(good).actions() == {}


def test_a_rollback_is_the_earlier_manifest(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    ours = module("azure")
    before = app(ours.apply(good).resources())
    ours.apply({**good, "manifest": str(write_manifest(tmp_path / "newer"))})
    after = app(ours.apply(good).resources())
    assert after == before


# What Azure's reference (Microsoft.Web/sites, 2024-04-01) has at these places. The stub does not look into a body that
# goes to Azure as it is; the real azapi does.
SITE: dict[str, Any] = {
    "serverFarmId": str, "httpsOnly": bool, "clientAffinityEnabled": bool,
    "functionAppConfig": {
        "deployment": {"storage": {"type": str, "value": str, "authentication": {
            "type": str, "userAssignedIdentityResourceId": str}}},
        "runtime": {"name": str, "version": str},
        "scaleAndConcurrency": {"instanceMemoryMB": int, "maximumInstanceCount": int},
    },
    "siteConfig": {"ftpsState": str, "http20Enabled": bool, "minTlsVersion": str, "scmMinTlsVersion": str,
                   "appSettings": list},
}  # fmt: skip
AUTH: dict[str, Any] = {
    "platform": {"enabled": bool}, "httpSettings": {"requireHttps": bool}, "login": {"tokenStore": {"enabled": bool}},
    "globalValidation": {"requireAuthentication": bool, "unauthenticatedClientAction": str},
    "identityProviders": {"azureActiveDirectory": {
        "enabled": bool, "registration": {"clientId": str, "openIdIssuer": str},
        "validation": {"allowedAudiences": list},
    }},
}  # fmt: skip

WORKFLOW: dict[str, Any] = {
    "state": str,
    "definition": {"$schema": str, "contentVersion": str, "parameters": dict, "triggers": dict, "actions": dict,
                   "outputs": dict},
}  # fmt: skip


def misfits(value: Any, shape: Any, at: str = "") -> list[str]:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [at]
        found = [f"{at}.{key}" for key in value if key not in shape]
        return found + [one for key in value if key in shape for one in misfits(value[key], shape[key], f"{at}.{key}")]
    right = isinstance(value, shape) and (shape is not int or not isinstance(value, bool))
    return [] if right else [f"{at}: {type(value).__name__}"]


def test_what_goes_to_azure_as_it_is_has_azures_shape(applied: State) -> None:
    body = applied['azapi_resource.app["stable"]']["body"]
    assert set(body) == {"kind", "properties"}
    assert body["kind"] == "functionapp,linux"
    assert misfits(body["properties"], SITE) == []
    assert misfits(auth(applied), AUTH) == []
    timer = applied['azapi_resource.timer["low-stock"]']
    assert timer["type"] == "Microsoft.Logic/workflows@2019-05-01"
    assert set(timer["body"]) == {"properties"}
    assert misfits(timer["body"]["properties"], WORKFLOW) == []
    for one in body["properties"]["siteConfig"]["appSettings"]:
        assert set(one) == {"name", "value"}
        assert all(isinstance(text, str) for text in one.values()), one
    assert misfits({**body["properties"], "runtime": {}}, SITE) == [".runtime"]
