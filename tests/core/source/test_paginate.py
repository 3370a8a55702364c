"""Link headers and the arithmetic of pages, without a server."""

from __future__ import annotations

import pytest

from core.errors import SourceError
from core.source.paginate import END, Following, following, links, start, with_params
from core.source.spec import Paging

URL = "https://api.example/things?state=all&per_page=100"
LINK = Paging("link", size_param="per_page")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", {}),
        ('<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last"', {"next": "https://a/?page=2", "last": "https://a/?page=9"}),
        ("<https://a/x>; rel=next", {"next": "https://a/x"}),
        ('<https://a/x,y;z>; title="a, b; c"; rel="next"', {"next": "https://a/x,y;z"}),
        ('<https://a/1>; rel="prev first"', {"prev": "https://a/1", "first": "https://a/1"}),
        ('<https://a/1>; REL="Next"', {"next": "https://a/1"}),
        ("<https://a/1>", {}),
        ("nonsense", {}),
    ],
)  # fmt: skip
def test_link_headers(header: str, found: dict[str, str]) -> None:
    assert links(header) == found


def by_link(next_: str, last: str = "", *, first: bool = True) -> Following:
    header = f'<{next_}>; rel="next"' + (f', <{last}>; rel="last"' if last else "")
    return following(LINK, URL, {"link": header}, [], 100, first=first, where="here")


def test_a_known_last_page_gives_all_pages() -> None:
    page = with_params(URL, page=2)
    assert by_link(page, with_params(URL, page=4)).urls == tuple(with_params(URL, page=n) for n in (2, 3, 4))
    assert by_link(page, page).urls == (page,)
    assert by_link(page).urls == (page,)


@pytest.mark.parametrize(
    "last",
    [
        URL + "&page=4&after=x",  # differs in more than the page
        URL + "&page=x",
        URL + "&page=99999999999999",
        URL + "&page=1",
        "https://other.example/things?state=all&per_page=100&page=4",
        "http://[half?page=4",
    ],
)
def test_what_is_not_surely_numbered_is_read_one_by_one(last: str) -> None:
    assert by_link(with_params(URL, page=2), last).urls == (with_params(URL, page=2),)


def test_cursors_in_links_are_followed_as_they_are() -> None:
    cursor = URL + "&after=Y3Vyc29yOnYyOpK5&page=2"
    assert by_link(cursor).urls == (cursor,)
    assert by_link("/things?after=1").urls == ("https://api.example/things?after=1",)


@pytest.mark.parametrize(
    "link",
    ["https://evil.example/x", "http://api.example/things?page=2", "//evil.example/", URL, "/a b", "//[half",
     "https://api.example:port/"],
)  # fmt: skip
def test_links_that_are_not_followed(link: str) -> None:
    with pytest.raises(SourceError):
        by_link(link)


def test_the_first_url() -> None:
    assert start(LINK, "https://a/x?state=all", 7) == "https://a/x?state=all&per_page=7"
    assert start(Paging("none"), "https://a/x", 7) == "https://a/x"
    assert start(Paging("page", "size"), "https://a/x", 7) == "https://a/x?size=7&page=1"
    assert start(Paging("offset", "size"), "https://a/x", 7) == "https://a/x?size=7&offset=0"


def test_cursors_in_the_body() -> None:
    style = Paging("cursor", cursor=("meta", "next"))
    for body, urls in (
        ({"meta": {"next": "c2"}}, ("https://a/x?cursor=c2",)),
        ({"meta": {"next": 0}}, ("https://a/x?cursor=0",)),
    ):
        assert following(style, "https://a/x", {}, body, 5, first=True, where="here").urls == urls
    for end in ({"meta": {"next": None}}, {"meta": {"next": ""}}, {"meta": {}}, {}, {"meta": {"next": False}}):
        assert following(style, "https://a/x", {}, end, 5, first=True, where="here") == END
    for bad in ({"meta": {"next": {"a": 1}}}, {"meta": {"next": "same"}}):
        with pytest.raises(SourceError):
            following(style, "https://a/x?cursor=same", {}, bad, 5, first=True, where="here")
