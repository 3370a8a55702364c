"""What the stub makes for real in an emulator of AWS, for machines without Amazon's own provider.

OMNI_STUB_ENDPOINT in the environment of terraform names the emulator. The types of KINDS are made and deleted there; of
all others the values are invented as always. Nothing is changed in place: who tests a change uses the genuine provider.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.terraform.stub.wire import UNKNOWN

Values = Mapping[str, Any]
Made = dict[str, Any]
"""The computed values of a resource: what the service decided."""


class Emulator:
    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint, self._region = endpoint, region

    @functools.cached_property
    def account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    @functools.cache  # noqa: B019 (one for the process)
    def client(self, service: str) -> Any:
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            service, region_name=self._region, endpoint_url=self._endpoint, aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def makes(self, kind: str) -> bool:
        return kind in KINDS

    def create(self, kind: str, planned: Values) -> Made:
        """Make it; returns the values that were UNKNOWN. Raises botocore's exceptions."""
        return KINDS[kind][0](self, {name: None if value is UNKNOWN else value for name, value in planned.items()})

    def delete(self, kind: str, values: Values) -> None:
        KINDS[kind][1](self, values)


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value not in (None, "", [], {})}


# ── storage ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _table(e: Emulator, v: Values) -> Made:
    made = e.client("dynamodb").create_table(
        TableName=v["name"], BillingMode=v["billing_mode"],
        KeySchema=[{"AttributeName": v["hash_key"], "KeyType": "HASH"},
                   {"AttributeName": v["range_key"], "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": one["name"], "AttributeType": one["type"]} for one in v["attribute"]],
    )  # fmt: skip
    return {"id": v["name"], "arn": made["TableDescription"]["TableArn"]}


def _bucket(e: Emulator, v: Values) -> Made:
    e.client("s3").create_bucket(Bucket=v["bucket"])
    return {"id": v["bucket"], "arn": f"arn:aws:s3:::{v['bucket']}"}


def _empty_and_delete(e: Emulator, v: Values) -> None:
    s3 = e.client("s3")
    for one in s3.list_objects_v2(Bucket=v["bucket"]).get("Contents", []):
        s3.delete_object(Bucket=v["bucket"], Key=one["Key"])
    s3.delete_bucket(Bucket=v["bucket"])


def _object(e: Emulator, v: Values) -> Made:
    e.client("s3").put_object(Bucket=v["bucket"], Key=v["key"], Body=Path(v["source"]).read_bytes())
    return {"id": v["key"]}


def _queue(e: Emulator, v: Values) -> Made:
    attributes = _given(
        VisibilityTimeout=v["visibility_timeout_seconds"], MessageRetentionPeriod=v["message_retention_seconds"],
        RedrivePolicy=v["redrive_policy"],
    )  # fmt: skip
    sqs = e.client("sqs")
    url = sqs.create_queue(QueueName=v["name"], Attributes={k: str(one) for k, one in attributes.items()})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return {"id": url, "url": url, "arn": arn}


def _key(e: Emulator, v: Values) -> Made:
    made = e.client("kms").create_key(Description=v["description"] or "")["KeyMetadata"]
    return {"id": made["KeyId"], "key_id": made["KeyId"], "arn": made["Arn"]}


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────


def _layer(e: Emulator, v: Values) -> Made:
    made = e.client("lambda").publish_layer_version(
        LayerName=v["layer_name"], Content={"S3Bucket": v["s3_bucket"], "S3Key": v["s3_key"]}
    )
    return {"id": made["LayerVersionArn"], "arn": made["LayerVersionArn"], "version": str(made["Version"])}


def _function(e: Emulator, v: Values) -> Made:
    made = e.client("lambda").create_function(
        FunctionName=v["function_name"], Role=v["role"], Runtime=v["runtime"], Handler=v["handler"],
        Code={"S3Bucket": v["s3_bucket"], "S3Key": v["s3_key"]}, Layers=v["layers"], Timeout=int(v["timeout"]),
        MemorySize=int(v["memory_size"]), Publish=bool(v["publish"]), Architectures=v["architectures"],
        Environment={"Variables": v["environment"][0]["variables"]},
    )  # fmt: skip
    arn = f"arn:aws:lambda:{e._region}:{e.account}:function:{v['function_name']}"
    return {"id": v["function_name"], "arn": arn, "version": made["Version"]}


def _alias(e: Emulator, v: Values) -> Made:
    made = e.client("lambda").create_alias(
        FunctionName=v["function_name"], Name=v["name"], FunctionVersion=v["function_version"]
    )
    return {"id": made["AliasArn"], "arn": made["AliasArn"]}


def _url(e: Emulator, v: Values) -> Made:
    made = e.client("lambda").create_function_url_config(
        FunctionName=v["function_name"], AuthType=v["authorization_type"], **_given(Qualifier=v["qualifier"])
    )
    return {"id": v["function_name"], "function_url": made["FunctionUrl"], "function_arn": made["FunctionArn"]}


def _mapping(e: Emulator, v: Values) -> Made:
    made = e.client("lambda").create_event_source_mapping(
        EventSourceArn=v["event_source_arn"], FunctionName=v["function_name"], BatchSize=int(v["batch_size"]),
        FunctionResponseTypes=v["function_response_types"],
    )  # fmt: skip
    return {"id": made["UUID"], "uuid": made["UUID"], "function_arn": made["FunctionArn"]}


def _role(e: Emulator, v: Values) -> Made:
    made = e.client("iam").create_role(RoleName=v["name"], AssumeRolePolicyDocument=v["assume_role_policy"])["Role"]
    return {"id": v["name"], "arn": made["Arn"], "unique_id": made["RoleId"]}


# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────


def _group(e: Emulator, v: Values) -> Made:
    made = e.client("scheduler").create_schedule_group(Name=v["name"])
    return {"id": v["name"], "arn": made["ScheduleGroupArn"]}


def _schedule(e: Emulator, v: Values) -> Made:
    (target,) = v["target"]
    made = e.client("scheduler").create_schedule(
        Name=v["name"], GroupName=v["group_name"], ScheduleExpression=v["schedule_expression"],
        ScheduleExpressionTimezone=v["schedule_expression_timezone"], Description=v["description"],
        FlexibleTimeWindow={"Mode": v["flexible_time_window"][0]["mode"]},
        Target={"Arn": target["arn"], "RoleArn": target["role_arn"], "Input": target["input"]},
    )  # fmt: skip
    return {"id": f"{v['group_name']}/{v['name']}", "arn": made["ScheduleArn"]}


def _deletes(service: str, operation: str, **names: str) -> Callable[[Emulator, Values], None]:
    """Delete by an operation of a service whose parameters are attributes of the resource."""

    def delete(e: Emulator, v: Values) -> None:
        parameters = {parameter: v[attribute] for parameter, attribute in names.items()}
        getattr(e.client(service), operation)(
            **{k: int(x) if k == "VersionNumber" else x for k, x in parameters.items()}
        )

    return delete


KINDS: dict[str, tuple[Callable[[Emulator, Values], Made], Callable[[Emulator, Values], None]]] = {
    "aws_dynamodb_table": (_table, _deletes("dynamodb", "delete_table", TableName="name")),
    "aws_iam_role": (_role, _deletes("iam", "delete_role", RoleName="name")),
    "aws_kms_key": (_key, _deletes("kms", "schedule_key_deletion", KeyId="key_id")),
    "aws_lambda_alias": (_alias, _deletes("lambda", "delete_alias", FunctionName="function_name", Name="name")),
    "aws_lambda_event_source_mapping": (_mapping, _deletes("lambda", "delete_event_source_mapping", UUID="uuid")),
    "aws_lambda_function": (_function, _deletes("lambda", "delete_function", FunctionName="function_name")),
    "aws_lambda_function_url": (
        _url,
        _deletes("lambda", "delete_function_url_config", FunctionName="function_name", Qualifier="qualifier"),
    ),
    "aws_lambda_layer_version": (
        _layer,
        _deletes("lambda", "delete_layer_version", LayerName="layer_name", VersionNumber="version"),
    ),
    "aws_s3_bucket": (_bucket, _empty_and_delete),
    "aws_s3_object": (_object, _deletes("s3", "delete_object", Bucket="bucket", Key="key")),
    "aws_scheduler_schedule": (
        _schedule,
        _deletes("scheduler", "delete_schedule", Name="name", GroupName="group_name"),
    ),
    "aws_scheduler_schedule_group": (_group, _deletes("scheduler", "delete_schedule_group", Name="name")),
    "aws_sqs_queue": (_queue, _deletes("sqs", "delete_queue", QueueUrl="url")),
}
