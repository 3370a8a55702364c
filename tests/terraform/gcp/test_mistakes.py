"""Deliberate mistakes, each rejected for its own reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.alert.timers import timer_id
from tests.terraform.gcp.conftest import variables, write_manifest
from tests.terraform.harness import Failed, Mistake, Module

ModuleOf = Callable[..., Module]
UNSUPPORTED = "Unsupported argument"


def wrong(name: str, file: str, right: str, instead: str, says: str, at: str = "validate") -> Mistake:
    return Mistake(name, file, right, instead, says=says, at=at)


def given(mistake: str, says: str, /, **changed: Any) -> Mistake:
    return Mistake(mistake, variables=changed, says=says, at="plan")


MISTAKES = [
    # in the module itself
    wrong("misspelt argument", "functions.tf", "ingress             = each", "ingres = each", UNSUPPORTED),
    wrong("misspelt block", "functions.tf", "    resources {", "    resourses {", "Unsupported block"),
    wrong("gen1 argument", "functions.tf", "      image = ", "      entry_point = ", UNSUPPORTED),
    wrong("no template", "functions.tf", "  template {", "  templat {", "At least 1|Unsupported block"),
    wrong("ingress that is none", "functions.tf", '"INGRESS_TRAFFIC_ALL"', '"INGRESS_EVERYTHING"', "one of", "plan"),
    wrong("number for a list", "queue.tf", "= [var.region]", "= 1", "list of string required|string required"),
    wrong("unknown attribute", "queue.tf", ".dead.id", ".dead.urn", "Unsupported attribute"),
    wrong(
        "two push configs",
        "queue.tf",
        "  dead_letter_policy {",
        '  push_config {\n    push_endpoint = "x"\n  }\n  dead_letter_policy {',
        "No more than 1|Too many",
    ),
    wrong(
        "no topic",
        "queue.tf",
        "  topic                      = google_pubsub_topic.jobs.id\n",
        "",
        '"topic" is required',
    ),
    wrong(
        "unknown type",
        "storage.tf",
        'resource "google_firestore_database"',
        'resource "google_firestore_db"',
        "google_firestore_db",
    ),
    wrong("type of database", "storage.tf", '"FIRESTORE_NATIVE"', '"FIRESTORE_OLD"', "one of", "plan"),
    wrong(
        "lifecycle without action",
        "storage.tf",
        '    action {\n      type = "Delete"\n    }\n',
        "",
        "At least 1|Insufficient",
    ),
    wrong("purpose of a key", "keys.tf", '"ENCRYPT_DECRYPT"', '"ENCRYPT"', "one of", "plan"),
    wrong(
        "key without ring",
        "keys.tf",
        "  key_ring                   = google_kms_key_ring.this[0].id\n",
        "",
        '"key_ring" is required',
    ),
    wrong("provisioner without a command", "secrets.tf", "    command = ", "    comand = ", UNSUPPORTED),
    wrong(
        "timer to two targets",
        "schedules.tf",
        "  retry_config {",
        '  pubsub_target {\n    topic_name = "t"\n  }\n\n  retry_config {',
        "(?i)one of|conflict",
        "plan",
    ),
    wrong("timer without target", "schedules.tf", "uri         =", "url         =", UNSUPPORTED),
    wrong(
        "role without permissions",
        "identity.tf",
        "  permissions = each.value.permissions\n",
        "",
        '"permissions" is required',
    ),
    wrong(
        "member misspelt",
        "identity.tf",
        "  member  = google_service_account.this[each.key].member\n\n  condition",
        "  members = []\n\n  condition",
        UNSUPPORTED,
    ),
    wrong("comparison", "monitoring.tf", '"COMPARISON_GT"', '"MORE"', "one of", "plan"),
    wrong("combiner", "monitoring.tf", 'combiner              = "OR"', 'combiner = "XOR"', "one of", "plan"),
    wrong(
        "computed argument set",
        "storage.tf",
        "  labels                      = local.labels\n",
        '  labels = local.labels\n  url = "x"\n',
        "unconfigurable|Value for unconfigurable|Can't configure",
    ),
    # of who deploys
    given("zone for a region", "no zone", region="europe-west3-a"),
    given("multi-region", "no zone, no multi-region", region="eu"),
    given("outside of the residency", "where the data has to stay", residency="us-"),
    given("project's number", "not its number", project_id="123456789012"),
    given("name with two dashes", "4 to 20", name="omni--prod"),
    given("name too long", "4 to 20", name="o" * 21),
    given("name too short", "4 to 20", name="abc"),
    given("no manifest", "no such file", manifest="/nowhere/deployment.json"),
    given("variable of ours", "OMNI_", environment={"OMNI_QUEUE": "x", "CRM_URL": "x"}),
    given("variable of Cloud Run's", "K_", environment={"K_SERVICE": "x", "CRM_URL": "x"}),
    given("variable not set", "CRM_URL", environment={}),
    given("unknown setting", "settings knows", settings={"treads": "2"}),
    given("invoker without a kind", "members such as", ask_invokers=["ann@example.com"]),
    given("label in capitals", "small letters", labels={"Team": "data"}),
    given("the module's label", "module's own", labels={"deployment": "x"}),
    given("memory that one processor lacks", "512 to 4096", memory_mb=8192),
    given("work longer than Pub/Sub waits", "60 to 600", work_timeout_s=900),
    given("canary of everything", "0 to 99", canary={"percent": 100}),
    given("canary of another function", "revision of that function", canary={"stable": {"ask": "omnisentinel-work-1"}}),
    given("budget without account", "012345", budget={"amount": 5, "billing_account": "mine"}),
    given("budget of nothing", "1 or more", budget={"amount": 0, "billing_account": "012345-6789AB-CDEF01"}),
    given("key of another form", "cryptoKeys", key="my-key"),
    given("no instances", "1 to 1000", max_instances={"watch": 0}),
    given("sweep missed before Monitoring counts it", "15 to 60", alarms={"missed_sweep_minutes": 14}),
    given("a secret's name that is none", "as a manifest has them", previous_secrets=["a b"]),
    given("no address", "e-mail", alarm_emails=["ops"]),
    given("retention of nothing", "1 to 3650", log_retention_days=0),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_it_is_rejected(once: ModuleOf, good: dict[str, Any], mistake: Mistake) -> None:
    once("gcp").reject(mistake, good)


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "of another cloud": ({"cloud": "aws"}, "no manifest of version 1 for gcp"),
    "of another version": ({"version": 2}, "no manifest of version 1 for gcp"),
    "with a secret that cannot be": ({"secrets": ["a.b"]}, "a.b cannot be in Secret Manager"),
    "with an alert that takes too long": ({"watch_timeout_s": 4_000}, "3600 s at most"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_does_not_fit_is_refused(once: ModuleOf, tmp_path: Path, name: str) -> None:
    changed, says = MANIFESTS[name]
    refuse(once, write_manifest(tmp_path / "gcp", **changed), says)


def refuse(once: ModuleOf, manifest: Path, says: str) -> None:
    with pytest.raises(Failed) as caught:
        once("gcp").plan(variables(manifest))
    assert says in " ".join(re.sub(r"[│╷╵]", " ", str(caught.value)).split())


def test_a_schedule_that_was_not_translated_names_its_alert(once: ModuleOf, tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "gcp")
    document = json.loads(path.read_text())
    document["timers"]["big-orders"]["native"] = {"expression": "cron(0 9 * * ? *)"}
    path.write_text(json.dumps(document))
    refuse(once, path, "The schedule of alert big-orders (0 9 * * 1-5) is not expressed for Cloud Scheduler")
    assert timer_id("big-orders") == "big-orders"


@pytest.mark.parametrize("kind", ["code", "project"])
def test_a_zip_that_is_not_there_or_was_changed_is_named(once: ModuleOf, tmp_path: Path, kind: str) -> None:
    path = write_manifest(tmp_path / "gcp")
    (file,) = path.parent.glob(f"{kind}-*.zip")
    file.write_bytes(b"other")
    refuse(once, path, f"{file.name} is not beside the manifest, or was changed")


def test_a_provider_outside_of_the_range_is_refused(module: ModuleOf, good: dict[str, Any]) -> None:
    ours = module("gcp")
    file = ours.module / "terraform.tf"
    file.write_text(file.read_text().replace(">= 7.31, < 9", "< 7.31"))
    with pytest.raises(Failed, match=r"no available releases match|Could not retrieve|not available|no versions"):
        ours.plan(good)
