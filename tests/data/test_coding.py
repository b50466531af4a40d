"""Texts as codes: the fast way of Polars against Python's own dict."""

# ruff: noqa: E402 (what a test needs may not be installed)

from __future__ import annotations

import numpy as np
import pytest

nw = pytest.importorskip("narwhals")
pl = pytest.importorskip("polars")

from stethoscope.observe.data.coding import FEW, Coded, coded, coded_objects


def texts_of(one: Coded) -> list[str | None]:
    """What the codes stand for."""
    return [None if code < 0 else one.different[code] for code in one.codes.tolist()]


@pytest.mark.parametrize("different", [1, 2, 700, 3000])
@pytest.mark.parametrize("nulls", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("late", [False, True])
def test_buckets_of_hashes_hold_what_was_given(different: int, nulls: float, late: bool) -> None:
    rng = np.random.default_rng(different)
    chosen = rng.integers(0, different, 100_000)
    texts = [f"text {one}" for one in (np.sort(chosen) if late else chosen)]
    values = [None if nulls and rng.random() < nulls else text for text in texts]
    fast = coded(nw.from_native(pl.Series("a", values), series_only=True))
    plain = coded_objects(values)
    assert texts_of(fast) == values
    for part in ("nulls", "count", "distinct", "top"):
        assert getattr(fast.counted(None), part) == getattr(plain.counted(None), part)


def test_buckets_are_used_where_they_are_faster() -> None:
    few = pl.Series("a", ["x", "y", None] * FEW)
    many = pl.Series("a", [f"{place}" for place in range(3 * FEW)])
    assert isinstance(coded(nw.from_native(few, series_only=True))._codes)
    assert not isinstance(coded(nw.from_native(many, series_only=True))._codes)
