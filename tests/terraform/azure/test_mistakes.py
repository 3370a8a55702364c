"""Deliberate mistakes, each of which the real terraform has to refuse, for the reason that it is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.azure.conftest import write_manifest
from tests.terraform.harness import Mistake, Module

UNSUPPORTED = "Unsupported argument"
GUID = "00000000-0000-0000-0000-000000000001"


def wrong(name: str, file: str, right: str, instead: str, says: str) -> Mistake:
    return Mistake(name, file, right, instead, says=says)


def given(mistake: str, says: str, **variables: Any) -> Mistake:
    return Mistake(mistake, variables=variables, says=says, at="plan")


WRITTEN = [
    wrong(
        "misspelt argument",
        "functions.tf",
        "  parent_id = azurerm_resource",
        "  parent = azurerm_resource",
        UNSUPPORTED,
    ),
    wrong(
        "argument of another resource",
        "functions.tf",
        '  os_type             = "Linux"',
        '  os_type = "Linux"\n  memory_size = 1',
        UNSUPPORTED,
    ),
    wrong("misspelt block", "functions.tf", "  identity {", "  identities {", "Unsupported block"),
    wrong("block for an attribute", "functions.tf", "  retry = {", "  retry {", "Unsupported block"),
    wrong("no required block", "storage.tf", "    filters {", "    filter {", "Unsupported block|filters"),
    wrong("no required argument", "functions.tf", '  sku_name            = "FC1"\n', "", '"sku_name" is required'),
    wrong(
        "argument that the older provider had",
        "storage.tf",
        "  storage_account_id = azurerm_storage_account.data.id\n}",
        "  storage_account_name = azurerm_storage_account.data.name\n}",
        "storage_account",
    ),
    wrong(
        "shared keys by a wrong type",
        "storage.tf",
        "shared_access_key_enabled        = false",
        'shared_access_key_enabled        = "never"',
        "bool is required|a bool",
    ),
    wrong("number as a word", "vault.tf", "key_size     = 3072", 'key_size     = "large"', "a number is required"),
    wrong("text for a list", "vault.tf", '["unwrapKey", "wrapKey"]', '"wrapKey"', "list of string required"),
    wrong(
        "attribute that does not exist",
        "functions.tf",
        "azurerm_user_assigned_identity.functions.client_id\n\n",
        "azurerm_user_assigned_identity.functions.clientid\n\n",
        "Unsupported attribute",
    ),
    wrong(
        "resource that is not declared",
        "identity.tf",
        "azurerm_key_vault.secrets.id, who",
        "azurerm_key_vault.main.id, who",
        "undeclared resource",
    ),
    wrong(
        "type that does not exist",
        "storage.tf",
        'resource "azurerm_storage_queue" "poison"',
        'resource "azurerm_queue" "poison"',
        "azurerm_queue",
    ),
    wrong(
        "computed attribute set",
        "vault.tf",
        '  sku_name                   = "standard"\n',
        '  sku_name = "standard"\n  vault_uri = "https://x"\n',
        "unconfigurable|decides",
    ),
    wrong("local that is not there", "timers.tf", "local.host_key}?api", "local.hostkey}?api", "undeclared local"),
    wrong(
        "variable that is not there",
        "monitoring.tf",
        "var.log_daily_cap_gb\n  local",
        "var.log_cap\n  local",
        "undeclared input variable",
    ),
    wrong(
        "instance without its key",
        "timers.tf",
        'azurerm_key_vault.host["stable"].vault_uri)[0]',
        "azurerm_key_vault.host.vault_uri)[0]",
        "Unsupported attribute|for_each|specific key",
    ),
    wrong(
        "block twice",
        "monitoring.tf",
        "  time_period {\n",
        '  time_period {\n    start_date = "x"\n  }\n\n  time_period {\n',
        "No more than 1|Too many",
    ),
    wrong(
        "function that does not exist",
        "main.tf",
        "dirname(var.manifest)",
        "folder(var.manifest)",
        "no function named|Call to unknown function",
    ),
    wrong(
        "a circle", "main.tf", "  name     = var.name\n", "  name     = azurerm_storage_account.data.name\n", "Cycle"
    ),
    wrong(
        "output of nothing",
        "outputs.tf",
        "azurerm_key_vault.secrets.name",
        "azurerm_key_vault.secret.name",
        "undeclared resource",
    ),
]
GIVEN = [
    given("region that is none", "region has to be one of", region="West Europe"),
    given("region outside the residency", "not in the geography", region="eastus2", residency="europe"),
    given("residency that is none", "residency has to be", residency="moon"),
    given("name with capitals", "3 to 20 of a-z", name="Omni"),
    given("name too long", "3 to 20 of a-z", name="x" * 21),
    given("name with two hyphens", "3 to 20 of a-z", name="omni--prod"),
    given("nobody hears alarms", "at least one e-mail address", alarm_emails=[]),
    given("an alarm to no address", "at least one e-mail address", alarm_emails=["oncall"]),
    given("copies in another region", "LRS or ZRS", replication="GRS"),
    given("memory that Flex has not", "512, 2048 or 4096", memory_mb=1024),
    given("instances that Flex has not", "1 to 1000", max_instances=0),
    given("retention that Log Analytics has not", "30 to 730", log_retention_days=7),
    given("log level that is none", "DEBUG, INFO, WARNING or ERROR", log_level="verbose"),
    given("answers for no time", "60 to 31536000", job_ttl_s=0),
    given("canary over everything", "whole number from 1 to 100", canary={"manifest": "x", "percent": 101}),
    given("canary without a bundle", "path of a deployment.json", canary={"manifest": "nowhere.json"}),
    given("canary slower than Logic Apps waits", "120 s at most", canary={"manifest": "x", "timeout_s": 300}),
    given("an application without a GUID", "have to be GUIDs", entra={"client_id": "omni", "tenant_id": GUID}),
    given("a variable of the module's own", "are set by the module", environment={"CRM_URL": "x", "OMNI_KEY": "x"}),
    given("a variable that the project needs", "does not have: CRM_URL", environment={}),
    given("no manifest", "run `omni bundle azure --parts` first", manifest="nowhere/deployment.json"),
    given("tags of the module's own", "not beginning with omnisentinel", tags={"omnisentinel-x": "y"}),
    given("a budget of nothing", "at least 1", monthly_budget=0),
    given("a cap of nothing", "0.1 to 100", log_daily_cap_gb=0),
    given("a job that takes longer than ten minutes", "60 to 600", work_timeout_s=601),
    given("an unknown variable", "No argument or block type", memroy_mb=2048),
]


@pytest.mark.parametrize("mistake", [*WRITTEN, *GIVEN], ids=lambda m: m.name)
def test_it_is_refused(once: Callable[..., Module], good: dict[str, Any], mistake: Mistake) -> None:
    once("azure").reject(mistake, good)


def test_there_are_enough_of_them() -> None:
    assert len(WRITTEN) + len(GIVEN) >= 25


@pytest.mark.parametrize(("changed", "says"), [
    ({"cloud": "gcp"}, "not of version 1 for azure"), ({"version": 2}, "not of version 1 for azure"),
    ({"watch_timeout_s": 601}, "over the 10 minutes"),
])  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(
    once: Callable[..., Module], good: dict[str, Any], tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    path = write_manifest(tmp_path / "azure", **changed)
    once("azure").reject(given("manifest", says, manifest=str(path)), good)


@pytest.mark.parametrize("kind", ["code", "project"])
def test_a_zip_that_is_not_the_manifests_is_refused(
    once: Callable[..., Module], good: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    path = write_manifest(tmp_path / "azure")
    file = path.parent / json.loads(path.read_text())[kind]["file"]
    mistake = given("zip", "not there, or not the one that the manifest names", manifest=str(path))
    file.write_bytes(b"another")
    once("azure").reject(mistake, good)
    file.unlink()
    once("azure").reject(mistake, good)


def test_more_timers_than_a_region_takes_are_refused_before_anything_is_made(
    once: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    timers = json.loads(Path(good["manifest"]).read_text())["timers"]
    many = {f"alert-{i}": {**timers["low-stock"], "id": f"alert-{i}"} for i in range(1_000)} | {
        "sweep": timers["sweep"]
    }
    path = str(write_manifest(tmp_path / "azure", timers=many))
    says = "needs 1001 timers, the sweep's among them, and Azure takes 1000 Logic Apps"
    once("azure").reject(given("timers", says, manifest=path), good)
    once("azure").plan({**good, "manifest": path, "manage_timers": False})


@pytest.mark.parametrize("version", [">= 4.0, < 5.0", ">= 6.0"])
def test_a_provider_outside_the_range_is_refused(
    module: Callable[..., Module], good: dict[str, Any], version: str
) -> None:
    mistake = wrong(
        "version", "terraform.tf", ">= 5.0, < 6.0", version, "no available releases match|Failed to query|could not"
    )
    module("azure").reject(mistake, good)
