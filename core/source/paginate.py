"""How one page leads to the next. Pure: from a request and its answer to the requests that follow.

A page that is merely short ends nothing: servers cap the page size in silence, and rows would be lost. A list ends
where the API says so (no next link, no cursor, the total reached) or with an empty page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urljoin, urlsplit, urlunsplit

from core.errors import ConfigInvalid, SourceError
from core.source.spec import Paging
from core.wire_guard import parse

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s",;]+))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)
MAX_PAGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Following:
    """URLs after this page, in order; they can be asked for at once. ``more``: the last of them may lead on."""

    urls: tuple[str, ...] = ()
    more: bool = True


END = Following()


def links(header: str) -> dict[str, str]:
    """``rel -> URL`` of a Link header."""
    found: dict[str, str] = {}
    for match in _LINK.finditer(header):
        rel = _REL.search(match[2])
        for name in ((rel[1] or rel[2]) if rel else "").split():
            found.setdefault(name.lower(), match[1])
    return found


def with_params(url: str, **params: Any) -> str:
    """``url`` with these query parameters set; None removes one."""
    parts = urlsplit(url)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in params]
    added = [(k, str(v)) for k, v in params.items() if v is not None]
    return urlunsplit(parts._replace(query=urlencode(kept + added)))


def start(paging: Paging, url: str, size: int) -> str:
    """The URL of the first page, ``size`` rows where the API lets us choose."""
    params: dict[str, Any] = {}
    if paging.size_param:
        params[paging.size_param] = size
    if paging.style == "page":
        params[paging.page_param] = paging.first_page
    elif paging.style == "offset":
        params[paging.offset_param] = 0
    return with_params(url, **params) if params else url


def following(
    paging: Paging, url: str, headers: Mapping[str, str], body: Any, rows: int, *, first: bool, where: str
) -> Following:
    """What comes after the page at ``url`` that held ``rows`` items. ``first``: it is the first of its list.

    Raises SourceError where the API points back at the same page or to another host.
    """
    if paging.style == "link":
        return _by_link(paging, url, headers, first, where)
    if paging.style == "page":
        return _by_page(paging, url, body, rows, first)
    if paging.style == "offset":
        return _by_offset(paging, url, body, rows, first)
    if paging.style == "cursor":
        return _by_cursor(paging, url, body, where)
    return END


def _by_link(paging: Paging, url: str, headers: Mapping[str, str], first: bool, where: str) -> Following:
    found = links(headers.get("link", ""))
    if "next" not in found:
        return END
    further = _same_origin(url, found["next"], where)
    if further == url:
        raise SourceError(f"{where}: the next link points back at the same page.", target=where)
    last = found.get("last")
    if first and last:
        known = _numbered(paging, further, url, last)
        if known:
            return Following(known)
    return Following((further,))


def _same_origin(url: str, link: str, where: str) -> str:
    try:
        further = urljoin(url, link)
        here, there = parse(url), parse(further)
    except (ValueError, ConfigInvalid):
        raise SourceError(f"{where}: the next link is no URL.", target=where) from None
    if here.origin != there.origin:
        raise SourceError(
            f"{where}: the next link leads to another host, which is not followed. Check the base_url.", target=where
        )
    return further


def _numbered(paging: Paging, further: str, url: str, link: str) -> tuple[str, ...]:
    """All pages from ``further`` to the last one's ``link``, where they differ by the page number alone; else nothing
    is known."""
    name = paging.page_param
    try:
        last = urljoin(url, link)
        numbers = [_number(u, name) for u in (further, last)]
    except ValueError:
        return ()
    if None in numbers or with_params(further, **{name: None}) != with_params(last, **{name: None}):
        return ()
    start_at, end_at = (n for n in numbers if n is not None)
    if not 0 < end_at - start_at + 1 <= MAX_PAGES:
        return ()
    return _series(further, name, range(start_at, end_at + 1))


def _series(url: str, name: str, numbers: range) -> tuple[str, ...]:
    """``url`` with ``name`` set to each number: taken apart once, for there may be thousands."""
    bare = with_params(url, **{name: None})
    mark = f"{bare}{'&' if '?' in bare else '?'}{quote_plus(name)}="
    return tuple(f"{mark}{n}" for n in numbers)


def _number(url: str, name: str) -> int | None:
    value = dict(parse_qsl(urlsplit(url).query)).get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _by_page(paging: Paging, url: str, body: Any, rows: int, first: bool) -> Following:
    number = _number(url, paging.page_param)
    if rows == 0 or number is None:
        return END
    total = _total(paging, body)
    if first and total is not None:
        pages = -(-total // rows)
        last = paging.first_page + min(pages, MAX_PAGES) - 1
        return Following(_series(url, paging.page_param, range(number + 1, last + 1)), more=False)
    return Following((with_params(url, **{paging.page_param: number + 1}),))


def _by_offset(paging: Paging, url: str, body: Any, rows: int, first: bool) -> Following:
    offset = _number(url, paging.offset_param)
    if rows == 0 or offset is None:
        return END
    total = _total(paging, body)
    if total is not None and first:
        return Following(_series(url, paging.offset_param, range(offset + rows, total, rows)), more=False)
    return Following((with_params(url, **{paging.offset_param: offset + rows}),))


def _total(paging: Paging, body: Any) -> int | None:
    value = at(body, paging.total) if paging.total else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _by_cursor(paging: Paging, url: str, body: Any, where: str) -> Following:
    cursor = at(body, paging.cursor)
    if cursor is None or cursor is False or cursor == "":
        return END
    if not isinstance(cursor, str | int):
        raise SourceError(f"{where}: the next cursor is neither a text nor a number.", target=where)
    further = with_params(url, **{paging.cursor_param: cursor})
    if further == url:
        raise SourceError(f"{where}: the next cursor points back at the same page.", target=where)
    return Following((further,))


def at(body: Any, steps: tuple[str, ...]) -> Any:
    """The value at a path of keys, None where a step is missing."""
    for step in steps:
        body = body.get(step) if isinstance(body, dict) else None
    return body
