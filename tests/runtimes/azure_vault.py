"""A Key Vault, as far as the official clients ask it: the challenge, secrets with their attributes, keys that wrap.

What it knows of the real one is from Microsoft's REST reference: names in any case are one, a disabled secret or key is
403 Forbidden with an inner code, an expired secret is given out, RSA-OAEP-256 is done with a key that never leaves.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.runtimes.azure_answer import Answer, audience, refusal

RESOURCE = "https://vault.azure.net"
_PADDING = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


@dataclass
class Secret:
    value: str
    enabled: bool = True
    exp: int | None = None
    nbf: int | None = None
    version: str = field(default_factory=lambda: uuid.uuid4().hex)


class Vault:
    """``refuse``: (status, code, inner code) to answer whatever is asked; None: as it should be."""

    def __init__(self) -> None:
        self.url = ""
        self.secrets: dict[str, Secret] = {}
        self.keys: dict[str, dict[str, rsa.RSAPrivateKey]] = {}
        self.disabled: set[str] = set()
        self.refuse: tuple[int, str, str] | None = None

    def rotate(self, name: str) -> str:
        """A new version of the key (the first makes it); it is the one that wraps from now on."""
        version = uuid.uuid4().hex
        self.keys.setdefault(name, {})[version] = rsa.generate_private_key(65537, 2048)
        return version

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> Answer:
        if audience(headers) != RESOURCE:
            challenge = f'Bearer authorization="https://login.windows.net/{uuid.UUID(int=1)}", resource="{RESOURCE}"'
            return refusal(401, "Unauthorized", **{"WWW-Authenticate": challenge})
        if self.refuse is not None:
            return refusal(*self.refuse)
        kind, name, *rest = [p for p in urlsplit(url).path.split("/") if p]
        if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", name) or "api-version=" not in url:
            return refusal(400, "BadParameter")
        if kind == "secrets" and method == "GET":
            return self._secret(name.lower())
        if kind == "keys" and method == "POST":
            return self._key(name.lower(), rest, json.loads(body))
        return refusal(404, "NotFound")

    def _secret(self, name: str) -> Answer:
        found = self.secrets.get(name)
        if found is None:
            return refusal(404, "SecretNotFound")
        if not found.enabled:
            return refusal(403, "Forbidden", "SecretDisabled")
        attributes = {"enabled": True, "created": 1, "updated": 1, "recoveryLevel": "Recoverable+Purgeable"}
        attributes |= {n: v for n, v in (("exp", found.exp), ("nbf", found.nbf)) if v is not None}
        return Answer(200, {"value": found.value, "id": f"{self.url}/secrets/{name}/{found.version}",
                            "attributes": attributes})  # fmt: skip

    def _key(self, name: str, rest: list[str], asked: dict[str, str]) -> Answer:
        versions = self.keys.get(name)
        version, action = rest if len(rest) == 2 else ("", rest[0])
        if not versions or (version and version not in versions):
            return refusal(404, "KeyNotFound")
        if name in self.disabled:
            return refusal(403, "Forbidden", "KeyDisabled")
        version = version or list(versions)[-1]
        if asked["alg"] != "RSA-OAEP-256":
            return refusal(400, "BadParameter")
        value = base64.urlsafe_b64decode(asked["value"] + "==")
        if action == "wrapkey":
            made = versions[version].public_key().encrypt(value, _PADDING)
        else:
            try:
                made = versions[version].decrypt(value, _PADDING)
            except ValueError:
                return refusal(400, "BadParameter")
        return Answer(200, {"kid": f"{self.url}/keys/{name}/{version}",
                            "value": base64.urlsafe_b64encode(made).rstrip(b"=").decode()})  # fmt: skip
