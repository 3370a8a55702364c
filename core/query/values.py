"""Values from outside the text: parameters, and the time of asking. Always as literals of the tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlglot import exp

from core.errors import SqlRejected
from core.query import asked

NOW_MARK = "omni_now"
"""Meta of a literal that stands for the time of asking, so that a plan can be kept without it."""


def replace(tree: exp.Query, found: Mapping[int, exp.Expr]) -> None:
    """Put ``found`` in the place of the nodes of these ids: each list that holds some is made anew once.

    ``Expr.replace`` goes over the whole list for each.
    """
    lists = {}
    for node in tree.walk():
        if id(node) not in found or node.parent is None or node.arg_key is None:
            continue
        if node.index is None:
            node.replace(found[id(node)])
        else:
            lists[id(node.parent), node.arg_key] = node.parent, node.arg_key
    for parent, key in lists.values():
        parent.set(key, [found.get(id(child), child) for child in parent.args[key]])


def bind(tree: exp.Query, params: Mapping[str, Any]) -> None:
    used, bound = set(), {}
    for node in tree.find_all(exp.Placeholder, exp.Parameter):
        name = node.name
        if not name or name == "?":
            raise SqlRejected("Positional parameters (?) are not supported. Name them: $name.")
        if name not in params:
            raise SqlRejected(f"The parameter ${name} has no value. Pass it (--param {name}=..., or params).", key=name)
        used.add(name)
        bound[id(node)] = literal(params[name], name)
    replace(tree, bound)
    unused = sorted(set(params) - used)
    if unused:
        raise SqlRejected(f"The query does not use the parameter {unused[0]!r}. Remove it or write ${unused[0]}.")


def literal(value: Any, name: str = "") -> exp.Expr:
    """A value as a tree node: never spliced as text. Raises SqlRejected for shapes SQL has no literal for."""
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int | float | Decimal):
        text = repr(value) if isinstance(value, float) else str(value)
        if not re.fullmatch(r"-?[0-9.]+(?:[eE][-+]?[0-9]+)?", text):
            return exp.cast(exp.Literal.string(text), "DOUBLE", dialect="duckdb")
        number = exp.Literal.number(text.lstrip("-"))
        return exp.Neg(this=number) if text.startswith("-") else number
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, list | tuple):
        return exp.Array(expressions=[literal(item, name) for item in value])
    raise SqlRejected(f"The parameter {name!r} has to be a text, number, boolean, null or a list of these.", key=name)


def fix_now(tree: exp.Query, now: datetime, timezone: str) -> None:
    """Replace now() and its kin by literals: one instant for all sources of one ask, the slot for an alert."""
    texts = asked.texts(now, timezone)
    casts = {
        kind: exp.cast(exp.Literal.string(texts[kind]), type_, dialect="duckdb") for kind, type_ in _NOW_TYPES.items()
    }
    found: dict[int, exp.Expr] = {}
    for node in tree.walk():
        if kind := _now_kind(node):
            found[id(node)] = fixed = casts[kind].copy()
            fixed.meta[NOW_MARK] = kind
    replace(tree, found)


_NOW_TYPES: Mapping[asked.Kind, str] = {
    "date": "DATE",
    "instant": "TIMESTAMPTZ",
    "naive": "TIMESTAMP",
    "time": "TIME",
}
_NOW_NAMES: Mapping[str, asked.Kind] = {
    "now": "instant",
    "transaction_timestamp": "instant",
    "get_current_timestamp": "instant",
    "today": "date",
    "current_localtimestamp": "naive",
    "current_localtime": "time",
    "get_current_time": "time",
}


def _now_kind(node: exp.Expr) -> asked.Kind | None:
    if isinstance(node, exp.CurrentDate):
        return "date"
    if isinstance(node, exp.CurrentTimestamp):
        return "instant"
    if isinstance(node, exp.Localtimestamp):
        return "naive"
    if isinstance(node, exp.CurrentTime | exp.Localtime):
        return "time"
    if isinstance(node, exp.Anonymous) and not node.expressions:
        return _NOW_NAMES.get(node.name.lower())
    return None


def keep_names(tree: exp.Query) -> None:
    """Name outputs whose text we are about to change (now(), subqueries) as the query spells them."""
    if not isinstance(tree, exp.Select):
        return
    tree.set("expressions", [_named(node) for node in tree.expressions])


def _named(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Alias | exp.Star | exp.Column):
        return node
    if isinstance(node, exp.Query | exp.Subquery) or any(_now_kind(n) or isinstance(n, exp.Query) for n in node.walk()):
        name = node.sql(dialect="duckdb", comments=False)
        return exp.alias_(node.copy(), name if len(name) <= 60 else name[:59] + "…", quoted=True)
    return node
