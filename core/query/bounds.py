"""Bounds on the text of a query, so that reading it takes bounded time whatever it says.

The parser takes time that grows with the square, or worse, of what follows upon one operand (``a[1][1]``,
``a.f().f()``): that is counted in the tokens, before it sees them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from core.errors import SqlRejected

MAX_DEPTH = 120
MAX_CHAIN = 32
"""Of indexes, calls, casts and fields that follow one another."""

MAX_INDEXES = 500
"""``x[..]`` of a query: the parser simplifies what is in each, and looks at all of x for it."""

MAX_PATHS = 20_000
"""Characters of all JSON paths of a query, and PATH for each: a slow little parser of its own reads them."""

PATH = 8

MAX_CPU_S = 1.0
"""What the counts let through and is slow all the same ends here. Queries of the greatest size need a fifth of it."""

_BRACKETS = {"L_PAREN": "R_PAREN", "L_BRACKET": "R_BRACKET", "L_BRACE": "R_BRACE"}
_GROUPS = {**_BRACKETS, "CASE": "END"}
_LINKS = frozenset({"DOT", "DCOLON", "ARROW", "DARROW", "HASH_ARROW", "DHASH_ARROW"})
_BEFORE_LISTS = frozenset({"COMMA", "L_PAREN", "L_BRACKET", "L_BRACE", "COLON"})


class TooLongError(Exception):
    """Reading takes more time than it may."""


def check_depth(tokens: Sequence[Any]) -> None:
    depth = deepest = 0
    for token in tokens:
        kind = token.token_type.name
        if kind in _BRACKETS:
            depth += 1
            deepest = max(deepest, depth)
        elif kind in _BRACKETS.values():
            depth -= 1
    if deepest > MAX_DEPTH:
        raise SqlRejected(f"The query nests {deepest} brackets; at most {MAX_DEPTH} are read. Split it with WITH.")


def check_chains(tokens: Sequence[Any]) -> None:
    longest = _longest_chain(tokens)
    if longest > MAX_CHAIN:
        raise SqlRejected(
            f"The query has {longest} indexes, calls, casts or fields behind one another; at most {MAX_CHAIN} are "
            "read. Split it with WITH."
        )


def check_indexes(tokens: Sequence[Any]) -> None:
    kinds = [token.token_type.name for token in tokens]
    count = sum(kind == "L_BRACKET" and before not in _BEFORE_LISTS for before, kind in pairwise(kinds))
    if count > MAX_INDEXES:
        raise SqlRejected(f"The query has {count} indexes x[..]; at most {MAX_INDEXES} are read. Ask for less.")


def _longest_chain(tokens: Sequence[Any]) -> int:
    """An operand in brackets is as long as the longest in them: ``(a[1])[1]`` is 2, as ``a[1][1]`` is."""
    groups = [_Group("", 0)]
    chain, linked = 0, False
    for token in tokens:
        kind = token.token_type.name
        if kind in _GROUPS:
            groups.append(_Group(_GROUPS[kind], chain + (kind in _BRACKETS)))
            chain, linked = 0, False
        elif kind == groups[-1].end:
            closed = groups.pop()
            chain, linked = max(closed.chain, closed.longest), False
        elif kind in _LINKS:
            chain, linked = chain + 1, True
        else:
            # Of other words only the one behind a link belongs to the operand before.
            chain, linked = (chain if linked else 0), False
        groups[-1].longest = max(groups[-1].longest, chain)
    return max(group.longest for group in groups)


class _Group:
    """What stands between two brackets. ``chain``: of the operand that it is part of, itself included."""

    __slots__ = ("chain", "end", "longest")

    def __init__(self, end: str, chain: int) -> None:
        self.end, self.chain, self.longest = end, chain, 0


class Meter:
    """Counts what the parser does while it reads one query."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._paths = 0
        self._until = time.thread_time() + MAX_CPU_S

    def step(self) -> None:
        self._steps -= 1
        if self._steps < 0 or time.thread_time() > self._until:
            raise TooLongError

    def path(self, text: str) -> None:
        self._paths += len(text) + PATH
        if self._paths > MAX_PATHS:
            raise SqlRejected("The query has too many JSON paths, or too long ones. Ask for less in one query.")
