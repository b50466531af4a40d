"""Rows that are nearly another one's: planted copies are found, and tables without any are silent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stethoscope.core.finding import Finding
from stethoscope.core.settings import Settings
from stethoscope.inspecting import inspect_data


def table(rows: int, seed: int) -> pd.DataFrame:
    """A table without copies."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows)
    return pd.DataFrame({
        "age": age,
        "income": rng.gamma(4, 9000, rows).round(2),
        "height": rng.normal(171, 9, rows).round(1),
        "weight": rng.normal(75, 12, rows).round(1),
        "visits": rng.poisson(4, rows),
        "city": rng.choice(["Oslo", "Bergen", "Bodø"], rows),
        "job": rng.choice(["nurse", "cook", "clerk", "driver"], rows),
        "y": np.where(age + rng.normal(0, 20, rows) > 49, "yes", "no"),
    })  # fmt: skip


def copies(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with small changes."""
    changed = frame.assign(income=frame["income"] + 0.5, height=frame["height"] + 0.1)
    changed.loc[changed.index[::4], "job"] = "nurse"
    return changed


def said(first: pd.DataFrame, second: pd.DataFrame | None = None) -> list[Finding]:
    """The findings about rows that are nearly equal."""
    found = inspect_data(first, second, target="y", settings=Settings()).diagnosis.findings
    return [one for one in found if "nearly equal" in one.title]


@pytest.mark.parametrize("seed", [0, 1])
def test_changed_copies_within_a_set_are_a_note_with_their_rows(seed: int) -> None:
    frame = table(1500, seed)
    (found,) = said(pd.concat([frame, copies(frame[:120])], ignore_index=True))

    assert found.rule == "duplicate-samples"
    assert found.severity.value == "note"
    pairs = [(one.row, one.why) for one in found.suspects]
    assert sum(why.endswith(f" row {row - 1500:,}") for row, why in pairs) >= 0.9 * len(pairs)


@pytest.mark.parametrize("seed", [0, 1])
def test_changed_copies_in_a_second_set_are_a_warning(seed: int) -> None:
    frame = table(2500, seed)
    first, second = frame[:1700], pd.concat([frame[1700:], copies(frame[:100])], ignore_index=True)
    (found,) = said(first, second)

    assert found.rule == "train-test-overlap"
    assert found.severity.value == "warning"
    assert sum(one.row >= 800 for one in found.suspects) >= 0.9 * len(found.suspects)


@pytest.mark.parametrize("seed", range(4))
def test_tables_without_copies_are_silent(seed: int) -> None:
    frame = table(2500, seed)
    assert said(frame[:1700], frame[1700:].reset_index(drop=True)) == []


def test_counts_of_rare_things_are_no_near_copies() -> None:
    rng = np.random.default_rng(0)
    many = np.where(rng.random((3000, 10)) < 0.6, 0, rng.exponential(size=(3000, 10)))
    frame = pd.DataFrame(many, columns=list("abcdefghij")).assign(y=rng.random(3000))

    counts = pd.DataFrame({f"x{place}": rng.poisson(5, 3000) for place in range(5)}).assign(y=rng.random(3000))

    for made in (frame, counts):
        assert said(made[:2000], made[2000:].reset_index(drop=True)) == []


def test_neighbours_in_time_and_equal_rows_are_no_near_copies() -> None:
    rng = np.random.default_rng(0)
    walk = pd.DataFrame(rng.normal(size=(2000, 5)).cumsum(axis=0), columns=list("abcde")).assign(y=rng.random(2000))
    frame = table(1500, 0)

    assert said(walk) == []
    assert said(pd.concat([frame, frame[:200]], ignore_index=True)) == []
