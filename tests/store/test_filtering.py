"""Conditions on runs: what they name, what fits, and what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.run import RunRecord
from stethoscope.store.filtering import Condition, values_of
from stethoscope.store.labels import Labels, read_labels, write_labels

RECORD = RunRecord(
    id="2026-11-21_140503_quiet-otter", state="finished", steps=360, script="train.py",
    arguments={"lr": 0.05, "name": "wide", "amp": True},
    optimizers=({"kind": "SGD", "groups": [{"lr": 0.05, "momentum": 0.9}]},), seeds={"torch": 3},
    results={"best validation loss": 0.25, "final training loss": 0.4},
)  # fmt: skip
VALUES = values_of(RECORD, Labels(("baseline", "wide net"), "before the new loader"))


@pytest.mark.parametrize(
    "text",
    [
        "lr > 0.01 and best.val_loss < 0.3",
        "lr == 0.05",
        "0.01 < lr <= 0.05",
        "optimizer.momentum == 0.9",
        "seed.torch == 3",
        "final.loss < 0.5 or steps > 1e6",
        "finished and not failed",
        "state == 'finished'",
        "tag == 'baseline'",
        "'wide' in name",
        "'loader' in note",
        "amp == True",
        "tag != 'other'",
    ],
)
def test_a_condition_that_fits(text: str) -> None:
    assert Condition(text).fits(VALUES)


@pytest.mark.parametrize(
    "text", ["lr > 0.1", "tag == 'other'", "failed", "best.val_loss < 0.2", "unknown > 1", "name > 3", "'slim' in name"]
)
def test_a_condition_that_does_not_fit(text: str) -> None:
    assert not Condition(text).fits(VALUES)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "lr + 1 > 2", "[lr]", "lr >", "(lambda: 1)()", "lr if 1 else 2", "", "lr is 0.1"]
)
def test_anything_that_is_no_condition_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="condition"):
        Condition(text)


def test_a_name_that_no_run_has_is_told_with_near_ones() -> None:
    assert (
        Condition("momentun > 0.5").unknown(set(VALUES))
        == "no run has 'momentun'; there is momentum, optimizer.momentum"
    )


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        Condition(text).fits(VALUES)


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_labels(tmp_path, Labels(("a", "b"), "why"))

    assert read_labels(tmp_path) == Labels(("a", "b"), "why")


def test_a_run_without_labels_has_none(tmp_path: Path) -> None:
    assert read_labels(tmp_path) == Labels()


def test_torn_labels_are_told_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{")
    with pytest.raises(BadFile, match=r"labels\.json"):
        read_labels(tmp_path)
