"""What training was fed, looked at as a table."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stethoscope.diagnosing.run import diagnose  # noqa: E402
from stethoscope.facts.training import History  # noqa: E402
from stethoscope.observe.data.flowing import fed_of  # noqa: E402
from stethoscope.rules.data.conflicting_labels import ConflictingLabels  # noqa: E402
from stethoscope.rules.data.missing_values import MissingValues  # noqa: E402
from stethoscope.rules.data.outliers import Outliers  # noqa: E402
from stethoscope.store.packing import pack, unpack  # noqa: E402

RULES = (ConflictingLabels, MissingValues, Outliers)


def steps(inputs: Any, target: Any, size: int = 32) -> list[Any]:
    """Captured steps of these rows."""
    parts = zip(torch.as_tensor(inputs).split(size), torch.as_tensor(target).split(size), strict=True)
    return [SimpleNamespace(passes=[SimpleNamespace(args=(one,), target=other)]) for one, other in parts]


def rows(count: int = 400) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 6)).astype(np.float32), rng.integers(0, 3, count)


def said(inputs: Any, target: Any) -> list[str]:
    history = History(fed=fed_of(steps(inputs, target)))
    return [one.rule for one in diagnose(history, rules=RULES).findings]


def test_healthy_rows_say_nothing() -> None:
    assert said(*rows()) == []


def test_a_wild_value_is_named_by_its_feature() -> None:
    inputs, target = rows()
    inputs[17, 3] = 5000
    found = diagnose(History(fed=fed_of(steps(inputs, target))), rules=RULES).findings

    assert [one.rule for one in found] == ["outliers"]
    assert found[0].place.columns == ("feature 3",)
    assert found[0].place.file is None
    assert "inputs[:, 3]" in found[0].fixes[0].text


def test_a_sentinel_is_named_with_lines_for_inputs() -> None:
    inputs, target = rows()
    inputs[::20, 4] = -999
    found = diagnose(History(fed=fed_of(steps(inputs, target))), rules=RULES).findings
    lines = "\n".join(line[4:] for line in found[0].fixes[0].text.splitlines() if line.startswith("    "))
    space = {"torch": torch, "inputs": torch.as_tensor(inputs)}
    exec(lines, space)

    assert [one.rule for one in found] == ["missing-values"]
    assert space["inputs"][:, 4].min() > -10


def test_equal_samples_with_different_labels_are_told_and_epochs_are_not() -> None:
    inputs, target = rows()
    assert said(np.tile(inputs, (3, 1)), np.tile(target, 3)) == []
    assert said(np.r_[inputs, inputs[:40]], np.r_[target, (target[:40] + 1) % 3]) == ["conflicting-labels"]


def test_coarse_inputs_that_meet_again_are_no_equal_samples() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 4, (400, 3)).astype(np.float32)

    assert said(inputs, rng.integers(0, 3, 400)) == []


@pytest.mark.parametrize(
    ("inputs", "target"),
    [
        (np.zeros((200, 3, 8, 8), np.float32), np.zeros(200, np.int64)),
        (np.zeros((200, 5), np.int64), np.zeros(200, np.int64)),
        (np.zeros((200, 784), np.float32), np.zeros(200, np.int64)),
        (np.zeros((200, 5), np.float32), np.zeros((200, 4), np.float32)),
        (np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32), np.zeros(50, np.int64)),
    ],
    ids=["pictures", "tokens", "wide", "vectors as targets", "few rows"],
)
def test_what_is_no_table_is_left_alone(inputs: Any, target: Any) -> None:
    assert fed_of(steps(inputs, target)) is None
    assert fed_of([]) is None


def test_the_rows_are_stored_with_the_run_and_judged_again() -> None:
    inputs, target = rows()
    inputs[17, 3] = 5000
    history = History(fed=fed_of(steps(inputs, target)))
    again = unpack(History, json.loads(json.dumps(pack(history), allow_nan=False)))

    assert diagnose(again, rules=RULES).findings == diagnose(history, rules=RULES).findings
    assert len(json.dumps(pack(history.fed))) < 200_000
