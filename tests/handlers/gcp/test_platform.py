"""What Google Cloud's ports do when a service is away, refuses, or holds what does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import ConfigInvalid, Error, RateLimitExhausted, SourceAuth, SourceError, SourceTimeout, StateConflict
from core.ports import Platform, Schedule
from core.settings import Settings
from handlers.gcp import errors
from handlers.gcp.objects import object_name
from handlers.gcp.platform import platform
from handlers.gcp.scheduler import MAX_DESCRIPTION, description
from handlers.gcp.secrets import GcpSecrets
from infra.layer import ROOT
from tests.contract.gcp import clients, environment
from tests.runtimes.google_fakes import Code, GoogleFakes, Refuse
from tests.runtimes.google_storage import GoogleStorage
from tests.runtimes.process import free_port

KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
JOB = Schedule("a", "0 9 * * *", "UTC", {"alert": "a"})


@pytest.fixture
def fakes() -> Iterator[GoogleFakes]:
    with GoogleFakes(keys={KEY: os.urandom(32)}) as made:
        made.add("projects/p/secrets/o-key", "old")
        yield made


@pytest.fixture
def storage() -> Iterator[GoogleStorage]:
    with GoogleStorage(buckets={"bucket": {}}) as made, environment("STORAGE_EMULATOR_HOST", made.url):
        yield made


def settings(endpoint: str, **changed: Any) -> Settings:
    given: dict[str, Any] = {
        "endpoint_url": endpoint, "secret_prefix": "projects/p/secrets/o-", "key": KEY, "objects": "bucket",
        "queue": "projects/p/topics/t", "schedule_group": "projects/p/locations/l",
        "schedule_target": "https://watch.run.app/", "schedule_role": "a@p.iam.gserviceaccount.com",
    }  # fmt: skip
    return Settings(**{**given, **changed})


def ports(endpoint: str, **changed: Any) -> Platform:
    return platform(settings(endpoint, **changed), {"K_REVISION": "watch-00001"})


def use(made: Platform, method: str) -> Any:
    """The call of a port that begins with ``method`` of Google's."""
    assert made.keys is not None
    assert made.scheduler is not None
    calls = {
        "AccessSecretVersion": lambda: made.secrets.get("key"),
        "Encrypt": lambda: made.keys.wrap("t", b"k" * 32, {}),
        "UpdateJob": lambda: made.scheduler.upsert(JOB),
        "DeleteJob": lambda: made.scheduler.delete("a"),
        "ListJobs": lambda: made.scheduler.list(),
    }
    return calls[method]()


METHODS = {
    "AccessSecretVersion": "secretmanager.versions.access",
    "Encrypt": "cloudkms.cryptoKeyVersions.useToEncrypt",
    "UpdateJob": "cloudscheduler.jobs",
    "DeleteJob": "cloudscheduler.jobs.delete",
    "ListJobs": "cloudscheduler.jobs.list",
}
MEANINGS: list[tuple[Any, type[Error]]] = [
    (Code.PERMISSION_DENIED, SourceAuth),
    (Code.UNAUTHENTICATED, SourceAuth),
    (Code.DEADLINE_EXCEEDED, SourceTimeout),
    (Code.UNIMPLEMENTED, SourceError),
    (Code.UNKNOWN, SourceError),
    (Code.DATA_LOSS, SourceError),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("code", "meaning"), MEANINGS)
def test_each_refusal_has_its_error(fakes: GoogleFakes, method: str, code: Any, meaning: type[Error]) -> None:
    fakes.refuse[method] = [Refuse(code)] * 3
    with pytest.raises(meaning) as caught:
        use(ports(fakes.url), method)
    assert type(caught.value) is meaning
    assert "s3cret" not in str(caught.value.to_dict("r"))
    if meaning is SourceAuth:
        assert METHODS[method] in caught.value.message
        assert caught.value.details["google_code"] == code.name


@pytest.mark.parametrize("method", METHODS)
def test_what_is_away_for_a_moment_or_throttles_is_tried_again(
    fakes: GoogleFakes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "PATIENCE_S", 1.0)
    made = ports(fakes.url)
    made.scheduler.upsert(JOB)
    fakes.refuse[method] = [Refuse(Code.UNAVAILABLE)]
    use(made, method)
    made.secrets.forget("key")
    fakes.refuse[method] = [Refuse(Code.RESOURCE_EXHAUSTED)] * 50
    with pytest.raises((RateLimitExhausted, SourceTimeout)):
        use(made, method)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "PATIENCE_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    made = ports(f"http://{address}")
    with pytest.raises((SourceError, SourceTimeout), match="Secret Manager"):
        made.secrets.get("key")
    with environment("PUBSUB_EMULATOR_HOST", address), pytest.raises((SourceError, SourceTimeout), match="Pub/Sub"):
        made.queue.send({})
    with environment("STORAGE_EMULATOR_HOST", f"http://{address}"), pytest.raises((SourceError, SourceTimeout)):
        made.objects.get("a")
    with (
        environment("FIRESTORE_EMULATOR_HOST", address),
        pytest.raises((SourceError, SourceTimeout), match="Firestore"),
    ):
        made.store.get("p", "k")


def test_no_credentials(tmp_path: Any) -> None:
    """In a process of its own: Google's libraries look into the machine's folders, which are empty there."""
    script = """
from core.errors import SourceAuth
from core.settings import Settings
from handlers.gcp.platform import platform
made = platform(Settings(secret_prefix="projects/p/secrets/o-", store_table="projects/p/databases/d/documents/c"), {})
for use in (lambda: made.secrets.get("key"), lambda: made.store.get("p", "k")):
    try:
        use()
    except SourceAuth as error:
        print(error.details["permission"])
"""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_GCE_CHECK": "true", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert "secretmanager.versions.access" in done.stdout, done.stderr
    assert "datastore.entities.get" in done.stdout


def test_nothing_of_googles_is_imported_before_it_is_used() -> None:
    script = """
import sys
from core.settings import Settings
from handlers.gcp.platform import platform
platform(Settings(), {})
print([name for name in sys.modules if name.startswith(("google.api_core", "google.cloud.", "grpc"))])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WRONG = {
    "store_table": ("projects/p/documents/c", lambda p: None),
    "secret_prefix": ("omnisentinel/", lambda p: p.secrets.get("key")),
    "objects": ("gs://bucket", lambda p: p.objects.get("a")),
    "queue": ("t", lambda p: p.queue.send({})),
    "key": ("k", lambda p: p.keys.wrap("t", b"k" * 32, {})),
    "schedule_group": ("l", lambda p: p.scheduler.list()),
    "schedule_target": ("watch", lambda p: p.scheduler.upsert(JOB)),
    "schedule_role": ("me", lambda p: p.scheduler.upsert(JOB)),
    "deployment": ("omni--b", lambda p: p.scheduler.list()),
    "endpoint_url": ("localhost:1", lambda p: p.secrets.get("key")),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_of_another_form_is_named(name: str) -> None:
    value, use = WRONG[name]
    with pytest.raises(ConfigInvalid, match=f"OMNI_{name.upper()}"):
        use(ports("http://127.0.0.1:9", **{name: value}))


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("value", ["postgresql://ann:HUNTER2@db.example.com/omni", "HUNTER2 @"])
def test_a_value_that_may_hold_a_password_is_never_told(name: str, value: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"OMNI_{name.upper()}") as caught:
        WRONG[name][1](ports("http://127.0.0.1:9", **{name: value}))
    assert "HUNTER2" not in str(caught.value.to_dict("r"))


def test_what_is_told_of_a_deployment_are_its_resources() -> None:
    table = "projects/p/databases/d/documents/state"
    assert ports("", store_table=table).facts == {
        "state": f"Firestore collection {table}", "secrets": "Secret Manager, projects/p/secrets/o-*",
    }  # fmt: skip
    assert "HUNTER2" not in str(ports("", secret_prefix="postgresql://ann:HUNTER2@db.example.com/omni").facts)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_is_kept_for_a_minute_and_read_again_when_told(fakes: GoogleFakes) -> None:
    now = [0.0]
    secrets = GcpSecrets(clients(fakes.url).secrets, "projects/p/secrets/o-", lambda: now[0])
    assert secrets.get("key") == "old"
    fakes.add("projects/p/secrets/o-key", "new")
    now[0] = 59.0
    assert secrets.get("key") == "old"
    now[0] = 60.0
    assert secrets.get("key") == "new"
    fakes.add("projects/p/secrets/o-key", "newest")
    secrets.forget("key")
    assert secrets.get("key") == "newest"


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
def test_the_newest_enabled_version_counts(fakes: GoogleFakes, state: str) -> None:
    name = "projects/p/secrets/o-many"
    for value in range(12):
        fakes.add(name, f"v{value + 1}")
    fakes.secrets[name][11].state = state
    assert ports(fakes.url).secrets.get("many") == "v11", "11 is newer than 9"
    for version in fakes.secrets[name]:
        version.state = state
    with pytest.raises(ConfigInvalid, match="disabled or destroyed"):
        ports(fakes.url).secrets.get("many")
    fakes.refuse["ListSecretVersions"] = [Refuse(Code.PERMISSION_DENIED)]
    with pytest.raises(SourceAuth, match=r"secretmanager\.versions\.list"):
        ports(fakes.url).secrets.get("many")


def test_a_value_that_is_no_text_or_was_damaged_is_not_used(fakes: GoogleFakes) -> None:
    fakes.add("projects/p/secrets/o-empty", "")
    made = ports(fakes.url).secrets
    with pytest.raises(ConfigInvalid, match="empty"):
        made.get("empty")
    fakes.add("projects/p/secrets/o-bytes", "")
    fakes.secrets["projects/p/secrets/o-bytes"][0].value = b"\xff\xfe"
    with pytest.raises(ConfigInvalid, match="UTF-8"):
        made.get("bytes")
    with pytest.raises(ConfigInvalid, match="letters"):
        made.get("a/../b")
    fakes.damage = True
    with pytest.raises(SourceError, match="damaged"):
        made.get("key")


# ── keys, timers, objects ────────────────────────────────────────────────────────────────────────────────────────


def test_what_kms_answers_is_checked(fakes: GoogleFakes) -> None:
    keys = ports(fakes.url).keys
    assert keys is not None
    wrapped = keys.wrap("t", b"k" * 32, {})
    fakes.damage = True
    with pytest.raises(SourceError, match="damaged"):
        keys.wrap("t", b"k" * 32, {})
    with pytest.raises(SourceError, match="damaged"):
        keys.unwrap("t", wrapped, {})
    fakes.damage = False
    with pytest.raises(ConfigInvalid, match="OMNI_KEY"):
        ports(fakes.url, key=KEY + "-nope").keys.wrap("t", b"k" * 32, {})
    with pytest.raises(ConfigInvalid, match="a/b"):
        ports(fakes.url, key=KEY + "-{tenant}").keys.wrap("a/b", b"k" * 32, {})


def test_a_job_is_what_cloud_scheduler_needs(fakes: GoogleFakes) -> None:
    scheduler = ports(fakes.url, deployment="omni", schedule_target="https://watch.run.app/path").scheduler
    assert scheduler is not None
    scheduler.upsert(Schedule("Big Orders", "*/5 * * * *", "Europe/Berlin", {"alert": "Big Orders"}))
    ((name, job),) = fakes.jobs.items()
    assert name.startswith("projects/p/locations/l/jobs/omni--big-orders-")
    assert job.http_target.oidc_token.audience == "https://watch.run.app"
    assert job.http_target.oidc_token.service_account_email == "a@p.iam.gserviceaccount.com"
    assert job.http_target.body == b'{"alert":"Big Orders"}'
    assert job.attempt_deadline.total_seconds() > 60


def test_a_timer_changed_or_made_by_hand(fakes: GoogleFakes) -> None:
    scheduler = ports(fakes.url, deployment="omni").scheduler
    assert scheduler is not None
    scheduler.upsert(JOB)
    (job,) = fakes.jobs.values()
    job.schedule, job.time_zone = "5 5 * * *", "Asia/Tokyo"
    stranger = type(job)(job, name="projects/p/locations/l/jobs/omni--mine", description="by hand")
    fakes.jobs[stranger.name] = stranger
    assert scheduler.list() == [Schedule("a", "5 5 * * *", "Asia/Tokyo", {"alert": "a"})]


def test_a_description_fits_whatever_the_schedule_is() -> None:
    long = Schedule(
        "ü" * 200, ",".join(map(str, range(60))) + " " + ",".join(map(str, range(24))) + " * * *", "UTC", {}
    )
    assert len(description("o" * 60, long)) <= MAX_DESCRIPTION
    assert '"cron"' not in description("o" * 60, long)
    assert '"cron"' in description("omni", JOB)


def test_a_location_that_is_not_there(fakes: GoogleFakes) -> None:
    with pytest.raises(ConfigInvalid, match="OMNI_SCHEDULE_GROUP"):
        ports(fakes.url, schedule_group="projects/p/locations/nowhere").scheduler.upsert(JOB)


def test_plain_names_of_objects_are_their_own() -> None:
    assert object_name("projects/project-0123456789ab.zip") == "projects/project-0123456789ab.zip"
    names = ["a", "a/b", "a%2Fb", "a//b", "/a", ".", "..", "../a", ".well-known/x", "é", "x" * 901, "é" * 300]
    made = [object_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(len(name) <= 900 and not name.startswith(("/", ".")) for name in made)


def test_a_bucket_that_is_not_there_and_a_denied_one(storage: GoogleStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "PATIENCE_S", 1.0)
    absent, made = ports("", objects="absent").objects, ports("").objects
    assert absent is not None
    assert made is not None
    for use in (lambda: absent.get("a"), lambda: absent.put("a", b"")):
        with pytest.raises(ConfigInvalid, match="OMNI_OBJECTS"):
            use()
    for status, meaning in ((403, SourceAuth), (401, SourceAuth), (400, SourceError)):
        storage.refuse[:] = [status]
        with pytest.raises(meaning) as caught:
            made.get("a")
        assert "s3cret" not in str(caught.value.to_dict("r"))
    storage.refuse[:] = [503]
    assert made.get("a") is None, "tried again"
    storage.refuse[:] = [429] * 50
    with pytest.raises((RateLimitExhausted, SourceTimeout)):
        made.get("a")


def test_an_upload_whose_answer_is_lost_is_not_its_own_rival(storage: GoogleStorage) -> None:
    made = ports("").objects
    assert made is not None
    storage.lose = True
    made.put("a", b"1", only_if_absent=True)
    assert made.get("a") == b"1"
    with pytest.raises(StateConflict):
        made.put("a", b"2", only_if_absent=True)
    assert not [call for call in storage.calls if not call.endswith(("upload", "download", "metadata"))]


def test_a_body_that_is_not_what_its_checksum_says_is_an_error_of_the_source() -> None:
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    # Google's storage library has no types.
    for broken in (DataCorruption(None, "s3cret"), InvalidResponse(None, "s3cret")):  # type: ignore[no-untyped-call]
        with pytest.raises(SourceError, match="broken") as caught, errors.mapped("Cloud Storage", "object", "p"):
            raise broken
        assert "s3cret" not in str(caught.value.to_dict("r"))
    with pytest.raises(ZeroDivisionError), errors.mapped("Cloud Storage", "object", "p"):
        raise ZeroDivisionError


def test_an_answer_that_cloud_run_would_not_let_through_is_refused_with_a_reason() -> None:
    from handlers.gcp.main import _reply
    from handlers.http import HttpResponse

    most = ports("").answer_bytes
    assert most is not None
    body, status, _ = _reply(HttpResponse(200, {"X-Request-Id": "r"}, b"x" * most))
    assert (len(body), status) == (most, 200)
    body, status, _ = _reply(HttpResponse(200, {"X-Request-Id": "r"}, b"x" * (most + 1)))
    assert status == 422 and json.loads(body)["error"]["code"] == "RESOURCE_LIMIT"
