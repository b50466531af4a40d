"""Two runs side by side: what differs, where they parted, and which got further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import Curve, History
from stethoscope.store.comparing import Comparison, CurveComparison, compare
from stethoscope.store.reader import Run

ADAM: dict[str, Any] = {"kind": "Adam", "groups": [{"lr": 0.1}]}


def run(record: RunRecord | None = None, *curves: Curve) -> Run:
    return Run(Path("run"), record or RunRecord(), History(curves=curves))


def curve(values: list[float], kind: str = "loss", phase: str = "training", name: str = "") -> Curve:
    return Curve(name or f"{phase} {kind}", kind, phase, np.arange(len(values)), np.array(values))


def differences(found: Comparison) -> list[tuple[str, str, str, str]]:
    return [(entry.subject, entry.name, entry.a, entry.b) for entry in found.differences]


def only_curve(a: Curve, b: Curve) -> CurveComparison:
    (found,) = compare(run(None, a), run(None, b)).curves
    return found


def test_equal_runs_have_no_differences() -> None:
    same = RunRecord(id="a", started="x", optimizers=(ADAM,), results={"l": 1.0})
    assert compare(run(same), run(RunRecord(id="b", optimizers=(ADAM,)))).differences == ()


def test_one_setting_of_the_optimizer_is_named() -> None:
    other = {"kind": "Adam", "groups": [{"lr": 0.01}]}
    found = compare(run(RunRecord(optimizers=(ADAM,))), run(RunRecord(optimizers=(other,))))
    assert differences(found) == [("optimizers", "groups.lr", "0.1", "0.01")]


def test_of_several_groups_the_number_is_named() -> None:
    two = {"kind": "Adam", "groups": [{"lr": 0.1}, {"lr": 0.2}]}
    other = {"kind": "Adam", "groups": [{"lr": 0.1}, {"lr": 0.3}]}
    found = compare(run(RunRecord(optimizers=(two,))), run(RunRecord(optimizers=(other,))))
    assert differences(found) == [("optimizers", "groups.1.lr", "0.2", "0.3")]


def test_what_only_one_run_has_is_empty_in_the_other() -> None:
    a, b = RunRecord(packages={"numpy": "1", "old": "3"}), RunRecord(packages={"numpy": "2", "new": "4"})
    assert differences(compare(run(a), run(b))) == [
        ("packages", "numpy", "1", "2"), ("packages", "old", "3", ""), ("packages", "new", "", "4"),
    ]  # fmt: skip


def test_every_part_of_the_record_is_compared() -> None:
    b = RunRecord(
        command=("b.py",), git={"commit": "1" * 40}, python="3", packages={"a": "1"}, hardware={"cores": 2},
        environment={"A": "1"}, seeds={"torch": 1}, arguments={"lr": 1}, optimizers=(ADAM,),
        models=({"name": "Net"},), loaders=({"batch_size": 2},), data_fingerprint="1f", world_size=2,
    )  # fmt: skip
    found = compare(run(), run(b))
    assert {entry.subject for entry in found.differences} == {
        "command", "git", "python", "packages", "hardware", "environment", "seeds", "arguments", "optimizers",
        "models", "loaders", "data",
    }  # fmt: skip
    assert ("git", "commit", "", "1" * 12) in differences(found)


def test_of_a_model_only_the_lines_that_differ_are_shown() -> None:
    a = RunRecord(models=({"structure": "Net(\n  (0): Linear(2, 3)\n  (1): ReLU()\n)"},))
    b = RunRecord(models=({"structure": "Net(\n  (0): Linear(2, 3)\n  (1): Tanh()\n)"},))
    assert differences(compare(run(a), run(b))) == [("models", "structure", "  (1): ReLU()", "  (1): Tanh()")]


def test_of_a_long_difference_the_rest_is_counted() -> None:
    b = RunRecord(git={"diff": "\n".join(f"+line {number}" for number in range(20))})
    (found,) = compare(run(), run(b)).differences
    assert found.b.splitlines()[-1] == "and 14 more lines"


def test_the_first_step_at_which_the_curves_part_is_found() -> None:
    assert only_curve(curve([3, np.nan, 1, 5]), curve([3, np.nan, 2, 5])).first_difference == 2


def test_curves_that_agree_as_long_as_both_go_on_have_no_first_difference() -> None:
    assert only_curve(curve([3, 2]), curve([3, 2, 1])).first_difference is None


def test_curves_recorded_at_different_steps_part_there() -> None:
    late = Curve("training loss", "loss", "training", np.array([0, 2]), np.array([3.0, 2.0]))
    assert only_curve(curve([3, 2]), late).first_difference == 1


def test_both_are_timed_to_the_best_value_of_the_worse_run() -> None:
    found = only_curve(curve([5, 4, 3, 2]), curve([5, 3, 1, 2]))
    assert (found.best_a, found.best_b, found.target, found.steps_a, found.steps_b) == (2, 1, 2, 3, 2)


def test_of_an_accuracy_more_is_better() -> None:
    found = only_curve(curve([0.1, 0.6, 0.5], "accuracy"), curve([0.7, 0.8], "accuracy"))
    assert (found.lower_is_better, found.target, found.steps_a, found.steps_b) == (False, 0.6, 1, 0)


def test_the_end_in_training_is_a_median_and_in_validation_the_last_value() -> None:
    values = [9.0] * 70 + [1.0] * 29 + [50.0]
    assert only_curve(curve(values), curve(values)).final_a == 1.0
    validation = curve(values, phase="validation")
    assert only_curve(validation, validation).final_a == 50.0


def test_a_run_that_was_never_finite_reached_nothing() -> None:
    found = only_curve(curve([np.nan, np.inf]), curve([2, 1]))
    assert np.isnan([found.best_a, found.target]).all()
    assert (found.best_b, found.steps_a, found.steps_b) == (1, None, None)


def test_curves_that_one_run_lacks_are_named() -> None:
    a, b = (
        run(None, curve([1]), curve([1], name="old")),
        run(None, curve([1]), curve([1], phase="validation")),
    )
    found = compare(a, b)
    assert (found.only_a, found.only_b) == (("old",), ("validation loss",))
