"""Names before a dot become aliases: in the engine a table has no source, and each reference one name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from core.errors import SqlRejected
from core.query.names import joined, references_of

if TYPE_CHECKING:
    from core.query.parse import Statement
    from core.query.plan import BoundRef


def qualify(statement: Statement, bound: Sequence[BoundRef]) -> None:
    """``source.table.column`` -> ``alias.column``; tables of one name in two sources get different aliases.

    Raises SqlRejected where a name before a dot may be either of two tables.
    """
    plain = [b for b in bound if not b.ref.node.alias]
    shared = _shared(statement.tree, plain)
    own = {id(b.ref.node): b for b in plain if b.ref.alias.lower() in shared}
    meant = _meant(statement.tree, shared, own) if own else []
    for b in own.values():
        b.ref.alias = _own_alias(b, statement.names)
    for column, b in meant:
        _set_table(column, b.ref.alias)
    aliases = {_key(b): b.ref.alias for b in plain}
    for column in statement.tree.find_all(exp.Column):
        if column.args.get("db"):
            parts = [p.name for p in column.parts][:-1]
            alias = aliases.get((parts[0].lower(), ".".join(parts[1:]).lower()))
            if alias is not None:
                _set_table(column, alias)


def _key(b: BoundRef) -> tuple[str, str]:
    table = b.visible.table
    return table.source.lower(), table.name.lower()


def _shared(tree: exp.Query, plain: Sequence[BoundRef]) -> set[str]:
    """Names under which the query reads tables without an alias, and one SELECT or another source something else."""
    keys: dict[str, set[tuple[str, str]]] = {}
    for b in plain:
        keys.setdefault(b.ref.alias.lower(), set()).add(_key(b))
    shared = {name for name, found in keys.items() if len(found) > 1}
    nodes = {id(b.ref.node) for b in plain}
    for select in tree.find_all(exp.Select):
        names = [(_name(one), id(one) in nodes) for one in references_of(select)]
        others = {name for name, is_plain in names if not is_plain}
        shared |= {name for name, is_plain in names if is_plain and name in others}
    return shared


def _name(node: exp.Expr) -> str:
    return (node.alias or node.name).lower()


def _own_alias(b: BoundRef, taken: frozenset[str]) -> str:
    alias = f"{b.visible.table.source}_{b.visible.table.name}".replace(".", "_")
    while alias.lower() in taken:
        alias += "_"
    return alias


def _meant(tree: exp.Query, shared: set[str], own: Mapping[int, BoundRef]) -> list[tuple[exp.Column, BoundRef]]:
    """``u.x`` means the u that is nearest around it, in its own SELECT or in one that this is part of."""
    meant: list[tuple[exp.Column, BoundRef]] = []
    for column in tree.find_all(exp.Column):
        if column.args.get("db") or not column.table or column.table.lower() not in shared:
            continue
        found = _nearest(column, column.table.lower())
        mine = [own[id(node)] for node in found if id(node) in own]
        if len({_key(b) for b in mine}) > 1 or (mine and len(mine) < len(found)):
            told = " or ".join(
                sorted({b.visible.table.full_name for b in mine}) + ["an alias"] * (len(mine) < len(found))
            )
            raise SqlRejected(
                f"{column.table} may be {told} here. Write source.table, or give each an alias.", table=column.table
            )
        meant += [(column, mine[0])] if mine else []
    return meant


def _nearest(node: exp.Expr, name: str) -> list[exp.Expr]:
    """The references of that name in the nearest SELECT around ``node`` that has one."""
    select = node.find_ancestor(exp.Select)
    while select is not None:
        found = [one for one in _in_sight(select, node) if _name(one) == name]
        if found:
            return found
        select = select.find_ancestor(exp.Select)
    return []


def _in_sight(select: exp.Select, node: exp.Expr) -> list[exp.Expr]:
    """What a name of ``node`` may mean: in an ON what stands before it; elsewhere all but the right of SEMI, ANTI."""
    from_ = select.args.get("from_")
    found = list(joined(from_.this)) if from_ is not None else []
    for join in select.args.get("joins") or []:
        on = join.args.get("on")
        if on is not None and any(part is node for part in on.walk()):
            return [*found, *joined(join.this)]
        if str(join.kind or "").upper() not in ("SEMI", "ANTI"):
            found += joined(join.this)
    return found


def _set_table(column: exp.Column, alias: str) -> None:
    column.set("db", None)
    column.set("catalog", None)
    column.set("table", exp.to_identifier(alias, quoted=True))
