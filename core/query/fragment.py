"""A whole query that one database answers alone: written in that database's dialect, gated, run inside it.

Two ways in. A query in the database's own dialect says so (`dialect:`). A query in DuckDB's dialect may go down only
where every expression means exactly the same there, which ``portable`` decides by type; otherwise its tables are
scanned and DuckDB computes. Each table is a derived table with only the permitted columns and rows, closed by a
LIMIT or OFFSET that the database's planner does not move predicates across: a predicate of the query that fails
never meets a hidden row.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from sqlglot import exp

from core.errors import SqlRejected
from core.query import attributes, plan, portable, rowids, sqlite_text
from core.query.prepared import Prepared

if TYPE_CHECKING:
    from core.deadline import Deadline
    from core.query.parse import Statement
    from core.query.plan import BoundRef
    from core.source.base import SqlSource


class OrdersTexts(Protocol):
    """What a SQLite source can say besides."""

    def orders_by_code_points(self, deadline: Deadline) -> bool: ...


def native(
    statement: Statement,
    bound: Sequence[BoundRef],
    databases: Mapping[str, SqlSource],
    private_source: str | None,
    deadline: Deadline,
) -> Prepared:
    """A query in a database's own dialect. Raises SqlRejected where it is not about one such database.

    ``private_source``: where a query without a table runs.
    """
    sources = {b.visible.table.source for b in bound} or ({private_source} if private_source else set())
    fitting = [databases[s] for s in sources if s in databases and databases[s].dialect == statement.dialect]
    if len(sources) != 1 or not fitting:
        raise SqlRejected(
            f"A query in the dialect {statement.dialect} has to read tables of one {statement.dialect} source. "
            "Leave the dialect out to ask across sources.",
            dialect=statement.dialect,
        )
    _check_masks(bound)
    if statement.dialect == "postgres":
        attributes.check(statement.tree, bound)
    added: Mapping[int, tuple[tuple[str, str], ...]] = {}
    if statement.dialect == "sqlite":
        if private_source is not None:
            _quoted_texts(statement, bound)
        added = rowids.needed(statement.tree, bound, cast(rowids.HasRowids, fitting[0]), deadline)
    return _plan(statement, bound, fitting[0], None, deadline, whole=private_source is not None, added=added)


def from_duckdb(
    statement: Statement, bound: Sequence[BoundRef], databases: Mapping[str, SqlSource], deadline: Deadline
) -> tuple[Prepared | None, str]:
    """The fragment for a query in DuckDB's dialect, or None and why the tables are scanned instead."""
    sources = {b.visible.table.source for b in bound}
    if len(sources) != 1:
        return None, "it reads more than one source" if sources else "it reads no table"
    source = next(iter(sources))
    database = databases.get(source)
    if database is None or database.dialect != "sqlite":
        return None, f"{source} takes scans only" if database is not None else f"{source} is no SQL database"
    if not cast(OrdersTexts, database).orders_by_code_points(deadline):
        return None, f"{source} keeps texts in UTF-16, and orders them by it"
    if any(b.visible.decision.masks for b in bound):
        return None, "a table has masked columns"
    reason, output = portable.check(statement.tree, {id(b.ref.node): (b.ref.alias, b.visible.table) for b in bound})
    if output is None:
        return None, reason
    return _plan(statement, bound, database, output, deadline), ""


def _quoted_texts(statement: Statement, bound: Sequence[BoundRef]) -> None:
    """``status = "open"``: SQLite takes a double-quoted name that is no column for a text, and old files rely on it."""
    known = {c.name.lower() for b in bound for c in b.visible.table.columns} | {"rowid", "oid", "_rowid_"}
    known |= {node.alias.lower() for node in statement.tree.find_all(exp.Alias, exp.TableAlias, exp.CTE)}
    for alias in statement.tree.find_all(exp.TableAlias):
        known |= {column.name.lower() for column in alias.columns}
    for column in list(statement.tree.find_all(exp.Column)):
        name = column.this
        if not isinstance(name, exp.Identifier) or not name.quoted or column.table:
            continue
        # What a subquery calls an unnamed expression is a name as well.
        if name.name.lower() not in known and "(" not in name.name and not re.fullmatch(r"column\d+", name.name):
            column.replace(exp.Literal.string(name.name))


def _check_masks(bound: Sequence[BoundRef]) -> None:
    for b in bound:
        for column, mask in b.visible.decision.masks.items():
            if mask.kind not in ("null", "deny"):
                raise SqlRejected(
                    f"{b.visible.table.full_name}.{column} is masked for you in a way its database cannot compute. "
                    "Ask without a dialect.",
                    column=column,
                )


def _plan(
    statement: Statement,
    bound: Sequence[BoundRef],
    source: SqlSource,
    output: portable.Output | None,
    deadline: Deadline,
    *,
    whole: bool = False,
    added: Mapping[int, tuple[tuple[str, str], ...]] | None = None,
) -> Prepared:
    """``output`` None: the query is in the database's own dialect. ``whole``: all of the database may be read.

    ``added``: what a reference has to show besides its columns, by the id of its node.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    # Nobody can write a name into the query that is drawn now.
    marker = f"__omni_{os.urandom(12).hex()}_"
    for index, b in enumerate(bound):
        b.name = f"{marker}{index}_"
        names = None if output is None else statement.names
        more = (added or {}).get(id(b.ref.node), ())
        texts[b.name] = _permitted(b, source, names, values, deadline, whole=whole, added=more)
        plan.rename(b)
    moments = [] if output is None else sqlite_text.translate(statement.tree)
    template = statement.tree.sql(dialect=source.dialect, comments=False)
    return Prepared(
        source=source.name,
        sql=_filled(template, texts),
        shown=_filled(template, {b.name: b.visible.table.full_name for b in bound}, brackets=False),
        tables=tuple(dict.fromkeys(b.visible.table.full_name for b in bound)),
        filtered=tuple(sorted({b.visible.table.full_name for b in bound if b.visible.decision.restricts_rows})),
        masked=_masked(bound),
        values=values,
        moments=tuple(moments),
        types=output.types if output else (),
        decimals=output.decimals if output else {},
        schema="",
    )


def _filled(template: str, texts: Mapping[str, str], *, brackets: bool = True) -> str:
    """The template with each fresh name replaced: they are names that nothing else in the query has."""
    for name in sorted(texts, key=len, reverse=True):
        template = template.replace(f'"{name}"', f"({texts[name]})" if brackets else texts[name])
    return template


def _permitted(
    bound: BoundRef,
    source: SqlSource,
    names: frozenset[str] | None,
    values: dict[str, Any],
    deadline: Deadline,
    *,
    whole: bool,
    added: Sequence[tuple[str, str]],
) -> str:
    """The SELECT that stands for one reference. ``names``: of the query; None keeps all columns as they are stored."""
    visible = bound.visible
    if whole and not added:
        return source.permitted(visible.origin, None, visible.decision.rows, values, deadline)
    columns: list[tuple[str, str]] = []
    for column in visible.table.columns:
        name = exp.column(column.name, quoted=True)
        if column.name.lower() in visible.decision.masks:
            columns.append((column.name, "NULL"))
        elif names is None:
            columns.append((column.name, name.sql(dialect=source.dialect)))
        elif column.name.lower() in names:
            columns.append((column.name, sqlite_text.guarded(name, column.type).sql(dialect=source.dialect)))
    return source.permitted(visible.origin, [*columns, *added], visible.decision.rows, values, deadline)


def _masked(bound: Sequence[BoundRef]) -> tuple[str, ...]:
    found = {
        f"{b.visible.table.full_name}.{column}"
        for b in bound
        for column, mask in b.visible.decision.masks.items()
        if mask.kind != "deny"
    }
    return tuple(sorted(found))
