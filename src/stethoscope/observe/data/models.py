"""What models that have not seen a row say of its target: several kinds, trained here on the other rows."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Rows
from stethoscope.observe.data.features import Inputs, inputs_of, texts

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
TREES = 100
LEAF = 3
"""Rows in a leaf: with one alone a tree repeats each wrong label to its neighbours with certainty."""
TRIED = 0.5
"""Share of the features that a tree of amounts tries at each split: all of them take twice as long."""
NEIGHBOURS = 10
FEWEST_WORDS = 3
"""Rows that a word must be in to count."""
LEAST_GAIN = 0.5
"""Of the best model's gain over guessing, to have a say beside it."""
SURE = 1e-3
"""Least probability when models are compared: a single certain miss must not decide."""


def probabilities(rows: Rows, names: Sequence[str], labels: Ints, classes: int) -> Doubles | None:
    """(rows, classes): the mean of what several models say of rows that they were not trained on.

    A forest's trees answer for the rows that they left out; a linear model and the nearest neighbours, each on scaled
    columns, and a linear model of words where there are texts, are cross-validated. Models that gain much less over
    guessing than the best one are left out.

    Args:
        rows: the sample.
        names: the inputs.
        labels: (rows,) of whole numbers from 0; each at least `FOLDS` times.
        classes: how many.

    Returns:
        None where no column can be used.
    """
    own = np.arange(labels.size)
    guess = np.bincount(labels, minlength=classes) / labels.size
    blind = float(-np.log(guess[labels]).mean())
    told = [np.nan_to_num(one, nan=1 / classes) for one in _classifiers(rows, names, labels)]
    if not told:
        return None
    gains = np.array([blind + np.log(np.clip(one[own, labels], SURE, 1)).mean() for one in told])
    use = gains >= LEAST_GAIN * gains.max() if gains.max() > 0 else gains == gains.max()
    mean: Doubles = np.mean([one for one, good in zip(told, use, strict=True) if good], axis=0)
    whole: Doubles = mean / mean.sum(1, keepdims=True)
    return whole


def _classifiers(rows: Rows, names: Sequence[str], labels: Ints) -> Iterator[Doubles]:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    given = inputs_of(rows, names)
    inputs = given.wide.astype(np.float32)
    if inputs.shape[1]:
        forest = ExtraTreesClassifier(TREES, min_samples_leaf=LEAF, bootstrap=True, oob_score=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield np.asarray(forest.fit(given.narrow.astype(np.float32), labels).oob_decision_function_, np.float64)
        yield _held_out(LogisticRegression(C=0.1, max_iter=200), inputs, labels, folds, "predict_proba")
        near = KNeighborsClassifier(NEIGHBOURS, weights="distance", algorithm="brute")
        yield _held_out(near, inputs, labels, folds, "predict_proba")
    if words := texts(rows, names):
        reader = make_pipeline(
            TfidfVectorizer(min_df=FEWEST_WORDS, sublinear_tf=True, max_features=20_000),
            LogisticRegression(C=10, max_iter=200),
        )
        try:
            yield _held_out(reader, words, labels, folds, "predict_proba")
        except ValueError:  # no word is in that many rows
            return


class Amounts(NamedTuple):
    """What models say of a target of numbers."""

    told: Doubles
    """(models, rows)."""
    line: Doubles
    """(rows,): what a line through the rows without inputs far from all others says of each, also of those that have
    some, which `told` takes for nearer than they are. NaN where all are near."""


def amounts(rows: Rows, names: Sequence[str], target: Doubles) -> Amounts | None:
    """What several models say of a target of numbers, for rows that they were not trained on.

    Args:
        rows: the sample.
        names: the inputs.
        target: (rows,), all finite.

    Returns:
        None where no column can be used.
    """
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.neighbors import KNeighborsRegressor

    given = inputs_of(rows, names)
    inputs = given.wide.astype(np.float32)
    if not inputs.shape[1]:
        return None
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    forest = ExtraTreesRegressor(
        TREES, min_samples_leaf=LEAF, max_features=TRIED, bootstrap=True, oob_score=True, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = [np.asarray(forest.fit(given.narrow.astype(np.float32), target).oob_prediction_, np.float64)]
    told.append(_held_out(Ridge(1.0), inputs, target, folds, "predict"))
    near = KNeighborsRegressor(NEIGHBOURS, weights="distance", algorithm="brute")
    told.append(_held_out(near, inputs, target, folds, "predict"))
    blind = float(np.abs(target - np.median(target)).mean())
    gains = np.array([blind - np.abs(target - one).mean() for one in told])
    use = gains >= LEAST_GAIN * gains.max() if gains.max() > 0 else gains == gains.max()
    return Amounts(np.stack(told)[use], _line(given, target, folds))


def _line(given: Inputs, target: Doubles, folds: Any) -> Doubles:
    from sklearn.linear_model import Ridge

    told = np.full(target.size, np.nan)
    far = (given.far != given.wide).any(1)
    if far.any() and (~far).sum() > given.far.shape[1] + FOLDS:
        near = given.far[~far]
        told[far] = Ridge(1.0).fit(near, target[~far]).predict(given.far[far])
        told[~far] = _held_out(Ridge(1.0), near, target[~far], folds, "predict")
    return told


def _held_out(model: Any, inputs: Any, target: Any, folds: Any, method: str) -> Doubles:
    """What a scikit-learn model (no types without it) says of each part of the rows, trained on the others."""
    from sklearn.model_selection import cross_val_predict

    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore")
        return np.asarray(cross_val_predict(model, inputs, target, cv=folds, method=method), np.float64)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Products of small matrices on one thread: more of them mostly wait for each other, at full speed.

    Of 2,000 pictures on two cores that were busy, six of seven seconds of CPU were such waiting.
    """
    from threadpoolctl import threadpool_limits  # scikit-learn needs it

    with threadpool_limits(1, user_api="blas"):
        yield
