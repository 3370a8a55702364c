"""Words for every kind of event."""

from __future__ import annotations

from typing import Any

import pytest

from core.notify.message import Message, message, with_subject
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


def told(kind: str, **changes: Any) -> Message:
    return message({**events()[kind], **changes})


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("SQL_SYNTAX", "Mend its query in alerts/r.yaml:3."),
        ("SQL_REJECTED", "Mend its query in alerts/r.yaml:3."),
        ("CONFIG_INVALID", "Mend what the message names in alerts/r.yaml:3."),
        ("ENTITLEMENT_DENIED", "It asks as 'bot': give that principal a policy"),
        ("SOURCE_AUTH", "Renew the credential"),
        ("SOURCE_TIMEOUT", "Look whether the source is up. It is tried again at its next run."),
        ("RESOURCE_LIMIT", "filter, or aggregate"),
        ("INTERNAL", "the log of the process"),
    ],
)
def test_an_error_says_what_to_do(code: str, advice: str) -> None:
    error = {"code": code, "message": "It went wrong.", "details": {}, "request_id": "rq-1"}
    words = told("error", error=error, place="alerts/r.yaml:3", alert="it's {x}")
    assert words.sentence == "it's {x} cannot be checked, so nothing watches it: It went wrong."
    assert words.advice.startswith(advice) or advice in words.advice
    assert words.advice.endswith("""To try it: omni alert run 'it'"'"'s {x}' --dry-run""")
    assert words.advice in words.text
    facts = dict(words.facts)
    assert (facts["Error"], facts["Request"]) == (code, "rq-1")
    assert "Tried at" in facts
    assert "Checked at" not in facts


def test_a_health_that_goes_on_says_so() -> None:
    words = told("error", since="2026-01-31T08:00:00Z")
    assert words.subject == "[STILL BROKEN] revenue: SOURCE_TIMEOUT"
    assert "still cannot be checked" in words.sentence
    assert dict(words.facts)["Since"].startswith("2026-01-31 09:00:00 CET")
    assert told("no_data", since="2026-01-31T08:00:00Z").title == "STILL NO DATA"


def test_what_was_missed_was_not_checked() -> None:
    words = told("missed")
    assert words.sentence == (
        "revenue missed 2 runs from 2026-01-31 11:00:00 CET (Europe/Berlin) to 2026-01-31 12:00:00 CET "
        "(Europe/Berlin): nothing watched it then. Was the scheduler down?"
    )
    assert [name for name, _ in words.facts] == ["Alert", "First missed", "Last missed"]
    assert "omni alert history revenue" in words.advice
    one = {"count": 1, "first": "2026-01-31T10:00:00Z", "last": "2026-01-31T10:00:00Z", "capped": False}
    words = told("missed", missed=one)
    assert "missed 1 run at 2026-01-31 11:00:00 CET (Europe/Berlin): " in words.sentence
    assert [name for name, _ in words.facts] == ["Alert", "First missed"]


# ── a subject of the user's own ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("template", "subject"),
    [
        ("Alert: {alert_name}", "Alert: revenue"),
        ("{status}|{severity}|{alert}|{actual_value}>{threshold}", "ALERT|ALERT|revenue|1234.50>1000"),
        (
            "{alert_name.__class__} {0} {} {unknown} {{alert}} %s",
            "{alert_name.__class__} {0} {} {unknown} {revenue} %s",
        ),
        ("{alert!r} {threshold:>9}", "{alert!r} {threshold:>9}"),
        ("a\r\nBcc: x@example.com", "a Bcc: x@example.com"),
        ("  \n ", "[ALERT] revenue: 1234.50 (threshold 1000)"),
        ("no key: {key}", "no key:"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_placeholders_are_replaced_literally(template: str, subject: str) -> None:
    assert with_subject(message(firing()), template).subject == subject


def test_what_a_placeholder_holds_is_no_template() -> None:
    event = firing(columns=("region",), row=("{threshold}\r\nBcc: x",), key=("region",), severity="critical")
    words = with_subject(message(event), "{severity} {key} {alert}")
    assert words.subject == "critical region={threshold} Bcc: x revenue"


@pytest.mark.parametrize("kind", ["recovered", "error", "error_over", "no_data", "no_data_over", "missed"])
def test_what_is_no_alarm_says_so_under_any_subject(kind: str) -> None:
    words = told(kind)
    assert with_subject(words, "Alert: {alert_name}").subject == f"[{words.title}] Alert: revenue"
    assert with_subject(words, "{alert}: {status}").subject == f"revenue: {words.title}"
    assert with_subject(told("error"), "{actual_value}/{threshold}").subject == "[BROKEN] -/-"


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
