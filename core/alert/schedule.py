"""When an alert is due: five-field cron (or @hourly and its like) in a zone, right through both nights of DST.

A time of day that spring skips fires at the end of the gap; one that autumn repeats fires once; ``*`` in the hour or
minute field follows real time. Week days count from Sunday = 0, as in cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.cron import ALIASES
from core.errors import ConfigInvalid


def validate(cron: str, tz: str) -> None:
    """Raise ConfigInvalid saying what is wrong with the schedule or the zone, and what would be right."""
    _zone(tz)
    next_after(cron, tz, datetime(2024, 1, 1, tzinfo=UTC))


def next_after(cron: str, tz: str, after: datetime) -> datetime:
    """The first slot later than ``after``, in UTC."""
    return next(_slots(cron, tz, after))


def previous_at_or_before(cron: str, tz: str, at: datetime) -> datetime | None:
    """The last slot not later than ``at``, in UTC; None where there was none in the 50 years before."""
    from cronsim import CronSim

    zone = _zone(tz)
    known = _window.get((cron, tz))
    if known is not None and known[0] <= at < known[1]:
        return known[0]
    back = CronSim(five_fields(cron), at.astimezone(zone) + timedelta(days=1), reverse=True)
    earlier = None
    for slot in back:  # walking back is only for a place to begin: the slots are those that walking forward meets
        if slot.astimezone(UTC) < at - timedelta(hours=3):
            earlier = slot.astimezone(UTC)
            break
    last = None
    for slot in _slots(cron, tz, (earlier or at - timedelta(hours=3)) - timedelta(seconds=1)):
        if slot > at:
            if last is not None:
                _remember(cron, tz, last, slot)
            return last
        last = slot
    return last


def between(cron: str, tz: str, after: datetime, before: datetime) -> Iterator[datetime]:
    """The slots strictly between two instants, oldest first."""
    for slot in _slots(cron, tz, after):
        if slot >= before:
            return
        yield slot


# A sweep asks the same for every alert, every minute; most answers stay what they were.
_window: dict[tuple[str, str], tuple[datetime, datetime]] = {}


def _remember(cron: str, tz: str, last: datetime, following: datetime) -> None:
    if len(_window) > 10_000:
        _window.clear()
    _window[cron, tz] = (last, following)


def _slots(cron: str, tz: str, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    zone = _zone(tz)
    try:
        walk = CronSim(five_fields(cron), after.astimezone(zone))
    except CronSimError as error:
        raise _bad(cron, str(error)) from None
    for slot in walk:
        found = slot.astimezone(UTC)
        if found > after:  # within a repeated hour the walk begins with the first of the two
            yield found
    raise _bad(cron, "it never comes")


@lru_cache(maxsize=1024)
def five_fields(cron: str) -> str:
    """The cron without its alias. Raises ConfigInvalid for an unknown alias or another number of fields."""
    text = cron.strip()
    if text.startswith("@"):
        if text.lower() not in ALIASES:
            raise _bad(cron, f"known aliases are {', '.join(ALIASES)}")
        return ALIASES[text.lower()]
    if len(text.split()) != 5:
        raise _bad(cron, f"it has {len(text.split())} fields")
    return text


def _bad(cron: str, why: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"The schedule {cron[:100]!r} is not valid: {why}. Write five fields (minute hour day month weekday), "
        "such as '0 9 * * 1-5', or an alias such as @hourly.",
        schedule=cron[:100],
    )


@lru_cache(maxsize=256)
def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigInvalid(
            f"There is no time zone {tz[:100]!r}. Use an IANA name such as Europe/Berlin or UTC.", timezone=tz[:100]
        ) from None
