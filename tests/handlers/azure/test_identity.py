"""Whom App Service authentication has verified, and which header is whose."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from handlers.azure.identity import easy_auth, verified, with_key

OID = "0a1b2c3d-1111-2222-3333-444455556666"
CLAIM = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def headers(*claims: tuple[str, Any], **more: str) -> dict[str, str]:
    principal = {"claims": [{"typ": typ, "val": val} for typ, val in claims]}
    return {"x-ms-client-principal": base64.b64encode(json.dumps(principal).encode()).decode(), **more}


def test_the_object_id_is_who_somebody_is() -> None:
    for kind in (CLAIM, "oid"):
        assert verified(headers((kind, OID.upper()), ("name", "admin"))) == f"entra:{OID}"
    assert verified(headers((CLAIM, OID), ("oid", OID))) == f"entra:{OID}", "said twice, and the same"


@pytest.mark.parametrize("found", [
    headers(("name", OID)), headers(("oid", "admin")), headers(("oid", OID), ("oid", OID.replace("0a", "0b"))),
    headers(("oid", OID), (CLAIM, "admin")), headers(("oid", None)), headers(), {}, {"x-ms-client-principal": "%%%"},
    {"x-ms-client-principal": base64.b64encode(b"[]").decode()}, headers(("oid", OID), authorization="Bearer key"),
])  # fmt: skip
def test_anything_else_is_nobody(found: dict[str, str]) -> None:
    assert verified(found) is None


def test_headers_of_the_platform_count_only_where_it_checks() -> None:
    given = {"X-MS-CLIENT-PRINCIPAL": "x", "X-MS-CLIENT-PRINCIPAL-NAME": "y", "Authorization": "Bearer a.b.c"}
    assert with_key(given, platform_checks=False) == {"authorization": "Bearer a.b.c"}
    assert "authorization" not in with_key(given, platform_checks=True), "a token of Entra's is not our key"
    assert with_key({**given, "X-Omni-Authorization": "Bearer k"}, platform_checks=True)["authorization"] == "Bearer k"
    assert with_key({"Authorization": "Bearer own-key"}, platform_checks=True)["authorization"] == "Bearer own-key"


def test_only_the_platforms_own_variable_turns_it_on() -> None:
    assert easy_auth({"WEBSITE_AUTH_ENABLED": "True"})
    for env in ({}, {"WEBSITE_AUTH_ENABLED": "False"}, {"WEBSITE_AUTH_ENABLED": ""}, {"OMNI_AUTH": "True"}):
        assert not easy_auth(env)
