"""What far simpler models reach on the same batches: the least that a network should beat."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethoscope.facts.model import Yardstick
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.ingredients import tensors_in
from stethoscope.observe.preflight.subject import CannotMake, Subject, of_classes

FEWEST_ROWS = 60
MOST_ROWS = 4000
MOST_FEATURES = 8192
HELD_OUT = 4
"""Every fourth row is asked for, and not learned from."""
NEIGHBOURS = 5
HIDDEN = 64
STEPS = 300
RATE = 3e-3


def yardstick(subject: Subject, until: float) -> Yardstick:
    """Majority or mean, nearest neighbours, a linear model, and one with one hidden layer, on rows held out.

    Raises: CannotMake when rows and targets do not pair up, or there are too few of them.
    """
    rows, targets = _rows(subject)
    classes = of_classes(subject)
    if classes:
        targets = targets.argmax(1) if targets.dim() > 1 and targets.shape[1] > 1 else targets.reshape(-1)
        _, targets = targets.long().unique(return_inverse=True)
    else:
        targets = targets.reshape(len(targets), -1).float()
    held = torch.arange(len(rows)) % HELD_OUT == 0
    middle, spread = rows[~held].mean(0), rows[~held].std(0)
    rows = (rows - middle) / torch.where(spread > 1e-8, spread, torch.ones_like(spread))
    known, asked = (rows[~held], targets[~held]), (rows[held], targets[held])
    found = [_guess(known[1], asked[1], classes), _nearest(known, asked, classes)]
    for hidden in (0, HIDDEN):
        if time.perf_counter() > until:
            raise CannotMake("there was no time to train the simple models")
        found.append(_trained(known, asked, classes, hidden))
    return Yardstick(len(rows), classes, *found)


def _rows(subject: Subject) -> tuple[Tensor, Tensor]:
    """(rows, features) and (rows, ...) of all captured batches."""
    inputs, targets = [], []
    for each in subject.passes:
        given = [t for _, t in tensors_in((each.args, each.kwargs))]
        if len(given) != 1 or not given[0].is_floating_point() or not isinstance(each.target, Tensor):
            raise CannotMake("the input is not one tensor of numbers")
        if subject.time_comes_first or given[0].dim() < 2 or not each.target.dim():
            raise CannotMake("the batches have no axis of samples")
        if each.target.shape[0] != given[0].shape[0] or each.target.dim() > 2:
            raise CannotMake("there is not one target for each sample")
        inputs.append(given[0].float().flatten(1).cpu())
        targets.append(each.target.cpu())
    if len({t.shape[1] for t in inputs}) != 1:
        raise CannotMake("samples differ in size")
    if inputs[0].shape[1] > MOST_FEATURES:
        raise CannotMake(f"a sample has {inputs[0].shape[1]:,} values, too many for models that see all of them")
    rows, answers = torch.cat(inputs)[:MOST_ROWS], torch.cat(targets)[:MOST_ROWS]
    rows, first = _different(rows)
    answers = answers[first]
    if len(rows) < FEWEST_ROWS:
        raise CannotMake(f"{len(rows)} different samples are too few to compare simple models")
    if not bool(rows.isfinite().all()):
        raise CannotMake("the input holds values that are no numbers")
    return rows, answers


def _different(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each row once, with its place: a row that comes again would be known before it is asked for."""
    _, inverse = rows.unique(dim=0, return_inverse=True)
    order = torch.arange(len(rows))
    first = torch.full((int(inverse.max()) + 1,), len(rows)).scatter_reduce(0, inverse, order, "amin")
    first = first.sort().values
    return rows[first], first


def _score(answer: Tensor, target: Tensor, classes: bool) -> float:
    """Share of right answers, or of the variance that is explained."""
    if classes:
        return float((answer == target).double().mean())
    rest, whole = (target - answer).square().sum(), (target - target.mean(0)).square().sum()
    return float(1 - rest / whole) if float(whole) else math.nan


def _guess(known: Tensor, asked: Tensor, classes: bool) -> float:
    answer = known.mode().values.expand_as(asked) if classes else known.mean(0).expand_as(asked)
    return _score(answer, asked, classes)


def _nearest(known: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor], classes: bool) -> float:
    near = torch.cdist(asked[0], known[0]).topk(min(NEIGHBOURS, len(known[0])), largest=False).indices
    answers = known[1][near]
    return _score(answers.mode(1).values if classes else answers.mean(1), asked[1], classes)


def _trained(known: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor], classes: bool, hidden: int) -> float:
    """A model without a hidden layer, or with one, after some hundred steps on all rows."""
    seed(0)
    features = known[0].shape[1]
    width = int(max(known[1].max(), asked[1].max())) + 1 if classes else known[1].shape[1]
    first = [nn.Linear(features, hidden), nn.ReLU()] if hidden else []
    model = nn.Sequential(*first, nn.Linear(hidden or features, width))
    middle, spread = (0.0, 1.0) if classes else (known[1].mean(0), known[1].std(0).clamp_min(1e-8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        output = model(known[0])
        loss = F.cross_entropy(output, known[1]) if classes else F.mse_loss(output, (known[1] - middle) / spread)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        output = model(asked[0])
    return _score(output.argmax(1) if classes else output * spread + middle, asked[1], classes)
