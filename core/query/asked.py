"""The time of asking as texts: what now() and its kin mean, and what is so much earlier or later.

A plan that is kept holds no time, only how its texts follow from one. Nothing here needs the parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

Kind = Literal["date", "instant", "naive", "time"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PARAMETER = "omni_now_"
_MICROSECOND = timedelta(microseconds=1)


def texts(now: datetime, timezone: str) -> dict[str, str]:
    """By kind: the date, the instant with its offset, and both without zone, of ``now`` (aware) in ``timezone``."""
    local = now.astimezone(ZoneInfo(timezone))
    naive = local.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return {
        "date": local.date().isoformat(),
        "instant": local.isoformat(sep=" ", timespec="microseconds"),
        "naive": naive,
        "time": naive[11:],
    }


def text(of: Mapping[str, str], kind: str, shift: int | None) -> str:
    """The text of ``kind``; with ``shift`` microseconds (whole days of a date), written as Python writes it.

    Raises OverflowError where a calendar ends.
    """
    if shift is None:
        return of[kind]
    if kind == "date":
        return (date.fromisoformat(of[kind]) + timedelta(microseconds=shift)).isoformat()
    return (datetime.fromisoformat(of[kind]) + timedelta(microseconds=shift)).isoformat(sep=" ")


class Asked(str):
    """A text of a plan that follows from the time of asking: a ``str`` that remembers how."""

    __slots__ = ("kind", "shift")
    kind: str
    shift: int | None

    def __new__(cls, value: str, kind: str, shift: int | None = None) -> Asked:
        made = super().__new__(cls, value)
        made.kind, made.shift = kind, shift
        return made


def microseconds(length: timedelta) -> int:
    return length // _MICROSECOND


def parameter(kind: str, shift: int) -> str:
    """The name of the parameter that stands for it: ``omni_now_date_m86400000000`` is the day before today."""
    return f"{PARAMETER}{kind}_{'m' if shift < 0 else 'p'}{abs(shift)}"


def value(name: str, of: Mapping[str, str]) -> str:
    """What the parameter of that name is. Raises OverflowError."""
    kind, _, shift = name.removeprefix(PARAMETER).rpartition("_")
    return text(of, kind, int(shift[1:]) * (-1 if shift[0] == "m" else 1))
