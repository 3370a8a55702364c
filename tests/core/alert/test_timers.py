"""A schedule in each service's words means what it means here. The readers below are written from the services' own
documentation, apart from the code under test."""

from __future__ import annotations

import calendar
import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.alert import schedule, timers
from core.errors import ConfigInvalid

FIRST, DAYS = date(2027, 12, 1), 150  # over a year's end and a 29th of February


def ours(cron: str) -> set[datetime]:
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    return set(schedule.between(cron, "UTC", start - timedelta(seconds=1), start + timedelta(days=DAYS)))


def numbers(text: str, low: int, high: int) -> set[int]:
    """A field of numbers: ``*``, ``a``, ``a-b``, ``x/n`` and lists of them."""
    out: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(int, span.split("-"))
        else:
            first, last = int(span), high if step else int(span)
        assert low <= first <= last <= high, term
        out |= set(range(first, last + 1, int(step or 1)))
    return out


def slots(day_fits: Callable[[date], bool], hours: set[int], minutes: set[int]) -> set[datetime]:
    return {
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
        for day in (FIRST + timedelta(days=n) for n in range(DAYS))
        if day_fits(day)
        for hour in hours
        for minute in minutes
    }


def read_eventbridge(text: str) -> set[datetime]:
    found = re.fullmatch(r"cron\((.*)\)", text)
    assert found and len(text) <= 256
    minutes, hours, days, months, weekdays, year = found[1].split(" ")
    assert year == "*" and (days == "?") != (weekdays == "?"), "exactly one of the two is ?"

    def fits(day: date) -> bool:
        if day.month not in numbers(months, 1, 12):
            return False
        length = calendar.monthrange(day.year, day.month)[1]
        if weekdays == "?":
            return day.day == length if days == "L" else day.day in numbers(days, 1, 31)
        mine = day.isoweekday() % 7 + 1
        if weekdays.endswith("L"):
            return mine == int(weekdays[:-1]) and day.day + 7 > length
        if "#" in weekdays:
            wanted, nth = weekdays.split("#")
            return mine == int(wanted) and (day.day - 1) // 7 + 1 == int(nth)
        return mine in numbers(weekdays, 1, 7)

    return slots(fits, numbers(hours, 0, 23), numbers(minutes, 0, 59))


def read_unix(text: str) -> set[datetime]:
    minutes, hours, days, months, weekdays = text.split(" ")
    assert re.fullmatch(r"[0-9*/, -]+", text) and (days == "*" or weekdays == "*")
    assert not re.search(r"(^|[ ,])\d+/", text), "a step stands behind * or a range only"

    def fits(day: date) -> bool:
        return (
            day.month in numbers(months, 1, 12)
            and day.day in numbers(days, 1, 31)
            and day.isoweekday() % 7 in numbers(weekdays, 0, 6)
        )

    return slots(fits, numbers(hours, 0, 23), numbers(minutes, 0, 59))


def read_recurrence(found: dict[str, Any]) -> set[datetime]:
    assert found["interval"] == 1 and found["timeZone"] == "UTC"
    assert found["startTime"] < "2026", "else it fires when it is saved"
    if found["frequency"] == "Minute":
        assert "schedule" not in found
        return slots(lambda _day: True, set(range(24)), set(range(60)))
    at = found["schedule"]
    if found["frequency"] == "Week":
        return slots(lambda day: f"{day:%A}" in at["weekDays"], set(at["hours"]), set(at["minutes"]))
    assert found["frequency"] == "Day" and "weekDays" not in at
    return slots(lambda _day: True, set(at["hours"]), set(at["minutes"]))


READERS: dict[str, Callable[[str], set[datetime]]] = {
    "aws": lambda cron: read_eventbridge(timers.eventbridge(cron)),
    "gcp": lambda cron: read_unix(timers.cloud_scheduler(cron)),
    "azure": lambda cron: read_recurrence(timers.logic_apps(cron, "UTC")),
}
ALL = [
    "0 9 * * 1-5", "* * * * *", "*/15 * * * *", "7/20 3 * * *", "0 */6 * * *", "@hourly", "@daily", "@weekly",
    "30 6 * * 7", "5,10-12 8-18/2 * * MON,WED-FRI", "0 0 * * 5,0", "59 23 * * SUN", "1-59/2 * * * *", "0 9 1-31 * 1",
    "0 9 * * 0-7", "0 22 * * 6,7",
]  # fmt: skip
MONTHLY = [
    "0 9 1 * *",
    "@monthly",
    "0 9 1,15 * *",
    "0 9 31 * *",
    "0 0 29 2 *",
    "0 9 * JAN-MAR *",
    "0 9 */2 * *",
    "10 4 1-7 1,4,7,10 *",
    "0 9 * 2 1",
]
ODD = ["0 9 L * *", "0 9 * * 5L", "0 9 * * 1#2", "0 9 * * 7L", "0 9 * * 0#1"]


@pytest.mark.parametrize("cloud", READERS)
@pytest.mark.parametrize("cron", ALL)
def test_what_every_service_has(cloud: str, cron: str) -> None:
    assert READERS[cloud](cron) == ours(cron)


@pytest.mark.parametrize("cron", MONTHLY)
def test_days_of_the_month_and_months(cron: str) -> None:
    assert READERS["aws"](cron) == READERS["gcp"](cron) == ours(cron)
    with pytest.raises(ConfigInvalid, match="no days of the month"):
        timers.logic_apps(cron, "UTC")


@pytest.mark.parametrize("cron", ODD)
def test_the_last_and_the_nth(cron: str) -> None:
    assert READERS["aws"](cron) == ours(cron)
    for other in (timers.cloud_scheduler, lambda c: timers.logic_apps(c, "UTC")):
        with pytest.raises(ConfigInvalid, match="cannot be expressed"):
            other(cron)


@pytest.mark.parametrize("cron", ["0 9 13 * 5", "0 9 */2 * 1", "0 9 1 * */2"])
def test_days_of_month_and_week_together_are_refused(cron: str) -> None:
    for translate in READERS.values():
        with pytest.raises(ConfigInvalid, match="two alerts"):
            translate(cron)


@pytest.mark.parametrize("cron", ["0 9 LW * *", "0 9 L,1 * *", "0 9 * * 1#2,3", "0 9 * * 1L,5L"])
def test_what_eventbridge_has_not_is_refused(cron: str) -> None:
    with pytest.raises(ConfigInvalid, match="EventBridge"):
        timers.eventbridge(cron)


def test_any_cron_is_either_exact_or_refused() -> None:
    rnd = random.Random(7)

    def field(low: int, high: int) -> str:
        def term() -> str:
            a, b = sorted((rnd.randint(low, high), rnd.randint(low, high)))
            return rnd.choice(
                [
                    "*",
                    f"*/{rnd.randint(1, 9)}",
                    str(a),
                    f"{a}-{b}",
                    f"{a}-{b}/{rnd.randint(1, 5)}",
                    f"{a}/{rnd.randint(1, 9)}",
                ]
            )

        return ",".join(term() for _ in range(rnd.choice([1, 1, 1, 2, 3])))

    exact = dict.fromkeys(READERS, 0)
    for _ in range(150):
        days, weekdays = rnd.choice(["*", "*", field(1, 31)]), rnd.choice(["*", field(0, 7)])
        cron = f"{field(0, 59)} {field(0, 23)} {days} {rnd.choice(['*', field(1, 12)])} {weekdays}"
        try:
            wanted = ours(cron)
        except ConfigInvalid:
            continue
        for cloud, read in READERS.items():
            try:
                found = read(cron)
            except ConfigInvalid:
                continue
            assert found == wanted, f"{cloud}: {cron}"
            exact[cloud] += 1
    assert min(exact.values()) > 20, exact


def test_bad_crons_are_refused_as_everywhere() -> None:
    for cron in ("", "* * * *", "61 * * * *", "@never", "0 9 30 2 *"):
        for translate in READERS.values():
            with pytest.raises(ConfigInvalid):
                translate(cron)


@pytest.mark.parametrize(
    ("cron", "zone", "native"),
    [
        ("*/15 * * * *", "Europe/Berlin", "UTC"),
        ("*/15 * * * *", "Asia/Kolkata", "Asia/Kolkata"),
        ("*/15 * * * *", "Australia/Lord_Howe", "Australia/Lord_Howe"),
        ("0 9 * * *", "Europe/Berlin", "Europe/Berlin"),
        ("0 0-23 * * *", "Europe/Berlin", "Europe/Berlin"),
        ("5 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23 * * *", "Europe/Berlin", "Europe/Berlin"),
        ("30 */1 * * *", "Europe/Berlin", "UTC"),
        ("0 * * * 1", "Europe/Berlin", "Europe/Berlin"),
        ("0 * 1 * *", "Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_a_schedule_of_every_hour_runs_in_utc_where_that_is_the_same(cron: str, zone: str, native: str) -> None:
    assert timers.native_zone(cron, zone) == native
    if native == "UTC":
        for night in ((2027, 10, 30), (2027, 3, 27)):
            start = datetime(*night, tzinfo=UTC)
            end = start + timedelta(days=2)
            assert set(schedule.between(cron, zone, start, end)) == set(schedule.between(cron, "UTC", start, end))


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Europe/Berlin", "W. Europe Standard Time"),
        ("America/New_York", "Eastern Standard Time"),
        ("Asia/Kolkata", "India Standard Time"),
        ("Asia/Calcutta", "India Standard Time"),
        ("UTC", "UTC"),
        ("GMT", "UTC"),
    ],
)
def test_windows_zones(zone: str, name: str) -> None:
    assert timers.windows_zone(zone) == name


@pytest.mark.parametrize("zone", ["Antarctica/Troll", "Mars/Olympus", ""])
def test_a_zone_without_a_windows_name_is_refused(zone: str) -> None:
    with pytest.raises(ConfigInvalid, match="zone"):
        timers.windows_zone(zone)


def test_windows_zones_keep_the_same_hours_or_are_refused() -> None:
    from tzlocal.windows_tz import tz_win, win_tz

    named = 0
    for zone in sorted(tz_win)[::7]:
        try:
            name = timers.windows_zone(zone)
        except ConfigInvalid:
            continue
        named += 1
        for month in range(1, 13):
            at = datetime(2027, month, 15, tzinfo=UTC)
            assert at.astimezone(ZoneInfo(zone)).utcoffset() == at.astimezone(ZoneInfo(win_tz[name])).utcoffset()
    assert named > 60


def test_timer_ids_are_taken_by_every_service_and_unique() -> None:
    names = [
        "big-orders", "Big-Orders", "big.orders", "big_orders", "9lives", "ü 🙂", "", "x" * 90, "x" * 91,
        "a-" + "0" * 8, "-", "a--b", "sweep", timers.timer_id("ü 🙂"),
    ]  # fmt: skip
    ids = [timers.timer_id(name) for name in names]
    assert len(set(ids)) == len(names)
    for made in ids:
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,49}", made), made
    assert timers.timer_id("big-orders") == "big-orders"
