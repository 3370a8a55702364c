"""Which slots nobody judged: between the last one that is accounted for and the one that is judged now. Pure.

Slots are counted from when their schedule is known to be in force, so that an edited or enabled alert owes nothing for
the time before. One that came while a run of its alert was on is not missed: that run took long, the next judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from core.alert import schedule
from core.alert.history import EARLY
from core.alert.slot import parse
from core.model import Rule

GRACE = timedelta(seconds=60)
"""How late a trigger may come before the slot is missed. A run stands for slots as long before its own."""

MOST = 1_000


def plan(rule: Rule) -> str:
    """When the rule is run, as text: the same text, the same slots. '' for never."""
    return f"{rule.schedule} {rule.timezone}" if rule.enabled and rule.schedule else ""


def is_ahead(item: Mapping[str, Any] | None, now: datetime) -> bool:
    """Whether the last slot lies in the future: it was judged under a clock that was ahead."""
    return bool(item and item.get("slot")) and parse((item or {})["slot"]) > now + EARLY


def accounted(item: Mapping[str, Any] | None) -> datetime | None:
    """Until when every slot was judged or told as missed; None where none ever was."""
    marks = [(item or {}).get("slot"), ((item or {}).get("missed") or {}).get("last")]
    return max((parse(mark) for mark in marks if mark), default=None)


def before(slot: datetime, rule: Rule, item: Mapping[str, Any] | None, since: datetime | None) -> list[datetime]:
    """The slots before ``slot`` that nobody judged, oldest first; of more than ``MOST`` some in between are
    left out. ``since``: not before."""
    marks = [mark for mark in (accounted(item), since) if mark is not None]
    if not plan(rule) or not marks:
        return []
    last = slot - GRACE + timedelta(microseconds=1)
    if max(marks) >= slot - GRACE:
        return []
    begun, ended = map(parse, (item or {}).get("ran") or ("9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"))
    found = schedule.between(str(rule.schedule), rule.timezone, max(marks), last)
    slots = list(islice((one for one in found if not begun <= one <= ended), MOST))
    if len(slots) == MOST:  # the newest is told in any case
        slots[-1] = schedule.previous_at_or_before(str(rule.schedule), rule.timezone, last) or slots[-1]
    return slots
