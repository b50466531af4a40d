"""Text: numbers as people write them, names that cannot steer a terminal, lines that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stethoscope.core.text import Piece, Role, amount, byte_size, clean, number, plain, read, width_of, wrapped


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.0, "3"),
        (1024, "1,024"),
        (2.3026, "2.3"),
        (0.4019, "0.402"),
        (128.456, "128"),
        (3.14e-9, "3.1e-9"),
        (1e-4, "1e-4"),
        (2.5e12, "2.5e12"),
        (-0.5, "-0.5"),
        (12345.6, "12,346"),
        (float("nan"), "NaN"),
        (float("inf"), "infinite"),
        (float("-inf"), "-infinite"),
    ],
)
def test_a_number_is_written_with_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_an_amount_has_its_plural() -> None:
    assert [amount(1, "error"), amount(2, "error"), amount(1500, "look")] == [
        "1 error",
        "2 errors",
        "1,500 looks",
    ]


def test_names_in_backticks_become_names_and_read_as_before() -> None:
    line = read("all units of `net.3` are dead")
    assert line[1] == Piece("net.3", Role.NAME)
    assert plain(line) == "all units of `net.3` are dead"


def test_an_escape_sequence_in_a_name_is_made_visible() -> None:
    assert clean("net\x1b[31m\x00\u202e") == "net\\x1b[31m\\x00\\x202e"


def test_what_touches_stays_together_when_a_line_is_wrapped() -> None:
    rows = wrapped(read("the layer (`net.encoder.0`), which is long"), 20)
    assert [plain(row) for row in rows] == ["the layer", "(`net.encoder.0`),", "which is long"]


@given(st.lists(st.text("abc`.,", min_size=1, max_size=12), max_size=30), st.integers(14, 60))
def test_wrapping_loses_no_word_and_keeps_the_width(words: list[str], width: int) -> None:
    line = read(" ".join(word.replace("`", "") or "x" for word in words))
    rows = wrapped(line, width)
    assert " ".join(plain(row) for row in rows).split() == plain(line).split()
    assert all(width_of(row) <= width for row in rows)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (18, "18 B"), (996, "1 kB"), (1234, "1.2 kB"), (34_567_000, "35 MB"), (2.5e10, "25 GB")],
)
def test_bytes_are_told_to_two_digits(count: float, words: str) -> None:
    assert byte_size(count) == words
