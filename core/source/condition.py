"""A Condition as SQL: quoted identifiers, bound parameters, and the same meaning in every database.

What is compared is what leaves: each dialect compares the very expression it would select, so that a pushed
predicate and the same predicate behind the fetch agree. No comparison made here can raise for any stored value.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.model import AllOf, AnyOf, Compare, Comparison, Condition, Faith, Operator
from core.source.literal import CANNOT, coerce, pushable

OPERATORS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=", "in")
EXACT_ALL: Mapping[Operator, Faith] = dict.fromkeys(OPERATORS, "exact")
TEXTS = ("VARCHAR", "JSON")
TRUE, FALSE = "(1=1)", "(1=0)"


class Side(Protocol):
    """What a dialect knows of one column: its type, the expression that leaves, and how it compares."""

    type: str

    def fitted(self, op: Comparison, value: Any) -> tuple[Comparison, Any] | bool:
        """The comparison as the dialect makes it; True: every value that is not NULL satisfies it, False: none."""
        ...

    def compare(self, op: str, placeholder: str, value: Any) -> str:
        """``<column> op placeholder``, false or NULL for stored values that are not of the type; never raises."""
        ...

    def text(self, op: str, placeholder: str) -> str:
        """contains, starts with, ends with; case-sensitive."""
        ...

    def not_null(self) -> str: ...

    def bind(self, value: Any) -> Any:
        """A coerced literal as the driver takes it."""
        ...


_OURS = f"omni_{os.urandom(12).hex()}_"
"""Begins the names of our parameters: a query in a database's own dialect stands beside them, and cannot guess it."""

_JUDGED: Mapping[str, tuple[type, ...]] = {"VARCHAR": (str,), "BIGINT": (int,), "BOOLEAN": (bool,)}


def judged(condition: Condition, kind: Callable[[str], str]) -> bool:
    """Whether ``holds`` can judge all of the condition; ``kind``: the type of a column."""
    if isinstance(condition, Compare):
        return kind(condition.column) in _JUDGED
    return all(judged(part, kind) for part in condition.parts)


def holds(condition: Condition, kind: Callable[[str], str], value: Callable[[str], Any]) -> bool:
    """The condition for one row in Python, as DuckDB has it. A value that is not of its type satisfies nothing."""
    if isinstance(condition, AllOf):
        return all(holds(part, kind, value) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(holds(part, kind, value) for part in condition.parts)
    expected, found = kind(condition.column), value(condition.column)
    if expected not in _JUDGED or type(found) not in _JUDGED[expected]:
        return False
    op = condition.op
    wanted = [
        coerce(v, expected) for v in (condition.value if isinstance(condition.value, tuple) else (condition.value,))
    ]
    if op == "in":
        return found in [w for w in wanted if w is not CANNOT]
    if any(w is CANNOT for w in wanted):
        return False
    if op == "not in":
        return found not in wanted
    return (
        not isinstance(condition.value, tuple)
        and (op not in _TEXT_OPS or expected == "VARCHAR")
        and (_HOLDS[op](found, wanted[0]))
    )


_TEXT_OPS = ("contains", "starts with", "ends with")
_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "contains": operator.contains,
    "starts with": str.startswith,
    "ends with": str.endswith,
}


@dataclass(slots=True)
class Where:
    """Collects parameters while a condition becomes SQL. ``side`` gives the column's Side by name, or None.

    ``mark``: what stands before a parameter's name.
    """

    side: Callable[[str], Side | None]
    params: dict[str, Any] = field(default_factory=dict)
    mark: str = ":"

    def sql(self, condition: Condition) -> str:
        """The condition as one SQL expression; a column that is not there makes its comparison false."""
        if isinstance(condition, AllOf):
            return " AND ".join(f"({self.sql(p)})" for p in condition.parts) or TRUE
        if isinstance(condition, AnyOf):
            return " OR ".join(f"({self.sql(p)})" for p in condition.parts) or FALSE
        return self._compare(condition)

    def narrow(self, predicates: Sequence[Compare]) -> tuple[str, bool]:
        """The predicates as SQL, and whether all of them are in it: one whose literal does not fit stays behind."""
        kept = [p for p in predicates if self._pushable(p)]
        return self.sql(AllOf(tuple(kept))), len(kept) == len(predicates)

    def _pushable(self, predicate: Compare) -> bool:
        side = self.side(predicate.column)
        if side is None:
            return False
        values = predicate.value if isinstance(predicate.value, tuple) else (predicate.value,)
        return all(pushable(v, side.type) for v in values)

    def _compare(self, c: Compare) -> str:
        side = self.side(c.column)
        if side is None:
            return FALSE
        if c.op in ("in", "not in"):
            return self._membership(side, c)
        if isinstance(c.value, tuple):
            return FALSE
        value = coerce(c.value, side.type)
        if value is CANNOT:
            return FALSE
        if c.op in ("contains", "starts with", "ends with"):
            return side.text(c.op, self._bind(side, value)) if side.type in TEXTS else FALSE
        return self._one(side, c.op, value)

    def _one(self, side: Side, op: Comparison, value: Any) -> str:
        fitted = side.fitted(op, value)
        if isinstance(fitted, bool):
            return side.not_null() if fitted else FALSE
        return side.compare(fitted[0], self._bind(side, fitted[1]), fitted[1])

    def _membership(self, side: Side, c: Compare) -> str:
        given = c.value if isinstance(c.value, tuple) else (c.value,)
        values = [coerce(v, side.type) for v in given]
        if c.op == "in":
            found = [self._one(side, "=", v) for v in values if v is not CANNOT]
            return " OR ".join(found) or FALSE
        # What is excluded has to be understood: a literal of another type satisfies nothing, in NOT IN as in !=.
        if any(v is CANNOT for v in values):
            return FALSE
        others = [self._one(side, "!=", v) for v in values]
        return " AND ".join([side.not_null(), *others])

    def _bind(self, side: Side, value: Any) -> str:
        name = f"{_OURS}{len(self.params)}"
        self.params[name] = side.bind(value)
        return f"{self.mark}{name}"
