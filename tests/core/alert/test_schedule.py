"""Cron in a zone: both nights of DST, aliases, what was due last, and what is refused."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from core.alert.schedule import ALIASES, between, next_after, previous_at_or_before, validate
from core.errors import ConfigInvalid

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def slots(cron: str, tz: str, first: str, last: str) -> list[str]:
    """Slots after ``first`` and not after ``last``, as UTC."""
    found = between(cron, tz, at(first), at(last) + timedelta(seconds=1))
    return [s.strftime("%d %H:%M") for s in found]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 9 * * 1-5", "2026-01-30T09:00:00+01:00", "2026-02-02T09:00:00+01:00"),
        ("0 9 * * 1-5", "2026-01-30T08:59:59+01:00", "2026-01-30T09:00:00+01:00"),
        ("*/15 * * * *", "2026-01-30T09:00:00.5+01:00", "2026-01-30T09:15:00+01:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+01:00"),
        ("30 8 * * 0", "2026-01-30T09:00:00+01:00", "2026-02-01T08:30:00+01:00"),
        ("30 8 * * 7", "2026-01-30T09:00:00+01:00", "2026-02-01T08:30:00+01:00"),
        ("0 12 * JAN MON", "2026-01-30T09:00:00+01:00", "2027-01-04T12:00:00+01:00"),
        (" @Hourly ", "2026-01-30T09:00:00+01:00", "2026-01-30T10:00:00+01:00"),
    ],
)
def test_next(cron: str, after: str, expected: str) -> None:
    found = next_after(cron, BERLIN, at(after))
    assert found == at(expected)
    assert found.tzinfo is UTC


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    assert next_after(alias, BERLIN, at("2026-05-05T05:05Z")) == next_after(
        ALIASES[alias], BERLIN, at("2026-05-05T05:05Z")
    )


# Berlin, 29 March 2026: 02:00 CET becomes 03:00 CEST at 01:00 UTC.
@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["28 01:30", "29 01:00", "30 00:30"]),  # skipped by the clock: runs at the end of the gap
        ("30 1 * * *", ["28 00:30", "29 00:30", "29 23:30"]),
        ("0 3 * * *", ["28 02:00", "29 01:00", "30 01:00"]),
        ("0 */12 * * *", ["28 11:00", "28 23:00", "29 10:00", "29 22:00"]),
    ],
)
def test_the_spring_night(cron: str, expected: list[str]) -> None:
    assert slots(cron, BERLIN, "2026-03-28T00:00Z", "2026-03-30T01:00Z") == expected


def test_the_spring_night_by_the_minute() -> None:
    found = slots("*/30 * * * *", BERLIN, "2026-03-28T23:59Z", "2026-03-29T02:00Z")
    assert found == ["29 00:00", "29 00:30", "29 01:00", "29 01:30", "29 02:00"]


# Berlin, 25 October 2026: 03:00 CEST becomes 02:00 CET at 01:00 UTC.
@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["24 00:30", "25 00:30", "26 01:30"]),  # the repeated hour counts once
        ("0 3 * * *", ["24 01:00", "25 02:00", "26 02:00"]),
        ("30 1 * * *", ["24 23:30", "26 00:30"]),
    ],
)
def test_the_autumn_night(cron: str, expected: list[str]) -> None:
    assert slots(cron, BERLIN, "2026-10-24T00:00Z", "2026-10-26T03:00Z") == expected


def test_the_autumn_night_by_the_minute() -> None:
    found = slots("*/30 * * * *", BERLIN, "2026-10-24T23:59Z", "2026-10-25T02:00Z")
    assert found == ["25 00:00", "25 00:30", "25 01:00", "25 01:30", "25 02:00"]


def test_the_next_slot_is_always_later() -> None:
    """Asked within the second of two equal hours, the walk must not answer with the first."""
    for minute in range(0, 180):
        now = at("2026-10-25T00:00Z") + timedelta(minutes=minute)
        assert next_after("30 2 * * *", BERLIN, now) > now


@pytest.mark.parametrize("tz", [BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("cron", ["*/7 * * * *", "30 2 * * *", "0 */6 * * *", "15 1-3 * * 0", "0 0 1 * *"])
def test_the_previous_slot_is_the_one_before_the_next(cron: str, tz: str) -> None:
    rng = random.Random(cron + tz)
    for day in ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01", "2026-06-15"):
        now = at(f"{day}T00:00Z") + timedelta(seconds=rng.randrange(86_400))
        last = previous_at_or_before(cron, tz, now)
        assert last is not None
        assert last <= now
        assert next_after(cron, tz, last) > now
        assert last == previous_at_or_before(cron, tz, last)
        assert next_after(cron, tz, last - timedelta(seconds=1)) == last


def test_slots_ascend() -> None:
    found = [
        at("2026-10-20T00:00Z"),
        *between("*/20 1-4 * * *", BERLIN, at("2026-10-20T00:00Z"), at("2026-10-30T00:00Z")),
    ]
    assert all(a < b for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("cron", "tz", "says"),
    [
        ("", "UTC", "0 fields"),
        ("* * * *", "UTC", "4 fields"),
        ("* * * * * *", "UTC", "6 fields"),
        ("61 * * * *", "UTC", "minute"),
        ("* 24 * * *", "UTC", "hour"),
        ("* * 31 2 *", "UTC", "day-of-month"),
        ("* * * * MOO", "UTC", "day-of-week"),
        ("@reboot", "UTC", "@hourly"),
        ("0 9 * * *", "Europe/Berln", "Europe/Berln"),
        ("0 9 * * *", "../etc/passwd", "IANA"),
        ("0 9 * * *", "", "IANA"),
    ],
)
def test_refused(cron: str, tz: str, says: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        validate(cron, tz)
    assert says in caught.value.message


def test_accepted() -> None:
    for cron in ("0 9 * * 1-5", "@daily", "*/5 8-18 * * MON-FRI", "0 0 L * *"):
        validate(cron, "America/New_York")
