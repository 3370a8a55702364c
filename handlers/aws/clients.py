"""The clients of AWS: ``botocore`` itself, without boto3 on top, for 45 ms less CPU in a cold start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import botocore.session
from botocore.config import Config

from core.errors import ConfigInvalid
from core.settings import Settings

_CONFIG = Config(
    connect_timeout=2,
    read_timeout=6,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
    user_agent_extra="omnisentinel",
)


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
