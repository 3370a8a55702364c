"""Constants of a query that are dates and times."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlglot import exp

from core.query.values import NOW_MARK

_EPOCH = datetime(1970, 1, 1)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}($|[ T]\d{2}:\d{2})")


@dataclass(frozen=True, slots=True)
class Moment:
    """A constant DATE (``kind`` day) or TIMESTAMP (moment). ``base``: day number or microseconds; ``days`` are added.

    ``asked``: ``base`` is the time of asking, which a kept plan does not hold.
    """

    kind: str
    base: int
    days: int = 0
    asked: bool = False

    def iso(self) -> str:
        if self.kind == "day":
            return date.fromordinal(self.base + self.days).isoformat()
        return (_EPOCH + timedelta(microseconds=self.base)).isoformat(sep=" ")


def asked_of(moment: Moment) -> tuple[str, int]:
    """The kind and shift in microseconds, as ``asked`` has them, of a moment that the time of asking decides."""
    return ("date", moment.days * 86_400_000_000) if moment.kind == "day" else ("naive", 0)


def constant_moment(node: exp.Expr) -> Moment | None:
    """The constant that ``node`` is: a DATE or TIMESTAMP literal, a DATE plus or minus whole days; or None."""
    if isinstance(node, exp.Paren):
        return constant_moment(node.this)
    if isinstance(node, exp.Add | exp.Sub):
        base, step = constant_moment(node.this), node.expression
        if base is None or base.kind != "day" or not isinstance(step, exp.Literal) or not step.name.isdigit():
            return None
        days = int(step.name) if isinstance(node, exp.Add) else -int(step.name)
        moment = replace(base, days=base.days + days)
        return moment if date.min.toordinal() <= moment.base + moment.days <= date.max.toordinal() else None
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.is_string:
        return _literal_moment(node)
    return None


def _literal_moment(node: exp.Cast) -> Moment | None:
    asked = NOW_MARK in node.meta
    try:
        if not _ISO.match(node.this.name):
            return None
        if node.to.this == exp.DType.DATE:
            return Moment("day", date.fromisoformat(node.this.name).toordinal(), asked=asked)
        if node.to.this in (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ, exp.DType.DATETIME):
            delta = datetime.fromisoformat(node.this.name) - _EPOCH
            micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
            return Moment("moment", micros, asked=asked)
    except (ValueError, TypeError):
        return None
    return None
