"""AWS's ports: Secrets Manager, DynamoDB, and who this function instance is.

``botocore`` itself, without boto3 on top: the same clients for 45 ms less CPU in a cold start. A client is made when
it is first used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from core.errors import ConfigInvalid, Error
from core.ports import Platform
from core.settings import Settings
from handlers.aws.errors import mapped
from handlers.aws.store import DynamoStore

SECRET_TTL_S = 60.0
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=6,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
    user_agent_extra="omnisentinel",
)


def platform(settings: Settings, env: Mapping[str, str], _root: Path | None = None) -> Platform:
    """The ports of this AWS account and region. Makes no call yet."""
    clients = Clients(settings, env)
    return Platform(
        name="aws",
        secrets=AwsSecrets(clients, settings.secret_prefix),
        store=DynamoStore(lambda: clients.get("dynamodb"), settings.store_table),
        owner=AwsOwner(env.get("AWS_LAMBDA_LOG_STREAM_NAME", "")),
        facts={"state": f"DynamoDB table {settings.store_table}",
               "secrets": f"Secrets Manager, {settings.secret_prefix}*"},
    )  # fmt: skip


class Clients:
    """One botocore session and its clients, made when first asked for."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        self._settings, self._env = settings, env
        self._session: Any = None
        self._made: dict[str, Any] = {}

    def get(self, service: str) -> Any:
        """The client; ConfigInvalid where no region is set."""
        if service not in self._made:
            if self._session is None:
                self._session = botocore.session.get_session()
            region = (
                self._settings.region
                or self._env.get("AWS_REGION")  # botocore itself reads AWS_DEFAULT_REGION and the profile only
                or self._session.get_config_variable("region")
            )
            if not region:
                raise ConfigInvalid("No AWS region: set OMNI_REGION or AWS_REGION.", key="region")
            self._made[service] = self._session.create_client(
                service, region_name=region, endpoint_url=self._settings.endpoint_url or None, config=_CONFIG
            )
        return self._made[service]


class AwsSecrets:
    """``get`` keeps a value for 60 s; ``forget`` drops it, for who was refused with it: a rotation is picked up."""

    def __init__(self, clients: Clients, prefix: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clients, self._prefix, self._monotonic = clients, prefix, monotonic
        self._kept: dict[str, tuple[float, str]] = {}

    def get(self, name: str) -> str:
        kept = self._kept.get(name)
        now = self._monotonic()
        if kept is None or now - kept[0] >= SECRET_TTL_S:
            kept = self._kept[name] = (now, self._fetch(self._prefix + name))
        return kept[1]

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)

    def _fetch(self, full: str) -> str:
        client = self._clients.get("secretsmanager")

        def meaning(code: str, _message: str) -> Error | None:
            return _missing(full) if code in ("ResourceNotFoundException", "InvalidRequestException") else None

        with mapped("Secrets Manager", f"secret {full!r}", "secretsmanager:GetSecretValue", meaning):
            found = client.get_secret_value(SecretId=full)
        try:
            value = found.get("SecretString") or found.get("SecretBinary", b"").decode()
        except UnicodeDecodeError:
            raise ConfigInvalid(f"The secret {full!r} is neither text nor UTF-8.", secret=full) from None
        if not value:
            raise _missing(full)
        return str(value)


def _missing(full: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"Secrets Manager has no secret {full!r} with a value. Create it, or set OMNI_SECRET_PREFIX to where it is.",
        secret=full,
    )


class AwsOwner:
    """This function instance. Whether another has ended cannot be known here: its lease's expiry decides."""

    def __init__(self, log_stream: str) -> None:
        self._name = f"aws:{log_stream or 'local'}:{os.urandom(6).hex()}"

    def name(self) -> str:
        return self._name

    def gone(self, owner: str) -> bool:
        return False
