"""Statement + the catalog as its asker sees it -> Plan: what to scan, what narrows where, and why not.

Pure but for the catalog's look-ups. Narrowing is an optimisation: every predicate stays in the engine's SQL, so a
source that filters too little is slow and never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from core.errors import SqlRejected
from core.model import Column, Compare, Scan
from core.policy.gate import Lookup, PlannedScan, View, Visible
from core.query.names import Ref
from core.query.narrow import Narrowing, all_exact, equal_columns, narrowings, row_wise
from core.query.parse import Statement
from core.query.values import NOW_MARK


@dataclass(slots=True)
class BoundRef:
    """A table reference with the table it means; ``name`` is its fresh name in the engine."""

    ref: Ref
    visible: Visible
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """``tree`` reads only the fresh names of ``scans``; ``bound`` are the references in the order of the text."""

    tree: exp.Query
    bound: tuple[BoundRef, ...]
    scans: tuple[PlannedScan, ...]

    def without_pushdown(self) -> Plan:
        """The same plan that reads whole tables, but for what a table cannot be read without."""
        scans = []
        for planned in self.scans:
            required = {c.name for c in planned.scan.table.columns if c.required}
            narrow = tuple(n for n in planned.scan.narrow if n.column in required)
            scans.append(replace(planned, scan=replace(planned.scan, narrow=narrow, limit=None)))
        return replace(self, scans=tuple(scans))

    def engine_sql(self, marker: str | None = None) -> str:
        """The SQL for the engine, generated from the tree: the user's text is never executed.

        ``marker``: stands, with the kind behind it, for each text of the time of asking.
        """
        tree = self.tree if marker is None else self.tree.copy()
        for node in tree.find_all(exp.Cast) if marker is not None else ():
            if NOW_MARK in node.meta:
                node.set("this", exp.Literal.string(f"{marker}{node.meta[NOW_MARK]}"))
        try:
            return tree.sql(dialect="duckdb", comments=False)
        except RecursionError:
            raise SqlRejected("The query is nested too deeply. Split it with WITH.") from None


def bind(statement: Statement, view: View) -> tuple[BoundRef, ...]:
    """Find the table of every reference. Raises EntitlementDenied and SqlRejected (ambiguous name)."""
    return tuple(
        BoundRef(ref, view.find(ref.source, ref.table), f"{statement.fresh}{index}")
        for index, ref in enumerate(statement.refs)
    )


def plan(statement: Statement, bound: Sequence[BoundRef]) -> Plan:
    """Decide what each reference reads. Raises SqlRejected where a required column is not given."""
    found = narrowings(statement, bound)
    limit = _pushable_limit(statement, bound, found)
    lookups = _lookups(statement, bound, found)
    read_first = {lookup.other for lookup in lookups.values()}
    scans = []
    for b in bound:
        scan = _scan(b, statement, found[b.name], limit, lookups.get(b.name))
        scans.append(replace(scan, single_read=False) if b.name in read_first else scan)
    for b in bound:
        rename(b)
    return Plan(statement.tree, tuple(bound), tuple(scans))


def _missing(bound: BoundRef, found: Narrowing) -> Column | None:
    """The first column that the table cannot be read without and that no constant is given for."""
    given = {n.column for n in found.narrow if n.op in ("=", "in")}
    return next((c for c in bound.visible.table.columns if c.required and c.name not in given), None)


def _lookups(statement: Statement, bound: Sequence[BoundRef], found: Mapping[str, Narrowing]) -> dict[str, Lookup]:
    """Tables whose required column is joined with a column of a table that can be read by itself."""
    missing = {b.name: column for b in bound if (column := _missing(b, found[b.name])) is not None}
    lookups: dict[str, Lookup] = {}
    for pair in equal_columns(statement, bound) if missing else []:
        wanted = missing.get(pair.name)
        if wanted is not None and wanted.name == pair.column and pair.other not in missing:
            lookups.setdefault(pair.name, Lookup(pair.column, pair.other, pair.other_column))
    return lookups


def _scan(
    bound: BoundRef, statement: Statement, found: Narrowing, limit: int | None, lookup: Lookup | None
) -> PlannedScan:
    table = bound.visible.table
    column = _missing(bound, found)
    if column is not None and lookup is None:
        raise SqlRejected(
            f"{table.full_name} needs {column.name} = '...' (or IN, or a join on it) in the query: its API cannot "
            f"list all. {column.doc}".rstrip(),
            table=table.full_name,
            column=column.name,
        )
    scan = Scan(
        alias=bound.name,
        table=table,
        columns=_columns(bound, statement),
        narrow=_joined(found.narrow),
        limit=limit,
    )
    single_read = _single_read(bound.ref.node, statement)
    return PlannedScan(scan, bound.visible, single_read, tuple(found.kept), lookup)


def _joined(narrow: Sequence[Compare]) -> tuple[Compare, ...]:
    unique: list[Compare] = []
    for compare in narrow:
        if compare not in unique:
            unique.append(compare)
    return tuple(unique)


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(bound: BoundRef, statement: Statement) -> tuple[str, ...]:
    """Every column the query could mention by name; all that ``*`` shows where it could mean the whole row."""
    columns = bound.visible.table.columns
    alias = bound.ref.node.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        return tuple(c.name for c in columns if not c.hidden)  # renamed by their place
    everything = _whole_rows(bound, statement)
    wanted = [c.name for c in columns if c.name.lower() in statement.names or (everything and not c.hidden)]
    if not wanted:
        wanted = [_cheapest(columns).name]
    return tuple(wanted)


def _cheapest(columns: Sequence[Column]) -> Column:
    plain = [c for c in columns if not c.hidden] or list(columns)
    return min(plain, key=lambda c: c.type not in ("BIGINT", "INTEGER", "BOOLEAN"))


def _whole_rows(bound: BoundRef, statement: Statement) -> bool:
    alias = bound.ref.alias.lower()
    for node in statement.tree.find_all(exp.Star, exp.Columns, exp.Pivot, exp.Join, exp.Column, exp.PositionalColumn):
        if isinstance(node, exp.Star):
            if isinstance(node.parent, exp.Count):
                continue
            qualifier = node.parent.table if isinstance(node.parent, exp.Column) else ""
            if not qualifier or qualifier.lower() == alias:
                return True
        elif isinstance(node, exp.Join):
            if str(node.args.get("method") or "").upper() in ("NATURAL", "POSITIONAL"):
                return True
        elif isinstance(node, exp.Column):
            if isinstance(node.this, exp.Identifier) and node.name.lower() == alias:
                return True
        else:
            return True
    return False


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


def rename(bound: BoundRef) -> None:
    """Let the reference read its fresh name, under the alias it has in the query."""
    node = bound.ref.node
    if not node.alias:
        node.set("alias", exp.TableAlias(this=exp.to_identifier(bound.ref.alias, quoted=True)))
    node.set("this", exp.to_identifier(bound.name, quoted=True))
    node.set("db", None)
    node.set("catalog", None)
    _hide_raw(bound)


def _hide_raw(bound: BoundRef) -> None:
    """``*`` does not show a hidden column, even where the query also names it."""
    hidden = [c.name for c in bound.visible.table.columns if c.hidden]
    select = bound.ref.node.find_ancestor(exp.Select)
    if not hidden or select is None:
        return
    for node in select.expressions:
        star = node.this if isinstance(node, exp.Column) else node
        if isinstance(star, exp.Star) and any(
            isinstance(c, exp.Column) and c.name in hidden for c in select.find_all(exp.Column)
        ):
            star.set("except_", [*(star.args.get("except_") or []), *(exp.to_identifier(h) for h in hidden)])


# ── reading once ─────────────────────────────────────────────────────────────────────────────────────────────────


def _single_read(node: exp.Expr, statement: Statement) -> bool:
    """Is it certain that the engine reads this reference once? A stream can be read only once.

    Not certain inside a CTE that is used more than once or recursive, in a subquery used as a value, under PIVOT.
    """
    if statement.tree.find(exp.Pivot, exp.GroupingSets, exp.Cube, exp.Rollup):
        return False
    parent: Any = node.parent
    child: Any = node
    while parent is not None:
        if isinstance(parent, exp.With) and (parent.recursive or _uses(statement.tree, child.alias) != 1):
            return False
        if isinstance(parent, exp.In | exp.Exists | exp.Lateral):
            return False
        if isinstance(parent, exp.Subquery) and not isinstance(
            parent.parent, exp.From | exp.Join | exp.SetOperation | exp.CTE | exp.Subquery | None
        ):
            return False
        child, parent = parent, parent.parent
    return True


def _uses(tree: exp.Expr, name: str) -> int:
    return sum(1 for t in tree.find_all(exp.Table) if t.name.lower() == name.lower() and not t.db)


def _pushable_limit(statement: Statement, bound: Sequence[BoundRef], found: Mapping[str, Narrowing]) -> int | None:
    """The query's own LIMIT, where the plan is one table and nothing behind its source drops, groups or sorts rows."""
    tree = statement.tree
    if len(bound) != 1 or not isinstance(tree, exp.Select) or bound[0].ref.node.parent is not tree.args.get("from_"):
        return None
    stops = (
        "joins",
        "group",
        "having",
        "qualify",
        "order",
        "distinct",
        "windows",
        "laterals",
        "with_",
        "sample",
    )
    if not all_exact(tree, found[bound[0].name]):
        return None
    if any(tree.args.get(arg) for arg in stops) or not all(row_wise(e) for e in tree.expressions):
        return None
    if bound[0].ref.node.args.get("sample") or bound[0].ref.node.args.get("pivots"):
        return None
    count, skip = tree.args.get("limit"), tree.args.get("offset")
    numbers = [_number(count), _number(skip) if skip is not None else 0]
    return None if count is None or None in numbers else sum(n for n in numbers if n is not None)


def _number(node: exp.Expr | None) -> int | None:
    """Of LIMIT or OFFSET; None for one that is no plain number of rows (a share of them, an expression)."""
    if node is None or any(given for name, given in node.args.items() if name != "expression"):
        return None
    value = node.expression
    return int(value.name) if isinstance(value, exp.Literal) and value.name.isdigit() else None
