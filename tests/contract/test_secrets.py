"""What ``core.ports.Secrets`` promises."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from core.errors import ConfigInvalid
from core.ports import Secrets

Made = tuple[Secrets, Callable[[str, str | None], None]]


def test_a_secret_is_read(secrets: Made) -> None:
    port, put = secrets
    put("ann_key", "s3cret ü with spaces")
    assert port.get("ann_key") == "s3cret ü with spaces"


def test_the_newest_value_is_read(secrets: Made) -> None:
    port, put = secrets
    put("ann_key", "old")
    assert port.get("ann_key") == "old"
    put("ann_key", "new")
    assert port.get("ann_key") == "new"


def test_a_missing_secret_says_where_it_was_looked_for(secrets: Made, offered: ModuleType) -> None:
    port, put = secrets
    put("other", "the-other-value")
    with pytest.raises(ConfigInvalid) as caught:
        port.get("not_there")
    for place in ("not_there", *offered.PLACES):
        assert place in caught.value.message
    assert "the-other-value" not in caught.value.message


def test_a_removed_secret_is_missing(secrets: Made) -> None:
    port, put = secrets
    put("ann_key", "old")
    port.get("ann_key")
    put("ann_key", None)
    with pytest.raises(ConfigInvalid):
        port.get("ann_key")
