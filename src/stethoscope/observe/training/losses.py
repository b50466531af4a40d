"""Facts about the calls of loss functions: what goes in, what chance would give, whether it fits.

The loss functions of `torch.nn.functional` see outputs and targets together; that is the best ear there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stethoscope.facts.training import LossCall
from stethoscope.observe.training.graph import maker_of
from stethoscope.observe.training.sampling import sampled
from stethoscope.observe.training.sites import Spot, site_of

FUNCTIONS = (
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss",
    "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss", "gaussian_nll_loss", "cosine_embedding_loss",
    "ctc_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss",
)  # fmt: skip
"""Loss functions of `torch.nn.functional` that are listened to; the loss modules call these."""

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
CROSS_ENTROPIES = ("cross_entropy", "nll_loss", "categorical_crossentropy")
"""The last one is Keras's, of probabilities; torch has none."""
CATEGORICAL = (*CROSS_ENTROPIES, "multi_margin_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
MOST_CLASSES = 1000
MOST_ROWS = 256
"""Rows looked at for accuracy and for whether they sum to one."""


@dataclass(eq=False)
class LossEntry:
    """The calls of one loss function from one line; becomes a `facts.training.LossCall`."""

    function: str
    place: Spot | None
    training_calls: int = 0
    evaluation_calls: int = 0
    reduction: str = "mean"
    output_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    target_is_integer: bool = False
    produced_by: str = ""
    called: str = ""
    expects: str = ""
    watched: int = 0
    rows: int = 0
    rows_that_sum_to_one: int = 0
    output_min: float = math.nan
    output_max: float = math.nan
    target_min: float = math.nan
    target_max: float = math.nan
    target_count: int = 0
    target_sum: float = 0.0
    target_squares: float = 0.0
    class_counts: Any = field(default_factory=lambda: np.zeros(0, np.int64))
    first_value: float = math.nan
    broadcast_to: tuple[int, ...] = ()

    def see(self, output: Tensor, target: Tensor | None) -> None:
        """Look at the values of one training call."""
        self.watched += 1
        self.output_shape = tuple(output.shape)
        self.produced_by = self.produced_by or maker_of(output)
        values = sampled(output, 2048)
        if values.size:
            self.output_min = float(np.fmin(self.output_min, values.min()))
            self.output_max = float(np.fmax(self.output_max, values.max()))
        if self.function in CATEGORICAL and output.dim() >= 2 and output.shape[1] > 1:
            self._see_rows(output)
        if isinstance(target, Tensor):
            self._see_target(output, target)

    def _see_rows(self, output: Tensor) -> None:
        rows = output.detach()[:MOST_ROWS]
        if rows.dim() > 2:
            rows = rows.movedim(1, -1).flatten(0, -2)[:MOST_ROWS]
        rows = rows.float()
        self.rows += rows.shape[0]
        good = (rows.min(dim=1).values >= 0) & ((rows.sum(dim=1) - 1).abs() < 1e-3)
        self.rows_that_sum_to_one += int(good.sum())

    def _see_target(self, output: Tensor, target: Tensor) -> None:
        self.target_shape = tuple(target.shape)
        self.target_is_integer = not target.is_floating_point() and not target.is_complex()
        if self.function in ELEMENTWISE and self.output_shape != self.target_shape:
            try:
                joint = tuple(torch.broadcast_shapes(output.shape, target.shape))
            except RuntimeError:
                joint = ()
            if math.prod(joint) > max(output.numel(), target.numel()):
                self.broadcast_to = joint
        if self.function in ("cross_entropy", "categorical_crossentropy") and not self.target_is_integer:
            return
        values = sampled(target, 2048)
        if not values.size:
            return
        if self.function in CATEGORICAL:
            self._count_classes(target, output)
        wide = values.astype(np.float64)
        self.target_min = float(np.fmin(self.target_min, wide.min()))
        self.target_max = float(np.fmax(self.target_max, wide.max()))
        self.target_count += wide.size
        self.target_sum += float(wide.sum())
        self.target_squares += float((wide * wide).sum())

    def _count_classes(self, target: Tensor, output: Tensor) -> None:
        classes = output.shape[1] if output.dim() >= 2 else 0
        if not 1 < classes <= MOST_CLASSES:
            return
        labels = target.detach().reshape(-1)[: 16 * MOST_ROWS].cpu().numpy()
        labels = labels[(labels >= 0) & (labels < classes)]
        counts = np.bincount(labels, minlength=classes)
        if self.class_counts.size != counts.size:
            self.class_counts = np.zeros(counts.size, np.int64)
        self.class_counts += counts

    def chance(self) -> float:
        """The value of this loss for the best answer that ignores the input."""
        if self.function in CROSS_ENTROPIES and self.class_counts.sum() > 0:
            share = self.class_counts[self.class_counts > 0] / self.class_counts.sum()
            return float(-(share * np.log(share)).sum())
        if not self.target_count:
            return math.nan
        mean = self.target_sum / self.target_count
        variance = max(0.0, self.target_squares / self.target_count - mean * mean)
        if self.function == "mse_loss":
            return variance
        if self.function in BINARY and self.target_min >= 0 and self.target_max <= 1 and 0 < mean < 1:
            return float(-mean * math.log(mean) - (1 - mean) * math.log(1 - mean))
        return math.nan

    def fact(self) -> LossCall:
        """The frozen form."""
        count = self.target_count
        mean = self.target_sum / count if count else math.nan
        return LossCall(
            function=self.function,
            site=site_of(self.place),
            training_calls=self.training_calls,
            evaluation_calls=self.evaluation_calls,
            reduction=self.reduction,
            output_shape=self.output_shape,
            target_shape=self.target_shape,
            target_is_integer=self.target_is_integer,
            produced_by=self.produced_by,
            called=self.called,
            expects=self.expects,
            watched=self.watched,
            rows_sum_to_one=self.rows_that_sum_to_one / self.rows if self.rows else math.nan,
            output_min=self.output_min,
            output_max=self.output_max,
            target_min=self.target_min,
            target_max=self.target_max,
            target_mean=mean,
            target_variance=max(0.0, self.target_squares / count - mean * mean) if count else math.nan,
            class_counts=tuple(int(number) for number in self.class_counts),
            chance=self.chance(),
            first_value=self.first_value,
            broadcast_to=self.broadcast_to,
        )


def reduction_of(kwargs: dict[str, Any], args: tuple[Any, ...], result: Tensor) -> str:
    """`mean`, `sum` or `none`, as the call asked for it."""
    asked = kwargs.get("reduction")
    if asked is None:
        asked = next((a for a in args[2:] if isinstance(a, str)), "mean")
    return str(asked) if result.dim() == 0 else "none"


def accuracy(function: str, output: Tensor, target: Tensor) -> tuple[int, int]:
    """(right, looked at) over at most 256 rows; (0, 0) where accuracy has no meaning."""
    if function in CROSS_ENTROPIES:
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


class LossBook:
    """All calls of loss functions, by function and line."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, Spot | None], LossEntry] = {}

    def entry(self, function: str, place: Spot | None) -> LossEntry:
        """The entry for a function called from a line; at most 64 are kept apart."""
        key = (function, place)
        if key not in self.entries and len(self.entries) >= 64:
            key = (function, None)
        return self.entries.setdefault(key, LossEntry(*key))

    def facts(self) -> tuple[LossCall, ...]:
        """The frozen forms, in order of appearance."""
        return tuple(entry.fact() for entry in self.entries.values())
