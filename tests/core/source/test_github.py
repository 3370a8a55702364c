"""The GitHub connector against recorded traffic and its own samples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import SourceAuth, SourceError
from core.model import Compare
from core.source.auth import Auth
from core.source.contract import check_source
from core.source.pages import RestSource
from core.source.registry import BUILT_IN
from core.source.spec import load
from core.wire import Wire
from tests.core import faults
from tests.core.source.reading import fetching, rows, table
from tests.parts import need
from tests.replay.obtain import recordings
from tests.replay.server import Recorded, ReplayServer

CONNECTOR = BUILT_IN / "github" / "connector.yaml"
HERE = Compare("repository", "=", "PyGithub/PyGithub")
TABLES = ("issues", "pull_requests", "repositories", "commits", "users")


class Token:
    def get(self, name: str) -> str:
        return "right-token"

    def forget(self, name: str) -> bool:
        return False


def github(url: str, file: Path = CONNECTOR) -> RestSource:
    wire = Wire(Token(), network_allow=["127.0.0.1"])
    return RestSource("github", load(file), wire, base_url=url, auth=Auth("bearer", "github_token"))


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    folder = recordings()
    need("recorded GitHub traffic", folder is not None, "run: python -m tests.replay.obtain")
    assert folder is not None
    return Recorded.load(folder, prefer=("Issue33.testOpenIssues.txt",))


@pytest.fixture
def server(recorded: Recorded) -> Iterator[ReplayServer]:
    with ReplayServer(recorded) as running:
        yield running


# ── recorded ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_issues_of_a_repository(server: ReplayServer) -> None:
    source = github(server.url)
    got = rows(source, "issues", "number", "state", "user_login", "pull_request_html_url", "created_at", narrow=(HERE,))
    assert len(got) == len({number for number, *_ in got}) == 135
    assert {state for _, state, *_ in got} == {"open", "closed"}
    assert sum(pull is not None for *_, pull, _ in got) > 10
    assert min(at for *_, at in got) == datetime(2012, 3, 6, 16, 46, 49, tzinfo=UTC)
    first, second = server.requests
    assert first == "GET /repos/PyGithub/PyGithub/issues?state=all&per_page=100" and "page=2" in second


@pytest.mark.parametrize("name", ["issues", "pull_requests", "commits"])
def test_the_contract_holds_on_recorded_data(server: ReplayServer, tmp_path: Path, name: str) -> None:
    small = tmp_path / "connector.yaml"
    small.write_text(CONNECTOR.read_text().replace("size: 100", "size: 30"))
    check_source(github(server.url), name, bind=(HERE,), other_paging=github(server.url, small))


@pytest.mark.parametrize(
    ("name", "bind"),
    [
        ("users", Compare("login", "in", ("jacquev6", "nvie", "nobody-has-this-one"))),
        ("repositories", Compare("full_name", "=", "PyGithub/PyGithub")),
        ("repositories", Compare("owner_login", "=", "jacquev6")),
    ],
)
def test_the_contract_holds_for_looked_up_tables(server: ReplayServer, name: str, bind: Compare) -> None:
    check_source(github(server.url), name, bind=(bind,))


def test_state_is_filtered_exactly_by_github_itself(recorded: Recorded) -> None:
    """What earns ``exact``: in every recorded list that was asked for by state, all items have it."""
    seen = 0
    for (_, path, query), exchange in recorded.exact.items():
        asked = dict(query).get("state", "open")
        if exchange.status != 200 or not re.fullmatch(r"/repos/[^/]+/[^/]+/(issues|pulls)", path):
            continue
        items = [i for i in json.loads(exchange.body) if isinstance(i, dict) and "state" in i]
        assert {i["state"] for i in items} <= {asked}
        seen += len(items)
    assert seen > 100


def test_since_keeps_what_was_updated_since(recorded: Recorded) -> None:
    """What earns ``superset`` (and ours asks from a second earlier)."""
    found = [
        (dict(q)["since"], e) for (_, p, q), e in recorded.exact.items() if "since" in dict(q) and p.endswith("/issues")
    ]
    times = [(since, i["updated_at"]) for since, e in found for i in json.loads(e.body) if "updated_at" in i]
    assert times and all(at >= since for since, at in times)


def test_recorded_links_are_walked_to_their_end(server: ReplayServer, tmp_path: Path) -> None:
    """The recorded answers themselves, 14 pages as GitHub cut and linked them in 2012 (of which only ids were kept)."""
    file = tmp_path / "connector.yaml"
    file.write_text(
        'version: "1"\nname: old\nbase_url: https://api.github.com\npaging: {style: link}\ntables:\n  issues:\n'
        '    read: {path: "/repos/{repository}/issues"}\n    columns:\n'
        '      repository: {type: VARCHAR, pattern: ".+/.+"}\n      id: BIGINT\n'
    )
    where = Compare("repository", "=", "openframeworks/openFrameworks")
    got = rows(github(server.url, file), "issues", "id", narrow=(where,))
    assert len(got) == len(set(got)) == 338
    assert len(server.requests) == 14


def test_users_and_repositories(server: ReplayServer) -> None:
    source = github(server.url)
    login = Compare("login", "in", ("jacquev6", "nobody-has-this-one"))
    assert rows(source, "users", "login", "name", narrow=(login,)) == [("jacquev6", "Vincent Jacques")]
    mine = rows(source, "repositories", "full_name", narrow=(Compare("owner_login", "=", "jacquev6"),))
    assert ("jacquev6/DrawTurksHead",) in mine
    with pytest.raises(SourceError, match=r"/repos/nobody/nothing/issues was not found"):
        rows(source, "issues", "number", narrow=(Compare("repository", "=", "nobody/nothing"),))


def test_a_wrong_token_names_the_secret(recorded: Recorded) -> None:
    with ReplayServer(recorded, token="other-token") as server:
        with pytest.raises(SourceAuth, match="secret:github_token") as caught:
            rows(github(server.url), "issues", "number", narrow=(HERE,))
        assert "right-token" not in str(caught.value) + str(caught.value.details)


def test_recorded_quota_answers_are_rate_limits(recorded: Recorded) -> None:
    spent = [e for e in recorded.exact.values() if e.status == 403 and e.headers.get("x-ratelimit-remaining") == "0"]
    from core.errors import RateLimitExhausted
    from core.wire import Headers, Response, check

    for exchange in spent:
        with pytest.raises(RateLimitExhausted):
            check(Response(403, Headers(exchange.headers), b"", 1.0), source="github", target="x")


# ── samples ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", TABLES)
def test_every_table_reads_its_sample(name: str) -> None:
    sample: Any = json.loads((CONNECTOR.parent / "samples" / f"{name}.json").read_text())
    paths = {
        "issues": "/repos/acme/shop/issues",
        "pull_requests": "/repos/acme/shop/pulls",
        "commits": "/repos/acme/shop/commits",
        "repositories": "/users/acme/repos",
        "users": "/users/ann",
    }
    bind = {"repositories": ("owner_login", "acme"), "users": ("login", "ann")}.get(name, ("repository", "acme/shop"))
    body = sample[0] if name == "users" else sample
    with faults.FaultServer({paths[name]: [faults.answer(200, body)]}) as server:
        source = github(server.url)
        got = rows(source, name, narrow=(Compare(bind[0], "=", bind[1]),), fetch=fetching())
        assert len(got) == len(sample)
        names = [c.name for c in table(source, name).columns if not c.hidden]
        assert names.index(bind[0]) >= 0 and got[0][names.index(bind[0])] == bind[1]
        agent = server.requests[0][2]
        assert agent["x-github-api-version"] == "2022-11-28" and agent["authorization"] == "Bearer right-token"


def test_the_columns_that_others_rely_on() -> None:
    columns = {c.name: c for c in table(github("http://127.0.0.1"), "issues").columns}
    promised = "repository number title state user_login comments locked labels created_at updated_at closed_at body"
    assert list(columns)[:12] == promised.split() and list(columns)[-1] == "_raw"
    assert columns["repository"].required and columns["labels"].type == "JSON" and columns["_raw"].hidden
    assert columns["created_at"].type == "TIMESTAMPTZ"
