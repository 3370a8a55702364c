"""Who asks, on AWS: the header that carries our API key.

A function URL or route with IAM authorization uses ``Authorization`` for the AWS signature; the key then travels in
``X-Omni-Authorization``. The platform has checked the signature before this code runs.
"""

from __future__ import annotations

from collections.abc import Mapping


def with_key(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, lower-cased, with our key under ``authorization`` (or nothing there, where only AWS's was sent)."""
    found = {name.lower(): value for name, value in headers.items()}
    if found.get("authorization", "").startswith("AWS4-"):
        del found["authorization"]
        if "x-omni-authorization" in found:
            found["authorization"] = found["x-omni-authorization"]
    return found
