"""From an answer to readings: the query's contract, and what breaks it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.alert.evaluate import MAX_INSTANCES, SINGLE, Evaluation, evaluate, failed
from core.errors import SourceTimeout
from core.model import Answer
from tests.core.alert.parts import answer, rule


def judged(*rows: tuple[Any, ...], columns: Sequence[str], key: tuple[str, ...] = ()) -> Evaluation:
    return evaluate(answer(*rows, columns=columns), rule(key=key), "rq1")


@pytest.mark.parametrize("name", ["status", "STATUS", "Status"])
@pytest.mark.parametrize(
    ("value", "outcome"), [("ALERT", "ALERT"), ("alert", "ALERT"), ("  Warn\n", "WARN"), ("ok", "OK")]
)
def test_status_in_any_case(name: str, value: str, outcome: str) -> None:
    assert judged((value,), columns=[name]).outcome == outcome


def test_the_parts_of_a_row() -> None:
    found = judged(("x", "ALERT", 1, 5, "EU"), columns=["note", "status", "THRESHOLD", "Actual_Value", "region"])
    (reading,) = found.readings
    assert (reading.instance, reading.key, reading.status) == (SINGLE, {}, "ALERT")
    assert (reading.actual_value, reading.threshold) == (5, 1)
    assert reading.context == {"note": "x", "region": "EU"}


def test_without_a_key_the_worst_row_decides() -> None:
    found = judged(("OK", 1), ("WARN", 2), ("ALERT", 3), ("ALERT", 4), columns=["status", "actual_value"])
    assert [(r.status, r.actual_value) for r in found.readings] == [("ALERT", 3)]
    assert "4 rows" in found.warnings[0]


def test_with_a_key_each_row_is_an_instance() -> None:
    rows = [("EU", "OK", 1), ("US", "ALERT", 2), ("eu", "WARN", 3), (None, "OK", 4)]
    found = judged(*rows, columns=["Region", "status", "actual_value"], key=("region",))
    assert [(r.instance, r.key, r.status) for r in found.readings] == [
        ("EU", {"Region": "EU"}, "OK"),
        ("US", {"Region": "US"}, "ALERT"),
        ("eu", {"Region": "eu"}, "WARN"),
        ("%00", {"Region": None}, "OK"),
    ]
    assert found.outcome == "ALERT"
    assert found.warnings == ()


def test_the_worst_row_of_a_key_decides() -> None:
    rows = [("EU", "WARN", 1), ("EU", "ALERT", 2), ("EU", "OK", 3)]
    found = judged(*rows, columns=["region", "status", "actual_value"], key=("region",))
    assert [(r.instance, r.status, r.actual_value) for r in found.readings] == [("EU", "ALERT", 2)]


def test_keys_are_not_confused() -> None:
    rows = [
        ("a,b", "c"),
        ("a", "b,c"),
        ("a%2Cb", "c"),
        (None, "c"),
        ("", "c"),
        ("null", "c"),
        ("-", "c"),
        ("x" * 900, "c"),
    ]
    rows += [("x" * 899 + "y", "c")]
    found = judged(*[(a, b, "OK") for a, b in rows], columns=["a", "b", "status"], key=("a", "b"))
    assert len({r.instance for r in found.readings}) == len(rows)
    assert all(len(r.instance) <= 200 for r in found.readings)
    single = judged(("-", "OK"), ("", "OK"), columns=["a", "status"], key=("a",))
    assert SINGLE not in {r.instance for r in single.readings}
    assert "" not in {r.instance for r in single.readings}


def test_no_rows() -> None:
    assert judged(columns=["status"]).outcome == "NO_DATA"
    assert judged(columns=["status", "region"], key=("region",)).outcome == "NO_DATA"


@pytest.mark.parametrize(
    ("value", "ready"),
    [
        (None, None),
        (True, True),
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (-(2**60), str(-(2**60))),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("10000.10"), "10000.10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "NaN"),
        (datetime(2026, 1, 31, 9, tzinfo=UTC), "2026-01-31T09:00:00Z"),
        (datetime(2026, 1, 31, 9), "2026-01-31T09:00:00"),
        (date(2026, 1, 31), "2026-01-31"),
        (time(9, 30), "09:30:00"),
        (timedelta(hours=1), "1:00:00"),
        (b"\x00\xff", "00ff"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([Decimal("1.0"), None], ["1.0", None]),
        ({"a": Decimal(1)}, {"a": "1"}),
    ],
)
def test_values_become_json(value: Any, ready: Any) -> None:
    (reading,) = judged(("OK", value, value, value), columns=["status", "actual_value", "threshold", "more"]).readings
    assert reading.actual_value == reading.threshold == reading.context["more"] == ready
    json.dumps(reading.context, allow_nan=False)


@pytest.mark.parametrize(
    ("columns", "row", "key", "says"),
    [
        (["state", "value"], ("ALERT", 1), (), ["'status'", "'state', 'value'"]),
        (["status"], (None,), (), ["NULL"]),
        (["status"], ("BROKEN",), (), ["'BROKEN'"]),
        (["status"], (1,), (), ["'1'"]),
        (["status"], (True,), (), ["'True'"]),
        (["status"], ("x" * 500,), (), ["'" + "x" * 40 + "'"]),
        (["status", "area"], ("OK", "EU"), ("region",), ["'region'", "'status', 'area'"]),
    ],
)
def test_what_breaks_the_contract_is_an_error(
    columns: list[str], row: tuple[Any, ...], key: tuple[str, ...], says: list[str]
) -> None:
    found = judged(row, columns=columns, key=key)
    assert (found.outcome, found.readings) == ("ERROR", ())
    assert found.error is not None
    assert found.error["code"] == "CONFIG_INVALID"
    for text in ("'revenue'", *says):
        assert text in found.error["message"]


def test_no_status_column_is_an_error_even_without_rows() -> None:
    assert judged(columns=["state"]).outcome == "ERROR"


def test_an_error_quotes_no_row() -> None:
    found = judged(("ann@example.com", 123456), columns=["email", "salary"])
    assert "ann" not in str(found.error)
    assert "123456" not in str(found.error)


def test_one_bad_status_among_good_ones_is_an_error() -> None:
    assert judged(("ALERT",), ("?",), columns=["status"]).outcome == "ERROR"


def test_a_cut_answer_is_an_error() -> None:
    cut = Answer((("status", "VARCHAR"),), [("OK",)], complete=False)
    found = evaluate(cut, rule(), "rq1")
    assert found.outcome == "ERROR"
    assert found.error is not None
    assert found.error["code"] == "RESOURCE_LIMIT"


def test_too_many_instances_name_the_alert() -> None:
    rows = [(i, "OK") for i in range(MAX_INSTANCES + 1)]
    found = judged(*rows, columns=["id", "status"], key=("id",))
    assert found.outcome == "ERROR"
    assert found.error is not None
    assert found.error["code"] == "RESOURCE_LIMIT"
    assert "revenue" in found.error["message"]
    assert judged(*rows[:-1], columns=["id", "status"], key=("id",)).outcome == "OK"


def test_large_contexts_are_cut_to_what_can_be_stored() -> None:
    columns = ["id", "status", *[f"c{i}" for i in range(100)]]
    rows = [(i, "ALERT", *["ü" * 5_000] * 100) for i in range(MAX_INSTANCES)]
    found = judged(*rows, columns=columns, key=("id",))
    size = len(json.dumps([r.context for r in found.readings], ensure_ascii=False).encode())
    assert size < 250_000
    assert "more columns" in found.readings[0].context["..."]
    (single,) = judged(("OK", "x" * 5_000), columns=["status", "text"]).readings
    assert len(single.context["text"]) <= 1_000
    assert "5,000 characters" in single.context["text"]


def test_a_failed_question_keeps_its_code() -> None:
    found = failed(SourceTimeout("shop did not answer", source="shop"), "rq1")
    assert found.outcome == "ERROR"
    assert found.error == {
        "code": "SOURCE_TIMEOUT",
        "message": "shop did not answer",
        "details": {"source": "shop"},
        "request_id": "rq1",
    }
