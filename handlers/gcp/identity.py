"""Who asks, on Google Cloud: the header that carries our API key.

A service that only IAM principals may invoke takes Google's identity token in ``Authorization``; our key then travels
in ``X-Omni-Authorization``. Cloud Run has checked the token before this code runs and has taken its signature away, so
nothing here could tell a real one from an invented one: it says nothing about who asks, the key does.
"""

from __future__ import annotations

from collections.abc import Mapping

_CHECKED = ".SIGNATURE_REMOVED_BY_GOOGLE"


def with_key(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, lower-cased, with our key under ``authorization`` (or nothing there, where only Google's was)."""
    found = {name.lower(): value for name, value in headers.items()}
    if found.get("authorization", "").strip().endswith(_CHECKED):
        del found["authorization"]
    if "authorization" not in found and "x-omni-authorization" in found:
        found["authorization"] = found["x-omni-authorization"]
    return found
