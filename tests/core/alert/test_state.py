"""The life of an instance and of a rule's health, slot by slot. One letter a slot, one minute apart.

O ok · W warn · A alert · N no rows · E error; the stories say what is told, and when.
"""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from core.alert import state
from core.alert.evaluate import Evaluation, evaluate, failed
from core.errors import SourceTimeout
from core.model import Rule
from tests.core.alert.parts import ALERT, NOTHING, OK, START, WARN, answer, rule

SEEN = {"O": OK, "W": WARN, "A": ALERT, "N": NOTHING}


def seen(letter: str, of: Rule) -> Evaluation:
    return failed(SourceTimeout("slow"), "rq") if letter == "E" else evaluate(SEEN[letter], of, "rq")


def tell(story: str, of: Rule) -> tuple[list[str], list[str]]:
    """What is told as ``slot:kind`` and the state of the instance after each slot."""
    item: dict[str, Any] | None = None
    told, states = [], []
    for i, letter in enumerate(story):
        before = copy.deepcopy(item)
        kept, events = state.step(item, seen(letter, of), START + timedelta(minutes=i), of)
        assert item == before  # nothing handed in is changed
        item = json.loads(json.dumps(kept))  # what is stored is all that is known
        told += [f"{i}:{e['kind']}" for e in events if e["tell"]]
        states.append(item["instances"].get("-", {"state": "-"})["state"])
    return told, states


@pytest.mark.parametrize(
    ("story", "changes", "told"),
    [
        ("OO", {}, []),
        ("OAAO", {}, ["1:firing", "3:recovered"]),
        ("A", {}, ["0:firing"]),
        ("WWO", {}, ["0:firing", "2:recovered"]),
        ("WAWAO", {}, ["0:firing", "1:worsened", "4:recovered"]),
        ("AWAO", {}, ["0:firing", "3:recovered"]),
        ("AOAO", {}, ["0:firing", "1:recovered", "2:firing", "3:recovered"]),
        ("AAO", {"recovered": False}, ["0:firing"]),
        # `for`
        ("AO", {"pending_for": 120.0}, []),
        ("AAAAO", {"pending_for": 120.0}, ["2:firing", "4:recovered"]),
        ("AAOAAA", {"pending_for": 120.0}, ["5:firing"]),
        ("WAA", {"pending_for": 120.0}, ["2:firing"]),
        # m of n
        ("AOOAOA", {"of": (2, 3)}, ["5:firing"]),
        ("AAOAO", {"of": (2, 3)}, ["1:firing", "4:recovered"]),
        ("AAOO", {"of": (2, 3)}, ["1:firing", "3:recovered"]),
        ("AAAAA", {"of": (3, 5), "pending_for": 60.0}, ["3:firing"]),
        # re-notify
        ("AAAAAO", {"repeat_every": 120.0}, ["0:firing", "2:repeat", "4:repeat", "5:recovered"]),
        ("WWAAA", {"repeat_every": 120.0}, ["0:firing", "2:worsened", "4:repeat"]),
        # health: told once an episode, not once a slot
        ("OEEO", {}, ["1:error", "3:error_over"]),
        ("ONNO", {}, ["1:no_data", "3:no_data_over"]),
        ("OENO", {}, ["1:error", "2:error_over", "2:no_data", "3:no_data_over"]),
        ("OEEO", {"recovered": False}, ["1:error"]),
        ("EEEE", {"repeat_every": 120.0}, ["0:error", "2:error"]),
        ("AEAO", {}, ["0:firing", "1:error", "2:error_over", "3:recovered"]),
        # policies
        ("AENAO", {"on_error": "keep", "no_data": "keep"}, ["0:firing", "4:recovered"]),
        ("OEEO", {"on_error": "alert"}, ["1:firing", "3:recovered"]),
        ("ONNO", {"no_data": "alert"}, ["1:firing", "3:recovered"]),
        ("AEEA", {"on_error": "alert"}, ["0:firing"]),
        ("ANA", {"no_data": "ok"}, ["0:firing", "1:recovered", "2:firing"]),
        ("OEO", {"on_error": "ok"}, []),
        ("AEA", {"on_error": "keep", "pending_for": 120.0}, ["2:firing"]),
    ],
)
def test_stories(story: str, changes: dict[str, Any], told: list[str]) -> None:
    assert tell(story, rule(**changes))[0] == told


def test_the_states_on_the_way() -> None:
    assert tell("OAAAO", rule(pending_for=120.0))[1] == ["OK", "PENDING", "PENDING", "FIRING", "OK"]
    assert tell("AAOAO", rule(of=(2, 3)))[1] == ["PENDING", "FIRING", "RECOVERING", "FIRING", "OK"]


def test_time_is_the_slot_not_the_number_of_runs() -> None:
    of = rule(pending_for=600.0)
    item, events = state.step(None, seen("A", of), START, of)
    item, events = state.step(item, seen("A", of), START + timedelta(minutes=10), of)
    assert [e["kind"] for e in events] == ["firing"]


@pytest.mark.parametrize("minutes", [0, -1, -100])
def test_a_slot_that_is_done_changes_nothing(minutes: int) -> None:
    of = rule()
    item, _ = state.step(None, seen("O", of), START, of)
    again, events = state.step(item, seen("A", of), START + timedelta(minutes=minutes), of)
    assert (again, events) == (item, [])


def test_ids_name_the_episode_and_never_repeat() -> None:
    of = rule(repeat_every=60.0)
    item: dict[str, Any] | None = None
    ids = []
    for i, letter in enumerate("AAWOAOEEO"):
        item, events = state.step(item, seen(letter, of), START + timedelta(minutes=i), of)
        ids += [e["id"] for e in events]
    assert ids == [
        "revenue/-/20260131T090000Z/firing/0",
        "revenue/-/20260131T090000Z/repeat/1",
        "revenue/-/20260131T090000Z/repeat/2",
        "revenue/-/20260131T090000Z/recovered/3",
        "revenue/-/20260131T090400Z/firing/0",
        "revenue/-/20260131T090400Z/recovered/1",
        "revenue/-/20260131T090600Z/error/0",
        "revenue/-/20260131T090600Z/error/1",
        "revenue/-/20260131T090600Z/error_over/2",
    ]


def test_an_id_survives_any_name() -> None:
    of = rule("a/b é", key=("k",))
    _, (event,) = state.step(None, evaluate(answer(("x/ü", "ALERT"), columns=["k", "status"]), of, "rq"), START, of)
    assert event["id"] == "a%2Fb%20%C3%A9/x%2F%C3%BC/20260131T090000Z/firing/0"
    assert event["id"].isascii()


# ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────


def keyed(rows: dict[str, str], of: Rule) -> Evaluation:
    return evaluate(answer(*rows.items(), columns=["region", "status"]), of, "rq")


def test_each_instance_lives_for_itself() -> None:
    of = rule(key=("region",))
    item: dict[str, Any] | None = None
    told = []
    stories: list[dict[str, str]] = [
        {"EU": "ALERT", "US": "OK"},
        {"EU": "ALERT", "US": "WARN"},
        {"US": "WARN"},  # EU vanished: it has recovered
        {"EU": "OK", "US": "OK"},
    ]
    for i, rows in enumerate(stories):
        item, events = state.step(item, keyed(rows, of), START + timedelta(minutes=i), of)
        told += [f"{i}:{e['instance']}:{e['kind']}" for e in events]
    assert told == ["0:EU:firing", "1:US:firing", "2:EU:recovered", "3:US:recovered"]
    assert item is not None
    assert set(item["instances"]) == {"EU", "US"}


def test_a_vanished_instance_leaves_the_state_and_is_told_with_its_last_values() -> None:
    of = rule(key=("region",))
    item, _ = state.step(None, keyed({"EU": "ALERT"}, of), START, of)
    item["instances"]["EU"]["actual_value"] = 77
    item, (event,) = state.step(item, keyed({"US": "OK"}, of), START + timedelta(minutes=1), of)
    assert (event["kind"], event["key"], event["actual_value"]) == ("recovered", {"region": "EU"}, 77)
    assert set(item["instances"]) == {"US"}


@pytest.mark.parametrize(
    ("policy", "told"),
    [("ok", ["EU:recovered", "US:recovered"]), ("error", ["-:no_data"]), ("keep", []), ("alert", ["-:firing"])],
)
def test_no_rows_of_a_keyed_alert(policy: str, told: list[str]) -> None:
    of = rule(key=("region",), no_data=policy)
    item, _ = state.step(None, keyed({"EU": "ALERT", "US": "ALERT"}, of), START, of)
    item, events = state.step(item, keyed({}, of), START + timedelta(minutes=1), of)
    assert [f"{e['instance']}:{e['kind']}" for e in events] == told
    if policy in ("error", "keep", "alert"):
        assert [item["instances"][r]["state"] for r in ("EU", "US")] == ["FIRING", "FIRING"]


def test_an_alarm_for_lack_of_an_answer_ends_with_the_next_answer() -> None:
    of = rule(key=("region",), on_error="alert")
    item, _ = state.step(None, keyed({"EU": "ALERT"}, of), START, of)
    item, (fired,) = state.step(item, seen("E", of), START + timedelta(minutes=1), of)
    assert fired["context"] == {"reason": "slow"}
    item, events = state.step(item, keyed({"EU": "ALERT"}, of), START + timedelta(minutes=2), of)
    assert [f"{e['instance']}:{e['kind']}" for e in events] == ["-:recovered"]


def test_m_of_n_counts_a_missing_row_as_good() -> None:
    of = rule(key=("region",), of=(2, 3))
    item: dict[str, Any] | None = None
    told = []
    for i, rows in enumerate([{"EU": "ALERT"}, {"US": "OK"}, {"EU": "ALERT"}, {"US": "OK"}]):
        item, events = state.step(item, keyed(rows, of), START + timedelta(minutes=i), of)
        told += [f"{i}:{e['kind']}" for e in events]
    assert told == ["2:firing", "3:recovered"]


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_holds_all_that_a_message_needs() -> None:
    of = rule(
        description="Orders of the day",
        runbook="https://x/y",
        place="alerts/revenue.yaml:1",
        labels={"team": "a"},
        severity="critical",
    )
    _, (event,) = state.step(None, seen("A", of), START, of)
    assert event == {
        "id": "revenue/-/20260131T090000Z/firing/0",
        "alert": "revenue",
        "instance": "-",
        "key": {},
        "kind": "firing",
        "severity": "ALERT",
        "state": "FIRING",
        "previous_state": "OK",
        "slot": "2026-01-31T09:00:00Z",
        "since": "2026-01-31T09:00:00Z",
        "timezone": "Europe/Berlin",
        "actual_value": 20,
        "threshold": 10,
        "context": {},
        "description": "Orders of the day",
        "runbook": "https://x/y",
        "place": "alerts/revenue.yaml:1",
        "labels": {"team": "a"},
        "label": "critical",
        "tell": True,
    }


def test_an_error_is_told_with_its_code() -> None:
    of = rule()
    item, (event,) = state.step(None, seen("E", of), START, of)
    assert (event["error"]["code"], event["severity"], event["state"]) == ("SOURCE_TIMEOUT", "ALERT", "ERROR")
    _, (over,) = state.step(item, seen("O", of), START + timedelta(minutes=1), of)
    assert (over["kind"], over["severity"], over["since"]) == ("error_over", "OK", "2026-01-31T09:00:00Z")


def test_missed_slots_are_noted_beside_the_state() -> None:
    of = rule()
    item, _ = state.step(None, seen("A", of), START, of)
    slots = [START + timedelta(minutes=i) for i in (1, 2, 3)]
    item, event = state.missed(item, slots, of, capped=False)
    assert event["id"] == "revenue/-/20260131T090100Z/missed/0"
    assert event["missed"] == {
        "count": 3,
        "first": "2026-01-31T09:01:00Z",
        "last": "2026-01-31T09:03:00Z",
        "capped": False,
    }
    assert item["instances"]["-"]["state"] == "FIRING"
    item, events = state.step(item, seen("O", of), START + timedelta(minutes=4), of)
    assert [e["kind"] for e in events] == ["recovered"]


def test_missed_before_it_ever_ran() -> None:
    of = rule()
    item, _ = state.missed(None, [START], of, capped=False)
    assert not state.is_done(item, START)
    item, events = state.step(item, seen("A", of), START, of)
    assert [e["kind"] for e in events] == ["firing"]
