"""``rowid`` of SQLite, which is no column: of a derived table, which stands for each table here, it is silently NULL.

So where a query names it, the derived table gets a column of that name; where that cannot be, the query is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

from core.errors import SqlRejected
from core.model import Table
from core.query.names import references_of

if TYPE_CHECKING:
    from core.deadline import Deadline
    from core.query.plan import BoundRef

NAMES = ("rowid", "_rowid_", "oid")


class HasRowids(Protocol):
    def rowid(self, table: Table, deadline: Deadline) -> str | None:
        """The name under which the table's own rowid can be read, None where it has none."""
        ...


def needed(
    tree: exp.Query, bound: Sequence[BoundRef], source: HasRowids, deadline: Deadline
) -> Mapping[int, tuple[tuple[str, str], ...]]:
    """By reference (the id of its node) the columns it needs besides its own. Raises SqlRejected."""
    by_node = {id(b.ref.node): b for b in bound}
    found: dict[int, dict[str, str]] = {}
    for column in [c for c in tree.find_all(exp.Column) if c.name.lower() in NAMES]:
        name = column.name.lower()
        for node in _may_mean(column, tree, name, by_node):
            b = by_node.get(id(node))
            if b is None:
                raise _refused(name, "what it is asked of is no table")
            found.setdefault(id(node), {})[name] = _readable(b, name, source, deadline)
    if found:
        _check_whole_rows(tree)
    return {node: tuple(columns.items()) for node, columns in found.items()}


def _may_mean(column: exp.Column, tree: exp.Query, name: str, by_node: Mapping[int, BoundRef]) -> list[exp.Expr]:
    """The references whose rowid it would be, none where a column or an output has that name."""
    select = column.find_ancestor(exp.Select)
    outermost = select
    while select is not None:
        here = [r for r in references_of(select) if not column.table or _name(r) == column.table.lower()]
        if any(_has(r, name, tree, by_node) for r in here):
            return []
        if here:
            return here
        select = select.find_ancestor(exp.Select)
    if outermost is None or column.table:
        return []  # of a set operation, or a qualifier that is nothing: for SQLite to say
    raise _refused(name, "nothing is read there")


def _name(node: exp.Expr) -> str:
    return (node.alias or node.name).lower()


def _has(node: exp.Expr, name: str, tree: exp.Query, by_node: Mapping[int, BoundRef]) -> bool:
    """Whether the reference has a column that is really called so."""
    b = by_node.get(id(node))
    alias = node.args.get("alias")
    if alias is not None and any(c.name.lower() == name for c in alias.args.get("columns") or []):
        return True
    if b is not None:
        return b.visible.table.column(name) is not None
    cte = _cte(node, tree)
    if cte is not None and any(c.name.lower() == name for c in cte.args["alias"].args.get("columns") or []):
        return True
    inner = node.this if isinstance(node, exp.Subquery) else cte and cte.this
    return isinstance(inner, exp.Query) and name in {output.lower() for output in inner.named_selects}


def _cte(node: exp.Expr, tree: exp.Query) -> exp.CTE | None:
    return next((cte for cte in tree.find_all(exp.CTE) if cte.alias == node.name), None)


def _readable(b: BoundRef, name: str, source: HasRowids, deadline: Deadline) -> str:
    decision = b.visible.decision
    if decision.restricts_rows or decision.masks:
        # It may be a column that is hidden, and its gaps tell how many rows are.
        raise _refused(name, f"of {b.visible.table.full_name} you may not see all")
    readable = source.rowid(b.visible.origin, deadline)
    if readable is None:
        raise _refused(name, f"{b.visible.table.full_name} has none")
    return readable


def _check_whole_rows(tree: exp.Query) -> None:
    for star in tree.find_all(exp.Star):
        if not isinstance(star.parent, exp.Count):
            raise SqlRejected("Beside rowid the columns have to be named: * would show it as one of them.")
    for join in tree.find_all(exp.Join):
        using = [u.name.lower() for u in join.args.get("using") or []]
        if str(join.args.get("method") or "").upper() == "NATURAL" or set(using) & set(NAMES):
            raise SqlRejected("Beside rowid a join needs ON: NATURAL and USING would take it for a column.")


def _refused(name: str, why: str) -> SqlRejected:
    return SqlRejected(
        f"{name} cannot be read here: {why}. Use a column, such as its INTEGER PRIMARY KEY.", column=name
    )
