"""Who we are to Azure, and how every client is set up: the identity, the time limits, the retries.

In a function the identity is its managed one, for which App Service sets IDENTITY_ENDPOINT; AZURE_CLIENT_ID says which,
where there are several. Elsewhere it is a service principal in AZURE_* variables, or who signed in with ``az login``.
Nothing else is tried: a chain that ends somewhere unexpected is how the wrong identity gets used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from core.errors import ConfigInvalid, SourceAuth

NETWORK: Mapping[str, Any] = {
    "connection_timeout": 3,
    "read_timeout": 10,
    "retry_total": 3,
    "retry_connect": 2,
    "retry_read": 2,
    "retry_status": 3,
    "retry_backoff_factor": 0.2,
    "retry_backoff_max": 3,
    "logging_enable": False,
}
"""Keyword arguments of every client and of who asks for tokens; seconds. Their own default is five minutes."""
STORAGE: Mapping[str, Any] = {**NETWORK, "initial_backoff": 0.2, "increment_base": 1.5, "random_jitter_range": 0.2}
"""The clients of blobs and queues have a backoff of their own, which waits for 80 s before saying what is wrong."""


class Identity:
    """One credential for all clients of this process, made when first asked for."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._made: Any = None

    def credential(self) -> Any:
        """A TokenCredential. Raises SourceAuth where this machine offers none of the two ways."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> Any:
        if self._env.get("IDENTITY_ENDPOINT"):
            from azure.identity import ManagedIdentityCredential

            return ManagedIdentityCredential(client_id=self._env.get("AZURE_CLIENT_ID") or None, **NETWORK)
        from azure.identity import AzureCliCredential, ChainedTokenCredential, EnvironmentCredential

        try:
            return ChainedTokenCredential(EnvironmentCredential(**NETWORK), AzureCliCredential(process_timeout=20))
        except ValueError as error:  # what the AZURE_* variables name does not fit together
            raise SourceAuth(
                "The AZURE_* variables do not describe a service principal: set AZURE_TENANT_ID, AZURE_CLIENT_ID and "
                "AZURE_CLIENT_SECRET, or unset them and sign in with `az login`.", service="Microsoft Entra",
            ) from error  # fmt: skip


def pipeline(base: str, identity: Identity, scope: str, **network: Any) -> Any:
    """An azure.core.PipelineClient: the SDK's own transport, retries and tokens, for services we ask one thing of.

    ``network``: what differs from NETWORK.
    """
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy, UserAgentPolicy

    given = {**NETWORK, **network}
    policies = [
        UserAgentPolicy(user_agent="omnisentinel"),
        RetryPolicy(**given),
        BearerTokenCredentialPolicy(identity.credential(), scope),
    ]
    return PipelineClient(base, policies=policies, **given)


def parted(url: str, setting: str, example: str, *, segments: int) -> tuple[str, list[str]]:
    """``https://host/a/b`` with at least ``segments`` path segments -> the part before the last ones, and those.

    Raises ConfigInvalid naming the ``setting`` for anything else, and not its value, which may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its text quotes the value
        parts = urlsplit("")
    path = [p for p in parts.path.split("/") if p]
    if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc) or len(path) < segments or _MORE.search(url):
        raise ConfigInvalid(
            f"{setting} has to be a URL such as {example}, without a user, a password or a signature: the functions' "
            "own identity is what signs in.", key=setting,
        )  # fmt: skip
    return "/".join([f"https://{parts.netloc}", *path[:-segments]]), path[-segments:]


_HOST, _MORE = re.compile(r"[^@\s]+"), re.compile(r"[?#]")


def shown(url: str, setting: str) -> str:
    """``url`` of the ``setting`` for people to read; only the setting's name where it is none that ``parted`` takes."""
    try:
        parted(f"{url}x" if url.endswith("/") else url, setting, "", segments=1)
    except ConfigInvalid:
        return f"({setting} is of another form)"
    return url


_PLAIN = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def vault_name(name: str) -> str:
    """``name`` in the letters that Key Vault has (0-9, a-z, -; upper and lower case are the same to it).

    ``ann_key`` becomes ``ann-key``. Any other name becomes ``x--`` and its letters, with ``-`` and two hex digits for
    each byte that is not a lower-case letter or a digit: ``Ann`` is ``x---41nn``. No two names meet.
    """
    if _PLAIN.fullmatch(name):
        return name.replace("_", "-")
    return "x--" + "".join(chr(b) if chr(b) in _KEPT else f"-{b:02x}" for b in name.encode())


_KEPT = "abcdefghijklmnopqrstuvwxyz0123456789"
