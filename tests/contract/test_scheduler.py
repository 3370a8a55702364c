"""What ``core.ports.Scheduler`` promises."""

from __future__ import annotations

from types import ModuleType

import pytest

from core.errors import ConfigInvalid
from core.ports import Schedule, Scheduler

Two = tuple[Scheduler, Scheduler]
"""Those of two deployments in one account."""


def one(name: str, cron: str = "0 9 * * 1-5", timezone: str = "Europe/Berlin") -> Schedule:
    payload = {"sweep": True} if name == "sweep" else {"alert": name}
    return Schedule(name, cron, timezone, payload)


def test_nothing_is_there_at_first(schedulers: Two) -> None:
    mine, _ = schedulers
    assert mine.list() == []
    mine.delete("nobody")


def test_what_was_set_is_listed_as_it_was_given(schedulers: Two) -> None:
    mine, _ = schedulers
    given = [
        one("a"),
        one("b.c_d", "*/15 * * * *", "UTC"),
        one("sweep", "* * * * *", "UTC"),
        one("z" * 90, "30 6 * * 0"),
    ]
    for schedule in reversed(given):
        mine.upsert(schedule)
    assert list(mine.list()) == given


def test_setting_again_changes_and_does_not_add(schedulers: Two) -> None:
    mine, _ = schedulers
    mine.upsert(one("a"))
    mine.upsert(one("a"))
    mine.upsert(one("a", "5 10 * * *", "America/New_York"))
    assert list(mine.list()) == [one("a", "5 10 * * *", "America/New_York")]


def test_two_deployments_do_not_see_each_other(schedulers: Two) -> None:
    mine, other = schedulers
    mine.upsert(one("a"))
    other.upsert(one("a", "1 2 * * *"))
    other.upsert(one("b"))
    mine.delete("b")
    assert [s.name for s in mine.list()] == ["a"]
    assert list(other.list()) == [one("a", "1 2 * * *"), one("b")]
    mine.delete("a")
    assert mine.list() == []
    assert [s.name for s in other.list()] == ["a", "b"]


def test_names_that_look_alike_stay_apart(schedulers: Two) -> None:
    mine, _ = schedulers
    given = [one("a-b", "1 * * * *"), one("a.b", "2 * * * *"), one("a_b", "3 * * * *")]
    for schedule in given:
        mine.upsert(schedule)
    assert list(mine.list()) == given


def test_what_cannot_be_expressed_is_refused_with_the_name(offered: ModuleType, schedulers: Two) -> None:
    mine, _ = schedulers
    with pytest.raises(ConfigInvalid, match="broken"):
        mine.upsert(one("broken", offered.INEXPRESSIBLE))
    with pytest.raises(ConfigInvalid, match="nowhere"):
        mine.upsert(one("nowhere", "0 9 * * *", "Mars/Olympus"))
    assert mine.list() == []
