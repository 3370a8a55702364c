"""What is AWS's own about objects, queue, keys and timers; the ports' contract is tested in tests/contract."""

from __future__ import annotations

import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from core.errors import (
    ConfigInvalid,
    Error,
    RateLimitExhausted,
    ResourceLimit,
    SourceAuth,
    SourceError,
    SourceTimeout,
    StateConflict,
)
from core.ports import Schedule
from core.settings import Settings
from handlers.aws.keys import AwsKeys
from handlers.aws.objects import EXPIRY_CLASSES, EXPIRY_TAG, NONCE, S3Objects, object_key
from handlers.aws.queue import SqsQueue
from handlers.aws.scheduler import AwsScheduler, description, schedule_name, target_input
from infra.layer import AWS_SERVICES, ROOT, layer
from tests.contract.aws import settings
from tests.handlers.aws.test_store import Refusing
from tests.runtimes.ministack import Ministack, Moto, client, shared
from tests.runtimes.places import python313

QUEUE = "https://sqs.us-east-1.amazonaws.com/000000000000/jobs"
DAILY = Schedule("low-stock", "0 9 * * *", "UTC", {"alert": "low-stock"})


def acts(refused: Any) -> dict[str, Callable[[], Any]]:
    """Every operation of every port here, over a client that does the same for all."""
    objects, keys = S3Objects(lambda: refused, "bucket"), AwsKeys(lambda: refused, "alias/{tenant}")
    queue, timers = SqsQueue(lambda: refused, QUEUE), AwsScheduler(lambda: refused, settings("g", "omni"))
    return {
        "s3:GetObject": lambda: objects.get("a"),
        "s3:PutObject": lambda: objects.put("a", b""),
        "s3:PutObjectTagging": lambda: objects.put("a", b"", only_if_absent=True),
        "s3:DeleteObject": lambda: objects.delete("a"),
        "sqs:SendMessage": lambda: queue.send({}),
        "kms:Encrypt": lambda: keys.wrap("acme", b"0" * 16, {}),
        "kms:Decrypt": lambda: keys.unwrap("acme", b"0" * 16, {}),
        "scheduler:CreateSchedule": lambda: timers.upsert(DAILY),
        "scheduler:DeleteSchedule": lambda: timers.delete("a"),
        "scheduler:ListSchedules": timers.list,
    }


@pytest.mark.parametrize("permission", sorted(acts(None)))
def test_a_refusal_names_the_permission_and_nothing_of_amazons_text(permission: str) -> None:
    for code in ("AccessDeniedException", "AccessDenied", "403"):
        with pytest.raises(SourceAuth, match=permission) as caught:
            acts(Refusing(code))[permission]()
        assert "4711" not in str(caught.value.to_dict("r"))


@pytest.mark.parametrize("permission", sorted(acts(None)))
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", RateLimitExhausted),
        ("SlowDown", RateLimitExhausted),
        ("RequestTimeout", SourceTimeout),
        ("InternalServerException", SourceError),
        ("SomethingNew", SourceError),
    ],
)
def test_every_code_becomes_an_error_of_ours(permission: str, code: str, expected: type[Error]) -> None:
    with pytest.raises(expected) as caught:
        acts(Refusing(code))[permission]()
    assert caught.value.retryable
    assert "4711" not in str(caught.value.to_dict("r"))


def test_no_answer_in_time_is_a_timeout() -> None:
    silent = Refusing("x")
    silent.error = ConnectTimeoutError(endpoint_url="x")
    for act in acts(silent).values():
        with pytest.raises(SourceTimeout):
            act()


@pytest.mark.parametrize(
    ("permission", "code", "expected", "says"),
    [
        ("s3:GetObject", "NoSuchBucket", ConfigInvalid, "OMNI_OBJECTS"),
        ("s3:PutObject", "PermanentRedirect", ConfigInvalid, "OMNI_REGION"),
        ("sqs:SendMessage", "AWS.SimpleQueueService.NonExistentQueue", ConfigInvalid, "OMNI_QUEUE"),
        ("sqs:SendMessage", "KMS.DisabledException", SourceAuth, "kms:GenerateDataKey"),
        ("sqs:SendMessage", "KmsAccessDenied", SourceAuth, "kms:GenerateDataKey"),
        ("kms:Encrypt", "NotFoundException", ConfigInvalid, "OMNI_KEY"),
        ("kms:Encrypt", "InvalidKeyUsageException", ConfigInvalid, "OMNI_KEY"),
        ("kms:Decrypt", "KMSInvalidStateException", SourceAuth, "disabled"),
        ("kms:Decrypt", "InvalidCiphertextException", SourceAuth, "altered"),
        ("kms:Decrypt", "DependencyTimeoutException", SourceTimeout, "KMS"),
        ("scheduler:CreateSchedule", "ResourceNotFoundException", ConfigInvalid, "OMNI_SCHEDULE_GROUP"),
        ("scheduler:CreateSchedule", "ValidationException", ConfigInvalid, "OMNI_SCHEDULE_ROLE"),
        ("scheduler:CreateSchedule", "ServiceQuotaExceededException", ResourceLimit, "quota"),
        ("scheduler:ListSchedules", "ResourceNotFoundException", ConfigInvalid, "OMNI_SCHEDULE_GROUP"),
    ],
)
def test_what_is_absent_or_off_is_named(permission: str, code: str, expected: type[Error], says: str) -> None:
    with pytest.raises(expected, match=says):
        acts(Refusing(code))[permission]()


def test_what_the_emulators_say_about_absent_things(endpoint: str) -> None:
    with pytest.raises(ConfigInvalid, match="OMNI_OBJECTS"):
        S3Objects(lambda: client("s3", endpoint), "not-there").get("a")
    with pytest.raises(ConfigInvalid, match="OMNI_QUEUE"):
        SqsQueue(lambda: client("sqs", endpoint), f"{endpoint}/000000000000/not-there").send({})
    with pytest.raises(ConfigInvalid, match="OMNI_KEY"):
        AwsKeys(lambda: client("kms", endpoint), "alias/not-there").wrap("acme", b"0" * 16, {})
    if endpoint == shared(Ministack).url:  # moto fails with a defect of its own
        with pytest.raises(ConfigInvalid, match="OMNI_SCHEDULE_GROUP"):
            AwsScheduler(lambda: client("scheduler", endpoint), settings("not-there", "omni")).upsert(DAILY)


@pytest.mark.parametrize(
    ("act", "variable"),
    [
        (lambda: S3Objects(lambda: None, "").get("a"), "OMNI_OBJECTS"),
        (lambda: S3Objects(lambda: None, "s3://bucket").put("a", b""), "OMNI_OBJECTS"),
        (lambda: SqsQueue(lambda: None, "").send({}), "OMNI_QUEUE"),
        (lambda: SqsQueue(lambda: None, "arn:aws:sqs:eu-west-1:1:q").send({}), "OMNI_QUEUE"),
        (lambda: AwsKeys(lambda: None, "").wrap("a", b"", {}), "OMNI_KEY"),
        (lambda: AwsKeys(lambda: None, "projects/p/k").unwrap("a", b"", {}), "OMNI_KEY"),
        (lambda: AwsKeys(lambda: None, "alias/{tenant}").wrap("a/b", b"", {}), "OMNI_KEY"),
        (lambda: AwsScheduler(lambda: None, Settings()).list(), "OMNI_SCHEDULE_GROUP"),
        (lambda: AwsScheduler(lambda: None, Settings(schedule_group="g")).upsert(DAILY), "OMNI_SCHEDULE_TARGET"),
        (lambda: AwsScheduler(lambda: None, settings("g", "Omni")).upsert(DAILY), "OMNI_DEPLOYMENT"),
    ],
)
def test_a_setting_of_the_wrong_shape_is_named_before_any_call(act: Callable[[], Any], variable: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        act()
    assert caught.value.details["key"] == variable


@pytest.mark.parametrize("wrapped", [b"", b"x" * 7_000])
def test_what_kms_would_refuse_for_its_length_is_refused_as_altered_before_any_call(wrapped: bytes) -> None:
    with pytest.raises(SourceAuth, match="altered"):
        AwsKeys(lambda: None, "alias/mine").unwrap("acme", wrapped, {})


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bucket(endpoint: str) -> str:
    name = f"b-{uuid.uuid4().hex[:8]}"
    client("s3", endpoint).create_bucket(Bucket=name)
    return name


def test_of_many_who_say_the_same_over_an_expired_blob_one_wins(endpoint: str, bucket: str) -> None:
    """S3 compares ETags, and the same content has the same one: but not ours."""
    s3 = client("s3", endpoint)
    S3Objects(lambda: s3, bucket, lambda: 0.0).put("a", b"same", expires_at=1.0)
    won: list[int] = []
    start = threading.Barrier(6)

    def create(i: int) -> None:
        start.wait()
        try:
            S3Objects(lambda: s3, bucket).put("a", b"same", only_if_absent=True, expires_at=time.time() + 60)
            won.append(i)
        except StateConflict:
            pass

    running = [threading.Thread(target=create, args=(i,)) for i in range(6)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(won) == 1


def test_two_puts_of_the_same_differ_for_s3_where_they_can_expire(endpoint: str, bucket: str) -> None:
    s3 = client("s3", endpoint)
    objects, tags = S3Objects(lambda: s3, bucket), []
    for _ in range(2):
        objects.put("a", b"same", expires_at=time.time() + 60)
        tags.append(s3.head_object(Bucket=bucket, Key="o/a")["ETag"])
    assert tags[0] != tags[1]
    assert objects.get("a") == b"same"


def test_a_create_whose_answer_was_lost_and_that_the_sdk_repeats_is_no_conflict(endpoint: str, bucket: str) -> None:
    s3 = client("s3", endpoint)

    class Twice:
        head_object = s3.head_object

        def put_object(self, **asked: Any) -> Any:
            s3.put_object(**asked)
            return s3.put_object(**asked)

    S3Objects(lambda: Twice(), bucket).put("a", b"1", only_if_absent=True)
    assert S3Objects(lambda: s3, bucket).get("a") == b"1"
    with pytest.raises(StateConflict):
        S3Objects(lambda: s3, bucket).put("a", b"1", only_if_absent=True)


def test_who_loses_each_try_is_told_so_and_does_not_try_for_ever() -> None:
    class Contended(Refusing):
        def head_object(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")

    with pytest.raises(StateConflict):
        S3Objects(lambda: Contended("ConditionalRequestConflict"), "bucket").put("a", b"", only_if_absent=True)


@pytest.mark.parametrize(
    ("left_s", "days"), [(60, 1), (86_400, 1), (86_401, 2), (8 * 86_400, 30), (400 * 86_400, None)]
)
def test_the_tag_lets_no_rule_remove_a_blob_before_its_time(
    endpoint: str, bucket: str, left_s: float, days: int | None
) -> None:
    s3 = client("s3", endpoint)
    S3Objects(lambda: s3, bucket, lambda: 1_000.0).put("a", b"x", expires_at=1_000.0 + left_s)
    tags = s3.get_object_tagging(Bucket=bucket, Key="o/a")["TagSet"]
    assert tags == ([] if days is None else [{"Key": EXPIRY_TAG, "Value": str(days)}])
    assert days is None or (days in EXPIRY_CLASSES and days * 86_400 >= left_s)


def test_names_become_keys_that_no_reader_takes_for_a_way() -> None:
    names = ["a", "a/b", "a%2Fb", "..", "../x", ".", "a/../b", "%2E%2E", "🙂" * 400, "🙂" * 401, "h/x", "", "/"]
    keys = [object_key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert not [key for key in keys if {".", ".."} & set(key.split("/")) or len(key.encode()) > 1_024]


def test_a_blob_without_expiry_lies_there_as_it_is(endpoint: str, bucket: str) -> None:
    s3 = client("s3", endpoint)
    S3Objects(lambda: s3, bucket).put("project.zip", b"PK")
    assert s3.get_object(Bucket=bucket, Key="o/project.zip")["Body"].read() == b"PK"
    S3Objects(lambda: s3, bucket).put("a", b"PK", expires_at=time.time() + 60)
    assert s3.get_object(Bucket=bucket, Key="o/a")["ContentLength"] == NONCE + 2


# ── timers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_timer_is_what_the_service_needs(endpoint: str) -> None:
    group = f"g{uuid.uuid4().hex[:8]}"
    service = client("scheduler", endpoint)
    service.create_schedule_group(Name=group)
    given = Schedule("big orders & <more>", "0 9 * * 1-5", "Europe/Berlin", {"alert": "big orders & <more>"})
    AwsScheduler(lambda: service, settings(group, "omni")).upsert(given)
    (named,) = service.list_schedules(GroupName=group)["Schedules"]
    found = service.get_schedule(GroupName=group, Name=named["Name"])
    assert (found["ScheduleExpression"], found["ScheduleExpressionTimezone"]) == (
        "cron(0 9 ? * 2-6 *)",
        "Europe/Berlin",
    )
    target = found["Target"]
    assert target["Input"] == (
        '{"alert":"big orders \\u0026 \\u003cmore\\u003e","scheduled_at":"<aws.scheduler.scheduled-time>"}'
    )
    assert target["DeadLetterConfig"] == {"Arn": "arn:aws:sqs:us-east-1:000000000000:omni-dead-letters"}
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 3
    assert found["Description"] == (
        '{"cron":"0 9 * * 1-5","name":"big orders \\u0026 \\u003cmore\\u003e","timezone":"Europe/Berlin"}'
    )


def test_a_timer_changed_by_hand_shows_the_services_own_words(endpoint: str) -> None:
    group = f"g{uuid.uuid4().hex[:8]}"
    service = client("scheduler", endpoint)
    service.create_schedule_group(Name=group)
    timers = AwsScheduler(lambda: service, settings(group, "omni"))
    timers.upsert(DAILY)
    found = service.get_schedule(GroupName=group, Name="omni.low-stock")
    kept = {k: found[k] for k in ("GroupName", "Name", "Target", "FlexibleTimeWindow", "Description")}
    service.update_schedule(**kept, ScheduleExpression="rate(2 hours)")
    assert timers.list() == [Schedule("low-stock", "rate(2 hours)", "UTC", {"alert": "low-stock"})]
    kept["Description"] = "mine now"
    service.update_schedule(**kept, ScheduleExpression="rate(2 hours)")
    assert timers.list() == [Schedule("low-stock", "rate(2 hours)", "UTC", {"alert": "low-stock"})]
    timers.upsert(DAILY)
    assert timers.list() == [DAILY]


def test_names_and_texts_stay_within_the_services_limits() -> None:
    long = schedule_name("d" * 32, "x" * 200)
    assert len(long) == 64
    assert long != schedule_name("d" * 32, "x" * 199)
    assert schedule_name("omni", "a") == "omni.a"
    assert target_input({}) == '{"scheduled_at":"<aws.scheduler.scheduled-time>"}'
    long_cron = f"{','.join(['0'] * 200)} 9 * * *"
    with pytest.raises(ConfigInvalid, match="too long"):
        AwsScheduler(lambda: None, settings("g", "omni")).upsert(Schedule("ü" * 200, long_cron, "Europe/Berlin", {}))
    assert len(description(Schedule("ü" * 200, "0 9 * * *", "America/Argentina/Buenos_Aires", {}))) < 512


def test_more_timers_than_one_page_are_listed() -> None:
    """With moto: ministack cuts a list short and gives no token for the rest."""
    group = f"g{uuid.uuid4().hex[:8]}"
    service = client("scheduler", shared(Moto).url)
    service.create_schedule_group(Name=group)
    timers = AwsScheduler(lambda: service, settings(group, "omni"))
    names = [f"a{i:03d}" for i in range(101)]
    for name in names:
        timers.upsert(Schedule(name, "0 9 * * *", "UTC", {"alert": name}))
    assert [one.name for one in timers.list()] == names


# ── the bundle ───────────────────────────────────────────────────────────────────────────────────────────────────

CLIENTS = """
import sys
import botocore.session
session = botocore.session.get_session()
for service in sys.argv[1:]:
    session.create_client(service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
"""


def test_every_client_that_we_make_can_be_made_of_what_is_in_the_bundle() -> None:
    """Its botocore is pruned: of services, and of prose."""
    packages = layer("aws", [], "3.13", offline=True).folder
    command = [str(python313()), "-c", CLIENTS, *AWS_SERVICES]
    done = subprocess.run(command, env={"PYTHONPATH": str(packages)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    text = "".join(path.read_text() for path in (ROOT / "handlers" / "aws").glob("*.py"))
    assert set(re.findall(r'client\("(\w+)"\)', text)) <= set(AWS_SERVICES)
