"""``python -m tests.terraform.stub.rebuild``: the packs anew, from wheels on PyPI (about 500 MB of them).

Each provider stands at both ends of the range that our modules allow.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.terraform.stub import bindings, limits, secret, sources
from tests.terraform.stub.pack import PACKS, Pack, save

WHEELS = Path(__file__).parents[3] / "build" / "terraform-bindings"
TYPES = Path(__file__).with_name("types.txt")
BINDINGS = (
    "cdktf-cdktf-provider-aws==20.1.0", "cdktn-provider-aws==25.8.1",
    "cdktn-provider-google==19.0.0", "cdktn-provider-google==21.1.0",
    "cdktn-provider-azurerm==18.0.0", "cdktn-provider-azurerm==18.9.0",
    "cdktn-provider-azapi==1.0.0", "cdktn-provider-archive==14.0.1",
    "cdktn-provider-random==15.0.1", "cdktn-provider-time==14.0.2",
)  # fmt: skip
PULUMI = {
    "hashicorp/aws": "pulumi-aws==7.51.1",
    "hashicorp/google": "pulumi-gcp==10.2.0",
    "hashicorp/azurerm": "pulumi-azure==6.40.1",
}
GOOGLE_APIS = "google-api-python-client==2.202.0"
BY_HAND: dict[str, dict[str, Any]] = {
    "aws_lambda_function": {
        "exactly_one_of": [["filename", "image_uri", "s3_bucket"]],
        "force_new": ["function_name", "package_type"],
    },
    "aws_scheduler_schedule": {"conflicts": [["name", "name_prefix"]], "force_new": ["name", "group_name"]},
    "aws_dynamodb_table": {"force_new": ["name", "hash_key", "range_key"]},
    "aws_s3_bucket": {"force_new": ["bucket"], "conflicts": [["bucket", "bucket_prefix"]]},
    "aws_sqs_queue": {"force_new": ["name", "fifo_queue"], "conflicts": [["name", "name_prefix"]]},
    "aws_iam_role": {"force_new": ["name"], "conflicts": [["name", "name_prefix"]]},
    "google_cloud_scheduler_job": {
        "exactly_one_of": [["http_target", "pubsub_target", "app_engine_http_target"]],
        "force_new": ["name", "region"],
    },
    "google_storage_bucket": {"force_new": ["name", "location"]},
    "azurerm_storage_account": {"force_new": ["name", "location", "account_kind"]},
    "azurerm_function_app_flex_consumption": {"force_new": ["name", "location"]},
    "azurerm_storage_container": {"force_new": ["name", "storage_account_id"]},
    "azurerm_storage_blob": {"force_new": ["name", "storage_container_id", "source", "type"]},
    "azurerm_storage_queue": {"force_new": ["name", "storage_account_id"]},
    "azurerm_storage_table": {"force_new": ["name", "storage_account_id"]},
    "azurerm_logic_app_workflow": {"force_new": ["name", "location", "resource_group_name"]},
    "azurerm_key_vault": {"force_new": ["name", "location"]},
    "azapi_resource": {"force_new": ["name", "parent_id", "location"]},
}
"""Rules of the providers' own code that no published description carries; from their documentation."""
WRITTEN_WITH_EQUALS = {"azapi_resource": "retry", "azapi_resource_action": "retry", "azapi_update_resource": "retry"}
"""Nested attributes that the bindings cannot tell from blocks; from azapi's documentation."""


def main() -> int:
    """Fetch, convert, prune, save; prints each pack and its size."""
    types = {line for line in TYPES.read_text().split("\n") if line and not line.startswith("#")}
    missing = set(types)
    for requirement in BINDINGS:
        bound = sources.read(_wheel(requirement))
        schemas = bindings.schema(bound, types)
        resources = schemas["resource_schemas"]
        unblock(resources)
        if bound.source in PULUMI:
            _mark(resources, secret.flags(_wheel(PULUMI[bound.source]), resources))
        made = save(Pack(bound.source, bound.version, schemas, _rules(bound.source, resources)))
        missing -= {*resources, *schemas["data_source_schemas"]}
        print(f"{made.name}: {len(resources)} resources, {made.stat().st_size:,} bytes")
    print(f"{sum(file.stat().st_size for file in PACKS.iterdir()):,} bytes in all")
    if missing:
        print(f"no provider has {', '.join(sorted(missing))}: correct {TYPES.name}", file=sys.stderr)
    return bool(missing)


def unblock(resources: dict[str, Any]) -> None:
    """Make an attribute of each of WRITTEN_WITH_EQUALS: an object in which only what is required has to be given."""
    for kind, name in WRITTEN_WITH_EQUALS.items():
        nested = resources.get(kind, {}).get("block", {}).get("block_types", {}).pop(name, None)
        if nested is not None:
            inner = nested["block"]["attributes"]
            members = {key: one["type"] for key, one in inner.items()}
            spare = sorted(key for key, one in inner.items() if not one.get("required"))
            resources[kind]["block"]["attributes"][name] = {"optional": True, "type": ["object", members, spare]}


def _rules(source: str, resources: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, limits.Limits] = {}
    if source == "hashicorp/aws":
        values = limits.amazon(resources)
    elif source == "hashicorp/google":
        values = limits.google(resources, _wheel(GOOGLE_APIS))
    kinds = {*values, *BY_HAND} & set(resources)
    return {kind: {"values": values.get(kind, {}), **BY_HAND.get(kind, {})} for kind in sorted(kinds)}


def _mark(resources: dict[str, Any], secrets: dict[str, list[str]]) -> None:
    for kind, names in secrets.items():
        for name in names:
            resources[kind]["block"]["attributes"][name]["sensitive"] = True


def _wheel(requirement: str) -> Path:
    """The wheel, from PyPI where it is not there yet."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    found = next(WHEELS.glob(pattern), None)
    if found is None:
        WHEELS.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(WHEELS), requirement]
        subprocess.run(command, check=True)
        found = next(WHEELS.glob(pattern))
    return found


if __name__ == "__main__":
    sys.exit(main())
