"""Who asks, on Azure: our API key's header, and the principal that App Service authentication (EasyAuth) has verified.

Where EasyAuth is on, ``Authorization`` carries a token of Entra's, which App Service checks before this code runs. The
caller is then the principal ``entra:OBJECT_ID`` of the project, if there is one; our key travels in
``X-Omni-Authorization`` and comes first. Names and addresses in a token can be changed by their owners: only the object
id says who somebody is.

App Service itself sets WEBSITE_AUTH_ENABLED, and only where it is on does it take away an ``X-MS-CLIENT-PRINCIPAL``
that a caller wrote: elsewhere anybody can send one, and it says nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

PREFIX = "entra:"
_PRINCIPAL = "x-ms-client-principal"
_JWT = re.compile(r"bearer\s+[\w-]+\.[\w-]+\.[\w-]+\s*", re.IGNORECASE)
_OBJECT_ID = frozenset({"oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"})
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def easy_auth(env: Mapping[str, str]) -> bool:
    """Whether App Service authenticates callers before they come here."""
    return env.get("WEBSITE_AUTH_ENABLED", "").lower() in ("true", "1")


def with_key(headers: Mapping[str, str], *, platform_checks: bool) -> dict[str, str]:
    """The headers, lower-cased, with our key under ``authorization`` (or nothing there, where only Entra's was sent).

    ``platform_checks``: EasyAuth is on. Where it is off, what only EasyAuth may say is taken away.
    """
    found = {name.lower(): value for name, value in headers.items()}
    if not platform_checks:
        return {name: value for name, value in found.items() if not name.startswith(_PRINCIPAL)}
    if "x-omni-authorization" in found:
        found["authorization"] = found["x-omni-authorization"]
    elif _JWT.fullmatch(found.get("authorization", "")):
        del found["authorization"]
    return found


def verified(headers: Mapping[str, str]) -> str | None:
    """``entra:OBJECT_ID`` of whom EasyAuth has verified, in headers that ``with_key`` has been over; None where it is
    nobody, or our own key was sent, which comes first."""
    text = headers.get(_PRINCIPAL)
    if not text or "authorization" in headers:
        return None
    try:
        principal: Any = json.loads(base64.b64decode(text, validate=True))
        found = {str(c["val"]).lower() for c in principal["claims"] if c["typ"] in _OBJECT_ID}
    except (ValueError, KeyError, TypeError):
        return None
    known = [value for value in found if _GUID.fullmatch(value)]
    return PREFIX + known[0] if len(known) == 1 == len(found) else None
