"""Two overlapping runs of one alert, in every order, with faults: nothing is lost and nothing is told under two ids."""

from __future__ import annotations

import pytest

from tests.core.alert.interleaving import Explorer, Faults, Story


def _ids(story: Story) -> set[str]:
    return {i for i in story.delivered if "/firing/" in i}


@pytest.mark.parametrize("slots", [(1, 1), (1, 2)], ids=["one slot twice", "two slots"])
@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(fail=1),
        Faults(crash=1),
        Faults(crash=1, seen_dead=False),
        Faults(expire=1),
        Faults(crash=1, fail=1, expire=1),
    ],
    ids=["no fault", "a failure", "a crash", "a crash elsewhere", "a zombie", "all of them"],
)
def test_nothing_is_lost_or_told_twice(faults: Faults, slots: tuple[int, int]) -> None:
    explorer = Explorer(faults, slots)
    stories = explorer.walk()
    for story in stories:
        assert len(_ids(story)) == 1, (story.log, story.delivered)  # told, and under one id only
        repeats = len([i for i in story.delivered if "/firing/" in i]) - 1
        if repeats:
            assert story.faults["crash after send"] or story.faults["expire"], (story.log, story.delivered)
    print(len(stories), "histories", len(explorer.known), "states")


def test_each_channel_for_itself() -> None:
    stories = Explorer(Faults(crash=1, fail=1), channels=("hook", "mail")).walk()
    for story in stories:
        assert {i.rsplit("/", 1)[1] for i in _ids(story)} == {"hook", "mail"}, story.log
        assert len(_ids(story)) == 2, story.log
        if not story.faults["crash after send"]:
            assert len(story.delivered) == len(set(story.delivered)), story.log
    assert any(s.faults["crash after send"] and len(s.delivered) > 2 for s in stories)  # the fault was really there
