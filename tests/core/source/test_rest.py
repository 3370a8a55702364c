"""Declarative REST: every row once in every paging style, as few calls as can be, and drift is told."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import Error, ResourceLimit, SourceError, SqlRejected
from core.model import Compare
from core.source.contract import ContractError, check_source
from tests.core import faults
from tests.core.source.api import STYLES, TABLE, Api, connector
from tests.core.source.reading import fetching, rows, scan, table

HERE = Compare("group", "=", "g")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("count", [0, 1, 10, 57])
def test_every_row_once_in_every_style(tmp_path: Path, style: str, count: int) -> None:
    with Api(style, count) as api:
        source = api.source(connector(tmp_path, style))
        assert sorted(r[0] for r in rows(source, "things", "id", narrow=(HERE,))) == list(range(1, count + 1))


@pytest.mark.parametrize("style", [s for s in STYLES if s not in ("none", "cursor", "link")])
def test_a_server_that_caps_the_page_size_loses_no_row(tmp_path: Path, style: str) -> None:
    with Api(style, 57, cap=4) as api:
        source = api.source(connector(tmp_path, style))
        assert len(rows(source, "things", "id", narrow=(HERE,))) == 57


@pytest.mark.parametrize("style", STYLES)
def test_the_contract_holds(tmp_path: Path, style: str) -> None:
    with Api(style, 23) as api:
        source, other = (api.source(connector(tmp_path, style, size=size)) for size in (10, 7))
        assert check_source(source, "things", bind=(HERE,), other_paging=other) > 20


def test_the_contract_test_finds_a_lie(tmp_path: Path) -> None:
    """An API whose filter drops rows, under a connector that trusts it."""
    with Api("none", 23) as api:
        api.tamper = lambda path, body: body[1:] if "kind=" in path else body
        with pytest.raises(ContractError, match="kind = loses 1 rows"):
            check_source(api.source(connector(tmp_path, "none")), "things", bind=(HERE,))
        api.tamper = lambda path, body: api.items if "kind=" in path else body
        with pytest.raises(ContractError, match="kind = is not exact"):
            check_source(api.source(connector(tmp_path, "none")), "things", bind=(HERE,))


def test_values_become_their_types(tmp_path: Path) -> None:
    with Api("none", 5) as api:
        got = rows(api.source(connector(tmp_path, "none")), "things", narrow=(HERE,))
        assert got[0] == (
            "g", 1, "b", "n1", 0.25, False, date(2024, 1, 2), datetime(2024, 1, 1, 1, tzinfo=UTC), '["t",{"n":1}]',
        )  # fmt: skip
        assert got[4][3] is None, "an owner that is null"
        raw = rows(api.source(connector(tmp_path, "none")), "things", "_raw", narrow=(HERE,))
        assert '"owner":{"name":"n1"}' in raw[0][0]


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("style", ["link", "page_total", "offset_total"])
def test_known_pages_are_fetched_together_and_stay_in_order(tmp_path: Path, style: str) -> None:
    together = threading.Barrier(4)
    with Api(style, 95) as api:

        def wait(path: str, body: Any) -> Any:
            if any(
                part in path
                for part in ("page=2", "page=3", "page=4", "page=5", "skip=10", "skip=20", "skip=30", "skip=40")
            ):
                together.wait(10)
            return body

        api.tamper = wait
        source = api.source(connector(tmp_path, style))
        got = [r[0] for r in rows(source, "things", "id", narrow=(HERE,), fetch=fetching(connections=4))]
        assert got == list(range(1, 96))
        assert len(api.requests) == 10 and api.most <= 4


def test_pages_stop_when_nobody_pulls(tmp_path: Path) -> None:
    with Api("link", 1000) as api:
        stream: Any = api.source(connector(tmp_path, "link")).open(
            scan(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,)), fetching(connections=4)
        )
        assert next(iter(stream)).num_rows == 10
        assert len(api.requests) == 1
        next(iter(stream))
        stream.close()
        assert len(api.requests) <= 6
        assert not [t for t in threading.enumerate() if t.name.startswith("fetch-api")]


def test_connections_are_not_all_opened_at_once(tmp_path: Path) -> None:
    with Api("link", 1000) as api:
        source = api.source(connector(tmp_path, "link"))
        stream: Any = source.open(scan(source, "things", "id", narrow=(HERE,)), fetching(connections=16))
        batches = iter(stream)
        next(batches), next(batches)
        stream.close()  # ends what is under way
        assert 2 <= len(api.requests) <= 1 + 5
    with Api("link", 1000) as api:
        source = api.source(connector(tmp_path, "link"))
        got = rows(source, "things", "id", narrow=(HERE,), fetch=fetching(connections=16))
        assert len(got) == 1000 and len(api.requests) == 100


def test_a_limit_makes_the_page_small_where_nothing_is_left_to_filter(tmp_path: Path) -> None:
    with Api("link", 100) as api:
        source = api.source(connector(tmp_path, "link"))
        assert len(rows(source, "things", "id", narrow=(HERE, Compare("kind", "=", "a")), limit=3)) == 3
        assert len(rows(source, "things", "id", narrow=(HERE,), limit=25)) >= 25
        assert api.requests[0] == "/groups/g/things?kind=a&size=3" and len(api.requests) == 4
        since = Compare("seen", ">=", "2024-01-01T05:00:00Z")
        assert len(rows(source, "things", "id", narrow=(HERE, since), limit=3)) > 50, "since is a superset"
        unknown = Compare("kind", "=", "c")
        assert len(rows(source, "things", "id", narrow=(HERE, unknown), limit=3)) == 100, "c was not sent"
        twice = (HERE, Compare("kind", "=", "a"), Compare("kind", "=", "b"))
        assert len(rows(source, "things", "id", narrow=twice, limit=3)) == 50, "only one kind was sent"


def test_predicates_become_parameters(tmp_path: Path) -> None:
    with Api("none", 3) as api:
        source = api.source(connector(tmp_path, "none"))
        sent = {
            ("kind", "=", "a"): "kind=a",
            ("kind", "=", "A"): "",
            ("kind", "!=", "a"): "",
            ("id", "=", 2): "id=2",
            ("id", "=", "x"): "",
            ("seen", ">=", "2024-01-01T00:00:00+02:00"): "since=2023-12-31T21%3A59%3A59Z",
            ("seen", ">=", "2024-01-01"): "since=2023-12-31T09%3A59%3A59Z",
            ("seen", "<", "2024-01-01T00:00:00.5Z"): "until=2024-01-01T00%3A00%3A01Z",
            ("seen", "<", "2024-01-01"): "until=2024-01-01T14%3A00%3A00Z",
            ("seen", ">=", "0001-01-01"): "",
            ("seen", ">=", "soon"): "",
        }
        for (column, op, value), expected in sent.items():
            rows(source, "things", "id", narrow=(HERE, Compare(column, op, value)))
            assert api.requests[-1].partition("?")[2] == expected, (column, op, value)


def test_one_chain_a_value_of_a_path_column(tmp_path: Path) -> None:
    with Api("link", 12) as api:
        source = api.source(connector(tmp_path, "link"))
        several = Compare("group", "in", ("x", "y", "x", None))
        assert len(rows(source, "things", "group", "id", narrow=(several,))) == 24
        both = (several, Compare("group", "=", "y"))
        assert {r[0] for r in rows(source, "things", "group", narrow=both)} == {"y"}
        assert rows(source, "things", "id", narrow=(Compare("group", "in", ()),)) == []
        assert rows(source, "things", "id", narrow=(Compare("group", "=", "a"), Compare("group", "=", "b"))) == []


@pytest.mark.parametrize("value", ["..", ".", "", "a/../b", "a/.."])
def test_a_value_cannot_climb_to_another_path(tmp_path: Path, value: str) -> None:
    with Api("none", 1) as api:
        with pytest.raises(SqlRejected, match="the value given for group"):
            rows(api.source(connector(tmp_path, "none")), "things", "id", narrow=(Compare("group", "=", value),))
        assert not api.requests


def test_a_value_is_one_path_segment(tmp_path: Path) -> None:
    with Api("none", 1) as api:
        rows(api.source(connector(tmp_path, "none")), "things", "id", narrow=(Compare("group", "=", "a/b?c#d é"),))
        assert api.requests == ["/groups/a%2Fb%3Fc%23d%20%C3%A9/things"]


def test_a_required_column_is_required(tmp_path: Path) -> None:
    with Api("none", 1) as api, pytest.raises(SqlRejected, match="a value for group"):
        rows(api.source(connector(tmp_path, "none")), "things", "id")


def test_the_call_budget_is_of_the_whole_ask(tmp_path: Path) -> None:
    with Api("link", 100) as api:
        f = fetching(max_calls=4)
        with pytest.raises(ResourceLimit, match="more than 4 calls"):
            rows(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,), fetch=f)
        assert len(api.requests) == 4


def test_progress_and_ledger(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int | None]] = []

    def told(source: str, table: str, *, rows: int, calls: int, total_calls: int | None) -> None:
        seen.append((rows, calls, total_calls))

    with Api("link", 25) as api:
        f = fetching(progress=told)
        rows(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,), fetch=f)
    assert seen == [(10, 1, None), (20, 2, None), (25, 3, 3)]
    assert f.ledger.tallies["api"].calls == 3 and f.ledger.tallies["api"].bytes > 1000
    assert "api.things" in f.ledger.freshness


# ── what can be wrong with a page ────────────────────────────────────────────────────────────────────────────────


def spoiled(tmp_path: Path, change: Any, *columns: str) -> str:
    """The error text when every page's second item is changed."""
    with Api("link", 25) as api:
        api.tamper = lambda path, body: change(body)
        with pytest.raises(SourceError) as caught:
            rows(api.source(connector(tmp_path, "link")), "things", *columns, narrow=(HERE,))
    return str(caught.value)


def test_a_column_that_no_item_has_any_more(tmp_path: Path) -> None:
    def without(*path: str) -> Any:
        def change(body: list[dict[str, Any]]) -> Any:
            for item in body:
                inner: Any = item
                for step in path[:-1]:
                    inner = inner[step] or {}
                inner.pop(path[-1], None)
            return body

        return change

    said = spoiled(tmp_path, without("kind"), "id", "kind")
    assert said.startswith("Connector things has drifted: no item") and "things.kind" in said
    with Api("link", 25) as api:
        api.tamper = lambda path, body: without("kind")(body)
        assert len(rows(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,))) == 25, "not asked for"
        api.tamper = lambda path, body: without("score")(body)
        optional = rows(api.source(connector(tmp_path, "link")), "things", "score", narrow=(HERE,))
        assert optional == [(None,)] * 25
        api.tamper = lambda path, body: [{**i, "owner": None} for i in body]
        null = rows(api.source(connector(tmp_path, "link")), "things", "owner_name", narrow=(HERE,))
        assert null == [(None,)] * 25, "null is the API's word, an absent key is not"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "hidden"), ("id", 1.5), ("id", True), ("id", 2**63), ("kind", 5), ("score", "hidden"), ("good", 1),
        ("good", "true"), ("born", "hidden"), ("born", 20240101), ("seen", "hidden"), ("seen", 170000),
        ("owner", "hidden"), ("owner", [1]),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_drift_and_is_not_shown(tmp_path: Path, column: str, value: Any) -> None:
    said = spoiled(tmp_path, lambda body: [{**body[0], column: value}, *body[1:]])
    assert said.startswith("Connector things has drifted") and f"things.{column}" in said and "hidden" not in said


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "moved"}, "should be a list"),
        ("text", "should be a list"),
        (None, "should be a list"),
        ([1, 2], "should hold objects"),
        ([None], "should hold objects"),
    ],
)
def test_a_body_of_another_shape(tmp_path: Path, body: Any, words: str) -> None:
    assert words in spoiled(tmp_path, lambda _: body)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (faults.answer(200, b'[{"id": 1}, {"id"'), "is not whole, valid JSON"),
        (faults.answer(200, b""), "is not whole, valid JSON"),
        (faults.answer(200, b"<html>Sign in</html>", content_type="text/html"), "text/html instead of JSON"),
        (faults.answer(202, b"[]"), "answered 202, which has no rows"),
        (faults.answer(204, b""), "answered 204"),
        (faults.answer(404), "was not found"),
        (faults.answer(401), "does not know"),
        (faults.answer(500), "an error of its own"),
        (faults.cut(), "broke before the whole answer"),
        (faults.hang_up, "broke before the whole answer"),
        (faults.answer(429, retry_after="99"), "rate limit is used up; try again in 99 s"),
        (faults.answer(302, location="https://example.com/"), "another host"),
        (faults.answer(200, [{"id": 9}], link='<https://evil.example/x>; rel="next"'), "another host"),
        (faults.answer(200, [{"id": 9}], link='</groups/g/things?size=10>; rel="next"'), "same page|in a circle"),
    ],
)
def test_a_bad_page_is_an_error_with_its_place(tmp_path: Path, reply: faults.Reply, words: str) -> None:
    for bad in (1, 3):
        pages = [
            faults.answer(200, [{"id": i}], link=f'</groups/g/things?page={i + 1}>; rel="next"') for i in range(1, bad)
        ]
        with Api("link", 0) as api, faults.FaultServer({"/groups/g/things": [*pages, reply]}) as server:
            api.url = server.url
            with pytest.raises(Error, match=words) as caught:
                rows(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,))
            assert "/groups/g/things" in str(caught.value) or "rate limit" in words


def test_pages_that_lead_in_a_circle(tmp_path: Path) -> None:
    pages = [faults.answer(200, [{"id": 1}], link=f'</groups/g/things?page={n}>; rel="next"') for n in (2, 3, 2, 3)]
    with Api("link", 0) as api, faults.FaultServer({"/groups/g/things": pages}) as server:
        api.url = server.url
        with pytest.raises(SourceError, match="in a circle"):
            rows(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,))


def test_a_last_page_that_grew_meanwhile_leads_on(tmp_path: Path) -> None:
    def page(number: int, *links: str) -> faults.Reply:
        return faults.answer(200, [{"id": number}], link=", ".join(links))

    def to(number: int, rel: str) -> str:
        return f'</groups/g/things?size=10&page={number}>; rel="{rel}"'

    pages = [page(1, to(2, "next"), to(2, "last")), page(2, to(3, "next"), to(3, "last")), page(3)]
    with Api("link", 0) as api, faults.FaultServer({"/groups/g/things": pages}) as server:
        api.url = server.url
        assert rows(api.source(connector(tmp_path, "link")), "things", "id", narrow=(HERE,)) == [(1,), (2,), (3,)]


# ── alternatives and look-ups ────────────────────────────────────────────────────────────────────────────────────

LOOKUP = """
version: "1"
name: people
base_url: http://127.0.0.1
tables:
  people:
    read:
      - {path: "/people/{login}", single: true, missing: no_rows}
      - {path: "/teams/{team}/people"}
    columns:
      login: {type: VARCHAR, path: login}
      team: VARCHAR
"""


def test_a_table_may_be_read_in_several_ways(tmp_path: Path) -> None:
    file = tmp_path / "connector.yaml"
    file.write_text(LOOKUP)
    script = {
        "/people/ann": [faults.answer(200, {"login": "ann", "team": "t"})],
        "/people/bob": [faults.answer(404, {"message": "Not Found"})],
        "/people/eve": [faults.answer(404, b"<html>", content_type="text/html")],
        "/teams/t/people": [faults.answer(200, [{"login": "ann"}, {"login": "cat"}])],
    }
    with Api("none", 0) as api, faults.FaultServer(script) as server:
        api.url = server.url
        source = api.source(file)
        assert not any(c.required for c in table(source, "people").columns)
        assert rows(source, "people", "login", narrow=(Compare("login", "in", ("ann", "bob")),)) == [("ann",)]
        assert rows(source, "people", narrow=(Compare("team", "=", "t"),)) == [("ann", "t"), ("cat", "t")]
        with pytest.raises(SourceError, match="not found"):
            rows(source, "people", "login", narrow=(Compare("login", "=", "eve"),))
        with pytest.raises(SqlRejected, match="a value for login or team"):
            rows(source, "people", "login")


def test_the_yaml_of_the_test_is_the_format_of_the_docs(tmp_path: Path) -> None:
    assert "{paging}" in TABLE and table(Api("none", 0).source(connector(tmp_path, "none")), "THINGS").name == "things"


# ── what is hidden ───────────────────────────────────────────────────────────────────────────────────────────────


def restricted(source: Any, **more: Any) -> list[tuple[Any, ...]]:
    """The ids that who may see one kind of thing is sent."""
    asked = replace(scan(source, "things", narrow=(HERE,)), **more)
    return [tuple(row.values()) for batch in source.open(asked, fetching()) for row in to_rows(batch)]


def to_rows(batch: Any) -> list[dict[str, Any]]:
    columns = {name: batch.column(i).to_pylist() for i, name in enumerate(batch.schema.names)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


SEEN = Compare("kind", "=", "a")
JUDGED_ELSEWHERE = Compare("seen", ">=", "2000-01-01")


def without_meaning(items: list[dict[str, Any]], *, kind: str) -> list[dict[str, Any]]:
    return [{"id": "no number", "kind": kind, "owner": 5} if i["kind"] == kind else i for i in items]


def test_hidden_items_are_no_drift(tmp_path: Path) -> None:
    with Api("none", 6) as api:
        source = api.source(connector(tmp_path, "none"))
        api.tamper = lambda path, body: without_meaning(body, kind="b")
        assert [r[1] for r in restricted(source, rows=SEEN)] == [2, 4, 6]
        with pytest.raises(SourceError, match="drifted"):
            restricted(source)
        api.tamper = lambda path, body: without_meaning(body, kind="a")
        with pytest.raises(SourceError, match="drifted"):
            restricted(source, rows=SEEN)
        assert restricted(source, rows=Compare("kind", "in", ("c",))) == []


def test_a_key_that_only_hidden_items_have_or_lack_is_no_drift(tmp_path: Path) -> None:
    with Api("none", 6) as api:
        source = api.source(connector(tmp_path, "none"))
        api.tamper = lambda path, body: [i if i["kind"] == "b" else {**i, "id": 7} for i in body]
        api.tamper = lambda path, body: [{k: v for k, v in i.items() if i["kind"] == "a" or k != "born"} for i in body]
        assert len(restricted(source, rows=Compare("kind", "!=", "b"))) == 3
        # Where only the sieve can tell which items are hidden, what they hold is no error either.
        api.tamper = lambda path, body: [{**i, "id": str(i["id"]), "good": None} for i in body]
        assert {r[1] for r in restricted(source, rows=JUDGED_ELSEWHERE)} == {None}


def test_which_items_share_a_page_shows_nowhere(tmp_path: Path) -> None:
    """A visible item without the key is alone on its page, or not, by how many hidden ones there are."""
    with Api("link", 6) as api:
        source = api.source(connector(tmp_path, "link"))
        for lacking in ({2}, {2, 4}, {2, 4, 6}, {2, 4, 6, 1, 3, 5}):
            api.tamper = lambda path, body, gone=lacking: [
                {k: v for k, v in i.items() if i["id"] not in gone or k != "born"} for i in body
            ]
            assert [r[1] for r in restricted(source, rows=SEEN)] == [2, 4, 6]
        with pytest.raises(SourceError, match="drifted: no item"):
            restricted(source)


def test_a_masked_value_of_another_type_is_null(tmp_path: Path) -> None:
    with Api("none", 2) as api:
        source = api.source(connector(tmp_path, "none"))
        api.tamper = lambda path, body: [{**body[0], "owner": 5, "born": "never", "tags": 1, "seen": {}}, body[1]]
        got = restricted(source, masked=frozenset({"owner_name", "born", "seen"}))
        assert got[0][3] is got[0][6] is got[0][7] is None and got[1][6] == date(2024, 1, 3)


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_what_is_not_there_looks_like_what_is_hidden(tmp_path: Path, kind: str) -> None:
    missing = faults.answer(404, b"{}", content_type=kind)
    with Api("link", 0) as api, faults.FaultServer({"/groups/g/things": [missing, missing]}) as server:
        api.url = server.url
        source = api.source(connector(tmp_path, "link"))
        with pytest.raises(SourceError, match="not found"):
            restricted(source)
        assert restricted(source, rows=SEEN) == []


def test_a_later_page_that_is_not_there_is_an_error_for_everyone(tmp_path: Path) -> None:
    pages = [faults.answer(200, [], link='</groups/g/things?page=2>; rel="next"'), faults.answer(404)]
    with Api("link", 0) as api, faults.FaultServer({"/groups/g/things": pages}) as server:
        api.url = server.url
        with pytest.raises(SourceError, match="not found"):
            restricted(api.source(connector(tmp_path, "link")), rows=SEEN)
