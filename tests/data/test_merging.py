"""Profiles of parts add up to the profile of the whole, and survive being saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.data import Profile
from stethoscope.inspecting import inspect_data
from stethoscope.observe.data.merging import merge, merge_numbers, onto
from stethoscope.observe.data.opening import open_table
from stethoscope.observe.data.profiling import profile
from stethoscope.store.packing import pack
from stethoscope.store.profiles import is_profile, load_profile, save_profile

pytest.importorskip("narwhals")

NUMBERS = st.one_of(st.floats(-1e3, 1e3), st.integers(-5, 5).map(float), st.sampled_from([np.nan, np.inf]))
WORDS = st.sampled_from(["a", "A", "bb", "N/A", "", None, "x y z w"])
TABLES = st.lists(st.tuples(NUMBERS, WORDS), min_size=1, max_size=60)


def of(rows: list[tuple[float, str | None]], like: Profile | None = None) -> Profile:
    """The profile of some rows."""
    return profile(open_table({"n": np.array([n for n, _ in rows]), "w": [w for _, w in rows]}, ""), like)


@settings(deadline=None)
@given(TABLES, st.integers(0, 60))
def test_parts_add_up_to_the_whole(rows: list[tuple[float, str | None]], cut: int) -> None:
    whole = of(rows)
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    merged = of(parts[0], whole)
    for part in parts[1:]:
        merged = merge(merged, of(part, whole))
    assert merged.rows == whole.rows
    for found, meant in zip(merged.columns, whole.columns, strict=True):
        assert (found.name, found.rows, found.nulls, found.missing) == (
            meant.name,
            meant.rows,
            meant.nulls,
            meant.missing,
        )
        assert found.kind == meant.kind
        if meant.words is not None and meant.words.count:
            for part in ("count", "distinct", "top", "variants", "damaged"):
                assert getattr(found.words, part) == getattr(meant.words, part), part
            assert dict(found.words.missing) == dict(meant.words.missing)
            assert {one.kind: one.rows for one in found.words.spellings} == {
                one.kind: one.rows for one in meant.words.spellings
            }
            assert (found.words.lengths.counts == meant.words.lengths.counts).all()
        if meant.numbers is not None and meant.numbers.count:
            one, other = found.numbers, meant.numbers
            for part in ("count", "infinite", "least", "greatest", "zeros", "negative", "whole"):
                assert getattr(one, part) == getattr(other, part), part
            assert (one.counts == other.counts).all()
            assert one.values in ((), other.values)
            size = max(abs(other.least), abs(other.greatest), 1e-9)
            for part, power in (("mean", 1), ("squares", 2), ("cubes", 3), ("fourths", 4)):
                near = pytest.approx(getattr(other, part), rel=1e-6, abs=1e-9 * other.count * size**power)
                assert getattr(one, part) == near, part
            assert one.distinct == other.distinct if one.distinct_is_exact else one.distinct <= other.distinct


def test_merging_is_the_same_in_any_order() -> None:
    rng = np.random.default_rng(0)
    parts = [[(float(one), "a") for one in rng.normal(place, 1, 50)] for place in range(3)]
    like = of(parts[0])
    one, two, three = (of(part, like) for part in parts)
    left, right = merge(merge(one, two), three), merge(one, merge(two, three))
    for found, meant in zip(left.columns, right.columns, strict=True):
        if found.numbers:
            assert found.numbers.fourths == pytest.approx(meant.numbers.fourths)
            assert (found.numbers.counts == meant.numbers.counts).all()


def test_labels_of_parts_stay_exactly_counted() -> None:
    one, two = ({"y": np.array([0, 1, 1, 2] * 50)}, {"y": np.array([2, 3] * 50)})
    merged = merge(profile(open_table(one, "")), profile(open_table(two, ""))).columns[0].numbers
    assert (merged.distinct, merged.distinct_is_exact, dict(merged.spikes)) == (4, True, {0: 50, 1: 100, 2: 100, 3: 50})


def test_another_grid_is_moved_bin_by_bin() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, 5000), rng.normal(40, 9, 5000)
    parts = [profile(open_table({"x": part}, "")) for part in (one, two)]
    numbers = merge(*parts).columns[0].numbers
    both = np.concatenate([one, two])
    assert numbers.counts.sum() == 10_000
    for share in (0.25, 0.75):
        assert numbers.quantile(share) == pytest.approx(np.quantile(both, share), abs=2.5)
    same = onto(parts[1], parts[0]).columns[0].numbers
    assert same.grid == parts[0].columns[0].numbers.grid
    assert same.counts.sum() == 5000


def test_a_column_that_one_part_lacks_is_missing_there() -> None:
    merged = merge(profile(open_table({"a": [1, 2]}, "")), profile(open_table({"b": ["x"]}, "")))
    assert [(column.name, column.rows, column.nulls) for column in merged.columns] == [("a", 3, 1), ("b", 3, 2)]


def test_numbers_do_not_add_up_to_words() -> None:
    with pytest.raises(UsageError, match="numbers in one part and words in the other"):
        merge(profile(open_table({"a": [1, 2]}, "")), profile(open_table({"a": ["x", "y"]}, "")))


def test_nothing_and_something_is_something() -> None:
    numbers = profile(open_table({"a": [1.0, 2.0]}, "")).columns[0].numbers
    empty = profile(open_table({"a": [np.nan, np.inf]}, "")).columns[0].numbers
    assert merge_numbers(empty, numbers).count == merge_numbers(numbers, empty).count == 2
    assert merge_numbers(empty, numbers).infinite == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES, st.sampled_from(["p.json", "p.json.gz"]))
def test_a_saved_profile_is_read_as_it_was(tmp_path: Path, rows: list[tuple[float, str | None]], name: str) -> None:
    made = of(rows)
    save_profile(made, tmp_path / name)
    assert is_profile(tmp_path / name)
    assert pack(load_profile(tmp_path / name)) == pack(made)


def test_what_is_no_profile_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    for text in ("", "{", "[1]", '{"a": 1}'):
        path.write_text(text)
        assert not is_profile(path)
        with pytest.raises(BadFile, match="is not a profile"):
            load_profile(path)
    save_profile(of([(1.0, "a")]), path)
    newer = json.loads(path.read_text())
    newer["profile"]["version"] = 2
    path.write_text(json.dumps(newer))
    with pytest.raises(BadFile, match=r"newer version .* \(profile version 2\)"):
        load_profile(path)
    with pytest.raises(BadFile, match="is not a profile"):
        load_profile(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot write"):
        save_profile(of([(1.0, "a")]), tmp_path / "no" / "p.json")


def test_a_saved_profile_stands_in_for_the_first_set(tmp_path: Path) -> None:
    columns = {"a": np.full(50, 3.0), "b": np.arange(50.0), "y": ["u", "v"] * 25}
    save_profile(profile(open_table(columns, "")), tmp_path / "train.profile.json")
    found = inspect_data(tmp_path / "train.profile.json", columns, target="y")
    assert [one.rule for one in found.diagnosis.findings][:1] == ["constant-feature"]
    assert found.data.train.sample.count == 0
    assert found.data.train.repeats is None
    assert found.data.overlap is None
    assert found.data.test.repeats is not None
    grids = [one.profile.column("b").numbers.grid for one in found.data.sets]
    assert grids[0] == grids[1]


def test_the_second_set_may_be_a_profile_on_another_grid() -> None:
    one, two = {"b": np.arange(50.0)}, {"b": 1000 + np.arange(50.0)}
    found = inspect_data(one, profile(open_table(two, "")))
    first, second = (part.profile.columns[0].numbers for part in found.data.sets)
    assert first.grid == second.grid
    assert second.counts.sum() == 50
