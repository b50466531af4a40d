"""Conditions on runs: what they name, what fits, and what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.run import RunRecord
from stethoscope.store.filtering import Condition, values_of
from stethoscope.store.labels import Labels, read_labels, write_labels

RECORD = RunRecord(
    id="2026-11-21_140503_quiet-otter", state="finished", steps=360, script="/home/me/projects/digits/train.py",
    started="2026-11-21T14:05:03+00:00", git={"commit": "837fc10117bb597d510f5436c16e1ddb553ddccb"},
    models=({"name": "DigitNet"},),
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
        "script == 'train.py'",
        "script == './train.py'",
        "script == 'digits/train.py'",
        "script == '../digits/train.py'",
        "script == '/home/me/projects/digits/train.py'",
        "script == '*/train.py' and script == 'tr*.py'",
        "script != 'rain.py' and script != '/train.py'",
        "script in ('other.py', 'train.py')",
        "'digits' in script",
        "lr in (0.05, 0.1)",
        "lr not in [0.1]",
        "tag in ('baseline', 'other')",
        "commit == '837fc10'",
        "id == 'quiet-otter' and id != 'otter'",
        "started > '2026-11-20' and started == '2026-11-21'",
        "optimizer == 'SGD' and model == 'DigitNet'",
        "optimizer.groups[1].lr == 0.5 or lr == 0.05",
        "final.loss != nan and final.loss < inf",
        "lr > -0.1",
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
    ("text", "said"),
    [
        ("__import__('os')", "condition"),
        ("lr + 1 > 2", "comparisons, and, or, not, in"),
        ("[lr]", "condition"),
        ("lr >", "write it like"),
        ("(lr > 0.1", "write it like"),
        ("(lambda: 1)()", "condition"),
        ("lr if 1 else 2", "condition"),
        ("", "write it like"),
        ("lr is 0.1", "== or !="),
        ("lr = 0.1", "compared by =="),
        ("lr > 0.01 && steps > 3", "and, or, not"),
        ("lr > 0.01 & steps > 3", "and, or, not"),
        ("!failed", "and, or, not"),
        ("failed OR lr > 1", "and, or, not"),
        ("lr => 0.1", ">= or <="),
        ("lr <> 0.1", "write !="),
        ("best.accuracy > 65%", "such as 0.9"),
        ("lr > 0,1", "with a point"),
        ("steps > 10k", "10000"),
        ("started > 2026-11-21", "a date stands in quotes"),
        ("started > 2026-01-05", "a date stands in quotes"),
        ("lr between 0.1 and 1", "0.01 < lr < 0.1"),
        ("script.endswith('x')", "'words' in name"),
        ("lr == None", "leave that part out"),
        ("weight-decay > 0", "write weight_decay"),
        ("quiet-otter", "id == 'quiet-otter'"),
        ("script == 'train.py", "a quote is not closed"),
        ("'train.py'", "names nothing of a run"),
        ("1 < 2", "names nothing of a run"),
    ],
)
def test_anything_that_is_no_condition_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="condition") as refused:
        Condition(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("momentun > 0.5", "no run has 'momentun'; there is momentum, optimizer.momentum"),
        ("loss < 1", "no run has 'loss'; there is final.loss"),
        ("LR > 0.1", "no run has 'LR'; there is lr"),
        ("tag == baseline", "no run has 'baseline'; a text stands in quotes: tag == 'baseline'"),
        ("baseline", "no run has 'baseline'; that is a tag: tag == 'baseline'"),
        ("amp == true", "no run has 'true'; write True"),
        ("lr > '0.1'", "no run can fit \"lr > '0.1'\": lr is a number (0.05) and '0.1' is a text; write lr > 0.1"),
        ("'0.1' != lr", "no run can fit \"'0.1' != lr\": '0.1' is a text and lr is a number (0.05); write 0.1 != lr"),
        ("lr > 'big'", "no run can fit \"lr > 'big'\": lr is a number (0.05) and 'big' is a text"),
        ("not (name > 3)", "no run can fit 'name > 3': name is a text ('wide') and 3 is a number"),
        ("state == finished", "is yes or no (True); write state == 'finished', or finished alone"),
        ("finished == 'yes'", "and 'yes' is a text; write finished, or not finished"),
        ("'SGD' in lr", "lr is a number (0.05)"),
        ("lr in 0.05", "write lr == 0.05"),
        ("tag > 'a'", "tags have no order"),
        ("tag == 3", "tag is a list of texts ('baseline', 'wide net') and 3 is a number"),
    ],
)
def test_what_no_run_can_answer_is_told(text: str, said: str) -> None:
    assert Condition(text).unanswerable([VALUES]).endswith(said)


def test_a_name_that_is_a_text_in_some_runs_is_compared_where_it_can_be() -> None:
    runs = [VALUES, {**VALUES, "lr": "auto"}]
    condition = Condition("lr == 'auto'")
    assert condition.unanswerable(runs) == ""
    assert [condition.fits(run) for run in runs] == [False, True]


def test_what_only_another_run_has_is_not_told() -> None:
    assert Condition("lr > 0.1").unanswerable([{"lr": None, "steps": 3.0}, {"steps": 4.0}]) == ""


def test_a_loss_that_is_no_number_is_found() -> None:
    assert Condition("final.loss == nan").fits({"final.loss": float("nan")})


@settings(deadline=None)  # how long it takes is no part of it, and a busy machine takes long
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
