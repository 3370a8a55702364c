"""A Logic App per timer of the manifest, and the canary that some of their runs ask first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from handlers.azure.platform import platform
from handlers.azure.scheduler import _schedule, definition, workflow_name
from tests.runtimes.azure_arm import GROUP, wrong_workflow
from tests.runtimes.azure_cloud import shared
from tests.terraform.azure.conftest import ALERTS, write_manifest
from tests.terraform.azure.state import State, app
from tests.terraform.harness import Mistake, Module
from tests.terraform.stub.azapi import request


def workflow(state: State, name: str) -> dict[str, Any]:
    """What Terraform would leave at Azure."""
    one = state[f'azapi_resource.timer["{name}"]']
    return {**request(one), "name": one["name"]}


@pytest.mark.parametrize("name", [*ALERTS, "sweep"])
def test_a_timer_is_what_omni_schedule_would_write(applied: State, outputs: dict[str, Any], name: str) -> None:
    made = workflow(applied, name)
    settings = Settings.from_env({**outputs["settings"]})
    given = _schedule(made, "omnisentinel")
    assert given is not None
    assert given.name == name
    assert given.cron == ALERTS.get(name, ("* * * * *",))[0], "nothing for omni schedule to change"
    assert made["name"] == workflow_name("omnisentinel", name) == outputs["timers"][name]
    recurrence = made["properties"]["definition"]["triggers"]["schedule"]["recurrence"]
    ours = definition(recurrence, given.payload, settings)
    theirs = made["properties"]["definition"]
    assert theirs == ours
    assert {k: one for k, one in made.items() if k not in ("name", "properties", "tags")} == {
        "location": settings.region,
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {settings.schedule_role: {}}},
    }
    assert made["properties"] == {"state": "Enabled", "definition": ours}
    assert wrong_workflow(made["name"], made) == ""


def test_a_recurrence_that_is_missing_is_told_with_the_alerts_name(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    manifest = json.loads(Path(good["manifest"]).read_text())
    del manifest["timers"]["low-stock"]["native"]["recurrence"]
    path = write_manifest(tmp_path / "azure", timers=manifest["timers"])
    told = Mistake("no recurrence", variables={"manifest": str(path)}, says="the timer low-stock", at="plan")
    module("azure").reject(told, good)


def test_a_name_that_no_tags_can_hold_is_told(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    manifest = json.loads(Path(good["manifest"]).read_text())
    manifest["timers"]["low-stock"]["payload"]["alert"] = "x" * 2_000
    path = write_manifest(tmp_path / "azure", timers=manifest["timers"])
    told = Mistake("long", variables={"manifest": str(path)}, says="the timer low-stock are too long", at="plan")
    module("azure").reject(told, good)


def test_omni_schedule_finds_nothing_to_do_after_terraform(applied: State, outputs: dict[str, Any]) -> None:
    """Every timer that Terraform made, as Azure answers it, beside what `omni schedule` would put there."""
    cloud = shared()
    cloud.arm.workflows.clear()
    wanted = [workflow(applied, name) for name in (*ALERTS, "sweep")]
    for one in wanted:
        cloud.arm.workflows[f"{GROUP}/providers/Microsoft.Logic/workflows/{one['name']}".lower()] = one
    env = cloud.deployment({}) | outputs["settings"] | {"OMNI_SCHEDULE_GROUP": GROUP}
    with cloud.entered():
        scheduler = platform(Settings.from_env(env), env).scheduler
        assert scheduler is not None
        found = scheduler.list()
        assert {one.name for one in found} == {*ALERTS, "sweep"}
        for one in found:
            scheduler.upsert(one)
    written = {one["name"]: {key: one[key] for key in wanted[0]} for one in cloud.arm.workflows.values()}
    assert written == {one["name"]: one for one in wanted}


# ── a canary ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["old", "new"])
def test_a_canary_goes_first_in_some_runs_and_the_known_version_always(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path, end: str
) -> None:
    canary = write_manifest(tmp_path / "canary")
    state = module("azure", end).apply({**good, "canary": {"manifest": str(canary)}}).resources()
    actions = workflow(state, "low-stock")["properties"]["definition"]["actions"]
    first = actions["canary"]
    assert first["expression"] == {"and": [{"less": ["@rand(0,100)", 5]}]}
    hosts = [app(state, name)["host"] for name in ("canary", "stable")]
    assert hosts[0] in first["actions"]["canary_watch"]["inputs"]["uri"]
    assert first["actions"]["canary_watch"]["limit"] == {"timeout": "PT60S"}
    assert actions["key"]["runAfter"] == {"canary": ["Succeeded", "Failed", "TimedOut", "Skipped"]}
    assert hosts[1] in actions["watch"]["inputs"]["uri"]
    assert wrong_workflow("x", workflow(state, "low-stock")) == ""
    settings = [app(state, name)["app_settings"] for name in ("canary", "stable")]
    assert settings[0]["OMNI_STORE_TABLE"] == settings[1]["OMNI_STORE_TABLE"], "one state: a slot is done once"
    assert settings[0]["OMNI_QUEUE"] != settings[1]["OMNI_QUEUE"], "jobs are not the canary's"
    assert settings[0]["OMNI_PROJECT_OBJECT"] != settings[1]["OMNI_PROJECT_OBJECT"]
    assert {f'azapi_resource_action.sync["{name}"]' for name in ("canary", "stable")} <= set(state), "each is woken"


@pytest.mark.parametrize("end", ["old", "new"])
def test_the_end_of_a_canary_reaches_every_timer_in_its_place(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path, end: str
) -> None:
    ours = module("azure", end)
    canary = {"canary": {"manifest": str(write_manifest(tmp_path / "canary"))}}
    before = ours.apply({**good, **canary}).resources()
    assert ours.plan({**good, **canary}).actions() == {}
    planned = ours.plan(good).actions()
    timers = [f'azapi_resource.timer["{name}"]' for name in (*ALERTS, "sweep")]
    assert [planned.get(one) for one in timers] == [["update"]] * len(timers)
    after = ours.apply(good).resources()
    for name in (*ALERTS, "sweep"):
        there, here = workflow(before, name), workflow(after, name)
        definition = here["properties"]["definition"]
        assert set(definition["actions"]) == {"key", "watch"}
        assert definition["actions"]["key"]["runAfter"] == {}
        assert {k: here[k] for k in here if k != "properties"} == {k: there[k] for k in there if k != "properties"}
        (identity,) = here["identity"]["userAssignedIdentities"]
        assert definition["actions"]["key"]["inputs"]["authentication"]["identity"] == identity
    assert ours.plan(good).actions() == {}
    fresh = module("azure", end).apply(good).resources()
    assert {one: after[one] for one in timers} == {one: fresh[one] for one in timers}, "as if there had been none"


def test_a_step_that_was_taken_away_by_hand_comes_back(applied: State) -> None:
    """azapi compares by names; left to itself it takes one that Azure does not have any more for one that it hides."""
    for name in (*ALERTS, "sweep"):
        assert applied[f'azapi_resource.timer["{name}"]']["ignore_missing_property"] is False


def test_a_canary_that_nobody_can_ask_is_told_like_one_that_fails(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    """Its watch is skipped where its key cannot be read: the alarm has to look at both steps, and at silence."""
    given = {**good, "canary": {"manifest": str(write_manifest(tmp_path / "canary"))}}
    state = module("azure").apply(given)
    steps = set(workflow(state.resources(), "sweep")["properties"]["definition"]["actions"]["canary"]["actions"])
    rules = {a.split('"')[1]: one for a, one in state.resources().items() if "scheduled_query" in a}
    failed, silent = (rules[name]["criteria"][0]["query"] for name in ("canary", "canary-silent"))
    for query in (failed, silent):
        found = re.search(r"resource_actionName_s in \(([^)]*)\)", query)
        assert found is not None
        assert set(re.findall(r"'(\w+)'", found[1])) == steps
    assert "status_s in ('Failed', 'TimedOut')" in failed
    assert "countif(resource_actionName_s == 'canary_watch' and status_s == 'Succeeded')" in silent
    assert "good == 0 and first < ago(23h)" in silent, "not on the day on which a canary begins"
    assert rules["canary-silent"]["window_duration"] == "P1D"
    assert set(state.outputs()["apps"]) == {"canary", "stable"}
