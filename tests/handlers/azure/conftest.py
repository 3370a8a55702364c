from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.ports import Platform
from core.settings import Settings
from handlers.azure.platform import platform
from tests.runtimes.azure_arm import GROUP
from tests.runtimes.azure_cloud import AzureCloud, shared


@pytest.fixture
def cloud() -> Iterator[AzureCloud]:
    """The cloud of this test process, and this process as a function in it."""
    found = shared()
    with found.entered():
        yield found
    found.mend()


@pytest.fixture
def settings(cloud: AzureCloud) -> dict[str, str]:
    """Variables of a deployment of its own."""
    return {
        **cloud.deployment({}), "OMNI_KEY": f"{cloud.vault_url}/keys/tenants", "OMNI_REGION": "westeurope",
        "OMNI_SCHEDULE_GROUP": GROUP, "OMNI_SCHEDULE_TARGET": "https://omni.azurewebsites.net/watch",
        "OMNI_SCHEDULE_ROLE": f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/timers",
        "OMNI_SCHEDULE_KEY": "https://omni-keys.vault.azure.net/secrets/host--functionKey--default",
    }  # fmt: skip


@pytest.fixture
def ports(settings: dict[str, str]) -> Platform:
    return platform(Settings.from_env(settings), settings)
