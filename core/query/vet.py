"""What may stand in a query: the tree against the allow-list, and bounds on what a small text can grow to."""

from __future__ import annotations

import re

from sqlglot import exp

from core.errors import SqlRejected, SqlSyntax
from core.query import allowed

MAX_GROWTH = 1_000_000
MAX_REPLACES = 3
MAX_SET_OPERATIONS = 200
MAX_TABLES = 200
MAX_SUBQUERIES = 30
MAX_FAN_OUT = 300

_NATIVE_FUNCTIONS = {"sqlite": allowed.SQLITE_FUNCTIONS, "postgres": allowed.POSTGRES_FUNCTIONS}
_TABLE_FUNCTION_NODES = (exp.GenerateSeries, exp.Unnest, exp.Explode)


def check(tree: exp.Query, dialect: str) -> None:
    """Raises SqlRejected or SqlSyntax for the first thing that may not be there."""
    growth = 1
    set_operations = tables = replaces = 0
    _check_subqueries(tree)
    lambdas = tree.find(exp.Lambda, exp.Comprehension) is not None
    for node in tree.walk():
        name = type(node).__name__
        if isinstance(node, exp.Func) and not isinstance(node, exp.And | exp.Or):
            if name not in allowed.FUNCTION_NODES and name not in allowed.NODES:
                raise _function_rejected(_function_name(node))
            if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc | exp.CombinedAggFunc | exp.ParameterizedAgg):
                _check_name(node.name, dialect, in_from=isinstance(node.parent, exp.Table))
            growth *= _growth(node, lambdas=lambdas)
            replaces += isinstance(node, exp.Replace | exp.RegexpReplace | exp.Translate)
            if replaces > MAX_REPLACES and node.find_ancestor(exp.Replace, exp.RegexpReplace):
                raise SqlRejected(f"More than {MAX_REPLACES} replacements inside one another may blow a text up.")
            if growth > MAX_GROWTH:
                raise SqlRejected("The query could blow a value up beyond bounds (repeat, lpad, ...). Ask for less.")
        elif name not in allowed.NODES and name not in allowed.FUNCTION_NODES:
            raise SqlRejected(f"{_title(name)} may not stand in a query here. Write a plain SELECT.", node=name)
        elif isinstance(node, exp.SetOperation):
            set_operations += 1
            if set_operations > MAX_SET_OPERATIONS:
                raise SqlRejected(f"More than {MAX_SET_OPERATIONS} set operations. Put the values into a table.")
        elif isinstance(node, exp.Table):
            tables += 1
            if tables > MAX_TABLES:
                raise SqlRejected(f"More than {MAX_TABLES} table references. Ask for less in one query.")
            _check_table(node, dialect)
        elif isinstance(node, exp.DataType) and node.this == exp.DType.USERDEFINED:
            raise SqlRejected("Only built-in types may be named in a cast.")
        elif dialect != "duckdb" and isinstance(node, exp.In) and not (node.expressions or node.args.get("query")):
            # SQLite reads `x IN name` as a table, which nothing here has judged.
            raise SqlRejected("IN needs a list or a subquery here: write IN (SELECT column FROM table).")
        elif dialect == "postgres" and isinstance(node, exp.Column) and _is_session_value(node):
            raise _function_rejected(node.name)
        elif isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
            raise _function_rejected(f"{node.this.name}.{_function_name(node.expression)}")
        elif isinstance(node, exp.Select) and not node.expressions:
            raise SqlSyntax("The query selects nothing. Name columns after SELECT.")
        elif isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks")):
            raise SqlRejected("SELECT INTO and FOR UPDATE write or lock; only reading is possible here.")


def _is_session_value(node: exp.Column) -> bool:
    """PostgreSQL's functions that are written without brackets."""
    names = ("user", "current_user", "session_user", "current_role", "current_catalog", "current_schema")
    identifier = node.this
    return (
        not node.table
        and isinstance(identifier, exp.Identifier)
        and not identifier.quoted
        and node.name.lower() in names
    )


def _check_subqueries(tree: exp.Query) -> None:
    """Each subquery used as a value is planned as a join: many of them take the engine minutes to plan."""
    values = [
        node
        for node in tree.find_all(exp.Subquery, exp.Exists, exp.In)
        if isinstance(node, exp.Exists)
        or (isinstance(node, exp.In) and node.args.get("query"))
        or (isinstance(node, exp.Subquery) and not isinstance(node.parent, _TABLE_PLACES))
    ]
    if len(values) > MAX_SUBQUERIES:
        raise SqlRejected(f"More than {MAX_SUBQUERIES} subqueries in expressions. Join them instead.")


_TABLE_PLACES = (exp.From, exp.Join, exp.SetOperation, exp.CTE, exp.Subquery, exp.In, exp.Exists, exp.Lateral)


def check_fan_out(tree: exp.Query) -> None:
    """A CTE used twice in one that is used twice: the engine unfolds that to a plan of exponential size."""
    if any(weight > MAX_FAN_OUT for weight in _weights(_uses(tree)).values()):
        raise SqlRejected("The CTEs use one another too many times over. Ask for less in one query.")


def _uses(tree: exp.Query) -> dict[str, list[str]]:
    """By CTE the CTEs that it reads, in itself or in one within it; as often as it does."""
    around = {cte.alias: cte.find_ancestor(exp.CTE) for cte in tree.find_all(exp.CTE)}
    uses: dict[str, list[str]] = {name: [] for name in around}
    for table in tree.find_all(exp.Table):
        cte = table.find_ancestor(exp.CTE) if table.name in uses else None
        while cte is not None:
            if cte.alias != table.name:
                uses[cte.alias].append(table.name)
            cte = around[cte.alias]
    return uses


def _weights(uses: dict[str, list[str]]) -> dict[str, int]:
    """How many tables are read where a CTE is unfolded: each is weighed once, behind those that it reads."""
    weights: dict[str, int] = {}
    begun: set[str] = set()
    pending = list(uses)
    while pending:
        name = pending[-1]
        begun.add(name)
        before = {used for used in uses[name] if used not in begun}
        if before and name not in weights:
            pending += before
            continue
        weights[name] = min(1 + sum(weights.get(used, 1) for used in uses[name]), MAX_FAN_OUT + 1)
        pending.pop()
    return weights


def _check_table(node: exp.Table, dialect: str) -> None:
    this = node.this
    if isinstance(this, exp.Func):
        # SQLite's (json_each) are tables that a connection makes: ours may make none.
        if dialect != "sqlite" and isinstance(this, (exp.Anonymous, *_TABLE_FUNCTION_NODES)):
            return  # an Anonymous one is checked by name
        raise _function_rejected(_function_name(this))
    if not isinstance(this, exp.Identifier):
        raise SqlRejected("Only tables, subqueries and the functions range, generate_series, unnest may follow FROM.")
    for arg in ("when", "version", "changes", "hints", "system_time", "partition"):
        if node.args.get(arg):
            raise SqlRejected("Time travel and table hints are not possible here.")


def _check_name(name: str, dialect: str, *, in_from: bool) -> None:
    lowered = name.lower()
    if in_from:
        good = lowered in allowed.ENGINE_TABLE_FUNCTIONS
    elif dialect == "duckdb":
        good = lowered in allowed.ENGINE_FUNCTIONS
    else:
        good = lowered in _NATIVE_FUNCTIONS[dialect]
    if not good:
        raise _function_rejected(name)


def _function_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        return node.name
    return node.sql_name() if isinstance(node, exp.Func) else node.key


def _function_rejected(name: str) -> SqlRejected:
    return SqlRejected(
        f"The function {name[:60]} is not on the list of functions that may be used. "
        "Use one that only computes from its arguments.",
        function=name[:60],
    )


def _title(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()


def _growth(node: exp.Func, *, lambdas: bool) -> int:
    """How many times larger than its arguments the result may become; rejects sizes that are not literals."""
    name = _function_name(node).lower()
    if isinstance(node, exp.Repeat):
        return _literal_size(node.args.get("times"), "repeat")
    if isinstance(node, exp.Pad):
        return _literal_size(node.expression, "lpad/rpad")
    if isinstance(node, exp.GenerateSeries):
        return _series(node, lambdas=lambdas)
    if isinstance(node, exp.Space):
        return _literal_size(node.this, "space")
    if name in ("list_resize", "array_resize", "bitstring") and len(node.expressions) > 1:
        return _literal_size(node.expressions[1], name)
    if isinstance(node, exp.Format) or name in ("format", "printf"):
        first = node.this if isinstance(node.this, exp.Expr) else (node.expressions or [None])[0]
        if not (isinstance(first, exp.Literal) and first.is_string) or re.search(r"\d{5}|\*", first.name):
            raise SqlRejected(f"{name} needs a literal pattern with widths below 10,000.", function=name)
        return 1 + sum(int(n) for n in re.findall(r"\d+", first.name))
    return 1


def _series(node: exp.GenerateSeries, *, lambdas: bool) -> int:
    """A series in FROM over constants is made row by row and can be stopped; as a value it is made in one piece."""
    constant = node.find(exp.Column, exp.Query) is None
    if isinstance(node.parent, exp.Table) and constant:
        return 1
    bounds = [node.args.get(arg) for arg in ("start", "end", "step")]
    numbers = [_integer(bound) for bound in bounds if bound is not None]
    if not constant or None in numbers:
        raise SqlRejected(
            "range and generate_series need constant bounds, and stand in FROM unless they are whole numbers.",
            function="generate_series",
        )
    start, end, step = ([n for n in numbers if n is not None] + [1])[:3]
    size = abs(end - start) // max(1, abs(step))
    if size > 100_000:
        raise SqlRejected(f"A list of {size:,} numbers is too long for a value. Put the series into FROM.")
    # Lists in lambdas of lists multiply; a list by itself may be long.
    return max(1, size) if lambdas else 1


def _integer(node: exp.Expr) -> int | None:
    negative = isinstance(node, exp.Neg)
    inner = node.this if negative else node
    if isinstance(inner, exp.Literal) and not inner.is_string and inner.name.isdigit():
        return -int(inner.name) if negative else int(inner.name)
    return None


def _literal_size(node: exp.Expr | None, name: str) -> int:
    if isinstance(node, exp.Literal) and not node.is_string:
        try:
            size = int(node.name)
        except ValueError:
            size = MAX_GROWTH + 1
        if size <= 10_000:
            return max(1, size)
    raise SqlRejected(f"{name} needs a literal size of at most 10,000.", function=name)
