"""The roles' policies against the calls that the adapters really make, recorded while the contract suite runs.

What a function's role allows beyond its own calls is named here, each with the service that calls in its name.
"""

from __future__ import annotations

import fnmatch
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.contract import (
    aws,
    platform_aws_ministack,
    test_keys,
    test_objects,
    test_queue,
    test_scheduler,
    test_secrets,
    test_store,
)
from tests.terraform.aws import manifest
from tests.terraform.harness import MODULES, Module, Values

pytestmark = pytest.mark.xdist_group("aws-iam")  # the suite is run once
SUITE = {
    "keys": test_keys, "objects": test_objects, "queue": test_queue, "schedulers": test_scheduler,
    "secrets": test_secrets, "store": test_store,
}  # fmt: skip
USES = {
    "ask": {"store", "secrets", "queue", "objects.get"},
    "watch": {"store", "secrets", "queue"},
    "work": {"store", "secrets", "objects.put"},
}
"""The ports that each function uses: ask submits jobs and fetches their answers, watch's sweep sends forgotten jobs
again, work stores answers. Timers are made by who deploys, tenants' data keys by no function yet."""

KEY_OF_DYNAMODB = {
    "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
}  # fmt: skip
IN_ITS_NAME = {
    "ask": {"s3:ListBucket": "S3 tells a missing object from a forbidden one only to who may list"},
    "watch": {},
    "work": dict.fromkeys(
        ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"), "Lambda polls the queue with the role"
    ),
}
EVERYWHERE = {
    **dict.fromkeys(("logs:CreateLogStream", "logs:PutLogEvents"), "Lambda writes the logs"),
    **dict.fromkeys(KEY_OF_DYNAMODB, "DynamoDB, S3, SQS and Secrets Manager use the key; DynamoDB's own list"),
    **dict.fromkeys(("xray:PutTelemetryRecords", "xray:PutTraceSegments"), "with tracing: X-Ray's agent in Lambda"),
    **dict.fromkeys(
        ("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
         "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
        "with a VPC: Lambda's network interfaces",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Port -> IAM actions, from running every test of the contract suite that needs the port and nothing else."""
    aws.CALLS.clear()
    for port, tests in SUITE.items():
        for test in _of_port(tests, port):
            with getattr(platform_aws_ministack, port)(tmp_path_factory.mktemp(port)) as made:
                try:
                    test(**{port: made})
                except (AssertionError, pytest.fail.Exception):
                    assert test.__name__ in platform_aws_ministack.WRONG
    found = dict(aws.CALLS)
    found["objects.get"] = {"s3:GetObject"} & found["objects"]
    found["objects.put"] = {action for action in found["objects"] if action.startswith("s3:PutObject")}
    return found


def _of_port(tests: ModuleType, port: str) -> Iterator[Callable[..., Any]]:
    for name, test in inspect.getmembers(tests, inspect.isfunction):
        if name.startswith("test_") and list(inspect.signature(test).parameters) == [port]:
            yield test


def policies(state: Values, role: str) -> list[dict[str, Any]]:
    """The statements of a role's inline policy."""
    found = state.resources("aws_iam_role_policy")[f"aws_iam_role_policy.{role}"]["policy"]
    return list(json.loads(found)["Statement"])


def listed(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for one in statements for action in listed(one["Action"])}


def test_what_was_recorded_is_what_we_think_we_call(calls: dict[str, set[str]]) -> None:
    assert calls["store"] == {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"}
    assert calls["secrets"] == {"secretsmanager:GetSecretValue"}
    assert calls["objects"] == {"s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject"}
    assert calls["queue"] == {"sqs:SendMessage"}
    assert calls["keys"] == {"kms:Encrypt", "kms:Decrypt"}
    verbs = ("CreateSchedule", "UpdateSchedule", "DeleteSchedule", "GetSchedule", "ListSchedules")
    assert calls["scheduler"] == {f"scheduler:{verb}" for verb in verbs}


@pytest.mark.parametrize("function", sorted(USES))
def test_a_role_allows_what_its_function_calls_and_no_more(
    applied: Values, calls: dict[str, set[str]], function: str
) -> None:
    needed = set().union(*(calls[port] for port in USES[function]))
    allowed = actions(policies(applied, f'function["{function}"]'))
    assert needed - allowed == set(), "a call that would be refused"
    assert allowed - needed - set(IN_ITS_NAME[function]) - set(EVERYWHERE) == set(), "a right that nothing uses"


def test_no_role_has_a_wildcard_action_or_a_needless_wildcard_resource(applied: Values) -> None:
    seen = 0
    for address in applied.resources("aws_iam_role_policy"):
        for one in policies(applied, address.removeprefix("aws_iam_role_policy.")):
            seen += 1
            assert one["Effect"] == "Allow"
            assert not [action for action in listed(one["Action"]) if "*" in action], address
            if "*" in listed(one["Resource"]):
                assert one["Sid"] in ("Tracing", "NetworkInterfaces", "Alarms"), (address, one["Sid"])
    assert seen > 20


def test_the_key_is_used_through_services_only(applied: Values) -> None:
    for address in applied.resources("aws_iam_role_policy"):
        for one in policies(applied, address.removeprefix("aws_iam_role_policy.")):
            if any(action.startswith("kms:") for action in listed(one["Action"])):
                assert "kms:ViaService" in one["Condition"]["StringEquals"], address


def test_only_the_projects_secrets_can_be_read(applied: Values) -> None:
    (secrets,) = [one for one in policies(applied, 'function["watch"]') if one["Sid"] == "Secrets"]
    assert listed(secrets["Resource"]) == {
        f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:omnisentinel/{name}-??????"
        for name in ("ann_key", "hook_key")
    }


def test_the_version_that_still_has_calls_goes_on_reading_its_secrets(
    module: Callable[..., Module], good: dict[str, Any], tmp_path: Path
) -> None:
    """The policy is changed at once, and CodeDeploy moves the calls ten minutes later."""

    ours = module("aws")

    def readable(**given: Any) -> set[str]:
        statements = policies(ours.apply({**good, **given}), 'function["watch"]')
        found = set().union(*(listed(one["Resource"]) for one in statements if one["Sid"] == "Secrets"))
        return {arn.rpartition("/")[2].removesuffix("-??????") for arn in found}

    assert readable(previous_secrets=["ann_key", "old_key"]) == {"ann_key", "hook_key", "old_key"}
    none = str(manifest.write(tmp_path / "none", secrets=[]))
    assert readable(manifest=none, previous_secrets=["old_key"]) == {"old_key"}
    assert readable(manifest=none) == set()


def test_besides_secrets_a_roles_policy_leaves_the_room_that_the_plan_counts_on(applied: Values) -> None:
    for function in USES:
        rest = [one for one in policies(applied, f'function["{function}"]') if one["Sid"] != "Secrets"]
        assert len(json.dumps(rest, separators=(",", ":"))) <= 10_240 - 8_000 - 200, function


def test_the_timers_may_call_watch_and_nothing_else(applied: Values) -> None:
    statements = policies(applied, "timers")
    assert actions(statements) == {"lambda:InvokeFunction", "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"}
    (invoke,) = [one for one in statements if "lambda:InvokeFunction" in listed(one["Action"])]
    assert invoke["Resource"] == applied.resources("aws_lambda_alias")['aws_lambda_alias.canary["watch"]']["arn"]


FUNCTION = r"arn:aws:lambda:eu-central-1:123456789012:function:omnisentinel-(?:ask|watch|work)"
FORMS = {
    "lambda:GetAlias": FUNCTION, "lambda:UpdateAlias": FUNCTION,
    "lambda:GetProvisionedConcurrencyConfig": f"{FUNCTION}:live",
    "lambda:InvokeFunction": r"arn:aws:lambda:eu-central-1:123456789012:function:[\w-]+:live",
    **dict.fromkeys(
        ("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"),
        r"arn:aws:dynamodb:eu-central-1:123456789012:table/omnisentinel",
    ),
    **dict.fromkeys(
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        r"arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/omnisentinel-(?:ask|watch|work):\*",
    ),
    **dict.fromkeys(
        ("s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"),
        r"arn:aws:s3:::omnisentinel-123456789012-eu-central-1/[ho]/\*",
    ),
    "s3:ListBucket": r"arn:aws:s3:::omnisentinel-123456789012-eu-central-1",
    **dict.fromkeys(
        ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"),
        r"arn:aws:sqs:eu-central-1:123456789012:omnisentinel-(?:jobs|dead-letters)",
    ),
    "secretsmanager:GetSecretValue": r"arn:aws:secretsmanager:eu-central-1:123456789012:secret:omnisentinel/\w+-\?{6}",
}  # fmt: skip
"""Action -> the form of the ARN by which IAM judges it, from AWS's table of actions and resource types. A right on an
ARN of another form is a right on nothing."""
OF_NOTHING = ("cloudwatch:", "ec2:", "kms:", "xray:")
"""Judged by ``*`` (there is no ARN), or by the key's, which is the only one in the statement."""


def test_each_right_is_on_an_arn_by_which_iam_judges_it(applied: Values) -> None:
    seen: set[str] = set()
    for address in applied.resources("aws_iam_role_policy"):
        for one in policies(applied, address.removeprefix("aws_iam_role_policy.")):
            for action in listed(one["Action"]):
                if not action.startswith(OF_NOTHING):
                    fitting = [arn for arn in listed(one["Resource"]) if re.fullmatch(FORMS[action], arn)]
                    assert fitting, (address, action, one["Resource"])
                    seen.add(action)
    assert seen == set(FORMS)


def test_codedeploy_may_move_the_alias_of_each_function(applied: Values) -> None:
    (aliases,) = [one for one in policies(applied, "codedeploy[0]") if one["Sid"] == "Aliases"]
    moved = {arn for arn in listed(aliases["Resource"]) if re.fullmatch(FORMS["lambda:UpdateAlias"], arn)}
    functions = {one["function_name"] for one in applied.resources("aws_lambda_function").values()}
    assert {arn.rpartition(":")[2] for arn in moved} == functions


def test_the_deployers_policies_fit_into_iam_and_name_what_they_allow() -> None:
    files = sorted((MODULES / "aws" / "deployer").glob("*.json"))
    assert len(files) == 2
    for file in files:
        policy = json.loads(file.read_text())
        for statement in policy["Statement"]:
            assert not [action for action in statement["Action"] if "*" in action]
            assert statement["Sid"] in UNNAMED or all("NAME" in one for one in _told(statement)), statement["Sid"]
        text = json.dumps(policy, separators=(",", ":")).replace("ACCOUNT", "1" * 12).replace("NAME", "o" * 24)
        assert len(text.replace("REGION", "ap-southeast-2")) <= 6_144


MAPPING = "arn:aws:lambda:REGION:ACCOUNT:event-source-mapping:"
UNNAMED = ("TagsOfTheQueuesMapping", "WithoutArn")
"""A mapping's ARN has an id that AWS invents, never the deployment's name."""
LAMBDAS_TAGS = {"lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"}


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        ("aws_lambda_event_source_mapping", f"{MAPPING}0123-4567"),
        ("aws_lambda_function", "arn:aws:lambda:REGION:ACCOUNT:function:NAME-ask"),
    ],
)
def test_the_deployer_may_tag_what_the_module_tags_in_lambda(applied: Values, kind: str, arn: str) -> None:
    """Its actions are named alike for every kind of resource, so the names alone do not tell: the ARN does."""
    assert all(one["tags"] for one in applied.resources(kind).values())
    allowed: set[str] = set()
    for file in (MODULES / "aws" / "deployer").glob("*.json"):
        for statement in json.loads(file.read_text())["Statement"]:
            if any(fnmatch.fnmatchcase(arn, resource) for resource in statement["Resource"]):
                allowed |= set(statement["Action"])
    assert LAMBDAS_TAGS - allowed == set()


def test_every_tagged_kind_in_lambda_is_looked_at(applied: Values) -> None:
    tagged = {address.partition(".")[0] for address, one in applied.resources().items() if one.get("tags")}
    ours = {kind for kind in tagged if kind.startswith("aws_lambda_")}
    assert ours == {"aws_lambda_event_source_mapping", "aws_lambda_function"}


def _told(statement: dict[str, Any]) -> list[str]:
    """What keeps a statement to one deployment: its resources' names, or a tag."""
    if statement["Sid"] in ("NewKeys", "Keys", "QueuesMapping"):
        return [value for condition in statement["Condition"].values() for value in condition.values()]
    return [one for one in statement["Resource"] if not one.endswith("key/*")]


def _holds(condition: dict[str, dict[str, Any]], context: dict[str, str]) -> bool:
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            if operator == "StringEqualsIfExists" and key not in context:
                continue
            assert operator in ("StringEquals", "StringEqualsIfExists", "ArnLike"), operator
            if not any(fnmatch.fnmatchcase(context.get(key, ""), one) for one in listed(wanted)):
                return False
    return True


def deployer_may(action: str, arn: str, **context: str) -> bool:
    """As IAM judges; ``__`` in a context's key stands for ``:``, ``_SLASH_`` for ``/``."""
    known = {key.replace("__", ":").replace("_SLASH_", "/"): value for key, value in context.items()}
    return any(
        action in statement["Action"]
        and any(fnmatch.fnmatchcase(arn, one) for one in statement["Resource"])
        and _holds(statement.get("Condition", {}), known)
        for file in (MODULES / "aws" / "deployer").glob("*.json")
        for statement in json.loads(file.read_text())["Statement"]
    )


KEY = "arn:aws:kms:REGION:ACCOUNT:key/0123"


def test_the_deployer_takes_no_key_of_another_deployment() -> None:
    """Who may tag a key as the deployment's own may use it, give it away and have it deleted."""
    own, other = {"aws__ResourceTag_SLASH_deployment": "NAME"}, {"aws__ResourceTag_SLASH_deployment": "other"}
    tagged = {"aws__RequestTag_SLASH_deployment": "NAME"}
    assert deployer_may("kms:CreateKey", "*", **tagged)
    assert deployer_may("kms:TagResource", KEY, **tagged), "of the key that is being made"
    assert deployer_may("kms:TagResource", KEY, **own), "a tag of the user's, later"
    assert not deployer_may("kms:TagResource", KEY, **other, **tagged)
    assert not deployer_may("kms:TagResource", KEY), "a key without a tag of ours, with another"
    assert not deployer_may("kms:CreateKey", "*")
    assert not deployer_may("kms:ScheduleKeyDeletion", KEY, **other)


def test_the_deployer_gives_its_roles_to_our_services_and_maps_queues_to_our_functions() -> None:
    role = "arn:aws:iam::ACCOUNT:role/NAME-REGION-ask"
    given = {name for name in ("codedeploy", "ec2", "ecs-tasks", "lambda", "scheduler")
             if deployer_may("iam:PassRole", role, iam__PassedToService=f"{name}.amazonaws.com")}  # fmt: skip
    assert given == {"codedeploy", "lambda", "scheduler"}
    assert not deployer_may(
        "iam:PassRole", "arn:aws:iam::ACCOUNT:role/admin", iam__PassedToService="lambda.amazonaws.com"
    )
    for verb in ("Create", "Update", "Delete"):
        action = f"lambda:{verb}EventSourceMapping"
        ours, theirs = (f"arn:aws:lambda:REGION:ACCOUNT:function:{name}-work:live" for name in ("NAME", "payments"))
        assert deployer_may(action, f"{MAPPING}0123", lambda__FunctionArn=ours)
        assert not deployer_may(action, f"{MAPPING}0123", lambda__FunctionArn=theirs)


def test_the_docs_name_what_a_deployer_of_timers_needs(calls: dict[str, set[str]]) -> None:
    text = (Path(__file__).parents[3] / "docs" / "aws.md").read_text("utf-8")
    assert [action for action in sorted(calls["scheduler"]) if action not in text] == []
