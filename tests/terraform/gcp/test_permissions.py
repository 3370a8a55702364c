"""Who may do what: the roles that Terraform binds, against the calls that the adapters make.

The calls are recorded while the contract suite runs: gRPC methods as Google's own transports log them, and requests to
Cloud Storage as they arrive. ``NEEDS`` says which permissions Google's documentation asks for each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from tests.contract import (
    gcp,
    platform_gcp,
    test_keys,
    test_objects,
    test_queue,
    test_scheduler,
    test_secrets,
    test_store,
)
from tests.runtimes.google_fakes import GoogleFakes
from tests.terraform.harness import MODULES, Module, Values

SUITE = {
    "store": test_store, "secrets": test_secrets, "objects": test_objects, "queue": test_queue, "keys": test_keys,
    "schedulers": test_scheduler,
}  # fmt: skip
_FIRESTORE, _STORAGE = "google.firestore.v1.Firestore/", "storage: "
NEEDS: dict[str, set[str]] = {
    _FIRESTORE + "BatchGetDocuments": {"datastore.entities.get"},
    _FIRESTORE + "RunQuery": {"datastore.entities.get", "datastore.entities.list"},
    _FIRESTORE + "Commit": {"datastore.entities.create", "datastore.entities.update", "datastore.entities.delete"},
    "google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion": {"secretmanager.versions.access"},
    "google.cloud.secretmanager.v1.SecretManagerService/ListSecretVersions": {"secretmanager.versions.list"},
    _STORAGE + "GET metadata": {"storage.objects.get"},
    _STORAGE + "GET download": {"storage.objects.get"},
    _STORAGE + "POST upload": {"storage.objects.create", "storage.objects.delete"},
    _STORAGE + "DELETE metadata": {"storage.objects.delete"},
    "google.pubsub.v1.Publisher/Publish": {"pubsub.topics.publish"},
    "google.cloud.kms.v1.KeyManagementService/Encrypt": {"cloudkms.cryptoKeyVersions.useToEncrypt"},
    "google.cloud.kms.v1.KeyManagementService/Decrypt": {"cloudkms.cryptoKeyVersions.useToDecrypt"},
    "google.cloud.scheduler.v1.CloudScheduler/CreateJob": {"cloudscheduler.jobs.create"},
    "google.cloud.scheduler.v1.CloudScheduler/UpdateJob": {"cloudscheduler.jobs.update"},
    "google.cloud.scheduler.v1.CloudScheduler/DeleteJob": {"cloudscheduler.jobs.delete"},
    "google.cloud.scheduler.v1.CloudScheduler/ListJobs": {"cloudscheduler.jobs.list"},
}
PREDEFINED = {
    "roles/pubsub.publisher": {"pubsub.topics.publish"},
    "roles/cloudkms.cryptoKeyEncrypterDecrypter": {
        "cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt",
    },
}  # fmt: skip
"""Of Google's own roles, what they allow on the resource that they are bound to here (besides reading its location)."""
USES = {
    "ask": ("store", "secrets", "queue", "keys", "objects.get"),
    "watch": ("store", "secrets", "queue", "objects.get"),
    "work": ("store", "secrets", "keys", "objects"),
}
"""Ports that each function uses: ask submits jobs and fetches answers, watch's sweep sends forgotten jobs again, work
stores answers; all read the project. ask and work are let to the tenants' key, which no function uses yet."""
BESIDES = {name: {"storage.objects.list"} for name in ("ask", "work")}
"""Cloud Storage tells an absent object from a forbidden one only to who may list."""
OF_THE_CALLERS = {
    "build": {"roles/artifactregistry.writer", "roles/logging.logWriter"},
    "push": {"roles/run.invoker"},
    "timers": {"roles/run.invoker"},
}


@contextmanager
def _recorded() -> Iterator[set[str]]:
    gcp.record()
    gcp.CALLS.clear()
    gcp.storage_fake().calls.clear()
    found: set[str] = set()
    yield found
    found |= gcp.CALLS | {_STORAGE + call for call in gcp.storage_fake().calls}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Port -> the calls it made in every test of the contract suite that needs that port alone."""
    made: dict[str, set[str]] = {}
    for port, tests in SUITE.items():
        with _recorded() as made[port]:
            for test in _of_port(tests, port):
                with getattr(platform_gcp, port)(tmp_path_factory.mktemp(port)) as offered:
                    test(**{port: offered})
    with _recorded() as disabled, GoogleFakes() as fakes:
        from handlers.gcp.secrets import GcpSecrets

        for _ in range(2):
            fakes.add("projects/p/secrets/o-a", "v")
        fakes.secrets["projects/p/secrets/o-a"][1].state = "DISABLED"
        GcpSecrets(gcp.clients(fakes.url).secrets, "projects/p/secrets/o-").get("a")
    made["secrets"] |= disabled
    made["objects.get"] = {call for call in made["objects"] if call.startswith(_STORAGE + "GET")}
    return made


def _of_port(tests: ModuleType, port: str) -> Iterator[Callable[..., Any]]:
    """The publisher's set-up of a test is no call of ours, so what is recorded is narrowed to NEEDS' services below."""
    for name, test in inspect.getmembers(tests, inspect.isfunction):
        if name.startswith("test_") and list(inspect.signature(test).parameters) == [port]:
            yield test


OF_THE_TESTS = {
    "google.pubsub.v1.Publisher/CreateTopic", "google.pubsub.v1.Subscriber/CreateSubscription",
    "google.pubsub.v1.Subscriber/Pull", "google.pubsub.v1.Subscriber/Acknowledge",
}  # fmt: skip


def needed(calls: dict[str, set[str]], ports: tuple[str, ...]) -> set[str]:
    return {one for port in ports for call in calls[port] - OF_THE_TESTS for one in NEEDS[call]}


@pytest.fixture(scope="module")
def state(once: Callable[..., Module], good: dict[str, Any]) -> Values:
    return once("gcp").apply(good)


def bound(state: Values, account: str) -> dict[str, list[dict[str, Any]]]:
    """Role -> its bindings to a service account of the deployment, on whatever resource."""
    (email,) = (one["email"] for one in state.resources("google_service_account").values()
                if one["account_id"] == f"omnisentinel-{account}")  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for address, one in state.resources().items():
        if "iam_member" in address and one["member"] == f"serviceAccount:{email}":
            found.setdefault(one["role"], []).append({**one, "address": address})
    return found


def allows(state: Values, role: str) -> set[str]:
    if role in PREDEFINED:
        return PREDEFINED[role]
    (one,) = (
        r for r in state.resources("google_project_iam_custom_role").values() if role.endswith("/" + r["role_id"])
    )
    return set(one["permissions"])


def test_every_call_is_one_whose_permission_is_known(calls: dict[str, set[str]]) -> None:
    assert set().union(*calls.values()) - OF_THE_TESTS == set(NEEDS), "a call more or less than is written here"


@pytest.mark.parametrize("function", USES)
def test_a_function_may_do_what_it_does_and_nothing_else(
    state: Values, calls: dict[str, set[str]], function: str
) -> None:
    wanted = needed(calls, USES[function]) | BESIDES.get(function, set())
    allowed = set().union(*(allows(state, role) for role in bound(state, function)))
    assert wanted - allowed == set(), "a call that would be refused"
    assert allowed - wanted == set(), "a right that nothing uses"


@pytest.mark.parametrize("account", OF_THE_CALLERS)
def test_who_calls_and_who_builds_can_do_that_alone(state: Values, account: str) -> None:
    found = bound(state, account)
    assert {role for role in found if role.startswith("roles/")} == OF_THE_CALLERS[account]
    custom = {one for role in found if not role.startswith("roles/") for one in allows(state, role)}
    assert custom == ({"storage.objects.get"} if account == "build" else set())
    if account != "build":
        ((only,),) = found.values()
        assert only["name"] == {"push": "omnisentinel-work", "timers": "omnisentinel-watch"}[account]


def test_every_right_is_bound_to_a_resource_or_by_a_condition(state: Values) -> None:
    members = {a: one for a, one in state.resources().items() if "iam_member" in a}
    assert len(members) > 20
    for address, one in members.items():
        assert one["role"] not in ("roles/owner", "roles/editor", "roles/viewer")
        assert "*" not in one["role"]
        if address.startswith("google_project_iam_member") and one["role"] != "roles/logging.logWriter":
            assert (
                'resource.name == "projects/stub-project/databases/omnisentinel"' in one["condition"][0]["expression"]
            )
    for role in state.resources("google_project_iam_custom_role").values():
        assert not any("*" in one or one.endswith("IamPolicy") for one in role["permissions"])


def test_objects_are_reached_by_prefix(state: Values) -> None:
    places = {
        address.partition("iam_member.")[2]: one["condition"][0]["expression"].rpartition("/objects/")[2]
        for address, one in state.resources("google_storage_bucket_iam_member").items() if one["condition"]
    }  # fmt: skip
    assert places == {
        'answers["ask"]': 'job/")', 'answers["work"]': 'job/")', "build": 'code/")',
        'project["ask"]': 'projects/")', 'project["watch"]': 'projects/")', 'project["work"]': 'projects/")',
    }  # fmt: skip


def test_the_internet_reaches_ask_alone_and_only_where_said(
    once: Callable[..., Module], state: Values, good: dict[str, Any]
) -> None:
    everyone = [a for a, one in state.resources().items() if one.get("member") in ("allUsers", "allAuthenticatedUsers")]
    assert everyone == ['google_cloud_run_v2_service_iam_member.ask["allUsers"]']
    plan = once("gcp").plan({**good, "ask_invokers": []})
    assert plan.actions() == {everyone[0]: ["delete"]}
    ingress = {a[-6:-2]: one["ingress"] for a, one in state.resources("google_cloud_run_v2_service").items()}
    assert set(ingress.values()) == {"INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY"}
    assert [a for a, one in state.resources("google_cloud_run_v2_service").items()
            if one["ingress"] == "INGRESS_TRAFFIC_ALL"] == ['google_cloud_run_v2_service.this["ask"]']  # fmt: skip


def test_each_permission_that_an_error_names_is_granted_or_the_deployers() -> None:
    """What the adapters say is missing is what somebody can give: it stands in NEEDS."""
    said = "".join(file.read_text() for file in (MODULES.parents[1] / "handlers" / "gcp").glob("*.py"))
    for permission in {one for found in NEEDS.values() for one in found}:
        stem = permission.rpartition(".")[0]
        assert stem in said, permission
