"""PostgreSQL reads ``x.f`` and ``(x).f`` as a call of the function f where x has no column f: any function, unlisted.

So each qualified name of a query in its dialect has to be a column that we know of. Scopes are not resolved: where
one name stands for several references, the column has to be one of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from core.errors import SqlRejected
from core.query.names import fold, joined, references_of

if TYPE_CHECKING:
    from core.query.plan import BoundRef

_DIALECT = "postgres"
_DEPTH = 60
_FUNCTION_COLUMNS = {"json_each": frozenset({"key", "value"})}


def check(tree: exp.Query, bound: Sequence[BoundRef]) -> None:
    """Raises SqlRejected for the first name that might be a function."""
    known = _References(tree, bound)
    for dot in tree.find_all(exp.Dot):
        if not isinstance(dot.expression, exp.Star):
            raise _rejected(dot)
    for column in tree.find_all(exp.Column):
        if isinstance(column.this, exp.Star) or not column.args.get("table"):
            continue
        if column.args.get("db") or not isinstance(column.this, exp.Identifier):
            raise _rejected(column)
        if not known.have(fold(column.args["table"], _DIALECT), fold(column.this, _DIALECT)):
            raise _rejected(column)


def _rejected(node: exp.Expr) -> SqlRejected:
    text = node.sql(dialect=_DIALECT, comments=False)
    return SqlRejected(
        f"{text[:80]} is no column that is known here, and PostgreSQL would take it for a call of a function. Name the "
        "columns of subqueries and functions (AS name), and give each table an alias of its own.",
        name=text[:80],
    )


class _References:
    """What may stand before a dot, by name, with the columns of each reference of that name."""

    def __init__(self, tree: exp.Query, bound: Sequence[BoundRef]) -> None:
        self._tables = {id(b.ref.node): [c.name for c in b.visible.table.columns] for b in bound}
        self._ctes = {cte.args["alias"].this.name: cte for cte in tree.find_all(exp.CTE)}
        self._found: dict[str, list[frozenset[str]]] = {}
        for node in tree.find_all(exp.Table, exp.Subquery, exp.Unnest, exp.Values, exp.Lateral):
            name = self._name(node)
            if name:
                self._found.setdefault(name, []).append(frozenset(n for n in self._columns(node, 0) if n))

    def have(self, name: str, column: str) -> bool:
        return name in self._found and all(column in columns for columns in self._found[name])

    def _name(self, node: exp.Expr) -> str:
        alias = node.args.get("alias")
        if isinstance(alias, exp.TableAlias) and isinstance(alias.this, exp.Identifier):
            return fold(alias.this, _DIALECT)
        return fold(node.this, _DIALECT) if isinstance(node.this, exp.Identifier) else ""

    def _columns(self, node: exp.Expr, depth: int) -> list[str]:
        """The names of what a reference shows, in order; '' for one that we do not know, nothing where even their
        number is unknown."""
        alias = node.args.get("alias")
        given = [fold(c, _DIALECT) for c in alias.columns] if isinstance(alias, exp.TableAlias) else []
        own = list(self._own(node, depth + 1)) if depth < _DEPTH else []
        return given + own[len(given) :]

    def _own(self, node: exp.Expr, depth: int) -> Iterable[str]:
        inner = node.this
        if id(node) in self._tables:
            return self._tables[id(node)]
        if isinstance(node, exp.Lateral):
            return self._columns(inner, depth) if isinstance(inner, exp.Subquery) else self._of_function(node)
        if isinstance(node, exp.Subquery):
            if isinstance(inner, exp.Query):
                return self._outputs(inner, depth)
            return [name for one in joined(inner) for name in self._columns(one, depth)]
        if isinstance(node, exp.Table) and isinstance(inner, exp.Identifier):
            cte = self._ctes.get(inner.name)
            if cte is None:
                return []
            given = [fold(c, _DIALECT) for c in cte.args["alias"].columns]
            return given + list(self._outputs(cte.this, depth))[len(given) :]
        if isinstance(node, exp.Values):
            first = node.expressions[0] if node.expressions else None
            return [f"column{i + 1}" for i in range(len(first.expressions) if isinstance(first, exp.Tuple) else 1)]
        return self._of_function(node)

    def _of_function(self, node: exp.Expr) -> list[str]:
        """A function in FROM that gives one column shows it under its own alias."""
        function = node.this
        if isinstance(function, exp.Anonymous):
            return sorted(_FUNCTION_COLUMNS.get(function.name.lower(), ()))
        shown = [self._name(node)] * max(1, len(node.expressions) if isinstance(node, exp.Unnest) else 1)
        ordinality = node.args.get("offset")
        return [*shown, fold(ordinality, _DIALECT)] if isinstance(ordinality, exp.Identifier) else shown

    def _outputs(self, query: exp.Expr, depth: int) -> list[str]:
        if depth > _DEPTH:
            return []
        if isinstance(query, exp.Subquery):
            return self._outputs(query.this, depth + 1)
        if isinstance(query, exp.SetOperation):
            return self._outputs(query.this, depth + 1)
        if not isinstance(query, exp.Select):
            return []
        found: list[str] = []
        for shown in query.expressions:
            star = shown.this if isinstance(shown, exp.Column) else shown
            if isinstance(star, exp.Star):
                qualifier = fold(shown.args["table"], _DIALECT) if isinstance(shown, exp.Column) else ""
                for one in references_of(query):
                    if not qualifier or self._name(one) == qualifier:
                        found += self._columns(one, depth + 1)
            elif isinstance(shown, exp.Alias):
                found.append(fold(shown.args["alias"], _DIALECT))
            elif isinstance(shown, exp.Column) and isinstance(shown.this, exp.Identifier):
                found.append(fold(shown.this, _DIALECT))
            else:
                found.append("")  # PostgreSQL has rules for its name; we do not lean on them
        return found
