"""Google Cloud's ports, for now: environment variables and a local file.

Firestore and Secret Manager come with the Google Cloud issue. Until then secrets are the variables ``OMNI_SECRET_*``
(Cloud Run fills them from Secret Manager at start) and the state is a file of this one instance, which is lost with
it: alerts then may fire again, and none should be relied on.
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
    """The ports. ``OMNI_STATE_DIR`` moves the state, to a mounted volume for instance."""
    state = Path(settings.state_dir or Path(tempfile.gettempdir()) / "omnisentinel") / "state.db"
    if not settings.state_dir:
        _LOG.warning("state is in %s and is lost with this instance: set OMNI_STATE_DIR to a mounted volume", state)
    return Platform(
        name="gcp",
        secrets=LocalSecrets(root, env),
        store=LocalStore(state),
        owner=LocalOwner(),
        facts={"state": str(state), "secrets": "environment variables OMNI_SECRET_*"},
    )
