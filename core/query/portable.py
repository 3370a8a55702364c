"""Which DuckDB expressions mean exactly the same in SQLite.

Conservative on purpose: a construct is here because its result is the same for every value, including NULL, type of
the result and order. What is not here costs a scan, never an answer.

SQLite types values, not columns; ``sqlite_text.guarded`` makes each column hold what it declares, or fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from core.model import Table
from core.query.moments import constant_moment

Kind = str  # "int" | "float" | "decimal" | "text" | "bool" | "date" | "moment" | "null"

COLUMN_KINDS = {
    "BIGINT": "int",
    "INTEGER": "int",
    "DOUBLE": "float",
    "VARCHAR": "text",
    "DATE": "date",
    "TIMESTAMP": "moment",
}
_NUMBERS = frozenset({"int", "float", "decimal"})
_CLAUSES = frozenset(
    {"expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset", "distinct"}
)


class NotPortableError(Exception):
    """Why a query cannot run in SQLite with the same meaning."""


@dataclass(slots=True)
class _Scope:
    """Columns in sight: (alias, table) of each reference, and the kinds of what the select list names."""

    tables: list[tuple[str, Table]]
    outputs: dict[str, Kind]

    def kind(self, column: exp.Column) -> Kind:
        kind = COLUMN_KINDS.get(self.type(column))
        if kind is None:
            raise NotPortableError(f"{column.name} is {self.type(column)}")
        return kind

    def type(self, column: exp.Column) -> str:
        qualifier, name = column.table.lower(), column.name
        if not isinstance(column.this, exp.Identifier):
            raise NotPortableError("it uses * or a whole row")
        found = [
            c
            for alias, table in self.tables
            if qualifier in ("", alias.lower()) and (c := table.column(name)) is not None
        ]
        if len(found) != 1:
            raise NotPortableError(f"{name} is not one plain column")
        return found[0].type.upper()


@dataclass(frozen=True, slots=True)
class Output:
    """``types``: DuckDB type by output column. ``decimals``: decimal constants by position."""

    types: tuple[str, ...]
    decimals: dict[int, str]


_TYPES = {
    "int": "BIGINT",
    "float": "DOUBLE",
    "text": "VARCHAR",
    "null": '"NULL"',
    "date": "DATE",
    "moment": "TIMESTAMP",
}


def check(tree: exp.Query, tables: Mapping[int, tuple[str, Table]]) -> tuple[str, Output | None]:
    """('', its output) where the query is portable, else (why not, None)."""
    try:
        if not isinstance(tree, exp.Select):
            raise NotPortableError("it is no plain SELECT")
        extra = {k for k, v in tree.args.items() if v} - _CLAUSES
        if extra:
            raise NotPortableError(f"it uses {sorted(extra)[0].strip('_').upper()}")
        scope = _Scope(_references(tree, tables), {})
        return "", _check_select(tree, scope)
    except NotPortableError as reason:
        return str(reason), None


def _references(tree: exp.Select, tables: Mapping[int, tuple[str, Table]]) -> list[tuple[str, Table]]:
    from_ = tree.args.get("from_")
    nodes = [from_.this] if from_ is not None else []
    for join in tree.args.get("joins") or []:
        side, kind = str(join.side or "").upper(), str(join.kind or "").upper()
        if side not in ("", "LEFT") or kind not in ("", "INNER") or join.args.get("using") or join.args.get("method"):
            raise NotPortableError("it has a join that is not INNER or LEFT with ON")
        if join.args.get("on") is None:
            raise NotPortableError("it has a join without ON")
        nodes.append(join.this)
    for node in nodes:
        if id(node) not in tables:
            raise NotPortableError("it reads something that is no table")
        if {k for k, v in node.args.items() if v} - {"this", "db", "catalog", "alias"}:
            raise NotPortableError("a table is sampled, pivoted or joined in place")
        alias = node.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            raise NotPortableError("a table's columns are renamed")
    return [tables[id(node)] for node in nodes]


def _check_select(tree: exp.Select, scope: _Scope) -> Output:
    decimals: dict[int, str] = {}
    types: list[str] = []
    if tree.args.get("distinct") is not None and tree.args["distinct"].args.get("on"):
        raise NotPortableError("it uses DISTINCT ON")
    for index, node in enumerate(tree.expressions):
        inner = node.this if isinstance(node, exp.Alias) else node
        if not isinstance(node, exp.Alias | exp.Column):
            raise NotPortableError("an output column has no name")
        kind = kind_of(inner, scope)
        if kind == "decimal" and isinstance(inner, exp.Literal | exp.Neg):
            decimals[index] = inner.sql()
            digits = inner.find(exp.Literal)
            scale = len(digits.name.partition(".")[2]) if digits is not None else 0
            types.append(f"DECIMAL({len(digits.name) - 1 if digits is not None else 18},{scale})")
        elif kind not in _TYPES or (kind in ("date", "moment") and constant_moment(inner) is not None):
            raise NotPortableError(f"an output column is of kind {kind}")
        else:
            types.append(_whole_type(inner, scope) if kind == "int" else _TYPES[kind])
            # Where rows or groups are dropped, one that overflowed may be among them.
            _check_overflow(inner, scope, noticed=not any(tree.args.get(c) for c in ("limit", "offset", "having")))
        if node.alias_or_name.lower() in scope.outputs and (tree.args.get("order") or tree.args.get("having")):
            raise NotPortableError("two output columns have one name but for case")
        scope.outputs[node.alias_or_name.lower()] = kind
    for join in tree.args.get("joins") or []:
        _truth(join.args["on"], scope)
    for clause in ("where", "having"):
        if tree.args.get(clause) is not None:
            _truth(tree.args[clause].this, scope)
    _check_ambiguity(tree, scope)
    _check_grouping(tree, scope)
    for clause in ("limit", "offset"):
        node = tree.args.get(clause)
        if node is not None and (
            not (isinstance(node.expression, exp.Literal) and node.expression.name.isdigit())
            or {k for k, v in node.args.items() if v} != {"expression"}
        ):
            raise NotPortableError(f"{clause.upper()} is not a number")
    return Output(tuple(types), decimals)


_WHOLE = ("INTEGER", "BIGINT", "HUGEINT")
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Neg)


def _whole_type(node: exp.Expr, scope: _Scope) -> str:
    """As DuckDB types an expression of whole numbers."""
    if isinstance(node, exp.Column):
        return scope.type(node)
    if isinstance(node, exp.Literal):
        return "INTEGER" if int(node.name) < 2**31 else "BIGINT"
    if isinstance(node, exp.Sum):
        return "HUGEINT"
    if isinstance(node, exp.Count):
        return "BIGINT"
    parts = [node.this]
    if isinstance(node, exp.Case):
        parts = [branch.args["true"] for branch in node.args["ifs"]]
        parts += [default] if (default := node.args.get("default")) is not None else []
    elif isinstance(node, exp.Coalesce):
        parts += node.expressions
    elif isinstance(node, exp.Add | exp.Sub | exp.Mul):
        parts += [node.expression]
    types = {_whole_type(part, scope) for part in parts if kind_of(part, scope) == "int"}
    widest = max(types, key=_WHOLE.index)
    if widest == "INTEGER" and isinstance(node, exp.Add | exp.Sub | exp.Mul):
        raise NotPortableError("whole numbers of 32 bits overflow sooner than those there")
    return widest


def _check_overflow(node: exp.Expr, scope: _Scope, *, noticed: bool) -> None:
    """Whole numbers beyond 64 bits become floats there: that shows in an output column, and is lost elsewhere.

    ``noticed``: a float in place of ``node`` makes the output a float, whose answer is then not used.
    """
    whole = isinstance(node, _ARITHMETIC) and kind_of(node, scope) == "int" and not _is_constant(node)
    if whole and not noticed:
        raise NotPortableError("a whole number may overflow where nobody would notice")
    passes = whole or isinstance(node, exp.Paren | exp.Abs | exp.Coalesce | exp.Sum | exp.Filter | exp.Case | exp.If)
    for child in node.iter_expressions():
        tested = isinstance(node, exp.If) and child is node.this
        _check_overflow(child, scope, noticed=noticed and passes and not tested and not isinstance(child, exp.Where))


def _is_constant(node: exp.Expr) -> bool:
    """A number as such, with or without a sign."""
    if isinstance(node, exp.Paren | exp.Neg):
        return _is_constant(node.this)
    return isinstance(node, exp.Literal) and not node.is_string


def _check_ambiguity(tree: exp.Select, scope: _Scope) -> None:
    """A bare name in GROUP BY, HAVING or ORDER BY that is both alias and column: the two look it up differently."""
    renamed = {e.alias.lower() for e in tree.expressions if isinstance(e, exp.Alias) and _renames(e)}
    clashing = {name for name in renamed if any(t.column(name) for _, t in scope.tables)}
    for clause in ("group", "having", "order"):
        node = tree.args.get(clause)
        for column in node.find_all(exp.Column) if node is not None and clashing else []:
            if not column.table and column.name.lower() in clashing:
                raise NotPortableError(f"{column.name} is a column and another output's name")


def _renames(node: exp.Alias) -> bool:
    return not isinstance(node.this, exp.Column) or node.this.name.lower() != node.alias.lower()


def _check_grouping(tree: exp.Select, scope: _Scope) -> None:
    group, order = tree.args.get("group"), tree.args.get("order")
    if group is not None:
        if {k for k, v in group.args.items() if v} - {"expressions"}:
            raise NotPortableError("it groups in another way than by columns")
        for node in group.expressions:
            if not isinstance(node, exp.Column):
                raise NotPortableError("it groups by something that is no column")
            kind_of(node, scope)
    for ordered in order.expressions if order is not None else []:
        if not isinstance(ordered, exp.Ordered) or not isinstance(ordered.this, exp.Column):
            raise NotPortableError("it is ordered by something that is no column")
        if ordered.this.name.lower() not in scope.outputs:
            scope.kind(ordered.this)
    _check_ungrouped(tree, scope)


def _check_ungrouped(tree: exp.Select, scope: _Scope) -> None:
    """A column of no one row: DuckDB refuses it, SQLite takes any."""
    group, having, order = (tree.args.get(clause) for clause in ("group", "having", "order"))
    sorted_by = [o.this for o in order.expressions] if order is not None else []
    of_rows = [c for c in sorted_by if c.table or c.name.lower() not in scope.outputs]
    if tree.args.get("distinct") is not None and of_rows:
        raise NotPortableError("distinct rows are ordered by what they do not show")
    if group is None and having is None and not any(e.find(exp.AggFunc) for e in tree.expressions):
        return
    grouped = {(c.table.lower(), c.name.lower()) for c in group.expressions} if group is not None else set()
    for part in [*tree.expressions, *of_rows, *([having] if having is not None else [])]:
        for column in part.find_all(exp.Column):
            if column.find_ancestor(exp.AggFunc, exp.Filter) is None and (
                (column.table.lower(), column.name.lower()) not in grouped
            ):
                raise NotPortableError(f"{column.name} is neither grouped nor aggregated")


# ── the kind of an expression ────────────────────────────────────────────────────────────────────────────────────


def kind_of(node: exp.Expr, scope: _Scope) -> Kind:
    if isinstance(node, exp.Paren):
        return kind_of(node.this, scope)
    if isinstance(node, exp.Column):
        return scope.kind(node)
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "int" if node.name.isdigit() and len(node.name) < 16 else _decimal(node)
    if isinstance(node, exp.Null):
        return "null"
    if isinstance(node, exp.Neg):
        return _number(kind_of(node.this, scope))
    if isinstance(node, exp.Add | exp.Sub | exp.Mul):
        return _arithmetic(kind_of(node.this, scope), kind_of(node.expression, scope))
    if isinstance(node, exp.Div):
        return _division(node, scope)
    if isinstance(node, exp.Case):
        return _case(node, scope)
    if isinstance(node, exp.Coalesce):
        return _same([kind_of(n, scope) for n in (node.this, *node.expressions)])
    if isinstance(node, exp.Abs):
        return _number(kind_of(node.this, scope))
    if isinstance(node, exp.Filter):
        _truth(node.expression.this, scope)
        return kind_of(node.this, scope)
    if isinstance(node, exp.AggFunc):
        return _aggregate(node, scope)
    raise NotPortableError(f"{type(node).__name__.upper()} may mean something else there")


def _decimal(node: exp.Literal) -> Kind:
    if "e" in node.name.lower():
        raise NotPortableError("it has a number with an exponent")
    if len(node.name.replace(".", "").lstrip("0")) > 15:
        raise NotPortableError("it has a number with more digits than a float holds")
    return "decimal"


def _number(kind: Kind) -> Kind:
    if kind not in _NUMBERS:
        raise NotPortableError("it computes with something that is no number")
    return kind


def _arithmetic(left: Kind, right: Kind) -> Kind:
    kinds = {left, right}
    if kinds == {"int"}:
        return "int"
    if "float" in kinds and kinds <= _NUMBERS:
        return "float"
    raise NotPortableError("it computes with decimals or mixed types")


def _division(node: exp.Div, scope: _Scope) -> Kind:
    """DuckDB divides as floating point; by zero the two differ, so only a constant other than zero may divide."""
    left, right = kind_of(node.this, scope), node.expression
    if not isinstance(right, exp.Literal) or right.is_string or float(right.name) == 0 or left not in ("int", "float"):
        raise NotPortableError("it divides by something that may be zero")
    return "float"


def _case(node: exp.Case, scope: _Scope) -> Kind:
    if node.this is not None:
        raise NotPortableError("it uses CASE with an operand")
    kinds = []
    for branch in node.args["ifs"]:
        _truth(branch.this, scope)
        kinds.append(kind_of(branch.args["true"], scope))
    default = node.args.get("default")
    return _same([*kinds, kind_of(default, scope) if default is not None else "null"])


def _same(kinds: list[Kind]) -> Kind:
    found = set(kinds) - {"null"}
    if not found:
        return "null"
    if len(found) > 1 or found & {"decimal", "date", "moment", "bool"}:
        raise NotPortableError("it mixes types in one expression")
    return found.pop()


def _aggregate(node: exp.AggFunc, scope: _Scope) -> Kind:
    inner = node.this
    if isinstance(node, exp.Count):
        if isinstance(inner, exp.Distinct):
            if len(inner.expressions) != 1:
                raise NotPortableError("it counts distinct rows of several columns")
            inner = inner.expressions[0]
        if not isinstance(inner, exp.Star):
            kind_of(inner, scope)
        if node.expressions:
            raise NotPortableError("it counts several columns")
        return "int"
    if (
        not isinstance(node, exp.Sum | exp.Avg | exp.Min | exp.Max)
        or node.expressions
        or isinstance(inner, exp.Distinct)
    ):
        raise NotPortableError(f"{node.sql_name()} may mean something else there")
    if inner.find(exp.AggFunc) is not None:
        raise NotPortableError("an aggregate stands in an aggregate")
    kind = kind_of(inner, scope)
    if isinstance(node, exp.Min | exp.Max):
        if kind not in ("int", "float", "text", "date", "moment"):
            raise NotPortableError(f"it takes MIN or MAX of kind {kind}")
        return kind
    if kind not in ("int", "float"):
        raise NotPortableError("it sums something that is no plain number")
    return "float" if isinstance(node, exp.Avg) else kind


# ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────


def _truth(node: exp.Expr, scope: _Scope) -> None:
    if isinstance(node, exp.And | exp.Or):
        _truth(node.this, scope)
        _truth(node.expression, scope)
    elif isinstance(node, exp.Paren | exp.Not):
        _truth(node.this, scope)
    elif isinstance(node, exp.EQ | exp.NEQ | exp.LT | exp.LTE | exp.GT | exp.GTE):
        _comparable(node.this, node.expression, scope)
    elif isinstance(node, exp.Between):
        _comparable(node.this, node.args["low"], scope)
        _comparable(node.this, node.args["high"], scope)
    elif isinstance(node, exp.In) and node.expressions and not node.args.get("query"):
        for item in node.expressions:
            _comparable(node.this, item, scope)
    elif isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        _operand(node.this, scope)
    else:
        raise NotPortableError(f"{type(node).__name__.upper()} may mean something else there")


def _operand(node: exp.Expr, scope: _Scope) -> Kind:
    moment = constant_moment(node)
    if moment is not None:
        return "date" if moment.kind == "day" else "moment"
    kind = kind_of(node, scope)
    _check_overflow(node, scope, noticed=False)
    return kind


def _comparable(one: exp.Expr, other: exp.Expr, scope: _Scope) -> None:
    left, right = _operand(one, scope), _operand(other, scope)
    if {left, right} == {"int", "float"}:
        # DuckDB compares the two as floats, SQLite as what they are: the same for constants, which are below 2^53.
        if not _is_constant(one if left == "int" else other):
            raise NotPortableError("it compares whole numbers with floats")
        return
    if (left in _NUMBERS and right in _NUMBERS) or (left == right and left in ("text", "date", "moment")):
        return
    raise NotPortableError(f"it compares {left} with {right}")
