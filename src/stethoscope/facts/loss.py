"""What the calls of a loss function showed: what goes in, what chance would give, what the model answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.code import Site

Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]


def _no_steps() -> Integers:
    return np.zeros(0, np.int64)


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class LossCall:
    """Calls of one loss function from one line of the user's."""

    function: str
    """Name in `torch.nn.functional`, such as `cross_entropy`; `backward` for a hand-written scalar. Keras's losses
    have the name of the torch function that computes the same; `categorical_crossentropy` is the one of probabilities,
    sparse or not, which torch does not have."""
    site: Site | None = None
    training_calls: int = 0
    """Watched calls with gradients on."""
    evaluation_calls: int = 0
    reduction: str = "mean"
    output_shape: tuple[int, ...] = ()
    """Of the first argument, at the last watched call."""
    target_shape: tuple[int, ...] = ()
    target_is_integer: bool = False
    produced_by: str = ""
    """Operation that made the first argument, views left out, read off the graph: `softmax`, `log_softmax`,
    `sigmoid`, `relu`, `tanh`, `linear`, ... or empty when unknown."""
    called: str = ""
    """Its name in the script's own framework when that is not `function`: `sparse_categorical_crossentropy`."""
    expects: str = ""
    """What Keras's losses were told to expect: `logits`, `probabilities` or `values`. `poisson_nll_loss` expects
    `logarithms` of rates, or their `values`; empty for other losses of torch's, whose names say it."""
    watched: int = 0
    """Calls whose values were looked at."""
    rows_sum_to_one: float = float("nan")
    """Share (0..1) of watched rows whose outputs lie in 0..1 and sum to 1 within 1e-3."""
    output_min: float = float("nan")
    output_max: float = float("nan")
    target_min: float = float("nan")
    target_max: float = float("nan")
    target_mean: float = float("nan")
    target_variance: float = float("nan")
    target_stds: tuple[float, ...] = ()
    """Standard deviation of each of the numbers to predict for a sample, when they are two to eight."""
    class_counts: tuple[int, ...] = ()
    """Targets seen in training, by class, when there are at most 1,000 classes."""
    chance: float = float("nan")
    """Value of this loss for the best answer that ignores the input (entropy of the class frequencies, variance
    of the target, ...), in nats per sample where it is a cross-entropy; NaN when unknown."""
    chance_by_column: float = float("nan")
    """The same for a target with several columns, where the best answer is a number for each column: the mean image of
    an autoencoder. NaN where a loss takes a single number for each sample."""
    first_value: float = float("nan")
    seen_steps: Integers = field(default_factory=_no_steps)
    """(values,): step of each watched training call, at most 400; later ones are left out."""
    seen_values: Doubles = field(default_factory=_no_values)
    """(values,): what the function returned at each of them, before any weight that it is multiplied with."""
    broadcast_to: tuple[int, ...] = ()
    """Shape to which output and target were stretched, when they were; empty otherwise."""
    form: str = ""
    """The function of torch's that a hand-written loss amounts to (`mse_loss`, `l1_loss`, `nll_loss`,
    `binary_cross_entropy`; `categorical` for `-(y * log(p))` of probabilities), read off its graph: output and target
    above are those found there. Else empty."""
    clamped: str = ""
    """Operation whose result was clamped before it became the first argument; empty when nothing was."""
    softmax_axis: int = -1
    """Axis of the softmax or log-softmax that made the first argument; -1 when none did."""
    softmax_shape: tuple[int, ...] = ()
    """Shape of that softmax's result."""
    output_has_gradient: bool = True
    """Whether gradients flow into the first argument."""
    target_has_gradient: bool = False
    """Whether gradients flow into the second argument."""
    columns_sum_to_one: float = float("nan")
    """Share of watched columns (sums over the batch) of a two-axis output, or of its exponentials where it should
    hold logarithms, that are 1 within 1e-3."""
    logs_sum_to_one: float = float("nan")
    """Share of watched rows whose exponentials sum to 1 within 1e-2; of losses that expect log-probabilities."""
    target_rows_sum_to_one: float = float("nan")
    """Share of watched rows of a (samples, columns) target that lie in 0..1 and sum to 1; a target with one axis is
    one row."""
    target_rows_one_hot: float = float("nan")
    """Share of watched rows of a (samples, columns) target with a single 1 and zeros."""
    target_whole: float = float("nan")
    """Share of watched target values that are whole numbers."""
    target_distinct: int = 0
    """Number of different target values met; 0 when there were more than 64, or none."""
    target_outside: float = float("nan")
    """Share of watched target values outside what the last activation can produce; NaN when that has no limits."""
    target_unreachable: float = float("nan")
    """Mean squared distance of the targets from what the last activation can produce, by their variance."""
    ignored_share: float = float("nan")
    """Share of class indices below 0 (left out of the loss)."""
    late_steps: tuple[int, int] = (-1, -1)
    """First and last step of the last eight watched calls, of which the following speak."""
    late_guesses: tuple[int, ...] = ()
    """How often each class was the model's answer; empty when there are no classes."""
    late_truths: tuple[int, ...] = ()
    """How often each class was the target."""
    late_hits: tuple[int, ...] = ()
    """How often each class was the target and the answer."""
    late_top_guess: float = float("nan")
    """Share of the samples that got the most frequent answer of their own batch."""
    late_top_truth: float = float("nan")
    """Share of the samples that have the most frequent target of their own batch."""
    late_output_spread: float = float("nan")
    """Standard deviation of the outputs over the samples of a batch."""
    late_target_spread: float = float("nan")
    """The same of the targets."""
    late_zero_share: float = float("nan")
    """Least share in any of the calls of outputs that were exactly 0."""
    raised: str = ""
    """What the function raised, when a call of it failed: `IndexError: Target 10 is out of bounds.`"""
    evaluation_class_counts: tuple[int, ...] = ()
    """Targets seen in passes without gradients, by class, when there are at most 1,000 classes."""

    @property
    def computes(self) -> str:
        """The function of torch's that this is or amounts to; `backward` when that could not be read."""
        return self.form or self.function

    @property
    def shown(self) -> str:
        """The name that the script's author knows it by."""
        return self.called or self.function
