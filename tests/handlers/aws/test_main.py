"""The AWS functions in Amazon's own runtime client, with recorded events, over ministack's state and secrets."""

from __future__ import annotations

import base64
import copy
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.alert.outbox import Outbox
from handlers.aws.platform import AwsOwner
from handlers.aws.store import DynamoStore
from infra.layer import ROOT
from tests.handlers.conftest import ANN_SEES, JOIN, SECRETS, Receiver, event
from tests.runtimes.lambda_api import Lambda
from tests.runtimes.ministack import CREDENTIALS, Ministack, client, create_table, shared

Start = Callable[..., Lambda]


@pytest.fixture
def account(project: Path) -> dict[str, str]:
    """The environment of a function whose table and secrets are there."""
    url, name = shared(Ministack).url, f"t{uuid.uuid4().hex[:8]}"
    create_table(url, name)
    manager = client("secretsmanager", url)
    for secret, value in SECRETS.items():
        manager.create_secret(Name=f"{name}/{secret}", SecretString=value)
    return {
        "OMNI_PROJECT": str(project), "OMNI_STORE_TABLE": name, "OMNI_SECRET_PREFIX": f"{name}/",
        "OMNI_ENDPOINT_URL": url, **CREDENTIALS,
    }  # fmt: skip


@pytest.fixture
def start(account: dict[str, str]) -> Iterator[Start]:
    running: list[Lambda] = []

    def started(function: str, **env: str) -> Lambda:
        running.append(Lambda(f"handlers.aws.main.{function}", ROOT, {**account, **env}))
        return running[-1]

    yield started
    for one in running:
        one.__exit__()


def http(method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """The recorded function URL event with another request in it."""
    made = copy.deepcopy(event("aws_function_url"))
    made["rawPath"] = made["requestContext"]["http"]["path"] = path
    made["requestContext"]["http"]["method"] = method
    made["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
    made["body"] = None if body is None else body if isinstance(body, str) else json.dumps(body)
    return made


def test_a_function_url_asks(start: Start) -> None:
    ask = start("ask")
    result = ask.invoke(event("aws_function_url"))
    status, answer = result.http()
    assert status == 200, answer
    assert answer["rows"] == ANN_SEES
    headers = result.payload["headers"]
    assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
    assert result.payload["isBase64Encoded"] is False
    status, answer = ask.invoke(http("POST", "/v1/query", {"sql": JOIN})).http()
    assert (status, answer["rows"]) == (200, [[1, "open"], [3, "closed"]])


def test_an_http_api_with_a_stage_and_a_base64_body_asks(start: Start) -> None:
    result = start("ask").invoke(event("aws_api_gateway_v2"))
    status, answer = result.http()
    assert (status, answer["rows"]) == (200, [[40]])
    assert result.payload["headers"]["x-request-id"] == "client-42"


def test_who_is_not_known_gets_nothing(start: Start) -> None:
    ask = start("ask")
    for headers in (
        {"authorization": ""},
        {"authorization": "Bearer nope"},
        {"authorization": "AWS4-HMAC-SHA256 Credential=x"},
    ):
        status, answer = ask.invoke(http("POST", "/v1/query", {"sql": "SELECT 1"}, **headers)).http()
        assert (status, answer["error"]["code"]) == (401, "UNAUTHENTICATED")
    signed = http("GET", "/v1/tables", authorization="AWS4-HMAC-SHA256 x", x_omni_authorization="Bearer ann-key")
    assert ask.invoke(signed).http()[0] == 200


def test_errors_have_their_shape_and_status(start: Start) -> None:
    ask = start("ask")
    cases = [
        (http("POST", "/v1/query", "{"), 400, "CONFIG_INVALID"),
        (http("POST", "/v1/query", {"sql": "DROP TABLE x"}), 400, "SQL_REJECTED"),
        (http("POST", "/v1/query", {"sql": "SELEC 1"}), 400, None),
        (http("POST", "/v1/query", {"sql": "SELECT * FROM shop.nothing"}), 403, "ENTITLEMENT_DENIED"),
        (http("GET", "/v1/alerts"), 403, "ENTITLEMENT_DENIED"),
        (http("GET", "/nope"), 404, "NOT_FOUND"),
        ({}, 400, "CONFIG_INVALID"),
        ({**http("POST", "/v1/query", "%%%"), "isBase64Encoded": True}, 400, "CONFIG_INVALID"),
    ]
    for asked, status, code in cases:
        got, answer = ask.invoke(asked).http()
        assert got == status, answer
        assert code is None or answer["error"]["code"] == code
        assert answer["error"]["request_id"]


def test_no_time_left_is_said_and_not_tried(start: Start) -> None:
    status, answer = start("ask").invoke(event("aws_function_url"), seconds=0.5).http()
    assert (status, answer["error"]["code"]) == (504, "SOURCE_TIMEOUT")


def test_an_answer_over_lambdas_limit_is_refused_in_our_words(start: Start, project: Path) -> None:
    """Lambda counts the body as JSON inside JSON, where each quote and umlaut grows."""
    rows = "".join(f"{n},{'ü' * 9_000}\n" for n in range(200))
    (project / "tickets" / "open.csv").write_text("order_id,state\n" + rows)
    ask = start("ask")
    status, answer = ask.invoke(http("POST", "/v1/query", {"sql": "SELECT state FROM desk.open"})).http()
    assert (status, answer["error"]["code"]) == (422, "RESOURCE_LIMIT"), str(answer)[:500]
    status, answer = ask.invoke(http("POST", "/v1/query", {"sql": "SELECT state FROM desk.open LIMIT 50"})).http()
    assert (status, answer["row_count"]) == (200, 50)


def test_a_cold_start_that_fails_answers_and_logs_why(start: Start, project: Path) -> None:
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    ask = start("ask")
    status, answer = ask.invoke(event("aws_function_url")).http()
    assert (status, answer["error"]["code"]) == (500, "CONFIG_INVALID")
    assert "sourcse" not in json.dumps(answer)
    assert "sourcse" in ask.log()
    assert ask.invoke(http("GET", "/healthz")).http()[0] == 200
    assert ask.invoke(http("GET", "/readyz")).http()[0] == 503


def test_a_table_that_is_not_there_is_no_empty_answer(start: Start) -> None:
    status, answer = start("ask", OMNI_STORE_TABLE="not-there").invoke(event("aws_function_url")).http()
    assert status >= 400, answer
    assert answer["error"]["code"] == "CONFIG_INVALID"


@pytest.mark.parametrize("name", ["aws_eventbridge_scheduler", "aws_eventbridge_rule"])
def test_a_schedule_fires_once_however_often_it_is_delivered(start: Start, receiver: Receiver, name: str) -> None:
    watch = start("watch")
    first = watch.invoke(event(name))
    assert first.error is None
    assert (first.payload["outcome"], first.payload["delivered"], first.payload["owed"]) == ("ALERT", 1, 0), first
    assert first.payload["slot"].startswith("2026-01-31T09:00:00")
    again = watch.invoke(event(name))
    assert again.error is None
    ((headers, _body),) = receiver.got
    assert headers["webhook-id"].startswith("low-stock/")


def test_two_instances_at_once_send_one_message(start: Start, receiver: Receiver) -> None:
    both = [start("watch"), start("watch")]
    results: list[Any] = []

    def run(one: Lambda) -> None:
        results.append(one.invoke(event("aws_eventbridge_scheduler")))

    threads = [threading.Thread(target=run, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.error for r in results] == [None, None]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_every_error_of_watch_is_one_for_lambda(start: Start, project: Path) -> None:
    """Lambda counts, retries and alarms on what is raised, and on nothing else."""
    watch = start("watch")
    for bad, kind in (({"alert": "nope"}, "NotFound"), ({"alrt": "x"}, "ConfigInvalid"), ({}, "ConfigInvalid")):
        result = watch.invoke(bad)
        assert result.error is not None
        assert result.error["errorType"] == kind
    for env, kind in (
        ({"OMNI_ENDPOINT_URL": "http://127.0.0.1:9"}, "SourceError"),
        ({"OMNI_STORE_TABLE": "not-there"}, "ConfigInvalid"),
    ):
        down = start("watch", **env).invoke(event("aws_eventbridge_scheduler"))
        assert down.error is not None
        assert down.error["errorType"] == kind
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    broken = start("watch").invoke(event("aws_eventbridge_scheduler"))
    assert broken.error is not None
    assert broken.error["errorType"] == "ConfigInvalid"


def test_a_timer_that_is_newer_than_the_version_it_reaches_is_no_failure(start: Start) -> None:
    """While a canary takes its calls, timers of new alerts reach the version before: no retry, no dead letter, no
    alarm, and a line in the log."""
    watch = start("watch")
    result = watch.invoke({"alert": "brand-new", "scheduled_at": "2026-11-20T09:00:00Z"})
    assert result.error is None
    assert (result.payload["alert"], result.payload["slot"]) == ("brand-new", "2026-11-20T09:00:00Z")
    assert "no alert 'brand-new'" in result.payload["skipped"]
    assert "no run: this version has no alert brand-new" in watch.log()
    by_hand = watch.invoke({"alert": "brand-new"})
    assert by_hand.error is not None and by_hand.error["errorType"] == "NotFound"


def test_an_alert_whose_query_fails_is_a_run_that_went_well(start: Start, project: Path) -> None:
    (project / "shop.db").unlink()
    result = start("watch").invoke(event("aws_eventbridge_scheduler"))
    assert result.error is None
    assert result.payload["outcome"] == "ERROR"


def test_an_overlapping_run_is_a_quiet_success(start: Start, account: dict[str, str]) -> None:
    store = DynamoStore(lambda: client("dynamodb", account["OMNI_ENDPOINT_URL"]), account["OMNI_STORE_TABLE"])
    outbox = Outbox(store, AwsOwner("another"), lambda: datetime.now(UTC), 120.0)
    outbox.claim(outbox.read("low-stock"), 60.0)
    result = start("watch").invoke(event("aws_eventbridge_scheduler"))
    assert result.error is None
    assert "skipped" in result.payload


def test_a_sweep_runs(start: Start) -> None:
    watch = start("watch", OMNI_DEPLOYMENT="omni-b")
    result = watch.invoke({"sweep": True})
    assert result.error is None
    assert result.payload["errors"] == []
    (emf,) = [json.loads(line) for line in watch.log().splitlines() if '"_aws"' in line]
    assert (emf["Swept"], emf["service"], emf["function"]) == ([1.0], "omni-b", "watch")


@pytest.fixture
def jobs(account: dict[str, str]) -> dict[str, str]:
    """The account with a bucket and a queue: what asynchronous questions need besides."""
    url, name = account["OMNI_ENDPOINT_URL"], account["OMNI_STORE_TABLE"]
    client("s3", url).create_bucket(Bucket=f"answers-{name}")
    queue = client("sqs", url).create_queue(QueueName=f"jobs-{name}")["QueueUrl"]
    account |= {"OMNI_OBJECTS": f"answers-{name}", "OMNI_QUEUE": queue}
    return account


def batch(*bodies: str) -> dict[str, Any]:
    made = copy.deepcopy(event("aws_sqs"))
    made["Records"] = [{**made["Records"][0], "messageId": f"m{i}", "body": body} for i, body in enumerate(bodies)]
    return made


def test_a_question_is_answered_by_work_and_fetched_by_who_asked(jobs: dict[str, str], start: Start) -> None:
    ask, work = start("ask"), start("work")
    status, job = ask.invoke(http("POST", "/v1/query", {"sql": JOIN, "mode": "async"})).http()
    assert status == 202, job
    (message,) = client("sqs", jobs["OMNI_ENDPOINT_URL"]).receive_message(QueueUrl=jobs["OMNI_QUEUE"])["Messages"]
    for _ in range(2):  # SQS may deliver twice
        assert work.invoke(batch(message["Body"])).payload == {"batchItemFailures": []}
    status, answer = ask.invoke(http("GET", f"/v1/jobs/{job['job_id']}/result")).http()
    assert (status, answer["rows"]) == (200, [[1, "open"], [3, "closed"]])
    ops = http("GET", f"/v1/jobs/{job['job_id']}/result", authorization="Bearer ops-key")
    assert ask.invoke(ops).http()[0] == 404


def test_only_what_failed_comes_back_to_the_queue(jobs: dict[str, str], start: Start) -> None:
    ask, work = start("ask"), start("work")
    _, job = ask.invoke(http("POST", "/v1/query", {"sql": JOIN, "mode": "async"})).http()
    done = work.invoke(batch("no json", json.dumps({"job": job["job_id"]}), "{}"))
    assert done.payload == {"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}]}
    status, answer = ask.invoke(http("GET", f"/v1/jobs/{job['job_id']}")).http()
    assert (status, answer["state"]) == (200, "DONE")
    refused = work.invoke({})
    assert refused.error is not None
    assert refused.error["errorType"] == "ConfigInvalid"


def test_a_message_that_finds_no_time_left_is_not_begun(jobs: dict[str, str], start: Start) -> None:
    ask, work = start("ask"), start("work")
    _, job = ask.invoke(http("POST", "/v1/query", {"sql": JOIN, "mode": "async"})).http()
    late = work.invoke(batch(json.dumps({"job": job["job_id"]})), seconds=0.5)
    assert late.payload == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert ask.invoke(http("GET", f"/v1/jobs/{job['job_id']}")).http()[1]["state"] == "QUEUED"


def test_logs_are_json_with_the_request_and_metrics_are_emf(start: Start) -> None:
    ask = start("ask")
    ask.invoke(event("aws_function_url"))
    lines = [json.loads(line) for line in ask.log().splitlines() if line.startswith("{")]
    (done,) = [line for line in lines if line.get("route") == "/v1/query"]
    assert (done["status"], done["function"], done["level"]) == (200, "ask", "INFO")
    (emf,) = [line for line in lines if "_aws" in line]
    assert emf["function"] == "ask"
    assert emf["Failed"] == [0.0]
    assert "ann-key" not in ask.log()


def metrics(function: Lambda) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """Of each EMF line: the namespace, its dimensions by name, its metrics by name."""
    lines = [json.loads(line) for line in function.log().splitlines() if '"_aws"' in line]
    found = []
    for line in lines:
        (told,) = line["_aws"]["CloudWatchMetrics"]
        (dimensions,) = told["Dimensions"]
        values = {one["Name"]: line[one["Name"]] for one in told["Metrics"]}
        found.append((told["Namespace"], {name: line[name] for name in dimensions}, values))
    return found


FAILING = [
    ("ask", {"version": "2.0", "requestContext": {"http": {"method": "GET"}}, "rawPath": "/readyz"}),
    ("watch", {"sweep": True}),
    ("work", {"Records": [{"messageId": "m0", "body": '{"job": "1"}'}]}),
]


@pytest.mark.parametrize(("function", "asked"), FAILING, ids=[name for name, _ in FAILING])
def test_a_failure_counts_with_its_version_whether_it_is_raised_or_not(
    jobs: dict[str, str], start: Start, project: Path, function: str, asked: dict[str, Any]
) -> None:
    """What an alarm of the canary looks at: its dimensions have to be these, all of them and no other."""
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    broken = start(function, OMNI_DEPLOYMENT="omni-b", AWS_LAMBDA_FUNCTION_VERSION="7")
    result = broken.invoke(asked)
    assert (result.error is not None) == (function == "watch")
    every, once = {"function": function, "service": "omni-b"}, {"FailedOfVersion": [1.0]}
    (usual, of_version) = metrics(broken)
    assert (usual[0], usual[1], usual[2]["Failed"]) == ("OmniSentinel", every, [1.0])
    assert of_version == ("OmniSentinel", {**every, "version": "7"}, once)


def test_what_goes_well_or_is_the_callers_fault_writes_no_metric_of_its_version(start: Start) -> None:
    ask = start("ask", AWS_LAMBDA_FUNCTION_VERSION="7")
    for asked in (event("aws_function_url"), http("POST", "/v1/query", "{"), http("GET", "/nope")):
        ask.invoke(asked)
    assert len(metrics(ask)) == 3
    assert "FailedOfVersion" not in ask.log()


@pytest.mark.parametrize("odd", [
    {"requestContext": None}, {"requestContext": []}, {"requestContext": {"http": None}},
    {"requestContext": {"http": "x"}},
    {"body": 7}, {"body": {"sql": "SELECT 1"}}, {"headers": ["x"]}, {"isBase64Encoded": True, "body": "\u00e9"},
])  # fmt: skip
def test_an_event_that_is_no_request_is_answered_so(start: Start, odd: dict[str, Any]) -> None:
    status, told = start("ask").invoke({**event("aws_function_url"), **odd}).http()
    assert (status, told["error"]["code"]) == (400, "CONFIG_INVALID")


@pytest.mark.parametrize("odd", [{"headers": {"x": 1}}, {"rawPath": None}, {"rawQueryString": 3}])
def test_an_odd_event_is_read_as_far_as_it_can_be(start: Start, odd: dict[str, Any]) -> None:
    status, told = start("ask").invoke({**event("aws_function_url"), **odd}).http()
    assert status < 500, told


def test_every_ask_leaves_its_trace_in_the_table(start: Start, account: dict[str, str]) -> None:
    start("ask").invoke(http("POST", "/v1/query", {"sql": "SELECT id FROM shop.orders"}, x_request_id="audited-1"))
    dynamodb = client("dynamodb", account["OMNI_ENDPOINT_URL"])
    kept = dynamodb.scan(TableName=account["OMNI_STORE_TABLE"])["Items"]
    bodies = [item["body"]["S"] for item in kept if "audited-1" in item["body"]["S"]]
    assert any('"intent"' in body for body in bodies)
    assert any('"outcome"' in body for body in bodies)
    assert DynamoStore(lambda: dynamodb, account["OMNI_STORE_TABLE"]).get(kept[0]["pk"]["S"], kept[0]["sk"]["S"])


def test_the_recorded_body_is_what_the_event_says() -> None:
    recorded = event("aws_api_gateway_v2")
    assert "sum(amount)" in base64.b64decode(recorded["body"]).decode()
