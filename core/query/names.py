"""Which names of a query are tables, resolved lexically over every reference, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

if TYPE_CHECKING:
    from core.deadline import Deadline


@dataclass(slots=True)
class Ref:
    """One reference to a table that is not a CTE. ``source`` is None for a bare name.

    ``alias`` is the name by which the query's columns may qualify it.
    """

    node: exp.Table
    source: str | None
    table: str
    alias: str


def references(tree: exp.Query, dialect: str) -> Iterator[Ref]:
    """Every table reference that no CTE in scope answers, wherever it stands (subquery, VALUES, PIVOT, lateral).

    CTEs and what refers to them get fresh names here: what is left under its own name is a table that the gate has
    judged, or is not there. How a parser folds case can then not make one of the other.
    """
    prefix = fresh_prefix(frozenset(n.name.lower() for n in tree.find_all(exp.Identifier))) + "cte_"
    fresh: dict[int, str] = {id(cte): f"{prefix}{index}" for index, cte in enumerate(tree.find_all(exp.CTE))}
    answered: list[tuple[exp.Table, exp.CTE]] = []
    for node in list(tree.find_all(exp.Table)):
        if not isinstance(node.this, exp.Identifier):
            continue
        name, source = node.name, node.db or None
        if source is None and (cte := _cte_of(node, fold(node.this, dialect), dialect)) is not None:
            answered.append((node, cte))
            continue
        if node.catalog:
            source, name = node.catalog, f"{node.db}.{name}"
        yield Ref(node, source, name, node.alias or node.name)
    for node, cte in answered:
        if not node.alias:
            node.set("alias", exp.TableAlias(this=node.this.copy()))
        node.set("this", exp.to_identifier(fresh[id(cte)], quoted=True))
    for cte in tree.find_all(exp.CTE):
        cte.args["alias"].set("this", exp.to_identifier(fresh[id(cte)], quoted=True))


class HasSchemas(Protocol):
    def default_schema(self, deadline: Deadline) -> str:
        """The schema whose tables go by their name alone."""
        ...


def within(tree: exp.Query, refs: Iterable[Ref], database: str, default: str) -> None:
    """Read ``schema.table`` as a table of ``database``, whose tables outside the schema ``default`` are named so."""
    for ref in refs:
        if ref.source is None or ref.source.lower() == database.lower():
            continue
        schema, ref.source = ref.source, database
        if schema.lower() != default.lower():
            ref.table = f"{schema}.{ref.table}"
        for column in tree.find_all(exp.Column) if not ref.node.alias else ():
            if (column.catalog, column.db.lower(), column.table.lower()) == ("", schema.lower(), ref.alias.lower()):
                column.set("db", None)


def fold(identifier: exp.Identifier, dialect: str) -> str:
    """The name as the dialect compares it: ASCII letters in any case; in PostgreSQL a quoted name exactly."""
    if dialect == "postgres" and identifier.quoted:
        return identifier.name
    return "".join(c.lower() if c.isascii() else c for c in identifier.name)


def _cte_of(node: exp.Expr, name: str, dialect: str) -> exp.CTE | None:
    """The CTE that is visible at ``node`` under this (folded) name: of the nearest WITH, the last one before."""
    child, parent = node, node.parent
    while parent is not None:
        with_ = parent if isinstance(parent, exp.With) else parent.args.get("with_")
        if isinstance(with_, exp.With) and with_ is not child:
            found = _in_with(with_, child, name, dialect)
            if found is not None:
                return found
        child, parent = parent, parent.parent
    return None


def _in_with(with_: exp.With, child: exp.Expr, name: str, dialect: str) -> exp.CTE | None:
    """Of a WITH that ``child`` is under, or a member of: then only what stands before it, and itself if recursive."""
    found: exp.CTE | None = None
    for cte in with_.expressions:
        if not isinstance(cte, exp.CTE):
            continue
        same = fold(cte.args["alias"].this, dialect) == name
        if cte is child:
            return cte if same and with_.recursive else found
        if same:
            found = cte
    return found


def fresh_prefix(names: frozenset[str]) -> str:
    """A prefix that no name of the query begins with."""
    prefix = "__omni_"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    return prefix


def references_of(select: exp.Select) -> Iterator[exp.Expr]:
    """What a SELECT reads: tables, derived tables, functions, of FROM and of every join."""
    from_ = select.args.get("from_")
    if from_ is not None:
        yield from joined(from_.this)
    for join in select.args.get("joins") or []:
        yield from joined(join.this)


def joined(node: exp.Expr) -> Iterator[exp.Expr]:
    """A reference, and what is joined to it inside the same brackets."""
    if isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query) and not node.alias:
        yield from joined(node.this)
    else:
        yield node
    for join in node.args.get("joins") or []:
        yield from joined(join.this)
