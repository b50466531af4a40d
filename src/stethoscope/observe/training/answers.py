"""What a model answers at the watched calls of its loss, beside the targets: classes guessed, spread of values."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
MOST_ROWS = 256
"""Rows looked at for accuracy, classes and sums."""
MOST_CLASSES = 1000
MOST_COLUMNS = 64
LATE_CALLS = 8
"""Watched calls that speak for the end of a run: looks thin out, so that eight reach back over two thirds of it."""
ONE_HOT = 1e-3

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """One watched call."""

    step: int
    guesses: Counts
    truths: Counts
    hits: Counts
    output_spread: float
    target_spread: float
    zero_share: float


def spread(tensor: Tensor) -> float:
    """Standard deviation over the samples, root mean square over at most 64 columns; NaN for a single sample."""
    rows = tensor.detach()[:MOST_ROWS] if tensor.dim() else tensor.detach().reshape(1)
    if rows.shape[0] < 2 or rows.is_complex():
        return math.nan
    flat = rows.reshape(rows.shape[0], -1)[:, :MOST_COLUMNS].double()
    return math.sqrt(float(flat.var(dim=0, unbiased=False).mean()))


def row_shares(tensor: Tensor) -> tuple[int, int, int]:
    """(rows, rows in 0..1 that sum to 1, rows with a single 1 and zeros) of a (rows, classes) tensor."""
    rows = tensor.detach()[:MOST_ROWS].float()
    inside = (rows.min(dim=1).values >= -ONE_HOT) & ((rows.sum(dim=1) - 1).abs() < ONE_HOT)
    return rows.shape[0], int(inside.sum()), int((inside & (rows.max(dim=1).values > 1 - ONE_HOT)).sum())


def classes_of(form: str, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, int] | None:
    """(classes guessed, true classes, number of classes) over a few rows; None where there are no classes."""
    output, target = output.detach()[:MOST_ROWS], target.detach()[:MOST_ROWS]
    if form in ("cross_entropy", "nll_loss", "multi_margin_loss", "categorical") and output.dim() >= 2:
        if not 1 < output.shape[1] <= MOST_CLASSES:
            return None
        if target.shape == output.shape and target.is_floating_point():
            return output.argmax(dim=1).reshape(-1), target.argmax(dim=1).reshape(-1), output.shape[1]
        if target.is_floating_point():
            return None
        return output.argmax(dim=1).reshape(-1), target.reshape(-1), output.shape[1]
    if form not in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"):
        return None
    if output.shape != target.shape:
        return None
    if output.dim() == 2 and 1 < output.shape[1] <= MOST_CLASSES:
        rows, _, one_hot = row_shares(target)
        return (output.argmax(dim=1), target.argmax(dim=1), output.shape[1]) if one_hot == rows else None
    if form == "mse_loss" or output.numel() != output.shape[0] or bool(((target != 0) & (target != 1)).any()):
        return None
    edge = 0.0 if form.endswith("logits") else 0.5
    return (output > edge).long().reshape(-1), (target > 0.5).long().reshape(-1), 2


@dataclass(eq=False)
class Answers:
    """The last watched calls of one loss."""

    late: deque[Answer] = field(default_factory=lambda: deque(maxlen=LATE_CALLS))

    def see(self, step: int, form: str, output: Tensor, target: Tensor) -> None:
        """Note one call."""
        guesses = truths = hits = np.zeros(0, np.int64)
        if (found := classes_of(form, output, target)) is not None:
            guess, truth, classes = (found[0].cpu().numpy(), found[1].cpu().numpy(), found[2])
            kept = (truth >= 0) & (truth < classes)
            guess, truth = guess[kept], truth[kept]
            guesses, truths = np.bincount(guess, minlength=classes), np.bincount(truth, minlength=classes)
            hits = np.bincount(truth[guess == truth], minlength=classes)
        few = output.detach()[:MOST_ROWS]
        zero = float((few == 0).float().mean()) if few.numel() else math.nan
        out, wanted = (spread(t) if t.is_floating_point() else math.nan for t in (output, target))
        self.late.append(Answer(step, guesses, truths, hits, out, wanted, zero))

    def facts(self) -> dict[str, Any]:
        """The fields of `facts.training.LossCall` that it fills."""
        if not self.late:
            return {}
        size = self.late[-1].truths.size
        alike = [answer for answer in self.late if answer.truths.size == size]
        spreads = [(a.output_spread, a.target_spread) for a in self.late if not math.isnan(a.output_spread)]
        totals = {
            name: tuple(int(n) for n in np.sum([getattr(answer, name) for answer in alike], axis=0))
            for name in ("guesses", "truths", "hits")
        }
        judged = sum(totals["truths"])
        tops = {
            name: sum(int(getattr(a, name).max()) for a in alike if a.truths.size) / judged if judged else math.nan
            for name in ("guesses", "truths")
        }
        return {
            "late_top_guess": tops["guesses"],
            "late_top_truth": tops["truths"],
            "late_steps": (self.late[0].step, self.late[-1].step),
            "late_guesses": totals["guesses"],
            "late_truths": totals["truths"],
            "late_hits": totals["hits"],
            "late_output_spread": float(np.median([s[0] for s in spreads])) if spreads else math.nan,
            "late_target_spread": float(np.median([s[1] for s in spreads])) if spreads else math.nan,
            "late_zero_share": min(answer.zero_share for answer in self.late),
        }


def sums_to_one(values: Tensor, axis: int) -> float:
    """Share of the sums along an axis that are 1 within 1e-3."""
    sums = values.sum(dim=axis)
    return float(((sums - 1).abs() < ONE_HOT).float().mean()) if sums.numel() else math.nan


def distinct_values(tensor: Tensor, known: set[float] | None, most: int = 64) -> set[float] | None:
    """The distinct values met so far, to four decimals; None when there are too many."""
    if known is None:
        return None
    few = torch.unique(tensor.detach().reshape(-1)[:1024].double().mul(1e4).round().div(1e4)).tolist()
    known = known | set(few)
    return known if len(known) <= most else None


def accuracy(function: str, output: Tensor, target: Tensor) -> tuple[int, int]:
    """(right, looked at) over at most 256 rows; (0, 0) where accuracy has no meaning."""
    if function in ("cross_entropy", "nll_loss", "categorical_crossentropy"):
        if target.is_floating_point() or output.dim() < 2:
            return 0, 0
        guess = output.detach()[:MOST_ROWS].argmax(dim=1).reshape(-1)
        truth = target.detach()[:MOST_ROWS].reshape(-1)
        kept = truth >= 0
        return int(((guess == truth) & kept).sum()), int(kept.sum())
    if function in BINARY and output.shape == target.shape:
        edge = 0.0 if function.endswith("logits") else 0.5
        truth = target.detach()[:MOST_ROWS]
        hard = (truth == 0) | (truth == 1)
        guess = output.detach()[:MOST_ROWS] > edge
        return int(((guess == (truth > 0.5)) & hard).sum()), int(hard.sum())
    return 0, 0
