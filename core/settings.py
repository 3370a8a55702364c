"""Names and numbers from a mapping that the edge passes in: core never reads the environment itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from core.errors import ConfigInvalid

PREFIX = "OMNI_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the environment variable OMNI_<FIELD>; the defaults suit a function of 1 GB.

    ``project``: folder that holds omni.yaml. ``project_object``: name of the blob that holds the project instead.
    ``store_table``: the cloud's table for state; a DynamoDB table's name,
    ``projects/P/databases/D/documents/COLLECTION``, or the URL of an Azure table.
    ``secret_prefix``: prepended to a secret's name in the cloud's secret manager: ``omnisentinel/``,
    ``projects/P/secrets/omnisentinel-``, or ``https://VAULT.vault.azure.net/secrets/omnisentinel-``.
    ``objects``: the bucket, or the URL of the Azure container. ``queue``: the URL of the SQS or Azure queue, or
    ``projects/P/topics/T``. ``key``: the key that wraps tenants' data keys: an ARN or alias, a
    ``projects/.../cryptoKeys/K``, or ``https://VAULT.vault.azure.net/keys/K``; ``{tenant}`` in it is filled in.
    ``schedule_group``: the EventBridge Scheduler group, ``projects/P/locations/L``, or the ARM id of the resource
    group. ``schedule_target``: what a timer calls, the ARN or URL of watch. ``schedule_role``: as whom, an ARN, a
    service account, or the resource id of a managed identity. ``schedule_key``: Azure: the URL of the Key Vault secret
    with the function key that ``schedule_target`` asks for. ``deployment``: names of what belongs together begin
    with it, so that an account can hold two. ``endpoint_url``: for emulators.
    ``job_ttl_s``: how long the answer of a job is kept.
    ``threads``: of the engine; with one, rows without ORDER BY come in the same order each time.
    ``pushdown``: false reads whole tables and computes here; slower, and the same answer, which is what it is for.
    ``lease_s``: how long a run may hold an alert before others take over.
    """

    project: str = "."
    project_object: str = ""
    deployment: str = "omnisentinel"
    store_table: str = "omnisentinel"
    secret_prefix: str = "omnisentinel/"  # noqa: S105 a prefix of names
    objects: str = ""
    queue: str = ""
    key: str = ""
    schedule_group: str = ""
    schedule_target: str = ""
    schedule_role: str = ""
    schedule_key: str = ""
    job_ttl_s: float = 86_400.0
    endpoint_url: str = ""
    region: str = ""
    state_dir: str = ""
    memory_limit: str = "512MB"
    threads: int = 1
    max_rows: int = 100_000
    max_result_bytes: int = 50_000_000
    max_calls: int = 1_000
    fetch_connections: int = 8
    pushdown: bool = True
    lease_s: float = 120.0
    log_level: str = "INFO"
    tracing: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read OMNI_* of ``env``; ConfigInvalid names the variable that does not fit."""
        found: dict[str, Any] = {}
        for f in fields(cls):
            name = PREFIX + f.name.upper()
            text = env.get(name)
            if text is None or text == "":
                continue
            try:
                if f.type == "int":
                    found[f.name] = int(text)
                elif f.type == "float":
                    found[f.name] = float(text)
                elif f.type == "bool":
                    found[f.name] = {"1": True, "true": True, "0": False, "false": False}[text.lower()]
                else:
                    found[f.name] = text
            except (ValueError, KeyError):
                raise ConfigInvalid(f"{name} has to be {_KIND[str(f.type)]}, not {text!r}.", key=name) from None
        made = cls(**found)
        if made.log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ConfigInvalid(f"{PREFIX}LOG_LEVEL has to be DEBUG, INFO, WARNING or ERROR.", key=f"{PREFIX}LOG_LEVEL")
        size(made.memory_limit)
        for name in _POSITIVE:
            if getattr(made, name) <= 0:
                raise ConfigInvalid(f"{PREFIX}{name.upper()} has to be more than 0.", key=PREFIX + name.upper())
        return made


def size(text: str) -> int:
    """Bytes of ``512MB``, ``1.5GiB``. Raises ConfigInvalid."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ConfigInvalid(f"{text!r} is no size of memory; write it as 512MB or 1GiB.", key="OMNI_MEMORY_LIMIT")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


_POSITIVE = ("threads", "max_rows", "max_result_bytes", "max_calls", "fetch_connections", "lease_s", "job_ttl_s")
_KIND = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
