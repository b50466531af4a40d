"""Labels that the rest of the data contradicts: models that did not see a row are asked what its label would be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import UsageError
from stethoscope.facts.data import LabelSuspects, Rows, Suspect
from stethoscope.observe.data.confident import contradicted, noise_rate
from stethoscope.observe.data.features import matrix

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_ROWS = 8000
"""Rows that models are trained on: seconds for more."""
MOST_COLUMNS = 60
FEWEST_ROWS = 60
FEWEST_OF_A_CLASS = 5
"""One for each part that is held out."""
MOST_CLASSES = 100
FAR = 3.0
"""Times the distance that 99 % of the rows stay below, from which on a number is told: 8 standard deviations."""
AGREEING = 3
"""Rows that are shown beside a suspect."""
MOST_SHOWN = 200
"""Suspects beside which rows are shown."""
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
    values = rows.values[target]
    known = np.array([one is not None for one in values]) if values.dtype == object else np.isfinite(values.astype(float))
    names = [name for name in names if name in rows.values][:MOST_COLUMNS]
    try:
        if task == "regression":
            return _of_numbers(_some(rows, np.flatnonzero(known)), target, names)
        return _of_classes(rows, np.flatnonzero(known), target, names, given)
    except ImportError:
        return LabelSuspects("", "scikit-learn is not installed (pip install 'stethoscope[data]')")


def _some(rows: Rows, chosen: Ints) -> Rows:
    """At most MOST_ROWS of these, at even distances."""
    if chosen.size > MOST_ROWS:
        chosen = chosen[np.unique(np.linspace(0, chosen.size - 1, MOST_ROWS).astype(np.int64))]
    return Rows(rows.index[chosen], {name: values[chosen] for name, values in rows.values.items()})


def _labels(values: NDArray[np.float64] | NDArray[np.object_]) -> tuple[list[str], Ints]:
    """The different labels as text, sorted as they are, and the number of each row's."""
    if values.dtype == object:
        different, codes = np.unique(values.astype(str), return_inverse=True)
        return [str(one) for one in different], codes.astype(np.int64)
    numbers, codes = np.unique(values.astype(np.float64), return_inverse=True)
    return [f"{one:g}" for one in numbers], codes.astype(np.int64)


def _of_classes(rows: Rows, known: Ints, target: str, names: Sequence[str], given: Doubles | None) -> LabelSuspects:
    classes, codes = _labels(rows.values[target][known])
    if given is not None:
        given = np.asarray(given, np.float64)
        if given.shape != (rows.count, len(classes)):
            raise UsageError(
                f"probabilities have the shape {given.shape}; {rows.count} rows and {len(classes)} classes of "
                f"{target!r} need {(rows.count, len(classes))}"
            )
        usable = np.isfinite(given[known]).all(1)
        part = Rows(rows.index[known][usable], {name: some[known][usable] for name, some in rows.values.items()})
        return _judged(part, codes[usable], given[known][usable], classes, names, GIVEN)
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
    return _judged(part, codes, told, classes, names, OURS)


def _too_few(rows: int, classes: int) -> str:
    if rows < FEWEST_ROWS:
        return f"only {rows} rows have a label that is there {FEWEST_OF_A_CLASS} times"
    return "there is one class only" if classes < 2 else f"there are {classes} classes"


def _judged(
    rows: Rows, codes: Ints, told: Doubles, classes: list[str], names: Sequence[str], method: str
) -> LabelSuspects:
    own = np.arange(codes.size)
    best, surest = told.argmax(1), told.max(1)
    half = np.argsort(-surest, kind="stable")[: codes.size // 2]
    counts = np.bincount(codes, minlength=len(classes))
    found = contradicted(codes, told)
    near = _agreeing(rows, names, found[:MOST_SHOWN], codes, best)
    return LabelSuspects(
        method,
        suspects=tuple(
            Suspect(
                int(rows.index[row]), float(told[row, codes[row]]), classes[codes[row]], classes[best[row]],
                float(surest[row]), near.get(int(row), ()),
            )
            for row in found
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
    agreeing = {}
    for row in found:
        others = np.flatnonzero(codes == best[row])
        order = np.argsort(((inputs[others] - inputs[row]) ** 2).sum(1), kind="stable")[:AGREEING]
        agreeing[int(row)] = tuple(int(rows.index[one]) for one in others[order])
    return agreeing


def _of_numbers(rows: Rows, target: str, names: Sequence[str]) -> LabelSuspects:
    if rows.count < FEWEST_ROWS:
        return LabelSuspects("", f"only {rows.count} rows have a target")
    values = np.asarray(rows.values[target], np.float64)
    from stethoscope.observe.data.models import amounts

    told = amounts(rows, names, values)
    blind = float(np.abs(values - np.median(values)).mean())
    if told is None or not blind > 0:
        return LabelSuspects("", "no column can be given to a model" if told is None else "the target never varies")
    off = np.abs(values - told)
    usual = float(np.quantile(off, 0.99))
    far = np.flatnonzero(off > FAR * usual) if usual > 0 else np.zeros(0, np.int64)
    far = far[np.argsort(-off[far], kind="stable")]
    related = float(np.corrcoef(values, told)[0, 1]) if told.std() > 0 else 0.0
    return LabelSuspects(
        OURS,
        suspects=tuple(
            Suspect(int(rows.index[row]), float(usual / off[row]), f"{values[row]:.6g}", f"about {told[row]:.4g}")
            for row in far
        ),
        rows=rows.count,
        explained=float(1 - off.mean() / blind),
        usual=usual,
        relation=related * float(np.sqrt(rows.count)),
    )
