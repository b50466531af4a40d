"""Labels that the rest of the data contradicts: planted ones are found, clean ones are not accused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")
from sklearn import datasets

from stethoscope.core.errors import UsageError
from stethoscope.core.finding import CannotTell, Finding, Severity
from stethoscope.facts.data import Data, DataSet, LabelSuspects, Rows
from stethoscope.inspecting import inspect_data
from stethoscope.observe.data.confident import contradicted, joint_counts, noise_rate
from stethoscope.observe.data.dynamics import dynamics, early_probabilities
from stethoscope.observe.data.features import matrix
from stethoscope.observe.data.label_errors import from_training, label_suspects
from stethoscope.rules.data.label_errors import LabelErrors
from stethoscope.rules.data.labels_unrelated_to_inputs import LabelsUnrelatedToInputs

CLEAN = ("wine", "iris", "breast_cancer", "digits")
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def rows(**values: object) -> Rows:
    """A sample of all rows."""
    arrays = {name: np.asarray(some) for name, some in values.items()}
    return Rows(np.arange(len(next(iter(arrays.values())))), arrays)


def table(name: str, share: float, seed: int) -> tuple[Rows, NDArray[np.int64], list[str]]:
    """A real data set with this share of its labels replaced, in an order of its own, and which they are."""
    inputs, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    draws = np.random.default_rng(seed)
    order = draws.permutation(len(labels))
    inputs, labels = inputs[order], labels[order]
    wrong = draws.choice(len(labels), int(share * len(labels)), replace=False)
    classes = int(labels.max()) + 1
    labels[wrong] = (labels[wrong] + draws.integers(1, classes, len(wrong))) % classes
    names = [f"x{column}" for column in range(inputs.shape[1])]
    values = dict(zip(names, inputs.T, strict=True))
    return rows(**values, y=labels.astype(float)), wrong, names


def found(name: str, share: float, seed: int) -> tuple[LabelSuspects, NDArray[np.int64]]:
    sample, wrong, names = table(name, share, seed)
    labels = label_suspects(sample, "y", "classification", names)
    assert labels is not None
    return labels, wrong


def test_models_run_on_one_thread_and_leave_the_others_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that share the product of small matrices spend their time with waiting for each other."""
    from sklearn import model_selection
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    seen: list[set[int]] = []
    held_out = model_selection.cross_val_predict
    monkeypatch.setattr(
        model_selection,
        "cross_val_predict",
        lambda *some, **named: (seen.append(threads()), held_out(*some, **named))[1],
    )
    with threadpool_limits(2, user_api="blas"):
        found("iris", 0, 0)
        assert threads() == {2}
    assert seen
    assert all(one == {1} for one in seen)


def said(labels: LabelSuspects, task: str = "classification") -> list[Finding | CannotTell]:
    return list(LabelErrors().in_data(Data(DataSet("train", labels=labels), target="y", task=task)))


def severities(labels: LabelSuspects) -> list[Severity]:
    return [one.severity for one in said(labels) if isinstance(one, Finding)]


@seeds
@pytest.mark.parametrize("name", CLEAN)
def test_clean_labels_raise_no_warning_and_few_rows_are_worth_a_look(name: str, seed: int) -> None:
    labels, _ = found(name, 0, seed)

    assert Severity.WARNING not in severities(labels)
    assert len(labels.suspects) <= 6
    assert labels.noise < 0.03


@seeds
@pytest.mark.parametrize("name", ["wine", "breast_cancer", "digits"])
def test_a_twentieth_of_wrong_labels_is_told_and_most_of_the_rows_are_named(name: str, seed: int) -> None:
    labels, wrong = found(name, 0.05, seed)
    rows_found = {one.row for one in labels.suspects}

    assert severities(labels) == [Severity.WARNING]
    assert len(rows_found & set(wrong.tolist())) >= 0.6 * len(wrong)
    assert len(rows_found & set(wrong.tolist())) >= 0.75 * len(rows_found)


def test_a_suspect_says_what_it_was_given_what_it_would_be_and_which_rows_say_so() -> None:
    sample, wrong, names = table("wine", 0.05, 0)
    labels = label_suspects(sample, "y", "classification", names)
    assert labels is not None
    first = labels.suspects[0]

    assert first.row in wrong
    assert first.given == f"{sample.values['y'][first.row]:g}"
    assert first.better != first.given
    assert first.probability > 0.5 > first.score
    assert {f"{sample.values['y'][row]:g}" for row in first.near} == {first.better}
    assert [one.score for one in labels.suspects] == sorted(one.score for one in labels.suspects)


def test_the_same_rows_give_the_same_suspects() -> None:
    assert found("iris", 0.1, 0)[0] == found("iris", 0.1, 0)[0]


@seeds
def test_an_outcome_that_chance_decides_is_no_label_error(seed: int) -> None:
    draws = np.random.default_rng(seed)
    inputs = draws.normal(size=(1500, 4))
    pays = draws.random(1500) < 1 / (1 + np.exp(-1.5 * inputs[:, 0]))
    sample = rows(a=inputs[:, 0], b=inputs[:, 1], c=inputs[:, 2], d=inputs[:, 3], y=pays.astype(float))
    labels = label_suspects(sample, "y", "classification", ["a", "b", "c", "d"])

    assert labels is not None
    assert len(labels.suspects) > 100, "confident learning alone would accuse these"
    assert not severities(labels)


@seeds
def test_targets_far_from_what_the_rest_says_are_noted(seed: int) -> None:
    draws = np.random.default_rng(seed)
    a, b = draws.normal(size=(2, 800))
    y = 3 * a + b + draws.normal(0, 0.3, 800)
    clean = label_suspects(rows(a=a, b=b, y=y), "y", "regression", ["a", "b"])
    y[[11, 500]] *= [-100, 1000]
    dirty = label_suspects(rows(a=a, b=b, y=y), "y", "regression", ["a", "b"])

    assert clean is not None
    assert dirty is not None
    assert not clean.suspects
    assert {one.row for one in dirty.suspects} == {11, 500}
    findings = said(dirty, "regression")
    assert [one.severity for one in findings if isinstance(one, Finding)] == [Severity.NOTE]


@pytest.mark.parametrize(("target", "why"), [(np.zeros(90), "hardly varies"), (np.arange(90) * 1e300, "too large")])
def test_targets_that_are_no_use_say_why(target: NDArray[np.float64], why: str) -> None:
    labels = label_suspects(rows(a=np.arange(90.0), y=target), "y", "regression", ["a"])

    assert labels is not None
    assert why in labels.why


@seeds
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_target_that_no_column_tells_is_noted(seed: int, task: str) -> None:
    draws = np.random.default_rng(seed)
    a, b = draws.normal(size=(2, 1200))
    for related in (0.0, 0.6):
        y = related * a + draws.normal(size=1200)
        values = (y > 0).astype(float) if task == "classification" else y
        labels = label_suspects(rows(a=a, b=b, y=values), "y", task, ["a", "b"])
        seen = Data(DataSet("train", labels=labels), target="y", task=task)
        assert bool(list(LabelsUnrelatedToInputs().in_data(seen))) == (related == 0)


def test_words_and_texts_tell_labels() -> None:
    draws = np.random.default_rng(0)
    good = draws.random(400) < 0.5
    words = np.where(good, "a lovely warm film", "a dull cold film").astype(object)
    texts = np.array([f"{word} number {i} of many" for i, word in enumerate(words)], dtype=object)
    stars = np.where(good, "good", "bad").astype(object)
    stars[:20] = np.where(stars[:20] == "good", "bad", "good")
    labels = label_suspects(rows(text=texts, y=stars), "y", "classification", ["text"])

    assert labels is not None
    assert {one.row for one in labels.suspects} == set(range(20))
    assert severities(labels) == [Severity.WARNING]


def test_features_have_no_holes_and_no_wild_values() -> None:
    numbers = np.array([*np.linspace(0, 1, 98), np.nan, 1e9])
    words = np.array([None, "a", "b", "c"] * 25, dtype=object)
    names = np.array([f"user {i}" for i in range(100)], dtype=object)
    made = matrix(rows(n=numbers, w=words, name=names, one=np.ones(100)), ["n", "w", "name", "one"])

    assert made.shape == (100, 1 + 4)
    assert np.isfinite(made).all()
    assert np.abs(made).max() <= 5


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros(100), "there is one class only"),
        (np.arange(1000) // 5 * 1.0, "there are 200 classes"),
        (np.arange(30) % 2 * 1.0, "only 30 rows have a label that is there 5 times"),
    ],
)
def test_what_cannot_be_judged_says_why(values: NDArray[np.float64], why: str) -> None:
    labels = label_suspects(rows(a=np.arange(len(values)) * 1.0, y=values), "y", "classification", ["a"])

    assert labels is not None
    assert labels.why == why
    assert [one.why for one in said(labels) if isinstance(one, CannotTell)] == [why]


def test_given_probabilities_are_used_and_their_shape_is_checked() -> None:
    y = np.array([0.0, 1.0] * 50)
    told = np.stack([1 - y, y], 1) * 0.9 + 0.05
    told[4] = [0.02, 0.98]
    labels = label_suspects(rows(a=y, y=y), "y", "classification", ["a"], told)

    assert labels is not None
    assert [one.row for one in labels.suspects] == [4]
    with pytest.raises(UsageError, match="2 classes"):
        label_suspects(rows(a=y, y=y), "y", "classification", ["a"], told[:, :1])


@pytest.mark.parametrize("seed", range(6))
def test_confident_learning_lists_what_cleanlab_lists(seed: int) -> None:
    cleanlab = pytest.importorskip("cleanlab.filter")
    draws = np.random.default_rng(seed)
    classes = (2, 3, 5)[seed % 3]
    true = draws.integers(0, classes, 2000)
    logits = draws.normal(size=(2000, classes))
    logits[np.arange(2000), true] += 3
    told = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = np.where(draws.random(2000) < 0.15, draws.integers(0, classes, 2000), true)
    theirs = cleanlab.find_label_issues(given, told, return_indices_ranked_by="self_confidence", n_jobs=1)

    # Where counts are rounded, equal rests are rounded up in another order.
    assert len(set(contradicted(given, told).tolist()) ^ set(theirs.tolist())) <= 2


def test_the_joint_counts_add_up_to_the_labels() -> None:
    draws = np.random.default_rng(0)
    given = draws.integers(0, 4, 500)
    told = draws.dirichlet(np.ones(4), 500)

    assert joint_counts(given, told).sum(1).tolist() == np.bincount(given).tolist()
    assert 0 <= noise_rate(given, told) <= 1


def history(seed: int, share: float, epochs: int = 30) -> tuple[Rows, NDArray[np.int64], NDArray[np.float64]]:
    """Logits of a network that learns the true labels first, and the wrong ones by heart later."""
    draws = np.random.default_rng(seed)
    true = draws.integers(0, 3, 600)
    given = true.copy()
    wrong = draws.choice(600, int(share * 600), replace=False)
    given[wrong] = (given[wrong] + 1) % 3
    each = np.arange(600)
    logits = draws.normal(0, 0.5, (epochs, 600, 3))
    for epoch in range(epochs):
        logits[epoch, each, true] += min(4.0, 0.6 * epoch) + draws.normal(0, 0.5, 600)
        logits[epoch, each, given] += 0.6 * max(0, epoch - 20)
    return rows(x=true + draws.normal(size=600), y=given.astype(float)), wrong, logits


@seeds
def test_rows_that_a_network_learned_last_are_named_by_the_area_under_the_margin(seed: int) -> None:
    sample, wrong, logits = history(seed, 0.08)
    labels, learned = from_training(sample, "y", ["x"], logits)
    sample, _, logits = history(seed, 0)
    clean, _ = from_training(sample, "y", ["x"], logits)

    assert severities(labels) == [Severity.WARNING]
    assert {one.row for one in labels.suspects} >= set(wrong.tolist())
    assert len(labels.suspects) <= 1.2 * len(wrong)
    assert learned.margin[wrong].max() < np.median(learned.margin)
    assert learned.confidence[wrong].mean() < learned.confidence.mean()
    assert not severities(clean)


def test_few_epochs_are_not_judged() -> None:
    sample, _, logits = history(0, 0.1, epochs=9)

    assert from_training(sample, "y", ["x"], logits)[0].why == "the history has 9 epochs, and 10 are needed"


def test_margin_confidence_variability_and_forgetting_by_hand() -> None:
    told = np.array([[[0.8, 0.2]], [[0.4, 0.6]], [[0.8, 0.2]]])
    learned = dynamics(told, np.array([0]), np.array([7]))
    never = dynamics(told, np.array([1]), np.array([7]))

    assert learned.margin[0] == pytest.approx((2 * np.log(4) + np.log(2 / 3)) / 3)
    assert learned.confidence[0] == pytest.approx(2 / 3)
    assert learned.variability[0] == pytest.approx(np.std([0.8, 0.4, 0.8]))
    assert learned.forgotten.tolist() == [1]
    assert never.forgotten.tolist() == [1]
    assert dynamics(told[:1], np.array([1]), np.array([7])).forgotten.tolist() == [-1]
    assert dynamics(np.log(told) + 3, np.array([0]), np.array([7])).margin == pytest.approx(learned.margin)
    assert early_probabilities(told)[0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_inspecting_takes_probabilities_and_histories_of_all_rows() -> None:
    pandas = pytest.importorskip("pandas")
    sample, wrong, logits = history(0, 0.1)
    frame = pandas.DataFrame(dict(sample.values))
    learned = inspect_data(frame, target="y", history=logits)
    given = inspect_data(frame, target="y", probabilities=early_probabilities(logits))

    for inspection in (learned, given):
        finding = next(one for one in inspection.diagnosis.findings if one.rule == "label-errors")
        assert finding.severity is Severity.WARNING
        assert {one.row for one in finding.suspects[:20]} <= set(wrong.tolist())
        assert dict(finding.suspects[0].values)["y"] == frame["y"].astype(int).astype(str)[finding.suspects[0].row]
    assert learned.data.train.dynamics is not None
    assert learned.data.train.dynamics.epochs == len(logits)
    with pytest.raises(UsageError, match=r"600 rows"):
        inspect_data(frame, target="y", probabilities=logits[0, :50])
    with pytest.raises(UsageError, match="3 classes"):
        inspect_data(frame, target="y", history=logits[:, :, :2])
