"""Words for every kind of event."""

from __future__ import annotations

import pytest

from core.notify.message import message
from core.notify.slack import MAX_FIELD, MAX_FIELDS, MAX_HEADER, MAX_SECTION, payload
from tests.core.notify.parts import events, firing


@pytest.mark.parametrize(
    ("kind", "subject", "tone"),
    [
        ("firing", "[WARN] revenue: 11 (threshold 10)", "warn"),
        ("worsened", "[NOW ALERT] revenue: 20 (threshold 10)", "alert"),
        ("repeat", "[STILL ALERT] revenue: 20 (threshold 10)", "alert"),
        ("recovered", "[RECOVERED] revenue: 1 (threshold 10)", "ok"),
        ("error", "[BROKEN] revenue: SOURCE_TIMEOUT", "alert"),
        ("error_over", "[WORKING AGAIN] revenue: SOURCE_TIMEOUT", "ok"),
        ("no_data", "[NO DATA] revenue", "alert"),
        ("no_data_over", "[DATA AGAIN] revenue", "ok"),
        ("missed", "[MISSED] revenue: 2 runs", "warn"),
    ],
)
def test_every_kind_has_its_words(kind: str, subject: str, tone: str) -> None:
    words = message(events()[kind])
    assert (words.subject, words.tone) == (subject, tone)
    assert "revenue" in words.sentence
    assert words.sentence in words.text


def test_an_error_says_what_is_wrong() -> None:
    assert "shop did not answer within 5 s" in message(events()["error"]).text


def test_times_have_a_zone() -> None:
    facts = dict(message(events()["repeat"]).facts)
    assert facts["Checked at"] == "2026-01-31 10:03:00 CET (Europe/Berlin)"
    assert facts["Since"] == "2026-01-31 10:01:00 CET (Europe/Berlin)"
    assert dict(message(firing(timezone="Nowhere/Atall")).facts)["Checked at"] == "2026-01-31 09:00:00 UTC"


def test_values_context_and_the_rest() -> None:
    words = message(
        firing(
            columns=("note", "n", "none", "list", "yes"),
            row=("hello", 5, None, [1, "ü"], True),
            labels={"team": "a"},
            severity="critical",
            description="Orders of the day",
            runbook="https://wiki/revenue",
        )
    )
    assert words.context == (("note", "hello"), ("n", "5"), ("none", "NULL"), ("list", '[1, "ü"]'), ("yes", "true"))
    facts = dict(words.facts)
    assert (facts["Value"], facts["Threshold"], facts["Severity"], facts["team"]) == (
        "1234.50",
        "1000",
        "critical",
        "a",
    )
    for text in ("Orders of the day", "Runbook: https://wiki/revenue", "list:"):
        assert text in words.text


def test_an_instance_is_named() -> None:
    words = message(firing(columns=("region", "shop"), row=("EU", None), key=("region", "shop")))
    assert words.subject == "[ALERT] revenue (region=EU, shop=NULL): 1234.50 (threshold 1000)"


def test_a_subject_is_one_short_line() -> None:
    words = message(firing(columns=("k",), row=("a\r\nBcc: x@y\x00\u2028\u202e" + "z" * 900,), key=("k",)))
    assert words.subject.isprintable()
    assert len(words.subject) == 200
    assert words.subject.startswith("[ALERT] revenue (k=a Bcc: x@y")


def test_messages_of_an_episode_share_a_thread() -> None:
    told = events()
    threads = {message(told[k]).thread for k in ("firing", "worsened", "repeat", "recovered")}
    assert len(threads) == 1
    assert message(told["error"]).thread not in threads


# ── slack ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_slack_escapes_what_it_would_read_as_markup() -> None:
    body = payload(message(firing(columns=("note",), row=("<!channel> & <http://evil|ok>",), description="a <b> & c")))
    sections = [b["text"]["text"] for b in body["blocks"] if "text" in b and b["type"] == "section"]
    assert any("&lt;!channel&gt; &amp; &lt;http://evil|ok&gt;" in t for t in sections)
    assert not any("<" in t or ">" in t for t in [*sections, body["text"]])


def test_slack_keeps_to_its_limits() -> None:
    labels = {f"l{i}": "&" * 3_000 for i in range(30)}
    words = message(
        firing(
            columns=tuple(f"c{i}" for i in range(30)),
            row=("<" * 900,) * 30,
            labels=labels,
            description="&" * 5_000,
            runbook="<" * 5_000,
            key=("c0",),
        )
    )
    body = payload(words)
    assert len(body["blocks"]) <= 50
    assert len(body["blocks"][0]["text"]["text"]) <= MAX_HEADER
    for block in body["blocks"][1:]:
        if "fields" in block:
            assert len(block["fields"]) <= MAX_FIELDS
            assert all(len(f["text"]) <= MAX_FIELD for f in block["fields"])
            assert all(not f["text"].removesuffix("…").endswith(("&", "&a", "&am", "&amp")) for f in block["fields"])
        else:
            assert len(block["text"]["text"]) <= MAX_SECTION
            assert block["text"]["text"].count("&") == block["text"]["text"].count(";")


@pytest.mark.parametrize("kind", ["firing", "recovered", "error", "missed"])
def test_slack_has_every_kind(kind: str) -> None:
    body = payload(message(events()[kind]))
    assert body["blocks"][0]["type"] == "header"
    assert "revenue" in body["text"]
