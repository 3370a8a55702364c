"""A whole query that one database answers alone: written in that database's dialect, gated, run inside it.

Two ways in. A query in the database's own dialect says so (`dialect:`). A query in DuckDB's dialect may go down only
where every expression means exactly the same there, which ``portable`` decides by type; otherwise its tables are
scanned and DuckDB computes. Each table is a derived table with only the permitted columns and rows, closed by a
LIMIT or OFFSET that the database's planner does not move predicates across: a predicate of the query that fails
never meets a hidden row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from core.errors import SqlRejected
from core.model import Table
from core.policy import condition
from core.policy.gate import Visible
from core.query import portable
from core.query.prepared import Prepared

if TYPE_CHECKING:
    from core.query.parse import Statement
    from core.query.plan import BoundRef


def native(
    statement: Statement, bound: Sequence[BoundRef], dialects: Mapping[str, str], private_source: str | None
) -> Prepared:
    """A query in a database's own dialect. Raises SqlRejected where it is not about one such database.

    ``private_source``: where a query without a table runs.
    """
    sources = {b.visible.table.source for b in bound} or ({private_source} if private_source else set())
    fitting = {s for s in sources if dialects.get(s) == statement.dialect}
    if len(sources) != 1 or not fitting:
        raise SqlRejected(
            f"A query in the dialect {statement.dialect} has to read tables of one {statement.dialect} source. "
            "Leave the dialect out to ask across sources.",
            dialect=statement.dialect,
        )
    _check_masks(bound)
    return _plan(statement, bound, sources.pop(), None, raw=True)


def from_duckdb(
    statement: Statement, bound: Sequence[BoundRef], dialects: Mapping[str, str]
) -> tuple[Prepared | None, str]:
    """The fragment for a query in DuckDB's dialect, or None and why the tables are scanned instead."""
    sources = {b.visible.table.source for b in bound}
    if len(sources) != 1:
        return None, "it reads more than one source" if sources else "it reads no table"
    source = next(iter(sources))
    if dialects.get(source) != "sqlite":
        return None, f"{source} takes scans only" if source in dialects else f"{source} is no SQL database"
    if any(b.visible.decision.masks for b in bound):
        return None, "a table has masked columns"
    reason, output = portable.check(statement.tree, {id(b.ref.node): (b.ref.alias, b.visible.table) for b in bound})
    if reason:
        return None, reason
    return _plan(statement, bound, source, output, raw=False), ""


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
    statement: Statement, bound: Sequence[BoundRef], source: str, output: portable.Output | None, *, raw: bool
) -> Prepared:
    dialect = statement.dialect if raw else "sqlite"
    masked: list[str] = []
    for b in bound:
        masked += _replace_table(b, dialect, None if raw else statement.names)
    moments = [] if raw else portable.translate(statement.tree)
    return Prepared(
        source=source,
        sql=statement.tree.sql(dialect=dialect, comments=False),
        tables=tuple(dict.fromkeys(b.visible.table.full_name for b in bound)),
        filtered=tuple(sorted({b.visible.table.full_name for b in bound if b.visible.decision.restricts_rows})),
        masked=tuple(sorted(set(masked))),
        moments=tuple(moments),
        types=output.types if output else (),
        decimals=output.decimals if output else {},
        schema="",
    )


def _replace_table(bound: BoundRef, dialect: str, names: frozenset[str] | None) -> list[str]:
    """Put the permitted derived table in the reference's place; returns its masked columns.

    ``names``: columns the query could mention, each as its declared type; None: all columns as they are stored.
    """
    node, visible = bound.ref.node, bound.visible
    alias = exp.TableAlias(this=exp.to_identifier(bound.ref.alias, quoted=True))
    decision = visible.decision
    if names is None and not decision.masks and not decision.restricts_rows:
        node.replace(exp.Table(**{**_table_args(visible.origin), "alias": node.args.get("alias") or alias}))
        return []
    derived = derived_table(visible, dialect, names)
    replacement = exp.Subquery(this=derived, alias=node.args.get("alias") or alias)
    for arg in ("joins", "pivots", "sample"):
        if node.args.get(arg):
            replacement.set(arg, node.args[arg])
    node.replace(replacement)
    return [f"{visible.table.full_name}.{c}" for c, m in decision.masks.items() if m.kind != "deny"]


def _table_args(table: Table) -> dict[str, exp.Identifier]:
    schema, _, name = table.name.rpartition(".")
    args = {"this": exp.to_identifier(name, quoted=True)}
    if schema:
        args["db"] = exp.to_identifier(schema, quoted=True)
    return args


def derived_table(visible: Visible, dialect: str, names: frozenset[str] | None) -> exp.Select:
    """``SELECT permitted columns FROM table WHERE permitted rows`` with a fence behind it."""
    columns: list[exp.Expr] = []
    for column in visible.table.columns:
        name = exp.column(column.name, quoted=True)
        if column.name.lower() in visible.decision.masks:
            columns.append(exp.alias_(exp.Null(), column.name, quoted=True))
        elif names is None:
            columns.append(name)
        elif column.name.lower() in names:
            columns.append(exp.alias_(portable.guarded(name, column.type), column.name, quoted=True))
    query = exp.select(*(columns or [exp.alias_(exp.Null(), "omni_none")])).from_(
        exp.Table(**_table_args(visible.origin))
    )
    if visible.decision.restricts_rows:
        query = query.where(condition.tree(visible.decision.rows, visible.origin))
        if dialect == "sqlite":
            query.set("limit", exp.Limit(expression=exp.Neg(this=exp.Literal.number(1))))
        query.set("offset", exp.Offset(expression=exp.Literal.number(0)))
    return query
