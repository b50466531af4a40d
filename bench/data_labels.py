"""Planted wrong labels: what is found, and how often clean labels are accused, beside cleanlab.

    python bench/data_labels.py [--seeds 3]

Of each data set a share of the labels is replaced by other ones. Precision and recall of the listed rows are those of
ours, of cleanlab's default on the same probabilities, and of cleanlab on its own (`CleanLearning`, with its default
model, on scaled columns). cleanlab is only used where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import Finding
from stethoscope.facts.data import Data, DataSet, LabelSuspects, Rows
from stethoscope.observe.data.label_errors import label_suspects
from stethoscope.observe.data.models import probabilities
from stethoscope.rules.data.label_errors import LabelErrors

SHARES = (0.0, 0.05, 0.1, 0.2)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    from sklearn import datasets

    print(
        "| data | wrong | ours says | ours P / R | cleanlab, same probabilities P / R | cleanlab alone P / R | CPU s |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in ("wine", "iris", "breast_cancer", "digits"):
        inputs, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
        for share in SHARES:
            print(_row(name, inputs, labels, share, seeds), flush=True)


def _row(name: str, inputs: NDArray[np.float64], labels: NDArray[np.int64], share: float, seeds: int) -> str:
    said: list[str] = []
    figures: dict[str, list[tuple[float, float]]] = {"ours": [], "same": [], "alone": []}
    spent = 0.0
    for seed in range(seeds):
        given, wrong = planted(labels, share, seed)
        names = [f"x{column}" for column in range(inputs.shape[1])]
        values: dict[str, Any] = {one: inputs[:, column] for column, one in enumerate(names)}
        rows = Rows(np.arange(len(labels)), {**values, "y": given.astype(np.float64)})
        began = time.process_time()
        found = label_suspects(rows, "y", "classification", names)
        spent += time.process_time() - began
        assert found is not None
        said.append(_verdict(found))
        figures["ours"].append(_figures(np.array([one.row for one in found.suspects], np.int64), wrong))
        told = probabilities(rows, names, given, int(labels.max()) + 1)
        if importlib.util.find_spec("cleanlab"):
            figures["same"].append(_figures(_same(given, told), wrong))
            figures["alone"].append(_figures(_alone(inputs, given), wrong))
    words = ", ".join(f"{word} {said.count(word)}" for word in sorted(set(said)))
    cells = [_mean(figures[kind], share) for kind in ("ours", "same", "alone")]
    return f"| {name} | {share:.0%} | {words} | {' | '.join(cells)} | {spent / seeds:.2f} |"


def planted(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The labels with a share of them replaced by another class each, and which."""
    draws = np.random.default_rng(seed)
    wrong = draws.choice(len(labels), int(share * len(labels)), replace=False)
    given = labels.astype(np.int64).copy()
    classes = int(labels.max()) + 1
    given[wrong] = (given[wrong] + draws.integers(1, classes, len(wrong))) % classes
    return given, wrong


def _verdict(found: LabelSuspects) -> str:
    seen = Data(DataSet("train", labels=found), target="y", task="classification")
    findings = [one for one in LabelErrors().in_data(seen) if isinstance(one, Finding)]
    return findings[0].severity.value if findings else "nothing"


def _figures(found: NDArray[np.int64], wrong: NDArray[np.int64]) -> tuple[float, float]:
    """Precision and recall, or for clean labels how many rows are accused."""
    hits = float(np.isin(found, wrong).sum())
    return (hits / max(1, found.size), hits / wrong.size) if wrong.size else (float(found.size), float("nan"))


def _mean(figures: list[tuple[float, float]], share: float) -> str:
    if not figures:
        return "-"
    first, second = np.mean(figures, axis=0)
    return f"{first:.2f} / {second:.2f}" if share else f"{first:.0f} rows"


def _same(given: NDArray[np.int64], told: Any) -> NDArray[np.int64]:
    from cleanlab.filter import find_label_issues

    return np.asarray(find_label_issues(given, told, return_indices_ranked_by="self_confidence", n_jobs=1), np.int64)


def _alone(inputs: NDArray[np.float64], given: NDArray[np.int64]) -> NDArray[np.int64]:
    from cleanlab.classification import CleanLearning
    from sklearn.preprocessing import StandardScaler

    issues = CleanLearning(seed=0).find_label_issues(StandardScaler().fit_transform(inputs), given)
    return np.flatnonzero(issues["is_label_issue"].to_numpy())


if __name__ == "__main__":
    main()
