"""How a network learned single rows: each is put through the weights of several steps, when the run has ended.

G. Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020.
S. Swayamdipta et al., "Dataset Cartography", EMNLP 2020.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stethoscope.facts.learning import Learning
from stethoscope.observe.data.dynamics import dynamics, log_probabilities
from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.model.copies import copy_of
from stethoscope.observe.model.ingredients import Pass, tensors_in
from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.model.recipe import CannotTry, clones, view_in
from stethoscope.observe.model.snapshots import FEWEST_TAKEN, Snapshots, put_back
from stethoscope.observe.training.samples import checksums

FEWEST_ROWS = 100
MOST_CLASSES = 100
SKILLED = 0.5
"""Share of the way from guessing to the most that the network ever gets right, at which it has begun to learn."""
FROM, UNTIL = 2.0, 16.0
"""Steps of the snapshots that are asked what labels should be / steps at which it has begun: before, the network is
wrong of many rows that are right; after, it knows wrong labels by heart (digits with 10 % of wrong labels: from 40
times as many on)."""
FEWEST_SKILLED = 4
"""Snapshots between the two."""
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
LEAST = 1e-7
"""Probability that a smaller one counts as, where its logit is taken."""

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Kept:
    """The rows that are asked about, each once."""

    chosen: Integers
    """(rows,): their places among all rows of the passes."""
    given: Integers
    step: Integers
    place: Integers
    index: Integers


def learning_of(capture: Capture, seconds: float) -> Learning:
    """The history of the rows that were kept, as far as they can be put through a copy in so many seconds."""
    snapshots = capture.snapshots
    assert snapshots is not None
    why = _why_not(capture, snapshots)
    if why:
        return Learning(why=why)
    assert capture.original is not None
    with apart(), torch.no_grad():
        model, _ = copy_of(capture.original[0], None)
        model.eval()
        passes, taken = _within(model, snapshots, seconds)
        if not passes:
            return Learning(why="a forward pass takes too long to repeat it with the weights of several steps")
        kept = _rows(snapshots, passes)
        if isinstance(kept, str):
            return Learning(why=kept)
        outputs = []
        for _, row in taken:
            put_back(model, row)
            outputs.append(np.concatenate([_scores(model, each) for each in passes])[kept.chosen])
    return _judged(np.stack(outputs), kept, np.array([step for step, _ in taken], np.int64))


def _why_not(capture: Capture, snapshots: Snapshots) -> str:
    """Why rows cannot be asked about, as a clause; empty when they can."""
    if snapshots.why:
        return snapshots.why
    if capture.original is None or not snapshots.passes:
        return capture.reasons.most_common(1)[0][0] if capture.reasons else "no step could be copied"
    if isinstance(capture.original[0], KerasCopy):
        return "it is a model of Keras's"
    if len({each.function for each in snapshots.passes}) > 1:
        return "the loss is computed in more than one way"
    if len(snapshots.taken) < FEWEST_TAKEN:
        return f"the run was over after {len(snapshots.taken)} snapshots of its weights"
    return ""


def _within(model: nn.Module, snapshots: Snapshots, seconds: float) -> tuple[list[Pass], list[tuple[int, Tensor]]]:
    """The first passes, as many as can be repeated with every snapshot in the time; with some of them, evenly spread,
    where not even one pass can; none where too few could be.
    """
    _scores(model, snapshots.passes[0])  # the first time is slower than any other
    began = time.perf_counter()
    _scores(model, snapshots.passes[0])
    affordable = int(seconds / max(time.perf_counter() - began, 1e-9))
    if affordable < FEWEST_TAKEN:
        return [], []
    spread = np.linspace(0, len(snapshots.taken) - 1, min(affordable, len(snapshots.taken))).astype(int)
    taken = [snapshots.taken[place] for place in spread]
    return snapshots.passes[: max(1, affordable // len(taken))], taken


def _rows(snapshots: Snapshots, passes: list[Pass]) -> Kept | str:
    """The rows of these passes that have one label each; or why they cannot be asked about, as a clause."""
    labels, steps, places, indices, marks = [], [], [], [], []
    for each, step, index in zip(passes, snapshots.steps, snapshots.index, strict=False):
        given = _labels(each)
        if given is None:
            return "there is not one class for each row"
        rows = len(given)
        labels.append(given)
        steps.append(np.full(rows, step))
        places.append(np.arange(rows))
        indices.append(np.full(rows, -1) if index is None else index)
        marks.append(_marks(each, rows))
    given, number, mark = np.concatenate(labels), np.concatenate(indices), np.concatenate(marks)
    first = np.zeros(len(given), bool)
    first[np.unique(mark, return_index=True)[1]] = True
    known = np.flatnonzero(number >= 0)
    again = np.setdiff1d(known, known[np.unique(number[known], return_index=True)[1]])
    first[again] = False
    chosen = np.flatnonzero(first & (given >= 0))
    if len(chosen) < FEWEST_ROWS:
        return f"only {len(chosen)} different rows could be asked about"
    return Kept(chosen, given[chosen], np.concatenate(steps)[chosen], np.concatenate(places)[chosen], number[chosen])


def _marks(each: Pass, rows: int) -> Integers:
    """(rows,): equal rows have equal ones."""
    inputs = [t for _, t in tensors_in((each.args, each.kwargs)) if t.dim() > 1 and t.shape[0] == rows]
    marks = checksums(inputs) if inputs else []
    return np.array(marks if len(marks) == rows else np.random.default_rng(rows).integers(1 << 62, size=rows), np.int64)


def _labels(each: Pass) -> Integers | None:
    """(rows,) classes, -1 where the loss leaves a row out; None where rows have not one class each."""
    target: Tensor = each.target
    if each.function in BINARY:
        values = target.double().cpu().numpy()
        if values.size != len(values) or not np.isin(values, (0.0, 1.0)).all():
            return None
        return np.asarray(values.reshape(-1), np.int64)
    if target.is_floating_point():
        if target.dim() != 2 or not bool(((target == 0) | (target == 1)).all() and (target.sum(1) == 1).all()):
            return None
        return np.asarray(target.argmax(1).cpu().numpy(), np.int64)
    if target.dim() != 1:
        return None
    classes = target.cpu().numpy().astype(np.int64)
    return np.where(classes == each.options.get("ignore_index", -100), -1, classes)


def _scores(model: nn.Module, each: Pass) -> Doubles:
    """(rows, classes): logits, or logarithms of probabilities."""
    args, kwargs = clones((each.args, each.kwargs))
    output = view_in(each)(model(*args, **kwargs)).double()
    if each.function in BINARY:
        half = (output if each.function.endswith("logits") else output.clamp(LEAST, 1 - LEAST).logit()).reshape(-1) / 2
        output = torch.stack([-half, half], 1)
    if output.dim() != 2 or output.shape[0] != each.target.shape[0] or not 2 <= output.shape[1] <= MOST_CLASSES:
        raise CannotTry("an answer is not one score for each of a few classes")
    return np.asarray(output.cpu().numpy(), np.float64)


def _judged(outputs: Doubles, kept: Kept, steps: Integers) -> Learning:
    """What the rows' histories say.

    Args:
        outputs: (snapshots, rows, classes), logits or logarithms of probabilities.
        kept: the rows.
        steps: (snapshots,): steps done.
    """
    given, rows = kept.given, np.arange(len(kept.given))
    if not np.isfinite(outputs).all():
        return Learning(why="some answers of the network are no numbers")
    if given.max() >= outputs.shape[2]:
        return Learning(why="a label is out of range")
    right = np.asarray((outputs.argmax(2) == given).mean(1), np.float64)
    majority = float(np.bincount(given).max() / len(given))
    begun = int(np.argmax(right >= majority + SKILLED * (right.max() - majority)))
    early = np.flatnonzero((steps >= FROM * steps[begun]) & (steps <= UNTIL * steps[begun]))
    if len(early) < FEWEST_SKILLED:
        return Learning(why="it was over too soon after the network had begun to learn")
    told = np.exp(log_probabilities(outputs[early])).mean(0)
    learned = dynamics(outputs[early[0] :], given, rows)
    best, surest = told.argmax(1), told.max(1)
    half = np.argsort(-surest, kind="stable")[: len(given) // 2]
    return Learning(
        steps=steps,
        right=right,
        classes=outputs.shape[2],
        majority=majority,
        named=float((best == given).mean()),
        surest=len(half),
        contradicted=int((best[half] != given[half]).sum()),
        step=kept.step,
        place=kept.place,
        index=kept.index,
        given=given,
        told=best.astype(np.int64),
        probability=surest,
        margin=learned.margin,
        confidence=learned.confidence,
        variability=learned.variability,
        forgotten=learned.forgotten,
        by_heart=outputs[-1].argmax(1) == given,
    )
