"""Labels that the rest of the data contradicts: models that did not see a row are asked what its label would be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import UsageError
from stethoscope.facts.data import Dynamics, LabelSuspects, Rows, Suspect
from stethoscope.observe.data.confident import contradicted, noise_rate
from stethoscope.observe.data.dynamics import EARLY, FEWEST_EPOCHS, dynamics, early_probabilities
from stethoscope.observe.data.features import matrix

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_ROWS = 6000
"""Rows that models are trained on: 1.4 seconds for 30 columns."""
MOST_COLUMNS = 60
FEWEST_ROWS = 60
FEWEST_OF_A_CLASS = 5
"""One for each part that is held out."""
MOST_CLASSES = 100
FAR = 3.0
"""Times the distance that 99 % of the rows stay below, from which on a number is told: 8 standard deviations."""
TAIL = 3.0
"""Times the distance that 90 % of the rows stay below, beyond which what 99 % stay below does not count: it would be
that of wrong ones, where these are one in a hundred. Of normal distances it is 1.6, of Student's with 3 degrees 2.5."""
WIDER = 1.5
"""Times the range of 99 % of the targets that models are trained within."""
BULK = 3.0
"""Times the range of 90 % of them, where that is less."""
FACTORS = (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001)
"""Slips of the point."""
LARGEST = 1e150
AGREEING = 3
"""Rows that are shown beside a suspect."""
MOST_SHOWN = 50
"""Suspects beside which rows are shown."""
TARGET = "label"
OURS = "a forest, a linear model and nearest neighbours that were not trained on the row"
GIVEN = "the probabilities that were given"


def label_suspects(
    rows: Rows, target: str, task: str, names: Sequence[str], given: Doubles | None = None
) -> LabelSuspects | None:
    """Rows whose target is contradicted by the other rows; None without a target.

    Args:
        rows: the sample.
        target: the column to be predicted.
        task: `classification` or `regression`.
        names: the inputs, the most telling first.
        given: (sampled rows, classes) probabilities of the user's own, the classes in the order of the sorted labels.

    Raises:
        UsageError: probabilities of another shape.
    """
    if target not in rows.values or not task:
        return None
    known, names = _known(rows.values[target]), [name for name in names if name in rows.values][:MOST_COLUMNS]
    try:
        if task == "regression":
            return _of_numbers(_some(rows, known), target, names)
        return _of_classes(rows, known, target, names, given)
    except ImportError:
        return LabelSuspects("", "scikit-learn is not installed (pip install 'stethoscope[data]')")


def from_training(
    rows: Rows, target: str, names: Sequence[str], history: Doubles
) -> tuple[LabelSuspects, Dynamics]:  # fmt: skip
    """Rows whose label a network contradicted while it was trained on them, and the history of each row.

    Whether labels are wrong at all is judged by early epochs; which ones, by the area under the margin in all epochs.

    Args:
        rows: the sample.
        target: the column with the classes.
        names: the inputs.
        history: (epochs, sampled rows, classes), logits or probabilities; classes in the order of the sorted labels.

    Raises:
        UsageError: a history of another shape.
    """
    known = _known(rows.values[target])
    classes, codes = _labels(rows.values[target][known])
    _check_shape(history[:1].shape[1:], rows.count, classes, target)
    usable = np.isfinite(history[:, known]).all((0, 2))
    part, codes, outputs = _at(rows, known[usable]), codes[usable], history[:, known[usable]]
    if len(history) < FEWEST_EPOCHS or not part.count:
        return LabelSuspects("", f"the history has {len(history)} epochs, and {FEWEST_EPOCHS} are needed"), Dynamics()
    told = early_probabilities(outputs)
    learned = dynamics(outputs, codes, part.index)
    below = np.flatnonzero(learned.margin < 0)
    below = below[np.argsort(learned.margin[below], kind="stable")].astype(np.int64)
    method = f"the network's own outputs, up to epoch {min(EARLY, len(history))}"
    with np.errstate(over="ignore"):
        scores = 1 / (1 + np.exp(-learned.margin))
    return _judged(part, codes, told, classes, names, method, below, scores), learned


def of_classes(labels: Sequence[str], inputs: Doubles, method: str) -> LabelSuspects:
    """Rows whose label the others contradict, where the inputs are a matrix of numbers.

    Args:
        labels: (rows,).
        inputs: (rows, features).
        method: what is said of the models, as a clause.
    """
    names = [f"feature {place}" for place in range(inputs.shape[1])]
    columns: dict[str, NDArray[np.float64] | NDArray[np.object_]] = dict(zip(names, inputs.T, strict=True))
    rows = Rows(np.arange(len(labels)), {TARGET: np.array(labels, dtype=object), **columns})
    return _of_classes(rows, np.arange(rows.count), TARGET, names, None, method)


def _known(values: NDArray[np.float64] | NDArray[np.object_]) -> Ints:
    """Places where there is a value."""
    if values.dtype == object:
        return np.flatnonzero([one is not None for one in values])
    return np.flatnonzero(np.isfinite(values.astype(np.float64)))


def _at(rows: Rows, chosen: Ints) -> Rows:
    return Rows(rows.index[chosen], {name: values[chosen] for name, values in rows.values.items()})


def _check_shape(shape: tuple[int, ...], rows: int, classes: Sequence[str], target: str) -> None:
    if shape != (rows, len(classes)):
        raise UsageError(
            f"outputs are given for {shape} (rows, classes); {rows} rows and the {len(classes)} classes of {target!r} "
            "are needed"
        )


def _some(rows: Rows, chosen: Ints) -> Rows:
    """At most MOST_ROWS of these, at even distances."""
    if chosen.size > MOST_ROWS:
        chosen = chosen[np.unique(np.linspace(0, chosen.size - 1, MOST_ROWS).astype(np.int64))]
    return _at(rows, chosen)


def _labels(values: NDArray[np.float64] | NDArray[np.object_]) -> tuple[list[str], Ints]:
    """The different labels as text, sorted as they are, and the number of each row's."""
    if values.dtype == object:
        different, codes = np.unique(values.astype(str), return_inverse=True)
        return [str(one) for one in different], codes.astype(np.int64)
    numbers, codes = np.unique(values.astype(np.float64), return_inverse=True)
    return [f"{one:g}" for one in numbers], codes.astype(np.int64)


def _of_classes(
    rows: Rows, known: Ints, target: str, names: Sequence[str], given: Doubles | None, method: str = OURS
) -> LabelSuspects:
    classes, codes = _labels(rows.values[target][known])
    if given is not None:
        given = np.asarray(given, np.float64)
        _check_shape(given.shape, rows.count, classes, target)
        usable = np.isfinite(given[known]).all(1)
        part = _at(rows, known[usable])
        given = given[known[usable]]
        return _judged(part, codes[usable], given, classes, names, GIVEN)
    counts = np.bincount(codes, minlength=len(classes))
    part = _some(rows, known[counts[codes] >= FEWEST_OF_A_CLASS])
    classes, codes = _labels(part.values[target]) if part.count else ([], codes[:0])
    if part.count < FEWEST_ROWS or not 2 <= len(classes) <= MOST_CLASSES:
        return LabelSuspects("", _too_few(part.count, len(classes)))
    if (np.bincount(codes) < FEWEST_OF_A_CLASS).any():  # sampled away
        return LabelSuspects("", "some classes have too few rows among those looked at")
    from stethoscope.observe.data.models import probabilities

    told = probabilities(part, names, codes, len(classes))
    if told is None:
        return LabelSuspects("", "no column can be given to a model")
    return _judged(part, codes, told, classes, names, method)


def _too_few(rows: int, classes: int) -> str:
    if rows < FEWEST_ROWS:
        return f"only {rows} rows have a label that is there {FEWEST_OF_A_CLASS} times"
    return "there is one class only" if classes < 2 else f"there are {classes} classes"


def _judged(
    rows: Rows,
    codes: Ints,
    told: Doubles,
    classes: list[str],
    names: Sequence[str],
    method: str,
    found: Ints | None = None,
    scores: Doubles | None = None,
) -> LabelSuspects:
    """What probabilities say of labels; the suspects are those of confident learning unless they are given."""
    own = np.arange(codes.size)
    best, surest = told.argmax(1), told.max(1)
    half = np.argsort(-surest, kind="stable")[: codes.size // 2]
    counts = np.bincount(codes, minlength=len(classes))
    found = contradicted(codes, told) if found is None else found
    scores = told[own, codes] if scores is None else scores
    near = _agreeing(rows, names, found[:MOST_SHOWN], codes, best)
    return LabelSuspects(
        method,
        suspects=tuple(
            Suspect(
                int(rows.index[row]), float(scores[row]), classes[codes[row]], classes[best[row]],
                float(surest[row]), near.get(int(row), ()),
            )
            for row in found
            if best[row] != codes[row]
        ),
        rows=int(codes.size),
        accuracy=float((best == codes).mean()),
        chance=float(counts.max() / codes.size),
        noise=noise_rate(codes, told),
        confident=int(half.size),
        contradicted=int((best[half] != codes[half]).sum()),
        relation=max((_ranked(told[:, one], codes == one) for one in range(len(classes))), default=float("nan")),
    )  # fmt: skip


def _ranked(told: Doubles, are: NDArray[np.bool_]) -> float:
    """By how many standard errors rows of a class are ranked above the others (Mann and Whitney 1947); 0 by chance."""
    inside, outside = int(are.sum()), int((~are).sum())
    if not inside or not outside:
        return float("nan")
    _, places, counts = np.unique(told, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    above = float(ranks[are].sum()) - inside * (told.size + 1) / 2
    return above / float(np.sqrt(inside * outside * (told.size + 1) / 12))


def _agreeing(rows: Rows, names: Sequence[str], found: Ints, codes: Ints, best: Ints) -> dict[int, tuple[int, ...]]:
    """For each suspect the rows most like it among those that were given the label predicted for it."""
    inputs = matrix(rows, names)
    if not inputs.shape[1]:
        return {}
    squares = (inputs**2).sum(1)
    between = squares[found, None] + squares - 2 * inputs[found] @ inputs.T
    agreeing = {}
    for place, row in enumerate(found):
        others = np.flatnonzero(codes == best[row])
        order = np.argsort(between[place, others].round(9), kind="stable")[:AGREEING]  # equal rows in their order
        agreeing[int(row)] = tuple(int(rows.index[one]) for one in others[order])
    return agreeing


def _of_numbers(rows: Rows, target: str, names: Sequence[str]) -> LabelSuspects:
    if rows.count < FEWEST_ROWS:
        return LabelSuspects("", f"only {rows.count} rows have a target")
    values = np.asarray(rows.values[target], np.float64)
    from stethoscope.observe.data.models import amounts

    # A wild value among the targets must not draw the predictions of its neighbours along.
    with np.errstate(all="ignore"):
        low, lower, middle, upper, high = np.quantile(values, [0.005, 0.05, 0.5, 0.95, 0.995])
        down, up = _reach(middle - low, middle - lower), _reach(high - middle, upper - middle)
        within = np.clip(values, middle - down, middle + up)
        blind = float(np.abs(within - middle).mean())
    if not 0 < blind < LARGEST:
        return LabelSuspects("", "the target hardly varies" if not blind > 0 else "the target's values are too large")
    scaled = amounts(rows, names, (within - middle) / blind)
    if scaled is None:
        return LabelSuspects("", "no column can be given to a model")
    each = middle + blind * scaled.told
    told = each.mean(0)
    # All have to miss it: at the ends of what they have seen trees and neighbours fall short, and a line goes on.
    off = np.fmin(np.abs(values - each).min(0), np.abs(values - middle - blind * scaled.line))
    most, usual = (float(one) for one in np.quantile(off, [0.9, 0.99]))
    usual = min(usual, TAIL * most) if most > 0 else usual
    far = np.flatnonzero(off > FAR * usual) if usual > 0 else np.zeros(0, np.int64)
    far = far[np.argsort(-off[far], kind="stable")]
    factor, slips = _slips(values[far], told[far], usual)
    related = float(np.corrcoef(within, told)[0, 1]) if told.std() > 0 else 0.0
    return LabelSuspects(
        OURS,
        suspects=tuple(
            Suspect(int(rows.index[row]), float(usual / off[row]), f"{values[row]:.6g}", f"about {told[row]:.4g}")
            for row in far
        ),
        rows=rows.count,
        explained=float(1 - np.abs(within - told).mean() / blind),
        usual=usual,
        relation=related * float(np.sqrt(rows.count)),
        factor=factor,
        slips=slips,
    )


def _reach(most: float, bulk: float) -> float:
    """How far from their middle targets are learned, from the distances of the outer half and of the outer 5 %."""
    return min(WIDER * most, BULK * bulk) if bulk > 0 else WIDER * most


def _slips(values: Doubles, told: Doubles, usual: float) -> tuple[float, int]:
    """By which power of ten most of these values are off, and how many are: then they are as usual, and 0 is not."""
    clear = np.abs(told) > 2 * usual
    fits = [int((clear & (np.abs(values / factor - told) <= usual)).sum()) for factor in FACTORS]
    best = int(np.argmax(fits))
    return (FACTORS[best], fits[best]) if fits[best] else (float("nan"), 0)
