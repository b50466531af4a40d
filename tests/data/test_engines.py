"""Every engine gives the same profile, the same rows and the same verdicts."""

# ruff: noqa: E402 (what a test needs may not be installed)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pl = pytest.importorskip("polars")
pytest.importorskip("narwhals")

from engine_tables import ENGINES, made

from stethoscope.facts.data import Column, Profile
from stethoscope.inspecting import inspect_data
from stethoscope.observe.data.opening import open_table
from stethoscope.observe.data.profiling import profile
from stethoscope.observe.data.repeats import Keyed, keyed, overlap_of, repeats_of

UNORDERED = ("pyspark",)
"""Engines whose rows have no places."""
COUNTED = ("count", "infinite", "least", "greatest", "zeros", "negative", "whole", "spikes", "values", "grid")
MOMENTS = ("mean", "squares", "cubes", "fourths")
WORDS = ("count", "distinct", "distinct_is_exact", "top", "missing", "spellings", "variants", "damaged")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@dataclass(frozen=True)
class Reference:
    """What is found in two tables of Polars."""

    frames: tuple[pl.DataFrame, pl.DataFrame]
    tables: tuple[Any, Any]
    profiles: tuple[Profile, Profile]
    keys: tuple[Keyed | None, Keyed | None]
    verdict: list[Any]


@pytest.fixture(scope="module")
def polars() -> Reference:
    frames = made(), made(3000, seed=1, shift=2.0)
    frames = frames[0], pl.concat([frames[1], frames[0][100:150]])
    tables = open_table(frames[0], "train"), open_table(frames[1], "test")
    first = profile(tables[0])
    keys = keyed(tables[0], "truth"), keyed(tables[1], "truth")
    return Reference(frames, tables, (first, profile(tables[1], first)), keys, verdict(*frames))


def verdict(train: Any, test: Any) -> list[Any]:
    found = inspect_data(train, test, target="truth").diagnosis.findings
    return [(one.rule, one.severity, one.place.columns) for one in found]


def differences(one: Column, other: Column) -> list[tuple[str, str]]:
    """What two profiles of a column do not agree on."""
    found = [part for part in ("name", "kind", "rows", "nulls") if getattr(one, part) != getattr(other, part)]
    assert (one.numbers is None, one.words is None) == (other.numbers is None, other.words is None), one.name
    if one.numbers and other.numbers:
        found += [part for part in COUNTED if getattr(one.numbers, part) != getattr(other.numbers, part)]
        found += [p for p in MOMENTS if getattr(one.numbers, p) != pytest.approx(getattr(other.numbers, p), rel=1e-9)]
        found += [] if (one.numbers.counts == other.numbers.counts).all() else ["counts"]
        if one.numbers.distinct_is_exact:
            found += [] if one.numbers.distinct == other.numbers.distinct else ["distinct"]
    if one.words and other.words:
        found += [part for part in WORDS if getattr(one.words, part) != getattr(other.words, part)]
        found += [] if (one.words.lengths.counts == other.words.lengths.counts).all() else ["lengths"]
    return [(one.name, part) for part in found]


def all_differences(one: Profile, other: Profile) -> list[tuple[str, str]]:
    assert [column.name for column in one.columns] == [column.name for column in other.columns]
    return [each for pair in zip(one.columns, other.columns, strict=True) for each in differences(*pair)]


@pytest.mark.parametrize("engine", ENGINES)
def test_profiles_rows_and_verdicts_are_those_of_polars(engine: str, folder: Path, polars: Reference) -> None:
    sources: tuple[Any, ...] = tuple(ENGINES[engine](frame, folder) for frame in polars.frames)
    reference, (expected, expected_test), known = polars.tables, polars.profiles, polars.keys
    tables = [open_table(source, name) for source, name in zip(sources, ("train", "test"), strict=True)]

    found = profile(tables[0])
    assert all_differences(expected, found) == []
    found_test = profile(tables[1], found)
    assert all_differences(expected_test, found_test) == []

    keys = [keyed(table, "truth") for table in tables]
    ours, theirs = repeats_of(tables[0], keys[0]), repeats_of(reference[0], known[0])
    assert ours.exact == theirs.exact == 7
    overlap = overlap_of(*tables, (found, found_test), tuple(keys), "truth")
    other = overlap_of(*reference, (expected, expected_test), known, "truth")
    assert overlap.shared_keys == other.shared_keys == (("user_id", 50, 3050),)
    assert overlap.times == other.times
    if engine not in UNORDERED:
        assert all((one.every == other.every).all() for one, other in zip(keys, known, strict=True))
        assert (ours, overlap) == (theirs, other)
        for table, same in zip(tables, reference, strict=True):
            some, others = table.sample(1000), same.sample(1000)
            assert (some.index == others.index).all()
            for name, values in some.values.items():
                expected_values = others.values[name]
                assert np.array_equal(values, expected_values, equal_nan=values.dtype != object), name
    else:
        assert overlap.exact == other.exact == 50
        assert tables[0].sample(1000).count == 1000

    assert verdict(*sources) == polars.verdict


def test_a_lazy_table_of_too_many_texts_is_counted_by_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.observe.data import queries

    frame = pl.DataFrame({"a": [f"text {place % 4000}" for place in range(10_000)] + [None] * 5})
    whole = profile(open_table(frame, "")).columns[0]
    monkeypatch.setattr(queries, "DIFFERENT", 100)
    there = profile(open_table(frame.lazy(), "")).columns[0]
    assert (there.words.top, there.words.distinct, there.nulls) == (whole.words.top, 4000, 5)
    assert (there.words.lengths.counts == whole.words.lengths.counts).all()


def test_a_lazy_table_with_too_many_rows_is_compared_by_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.observe.data import queries

    monkeypatch.setattr(queries, "KEYED", 10)
    frame = pl.DataFrame({"a": [1, 2, 3, 4] * 5, "y": [0, 1] * 10})
    one, two = open_table(frame.lazy(), ""), open_table(frame[:3].lazy(), "")
    assert keyed(one) is None
    assert repeats_of(one, None).exact == 16
    assert overlap_of(one, two, (profile(one), profile(two)), (None, None), "y").exact == 3


@pytest.mark.parametrize("engine", ["polars lazy", "dask", "pyspark"])
def test_rows_with_missing_values_are_found_again_by_an_engine(
    engine: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stethoscope.observe.data import queries

    monkeypatch.setattr(queries, "KEYED", 10)
    frame = pl.DataFrame({"a": [1, None, 3, 4] * 5, "b": ["x", "y", None, "z"] * 5})
    one, two = (open_table(ENGINES[engine](each, folder), "") for each in (frame, frame[1:3]))
    assert overlap_of(one, two, (profile(one), profile(two)), (None, None), "").exact == 2


def test_rows_of_two_connections_are_not_compared_by_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.observe.data import queries

    monkeypatch.setattr(queries, "KEYED", 10)
    frame = pl.DataFrame({"a": [1, 2, 3, 4] * 5})
    one, two = (open_table(ENGINES["ibis"](each, folder), "") for each in (frame, frame[:3]))
    assert overlap_of(one, two, (profile(one), profile(two)), (None, None), "") is None
