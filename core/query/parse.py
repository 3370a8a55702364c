"""SQL text -> Statement: one read-only query, made of allow-listed nodes, its table references resolved lexically.

Pure: no catalog, no policy, no engine. Everything later works on the tree and never sees the text again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError, TokenError
from sqlglot.parser import Parser

from core.errors import SqlRejected, SqlSyntax
from core.query import allowed

MAX_BYTES = 65_536
MAX_TOKENS = 8_000
STEPS_PER_TOKEN = 60
"""The parser goes back and tries again; some short texts make it do so exponentially. Honest queries of our corpus
stay under 12 steps a token."""

MAX_DEPTH = 120
MAX_GROWTH = 1_000_000
MAX_SET_OPERATIONS = 200

# sqlglot warns on stderr when it falls back to an opaque command; we refuse those with an error of our own.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

NOW_MARK = "omni_now"
"""Meta of a literal that stands for the time of asking, so that a plan can be kept without it."""

DIALECTS = ("duckdb", "sqlite", "postgres")
_NATIVE_FUNCTIONS = {"sqlite": allowed.SQLITE_FUNCTIONS, "postgres": allowed.POSTGRES_FUNCTIONS}
_TABLE_FUNCTION_NODES = (exp.GenerateSeries, exp.Unnest, exp.Explode)


@dataclass(slots=True)
class Ref:
    """One reference to a table that is not a CTE. ``source`` is None for a bare name.

    ``alias`` is the name by which the query's columns may qualify it.
    """

    node: exp.Table
    source: str | None
    table: str
    alias: str


@dataclass(slots=True)
class Statement:
    """``tree`` is ours to rewrite. ``names``: every identifier of the query, lower-case: what it could mention."""

    tree: exp.Query
    refs: tuple[Ref, ...]
    names: frozenset[str]
    dialect: str
    uses_now: bool = False


def parse(
    sql: str, *, dialect: str = "duckdb", params: Mapping[str, Any] | None = None, now: datetime, timezone: str = "UTC"
) -> Statement:
    """Parse one query.

    ``now`` (aware) is what now(), current_date and their kin mean, as a value in ``timezone``, unless the query is in
    a database's own dialect. Raises SqlSyntax and SqlRejected, both with line and column where known.
    """
    tree = _one_query(sql, dialect)
    _check_nodes(tree, dialect)
    _bind(tree, params or {})
    uses_now = dialect == "duckdb" and _fix_now(tree, now, timezone)
    refs = tuple(_refs(tree))
    names = frozenset(node.name.lower() for node in tree.find_all(exp.Identifier))
    return Statement(tree, refs, names, dialect, uses_now)


# ── text -> tree ─────────────────────────────────────────────────────────────────────────────────────────────────


class _TooManyStepsError(Exception):
    pass


@cache
def _budgeted(dialect: str) -> type[Parser]:
    """The dialect's parser, which gives up when it goes back too often."""
    base: Any = Dialect.get_or_raise(dialect).parser_class

    class Budgeted(base):  # type: ignore[misc]  # the base is chosen at run time
        steps = 0
        budget = 0

        def _advance(self, times: int = 1) -> None:
            self.steps += 1
            if self.steps > self.budget:
                raise _TooManyStepsError
            super()._advance(times)

    return Budgeted


def _one_query(sql: str, dialect: str) -> exp.Query:
    if dialect not in DIALECTS:
        raise SqlRejected(f"Dialect {dialect!r} is not known. Known: {', '.join(DIALECTS)}.", dialect=dialect)
    try:
        size = len(sql.encode())
    except UnicodeEncodeError:
        raise SqlSyntax("The query holds a character that is not Unicode text. Remove it.") from None
    if size > MAX_BYTES:
        raise SqlRejected(f"The query has {size:,} bytes; at most {MAX_BYTES:,} are read. Ask for less in one query.")
    if not sql.strip():
        raise SqlSyntax("The query is empty. Write a SELECT.")
    if "\x00" in sql:
        raise SqlSyntax("The query holds a NUL character. Remove it.")
    chosen = Dialect.get_or_raise(dialect)
    try:
        tokens = chosen.tokenize(sql)
    except (TokenError, SqlglotError) as error:
        what = "a quote or comment is not closed" if "tokeniz" in str(error) else _first_line(error)
        raise SqlSyntax(f"The query cannot be read: {what}.") from None
    if len(tokens) > MAX_TOKENS:
        raise SqlRejected(
            f"The query has {len(tokens):,} words and signs; at most {MAX_TOKENS:,} are read. "
            "Put long lists into a table or a file source and join it."
        )
    _check_depth(tokens)
    parser: Any = _budgeted(dialect)(dialect=chosen)
    parser.budget = STEPS_PER_TOKEN * len(tokens) + 2_000
    try:
        statements = [s for s in parser.parse(tokens, sql) if s is not None and not isinstance(s, exp.Semicolon)]
    except _TooManyStepsError:
        raise SqlRejected(
            "The query is too tangled to read in bounded time. Give each JOIN its own ON and nest less."
        ) from None
    except RecursionError:
        raise SqlRejected("The query is nested too deeply. Split it with WITH.") from None
    except SqlglotError as error:
        raise _syntax(error) from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        # The parser's own slips on text that is no SQL: the caller's text is at fault, not the service.
        raise SqlSyntax(f"The query cannot be read ({type(error).__name__}). Check it against DuckDB's SQL.") from None
    if not statements:
        raise SqlSyntax("The query is empty. Write a SELECT.")
    if len(statements) > 1:
        raise SqlRejected("Only one statement may be asked at a time. Remove what follows the semicolon.")
    return _as_query(statements[0])


def _as_query(tree: exp.Expr) -> exp.Query:
    if isinstance(tree, exp.Pivot | exp.Values | exp.Paren):
        # Statements that are queries in all but their class: PIVOT .. and VALUES ..
        tree = exp.select("*").from_(tree if isinstance(tree, exp.Values) else exp.Subquery(this=tree))
    if not isinstance(tree, exp.Query):
        word = tree.name or tree.key
        word = (str(tree.this) if isinstance(tree, exp.Command) else word or tree.key).upper()
        raise SqlRejected(f"Only queries (SELECT) may be asked; this is {_kind(tree, word)}.")
    return tree


def _kind(tree: exp.Expr, word: str) -> str:
    return word if isinstance(tree, exp.Command) else tree.key.upper()


def _check_depth(tokens: list[Any]) -> None:
    depth = deepest = 0
    for token in tokens:
        text = token.text
        if text in ("(", "[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif text in (")", "]", "}"):
            depth -= 1
    if deepest > MAX_DEPTH:
        raise SqlRejected(f"The query nests {deepest} brackets; at most {MAX_DEPTH} are read. Split it with WITH.")


def _first_line(error: Exception) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().split("\n", 1)[0].rstrip(".")


def _syntax(error: SqlglotError) -> SqlSyntax:
    found = getattr(error, "errors", None) or [{}]
    first = found[0]
    line, column = first.get("line"), first.get("col")
    what = re.sub(r"\s+", " ", str(first.get("description") or _first_line(error))).rstrip(".")
    near = first.get("highlight") or ""
    place = f" at line {line}, column {column}" if line else ""
    near_text = f" near {near[:40]!r}" if near else ""
    return SqlSyntax(f"The query is not valid SQL{place}{near_text}: {what}.", line=line, column=column)


# ── what may stand in it ─────────────────────────────────────────────────────────────────────────────────────────


def _check_nodes(tree: exp.Query, dialect: str) -> None:
    growth = 1
    set_operations = 0
    for node in tree.walk():
        name = type(node).__name__
        if isinstance(node, exp.Func) and not isinstance(node, exp.And | exp.Or):
            if name not in allowed.FUNCTION_NODES and name not in allowed.NODES:
                raise _function_rejected(_function_name(node))
            if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc | exp.CombinedAggFunc | exp.ParameterizedAgg):
                _check_name(node.name, dialect, in_from=isinstance(node.parent, exp.Table))
            growth *= _growth(node)
            if growth > MAX_GROWTH:
                raise SqlRejected("The query could blow a value up beyond bounds (repeat, lpad, ...). Ask for less.")
        elif name not in allowed.NODES and name not in allowed.FUNCTION_NODES:
            raise SqlRejected(f"{_title(name)} may not stand in a query here. Write a plain SELECT.", node=name)
        elif isinstance(node, exp.SetOperation):
            set_operations += 1
            if set_operations > MAX_SET_OPERATIONS:
                raise SqlRejected(f"More than {MAX_SET_OPERATIONS} set operations. Put the values into a table.")
        elif isinstance(node, exp.Table):
            _check_table(node)
        elif isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
            raise _function_rejected(f"{node.this.name}.{_function_name(node.expression)}")
        elif isinstance(node, exp.Select) and not node.expressions:
            raise SqlSyntax("The query selects nothing. Name columns after SELECT.")
        elif isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks")):
            raise SqlRejected("SELECT INTO and FOR UPDATE write or lock; only reading is possible here.")


def _check_table(node: exp.Table) -> None:
    this = node.this
    if isinstance(this, exp.Func):
        if isinstance(this, (exp.Anonymous, *_TABLE_FUNCTION_NODES)):
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


def _growth(node: exp.Func) -> int:
    """How many times larger than its arguments the result may become; rejects sizes that are not literals."""
    name = _function_name(node).lower()
    if isinstance(node, exp.Repeat):
        return _literal_size(node.args.get("times"), "repeat")
    if isinstance(node, exp.Pad):
        return _literal_size(node.expression, "lpad/rpad")
    if isinstance(node, exp.GenerateSeries):
        return _series(node)
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


def _series(node: exp.GenerateSeries) -> int:
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
    return 1


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


# ── values from outside ──────────────────────────────────────────────────────────────────────────────────────────


def _bind(tree: exp.Query, params: Mapping[str, Any]) -> None:
    used = set()
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = node.name
        if not name or name == "?":
            raise SqlRejected("Positional parameters (?) are not supported. Name them: $name.")
        if name not in params:
            raise SqlRejected(f"The parameter ${name} has no value. Pass it (--param {name}=..., or params).", key=name)
        used.add(name)
        node.replace(literal(params[name], name))
    unused = sorted(set(params) - used)
    if unused:
        raise SqlRejected(f"The query does not use the parameter {unused[0]!r}. Remove it or write ${unused[0]}.")


def literal(value: Any, name: str = "") -> exp.Expr:
    """A value as a tree node: never spliced as text. Raises SqlRejected for shapes SQL has no literal for."""
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int | float | Decimal):
        text = repr(value) if isinstance(value, float) else str(value)
        if not re.fullmatch(r"-?[0-9.]+(?:[eE][-+]?[0-9]+)?", text):
            return exp.cast(exp.Literal.string(text), "DOUBLE", dialect="duckdb")
        number = exp.Literal.number(text.lstrip("-"))
        return exp.Neg(this=number) if text.startswith("-") else number
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, list | tuple):
        return exp.Array(expressions=[literal(item, name) for item in value])
    raise SqlRejected(f"The parameter {name!r} has to be a text, number, boolean, null or a list of these.", key=name)


def _fix_now(tree: exp.Query, now: datetime, timezone: str) -> bool:
    """Replace now() and its kin by literals: one instant for all sources of one ask, the slot for an alert."""
    local = now.astimezone(ZoneInfo(timezone))
    stamp = local.isoformat(sep=" ", timespec="microseconds")
    naive = local.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    makers: dict[str, Callable[[], exp.Expr]] = {
        "date": lambda: exp.cast(exp.Literal.string(local.date().isoformat()), "DATE", dialect="duckdb"),
        "instant": lambda: exp.cast(exp.Literal.string(stamp), "TIMESTAMPTZ", dialect="duckdb"),
        "naive": lambda: exp.cast(exp.Literal.string(naive), "TIMESTAMP", dialect="duckdb"),
        "time": lambda: exp.cast(exp.Literal.string(naive[11:]), "TIME", dialect="duckdb"),
    }
    found = [(node, kind) for node in tree.walk() if (kind := _now_kind(node))]
    for node, kind in found:
        fixed = makers[kind]()
        fixed.meta[NOW_MARK] = kind
        node.replace(fixed)
    return bool(found)


_NOW_NAMES = {
    "now": "instant",
    "transaction_timestamp": "instant",
    "get_current_timestamp": "instant",
    "today": "date",
    "current_localtimestamp": "naive",
    "current_localtime": "time",
    "get_current_time": "time",
}


def _now_kind(node: exp.Expr) -> str | None:
    if isinstance(node, exp.CurrentDate):
        return "date"
    if isinstance(node, exp.CurrentTimestamp):
        return "instant"
    if isinstance(node, exp.Localtimestamp):
        return "naive"
    if isinstance(node, exp.CurrentTime | exp.Localtime):
        return "time"
    if isinstance(node, exp.Anonymous) and not node.expressions:
        return _NOW_NAMES.get(node.name.lower())
    return None


# ── which names are tables ───────────────────────────────────────────────────────────────────────────────────────


def _refs(tree: exp.Query) -> Iterator[Ref]:
    """Every table reference that no CTE in scope answers, wherever it stands (subquery, VALUES, PIVOT, lateral)."""
    for node in list(tree.find_all(exp.Table)):
        if not isinstance(node.this, exp.Identifier):
            continue
        name, source = node.name, node.db or None
        if source is None and _is_cte(node, name.lower()):
            continue
        if node.catalog:
            source, name = node.catalog, f"{node.db}.{name}"
        yield Ref(node, source, name, node.alias or node.name)


def _is_cte(node: exp.Expr, name: str) -> bool:
    """Does a CTE that is visible at ``node`` carry this name? CTE names are case-insensitive and shadow tables."""
    child, parent = node, node.parent
    while parent is not None:
        if isinstance(parent, exp.With):
            for cte in parent.expressions:
                if cte is child:
                    if parent.recursive and cte.alias.lower() == name:
                        return True
                    break
                if cte.alias.lower() == name:
                    return True
        with_ = parent.args.get("with_")
        if with_ is not None and with_ is not child and any(c.alias.lower() == name for c in with_.expressions):
            return True
        child, parent = parent, parent.parent
    return False
