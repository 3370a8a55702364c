"""The one place that talks HTTP, against a server that misbehaves in every way it can."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from core.deadline import Deadline
from core.errors import ConfigInvalid, Error, RateLimitExhausted, SourceAuth, SourceError, SourceTimeout
from core.source.auth import Auth
from core.wire import Response, Wire, check, retry_after_s
from core.wire_guard import Guard, is_public, parse
from tests.core import faults
from tests.core.faults import FaultServer, answer

SECRET = "s3cr3t-value"


class OneSecret:
    def get(self, name: str) -> str:
        return SECRET

    def forget(self, name: str) -> bool:
        return False


def wire(*allow: str, **more: Any) -> Wire:
    return Wire(OneSecret(), network_allow=allow or ("127.0.0.1",), **more)


def get(url: str, *, seconds: float = 10.0, w: Wire | None = None, **more: Any) -> Response:
    used = w or wire()
    try:
        return used.send("GET", url, deadline=Deadline(seconds), **more)
    finally:
        if w is None:
            used.close()


# ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_answer() -> None:
    body = b"x" * 100_000
    script = {
        "/a": [answer(200, b"[1]", x_thing="A")],
        "/z": [faults.zipped(body)],
        "/c": [faults.chunked(b"[1,", b"2]")],
    }
    with FaultServer(script) as server:
        plain = get(server.url + "/a?q=1")
        assert (plain.status, plain.body, plain.headers["X-Thing"], plain.calls) == (200, b"[1]", "A", 1)
        assert get(server.url + "/z").body == body
        assert get(server.url + "/c").body == b"[1,2]"


def test_connections_are_reused_and_a_closed_one_is_noticed() -> None:
    with FaultServer({"/a": [answer()] * 3 + [faults.hang_up, answer()]}) as server:
        w = wire()
        for _ in range(3):
            get(server.url + "/a", w=w)
        assert server.connections == 1
        assert get(server.url + "/a", w=w).calls == 1, "a kept connection that is gone is no failed attempt"
        assert server.connections == 2
        w.close()


def test_many_threads_each_get_their_own_answer() -> None:
    with FaultServer({f"/{i}": [answer(200, i)] for i in range(40)}) as server:
        w, found = wire(), {}
        threads = [
            threading.Thread(target=lambda i=i: found.update({i: get(f"{server.url}/{i}", w=w).body}))
            for i in range(40)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        w.close()
        assert found == {i: str(i).encode() for i in range(40)}


@pytest.mark.parametrize(
    "broken",
    [faults.cut(), faults.cut_chunk(), faults.hang_up, faults.zipped(b"[1]" * 9999, cut=9), answer(503), answer(500)],
)
def test_a_broken_answer_is_asked_for_again(broken: faults.Reply) -> None:
    with FaultServer({"/a": [broken, broken, answer(200, b"[1]")]}) as server:
        found = get(server.url + "/a")
        assert (found.status, found.body, found.calls) == (200, b"[1]", 3)


@pytest.mark.parametrize(
    "broken", [faults.cut(), faults.cut_chunk(), faults.hang_up, faults.zipped(b"[1]" * 999, cut=9)]
)
def test_a_body_that_stays_cut_is_an_error_and_never_a_part(broken: faults.Reply) -> None:
    with FaultServer({"/a": [broken]}) as server:
        with pytest.raises(SourceError, match="broke before the whole answer came"):
            get(server.url + "/a")
        assert len(server.requests) == 3


def test_only_get_is_repeated() -> None:
    with FaultServer({"/a": [answer(503), answer(200)]}) as server:
        w = wire()
        assert w.send("POST", server.url + "/a", body=b"{}", deadline=Deadline(5)).status == 503
        assert w.send("GET", server.url + "/a", deadline=Deadline(5), retries=False).status == 200
        assert len(server.requests) == 2


def test_the_size_limit_holds_for_what_a_gzip_unfolds_to() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with FaultServer({"/b": [answer(200, bomb, content_encoding="gzip")], "/l": [answer(200, b"x" * 2000)]}) as server:
        for path in ("/b", "/l"):
            with pytest.raises(SourceError, match="larger than 1000 bytes"):
                get(server.url + path, max_bytes=1000)
        assert len(server.requests) == 2, "too large stays too large"


def test_an_answer_in_an_unknown_compression_is_refused() -> None:
    odd = answer(200, b"???", content_encoding="br")
    with FaultServer({"/a": [odd]}) as server, pytest.raises(SourceError, match="compressed as br"):
        get(server.url + "/a")


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reply", [faults.slow(30), faults.drip(0.05, 1000)])
def test_nothing_outlasts_the_deadline(reply: faults.Reply) -> None:
    with FaultServer({"/a": [reply]}) as server:
        started = time.monotonic()
        with pytest.raises(SourceTimeout):
            get(server.url + "/a", seconds=0.5)
        assert time.monotonic() - started < 10


def test_a_short_wait_is_kept_and_a_long_one_is_told() -> None:
    script = {
        "/short": [answer(429, retry_after="0"), answer(200)],
        "/long": [answer(429, retry_after="3600")],
        "/github": [answer(403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(time.time()) + 600))],
        "/second": [answer(403, retry_after="60")],
    }
    with FaultServer(script) as server:
        assert get(server.url + "/short").calls == 2
        for path, least in (("/long", 3_500_000), ("/github", 590_000), ("/second", 60_000)):
            found = get(server.url + path)
            assert found.calls == 1
            with pytest.raises(RateLimitExhausted) as caught:
                check(found, source="github", target=server.url + path)
            assert caught.value.retry_after_ms is not None and least <= caught.value.retry_after_ms <= 3_600_000
            assert caught.value.details["scope"] == "github"


def test_retry_after_in_each_of_its_forms() -> None:
    assert retry_after_s({"retry-after": "7"}) == 7
    assert retry_after_s({"retry-after": formatdate(1_000_060, usegmt=True)}, now=1_000_000) == 60
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000030"}, now=1_000_000) == 30
    assert retry_after_s({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "1000030"}, now=1_000_000) is None
    assert retry_after_s({}) is None


# ── what a status means ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, SourceAuth, "does not know the credential secret:token"),
        (403, SourceAuth, "does not allow the credential secret:token"),
        (404, SourceError, "was not found"),
        (422, SourceError, "parameters"),
        (500, SourceError, "an error of its own"),
        (302, SourceError, "another host"),
        (418, SourceError, "refused"),
    ],
)
def test_each_status_becomes_an_error_that_says_what_to_do(status: int, kind: type[Error], words: str) -> None:
    with FaultServer({"/a": [answer(status)]}) as server:
        found = get(server.url + "/a?token=hidden")
    with pytest.raises(kind, match=words) as caught:
        check(found, source="github", target=server.url + "/a", credential="secret:token")
    assert "hidden" not in str(caught.value) + str(caught.value.details)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Auth("bearer", "t"), "authorization", f"Bearer {SECRET}"),
        (Auth("header", "t", "X-Key", template="Token {secret}"), "x-key", f"Token {SECRET}"),
        (Auth("basic", "t", user="me"), "authorization", "Basic bWU6czNjcjN0LXZhbHVl"),
    ],
)
def test_a_credential_is_added_at_send_time(auth: Auth, header: str, value: str) -> None:
    with FaultServer({"/a": [answer()]}) as server:
        get(server.url + "/a", credential=auth)
        assert server.requests[0][2][header] == value


def test_no_message_holds_a_secret() -> None:
    """Of a query-string key, in every way a request can fail."""
    key = Auth("query", "t", "api_key")
    failing = {"/cut": [faults.cut()], "/slow": [faults.slow(20)], "/up": [faults.hang_up]}
    said = []
    with FaultServer({**failing, "/ok": [answer()]}) as server:
        get(server.url + "/ok?a=1", credential=key)
        assert server.paths() == [f"/ok?a=1&api_key={SECRET}"]
        for url in (*(server.url + path for path in failing), "http://127.0.0.1:1/x", "http://10.0.0.1/"):
            with pytest.raises(Error) as caught:
                get(url + "?a=private", seconds=0.6, credential=key, headers={"Authorization": f"Bearer {SECRET}"})
            said.append(f"{caught.value} {caught.value.details} {caught.value.__context__} {caught.value.__cause__}")
    assert not any(SECRET in text or "private" in text for text in said), said


def test_a_header_that_is_none_is_refused_without_repeating_it() -> None:
    with FaultServer({"/a": [answer()]}) as server:
        with pytest.raises(ConfigInvalid) as caught:
            get(server.url + "/a", headers={"X-Key": f"{SECRET}\r\nX-More: 1"})
        assert SECRET not in str(caught.value) and not server.requests


def test_a_label_stands_for_a_url_that_is_a_secret() -> None:
    with pytest.raises(SourceError, match=r"^channel ops cannot be reached") as caught:
        get(f"http://127.0.0.1:1/services/{SECRET}", label="channel ops")
    assert SECRET not in str(caught.value)


class Rotating:
    """The first value was kept before it was rotated; ``kept`` is whether this manager keeps values at all."""

    def __init__(self, kept: bool = True) -> None:
        self.kept, self.values, self.forgotten = kept, ["old", "new", "newer"], 0

    def get(self, name: str) -> str:
        return self.values[self.forgotten]

    def forget(self, name: str) -> bool:
        assert name == "t"
        self.forgotten += self.kept
        return self.kept


def test_a_secret_that_was_rotated_is_asked_for_again_once() -> None:
    with FaultServer({"/a": [answer(401), answer(200, b"[1]")], "/b": [answer(401)] * 3}) as server:
        secrets = Rotating()
        w = Wire(secrets, network_allow=("127.0.0.1",))
        found = get(server.url + "/a", w=w, credential=Auth("bearer", "t"))
        assert (found.status, found.calls, secrets.forgotten) == (200, 2, 1)
        assert [headers["authorization"] for _, _, headers in server.requests] == ["Bearer old", "Bearer new"]
        found = get(server.url + "/b", w=w, credential=Auth("bearer", "t"))
        assert (found.status, found.calls, secrets.forgotten) == (401, 2, 2), "one that is wrong is not tried for ever"
        w.close()
        fresh = Wire(Rotating(kept=False), network_allow=("127.0.0.1",))
        assert get(server.url + "/b", w=fresh, credential=Auth("bearer", "t")).calls == 1
        fresh.close()


def test_a_credential_does_not_travel_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"api.example": "93.184.216.34"})
    for more in ({"credential": Auth("bearer", "t")}, {"headers": {"Authorization": "x"}}):
        with pytest.raises(ConfigInvalid, match="unencrypted"):
            get("http://api.example/a", **more)


# ── redirects ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_redirects_stay_with_their_origin() -> None:
    other = FaultServer({"/steal": [answer()]})
    script = {
        "/moved": [answer(301, location="/here?x=1")],
        "/here": [answer(200, b"[1]")],
        "/away": [answer(302, location=other.url + "/steal")],
        "/inward": [answer(302, location="http://169.254.169.254/latest/meta-data")],
        "/round": [answer(302, location="/round")],
        "/space": [answer(302, location="/a b")],
        "/port": [answer(302, location="http://[half")],
    }
    with other, FaultServer(script) as server:
        assert get(server.url + "/moved", credential=Auth("bearer", "t")).body == b"[1]"
        assert server.requests[-1][2]["authorization"] == f"Bearer {SECRET}"
        for path in ("/away", "/inward"):
            assert get(server.url + path, credential=Auth("bearer", "t")).status == 302
        assert not other.requests
        with pytest.raises(SourceError, match="in a circle"):
            get(server.url + "/round")
        for path in ("/space", "/port"):
            with pytest.raises(SourceError, match="no URL"):
                get(server.url + path)
        assert wire().send("POST", server.url + "/moved", body=b"", deadline=Deadline(5)).status == 301


# ── where a request may go ───────────────────────────────────────────────────────────────────────────────────────

HOSTILE = """
http://127.0.0.1/ http://127.1/ http://2130706433/ http://0x7f000001/ http://017700000001/ http://0/ http://0.0.0.0/
http://localhost/ http://localhost./ http://[::1]/ http://[::]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/
http://[64:ff9b::7f00:1]/ http://[2002:7f00:1::]/ http://[fe80::1]/ http://[fd00::1]/ http://[ff02::1]/
http://169.254.169.254/ http://[fd00:ec2::254]/ http://10.0.0.1/ http://172.16.0.1/ http://192.168.0.1/
http://100.64.0.1/ http://198.18.0.1/ http://224.0.0.1/ http://255.255.255.255/ http://240.0.0.1/ http://192.0.2.1/
ftp://example.com/ file:///etc/passwd gopher://x/ //example.com/ http:///x http:// https:/x example.com
http://user@127.0.0.1/ http://user:pw@example.com/ http://example.com@127.0.0.1/ http://example.com:80@127.0.0.1/
http://127.0.0.1\\@example.com/ http://example.com\\.evil/ http://exa%6dple.com/ http://ex_ample%00.com/
http://example.com:99999/ http://example.com:-1/ http://[::1 http://①②⑦.⓪.⓪.①/ http://127。0。0。1/
""".split()


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls_reach_nothing(url: str) -> None:
    with pytest.raises((ConfigInvalid, SourceError)) as caught:
        get(url, w=Wire(OneSecret()), seconds=2, retries=False)
    if isinstance(caught.value, SourceError):  # refused, and not merely tried in vain
        assert "not public" in str(caught.value) or "has no address" in str(caught.value)


@pytest.mark.parametrize("url", ["http://a b/", "http://a/\r\nX: 1", "http://a\tb/", "http://a/\x00"])
def test_urls_with_control_characters_are_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        parse(url)


def resolve(monkeypatch: pytest.MonkeyPatch, known: dict[str, str]) -> list[str]:
    """Answer name look-ups from ``known`` (the world outside, not the code under test)."""
    asked: list[str] = []

    real = socket.getaddrinfo

    def look(host: str, port: int, *given: Any, **named: Any) -> Any:
        if host[0].isdigit():  # an address: nothing is looked up
            return real(host, port, *given, **named)
        asked.append(host)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in known[host].split()]

    monkeypatch.setattr("core.wire_guard.socket.getaddrinfo", look)
    return asked


def test_the_connection_goes_to_the_judged_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is looked up twice could be public the first time and private the second."""
    with FaultServer({"/a": [answer()]}) as server:
        asked = resolve(monkeypatch, {"api.example": "127.0.0.1"})
        w = wire("api.example")
        for _ in range(3):
            assert get(f"http://api.example:{server.port}/a", w=w).status == 200
        assert asked == ["api.example"]
        assert server.requests[0][2]["host"] == f"api.example:{server.port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"api.example": "93.184.216.34 10.0.0.1"})
    with pytest.raises(SourceError, match=r"network\.allow"):
        get("http://api.example/", w=Wire(OneSecret()))


def test_the_next_address_is_tried_where_one_does_not_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer({"/a": [answer()]}) as server:
        resolve(monkeypatch, {"api.example": "127.0.0.2 127.0.0.1"})
        assert get(f"http://api.example:{server.port}/a", w=wire("127.0.0.0/8")).status == 200


def test_what_may_be_reached_although_private() -> None:
    guard = Guard(["127.0.0.0/8", "intranet", "fd00::/8"])
    assert guard.allowed("x", "127.9.9.9") and guard.allowed("intranet", "10.0.0.1") and guard.allowed("x", "fd00::1")
    assert guard.allowed("x", "::ffff:127.0.0.1")
    assert not guard.allowed("intranet.evil", "10.0.0.1") and not guard.allowed("x", "10.0.0.1")
    assert is_public("8.8.8.8") and is_public("2606:4700::1111") and not is_public("fe80::1%eth0")


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Any, str]:
    import trustme

    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, str(file)


def tls(ca: Any, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


def test_the_certificate_is_checked_against_the_name(
    authority: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, file = authority
    resolve(monkeypatch, {"api.example": "127.0.0.1", "other.example": "127.0.0.1"})
    with FaultServer({"/a": [answer(200, b"[1]")]}, tls=tls(ca, "api.example")) as server:
        w = wire("127.0.0.1", ca_file=file)
        assert get(f"https://api.example:{server.port}/a", w=w).body == b"[1]"
        for url, used in (
            (f"https://other.example:{server.port}/a", w),
            (f"https://api.example:{server.port}/a", wire()),
        ):
            with pytest.raises(SourceError, match="certificate is not valid"):
                get(url, w=used)
        assert len(server.requests) == 1
        w.close()


def test_a_server_that_speaks_no_tls() -> None:
    with FaultServer({"/a": [answer()]}) as server, pytest.raises(SourceError, match="TLS"):
        get(server.url.replace("http", "https") + "/a", seconds=5)
