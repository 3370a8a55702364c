"""Who may do what: the roles that Terraform makes, against the calls that the adapters make."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from core.errors import StateConflict
from core.ports import ABSENT, Delete, Platform, Put, Schedule
from core.settings import Settings
from handlers.azure.platform import platform
from tests.contract.azure_calls import MESSAGES, STORAGE, VAULT, recorded
from tests.runtimes.azure_arm import GROUP
from tests.runtimes.azure_cloud import shared
from tests.terraform.harness import ROOT

BY_THE_HOST = {
    "jobs": {MESSAGES + one for one in ("read", "write", "process/action", "add/action")},
    "poison": {MESSAGES + "add/action"},
    "hostkeys": {VAULT + f"secrets/{one}" for one in ("getSecret/action", "setSecret/action", "readMetadata/action",
                                                       "delete")},
}  # fmt: skip
"""What the Functions host asks for by itself; it cannot run here. To write a message is to renew its lease while the
function runs, and to show it again after a failure: MicrosoftDocs/azure-docs issue 120932."""
BUILT_IN = {"Storage Blob Data Owner", "Storage Blob Data Contributor", "Key Vault Secrets Officer",
            "Key Vault Crypto Officer", "Monitoring Metrics Publisher"}  # fmt: skip


@pytest.fixture
def ports() -> Iterator[Platform]:
    cloud = shared()
    cloud.arm.workflows.clear()
    cloud.vault.keys.pop("tenants", None)
    cloud.vault.rotate("tenants")
    env = cloud.deployment({"ann_key": "v"}) | {
        "OMNI_KEY": f"{cloud.vault_url}/keys/tenants", "OMNI_REGION": "westeurope", "OMNI_SCHEDULE_GROUP": GROUP,
        "OMNI_SCHEDULE_TARGET": "https://x/watch", "OMNI_SCHEDULE_ROLE": "/x",
        "OMNI_SCHEDULE_KEY": "https://v.vault.azure.net/secrets/k",
    }  # fmt: skip
    with cloud.entered():
        yield platform(Settings.from_env(env), env)


def exercised(ports: Platform) -> dict[str, set[str]]:
    """Every method of every port, in every kind of write -> the actions it took."""
    assert ports.objects and ports.queue and ports.keys and ports.scheduler
    found: dict[str, set[str]] = {}
    with recorded() as found["state"]:
        store = ports.store
        (version,) = store.write("p", [Put("k", {})])
        store.write("p", [Put("k", {}, expect=version), Put("new", {}, expect=ABSENT), Delete("nothing")])
        store.write("p", [Put(f"old{i}", {}, expires_at=time.time() - 1) for i in range(30)])
        store.write("p", [Put("one", {}, expect=ABSENT)])
        for expect in (None, version):
            with suppress(StateConflict):
                store.write("p", [Put("k", {}, expect=expect)])
                store.write("p", [Delete("k", expect=expect)])
        store.get("p", "k")
        store.query("p", "a", "z", limit=5)
    with recorded() as found["objects"]:
        ports.objects.put("a", b"", expires_at=time.time() - 1)
        ports.objects.put("a", b"", only_if_absent=True)
        ports.objects.get("a")
        ports.objects.delete("a")
    with recorded() as found["jobs"]:
        ports.queue.send({})
    with recorded() as found["secrets"]:
        ports.secrets.get("ann_key")
    with recorded() as found["tenants"]:
        ports.keys.unwrap("t", ports.keys.wrap("t", b"k" * 32, {}), {})
    with recorded() as found["timers"]:
        ports.scheduler.upsert(Schedule("a", "0 9 * * *", "UTC", {"alert": "a"}))
        ports.scheduler.list()
        ports.scheduler.delete("a")
    return found


def roles(applied: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(one["description"]): one for address, one in applied.items() if address.startswith("azurerm_role_def")}


def granted(applied: dict[str, dict[str, Any]], role: str) -> set[str]:
    (permissions,) = applied[f'azurerm_role_definition.this["{role}"]']["permissions"]
    return set(permissions["data_actions"] or ())


def test_each_role_has_the_actions_that_the_code_takes_and_no_other(
    applied: dict[str, dict[str, Any]], ports: Platform
) -> None:
    taken = exercised(ports)
    for role in ("state", "objects", "jobs", "secrets", "tenants"):
        assert granted(applied, role) == taken[role] | BY_THE_HOST.get(role, set()), role
    for role in ("poison", "hostkeys"):
        assert granted(applied, role) == BY_THE_HOST[role]
    named = {role.group(1) for one in applied if (role := re.match(r'azurerm_role_definition\.this\["(.*)"\]', one))}
    assert named == {"state", "objects", "jobs", "secrets", "tenants", "poison", "hostkeys"}


def test_what_timers_take_is_in_the_documentation(ports: Platform) -> None:
    text = (ROOT / "docs" / "azure.md").read_text()
    for action in exercised(ports)["timers"]:
        assert f"`{action}`" in text, action


def test_the_page_registers_the_providers_whose_actions_it_lists() -> None:
    text = (ROOT / "docs" / "azure.md").read_text()
    loop = re.search(r"(?m)^for name in ([\w ]+); do$", text)
    assert loop is not None
    who = text[text.index("### Who deploys") : text.index("## Deploy\n")]
    listed = set(re.findall(r"`Microsoft\.(\w+)/", who)) - {"Resources", "Authorization"}
    assert set(loop[1].split()) == listed
    assert "eight" in who and len(listed) == 8
    assert "azurerm_resource_group.this" in who, "the module makes the group, so one that is there is imported"


def test_no_wildcard_and_no_general_role(applied: dict[str, dict[str, Any]]) -> None:
    for address, one in applied.items():
        if address.startswith("azurerm_role_definition."):
            (permissions,) = one["permissions"]
            every = [*(permissions["actions"] or ()), *(permissions["data_actions"] or ())]
            assert every
            assert not any("*" in action for action in every)
            assert set(permissions["actions"] or ()) <= {STORAGE + "queueServices/queues/read"}, "of the control plane"
        if address.startswith("azurerm_role_assignment."):
            assert one["role_definition_name"] in {None, "", *BUILT_IN} or one["role_definition_name"].startswith(
                "stub"
            )


def test_roles_are_given_where_they_are_needed_and_not_above(applied: dict[str, dict[str, Any]]) -> None:
    ends = {
        "state": "/tableServices/default/tables/state", "objects": "/blobServices/default/containers/objects",
        "jobs-stable": "/queueServices/default/queues/omnisentinel-jobs",
        "poison-stable": "/queueServices/default/queues/omnisentinel-jobs-poison",
        "tenants": "/keys/tenants", "timers-stable": "/secrets/host--functionKey--default",
    }  # fmt: skip
    for name, end in ends.items():
        assert applied[f'azurerm_role_assignment.this["{name}"]']["scope"].endswith(end), name
    vaults = {applied["azurerm_key_vault.secrets"]["id"], applied['azurerm_key_vault.host["stable"]']["id"]}
    assert {applied[f'azurerm_role_assignment.this["{n}"]']["scope"] for n in ("secrets", "hostkeys-stable")} == vaults


def test_the_timers_can_read_one_key_and_nothing_else(applied: dict[str, dict[str, Any]]) -> None:
    timers = applied["azurerm_user_assigned_identity.timers"]["principal_id"]
    theirs = [a for a, one in applied.items() if a.startswith("azurerm_role_assign") and one["principal_id"] == timers]
    assert theirs == ['azurerm_role_assignment.this["timers-stable"]']


def test_nobody_comes_with_a_key_of_an_account(applied: dict[str, dict[str, Any]]) -> None:
    accounts = [one for address, one in applied.items() if address.startswith("azurerm_storage_account.")]
    assert len(accounts) == 2
    for one in accounts:
        assert one["shared_access_key_enabled"] is False
        assert one["allow_nested_items_to_be_public"] is False
        assert (one["min_tls_version"], one["cross_tenant_replication_enabled"]) == ("TLS1_2", False)
        assert one["account_replication_type"] in ("LRS", "ZRS"), "no copy in another region"
    app = applied['azapi_resource.app["stable"]']["body"]
    assert "AccountKey" not in json.dumps(app)
    storage = app["properties"]["functionAppConfig"]["deployment"]["storage"]
    assert storage["authentication"]["type"] == "UserAssignedIdentity"


def test_terraform_neither_writes_nor_reads_a_secret(applied: dict[str, dict[str, Any]]) -> None:
    kinds = {address.partition(".")[0] for address in applied}
    assert "azurerm_key_vault_secret" not in kinds
    sources = "".join(file.read_text() for file in (ROOT / "infra" / "terraform" / "azure").glob("*.tf"))
    assert set(re.findall(r'^data "(\w+)"', sources, re.MULTILINE)) == {"azurerm_client_config"}
    assert not re.search(
        r"primary_access_key|connection_string\s*=\s*azurerm_storage|site_credential|value_wo", sources
    )
