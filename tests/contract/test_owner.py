"""What ``core.ports.Owner`` promises."""

from __future__ import annotations

import pytest

from core.ports import Owner


def test_a_name_lasts(owner: Owner) -> None:
    assert owner.name()
    assert owner.name() == owner.name()


def test_who_runs_is_not_gone(owner: Owner) -> None:
    assert owner.gone(owner.name()) is False


@pytest.mark.parametrize(
    "stranger", ["", "x", "elsewhere:boot:1:2:3", "a:b:c:d:e", ":::::", "host:boot:99999999:1:f", "🙂"]
)
def test_of_strangers_nothing_is_known(owner: Owner, stranger: str) -> None:
    assert owner.gone(stranger) is False
