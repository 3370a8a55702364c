"""What ``core.ports.Keys`` promises."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from core.errors import SourceAuth
from core.ports import Keys

Kept = tuple[Keys, Callable[[str], None]]
"""The port, and how to disable a tenant's key from outside."""

CONTEXT = {"purpose": "results", "epoch": "1"}


def test_a_wrapped_key_comes_back(keys: Kept) -> None:
    made, _ = keys
    for length in (16, 32, 64):
        key = os.urandom(length)
        wrapped = made.wrap("acme", key, CONTEXT)
        assert key not in wrapped
        assert made.unwrap("acme", wrapped, CONTEXT) == key


def test_the_order_of_the_context_is_of_no_account(keys: Kept) -> None:
    made, _ = keys
    key = os.urandom(32)
    wrapped = made.wrap("acme", key, {"a": "1", "b": "2"})
    assert made.unwrap("acme", wrapped, {"b": "2", "a": "1"}) == key


@pytest.mark.parametrize(
    ("tenant", "context"),
    [
        ("other", CONTEXT),
        ("acme", {**CONTEXT, "epoch": "2"}),
        ("acme", {"purpose": "results"}),
        ("acme", {}),
        ("acme", {**CONTEXT, "more": "x"}),
        ("acme", {"purpose": "results|epoch=1"}),
    ],
)
def test_another_tenant_or_context_does_not_open_it(keys: Kept, tenant: str, context: dict[str, str]) -> None:
    made, _ = keys
    wrapped = made.wrap("acme", os.urandom(32), CONTEXT)
    with pytest.raises(SourceAuth):
        made.unwrap(tenant, wrapped, context)


def test_altered_bytes_do_not_open(keys: Kept) -> None:
    made, _ = keys
    wrapped = made.wrap("acme", os.urandom(32), CONTEXT)
    for at in (len(wrapped) // 2, len(wrapped) - 1):
        altered = bytearray(wrapped)
        altered[at] ^= 1
        with pytest.raises(SourceAuth):
            made.unwrap("acme", bytes(altered), CONTEXT)
    for odd in (b"", b"x", wrapped[:-1]):
        with pytest.raises(SourceAuth):
            made.unwrap("acme", odd, CONTEXT)


def test_a_disabled_key_opens_nothing(keys: Kept) -> None:
    made, disable = keys
    wrapped = made.wrap("acme", os.urandom(32), CONTEXT)
    disable("acme")
    with pytest.raises(SourceAuth):
        made.unwrap("acme", wrapped, CONTEXT)
    with pytest.raises(SourceAuth):
        made.wrap("acme", os.urandom(32), CONTEXT)
