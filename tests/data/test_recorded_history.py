"""What a recorded run knows of the labels, beside the data that it was trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("narwhals")

from stethoscope.core.errors import UsageError  # noqa: E402
from stethoscope.core.settings import Settings  # noqa: E402
from stethoscope.facts.learning import Learning  # noqa: E402
from stethoscope.inspecting import Inspection, inspect_data  # noqa: E402
from stethoscope.observe.data.recorded_history import from_run  # noqa: E402

ROWS = 400
NAMES = ("cat", "dog", "owl")


def table(seed: int = 0) -> pd.DataFrame:
    """Rows with a class that two columns tell, one of ten given another one."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, ROWS)
    given = np.where(np.arange(ROWS) % 10 == 3, (true + 1) % 3, true)
    columns = {"a": true + rng.normal(0, 0.1, ROWS), "b": rng.normal(0, 1, ROWS)}
    return pd.DataFrame({**columns, "kind": [NAMES[one] for one in given], "true": true, "given": given})


def learned(frame: pd.DataFrame, **facts: object) -> Learning:
    """As a run tells that followed every second row, in the order of its batches."""
    order = np.random.default_rng(1).permutation(np.arange(0, ROWS, 1))[: ROWS // 2]
    given, told = frame["given"].to_numpy()[order], frame["true"].to_numpy()[order]
    wrong = given != told
    count = order.size
    known = {
        "steps": np.arange(12), "classes": 3, "majority": 0.36, "named": 1 - wrong.mean(), "surest": count // 2,
        "contradicted": int(wrong.sum() // 2), "step": np.zeros(count, np.int64), "place": np.arange(count),
        "index": order, "given": given, "told": told, "probability": np.full(count, 0.95),
        "margin": np.where(wrong, -3.0, 4.0) + np.arange(count) / 1000, "confidence": np.where(wrong, 0.1, 0.95),
        "variability": np.full(count, 0.1), "forgotten": np.zeros(count, np.int64), "by_heart": ~wrong,
    }  # fmt: skip
    return Learning(**(known | facts))


def inspect(frame: pd.DataFrame, seen: Learning) -> Inspection:
    """The table beside a run."""
    run = SimpleNamespace(record=None, history=SimpleNamespace(learning=seen))
    return inspect_data(frame[["a", "b", "kind"]], target="kind", history=run, settings=Settings())


def test_the_rows_that_a_run_did_not_believe_are_named_by_their_place_and_label() -> None:
    frame = table()
    seen = learned(frame)
    found = next(one for one in inspect(frame, seen).diagnosis.findings if one.rule == "label-errors")

    assert {row.row for row in found.suspects} == {row for row in seen.index.tolist() if row % 10 == 3}
    first = found.suspects[0]
    assert f"given {frame.kind[first.row]}, predicted {NAMES[frame.true[first.row]]}" in first.why


def test_the_history_of_each_row_is_kept_in_the_order_of_the_data() -> None:
    dynamics = inspect(table(), learned(table())).data.train.dynamics

    assert dynamics is not None
    assert (np.diff(dynamics.index) > 0).all()
    assert dynamics.epochs == 12


def test_a_run_on_other_rows_is_refused() -> None:
    frame = table()
    with pytest.raises(UsageError, match="trained on more than these 100 rows"):
        inspect(frame[:100], learned(frame))
    with pytest.raises(UsageError, match="trained on other labels than those in 'kind'"):
        inspect(frame.sample(frac=1, random_state=0).reset_index(drop=True), learned(frame))


def test_labels_that_were_corrected_since_are_no_other_labels() -> None:
    frame = table()
    seen = learned(frame)
    corrected = [row for row in seen.index.tolist() if row % 10 == 3][:5]
    frame.loc[corrected, "kind"] = [NAMES[one] for one in frame.true[corrected]]
    found = next(one for one in inspect(frame, seen).diagnosis.findings if one.rule == "label-errors")

    assert not {row.row for row in found.suspects} & set(corrected)


@pytest.mark.parametrize(
    ("facts", "why"),
    [({"why": "it was too short"}, "it was too short"), ({"index": np.full(ROWS // 2, -1)}, "not by their number")],
)
def test_a_run_that_does_not_know_its_rows_says_so(facts: dict[str, object], why: str) -> None:
    told, dynamics = from_run(learned(table(), **facts), {}, ROWS, "kind")

    assert why in told.why
    assert not dynamics.index.size
