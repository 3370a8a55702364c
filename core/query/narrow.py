"""Which predicates of a query each scan may be narrowed by, and why the others stay behind.

A predicate ``column op literal`` goes down when it must hold for every row that the reference contributes to the
answer: it is a conjunct of WHERE of the SELECT that reads the table, or of the ON of an inner join; and through a
derived table or a CTE that is used once, when that passes the column through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from core.model import Compare
from core.query.predicates import Predicate, conjuncts_of, predicates_of
from core.source.literal import pushable

if TYPE_CHECKING:
    from core.query.parse import Statement
    from core.query.plan import BoundRef


@dataclass(slots=True)
class Narrowing:
    """``kept``: (predicate, why it was not pushed) for EXPLAIN. ``loose``: something pushed is wider than asked."""

    narrow: list[Compare] = field(default_factory=list)
    loose: bool = False
    kept: list[tuple[str, str]] = field(default_factory=list)


def narrowings(statement: Statement, bound: Sequence[BoundRef]) -> dict[str, Narrowing]:
    """For each bound reference (by its fresh name) what narrows it."""
    result = {b.name: Narrowing() for b in bound}
    by_node = {id(b.ref.node): b for b in bound}
    uses = _cte_uses(statement.tree)
    for select in statement.tree.find_all(exp.Select):
        for predicate in _incoming(select, uses, by_node):
            _give(select, predicate, by_node, result)
        for conjunct, readers in _conjuncts(select):
            found = predicates_of(conjunct)
            if not found:
                _report(select, conjunct, by_node, result)
            for predicate in found:
                _give(select, predicate, by_node, result, readers)
    return result


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """``column`` of the reference ``name`` has to equal ``other_column`` of ``other`` in every row of the answer."""

    name: str
    column: str
    other: str
    other_column: str


def equal_columns(statement: Statement, bound: Sequence[BoundRef]) -> list[JoinedColumns]:
    """Equalities between columns of two references of one SELECT, by which the first may be narrowed to keys."""
    by_node = {id(b.ref.node): b for b in bound}
    found: list[JoinedColumns] = []
    for select in statement.tree.find_all(exp.Select):
        here = [b for node in _tables(select) if (b := by_node.get(id(node))) and not _renames_columns(node)]
        for conjunct, readers in _conjuncts(select):
            if not isinstance(conjunct, exp.EQ):
                continue
            sides = [_owner(conjunct.this, here), _owner(conjunct.expression, here)]
            for one, other in (sides, sides[::-1]):
                if one is None or other is None or one[0] is other[0]:
                    continue
                if readers is None or id(one[0].ref.node) in readers:
                    found.append(JoinedColumns(one[0].name, one[1], other[0].name, other[1]))
    return found


def _owner(node: exp.Expr, here: Sequence[BoundRef]) -> tuple[BoundRef, str] | None:
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        return None
    owners = [
        (b, column.name)
        for b in here
        if node.table.lower() in ("", b.ref.alias.lower()) and (column := b.visible.table.column(node.name)) is not None
    ]
    return owners[0] if len(owners) == 1 else None


def _tables(select: exp.Select) -> Iterator[exp.Expr]:
    from_ = select.args.get("from_")
    if from_ is not None:
        yield from_.this
    for join in select.args.get("joins") or []:
        yield join.this


def _give(
    select: exp.Select,
    predicate: Predicate,
    by_node: dict[int, BoundRef],
    result: dict[str, Narrowing],
    readers: set[int] | None = None,
) -> None:
    owners = [
        b
        for node in _tables(select)
        if (b := by_node.get(id(node))) is not None
        and not node.args.get("pivots")
        and not node.args.get("sample")
        and (not predicate.qualifier or predicate.qualifier.lower() == b.ref.alias.lower())
        and b.visible.table.column(predicate.column) is not None
        and not _renames_columns(node)
    ]
    if len(owners) != 1:
        return
    owner = owners[0]
    if readers is not None and id(owner.ref.node) not in readers:
        result[owner.name].kept.append((predicate.text, "it stands in the ON of an outer join"))
        return
    column = owner.visible.table.column(predicate.column)
    if column is None:
        return
    values = predicate.value if isinstance(predicate.value, tuple) else (predicate.value,)
    if predicate.op not in column.operators:
        offered = ", ".join(column.operators) or "nothing"
        why = f"{owner.visible.table.full_name}.{column.name} can be filtered at its source by {offered}"
        result[owner.name].kept.append((predicate.text, why))
    elif not all(pushable(value, column.type.upper()) for value in values):
        result[owner.name].kept.append((predicate.text, f"its value is no plain {column.type}"))
    else:
        result[owner.name].narrow.append(Compare(column.name, predicate.op, predicate.value))
        result[owner.name].loose |= predicate.loose or column.operators[predicate.op] != "exact"


def _renames_columns(node: exp.Expr) -> bool:
    alias = node.args.get("alias")
    return bool(alias is not None and alias.args.get("columns"))


# ── conjuncts ────────────────────────────────────────────────────────────────────────────────────────────────────


def _conjuncts(select: exp.Select) -> Iterator[tuple[exp.Expr, set[int] | None]]:
    """Conjuncts of WHERE (for every table: each comparison rejects the NULLs an outer join adds) and of inner ONs."""
    if _pairs_by_place(select):
        return
    where = select.args.get("where")
    # USING SAMPLE draws from what FROM gives: what WHERE drops has been drawn as well.
    if where is not None and not select.args.get("sample"):
        for part in conjuncts_of(where.this):
            yield part, None
    for join in select.args.get("joins") or []:
        on = join.args.get("on")
        if on is None:
            continue
        side, kind = str(join.side or "").upper(), str(join.kind or "").upper()
        method = str(join.args.get("method") or "").upper()
        if method:
            continue
        inner = not side and kind in ("", "INNER", "CROSS") and not _later_outer(select)
        readers = None if inner else {id(join.this)} if side == "LEFT" or kind in ("SEMI",) else set()
        for part in conjuncts_of(on):
            yield part, readers


def _pairs_by_place(select: exp.Select) -> bool:
    """POSITIONAL and ASOF joins pair rows by place: dropping a row on one side changes the other's partner."""
    read = [part for part in (select.args.get("from_"), *(select.args.get("joins") or [])) if part is not None]
    return any(
        str(join.args.get("method") or "").upper() in ("POSITIONAL", "ASOF")
        for part in read
        for join in part.find_all(exp.Join)
    )


def _later_outer(select: exp.Select) -> bool:
    return any(str(j.side or "").upper() in ("RIGHT", "FULL") for j in select.args.get("joins") or [])


def all_exact(select: exp.Select, found: Narrowing) -> bool:
    """Whether the source applies every conjunct of WHERE exactly, so that a LIMIT may go down with them."""
    where = select.args.get("where")
    conjuncts = list(conjuncts_of(where.this)) if where is not None else []
    pushed = sum(len(predicates_of(conjunct)) for conjunct in conjuncts)
    complete = all(predicates_of(conjunct) for conjunct in conjuncts)
    return complete and pushed == len(found.narrow) and not found.kept and not found.loose


def _report(select: exp.Select, node: exp.Expr, by_node: dict[int, BoundRef], result: dict[str, Narrowing]) -> None:
    qualifiers = {c.table.lower() for c in node.find_all(exp.Column)}
    for table in _tables(select):
        b = by_node.get(id(table))
        if b is not None and (b.ref.alias.lower() in qualifiers or "" in qualifiers):
            text = node.sql(dialect="duckdb")
            result[b.name].kept.append((text, "it is not a comparison of one column with a constant"))


# ── from outer queries ───────────────────────────────────────────────────────────────────────────────────────────


def _cte_uses(tree: exp.Expr) -> dict[str, list[exp.Table]]:
    uses: dict[str, list[exp.Table]] = {}
    for table in tree.find_all(exp.Table):
        if not table.db and isinstance(table.this, exp.Identifier):
            uses.setdefault(table.name.lower(), []).append(table)
    return uses


def _incoming(
    select: exp.Select, uses: dict[str, list[exp.Table]], by_node: Mapping[int, BoundRef], depth: int = 0
) -> Iterator[Predicate]:
    """Predicates of the one query that reads this SELECT as a derived table or CTE, as predicates on its columns."""
    if depth > 20 or not _passes_rows(select):
        return
    reader = _reader(select, uses)
    if reader is None:
        return
    outer = reader.find_ancestor(exp.Select)
    if outer is None or not any(node is reader for node in _tables(outer)):
        return
    alias = (reader.alias or reader.name).lower()
    alone = len(list(_tables(outer))) == 1
    candidates = [p for part, readers in _conjuncts(outer) if readers is None for p in predicates_of(part)]
    candidates += list(_incoming(outer, uses, by_node, depth + 1))
    for predicate in candidates:
        if predicate.qualifier.lower() == alias or (not predicate.qualifier and alone):
            inner = _through(select, predicate, by_node)
            if inner is not None:
                yield inner


def _passes_rows(select: exp.Select) -> bool:
    """No clause that makes an outer predicate mean something else below it."""
    stops = ("group", "having", "qualify", "limit", "offset", "distinct", "windows", "sample")
    if any(select.args.get(arg) for arg in stops) or _pairs_by_place(select):
        return False
    return all(row_wise(e) for e in select.expressions)


_ROW_WISE = frozenset(
    """
    Add Alias And Between Boolean Case Cast Coalesce Column DPipe DataType DataTypeParam DateTrunc Div EQ Extract
    GT GTE Identifier If ILike In Interval Is JSONExtract JSONExtractScalar JSONPath JSONPathKey JSONPathRoot
    JSONPathSubscript LT LTE Length Like Literal Lower Mod Mul NEQ Neg Not Null Or Paren Round Star Sub Substring
    TimestampTrunc Trim TryCast Upper Var
    """.split()
)


def row_wise(node: exp.Expr) -> bool:
    """Whether an output has one value for each row: a list of what is known to, for an engine has many aggregates."""
    return all(type(part).__name__ in _ROW_WISE for part in node.walk())


def _reader(select: exp.Select, uses: dict[str, list[exp.Table]]) -> exp.Expr | None:
    parent = select.parent
    if isinstance(parent, exp.Subquery) and _is_plain(parent):
        return parent
    if isinstance(parent, exp.CTE):
        with_ = parent.parent
        alias: Any = parent.args.get("alias")
        readers = uses.get(parent.alias.lower(), [])
        if isinstance(with_, exp.With) and not with_.recursive and len(readers) == 1 and not alias.args.get("columns"):
            return readers[0] if _is_plain(readers[0]) else None
    return None


def _is_plain(node: exp.Expr) -> bool:
    """A reference that shows the rows and columns of what it reads as they are."""
    return not _renames_columns(node) and not any(
        node.args.get(arg) for arg in ("pivots", "sample", "joins", "laterals")
    )


def _through(select: exp.Select, predicate: Predicate, by_node: Mapping[int, BoundRef]) -> Predicate | None:
    """The predicate on what the select list shows under that name, where it is certain what that is."""
    if any(_is_star(e) for e in select.expressions):
        return replace(predicate, qualifier="") if _shows_each_once(select, by_node) else None
    shown = [e for e in select.expressions if e.alias_or_name.lower() == predicate.column.lower()]
    if len(shown) != 1:
        return None
    inner = shown[0].this if isinstance(shown[0], exp.Alias) else shown[0]
    if isinstance(inner, exp.Column) and isinstance(inner.this, exp.Identifier):
        return replace(predicate, qualifier=inner.table, column=inner.name)
    return None


def _is_star(node: exp.Expr) -> bool:
    return isinstance(node.this if isinstance(node, exp.Column) else node, exp.Star)


def _shows_each_once(select: exp.Select, by_node: Mapping[int, BoundRef]) -> bool:
    """``SELECT *`` over tables we know, no two of which have a column of the same name: else the engine renames one."""
    if len(select.expressions) != 1 or any(select.expressions[0].args.values()) or select.args.get("laterals"):
        return False
    names: list[str] = []
    for node in _tables(select):
        bound = by_node.get(id(node))
        if bound is None or node.args.get("joins") or node.args.get("pivots"):
            return False
        names += [c.name.lower() for c in bound.visible.table.columns if not c.hidden]
    return len(names) == len(set(names))
