"""What is known of a model before it trains: its parts, and what experiments on copies of it showed.

Everything here is measured on copies, with a few batches of the real data. What could not be measured is None or empty,
and `Preflight.experiments` says why. Missing numbers are NaN, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.code import Site

Doubles = NDArray[np.float64]

NAN = float("nan")


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class Part:
    """A module of the model, as one real batch passed through it."""

    name: str
    """Dotted path, as `named_modules()` has it; empty for the model itself."""
    kind: str
    order: int = -1
    """Place in the order of first calls; -1 when it was not called."""
    calls: int = 0
    input_shapes: tuple[tuple[int, ...], ...] = ()
    """Of the tensors that it was given at its first call."""
    output_shapes: tuple[tuple[int, ...], ...] = ()
    dtype: str = ""
    """Of its parameters, or of its first output where it has none."""
    device: str = ""
    also: tuple[str, ...] = ()
    """Other paths at which the same module stands."""
    parameters: int = 0
    """Values of its own parameters, those of its children left out."""
    tied: int = 0
    """Of these, values that an earlier part holds as well."""
    trainable: int = 0
    parameter_bytes: int = 0
    """Of its own parameters and buffers, those left out that an earlier part holds as well."""
    output_bytes: int = 0
    """Of its outputs at its first call: what the graph may keep for the backward pass."""
    is_leaf: bool = True
    """Whether it has no children."""


@dataclass(frozen=True)
class Link:
    """Two modules, of which the second is given what the first one returned, with nothing computed between."""

    first: str
    second: str
    kinds: tuple[str, str] = ("Linear", "Linear")
    widths: tuple[int, int, int] = (0, 0, 0)
    """Features (channels) that go into the first, pass between them, and leave the second."""
    is_plain: bool = True
    """Whether both mix all features and see more than a single point along each axis of space: grouped convolutions,
    and those of 1 x 1 or 1 x 3, are parts of factorized ones."""
    site: Site | None = None
    """Line of the user's on which the second is called; None when it is in a container."""
    through: str = ""
    """Class of the batch normalization between the two, which is linear too, for each channel; empty for none."""


@dataclass(frozen=True)
class Hidden:
    """Parameters that the model holds in a way that `parameters()` does not see."""

    owner: str
    """Dotted path of the module that holds them."""
    attribute: str
    kind: str
    """`list`, `tuple`, `dict`, `set`, or `tensor`."""
    what: str
    """`Linear`, `2 Linear`, or `Tensor`."""
    values: int = 0
    """Trainable numbers in them."""
    trained: bool = False
    """Whether an optimizer holds them all the same."""
    used: bool = True
    """Whether the loss depends on them."""


@dataclass(frozen=True)
class Repeated:
    """One module that stands several times in a container."""

    container: str
    kind: str
    positions: tuple[str, ...] = ()
    parameters: int = 0


@dataclass(frozen=True)
class Structure:
    """The model's parts, and what is odd about how they are put together."""

    parts: tuple[Part, ...] = ()
    """In the order of `named_modules()`."""
    links: tuple[Link, ...] = ()
    """Linear layers, and convolutions, with nothing between."""
    dropped_norms: tuple[Link, ...] = ()
    """Dropout that feeds batch normalization."""
    hidden: tuple[Hidden, ...] = ()
    repeated: tuple[Repeated, ...] = ()

    @property
    def parameters(self) -> int:
        """Values of all parameters; those that are tied count once."""
        return sum(part.parameters - part.tied for part in self.parts)

    @property
    def trainable(self) -> int:
        """Values of the trainable ones."""
        return sum(max(0, part.trainable - part.tied) for part in self.parts)


@dataclass(frozen=True)
class Memory:
    """A copy that was trained on a few samples again and again, without dropout and weight decay."""

    samples: int
    steps: int = 0
    start: float = NAN
    """The loss before."""
    end: float = NAN
    """The loss after, the lowest of the optimizers tried."""
    right: float = NAN
    """Share (0..1) of the samples named rightly in the end; NaN for targets that are numbers."""
    learned: bool = False
    by: str = ""
    """What trained it: `the script's optimizer`, or another one."""
    floor: float = 0.0
    """Loss of the best answer that there is: above 0 for soft targets."""
    falling: bool = False
    """Whether the loss was still falling when the steps were over."""


@dataclass(frozen=True)
class GradientTest:
    """A gradient, beside the one by central differences."""

    what: str
    """`the whole model`, or the name of a function with a backward pass of its own."""
    tested: int = 0
    """Directions that were tried."""
    kinks: int = 0
    """Of them, those along which the function is not smooth, as at the corner of a ReLU; they are not counted."""
    error: float = NAN
    """Largest difference along the others, as a share of the larger one of the two."""
    analytic: float = NAN
    numeric: float = NAN
    """The two slopes where they differ most."""
    argument: int = -1
    """Number of the argument whose gradient differs most, for a function."""
    precision: str = "float64"
    design: str = ""
    """Why the two differ on purpose, where they do: `straight-through`, `identity`."""
    site: Site | None = None
    """Line on which the function is called."""


@dataclass(frozen=True)
class Mixing:
    """Whether a sample's output depends on the other samples of its batch, in eval mode."""

    samples: int = 0
    mixed: int = 0
    """Pairs of different samples of which one moves the other's output."""
    pairs: int = 0
    """Pairs that were tried."""
    module: str = ""
    """The first module whose output mixes them; empty when it happens in the model's own code."""
    kind: str = ""
    site: Site | None = None
    """The user's line on which that module is called, or after which they are mixed."""
    one_way: bool = False
    """Whether only earlier rows move later ones, as along time."""


@dataclass(frozen=True)
class Causality:
    """Which positions of a sequence the output at a position depends on, in eval mode."""

    positions: int = 0
    later: int = 0
    """Pairs of positions of which the later input moves the earlier output."""
    earlier: int = 0
    """Pairs of which the earlier input moves the later output."""
    pairs: int = 0
    """Pairs that were tried in each direction."""
    module: str = ""
    """The first module whose output at a position depends on later ones."""
    kind: str = ""
    site: Site | None = None


@dataclass(frozen=True)
class InputUse:
    """What of its inputs the model's output depends on."""

    depends: bool = True
    """Whether the output moves with the input at all."""
    features: int = 0
    unused: tuple[int, ...] = ()
    """Columns of an input of two axes that move no output, though their values differ from sample to sample."""
    blanked: float = NAN
    """Loss of a copy trained with every input replaced by the mean input."""
    permuted: float = NAN
    """Loss of a copy trained with targets of other samples."""
    unchanged: float = NAN
    """Loss of a copy trained as the script does, over as many steps."""
    steps: int = 0


@dataclass(frozen=True)
class RangeTest:
    """Copies trained while the learning rate rises from step to step (L. N. Smith 2017)."""

    rates: Doubles = field(default_factory=_no_values)
    losses: Doubles = field(default_factory=_no_values)
    """Smoothed, at each rate."""
    present: float = NAN
    """The script's own rate."""
    suggested: float = NAN
    """Where the loss falls fastest."""
    diverges: float = NAN
    """Rate at which the loss has risen above where it began; NaN when none did."""


@dataclass(frozen=True)
class Yardstick:
    """What far simpler models reach on rows that they have not learned from: share of right answers (0..1), or, for
    numbers, the share of the variance that they explain."""

    rows: int = 0
    classes: bool = True
    guess: float = NAN
    """Of the most frequent class, or of the mean."""
    neighbours: float = NAN
    linear: float = NAN
    one_hidden: float = NAN


@dataclass(frozen=True)
class StartLoss:
    """The loss of the first batch before any step."""

    value: float = NAN
    chance: float = NAN
    """What the best guess that ignores the input would have; NaN when unknown."""
    function: str = ""


@dataclass(frozen=True)
class StepEffect:
    """What one optimizer step did to a copy."""

    before: float = NAN
    after: float = NAN
    """Loss on the same batch, without dropout."""
    ratio: float = NAN
    """Median over the parameters of update / weight, both as root mean squares."""
    unmoved: tuple[str, ...] = ()
    """Trainable parameters that did not change."""
    no_gradient: tuple[str, ...] = ()
    """Of them, those without a gradient."""


@dataclass(frozen=True)
class Repeats:
    """Two training steps from one seed."""

    same: bool = True
    what: str = ""
    """What differs: `output`, `loss`, `gradients`, or `weights`."""
    difference: float = 0.0
    """Largest, relative."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of training, on this machine."""

    step_seconds: float = NAN
    batch: int = 0
    """Samples in the batch that was timed."""
    epoch_seconds: float = NAN
    """For the samples of the training loader."""
    graph_bytes: int = 0
    """What the graph keeps for the backward pass, at this batch."""
    noise_scale: float = NAN
    """Samples at which the noise of the gradient is as large as the gradient (McCandlish et al. 2018)."""
    gradient_norm: float = NAN
    clip_norm: float = NAN
    """At which the script clips; NaN when it does not."""


@dataclass(frozen=True)
class Room:
    """Memory of a training step, and the largest batch for which there is room.

    Counted are weights, buffers, gradients, the optimizer's state, the batch, and all tensors that operations make;
    what a kernel takes for itself while it works is not.
    """

    device: str = ""
    """`cpu`, `cuda`, ...: where the model is."""
    batch: int = 0
    """Samples in the batch that was tried; 0 when it has none that can be told apart."""
    step_bytes: float = NAN
    """The most that is held at once in a step on that batch."""
    fixed_bytes: float = NAN
    """What a step holds whatever the batch."""
    sample_bytes: float = NAN
    """What each further sample adds."""
    grows_faster: bool = False
    """Whether that rises with the batch, as where each sample is compared with each: then no largest batch is told."""
    free_bytes: float = NAN
    """Free on that device; NaN where it is not known."""
    samples: int = 0
    """Of the training data; 0 when not known."""
    usable: float = 0.8
    """Share (0..1) of the free memory that a batch may fill."""

    @property
    def largest_batch(self) -> int | None:
        """Samples for which there is room; None where it is not known."""
        left = self.usable * self.free_bytes - self.fixed_bytes
        if self.grows_faster or left != left or not self.sample_bytes > 0:
            return None
        return max(0, int(left / self.sample_bytes))


@dataclass(frozen=True)
class Experiment:
    """One experiment of the battery: what it showed in a line, or why it could not be made."""

    name: str
    title: str
    """What it asks, such as `memorise 2 samples`."""
    said: str = ""
    why_not: str = ""
    """A clause; empty when it was made."""
    good: bool = True
    """Whether what it showed is as it should be."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Aspect:
    """Something of the model or its training that was taken off copies, and put back."""

    name: str
    """In words, such as `weight decay`."""
    losses: tuple[float, ...] = ()
    """That copies with it reach, for different orders of the batches; infinite where one was no number."""
    works: bool = True
    breaks: bool = False
    """Whether copies learn nothing with it, in each order of the batches."""


@dataclass(frozen=True)
class Simplified:
    """The model built up again from its smallest version that learns a few batches by heart."""

    whole: tuple[float, ...] = ()
    """Losses that copies of the whole reach, for different orders of the batches."""
    smallest: float = NAN
    """Loss that copies reach from which everything was taken off that can be."""
    blind: float = NAN
    """The same for copies that see the mean sample only."""
    steps: int = 0
    works: bool = True
    """Whether the whole learns, so that nothing was built up."""
    smallest_works: bool = False
    aspects: tuple[Aspect, ...] = ()
    """In the order in which they were put back; one that did not work was taken off again."""


@dataclass(frozen=True)
class Crash:
    """The model or its loss failed on the batch."""

    error: str
    """Class of the exception."""
    message: str
    module: str = ""
    """Dotted path of the module in which it happened."""
    kind: str = ""
    site: Site | None = None
    """The user's line."""
    input_shapes: tuple[tuple[int, ...], ...] = ()
    """What that module was given."""
    input_dtypes: tuple[str, ...] = ()
    expected: str = ""
    """What it takes, in words."""
    fix: str = ""
    """The change that fits, as code."""
    during: str = "layer"
    """What could not be done: `layer`, `loss`, `call` (of a module), `code` (of the user's, in a module), `backward`,
    `device`, `memory`, `data` (a loader that makes no batch), `use` (of a tensor, an optimizer or saved weights), or
    `training`, where no more is known."""
    why: str = ""
    """What the exception means, in a sentence; empty where that is not known."""


@dataclass(frozen=True)
class LossTerm:
    """A part of the first loss."""

    function: str
    """The loss function that gave it; empty for all that is added to those."""
    site: Site | None = None
    value: float = NAN
    """Its part of the loss, weighted as it is there."""
    gradient_norm: float = NAN
    """Euclidean norm, over all parameters, of the gradient that flows through it; NaN for the only term."""


@dataclass(frozen=True)
class Preflight:
    """All that experiments before training have shown."""

    is_check: bool = False
    """Whether they were all that was asked for, and not what a run makes at its end."""

    structure: Structure | None = None
    terms: tuple[LossTerm, ...] = ()
    """Of the loss that was backpropagated first, in a check."""
    start: StartLoss | None = None
    memory: tuple[Memory, ...] = ()
    gradients: tuple[GradientTest, ...] = ()
    mixing: Mixing | None = None
    causality: Causality | None = None
    input_use: InputUse | None = None
    range_test: RangeTest | None = None
    yardstick: Yardstick | None = None
    effect: StepEffect | None = None
    modes: float = NAN
    """Difference of the outputs in train and in eval mode / their size, for one batch before any step."""
    repeats: Repeats | None = None
    cost: Cost | None = None
    room: Room | None = None
    simplified: Simplified | None = None
    crash: Crash | None = None
    experiments: tuple[Experiment, ...] = ()

    @property
    def made(self) -> bool:
        """Whether any experiment was tried."""
        return bool(self.experiments) or self.crash is not None

    def why_not(self, experiment: str) -> str:
        """Why an experiment was not made, as a clause."""
        for each in self.experiments:
            if each.name == experiment:
                return each.why_not or "it showed nothing"
        return "it was not asked for"
