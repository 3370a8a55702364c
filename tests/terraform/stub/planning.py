"""What a provider makes of values: the plan (what is not known yet), the applied state, an older state read anew."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from tests.terraform.stub.wire import UNKNOWN

Block = Mapping[str, Any]
ACCOUNT = "123456789012"
PROJECT = "stub-project"
_ARNS = {
    "aws_iam_role": "arn:aws:iam::{account}:role/{name}",
    "aws_iam_policy": "arn:aws:iam::{account}:policy/{name}",
    "aws_sqs_queue": "arn:aws:sqs:{region}:{account}:{name}",
    "aws_kms_key": "arn:aws:kms:{region}:{account}:key/{uuid}",
    "aws_kms_alias": "arn:aws:kms:{region}:{account}:{name}",
    "aws_lambda_function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "aws_lambda_alias": "arn:aws:lambda:{region}:{account}:function:stub:{name}",
    "aws_lambda_layer_version": "arn:aws:lambda:{region}:{account}:layer:{name}:1",
    "aws_dynamodb_table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "aws_secretsmanager_secret": "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "aws_scheduler_schedule": "arn:aws:scheduler:{region}:{account}:schedule/default/{name}",
    "aws_scheduler_schedule_group": "arn:aws:scheduler:{region}:{account}:schedule-group/{name}",
    "aws_sns_topic": "arn:aws:sns:{region}:{account}:{name}",
    "aws_cloudwatch_log_group": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws_cloudwatch_metric_alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "aws_s3_bucket": "arn:aws:s3:::{name}",
}


@dataclass(frozen=True)
class About:
    """What invented values are made of."""

    kind: str
    name: str
    region: str

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.kind}/{self.name}"))


def about(kind: str, values: Mapping[str, Any], region: str) -> About:
    named = ("name", "function_name", "layer_name", "bucket", "alarm_name", "account_id", "secret_id", "display_name")
    for key in named:
        if isinstance(values.get(key), str):
            return About(kind, values[key], region)
    return About(kind, hashlib.sha256(repr((kind, sorted(values))).encode()).hexdigest()[:12], region)


# ── plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def plan(block: Block, config: Any, proposed: Mapping[str, Any], prior: Any) -> dict[str, Any]:
    """``proposed`` with UNKNOWN for what the service decides: computed, not configured, and not there before."""
    config, made = config or {}, dict(proposed)
    for name, one in block.get("attributes", {}).items():
        if one.get("write_only"):
            made[name] = None
        elif one.get("computed") and config.get(name) is None and (prior is None or proposed.get(name) is None):
            made[name] = UNKNOWN
    for name, one in block.get("block_types", {}).items():
        value = proposed.get(name)
        if value is not None and value is not UNKNOWN:
            made[name] = _plan_nested(one, config.get(name), value, (prior or {}).get(name))
    return made


def _plan_nested(one: Mapping[str, Any], config: Any, value: Any, prior: Any) -> Any:
    inner = one["block"]
    if one["nesting_mode"] in ("single", "group"):
        return plan(inner, config, value, prior)
    if one["nesting_mode"] == "map":
        return {k: plan(inner, (config or {}).get(k), v, (prior or {}).get(k)) for k, v in value.items()}
    before, given = _listed(prior), _listed(config)
    rows = zip_longest(value, given[: len(value)], before[: len(value)])
    return [v if v is UNKNOWN else plan(inner, c, v, p) for v, c, p in rows]


def has_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    return any(map(has_unknown, value)) if isinstance(value, list) else value is UNKNOWN


# ── apply ────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(block: Block, values: Mapping[str, Any], who: About) -> dict[str, Any]:
    """``values`` with an invented one for everything unknown."""
    made = dict(values)
    for name, one in block.get("attributes", {}).items():
        if has_unknown(made.get(name)):
            made[name] = _known(one["type"], made[name], name, who)
    for name, one in block.get("block_types", {}).items():
        value = made.get(name)
        if value is UNKNOWN:
            made[name] = [] if one["nesting_mode"] in ("list", "set") else None
        elif isinstance(value, list):
            made[name] = [fill(one["block"], v, who) for v in value]
        elif isinstance(value, dict) and one["nesting_mode"] == "map":
            made[name] = {k: fill(one["block"], v, who) for k, v in value.items()}
        elif isinstance(value, dict):
            made[name] = fill(one["block"], value, who)
    return made


def _known(kind: Any, value: Any, name: str, who: About) -> Any:
    if value is UNKNOWN:
        return _invented(kind, name, who)
    if isinstance(value, list):
        return [_known(kind[1], v, name, who) for v in value]
    if isinstance(value, dict):
        return {k: _known(kind[1] if kind[0] == "map" else kind[1][k], v, k, who) for k, v in value.items()}
    return value


def _invented(kind: Any, name: str, who: About) -> Any:
    if kind == "string":
        return _text(name, who)
    if isinstance(kind, list):
        if kind[0] == "object":
            return {key: _invented(one, key, who) for key, one in kind[1].items()}
        return {} if kind[0] == "map" else []
    return {"number": 0, "bool": False}.get(kind)


def _text(name: str, who: About) -> str:
    """A text of the shape that the service's own would have, so that what is built of it has its shape as well."""
    if name.endswith("arn"):
        shape = _ARNS.get(who.kind) if name == "arn" else None
        shape = shape or "arn:aws:stub:{region}:{account}:{kind}/{name}"
        return shape.format(account=ACCOUNT, region=who.region, name=who.name, kind=who.kind, uuid=who.uuid)
    if name in ("id", "name", "self_link") and who.kind.startswith("azurerm_") and name == "id":
        group = f"/subscriptions/{uuid.UUID(int=0)}/resourceGroups/stub"
        return f"{group}/providers/Microsoft.Stub/{who.kind.removeprefix('azurerm_')}/{who.name}"
    if name == "id" and who.kind.startswith("google_"):
        return f"projects/{PROJECT}/{who.kind.removeprefix('google_')}/{who.name}"
    if name in ("email", "member") and who.kind.startswith("google_"):
        return ("serviceAccount:" if name == "member" else "") + f"{who.name}@{PROJECT}.iam.gserviceaccount.com"
    if name in ("principal_id", "client_id", "tenant_id", "object_id", "subscription_id", "key_id", "uuid"):
        return who.uuid
    if name.endswith(("_at", "_time", "last_modified", "_date")):
        return "2026-01-01T00:00:00Z"
    if name in ("url", "uri") or name.endswith(("_url", "_uri", "endpoint")):
        return f"https://{who.name}.stub.invalid/"
    return {"id": who.name, "region": who.region, "project": PROJECT, "version": "1"}.get(
        name, f"stub-{name}-{who.name}"
    )


# ── state ────────────────────────────────────────────────────────────────────────────────────────────────────────


def conform(block: Block, values: Mapping[str, Any]) -> dict[str, Any]:
    """A state of another version of the provider: what this one has, and no more."""
    made = {name: _typed(one["type"], values.get(name)) for name, one in block.get("attributes", {}).items()}
    for name, one in block.get("block_types", {}).items():
        value, inner = values.get(name), one["block"]
        if one["nesting_mode"] in ("list", "set"):
            made[name] = [conform(inner, v) for v in value or []]
        elif one["nesting_mode"] == "map":
            made[name] = {k: conform(inner, v) for k, v in (value or {}).items()}
        else:
            made[name] = conform(inner, value) if value else None
    return made


def _typed(kind: Any, value: Any) -> Any:
    """A value of any type stands in a state with its type beside it, and on the wire as a pair of both."""
    if kind == "dynamic" and isinstance(value, dict) and set(value) == {"type", "value"}:
        return [json.dumps(value["type"]).encode(), value["value"]]
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
