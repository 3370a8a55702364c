"""What the AWS module makes of a manifest and its variables."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.ports import Schedule
from core.settings import PREFIX, Settings
from handlers.aws.objects import EXPIRY_CLASSES, EXPIRY_TAG
from handlers.aws.scheduler import DEAD_LETTERS, RETRY, AwsScheduler, description, schedule_name, target_input
from tests.terraform.aws import manifest
from tests.terraform.harness import MODULES, Mistake, Module, Values

ROOT = MODULES / "aws"
Emitted = Callable[[str, str, str], dict[tuple[str, str], dict[str, str]]]


# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_timer_of_the_manifest_is_a_schedule_as_our_adapter_would_write_it(
    applied: Values, good: dict[str, Any]
) -> None:
    timers = json.loads(Path(good["manifest"]).read_text())["timers"]
    schedules = applied.resources("aws_scheduler_schedule")
    assert len(schedules) == len(timers) == 3
    target = applied.outputs()["settings"]
    for name, timer in timers.items():
        made = schedules[f"aws_scheduler_schedule.timer[{json.dumps(name)}]"]
        asked = _by_adapter(Schedule(name, timer["cron"], timer["timezone"], timer["payload"]), target)
        (window,), (called,) = made["flexible_time_window"], made["target"]
        assert {
            "GroupName": made["group_name"], "Name": made["name"], "Description": made["description"],
            "ScheduleExpression": made["schedule_expression"], "State": made["state"],
            "ScheduleExpressionTimezone": made["schedule_expression_timezone"],
            "FlexibleTimeWindow": {"Mode": window["mode"]},
            "Target": {
                "Arn": called["arn"], "RoleArn": called["role_arn"], "Input": called["input"],
                "DeadLetterConfig": {"Arn": called["dead_letter_config"][0]["arn"]},
                "RetryPolicy": {
                    "MaximumRetryAttempts": called["retry_policy"][0]["maximum_retry_attempts"],
                    "MaximumEventAgeInSeconds": called["retry_policy"][0]["maximum_event_age_in_seconds"],
                },
            },
        } == asked  # fmt: skip


def _by_adapter(schedule: Schedule, variables: dict[str, str]) -> dict[str, Any]:
    """What ``upsert`` sends, with the settings that the module's outputs say."""
    sent: list[dict[str, Any]] = []

    class Client:
        def create_schedule(self, **asked: Any) -> None:
            sent.append(asked)

    AwsScheduler(lambda: Client(), Settings.from_env(variables)).upsert(schedule)
    return sent[0]


def test_names_are_shortened_as_our_adapter_shortens_them(module: Callable[..., Module], dist: Path) -> None:
    long = "an-alert-" + "x" * 100
    timer = {**json.loads(manifest.write(dist).read_text())["timers"]["big-orders"], "id": "a" * 41 + "-0123abcd"}
    given = {"manifest": str(manifest.write(dist, timers={long: timer})), "name": "o" * 24}
    (made,) = module("aws").plan(given).resources("aws_scheduler_schedule").values()
    assert len(made["name"]) == 64
    assert made["name"] == _shortened(f"{'o' * 24}.{timer['id']}")


def _shortened(full: str) -> str:
    import hashlib

    return f"{full[:55]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def test_the_adapters_own_words_are_the_modules() -> None:
    assert schedule_name("o" * 24, "x" * 200) == _shortened(f"{'o' * 24}.{'x' * 41}-{_digest('x' * 200)}")
    assert description(Schedule("<a>", "* * * * *", "UTC", {})) == (
        '{"cron":"* * * * *","name":"\\u003ca\\u003e","timezone":"UTC"}'
    )
    assert target_input({"sweep": True}).startswith('{"sweep":true,')
    assert DEAD_LETTERS == "-dead-letters"
    assert RETRY == {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600}


def _digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()[:8]


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_functions_get_settings_that_there_are_and_all_that_they_need(applied: Values) -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    for name, one in applied.resources("aws_lambda_function").items():
        variables = one["environment"][0]["variables"]
        assert {v for v in variables if v.startswith(PREFIX)} <= known, name
        made = Settings.from_env(variables)
        defaults = Settings()
        named = ("store_table", "secret_prefix", "objects", "queue", "key", "schedule_group", "deployment", "project")
        assert all(getattr(made, one) for one in named)
        assert made.key.startswith("arn:aws:kms:")
        assert (made.tracing, made.job_ttl_s) == (True, defaults.job_ttl_s)
        assert one["handler"] == f"handlers.aws.main.{one['function_name'].rpartition('-')[2]}"


def test_settings_that_a_user_may_change_are_fields_of_settings() -> None:
    text = (ROOT / "variables.tf").read_text()
    allowed = re.findall(r'"(\w+)"', text[text.index('variable "settings"') :].partition("], name)")[0])[1:]
    set_by_module = set(re.findall(r"OMNI_(\w+)\s+=", (ROOT / "functions.tf").read_text()))
    names = {field.name for field in fields(Settings)}
    assert set(allowed) <= names
    elsewhere = {"region", "schedule_target", "schedule_role", "schedule_key", "state_dir", "project_object"}
    assert names - set(allowed) - {one.lower() for one in set_by_module} - elsewhere == set(), (
        "a setting that the module neither sets nor lets a user set"
    )


def test_a_change_of_yaml_alone_uploads_no_code(module: Callable[..., Module], dist: Path) -> None:
    ours = module("aws")
    manifest.write(dist)
    ours.apply({"manifest": str(dist / "deployment.json")})
    manifest.write(dist, project_says="changed")
    actions = ours.plan({"manifest": str(dist / "deployment.json")}).actions()
    assert "aws_s3_object.code" not in actions
    assert "aws_s3_object.project" in actions
    assert "aws_lambda_layer_version.project" in actions
    assert not [address for address in actions if address.startswith(("aws_dynamodb", "aws_kms", "aws_scheduler_"))]


def test_the_bucket_removes_every_class_of_expired_answers(applied: Values) -> None:
    (made,) = applied.resources("aws_s3_bucket_lifecycle_configuration").values()
    rules = {rule["id"]: rule for rule in made["rule"]}
    for days in EXPIRY_CLASSES:
        rule = rules[f"expired-{days}"]
        assert rule["expiration"][0]["days"] == days
        assert rule["filter"][0]["tag"] == [{"key": EXPIRY_TAG, "value": str(days)}]


def test_state_expires_by_the_attribute_that_the_code_writes(applied: Values) -> None:
    from core.ports import Put
    from handlers.aws.store import _attributes

    (table,) = applied.resources("aws_dynamodb_table").values()
    (ttl,) = table["ttl"]
    written = _attributes(Put("k", {}, expires_at=5.5), "v")
    assert ttl["enabled"] and written[ttl["attribute_name"]] == {"N": "6"}, "whole seconds, and not before its time"
    assert ttl["attribute_name"] not in _attributes(Put("k", {}), "v"), "what does not expire"


def test_jobs_stay_hidden_while_they_are_worked_on_and_come_back_one_by_one(applied: Values) -> None:
    """A queue that shows them earlier is refused with its mapping; without the report a failed job counts as done."""
    queue = applied.resources("aws_sqs_queue")["aws_sqs_queue.jobs"]
    work = applied.resources("aws_lambda_function")['aws_lambda_function.this["work"]']
    assert queue["visibility_timeout_seconds"] >= 6 * work["timeout"]
    (mapping,) = applied.resources("aws_lambda_event_source_mapping").values()
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert json.loads(queue["redrive_policy"])["maxReceiveCount"] > 1


def test_alarms_and_logs_may_use_the_key(applied: Values) -> None:
    """An alarm that may not use its topic's key is sent nowhere, and says so to nobody."""
    (key,) = applied.resources("aws_kms_key").values()
    allowed: dict[str, set[str]] = {}
    for one in json.loads(key["policy"])["Statement"]:
        if "Service" in one["Principal"]:
            allowed.setdefault(one["Principal"]["Service"], set()).update(one["Action"])
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= allowed["cloudwatch.amazonaws.com"]
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= allowed["logs.eu-central-1.amazonaws.com"]


def test_two_deployments_in_one_account_share_no_name(module: Callable[..., Module], good: dict[str, Any]) -> None:
    first, second = (module("aws").apply({**good, "name": name}) for name in ("omni", "omni-b"))
    assert _names(first) & _names(second) == set()
    assert len(_names(first)) > 30


def test_no_ending_of_a_name_makes_it_anothers(module: Callable[..., Module], good: dict[str, Any]) -> None:
    """AWS overwrites an alarm and adopts a queue of the same name: ``omni-jobs`` and ``omni`` would share them."""
    endings: dict[str, set[str]] = {}
    for found in _names(module("aws").apply({**good, "name": "omni", "budget_usd": 5})):
        kind, _, name = found.rpartition("/")
        endings.setdefault(kind, set()).add(name.rpartition("omni")[2].removeprefix("-"))
    assert len(endings) > 10
    shared = {long.removesuffix(f"-{short}") for names in endings.values() for long in names for short in names
              if long.endswith(f"-{short}") and short}  # fmt: skip
    assert shared == {"canary", "jobs"}, "what the variable `name` refuses at its end"


GIVEN_OUT_TWICE = {
    "aws_sqs_queue", "aws_sns_topic", "aws_s3_bucket", "aws_cloudwatch_metric_alarm", "aws_s3_object",
    "aws_sns_topic_policy", "aws_sns_topic_subscription", "aws_lambda_layer_version", "aws_kms_key",
}  # fmt: skip
"""What AWS makes without a word where there is one of that name, and what would be left behind."""


def test_a_second_deployment_of_a_name_ends_before_it_touches_the_first(applied: Values) -> None:
    (this,) = applied.document["values"]["root_module"]["child_modules"]
    after = {one["address"].partition("[")[0]: one.get("depends_on", []) for one in this["resources"]}

    def waits_for(address: str, seen: set[str]) -> set[str]:
        for one in after.get(address.partition("[")[0], []):
            if one not in seen:
                seen |= {one}
                waits_for(one, seen)
        return seen

    first = "module.this.aws_scheduler_schedule_group.this"
    assert [one for one in after[first] if ".data." not in one] == []
    kinds = {address: address.removeprefix("module.this.").partition(".")[0] for address in after}
    careless = [address for address, kind in kinds.items() if kind in GIVEN_OUT_TWICE]
    assert len(careless) > 12
    assert [address for address in careless if first not in waits_for(address, set())] == []


def test_one_name_in_two_regions_shares_no_name_of_the_account(
    module: Callable[..., Module], good: dict[str, Any]
) -> None:
    def elsewhere(region: str) -> Values:
        from tests.terraform.harness import PROVIDERS

        provider = {"aws": {**PROVIDERS["aws"]["aws"], "region": region}}
        return module("aws", providers=provider).apply({**good, "budget_usd": 5})

    first, second = elsewhere("eu-west-1"), elsewhere("us-east-1")
    for kind, key in (("aws_iam_role", "name"), ("aws_s3_bucket", "bucket"), ("aws_budgets_budget", "name")):
        names = [{one[key] for one in state.resources(kind).values()} for state in (first, second)]
        assert names[0] & names[1] == set(), kind


def _names(state: Values) -> set[str]:
    """(type, name) of everything that has a name of its own in the account."""
    keys = ("function_name", "bucket", "alarm_name", "layer_name", "deployment_config_name", "name")
    owned = ("aws_iam_role_policy", "aws_lambda_alias", "aws_codedeploy_deployment_group", "aws_s3_object",
             "aws_lambda_function_url", "aws_lambda_permission", "aws_lambda_function_event_invoke_config",
             "aws_lambda_event_source_mapping", "aws_s3_bucket_")  # fmt: skip
    found = set()
    for address, one in state.resources().items():
        kind = address.partition(".")[0]
        name = next((one[key] for key in keys if one.get(key)), None)
        if name and not kind.startswith(owned):
            found.add(f"{kind}/{one.get('group_name', '')}/{name}")
    return found


# ── alarms and the canary ────────────────────────────────────────────────────────────────────────────────────────


def test_silence_of_the_sweep_rings(applied: Values) -> None:
    (alarm,) = [a for a in applied.resources("aws_cloudwatch_metric_alarm").values() if a["metric_name"] == "Swept"]
    assert (alarm["treat_missing_data"], alarm["evaluation_periods"]) == ("breaching", 5)
    assert alarm["dimensions"] == {"function": "watch", "service": "omnisentinel"}
    assert alarm["alarm_actions"] == [applied.outputs()["alarm_topic_arn"]]


def test_the_budget_counts_what_has_the_deployments_tag(module: Callable[..., Module], good: dict[str, Any]) -> None:
    """AWS writes a tag in a filter as ``user:KEY$VALUE``, and ``$$`` in front of a brace is no dollar for Terraform."""
    planned = module("aws").plan({**good, "name": "omni-b", "budget_usd": 5})
    (budget,) = planned.resources("aws_budgets_budget").values()
    ((wanted,),) = [one["values"] for one in budget["cost_filter"]]
    (table,) = planned.resources("aws_dynamodb_table").values()
    assert wanted == f"user:deployment${table['tags']['deployment']}" == "user:deployment$omni-b"


def test_every_function_and_every_dead_letter_queue_has_its_alarms(applied: Values) -> None:
    alarms = {a["alarm_name"] for a in applied.resources("aws_cloudwatch_metric_alarm").values()}
    wanted = {f"omnisentinel-{f}-{what}" for f in ("ask", "watch", "work") for what in ("errors", "throttles")}
    wanted |= {"omnisentinel-dead-letters", "omnisentinel-jobs-dead-letters"}
    wanted |= {"omnisentinel-ask-failures", "omnisentinel-work-failures"}
    assert wanted <= alarms


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Emitted:
    """(namespace, metric) -> its dimensions, as the code writes them for a call of a function that fails."""

    def of(function: str, deployment: str, version: str) -> dict[tuple[str, str], dict[str, str]]:
        from handlers.aws import observe

        monkeypatch.setattr(observe, "_deployment", deployment)
        monkeypatch.setattr(observe, "_metrics", observe.Metrics(namespace=observe.NAMESPACE, service=deployment))
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", version)
        capsys.readouterr()
        with observe.observed(function, SimpleNamespace(aws_request_id="r")) as seen:
            seen.failed = True
        found = {}
        for line in capsys.readouterr().out.splitlines():
            document = json.loads(line)
            (told,) = document["_aws"]["CloudWatchMetrics"]
            (names,) = told["Dimensions"]
            for metric in told["Metrics"]:
                found[told["Namespace"], metric["Name"]] = {name: document[name] for name in names}
        return found

    return of


@pytest.mark.parametrize("function", ["ask", "watch", "work"])
def test_the_alarms_on_our_own_metrics_look_where_the_code_writes(
    applied: Values, emitted: Emitted, function: str
) -> None:
    """A dimension too many or too few is another metric for CloudWatch, and its alarm never rings."""
    alarms = {a["alarm_name"]: a for a in applied.resources("aws_cloudwatch_metric_alarm").values()}
    version = applied.resources("aws_lambda_function")[f'aws_lambda_function.this["{function}"]']["version"]
    written = emitted(function, "omnisentinel", version)
    looked_at = ["canary-{}-failures"] if function == "watch" else ["canary-{}-failures", "{}-failures"]
    for name in looked_at:
        alarm = alarms[f"omnisentinel-{name.format(function)}"]
        assert alarm["dimensions"] == written[alarm["namespace"], alarm["metric_name"]]
        assert (alarm["statistic"], alarm["threshold"], alarm["treat_missing_data"]) == ("Sum", 1, "notBreaching")


def test_a_canary_judges_the_new_version_alone_and_goes_back_by_itself(applied: Values) -> None:
    groups = applied.resources("aws_codedeploy_deployment_group")
    assert set(groups) == {f'aws_codedeploy_deployment_group.this["{f}"]' for f in ("ask", "watch", "work")}
    alarms = {a["alarm_name"]: a for a in applied.resources("aws_cloudwatch_metric_alarm").values()}
    for group in groups.values():
        function, watched = group["deployment_group_name"], group["alarm_configuration"][0]["alarms"]
        assert {f"omnisentinel-canary-{function}-{what}" for what in ("errors", "failures")} <= set(watched)
        back = group["auto_rollback_configuration"][0]
        assert "DEPLOYMENT_STOP_ON_ALARM" in back["events"]
        assert back["enabled"] and group["alarm_configuration"][0]["enabled"]
        called = applied.resources("aws_lambda_function")[f'aws_lambda_function.this["{function}"]']
        for name in watched:
            if alarms[name]["namespace"] == "AWS/Lambda":  # as Lambda counts calls through an alias
                assert alarms[name]["dimensions"] == {
                    "ExecutedVersion": called["version"], "FunctionName": called["function_name"],
                    "Resource": f"{called['function_name']}:live",
                }  # fmt: skip
            else:
                assert alarms[name]["dimensions"]["version"] == called["version"]
    (config,) = applied.resources("aws_codedeploy_deployment_config").values()
    assert config["traffic_routing_config"][0]["time_based_canary"] == [{"interval": 10, "percentage": 5}]
    stats = {alarms[f"omnisentinel-canary-{f}-latency"]["extended_statistic"] for f in ("ask", "watch")}
    assert stats == {"p99", "p95"}


def test_with_a_canary_terraform_leaves_the_alias_to_it_and_without_moves_it(
    module: Callable[..., Module], dist: Path
) -> None:
    given = {"manifest": str(manifest.write(dist))}
    for enabled in (True, False):
        ours = module("aws")
        variables = {**given, "canary": {"enabled": enabled}}
        ours.apply(variables)
        manifest.write(dist, code_says="changed")
        actions = ours.plan(variables).actions()
        assert 'aws_lambda_function.this["ask"]' in actions
        assert not [address for address in actions if "aws_lambda_alias.canary" in address]
        manifest.write(dist)


def test_timers_can_be_left_to_omni_schedule(module: Callable[..., Module], good: dict[str, Any]) -> None:
    planned = module("aws").plan({**good, "manage_timers": False})
    assert not planned.resources("aws_scheduler_schedule")
    assert planned.resources("aws_scheduler_schedule_group")


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def wrong(name: str, file: str, right: str, instead: str, says: str) -> Mistake:
    return Mistake(name, file, right, instead, says=says)


def refused(what: str, says: str, /, **variables: Any) -> Mistake:
    return Mistake(what, variables=variables, says=says, at="plan")


UNSUPPORTED = "Unsupported argument"
MISTAKES = [
    wrong("misspelt argument", "functions.tf", "memory_size  ", "memory_sise  ", UNSUPPORTED),
    wrong("misspelt nested argument", "schedules.tf", "maximum_retry_attempts ", "max_retries ", UNSUPPORTED),
    wrong("misspelt block", "schedules.tf", "dead_letter_config", "deadletter_config", "Unsupported block"),
    wrong("argument for a block", "functions.tf", "environment {", "environment = {", "Unsupported argument|Missing"),
    wrong("block for an argument", "alarms.tf", "dimensions          = {", "dimensions {", "Unsupported block|Invalid"),
    wrong("text for a number", "queues.tf", "= 1209600", '= "two weeks"', "a number is required"),
    wrong("text for a list", "functions.tf", '["ReportBatchItemFailures"]', '"Report"', "set of string required"),
    wrong("no role", "functions.tf", "aws_iam_role.function[each.key].arn", "null", '"role" is required'),
    wrong("no hash key's type", "storage.tf", '    type = "S"\n', "", '"type" is required'),
    wrong("no time window", "schedules.tf", '  flexible_time_window {\n    mode = "OFF"\n  }\n', "", "At least 1"),
    wrong("two time windows", "schedules.tf", '  flexible_time_window {\n    mode = "OFF"\n  }\n',
          '  flexible_time_window {\n    mode = "OFF"\n  }\n' * 2, "No more than 1"),
    wrong("window of no mode", "schedules.tf", 'mode = "OFF"', 'mode = "LOOSE"', "to be one of"),
    wrong("runtime that is none", "functions.tf", '"python${local.manifest.python}"\n  architectures',
          '"python2.7.1"\n  architectures', "to be one of"),
    wrong("auth that is none", "functions.tf", "authorization_type = var.url_auth", 'authorization_type = "OPEN"',
          "to be one of"),
    wrong("unknown attribute", "outputs.tf", "aws_sns_topic.alarms.arn", "aws_sns_topic.alarms.urn",
          "Unsupported attribute"),
    wrong("unknown resource", "outputs.tf", "aws_sns_topic.alarms.arn", "aws_sns_topic.alarm.arn", "undeclared res"),
    wrong("unknown type", "canary.tf", '"aws_codedeploy_app"', '"aws_codedeploy_application"', "aws_codedeploy_applic"),
    wrong("computed argument", "queues.tf", '"${var.name}-jobs"\n', '"x"\n  arn = "x"\n', "unconfigurable"),
    wrong("key without its state", "keys.tf", "enable_key_rotation     = true", 'enable_key_rotation = "sometimes"',
          "bool is required"),
    wrong("canary of no type", "canary.tf", '"TimeBasedCanary"', '"Sudden"', "to be one of"),
    wrong("alarm of no comparison", "alarms.tf", '"LessThanThreshold"', '"Less"', "to be one of"),
    wrong("batch too large", "functions.tf", "batch_size              = 1", "batch_size = 20000", "at most 10000"),
    wrong("undeclared variable", "functions.tf", "var.memory_mb", "var.memory", "undeclared input variable"),
    wrong("undeclared local", "functions.tf", "local.settings", "local.setting", "undeclared local"),
    wrong("attribute of no data", "main.tf", "current.account_id", "current.account", "Unsupported attribute"),
    refused("an environment too long for Lambda", "longer than 3,000", environment={"LONG": "x" * 3_000}),
    refused("a name in capitals", "3 to 24", name="Omni"),
    refused("a name too long", "3 to 24", name="o" * 25),
    refused("a name too short for a table", "3 to 24", name="om"),
    refused("a name with our alarms in it", "without that ending", name="omni-canary"),
    refused("a name with our queues in it", "without that ending", name="omni-jobs"),
    refused("no manifest", "no such file", manifest="/nowhere/deployment.json"),
    refused("a region that is none", "region's name", region="Frankfurt"),
    refused("the wrong region", "has to stay in eu-west-1, and the provider is set to eu-central-1",
            region="eu-west-1"),
    refused("auth that is neither", "AWS_IAM or NONE", url_auth="PUBLIC"),
    refused("a retention that CloudWatch lacks", "has to be one of 1, 3", log_retention_days=42),
    refused("one worker", "2 to 1000", concurrency={"work": 1}),
    refused("none reserved", "1 or more", concurrency={"ask": 0}),
    refused("a canary of all", "1 to 99", canary={"percent": 100}),
    refused("a sweep missed in half a minute", "whole number from 2", alarms={"missed_sweep_minutes": 0.5}),
    refused("too little memory", "512 to 10240", memory_mb=128),
    refused("a setting that there is not", "settings knows", settings={"thread": "2"}),
    refused("a setting as a variable", "use settings", environment={"OMNI_THREADS": "2"}),
    refused("a key's alias", "has to be the ARN of a key", kms_key_arn="alias/mine"),
    refused("a secret's name that is none", "as a manifest has them", previous_secrets=["a b"]),
    refused("an address that is none", "e-mail", alarm_emails=["ops"]),
    refused("a VPC without subnets", "at least one subnet", vpc={"subnet_ids": [], "security_group_ids": ["sg-1"]}),
    refused("the module's own tag", "module's own", tags={"deployment": "x"}),
    refused("a free budget", "more than 0", budget_usd=0),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_is_rejected(once: Callable[..., Module], good: dict[str, Any], mistake: Mistake) -> None:
    once("aws").reject(mistake, good)


def test_what_the_project_lacks_is_named_at_plan_time(
    once: Callable[..., Module], good: dict[str, Any], dist: Path
) -> None:
    timer = json.loads(Path(good["manifest"]).read_text())["timers"]["big-orders"]
    cases = {
        "CRM_URL": {"environment": ["CRM_URL", "HOME_URL"]},
        "alert night-watch": {"timers": {"night-watch": {**timer, "native": {"schedule": "0 9 * * *"}}}},
        "no manifest of version 1 for aws": {"cloud": "gcp"},
        "refers to 120 secrets": {"secrets": [f"a_rather_long_name_{i:03d}" for i in range(120)]},
    }
    for says, changes in cases.items():
        given = {"manifest": str(manifest.write(dist, **changes))}
        once("aws").reject(Mistake(says, variables=given, says=says, at="plan"), good)


@pytest.mark.parametrize("kind", ["code", "project"])
def test_a_zip_that_was_changed_or_is_not_there_is_named(once: Callable[..., Module], dist: Path, kind: str) -> None:
    """S3 would take it under the name of what it is not."""
    given = {"manifest": str(manifest.write(dist))}
    (file,) = dist.glob(f"{kind}-*.zip")
    once("aws").plan(given)
    says = f"{file.name} is not beside the manifest, or was changed"
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("sitecustomize.py", "import os")
    once("aws").reject(Mistake("tampered", variables=given, says=says, at="plan"), given)
    file.unlink()
    once("aws").reject(Mistake("gone", variables=given, says=says, at="plan"), given)
