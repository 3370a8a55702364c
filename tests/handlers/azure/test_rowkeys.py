"""Keys of tables: any text, in the order of its UTF-8 bytes, without what Azure forbids."""

from __future__ import annotations

import random
import unicodedata

import pytest

from core.errors import ResourceLimit
from handlers.azure.rowkeys import MAX_UNITS, decoded, encoded

LETTERS = "!\"#$%&'()*+,-./0189;<=>?@AZ[\\]^_`az{|}~ é\u0fff\ud7fe\ud7ff\ue000\uf8ff\uffee\ufffd\U00010000🙂\U0010ffff"


def texts(count: int) -> list[str]:
    draw = random.Random(3)
    return ["".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 5))) for _ in range(count)]


def test_each_text_comes_back_and_no_two_meet() -> None:
    found = set(texts(5_000))
    assert {decoded(encoded(t)) for t in found} == found
    assert len({encoded(t) for t in found}) == len(found)


@pytest.mark.parametrize("order", ["utf-8", "utf-16-be"])
def test_the_order_is_that_of_utf8_however_the_service_compares(order: str) -> None:
    found = sorted(set(texts(5_000)), key=str.encode)
    assert sorted(found, key=lambda t: encoded(t).encode(order)) == found


def test_nothing_forbidden_is_left() -> None:
    for text in texts(2_000):
        assert not set(encoded(text)) & set("/\\#?%'")
        assert not any(unicodedata.category(c) == "Cc" for c in encoded(text))


def test_what_is_usual_stays_readable() -> None:
    for text in ("daily-revenue", "run|2026-01-31T09:00:00Z", "a_b", "ünï"):
        assert encoded(text) == text


@pytest.mark.parametrize(("text", "fits"), [("k" * MAX_UNITS, True), ("k" * (MAX_UNITS + 1), False),
                                            ("🙂" * 256, True), ("🙂" * 257, False), ("/" * 257, False)])  # fmt: skip
def test_what_is_too_long_is_refused_here(text: str, fits: bool) -> None:
    if fits:
        assert decoded(encoded(text)) == text
    else:
        with pytest.raises(ResourceLimit, match="1 KiB"):
            encoded(text)


@pytest.mark.parametrize("made", [".", ".x", "\ud7ff", '"'])
def test_a_key_that_is_not_ours_is_told(made: str) -> None:
    with pytest.raises(ValueError, match="no key of ours"):
        decoded(made)
