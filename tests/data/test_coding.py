"""Texts as codes: the fast ways of Polars and Arrow against Python's own dict."""

# ruff: noqa: E402 (what a test needs may not be installed)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

nw = pytest.importorskip("narwhals")
pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

from stethoscope.observe.data import hashing
from stethoscope.observe.data.coding import FEW, Coded, coded, coded_objects
from stethoscope.observe.data.hashing import BUCKETS, Buckets, Room, hashes_of
from stethoscope.observe.data.tallies import tallied

ENGINES: dict[str, Callable[[list[str | None]], Any]] = {
    "polars": lambda values: pl.Series("a", values),
    "arrow": lambda values: pa.chunked_array([pa.array(values[:999]), pa.array(values)[999:]]),
    "large": lambda values: pa.chunked_array([pa.array(values, pa.large_string())]),
}
CATEGORICAL: dict[str, Callable[[list[str | None]], Any]] = {
    "categories of polars": lambda values: pl.Series("a", values, dtype=pl.Categorical),
    "a fixed list of polars": lambda values: pl.Series(
        "a", values, dtype=pl.Enum(["never", *{one: 0 for one in values if one is not None}])
    ),
}


def texts_of(one: Coded) -> list[str | None]:
    """What the codes stand for."""
    return [None if code < 0 else one.different[code] for code in one.codes.tolist()]


@pytest.mark.parametrize("different", [1, 2, 255, 700, 3000])
@pytest.mark.parametrize("nulls", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("engine", ENGINES | CATEGORICAL)
def test_buckets_of_hashes_hold_what_was_given(engine: str, different: int, nulls: float, late: bool) -> None:
    rng = np.random.default_rng(different)
    chosen = rng.integers(0, different, 100_000)
    texts = [f"text {one}" for one in (np.sort(chosen) if late else chosen)]
    values = [None if nulls and rng.random() < nulls else text for text in texts]
    fast = coded(nw.from_native((ENGINES | CATEGORICAL)[engine](values), series_only=True))
    plain = coded_objects(values)
    assert texts_of(fast) == values
    for part in ("nulls", "count", "distinct", "top"):
        assert getattr(fast.counted(None), part) == getattr(plain.counted(None), part)


ODD = ["", "a", "a\0", "\0", "\0\0", "12345678", "123456789", "12345678\0", "ä", "ää", "µ" * 9, "x" * 8 + "y" * 8,
       "y" * 8 + "x" * 8, "z" * 300, "z" * 299 + "y", None]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_odd_texts_are_told_apart(engine: str) -> None:
    rng = np.random.default_rng(0)
    values = [ODD[place] if place < len(ODD) else "ab" for place in rng.integers(0, 400, 70_000)]
    fast = coded(nw.from_native(ENGINES[engine](values), series_only=True))
    assert texts_of(fast) == values
    assert sorted(fast.different) == sorted({one for one in values if one is not None})


def test_a_slice_of_a_column_is_read_from_where_it_starts() -> None:
    column = pa.array([f"{place % 7}{'-' * (place % 11)}" for place in range(50_000)])
    part = coded(nw.from_native(pa.chunked_array([column[3:20_003]]), series_only=True))
    assert texts_of(part) == column[3:20_003].to_pylist()


def test_equal_texts_have_equal_hashes_in_every_block_and_others_have_others() -> None:
    texts = [f"{place % 20_000}" * (1 + place % 4) + f"-{place // 30_000}" * 2 for place in range(100_000)]
    made: dict[str, int] = {}
    blocks = hashes_of(pa.chunked_array([pa.array(texts)]), Room())
    assert blocks is not None
    for text, number in zip(texts, np.concatenate([one.copy() for one in blocks]).tolist(), strict=True):
        assert made.setdefault(text, number) == number
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize("large", [False, True])
def test_an_arrow_without_views_gives_the_same_codes(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = [ODD[place] if place < len(ODD) else f"v{place}" for place in rng.integers(0, 60, 300_000)]
    array = pa.array(values, pa.large_string() if large else pa.string())
    column = nw.from_native(pa.chunked_array([array[:7], array[7:200_001], array[200_001:]]), series_only=True)
    by_views = coded(column)
    monkeypatch.setattr(hashing, "_has_views", lambda: False)

    assert texts_of(by_views) == texts_of(coded(column)) == values


@pytest.mark.parametrize("rows", [1, 5000, 5001])
@pytest.mark.parametrize("bins", [1, 2, 31, 33])
def test_few_numbers_are_counted_as_many_are(rows: int, bins: int) -> None:
    codes = np.random.default_rng(0).integers(0, bins, rows)
    assert np.array_equal(tallied(codes, bins), np.bincount(codes, minlength=bins))


def test_rows_that_share_a_bucket_are_numbered_too() -> None:
    shares = [0.9, 0.07, 0.03]
    chosen = np.random.default_rng(0).choice(3, 20_000, p=shares).astype(np.uint64)
    buckets = Buckets(chosen.size, Room())
    assert buckets.add(chosen + np.uint64(5 << 48))
    numbers, counts, firsts = buckets.told()
    assert sorted(counts.tolist()) == sorted(np.bincount(chosen.astype(np.int64)).tolist())
    assert all(len(set(chosen[numbers == one].tolist())) == 1 for one in (1, 2, 3))
    assert [int(numbers[row]) for row in firsts] == [1, 2, 3]


def test_hashing_is_given_up_where_most_texts_are_different() -> None:
    every = np.random.default_rng(0).integers(0, 2**63, 30_000).astype(np.uint64)
    assert not Buckets(every.size, Room()).add(every)
    assert hashes_of(pa.chunked_array([pa.array(["long " * 10] * 10)]), Room()) is None


def test_more_different_texts_than_buckets_are_numbered() -> None:
    rng = np.random.default_rng(0)
    every = rng.integers(0, 2**63, BUCKETS + 5000).astype(np.uint64) * np.uint64(2)
    buckets = Buckets(every.size * 6, Room())
    given = []
    for _ in range(6):
        for start in range(0, every.size, 1 << 15):
            buckets.add(every[start : start + (1 << 15)])
        given.append(every)
    numbers, counts, firsts = buckets.told()
    assert counts.tolist() == [6] * every.size
    assert np.array_equal(np.concatenate(given)[firsts][numbers.astype(np.int64) - 1], np.concatenate(given))


def test_most_different_texts_are_grouped_by_their_library() -> None:
    many = [f"{place}" for place in range(3 * FEW)]
    for engine in ENGINES.values():
        assert texts_of(coded(nw.from_native(engine([*many]), series_only=True))) == many
