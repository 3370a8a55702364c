"""Mail over real SMTP: what arrives, what is refused, what breaks, and that no password shows."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigInvalid, Error
from core.model import Channel
from core.notify.send import SendFailed, SendResult
from core.sqlsentinel import Notify, _channel
from tests.core.notify.mailserver import PASSWORD, USER, Inbox, free_port, mail_server
from tests.core.notify.parts import deliver, events, firing


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with mail_server(tmp_path) as made:
        yield made


def settings(inbox: Inbox, **changes: Any) -> dict[str, Any]:
    return {
        "host": inbox.host,
        "port": inbox.port,
        "user": USER,
        "password": "secret:smtp",
        "ca_file": inbox.ca_file,
        "from": "OmniSentinel <omni@example.com>",
        **changes,
    }


def mail(
    inbox: Inbox, event: Any = None, *, password: str = PASSWORD, seconds: float = 10.0, **options: Any
) -> SendResult:
    channel = Channel("oncall", "email", {"to": ["ann@example.com"], **options.pop("channel", {})})
    return deliver(
        event or firing("oncall"),
        channel,
        smtp=settings(inbox, **options),
        secrets={"smtp": password},
        seconds=seconds,
    )


# ── what arrives ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mail_over_starttls_and_login(inbox: Inbox) -> None:
    event = firing(
        "oncall", columns=("note",), row=("grüße <b>&",), runbook="https://wiki/revenue", description="Orders"
    )
    assert mail(inbox, event).detail == "SMTP 250"
    (got,) = inbox.mails
    assert inbox.encrypted == [True]
    assert inbox.logins != []
    assert got["Subject"] == "[ALERT] revenue: 1234.50 (threshold 1000)"
    assert got["From"] == "OmniSentinel <omni@example.com>"
    assert got["To"] == "ann@example.com"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["X-OmniSentinel-Alert"] == "revenue"
    assert got["Date"] is not None
    assert inbox.recipients == [["ann@example.com"]]


def test_it_has_a_text_and_an_html_part(inbox: Inbox) -> None:
    event = firing(
        "oncall", columns=("note",), row=("grüße <b>&",), runbook="https://wiki/revenue", description="Orders"
    )
    mail(inbox, event)
    (got,) = inbox.mails
    assert got.get_content_type() == "multipart/alternative"
    text, html = (p.get_content() for p in got.iter_parts())
    for shown in (text, html):
        for part in (
            "revenue",
            "1234.50",
            "1000",
            "grüße",
            "https://wiki/revenue",
            "Orders",
            "10:00:00 CET (Europe/Berlin)",
        ):
            assert part in shown
    assert "grüße <b>&" in text
    assert "grüße &lt;b&gt;&amp;" in html
    assert "<b>&" not in html
    assert 'href="https://wiki/revenue"' in html
    assert all(len(line) <= 998 for line in inbox.raw[0].split(b"\r\n"))


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "ask ann"])
def test_only_web_addresses_become_links(inbox: Inbox, runbook: str) -> None:
    mail(inbox, firing("oncall", runbook=runbook))
    html = list(inbox.mails[0].iter_parts())[1].get_content()
    assert "href" not in html
    assert runbook in html


def test_every_kind_is_a_mail(inbox: Inbox) -> None:
    told = events("oncall")
    for event in told.values():
        mail(inbox, event)
    assert len({m["Message-ID"] for m in inbox.mails}) == len(told)
    by_kind = dict(zip(told, inbox.mails, strict=True))
    assert (
        by_kind["recovered"]["References"] == by_kind["worsened"]["References"] != by_kind["error_over"]["References"]
    )
    assert by_kind["firing"]["References"] == by_kind["recovered"]["References"]  # mail clients show them as one thread


def test_the_same_message_is_the_same_mail(inbox: Inbox) -> None:
    event = firing("oncall")
    mail(inbox, event)
    mail(inbox, event)
    first, second = inbox.mails
    assert first["Message-ID"] == second["Message-ID"] == f"<{event['id'].replace('.', '%2E')}@omnisentinel>"


def test_a_long_strange_id_stays_one_message_id(inbox: Inbox) -> None:
    event = firing("oncall", columns=("k",), row=("x.y,z" + "ü" * 400,), key=("k",))
    mail(inbox, event)
    raw = inbox.raw[0].split(b"\r\n\r\n")[0]
    (line,) = [h for h in raw.split(b"\r\n") if h.lower().startswith(b"message-id:")]
    assert line.endswith(b"@omnisentinel>")
    assert b" " not in line.removeprefix(b"Message-ID: ")
    assert b"=?" not in line
    assert b"=?" not in next(h for h in raw.split(b"\r\n") if h.startswith(b"References:"))
    subject = raw.split(b"Subject: ")[1].split(b"\r\nFrom:")[0]
    assert all(len(part) <= 78 for part in subject.split(b"\r\n"))


def test_nothing_can_be_put_into_the_headers(inbox: Inbox) -> None:
    evil = "x\r\nBcc: eve@example.com\r\n\r\nhello"
    event = firing("oncall", columns=("k",), row=(evil,), key=("k",), labels={"a\r\nBcc: eve@example.com": "b"})
    event = {**event, "alert": evil}
    mail(inbox, event)
    (got,) = inbox.mails
    assert got["Bcc"] is None
    assert inbox.recipients == [["ann@example.com"]]
    assert "eve@example.com" in got["Subject"]


def test_a_subject_of_the_channels_own(inbox: Inbox) -> None:
    event = firing("oncall", columns=("k",), row=("ü\r\nBcc: eve@example.com",), key=("k",))
    mail(inbox, event, channel={"subject": "Größe {alert_name} {status}\r\nBcc: eve@example.com {key} {alert.slot}"})
    (got,) = inbox.mails
    assert got["Subject"] == "Größe revenue ALERT Bcc: eve@example.com k=ü Bcc: eve@example.com {alert.slot}"
    assert got["Bcc"] is None
    assert "<title>Größe revenue ALERT" in got.get_payload(1).get_content()


def test_a_subject_as_sqlsentinel_files_have_it(inbox: Inbox) -> None:
    kept = Notify(channel="email", recipients=["ann@example.com"], subject="Alert: {alert_name}")
    mail(inbox, events("oncall")["firing"], channel=_channel(kept, "revenue"))
    mail(inbox, events("oncall")["error"], channel=_channel(kept, "revenue"))
    assert [got["Subject"] for got in inbox.mails] == ["Alert: revenue", "[BROKEN] Alert: revenue"]


def test_a_broken_query_says_what_to_do_in_both_parts(inbox: Inbox) -> None:
    mail(inbox, events("oncall", place="alerts/revenue.yaml:1")["error"])
    (got,) = inbox.mails
    assert got["Subject"] == "[BROKEN] revenue: SOURCE_TIMEOUT"
    for part in got.iter_parts():
        text = part.get_content()
        for shown in ("nothing watches it: shop did not answer within 5 s", "Look whether the source is up", "rq"):
            assert shown in text
        assert "omni alert run revenue --dry-run" in text


@pytest.mark.parametrize("key", ["to", "from"])
@pytest.mark.parametrize("address", ["a@b.c\r\nBcc: eve@x.y", "nobody", "a b@c.d", "@x.y", "a@", ""])
def test_what_is_not_an_address(inbox: Inbox, key: str, address: str) -> None:
    with pytest.raises(ConfigInvalid, match="oncall"):
        mail(inbox, channel={key: address} if key == "from" else {"to": [address]})
    assert inbox.mails == []


def test_addresses_with_names_and_umlauts(inbox: Inbox) -> None:
    mail(inbox, channel={"to": ["Ann Ünal <ann@exämple.com>", "bob@example.com"]})
    (got,) = inbox.mails
    assert [a.display_name for a in got["To"].addresses] == ["Ann Ünal", ""]
    assert inbox.recipients == [["ann@xn--exmple-cua.com", "bob@example.com"]]


def test_one_address_need_not_be_a_list(inbox: Inbox) -> None:
    mail(inbox, channel={"to": "bob@example.com"})
    assert inbox.recipients == [["bob@example.com"]]


def test_a_channel_overrides_the_project(inbox: Inbox) -> None:
    mail(inbox, host="nowhere.invalid", channel={"host": inbox.host, "from": "team@example.com"})
    assert inbox.mails[0]["From"] == "team@example.com"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it is TLS from the first byte
def test_tls_from_the_start(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls="tls") as inbox:
        mail(inbox, tls="tls")
        assert len(inbox.mails) == 1


def test_no_tls_where_it_is_asked_for(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls="none", auth=False) as inbox:
        mail(inbox, tls="none", user=None)
        assert inbox.encrypted == [False]


# ── what is refused, and what breaks ─────────────────────────────────────────────────────────────────────────────


def failing(inbox: Inbox, retryable: bool, *says: str, **options: Any) -> Error:
    with pytest.raises(SendFailed) as caught:
        mail(inbox, **options)
    assert caught.value.retryable is retryable
    shown = json.dumps(caught.value.to_dict("rq"), ensure_ascii=False)
    for text in ("oncall", *says):
        assert text in shown
    assert "s3cret" not in shown
    assert caught.value.__cause__ is None  # nor in a traceback
    return caught.value


def test_server_down(inbox: Inbox) -> None:
    failing(inbox, True, "cannot be reached", port=free_port())


def test_unknown_host(inbox: Inbox) -> None:
    failing(inbox, True, "nowhere.invalid", host="nowhere.invalid")


def test_wrong_password(inbox: Inbox) -> None:
    failing(inbox, True, "login of 'bot'", "535", password="wrong-s3cret")
    assert inbox.mails == []


def test_missing_password(inbox: Inbox) -> None:
    channel = Channel("oncall", "email", {"to": ["ann@example.com"]})
    with pytest.raises(ConfigInvalid, match="smtp"):
        deliver(firing("oncall"), channel, smtp=settings(inbox), secrets={})


def test_every_recipient_refused_for_good(inbox: Inbox) -> None:
    inbox.refuse = {"ann@example.com": "550 5.1.1 no such user"}
    failing(inbox, False, "550", "no such user", "ann@example.com")


def test_greylisting(inbox: Inbox) -> None:
    inbox.refuse = {"ann@example.com": "450 4.2.0 greylisted, come back"}
    failing(inbox, True, "450", "greylisted")
    inbox.refuse = {}
    mail(inbox)
    assert len(inbox.mails) == 1


def test_one_of_two_greylisted_means_none_gets_it_yet(inbox: Inbox) -> None:
    inbox.refuse = {"bob@example.com": "451 later"}
    failing(inbox, True, "451", channel={"to": ["ann@example.com", "bob@example.com"]})
    assert inbox.mails == []


def test_one_of_two_refused_for_good_is_named(inbox: Inbox) -> None:
    inbox.refuse = {"bob@example.com": "550 gone"}
    result = mail(inbox, channel={"to": ["ann@example.com", "bob@example.com"]})
    assert inbox.recipients == [["ann@example.com"]]
    assert "bob@example.com" in result.detail


@pytest.mark.parametrize(
    ("reply", "retryable"), [("554 spam", False), ("552 too large", False), ("452 disk full", True)]
)
def test_the_message_is_refused(inbox: Inbox, reply: str, retryable: bool) -> None:
    inbox.reply = reply
    failing(inbox, retryable, reply)


def test_the_server_dies_within_data(inbox: Inbox) -> None:
    """Whether it took the mail is unknown: it is sent again, as the same mail."""
    inbox.die = True
    failing(inbox, True, "broke off")
    inbox.die = False
    mail(inbox)
    assert len({m["Message-ID"] for m in inbox.mails}) == 1


def test_a_certificate_nobody_trusts(inbox: Inbox) -> None:
    failing(inbox, True, "certificate", "ca_file", ca_file="")


def test_a_certificate_of_another(tmp_path: Path) -> None:
    with mail_server(tmp_path, name="mail.example.org") as inbox:
        failing(inbox, True, "certificate")


def test_a_ca_file_that_is_not_there(inbox: Inbox) -> None:
    with pytest.raises(Error) as caught:
        mail(inbox, ca_file="/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in caught.value.message


def test_no_starttls_means_no_mail(tmp_path: Path) -> None:
    """Somebody between us and the server must not be able to talk us out of encryption."""
    with mail_server(tmp_path, tls="none", auth=False) as inbox:
        failing(inbox, True, "STARTTLS", user=None, ca_file=None)
        assert inbox.mails == []


def test_a_server_that_says_nothing(inbox: Inbox) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Error) as caught:
            mail(inbox, port=silent.getsockname()[1], seconds=0.2)
    assert caught.value.retryable


def test_a_server_that_drips(inbox: Inbox) -> None:
    """Each answer comes within its time, but not all of them within the deadline."""
    with socket.socket() as slow:
        slow.bind(("127.0.0.1", 0))
        slow.listen()
        done, cut_off = threading.Event(), threading.Event()

        def drip() -> None:
            talk, _ = slow.accept()
            with talk:
                talk.sendall(b"220 hello\r\n")
                for _ in range(200):  # ten seconds at most
                    if done.wait(0.05):
                        return
                    try:
                        talk.sendall(b"250-more\r\n")
                    except OSError:
                        cut_off.set()
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(Error) as caught:
                mail(inbox, port=slow.getsockname()[1], tls="none", seconds=0.5)
            assert cut_off.wait(5)
        finally:
            done.set()
            thread.join()
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": ""}, "smtp.host"),
        ({"port": "many"}, "port"),
        ({"tls": "perhaps"}, "starttls, tls or none"),
        ({"from": ""}, "smtp.from"),
        ({"channel": {"to": []}}, "recipients"),
    ],
)
def test_wrong_settings(inbox: Inbox, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        mail(inbox, **options)
    assert says in caught.value.message
