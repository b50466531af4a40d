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
from stethoscope.observe.training.answers import BINARY, Answers, distinct_values, row_shares, sums_to_one
from stethoscope.observe.training.graph import kind_of, made_by, range_of, softmax_of
from stethoscope.observe.training.sampling import sampled
from stethoscope.observe.training.sites import Spot, site_of

FUNCTIONS = (
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss",
    "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss", "gaussian_nll_loss", "cosine_embedding_loss",
    "ctc_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "soft_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss",
)  # fmt: skip
"""Loss functions of `torch.nn.functional` that are listened to; the loss modules call these."""

REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
ELEMENTWISE = (*REGRESSION, "binary_cross_entropy_with_logits")
CROSS_ENTROPIES = ("cross_entropy", "nll_loss", "categorical_crossentropy")
"""The last one is Keras's, of probabilities; torch has none."""
CATEGORICAL = (*CROSS_ENTROPIES, "multi_margin_loss")
LOGARITHMIC = ("nll_loss", "kl_div")
"""Losses that expect log-probabilities."""
MOST_CLASSES = 1000
FEW_COLUMNS = 8
"""So many numbers to predict for each sample are quantities of their own; more are pixels and the like."""
MOST_VALUES = 400
"""Values of a loss function that are kept."""
MOST_COLUMNS = 8192
MOST_COLUMN_VALUES = 65_536
"""Target values that are added up by columns, at one call."""
MOST_ROWS = 256
"""Rows looked at for accuracy and for whether they sum to one."""


@dataclass(eq=False)
class ColumnSums:
    """What the columns of targets with several columns add up to, over the rows looked at."""

    rows: int = 0
    sums: Any = field(default_factory=lambda: np.zeros(0))
    squares: Any = field(default_factory=lambda: np.zeros(0))

    def see(self, target: Tensor) -> None:
        """Add some rows of a target; one of another width is left out."""
        width = target.numel() // max(len(target), 1) if target.dim() > 1 else 0
        if not 1 < width <= MOST_COLUMNS or (self.rows and self.sums.size != width):
            return
        rows = target.detach()[: min(MOST_ROWS, MOST_COLUMN_VALUES // width)]
        wide = rows.reshape(len(rows), width).float().cpu().numpy().astype(np.float64)
        self.rows += len(wide)
        self.sums = wide.sum(axis=0) + (self.sums if self.sums.size else 0.0)
        self.squares = (wide * wide).sum(axis=0) + (self.squares if self.squares.size else 0.0)

    def chance(self, computes: str) -> float:
        """The loss of the best answer that is a constant in each column; NaN when unknown."""
        if self.rows < 2:
            return math.nan
        means = self.sums / self.rows
        if computes == "mse_loss":
            return float(np.maximum(0.0, self.squares / self.rows - means * means).mean())
        if means.min() < 0 or means.max() > 1:
            return math.nan
        inside = np.clip(means, 1e-12, 1 - 1e-12)
        return float(-(inside * np.log(inside) + (1 - inside) * np.log(1 - inside)).mean())


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
    seen_steps: list[int] = field(default_factory=list)
    seen_values: list[float] = field(default_factory=list)
    broadcast_to: tuple[int, ...] = ()
    form: str = ""
    clamped: str = ""
    softmax: tuple[int, tuple[int, ...]] = (-1, ())
    limits: tuple[float, float] = (-math.inf, math.inf)
    """What the operation that made the output can produce."""
    output_has_gradient: bool = True
    target_has_gradient: bool = False
    column_sums: list[float] = field(default_factory=list)
    log_rows: int = 0
    log_rows_that_sum_to_one: int = 0
    target_rows: int = 0
    target_rows_that_sum_to_one: int = 0
    target_rows_one_hot: int = 0
    target_whole: int = 0
    target_outside: int = 0
    target_excess: float = 0.0
    target_values: set[float] | None = field(default_factory=set)
    target_columns: Any = field(default_factory=lambda: np.zeros((0, 0)))
    """(3, columns): count, sum and sum of squares of each number to predict, when there are few for each sample."""
    ignored: int = 0
    labels: int = 0
    answers: Answers = field(default_factory=Answers)
    raised: str = ""
    left_out: int = -100
    """The class that the loss does not count."""
    is_weighted: bool = False
    """Whether classes, samples or labels are weighted or smoothed: what guessing would give is not known then."""
    held_out_counts: Any = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: ColumnSums = field(default_factory=ColumnSums)

    def see_held_out(self, output: Tensor, target: Tensor) -> None:
        """Count the classes of the targets of a call without gradients."""
        if self.function in ("cross_entropy", "nll_loss") and not target.is_floating_point():
            counts = _class_counts(target, output)
            if self.held_out_counts.size != counts.size:
                self.held_out_counts = np.zeros(counts.size, np.int64)
            self.held_out_counts += counts

    @property
    def computes(self) -> str:
        """The function of torch's that this is or amounts to."""
        return self.form or self.function

    @property
    def is_named(self) -> bool:
        """Whether it is a function of torch's."""
        return self.function != "backward"

    def returned(self, step: int, result: Tensor) -> None:
        """Note the value of one training call; one on an accelerator is not waited for, but for the first."""
        if result.dim() or not (self.training_calls == 1 or result.device.type == "cpu"):
            return
        value = float(result.detach())
        if self.training_calls == 1:
            self.first_value = value
        if len(self.seen_steps) < MOST_VALUES:
            self.seen_steps.append(step)
            self.seen_values.append(value)

    def see(self, output: Tensor, target: Tensor | None, step: int, maker: Any = None) -> None:
        """Look at the values of one training call; `maker` is the node that made the output, where that is known."""
        self.watched += 1
        self.output_shape = tuple(output.shape)
        self._see_maker(made_by(output.grad_fn) if maker is None else maker)
        values = sampled(output, 2048)
        if values.size:
            self.output_min = float(np.fmin(self.output_min, values.min()))
            self.output_max = float(np.fmax(self.output_max, values.max()))
        if (
            output.dim() >= 2
            and output.shape[1] > 1
            and (self.computes in (*CATEGORICAL, "kl_div", "categorical") or self.softmax[1])
        ):
            self._see_rows(output)
        if isinstance(target, Tensor):
            if self.is_named:
                self.output_has_gradient, self.target_has_gradient = output.requires_grad, target.requires_grad
            self._see_target(output, target)
            if target.dim() and output.dim() and target.numel():
                self._see_kind_of_target(output, target)
                self.answers.see(step, self.computes, output, target)

    def _see_maker(self, node: Any) -> None:
        operation = kind_of(node)
        if operation in ("clamp", "clamp_min", "clamp_max") and node.next_functions:
            self.clamped = self.clamped or kind_of(made_by(node.next_functions[0][0]))
        if operation and not self.produced_by:
            self.produced_by, self.softmax, self.limits = operation, softmax_of(node), range_of(node)

    def _see_rows(self, output: Tensor) -> None:
        whole = output.detach()
        rows = whole[:MOST_ROWS]
        if rows.dim() > 2:
            rows = rows.movedim(1, -1).flatten(0, -2)[:MOST_ROWS]
        rows = rows.float()
        self.rows += rows.shape[0]
        good = (rows.min(dim=1).values >= 0) & ((rows.sum(dim=1) - 1).abs() < 1e-3)
        self.rows_that_sum_to_one += int(good.sum())
        logarithms = self.computes in LOGARITHMIC
        if logarithms:
            self.log_rows += rows.shape[0]
            self.log_rows_that_sum_to_one += int(((rows.exp().sum(dim=1) - 1).abs() < 1e-2).sum())
        if whole.dim() == 2 and whole.numel() < 1 << 20:
            whole = whole.float()
            self.column_sums.append(sums_to_one(whole.exp() if logarithms else whole, 0))

    def _see_kind_of_target(self, output: Tensor, target: Tensor) -> None:
        rows = target.unsqueeze(0) if target.dim() == output.dim() == 1 else target
        if rows.dim() == 2 and rows.shape[1] > 1 and rows.is_floating_point():
            seen = row_shares(rows)
            self.target_rows += seen[0]
            self.target_rows_that_sum_to_one += seen[1]
            self.target_rows_one_hot += seen[2]
            if (
                self.computes in ("cross_entropy", "nll_loss", "categorical")
                and target.shape == output.shape == rows.shape
            ):
                self._count_classes(target.argmax(dim=1), output)
        values = sampled(target, 2048).astype(np.float64)
        self.labels += values.size
        self.target_whole += int(np.count_nonzero(np.abs(values - np.round(values)) < 1e-4))
        self.target_values = distinct_values(target, self.target_values)
        if self.target_is_integer:
            self.ignored += int(np.count_nonzero(values < 0))
        if self.computes not in REGRESSION:
            return
        excess = values - np.clip(values, *self.limits)
        self.target_outside += int(np.count_nonzero(np.abs(excess) > 1e-4))
        self.target_excess += float((excess * excess).sum())

    def _see_target(self, output: Tensor, target: Tensor) -> None:
        self.target_shape = tuple(target.shape)
        self.target_is_integer = not target.is_floating_point() and not target.is_complex()
        if self.computes in ELEMENTWISE and self.output_shape != self.target_shape:
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
        if self.function in CATEGORICAL or (self.form in ("nll_loss", "categorical") and self.target_is_integer):
            self._count_classes(target, output)
        if target.dim() == 2 and 1 < target.shape[1] <= FEW_COLUMNS and self.computes in REGRESSION:
            rows = target.detach()[:MOST_ROWS].double().cpu().numpy()
            seen = np.stack([np.full(rows.shape[1], float(len(rows))), rows.sum(axis=0), (rows * rows).sum(axis=0)])
            known = self.target_columns
            self.target_columns = known + seen if known.shape == seen.shape else seen
        wide = values.astype(np.float64)
        self.target_min = float(np.fmin(self.target_min, wide.min()))
        self.target_max = float(np.fmax(self.target_max, wide.max()))
        self.target_count += wide.size
        self.target_sum += float(wide.sum())
        self.target_squares += float((wide * wide).sum())
        if self.computes in ("mse_loss", *BINARY):
            self.columns.see(target)

    def _count_classes(self, target: Tensor, output: Tensor) -> None:
        counts = _class_counts(target, output)
        if not counts.size:
            return
        if self.class_counts.size != counts.size:
            self.class_counts = np.zeros(counts.size, np.int64)
        self.class_counts += counts

    def chance(self) -> float:
        """The value of this loss for the best answer that ignores the input."""
        if self.is_weighted:
            return math.nan
        computes = self.computes
        if computes in (*CROSS_ENTROPIES, "categorical") and self.class_counts.sum() > 0:
            if self.target_rows_one_hot != self.target_rows:
                return math.nan
            counted = self.class_counts.copy()
            if 0 <= self.left_out < counted.size:
                counted[self.left_out] = 0
            if not counted.any():
                return math.nan
            share = counted[counted > 0] / counted.sum()
            return float(-(share * np.log(share)).sum())
        if not self.target_count:
            return math.nan
        mean = self.target_sum / self.target_count
        variance = max(0.0, self.target_squares / self.target_count - mean * mean)
        if computes == "mse_loss":
            return variance
        if computes in BINARY and self.target_min >= 0 and self.target_max <= 1 and 0 < mean < 1:
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
            rows_sum_to_one=_share(self.rows_that_sum_to_one, self.rows),
            output_min=self.output_min,
            output_max=self.output_max,
            target_min=self.target_min,
            target_max=self.target_max,
            target_mean=mean,
            target_variance=max(0.0, self.target_squares / count - mean * mean) if count else math.nan,
            target_stds=_spreads(self.target_columns),
            class_counts=tuple(int(number) for number in self.class_counts),
            chance=self.chance(),
            chance_by_column=math.nan if self.is_weighted else self.columns.chance(self.computes),
            first_value=self.first_value,
            seen_steps=np.array(self.seen_steps, np.int64),
            seen_values=np.array(self.seen_values, np.float64),
            broadcast_to=self.broadcast_to,
            form=self.form,
            clamped=self.clamped,
            softmax_axis=self.softmax[0],
            softmax_shape=self.softmax[1],
            output_has_gradient=self.output_has_gradient,
            target_has_gradient=self.target_has_gradient,
            columns_sum_to_one=float(np.mean(self.column_sums)) if self.column_sums else math.nan,
            logs_sum_to_one=_share(self.log_rows_that_sum_to_one, self.log_rows),
            target_rows_sum_to_one=_share(self.target_rows_that_sum_to_one, self.target_rows),
            target_rows_one_hot=_share(self.target_rows_one_hot, self.target_rows),
            target_whole=_share(self.target_whole, self.labels),
            target_distinct=len(self.target_values or ()),
            ignored_share=_share(self.ignored, self.labels) if self.target_is_integer else math.nan,
            raised=self.raised,
            **self._unreachable(mean),
            **self.answers.facts(),
            evaluation_class_counts=tuple(int(number) for number in self.held_out_counts),
        )

    def _unreachable(self, mean: float) -> dict[str, Any]:
        """How far the targets lie outside of what the last activation can produce, where that has limits."""
        if self.limits == (-math.inf, math.inf) or self.computes not in REGRESSION or not self.target_count:
            return {}
        variance = self.target_squares / self.target_count - mean * mean
        return {
            "target_outside": self.target_outside / self.labels,
            "target_unreachable": self.target_excess / self.labels / variance if variance > 0 else math.nan,
        }


def _spreads(columns: Any) -> tuple[float, ...]:
    if not columns.size:
        return ()
    count, sums, squares = columns
    return tuple(float(spread) for spread in np.sqrt(np.maximum(0.0, squares / count - (sums / count) ** 2)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _class_counts(target: Tensor, output: Tensor) -> Any:
    """(classes,): how often each is a target; empty when there are too many."""
    classes = output.shape[1] if output.dim() >= 2 else 0
    if not 1 < classes <= MOST_CLASSES:
        return np.zeros(0, np.int64)
    labels = target.detach().reshape(-1)[: 16 * MOST_ROWS].cpu().numpy()
    return np.bincount(labels[(labels >= 0) & (labels < classes)], minlength=classes)


def ignored_class(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The class that a cross-entropy does not count: its `ignore_index`, or one whose weight is 0."""
    weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
    if isinstance(weight, Tensor) and weight.numel() and float(weight.min()) == 0:
        return int(weight.argmin())
    return int(kwargs.get("ignore_index", args[4] if len(args) > 4 else -100))


def weighs(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call weighs classes or samples differently, or smooths the labels."""
    tensors = [
        value for value in (*args[2:], kwargs.get("weight"), kwargs.get("pos_weight")) if isinstance(value, Tensor)
    ]
    for weight in tensors:
        kept = weight[weight != 0] if weight.device.type == "cpu" else weight
        if weight.device.type != "cpu" or (kept.numel() and bool((kept != kept.reshape(-1)[0]).any())):
            return True
        if function.startswith("binary") and kept.numel() and float(kept.reshape(-1)[0]) != 1:
            return True
    return function == "cross_entropy" and bool(kwargs.get("label_smoothing", args[7] if len(args) > 7 else 0))


def reduction_of(kwargs: dict[str, Any], args: tuple[Any, ...], result: Tensor) -> str:
    """`mean`, `sum` or `none`, as the call asked for it."""
    asked = kwargs.get("reduction")
    if asked is None:
        asked = next((a for a in args[2:] if isinstance(a, str)), "mean")
    return str(asked) if result.dim() == 0 else "none"


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

    def known(self, function: str, place: Spot | None) -> LossEntry | None:
        """The entry that there is already, or None."""
        return self.entries.get((function, place))

    def facts(self) -> tuple[LossCall, ...]:
        """The frozen forms, in order of appearance."""
        return tuple(entry.fact() for entry in self.entries.values())
