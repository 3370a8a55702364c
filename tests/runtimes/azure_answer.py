"""What a fake of Azure answers to one request, and how it looks at who asks."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """``body`` is JSON-ready; None sends nothing."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, inner: str = "", **headers: str) -> Answer:
    """An error as Azure's services write it; its text must reach no user of ours."""
    error: dict[str, Any] = {"code": code, "message": "AZURES-OWN-WORDS with a value in them"}
    if inner:
        error["innererror"] = {"code": inner}
    return Answer(status, {"error": error}, headers)


def audience(headers: Any) -> str:
    """For which service the request's token was made; '' without one."""
    scheme, _, token = (headers.get("Authorization") or "").partition(" ")
    if scheme != "Bearer" or token.count(".") != 2:
        return ""
    claims = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["aud"]).rstrip("/")
