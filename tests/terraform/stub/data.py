"""Data sources whose value follows from their arguments; all others get invented values."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.terraform.stub.planning import ACCOUNT, PROJECT

REGIONS = ("ap-southeast-2", "eu-central-1", "eu-west-1", "us-east-1", "us-west-2")
Config = Mapping[str, Any]
"""The data source's arguments, and the provider's under ``provider``."""


def read(kind: str, config: Config, provider: Config) -> dict[str, Any]:
    """The computed values of a data source, empty for one that is not here. Raises ValueError or OSError."""
    found = _KNOWN.get(kind)
    return found(config, provider) if found else {}


def _policy_document(config: Config, _: Config) -> dict[str, Any]:
    statements = []
    for given in config.get("statement") or []:
        statement: dict[str, Any] = {"Sid": given["sid"]} if given.get("sid") else {}
        statement["Effect"] = given.get("effect") or "Allow"
        for key, name in (("actions", "Action"), ("not_actions", "NotAction"), ("resources", "Resource"),
                          ("not_resources", "NotResource")):  # fmt: skip
            if given.get(key):
                statement[name] = _one_or_many(sorted(given[key]))
        for key, name in (("principals", "Principal"), ("not_principals", "NotPrincipal")):
            who = {one["type"]: _one_or_many(sorted(one["identifiers"])) for one in given.get(key) or []}
            if who:
                statement[name] = "*" if who == {"*": "*"} else who
        conditions: dict[str, Any] = {}
        for one in given.get("condition") or []:
            conditions.setdefault(one["test"], {})[one["variable"]] = _one_or_many(one["values"])
        if conditions:
            statement["Condition"] = conditions
        statements.append(statement)
    document = {"Version": config.get("version") or "2012-10-17", "Statement": statements}
    text = json.dumps(document, indent=2)
    return {"json": text, "minified_json": json.dumps(document, separators=(",", ":")), "id": _digest(text)}


def _one_or_many(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _archive(config: Config, _: Config) -> dict[str, Any]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _archived(config):
            archive.writestr(zipfile.ZipInfo(name, (2049, 1, 1, 0, 0, 0)), content)
    raw = packed.getvalue()
    out = Path(config["output_path"])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(raw)
    digest = hashlib.sha256(raw)
    return {
        "output_size": len(raw), "output_sha256": digest.hexdigest(), "id": digest.hexdigest()[:40],
        "output_base64sha256": base64.b64encode(digest.digest()).decode(),
    }  # fmt: skip


def _archived(config: Config) -> Iterator[tuple[str, bytes]]:
    if config.get("source_dir"):
        root = Path(config["source_dir"])
        for path in sorted(root.rglob("*")):
            if path.is_file() and str(path.relative_to(root)) not in (config.get("excludes") or []):
                yield str(path.relative_to(root)), path.read_bytes()
    elif config.get("source_file"):
        yield Path(config["source_file"]).name, Path(config["source_file"]).read_bytes()
    elif config.get("source_content") is not None:
        yield config["source_content_filename"], config["source_content"].encode()
    elif config.get("source"):
        for one in config["source"]:
            yield one["filename"], one["content"].encode()
    else:
        raise ValueError("one of source_dir, source_file, source_content and source is required")


def _aws_region(config: Config, provider: Config) -> dict[str, Any]:
    region = config.get("region") or provider.get("region") or "us-east-1"
    if region not in REGIONS:
        raise ValueError(f"{region} is no region")
    return {"id": region, "name": region, "region": region, "endpoint": f"ec2.{region}.amazonaws.com",
            "description": region}  # fmt: skip


def _azure_client(_config: Config, provider: Config) -> dict[str, Any]:
    names = ("tenant_id", "client_id", "object_id")
    made = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in names}
    return {**made, "subscription_id": provider.get("subscription_id") or str(uuid.UUID(int=0))}


def _google_project(config: Config, provider: Config) -> dict[str, Any]:
    project = config.get("project_id") or provider.get("project") or PROJECT
    return {"id": f"projects/{project}", "project_id": project, "number": ACCOUNT, "name": project}


def _digest(text: str) -> str:
    return str(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))


_KNOWN: dict[str, Callable[[Config, Config], dict[str, Any]]] = {
    "archive_file": _archive,
    "aws_caller_identity": lambda _c, _p: {
        "account_id": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/stub", "user_id": "AIDASTUB", "id": ACCOUNT,
    },
    "aws_iam_policy_document": _policy_document,
    "aws_partition": lambda _c, _p: {
        "partition": "aws", "dns_suffix": "amazonaws.com", "id": "aws", "reverse_dns_prefix": "com.amazonaws",
    },
    "aws_region": _aws_region,
    "aws_regions": lambda _c, _p: {"names": list(REGIONS), "id": "aws"},
    "azurerm_client_config": _azure_client,
    "google_client_config": lambda _c, p: {
        "project": p.get("project") or PROJECT, "region": p.get("region"), "zone": p.get("zone"),
    },
    "google_project": _google_project,
    "google_storage_project_service_account": lambda _c, _p: {
        "email_address": f"service-{ACCOUNT}@gs-project-accounts.iam.gserviceaccount.com",
        "member": f"serviceAccount:service-{ACCOUNT}@gs-project-accounts.iam.gserviceaccount.com",
    },
}  # fmt: skip
