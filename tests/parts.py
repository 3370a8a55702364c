"""Parts that a test needs and a machine may lack: what set-up installs is required where OMNI_REQUIRE_PARTS=1."""

from __future__ import annotations

import os

import pytest


def need(name: str, available: bool, reason: str) -> None:
    """Skip with ``reason`` when the part is absent; fail instead where all parts are required.

    Silence is never an option: a suite that quietly shrinks looks like one that passes.
    """
    if available:
        return
    text = f"part not available: {name}: {reason}"
    if os.environ.get("OMNI_REQUIRE_PARTS") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text, allow_module_level=True)


def foreign(name: str, available: bool, reason: str) -> None:
    """Skip with ``reason`` when a part is absent that set-up cannot install: it is in no registry that set-up reads."""
    if not available:
        pytest.skip(f"part not available: {name}: {reason}", allow_module_level=True)
