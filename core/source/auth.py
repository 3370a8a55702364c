"""How a connector proves who asks: the secret's name here, its value only inside ``wire`` at send time."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from core.errors import ConfigInvalid
from core.ports import Secrets

Style = Literal["none", "bearer", "header", "basic", "query"]
PREFIX = "secret:"


@dataclass(frozen=True, slots=True)
class Auth:
    """A wire.Credential. ``reference`` is the secret's name; ``parameter`` the header's or query parameter's.

    ``user``: for basic, where the secret is the password alone; without it the secret is ``user:password``.
    """

    style: Style
    reference: str
    parameter: str = ""
    user: str = ""
    template: str = "{secret}"

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.reference}"

    def apply(self, secrets: Secrets, url: str, headers: dict[str, str]) -> str:
        secret = secrets.get(self.reference).strip()
        if self.style == "query":
            return f"{url}{'&' if '?' in url else '?'}{quote(self.parameter)}={quote(secret, safe='')}"
        if not secret.isprintable() or not secret.isascii():
            raise ConfigInvalid(f"The secret {self.reference} holds characters that no HTTP header may have.")
        if self.style == "bearer":
            headers["Authorization"] = f"Bearer {secret}"
        elif self.style == "header":
            headers[self.parameter] = self.template.replace("{secret}", secret)
        elif self.style == "basic":
            pair = f"{self.user}:{secret}" if self.user else secret
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return url


def reference(text: str, *, place: str, key: str) -> str:
    """The name in ``secret:NAME``; ConfigInvalid where the value itself was written down."""
    if not isinstance(text, str) or not text.startswith(PREFIX) or len(text) == len(PREFIX):
        raise ConfigInvalid(
            f"{place}: {key} has to be a reference such as secret:github_token, never the secret itself.",
            key=key,
            place=place,
        )
    return text[len(PREFIX) :]
