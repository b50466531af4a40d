"""What a rule wants tried on a copy of a training run, and what came of it.

A rule names treatments and nothing else happens here: the lab carries them out (`observe/model`), and what its
numbers mean is decided in `diagnosing/verdict.py`. Attaching one to a rule is one line in the rule's file:

    treatments = (ScaleLearningRate(0.1), ScaleLearningRate(0.01))

Several are alternatives: they are tried in this order until one of them cures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Treatment:
    """One change to how a copy of the model is trained. The sentence of each says what it changes."""

    def words(self, rate: float | None = None) -> str:
        """What is changed, as the beginning of a sentence; `rate` is the run's learning rate, where it is known."""
        raise NotImplementedError  # each treatment below says its own


@dataclass(frozen=True)
class ScaleLearningRate(Treatment):
    """The learning rate of every parameter group is multiplied by a factor."""

    factor: float

    def words(self, rate: float | None = None) -> str:
        if rate is None:
            return f"learning rate times {self.factor:g}"
        return f"learning rate {rate * self.factor:.3g} instead of {rate:.3g}"


@dataclass(frozen=True)
class _Worded(Treatment):
    """A treatment that is described by the same words always."""

    def words(self, rate: float | None = None) -> str:
        return WORDS[type(self)]


@dataclass(frozen=True)
class ClearGradients(_Worded):
    """Gradients are cleared before the backward passes of each step."""


@dataclass(frozen=True)
class KeepGradients(_Worded):
    """Gradients are not cleared between the backward pass and the optimizer's step."""


@dataclass(frozen=True)
class Backpropagate(_Worded):
    """Each loss is backpropagated before the optimizer steps."""


@dataclass(frozen=True)
class TakeSteps(_Worded):
    """The optimizer takes a step for each batch."""


@dataclass(frozen=True)
class OptimizeAllParameters(_Worded):
    """The optimizer is given every trainable parameter of the model."""


@dataclass(frozen=True)
class TrainAllParameters(_Worded):
    """Nothing is frozen, and the optimizer is given every parameter of the model."""


@dataclass(frozen=True)
class RemoveOutputActivation(Treatment):
    """The call of this activation (`softmax`, `log_softmax`, `sigmoid`, `tanh`, `relu`) that makes the loss's input
    gives its own input instead."""

    name: str

    def words(self, rate: float | None = None) -> str:
        return f"`{self.name}` before the loss left out"


@dataclass(frozen=True)
class SoftmaxOverClasses(_Worded):
    """The softmax or log_softmax that makes the loss's input sums over the axis of the classes; where none does, those
    inside of the model that run over the samples run over the last axis."""


@dataclass(frozen=True)
class Rectify(Treatment):
    """Every sigmoid and tanh is a ReLU instead, but for one that makes the loss's input."""

    draws: bool = False
    """Whether weights are drawn anew as well, at the scale that suits ReLU."""

    def words(self, rate: float | None = None) -> str:
        return "ReLU in the place of sigmoid and tanh" + (", and weights drawn to match" if self.draws else "")


@dataclass(frozen=True)
class ReviveUnits(_Worded):
    """Units whose outputs are below zero for all captured samples get new incoming weights."""


@dataclass(frozen=True)
class HoldLearningRate(_Worded):
    """The learning rate stays as it was at the first captured step, or is what a warm-up leads up to from the start."""


@dataclass(frozen=True)
class ReshapeTarget(_Worded):
    """The target is given the shape of the model's output, which has as many values."""


@dataclass(frozen=True)
class SwapLossArguments(_Worded):
    """The two arguments of the loss change places."""


@dataclass(frozen=True)
class ExchangeLoss(Treatment):
    """Another loss function of `torch.nn.functional` takes the place of the run's."""

    name: str

    def words(self, rate: float | None = None) -> str:
        return f"`{self.name}` as the loss"


@dataclass(frozen=True)
class FitHead(Treatment):
    """The activation that makes the loss's input, if there is one, is left out, and a loss function of
    `torch.nn.functional` that fits such outputs takes the place of the run's."""

    name: str

    def words(self, rate: float | None = None) -> str:
        return f"outputs without an activation, and `{self.name}` as the loss"


@dataclass(frozen=True)
class StandardizeInputs(_Worded):
    """Each feature of the model's first floating-point input gets mean 0 and standard deviation 1."""


@dataclass(frozen=True)
class StandardizeTargets(_Worded):
    """The targets get mean 0 and standard deviation 1."""


@dataclass(frozen=True)
class ShuffleBatches(_Worded):
    """The samples of the captured batches are dealt out anew, in random order."""


@dataclass(frozen=True)
class SmallerBatches(Treatment):
    """Each captured batch is cut into batches of so many rows, each with a step of its own."""

    rows: int

    def words(self, rate: float | None = None) -> str:
        return f"batches of {self.rows} rows, and a step for each"


@dataclass(frozen=True)
class LargerBatches(Treatment):
    """So many captured batches make one: their gradients are averaged for each step."""

    times: int

    def words(self, rate: float | None = None) -> str:
        return f"gradients averaged over {self.times} batches for each step"


@dataclass(frozen=True)
class Clip(Treatment):
    """Gradients are clipped to this norm, or not clipped at all."""

    norm: float | None

    def words(self, rate: float | None = None) -> str:
        return "gradients not clipped" if self.norm is None else f"gradients clipped to a norm of {self.norm:g}"


@dataclass(frozen=True)
class NoWeightDecay(_Worded):
    """Weight decay is 0 in every parameter group."""


@dataclass(frozen=True)
class NoDropout(_Worded):
    """The probability of every dropout layer is 0."""


@dataclass(frozen=True)
class UsualMomentum(_Worded):
    """Momentum is 0.9 at most in every parameter group (the first beta, in optimizers of Adam's kind)."""


@dataclass(frozen=True)
class NoMomentum(_Worded):
    """Momentum is 0 in every parameter group (the first beta, in optimizers of Adam's kind)."""


@dataclass(frozen=True)
class Reinitialize(_Worded):
    """Every layer that can is given new weights by its own `reset_parameters`."""


@dataclass(frozen=True)
class ScaleForReLU(_Worded):
    """Every linear and convolutional layer is given new weights at the scale that keeps a signal's size behind ReLU."""


@dataclass(frozen=True)
class TrainMode(_Worded):
    """The model is in train mode."""


@dataclass(frozen=True)
class EvalMode(_Worded):
    """The model is in eval mode."""


@dataclass(frozen=True)
class PermuteLabels(_Worded):
    """A control: the targets of each batch are dealt out to its samples at random."""


@dataclass(frozen=True)
class BlankInputs(_Worded):
    """A control: the model's first floating-point input is 0 throughout."""


WORDS: dict[type[Treatment], str] = {
    ClearGradients: "gradients cleared for each step",
    KeepGradients: "gradients kept until the step",
    Backpropagate: "each loss backpropagated",
    TakeSteps: "an optimizer step for each batch",
    OptimizeAllParameters: "all parameters given to the optimizer",
    SoftmaxOverClasses: "softmax over the classes, not the samples",
    ReviveUnits: "dead units given new weights",
    HoldLearningRate: "learning rate held",
    TrainAllParameters: "nothing frozen",
    ReshapeTarget: "target in the shape of the output",
    SwapLossArguments: "output and target in the other order",
    StandardizeInputs: "inputs standardized",
    StandardizeTargets: "targets standardized",
    ShuffleBatches: "samples shuffled",
    NoWeightDecay: "no weight decay",
    NoDropout: "no dropout",
    UsualMomentum: "a momentum of 0.9",
    NoMomentum: "no momentum",
    Reinitialize: "weights drawn anew",
    ScaleForReLU: "weights drawn at the scale that suits ReLU",
    TrainMode: "model in train mode",
    EvalMode: "model in eval mode",
    PermuteLabels: "labels permuted",
    BlankInputs: "inputs blanked",
}


@dataclass(frozen=True)
class Trial:
    """What came of a treatment: the loss that copies ended with, treated and not, replay by replay."""

    words: str
    """What was changed."""
    steps: int = 0
    """Of each replay."""
    before: tuple[float, ...] = ()
    """Loss of the unchanged copies at the end, one for each replay; NaN or infinite when training broke down."""
    after: tuple[float, ...] = ()
    """That of the treated copies, on the same batches in the same order, measured in the same way."""
    reference: float = float("nan")
    """Where learning begins: the loss at the start, or that of guessing where that is lower."""
    reference_after: float = float("nan")
    """The same for the treated copies; another number only when the targets are on another scale."""
    measure: str = "loss"
    why_not: str = ""
    """Why nothing could be tried, as a clause; empty when something was."""


Lab = Callable[[tuple[Treatment, ...], bool], Trial]
"""Tries treatments, all at once, on copies of the run that was captured; over four times as many steps when asked."""
