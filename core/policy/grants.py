"""Policies as written in YAML, and what they decide for one principal. Default deny.

A policy's ``rows`` are alternatives: a rule applies when the principal has one of its roles (or it names none), and
then lets in the rows of its ``where``. Several policies for one table add up: rows by union, masks by restriction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from core.model import EVERY_ROW, AllOf, AnyOf, Column, Compare, Comparison, Condition, Principal, Scalar

MaskKind = Literal["null", "hash", "redact", "last4", "year", "bucket", "deny"]
_STRENGTH: dict[MaskKind, int] = {"bucket": 1, "year": 2, "last4": 3, "hash": 4, "redact": 5, "null": 6, "deny": 7}

USER = "$user."


@dataclass(frozen=True, slots=True)
class Mask:
    """``width`` is the size of a bucket."""

    kind: MaskKind
    width: float = 0.0


def masked_type(column: Column, mask: Mask) -> str:
    """The column's type as the asker sees it."""
    if mask.kind in ("hash", "redact", "last4"):
        return "VARCHAR"
    if mask.kind == "bucket":
        return "DOUBLE"
    return column.type


@dataclass(frozen=True, slots=True)
class RowRule:
    """``where``: (column, comparison, value or ``$user.NAME``), all of which must hold."""

    roles: frozenset[str] = frozenset()
    where: tuple[tuple[str, Comparison, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class MaskRule:
    column: str
    mask: Mask
    unless_roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """Rows as mappings that ``user`` must or must not see."""

    user: Principal
    sees: tuple[Mapping[str, Any], ...] = ()
    hides: tuple[Mapping[str, Any], ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class TablePolicy:
    """``table`` is ``source.table``, or a pattern with ``*``."""

    table: str
    rows: tuple[RowRule, ...]
    masks: tuple[MaskRule, ...] = ()
    tests: tuple[PolicyTest, ...] = ()
    place: str = ""

    def covers(self, full_name: str) -> bool:
        return fnmatchcase(full_name.lower(), self.table.lower())


@dataclass(frozen=True, slots=True)
class Decision:
    """What a principal may see of one table. ``masks`` by lower-case column name."""

    rows: Condition = EVERY_ROW
    masks: Mapping[str, Mask] = field(default_factory=dict)

    @property
    def restricts_rows(self) -> bool:
        return self.rows != EVERY_ROW


def decide(policies: Iterable[TablePolicy], full_name: str, principal: Principal) -> Decision | None:
    """The decision for ``source.table``, or None: not visible. Pure."""
    alternatives: list[Condition] = []
    masks: dict[str, Mask] = {}
    for policy in policies:
        if not policy.covers(full_name):
            continue
        alternatives += [c for rule in policy.rows if (c := _applies(rule, principal)) is not None]
        for rule in policy.masks:
            if rule.unless_roles & principal.roles:
                continue
            known = masks.get(rule.column.lower())
            if known is None or _STRENGTH[rule.mask.kind] > _STRENGTH[known.kind]:
                masks[rule.column.lower()] = rule.mask
    if not alternatives:
        return None
    if EVERY_ROW in alternatives:
        return Decision(EVERY_ROW, masks)
    return Decision(alternatives[0] if len(alternatives) == 1 else AnyOf(tuple(alternatives)), masks)


def reaches(policies: Iterable[TablePolicy], source: str, principal: Principal) -> bool:
    """Whether some table of ``source`` may be visible; True in doubt."""
    start = f"{source.lower()}."
    for policy in policies:
        fixed = re.split(r"[*?[]", policy.table.lower(), maxsplit=1)[0]
        if (start.startswith(fixed) or fixed.startswith(start)) and any(
            _applies(rule, principal) is not None for rule in policy.rows
        ):
            return True
    return False


def _applies(rule: RowRule, principal: Principal) -> Condition | None:
    """The rule's condition for this principal, or None where it gives nothing."""
    if rule.roles and not rule.roles & principal.roles:
        return None
    parts: list[Condition] = []
    for column, op, raw in rule.where:
        value = _value(raw, principal)
        if value is _UNKNOWN:
            return None  # a rule over an attribute the principal lacks lets nothing in
        if op in ("in", "not in"):
            value = tuple(value) if isinstance(value, tuple | list | frozenset) else (value,)
        elif isinstance(value, tuple | list | frozenset):
            return None
        parts.append(Compare(column, op, value))
    if not parts:
        return EVERY_ROW
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


_UNKNOWN: Any = object()


def _value(raw: Any, principal: Principal) -> Any:
    if isinstance(raw, str) and raw.startswith(USER):
        return attribute(principal, raw.removeprefix(USER))
    if isinstance(raw, list | tuple):
        return tuple(_value(item, principal) for item in raw)
    return raw


def attribute(principal: Principal, name: str) -> Scalar | tuple[Scalar, ...]:
    """What ``$user.NAME`` means for this principal; a marker that denies when it has no such attribute."""
    if name == "name":
        return principal.name
    if name == "tenant":
        return principal.tenant
    if name == "teams":
        return principal.teams
    if name == "roles":
        return tuple(sorted(principal.roles))
    value = principal.attributes.get(name, _UNKNOWN)
    return tuple(value) if isinstance(value, list) else value
