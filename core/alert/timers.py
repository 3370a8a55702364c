"""An alert's schedule in the words of each cloud's timer service: exactly, or not at all.

A cron is first read into the values that each field matches (``Fields``), then written anew. Week days count from
Sunday = 0. What a service has no words for raises ConfigInvalid; the caller puts the alert's name in front.

Sources: EventBridge Scheduler user guide, "Schedule types" (six fields, week days from 1, ``?`` in one of the two day
fields); Cloud Scheduler, "Cron job format and time zone" (unix-cron without ``L``, ``W`` and ``#``); Azure Logic Apps,
"Recurrence trigger" (hours and minutes with Day and Week, week days with Week).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from core.alert import schedule
from core.errors import ConfigInvalid
from core.model import Rule

_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEK = range(60), range(24), range(1, 32), range(1, 13), range(7)
_LAST, _LAST_WEEKDAY = "L", "LW"
_DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_TIMER_ID = 50
_START = "2020-01-01T00:00:00"
"""Long ago: a recurrence without a start fires at the moment at which it is saved."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a cron matches. None: any. ``days`` and ``weekdays`` are never both set.

    ``days``: numbers, ``L`` (the last day) or ``LW`` (its last weekday). ``weekdays``: numbers from Sunday = 0,
    ``nL`` (the month's last one) or ``n#k`` (its k-th).
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int | str, ...] | None
    months: tuple[int, ...] | None
    weekdays: tuple[int | str, ...] | None


def fields(cron: str) -> Fields:
    """Read a five-field cron or an alias. Raises ConfigInvalid for one that is not valid, and for one that names days
    of the month and of the week both: no service has that rule as cron has it."""
    from cronsim import CronSim

    schedule.validate(cron, "UTC")
    read = CronSim(schedule.five_fields(cron), datetime(2024, 1, 1, tzinfo=UTC))
    days, weekdays = _days(read.days), _weekdays(read.weekdays)
    if days is not None and weekdays is not None:
        raise _refused(
            cron,
            "it names days of the month and days of the week, which timer services do not combine as cron does",
            "write it as two alerts, or name one of the two",
        )
    if not read.day_and and (days is None or weekdays is None):
        days = weekdays = None  # "on the 1st to 31st, or on a Monday" is every day
    return Fields(
        minutes=tuple(sorted(read.minutes)),
        hours=tuple(sorted(read.hours)),
        days=days,
        months=None if set(read.months) == set(_MONTHS) else tuple(sorted(read.months)),
        weekdays=weekdays,
    )


def timer_id(name: str) -> str:
    """A name that every service takes, unique to ``name``: at most 50 of ``a-z0-9-``, beginning with a letter."""
    if len(name) <= _TIMER_ID and re.fullmatch(r"[a-z](-?[a-z0-9])*", name) and not re.search(r"-[0-9a-f]{8}$", name):
        return name
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    slug = slug if slug[:1].isalpha() else f"a-{slug}"
    return f"{slug[: _TIMER_ID - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def native_zone(cron: str, timezone: str) -> str:
    """The zone to give a timer: UTC where that says the same, else ``timezone``.

    A schedule that comes at the same minutes of every hour does not depend on a zone whose offset is whole hours; in
    UTC no timer service has a doubtful hour, in autumn or in spring. Only ``*`` follows real time through those nights:
    hours that are listed, be it all of them, come once each on the clock. Raises ConfigInvalid for a zone that is none.
    """
    schedule.validate(cron, timezone)
    read = fields(cron)
    minute, hour, *_ = schedule.five_fields(cron).split()
    real_time = minute.startswith("*") or hour.startswith("*")
    every_hour = len(read.hours) == len(_HOURS) and read.days is None and read.months is None and read.weekdays is None
    whole = all(offset % timedelta(hours=1) == timedelta() for offset in _offsets(timezone))
    return "UTC" if real_time and every_hour and whole else timezone


# ── the services ─────────────────────────────────────────────────────────────────────────────────────────────────


def eventbridge(cron: str) -> str:
    """``cron(minutes hours day-of-month month day-of-week year)`` for EventBridge Scheduler."""
    read = fields(cron)
    days, weekdays = "*", "?"
    if read.days is not None:
        days = _aws_days(cron, read.days)
    elif read.weekdays is not None:
        days, weekdays = "?", _aws_weekdays(cron, read.weekdays)
    months = "*" if read.months is None else _text(read.months)
    return f"cron({_steps(read.minutes, _MINUTES, '0')} {_steps(read.hours, _HOURS, '0')} {days} {months} {weekdays} *)"


def cloud_scheduler(cron: str) -> str:
    """Five fields of numbers for Cloud Scheduler."""
    read = fields(cron)
    for what in (*(read.days or ()), *(read.weekdays or ())):
        if isinstance(what, str):
            raise _refused(
                cron,
                f"Cloud Scheduler has no {what}",
                "schedule the days it may be, and let the query look at the date",
            )
    days = "*" if read.days is None else _text(_numbers(read.days))
    weekdays = "*" if read.weekdays is None else _text(_numbers(read.weekdays))
    months = "*" if read.months is None else _text(read.months)
    return f"{_steps(read.minutes, _MINUTES, '*')} {_steps(read.hours, _HOURS, '*')} {days} {months} {weekdays}"


def logic_apps(cron: str, timezone: str) -> dict[str, Any]:
    """The ``recurrence`` of a Logic Apps trigger, with the zone's Windows name."""
    read = fields(cron)
    if read.days is not None or read.months is not None:
        raise _refused(
            cron, "Logic Apps has no days of the month and no months",
            "let it run daily or weekly, and let the query look at the date",
        )  # fmt: skip
    zone = windows_zone(native_zone(cron, timezone))
    out: dict[str, Any] = {"frequency": "Day", "interval": 1, "startTime": _START, "timeZone": zone}
    at: dict[str, Any] = {"hours": list(read.hours), "minutes": list(read.minutes)}
    if read.weekdays is not None:
        strange = [what for what in read.weekdays if isinstance(what, str)]
        if strange:
            raise _refused(
                cron,
                f"Logic Apps has no {strange[0]}",
                "let it run on that week day, and let the query look at the date",
            )
        out["frequency"] = "Week"
        at["weekDays"] = [_DAY_NAMES[day] for day in _numbers(read.weekdays)]
    if len(read.hours) == len(_HOURS) and read.weekdays is None and read.minutes == tuple(_MINUTES):
        # every minute: a list of all minutes of all hours is refused by the portal's editor, this is not
        return {"frequency": "Minute", "interval": 1, "startTime": _START, "timeZone": zone}
    return {**out, "schedule": at}


def windows_zone(timezone: str) -> str:
    """The Windows name of an IANA zone (CLDR's table), where both keep the same hours.

    Raises ConfigInvalid for a zone without one, or whose Windows namesake differs.
    """
    from tzlocal.windows_tz import tz_win, win_tz

    schedule.validate("0 0 * * *", timezone)
    if timezone in ("UTC", "GMT", "Etc/UTC", "Etc/GMT", "Etc/Zulu", "Zulu"):
        return "UTC"
    name = tz_win.get(timezone)
    if name is None or list(_offsets(win_tz[name])) != list(_offsets(timezone)):
        raise ConfigInvalid(
            f"Logic Apps knows Windows time zones only, and none is the same as {timezone!r}: choose a city near by "
            "that keeps the same hours, or UTC.", timezone=timezone,
        )  # fmt: skip
    return str(name)


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _days(read: Iterable[int]) -> tuple[int | str, ...] | None:
    found = set(read)
    named = {-1000: _LAST, -1001: _LAST_WEEKDAY}  # cronsim's marks
    if set(_DAYS) <= found:
        return None
    return (*sorted(d for d in found if d > 0), *(text for mark, text in named.items() if mark in found))


def _weekdays(read: Iterable[Any]) -> tuple[int | str, ...] | None:
    plain, strange = set(), set()
    for what in read:
        if isinstance(what, tuple):
            day, nth = what
            strange.add(f"{day % 7}L" if nth < 0 else f"{day % 7}#{nth}")
        else:
            plain.add(what % 7)
    if plain == set(_WEEK):
        return None
    return (*sorted(plain), *sorted(strange))


def _aws_days(cron: str, days: tuple[int | str, ...]) -> str:
    if days == (_LAST,):
        return _LAST
    if any(isinstance(day, str) for day in days):
        raise _refused(
            cron,
            "EventBridge has L alone only, and no LW",
            "schedule the days it may be, and let the query look at the date",
        )
    return _text(_numbers(days))


def _aws_weekdays(cron: str, weekdays: tuple[int | str, ...]) -> str:
    """Its week days count from Sunday = 1."""
    strange = [what for what in weekdays if isinstance(what, str)]
    if strange and len(weekdays) > 1:
        raise _refused(cron, f"EventBridge has {strange[0]} alone only", "write it as two alerts")
    if strange:
        return f"{int(strange[0][0]) + 1}{strange[0][1:]}"
    return _text([day + 1 for day in _numbers(weekdays)])


def _numbers(values: Iterable[int | str]) -> list[int]:
    return [value for value in values if isinstance(value, int)]


def _steps(values: tuple[int, ...], everything: range, start: str) -> str:
    """``*``, ``start/step`` where the values go through the whole range in equal steps, else a list."""
    if len(values) == len(everything):
        return "*"
    step = values[1] - values[0] if len(values) > 2 else 0
    if step > 1 and values == tuple(everything)[values[0] :: step]:
        if start == "0":
            return f"{values[0]}/{step}"
        return f"*/{step}" if values[0] == 0 else f"{values[0]}-{everything[-1]}/{step}"
    return _text(values)


def _text(values: Iterable[int]) -> str:
    """``1-5,8``: a list, with what is in a row as a range."""
    out: list[list[int]] = []
    for value in sorted(values):
        if out and value == out[-1][-1] + 1:
            out[-1].append(value)
        else:
            out.append([value])
    return ",".join(
        f"{row[0]}-{row[-1]}" if len(row) > 2 else ",".join(map(str, row)) for row in out
    )  # fmt: skip


def _offsets(timezone: str) -> Iterable[timedelta]:
    """The zone's offset from UTC at every sixth hour of two years, as the zone's rules are known today."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(timezone)
    start = datetime(2027, 1, 1, tzinfo=UTC)
    for quarter in range(2 * 366 * 4):
        yield (start + timedelta(hours=6 * quarter)).astimezone(zone).utcoffset() or timedelta()


def _refused(cron: str, why: str, instead: str) -> ConfigInvalid:
    return ConfigInvalid(f"The schedule {cron!r} cannot be expressed: {why}. Either {instead}.", schedule=cron[:100])


# ── a whole project ──────────────────────────────────────────────────────────────────────────────────────────────

SWEEP = "sweep"
"""The timer that drains outboxes and finds missed slots, every minute."""
CLOUDS = ("aws", "gcp", "azure")


def native(cloud: str, cron: str, timezone: str) -> dict[str, Any]:
    """What the cloud's timer is told: ``{"expression"}``, ``{"schedule"}`` or ``{"recurrence"}``."""
    if cloud == "aws":
        return {"expression": eventbridge(cron)}
    if cloud == "gcp":
        return {"schedule": cloud_scheduler(cron)}
    return {"recurrence": logic_apps(cron, timezone)}


def timers(rules: Iterable[Rule], cloud: str) -> dict[str, dict[str, Any]]:
    """Every timer that a project needs on ``cloud``, by name: ``{"id", "cron", "timezone", "payload", "native"}``.

    One per enabled alert with a schedule, and the sweep. ``timezone`` is the one to give the timer (``native_zone``).
    Raises ConfigInvalid that names every alert whose schedule the cloud cannot express, with its file and line.
    """
    if cloud not in CLOUDS:
        raise ConfigInvalid(f"Unknown cloud {cloud!r}: aws, gcp or azure.", cloud=cloud)
    found: dict[str, dict[str, Any]] = {}
    wrong: list[tuple[str, ConfigInvalid]] = []
    for rule in sorted(rules, key=lambda rule: rule.name):
        if not rule.enabled or not rule.schedule:
            continue
        try:
            if rule.name == SWEEP:
                raise ConfigInvalid(f"{SWEEP!r} is the name of the sweep's own timer: give the alert another")
            found[rule.name] = _timer(rule.name, cloud, rule.schedule, rule.timezone, {"alert": rule.name})
        except ConfigInvalid as error:
            wrong.append((f"{rule.place}: alert {rule.name!r}: {error.message}", error))
    if wrong:
        first = wrong[0][1].details
        raise ConfigInvalid("\n".join(text for text, _ in wrong), alerts=len(wrong), **first)
    return {**found, SWEEP: _timer(SWEEP, cloud, "* * * * *", "UTC", {"sweep": True})}


def _timer(name: str, cloud: str, cron: str, timezone: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": timer_id(name),
        "cron": cron,
        "timezone": native_zone(cron, timezone),
        "payload": payload,
        "native": native(cloud, cron, timezone),
    }


def as_terraform(value: Mapping[str, Any]) -> str:
    """JSON as Terraform's jsonencode writes it, so that a timer is the same text whoever made it."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text
