"""The written document and the routes that run say the same."""

from __future__ import annotations

import json

from openapi_spec_validator import validate

from core import errors
from handlers.http import HttpRequest, respond
from handlers.openapi import DOCUMENT
from handlers.routes import _QUERY_KEYS, ROUTES
from tests.handlers.fake import FakeApp


def test_it_is_a_valid_openapi_document_and_served_without_identity() -> None:
    response = respond(FakeApp(), HttpRequest("GET", "/openapi.json"))
    found = json.loads(response.body)
    validate(found)
    assert found["openapi"].startswith("3.1")


def test_every_route_is_in_it_and_nothing_else() -> None:
    written = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert written == {(route.method, route.pattern) for route in ROUTES}


def test_what_is_public_is_the_same() -> None:
    public = {path for path, item in DOCUMENT["paths"].items() for op in item.values() if op.get("security") == []}
    assert public == {route.pattern for route in ROUTES if route.public}


def test_the_bodys_keys_and_the_error_codes_are_the_same() -> None:
    assert set(DOCUMENT["components"]["schemas"]["Query"]["properties"]) == set(_QUERY_KEYS)
    codes = {e.code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.Error)}
    assert set(DOCUMENT["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"]) == codes
