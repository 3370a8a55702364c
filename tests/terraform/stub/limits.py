"""What values an argument may have, out of the clouds' own descriptions of their APIs.

A Terraform block and the input of the API call behind it are walked side by side, by name. Amazon's descriptions are
botocore's; Google's are the discovery documents inside its API client. For Azure nobody publishes them in a wheel.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Limits = dict[str, dict[str, Any]]
"""Path in the resource (``target.arn``) -> ``{"enum": [...]}``, ``{"pattern": ...}`` or ``{"min": 1, "max": 9}``."""

_AMAZON: dict[str, tuple[str, str, dict[str, str]]] = {
    "aws_lambda_function": ("lambda", "CreateFunction", {}),
    "aws_lambda_layer_version": ("lambda", "PublishLayerVersion", {}),
    "aws_lambda_function_url": ("lambda", "CreateFunctionUrlConfig", {"authorization_type": "AuthType"}),
    "aws_lambda_permission": ("lambda", "AddPermission", {}),
    "aws_lambda_event_source_mapping": ("lambda", "CreateEventSourceMapping", {}),
    "aws_lambda_function_event_invoke_config": ("lambda", "PutFunctionEventInvokeConfig", {}),
    "aws_lambda_alias": ("lambda", "CreateAlias", {}),
    "aws_scheduler_schedule": ("scheduler", "CreateSchedule", {}),
    "aws_scheduler_schedule_group": ("scheduler", "CreateScheduleGroup", {}),
    "aws_dynamodb_table": (
        "dynamodb",
        "CreateTable",
        {
            "name": "TableName",
            "attribute": "AttributeDefinitions",
            "attribute.name": "AttributeDefinitions.AttributeName",
            "attribute.type": "AttributeDefinitions.AttributeType",
        },
    ),
    "aws_secretsmanager_secret": ("secretsmanager", "CreateSecret", {}),
    "aws_kms_key": ("kms", "CreateKey", {"customer_master_key_spec": "KeySpec"}),
    "aws_kms_alias": ("kms", "CreateAlias", {"name": "AliasName"}),
    "aws_cloudwatch_metric_alarm": ("cloudwatch", "PutMetricAlarm", {}),
    "aws_cloudwatch_log_group": (
        "logs",
        "CreateLogGroup",
        {"name": "logGroupName", "log_group_class": "logGroupClass"},
    ),
    "aws_iam_role": ("iam", "CreateRole", {"name": "RoleName", "assume_role_policy": "AssumeRolePolicyDocument"}),
    "aws_iam_role_policy": (
        "iam",
        "PutRolePolicy",
        {"name": "PolicyName", "policy": "PolicyDocument", "role": "RoleName"},
    ),
    "aws_codedeploy_deployment_config": ("codedeploy", "CreateDeploymentConfig", {}),
    "aws_codedeploy_app": ("codedeploy", "CreateApplication", {"name": "applicationName"}),
    "aws_budgets_budget": (
        "budgets",
        "CreateBudget",
        {"budget_type": "Budget.BudgetType", "time_unit": "Budget.TimeUnit"},
    ),
    "aws_sns_topic_subscription": ("sns", "Subscribe", {}),
    "aws_s3_bucket_public_access_block": ("s3", "PutPublicAccessBlock", {}),
}
_GOOGLE = {
    "google_cloudfunctions2_function": ("cloudfunctions.v2", "Function"),
    "google_cloud_scheduler_job": ("cloudscheduler.v1", "Job"),
    "google_secret_manager_secret": ("secretmanager.v1", "Secret"),
    "google_pubsub_topic": ("pubsub.v1", "Topic"),
    "google_pubsub_subscription": ("pubsub.v1", "Subscription"),
    "google_cloud_run_v2_service": ("run.v2", "GoogleCloudRunV2Service"),
    "google_firestore_database": ("firestore.v1", "GoogleFirestoreAdminV1Database"),
    "google_monitoring_alert_policy": ("monitoring.v3", "AlertPolicy"),
    "google_service_account": ("iam.v1", "ServiceAccount"),
    "google_storage_bucket": ("storage.v1", "Bucket"),
    "google_kms_crypto_key": ("cloudkms.v1", "CryptoKey"),
    "google_artifact_registry_repository": ("artifactregistry.v1", "Repository"),
}
_OURS = {"id", "region", "tags", "tags_all", "timeouts", "project", "location", "labels", "deletion_policy"}
"""Arguments of Terraform or the provider, whatever the API has under that name."""


def amazon(resources: Mapping[str, Any]) -> dict[str, Limits]:
    import botocore.session

    session, found = botocore.session.get_session(), {}
    for kind, (service, operation, aliases) in _AMAZON.items():
        if kind not in resources:
            continue
        shape = session.get_service_model(service).operation_model(operation).input_shape
        walk = _Amazon(shape, aliases)
        walk.into(resources[kind]["block"], shape, "")
        found[kind] = walk.limits
    return found


class _Amazon:
    def __init__(self, root: Any, aliases: Mapping[str, str]) -> None:
        self._root, self._aliases = root, aliases
        self.limits: Limits = {}

    def into(self, block: Mapping[str, Any], shape: Any, prefix: str) -> None:
        shape = _element(shape)
        members = {_bare(k): v for k, v in shape.members.items()} if shape.type_name == "structure" else {}
        for name, argument in _arguments(block):
            path = prefix + name
            member = (
                self._aliased(self._aliases[path])
                if path in self._aliases
                else next((members[k] for k in (_bare(name), _bare(name) + "s") if k in members), None)
            )
            if member is None:
                continue
            if "block" in argument:
                self.into(argument["block"], member, path + ".")
            elif limit := _amazon_limit(_element(member)):
                self.limits[path] = limit

    def _aliased(self, path: str) -> Any:
        shape = self._root
        for part in path.split("."):
            shape = _element(shape).members[part]
        return shape


def _amazon_limit(shape: Any) -> dict[str, Any] | None:
    if getattr(shape, "enum", None):
        return {"enum": list(shape.enum)}
    if shape.type_name in ("integer", "long", "float", "double"):
        return {key: shape.metadata[key] for key in ("min", "max") if key in shape.metadata} or None
    pattern = shape.metadata.get("pattern") if shape.type_name == "string" else None
    if not pattern:
        return None
    whole = f"^(?:{pattern})$".replace("\\p{Alpha}", "[A-Za-z]")
    try:
        re.compile(whole)
    except re.error:
        return None
    return {"pattern": whole}


def google(resources: Mapping[str, Any], client_wheel: Path) -> dict[str, Limits]:
    """``client_wheel``: google-api-python-client, which carries the discovery documents."""
    found = {}
    with zipfile.ZipFile(client_wheel) as archive:
        for kind, (api, top) in _GOOGLE.items():
            if kind not in resources:
                continue
            document = json.loads(archive.read(f"googleapiclient/discovery_cache/documents/{api}.json"))
            walk = _Google(document["schemas"])
            walk.into(resources[kind]["block"], {"$ref": top}, "")
            found[kind] = walk.limits
    return found


class _Google:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas
        self.limits: Limits = {}

    def into(self, block: Mapping[str, Any], schema: Any, prefix: str) -> None:
        members = {_bare(k): v for k, v in self._element(schema).get("properties", {}).items()}
        for name, argument in _arguments(block):
            bare = _bare(name)
            member = next((members[key] for key in (bare, bare + "s", bare[:-1]) if key in members), None)
            if member is None:
                continue
            if "block" in argument:
                self.into(argument["block"], member, f"{prefix}{name}.")
                continue
            leaf = self._element(member)
            if leaf.get("enum"):
                allowed = [one for one in leaf["enum"] if not one.endswith("_UNSPECIFIED")]
                self.limits[prefix + name] = {"enum": allowed}
            elif leaf.get("pattern"):
                self.limits[prefix + name] = {"pattern": leaf["pattern"]}

    def _element(self, schema: Any) -> Any:
        while "$ref" in schema or schema.get("type") == "array":
            schema = self._schemas[schema["$ref"]] if "$ref" in schema else schema["items"]
        return schema


def _arguments(block: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What a configuration may set."""
    plain = [(n, a) for n, a in block["attributes"].items() if a.get("required") or a.get("optional")]
    return [(n, a) for n, a in [*plain, *block.get("block_types", {}).items()] if n not in _OURS]


def _element(shape: Any) -> Any:
    while shape.type_name == "list":
        shape = shape.member
    return shape


def _bare(name: str) -> str:
    return name.replace("_", "").lower()
