"""Azure's ports, for now: environment variables and a local file.

Table Storage and Key Vault come with the Azure issue. Until then secrets are the app settings ``OMNI_SECRET_*``
(which may be Key Vault references) and the state is a file of this one instance, which is lost with it: alerts then
may fire again, and none should be relied on.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from core.ports import Platform
from core.settings import Settings
from handlers.local.platform import LocalOwner, LocalSecrets, LocalStore

_LOG = logging.getLogger(__name__)


def platform(settings: Settings, env: Mapping[str, str], root: Path) -> Platform:
    """The ports. ``OMNI_STATE_DIR`` moves the state, to a mounted share for instance."""
    state = Path(settings.state_dir or Path(tempfile.gettempdir()) / "omnisentinel") / "state.db"
    if not settings.state_dir:
        _LOG.warning("state is in %s and is lost with this instance: set OMNI_STATE_DIR to a mounted share", state)
    return Platform(
        name="azure",
        secrets=LocalSecrets(root, env),
        store=LocalStore(state),
        owner=LocalOwner(),
        facts={"state": str(state), "secrets": "app settings OMNI_SECRET_*"},
    )
