"""SQL text -> Statement: one read-only query, made of allow-listed nodes, its table references resolved lexically.

Pure: no catalog, no policy, no engine. Everything later works on the tree and never sees the text again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError, TokenError
from sqlglot.parser import Parser

from core.errors import SqlRejected, SqlSyntax
from core.query import values, vet
from core.query.bounds import Meter, TooLongError, check_chains, check_depth, check_indexes
from core.query.names import Ref, fresh_prefix, references

MAX_BYTES = 65_536
MAX_TOKENS = 8_000
STEPS_PER_TOKEN = 60
"""The parser goes back and tries again; some short texts make it do so exponentially. Honest queries of our corpus
stay under 12 steps a token."""

# sqlglot warns on stderr when it falls back to an opaque command; we refuse those with an error of our own.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

DIALECTS = ("duckdb", "sqlite", "postgres")


@dataclass(slots=True)
class Statement:
    """``tree`` is ours to rewrite. ``names``: every identifier of the query, lower-case: what it could mention.

    ``fresh``: a prefix of names that the query does not use.
    """

    tree: exp.Query
    refs: tuple[Ref, ...]
    names: frozenset[str]
    dialect: str
    fresh: str


def parse(
    sql: str, *, dialect: str = "duckdb", params: Mapping[str, Any] | None = None, now: datetime, timezone: str = "UTC"
) -> Statement:
    """Parse one query.

    ``now`` (aware) is what now(), current_date and their kin mean, as a value in ``timezone``, unless the query is in
    a database's own dialect. Raises SqlSyntax and SqlRejected, both with line and column where known.
    """
    tree = _one_query(sql, dialect)
    vet.check(tree, dialect)
    values.bind(tree, params or {})
    names = frozenset(node.name.lower() for node in tree.find_all(exp.Identifier))
    if dialect == "duckdb":
        values.keep_names(tree)
        values.fix_now(tree, now, timezone)
    refs = tuple(references(tree, dialect))
    vet.check_fan_out(tree)
    return Statement(tree, refs, names, dialect, fresh_prefix(names))


# ── text -> tree ─────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _metered(dialect: str) -> type[Parser]:
    """The dialect's parser, which gives up when it goes back too often or takes too long."""
    base: Any = Dialect.get_or_raise(dialect).parser_class

    class Metered(base):  # type: ignore[misc]  # the base is chosen at run time
        meter: Meter

        def _advance(self, times: int = 1) -> None:
            self.meter.step()
            super()._advance(times)

    return Metered


def _parser(dialect: str, chosen: Any, tokens: int) -> Any:
    parser: Any = _metered(dialect)(dialect=chosen)
    meter = parser.meter = Meter(STEPS_PER_TOKEN * tokens + 2_000)
    read = chosen.to_json_path

    def to_json_path(path: exp.Expr | None) -> exp.Expr | None:
        meter.path(path.name if path is not None else "")
        found: exp.Expr | None = read(path)
        return found

    chosen.to_json_path = to_json_path
    return parser


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
    chosen: Any = Dialect.get_or_raise(dialect)
    try:
        tokens = chosen.tokenize(sql)
        repaired = _with_typed_literals(sql, tokens)
        if repaired != sql:
            sql, tokens = repaired, chosen.tokenize(repaired)
    except (TokenError, SqlglotError) as error:
        what = "a quote or comment is not closed" if "tokeniz" in str(error) else _first_line(error)
        raise SqlSyntax(f"The query cannot be read: {what}.") from None
    if len(tokens) > MAX_TOKENS:
        raise SqlRejected(
            f"The query has {len(tokens):,} words and signs; at most {MAX_TOKENS:,} are read. "
            "Put long lists into a table or a file source and join it."
        )
    check_depth(tokens)
    check_chains(tokens)
    check_indexes(tokens)
    parser = _parser(dialect, chosen, len(tokens))
    try:
        statements = [s for s in parser.parse(tokens, sql) if s is not None and not isinstance(s, exp.Semicolon)]
    except TooLongError:
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
    del tokens
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


_TYPED = frozenset({"DATE", "TIME", "TIMETZ", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME", "INTERVAL"})


def _with_typed_literals(sql: str, tokens: list[Any]) -> str:
    """``TIMESTAMP '..'::DATE`` with brackets around the literal: sqlglot would cast the text first."""
    out, end = [], 0
    for before, literal, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (literal.token_type.name, after.token_type.name) == ("STRING", "DCOLON") and before.text.upper() in _TYPED:
            out += [sql[end : before.start], "(", sql[before.start : literal.end + 1], ")"]
            end = literal.end + 1
    return "".join([*out, sql[end:]])


def _first_line(error: Exception) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().split("\n", 1)[0].rstrip(".")


def _syntax(error: SqlglotError) -> SqlSyntax:
    found = getattr(error, "errors", None) or [{}]
    first = found[0]
    line, column = first.get("line"), first.get("col")
    what = re.sub(r"\s+", " ", str(first.get("description") or _first_line(error))).rstrip(".")
    what = re.sub(r" ?(but got )?<Token [^>]*>", " the end of the text", what)
    near = first.get("highlight") or ""
    place = f" at line {line}, column {column}" if line else ""
    near_text = f" near {near[:40]!r}" if near else ""
    return SqlSyntax(f"The query is not valid SQL{place}{near_text}: {what}.", line=line, column=column)
