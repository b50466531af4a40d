"""The history of a training run: everything that listening to it has shown so far.

A *step* is one call of the main optimizer's `step()`, counted from 0. A *look* is a step at which layers and
parameters were measured; between looks only the guard (loss, learning rate, one gradient norm) is read.
Statistics of layers and parameters come from sampled elements unless a field says otherwise; `Sampling` says
how many. Missing numbers are NaN, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.birth import Birth as Birth
from stethoscope.facts.code import Site
from stethoscope.facts.data import Data
from stethoscope.facts.feed import Batches as Batches
from stethoscope.facts.feed import Inputs as Inputs
from stethoscope.facts.fit import FitCall as FitCall
from stethoscope.facts.flow import Attention, Backward, Dropped, Kept, Softmax, Stream
from stethoscope.facts.learning import Learning as Learning
from stethoscope.facts.loss import LossCall as LossCall
from stethoscope.facts.metrics import Comparison as Comparison
from stethoscope.facts.metrics import Measure as Measure
from stethoscope.facts.model import Preflight as Preflight
from stethoscope.facts.norms import BatchNorm
from stethoscope.facts.octaves import OctaveLook
from stethoscope.facts.overlap import Overlap as Overlap
from stethoscope.facts.ranks import RankSummary as RankSummary
from stethoscope.facts.ranks import Standing as Standing
from stethoscope.facts.ranks import StepTimes as StepTimes
from stethoscope.facts.samples import HeldOut, Samples, Tokens
from stethoscope.facts.workers import WorkerDraws

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

PARTS = (
    "loop", "losses", "batches", "validation", "activations", "units", "gradients", "updates", "numerics", "samples",
)  # fmt: skip
"""What a rule can ask the collector for, in `Rule.reads`."""

LAYER_STATISTICS = (
    "mean",
    "std",
    "rms",
    "largest",  # largest absolute value seen among the sampled elements
    "zero_share",  # 0..1
    "nonfinite_share",  # 0..1, NaN and infinity
    "saturated_share",  # 0..1, sigmoid outside 0.01..0.99, tanh outside -0.99..0.99; NaN elsewhere
    "gradient_rms",  # of the loss with respect to the layer's output
    "gradient_zero_share",
    "gradient_nonfinite_share",
)
"""Columns of `Telemetry.layers`, for the layer's output at its first call in the step."""

PARAMETER_STATISTICS = (
    "weight_rms",
    "gradient_rms",  # as the optimizer received it: unscaled, averaged, clipped
    "gradient_largest",
    "gradient_zero_share",
    "gradient_nonfinite_share",
    "update_rms",  # of the change made by one step
    "update_ratio",  # update_rms / weight_rms
    "descent",  # -(gradient . update) over the whole parameter, scaled up from the sample: loss decrease promised
)
"""Columns of `Telemetry.parameters`."""


def _no_floats(*shape: int) -> Floats:
    return np.zeros(shape, np.float32)


def _no_steps() -> Integers:
    return np.zeros(0, np.int64)


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class Layer:
    """A leaf module that was called, or a parameter-holding module."""

    name: str
    """Dotted path from its model; prefixed by `model1.` and so on from the second model of a script."""
    kind: str
    """Class name, such as `Linear`."""
    model: int = 0
    order: int = -1
    """Place in the order of execution, 0 nearest the input; -1 when it was never seen called."""
    feeds: str = ""
    """Operation that takes its output, read off the graph: `relu`, `sigmoid`, `tanh`, `softmax`, ... or empty.
    A layer that is an activation itself (`ReLU`) has its own name here."""
    output_shape: tuple[int, ...] = ()
    calls_per_step: int = 1
    parameters: tuple[int, ...] = ()
    """Indexes into `History.parameters`."""
    dropout: float = 0.0
    """Probability (0..1) with which it drops a value in train mode, for dropout and recurrent layers."""
    made_graph: bool = False
    """Whether its output was seen to require a gradient, as it does in training."""
    fed_input: bool = False
    """Whether it was called on the model's input as it came, or on a view of it."""
    loaded: bool = False
    """Whether `load_state_dict` had given it its weights before it was first called."""


@dataclass(frozen=True)
class Parameter:
    """A trainable (or frozen) tensor of a model or of an optimizer."""

    name: str
    """Dotted path, or `optimizer0[3]` for one that belongs to no model seen."""
    shape: tuple[int, ...] = ()
    trainable: bool = True
    layer: int = -1
    """Index into `History.layers`; -1 when it belongs to no model seen."""
    optimizer: int = -1
    """Index into `History.optimizers`; -1 when no optimizer holds it."""
    in_graph: bool | None = None
    """Whether the graph of a training loss reaches it; None when no graph was read."""
    received_gradient: bool | None = None
    """Whether it was ever seen with a gradient; None when it was not looked at."""
    shared_with: str = ""
    """Name of the parameter that is the same tensor (tied weights)."""
    unit_spread_start: float = float("nan")
    """How much the weights of its units (rows, of a few looked at) differ from each other at its first look, before
    the step: rms of the difference from their mean / rms of the weights. 0 when all units are equal."""
    unit_spread: float = float("nan")
    """The same at the last look; followed only where it was 0 at the first."""
    as_drawn: bool = False
    """Of the weight of a linear layer or convolution that needed no gradient when its model was met: whether its values
    lie, at the start and at the end, as torch draws them for a new layer. Also of the trainable weight of such a layer,
    of a recurrent one or of an embedding that no optimizer held when its gradient was first on its way."""
    sharded: bool = False
    """Whether it is spread over processes: then numbers of it are those of this process's part."""

    @property
    def count(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64)) if self.shape else 1


@dataclass(frozen=True)
class Stray:
    """Trainable tensors that the graph of a training loss reaches and that neither a model nor an optimizer knows."""

    name: str
    """Where they are, as a dotted path in their model (`encoder.layers`), prefixed as a layer's name is."""
    container: str = ""
    """`list`, `tuple` or `dict` for layers that a plain attribute hides; empty for a layer that was put into the model
    after it was met."""
    model: int = 0
    elements: int = 1
    """Of the container."""
    tensors: int = 0
    values: int = 0


@dataclass(frozen=True)
class Model:
    """A root module: one that the script calls itself."""

    name: str
    """The variable-like name: class name, numbered from the second of a class."""
    kind: str = ""
    num_parameters: int = 0
    num_trainable: int = 0
    has_dropout: bool = False
    """Dropout with a probability above 0."""
    has_batch_norm: bool = False
    """Batch normalization that uses batch statistics in train mode."""
    wrapper: str = ""
    """`DistributedDataParallel`, `DataParallel` or `compiled` when wrapped."""
    optimized_share: float = 0.0
    """Share (0..1) of its elements that an optimizer holds and that are trainable at the end."""
    call_site: Site | None = None
    training_forwards: int = 0
    """Watched forward passes with gradients on which a backward pass followed."""
    training_forwards_in_eval: int = 0
    """Those of them that ran in eval mode."""
    first_step_in_eval: int = -1
    training_forwards_since_eval: int = 0
    """Watched training forwards from `first_step_in_eval` on, in whatever mode."""
    eval_call_site: Site | None = None
    """The last call of `.eval()` (or `.train(False)`) on it."""
    library_modules: tuple[str, ...] = ()
    """Paths of its modules with parts whose class is an installed package's, such as a `BertModel`, and containers of
    torch's in them; empty text for the model itself."""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer and what the watched part of the run showed of its loop.

    The loop is watched at the first steps and at looks; the counts below speak of `watched` steps only.
    """

    kind: str
    site: Site | None = None
    """Where it was made."""
    step_site: Site | None = None
    groups: tuple[dict[str, float | str | bool], ...] = ()
    """Settings of each parameter group (`lr`, `momentum`, ...), as first seen."""
    num_parameters: int = 0
    """Tensors that it holds."""
    steps: int = 0
    """Over the whole run."""
    skipped_steps: int = 0
    """Steps that a gradient scaler left out because of overflow."""
    watched: int = 0
    without_backward: int = 0
    """Steps before which no backward pass ran and no gradient changed."""
    without_gradient: int = 0
    """Steps at which all probed gradients were missing or zero."""
    cleared_before_step: int = 0
    """Steps at which gradients had arrived but were missing or zero again."""
    not_cleared: int = 0
    """Steps whose gradients still held those of the step before (the same numbers, with new ones added)."""
    compared: int = 0
    """Watched steps with a backward pass right after another watched step: only there can old gradients be told."""
    backward_with_gradient: int = 0
    """Watched backward passes that brought gradients to its parameters."""
    backwards_since_step: int = 0
    """Backward passes that brought it gradients since its last step, or since the start."""
    clear_site: Site | None = None
    """Where gradients are cleared."""
    parameters_moved: bool | None = None
    """Whether its parameters were seen to change, by whatever means; None when not looked at."""
    parameters_never_reached: int = 0
    """Tensors of it that no training graph reaches (models replaced after it was made)."""


@dataclass(frozen=True)
class LoopEvent:
    """One call of the loop's protocol."""

    what: str
    """`forward`, `loss`, `backward`, `clip`, `step`, `zero_grad`, `scheduler`, `validate`."""
    site: Site | None
    detail: str = ""
    """For example `Net in train mode`, `cross_entropy`, `Adam`."""
    times: int = 1
    """How often in a row."""


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule and when it was moved on."""

    kind: str
    site: Site | None = None
    """The user's line that steps it."""
    settings: dict[str, float | str | bool] = field(default_factory=dict)
    """Its plain settings (`step_size`, `T_max`, `gamma`, ...), as at its first step."""
    calls: int = 0
    """Over the whole run; the step that its own constructor takes is left out."""
    first_calls: tuple[int, ...] = ()
    """Optimizer steps of the run done before each of its first 8 calls."""
    last_call: int = -1
    """Optimizer steps done before its last call."""


@dataclass(frozen=True)
class Loop:
    """The loop as it was observed."""

    cycle: tuple[LoopEvent, ...] = ()
    """The calls of one typical step, in order: the cycle seen most often."""
    cycles_watched: int = 0
    backward_calls: int = 0
    """Over the whole run."""
    backward_sites: tuple[Site, ...] = ()
    backwards: tuple[Backward, ...] = ()
    """By line, in order of appearance."""
    clip_site: Site | None = None
    clip_kind: str = ""
    """`norm` or `value`."""
    clip_limit: float = float("nan")
    scheduler_kinds: tuple[str, ...] = ()
    scheduler_site: Site | None = None
    schedules: tuple[Schedule, ...] = ()
    """Each schedule that was stepped, at most 16, in order of their first calls."""


@dataclass(frozen=True)
class Curve:
    """A series over steps: a loss, an accuracy, a learning rate, a norm."""

    name: str
    """`training loss`, `validation loss`, `training accuracy`, `learning rate`, `gradient norm`, ..."""
    kind: str
    """`loss`, `accuracy`, `learning rate`, `norm`, `clip norm`."""
    phase: str
    """`training` or `validation`; validation curves have one point for each pass."""
    steps: Integers = field(default_factory=_no_steps)
    values: Doubles = field(default_factory=_no_values)
    site: Site | None = None


@dataclass(frozen=True)
class ValidationPass:
    """A run of forward passes without an optimizer step between them that train nothing.

    They run without gradients; or with them, in eval mode and without a backward pass after them.
    """

    step: int
    """Steps done when it began."""
    forwards: int
    in_train_mode: int
    """Forwards that ran with the model in train mode."""
    model: int = 0
    site: Site | None = None
    """The user's line of the forward call."""
    distinct_inputs: int = 0
    """Number of different inputs among at most 64 forwards looked at."""
    loss_calls: int = 0
    samples: int = 0
    graphs: int = 0
    """Forwards that built a graph, which nobody used."""
    differentiated: bool = False
    """Whether derivatives were taken in it: `torch.autograd.grad` was called, or inputs require a gradient."""


@dataclass(frozen=True)
class Units:
    """Activity of a rectified layer's units over windows of looks; whole rows were looked at, not samples."""

    layer: int
    num_units: int
    window_ends: Integers
    """(windows,): last step of each window."""
    rows: Integers
    """(windows,): rows (samples or positions) seen in each."""
    silent: Integers
    """(windows,): units that were zero for every row of the window."""


@dataclass(frozen=True)
class Sampling:
    """How the run was listened to: what was sampled, and how often."""

    values_per_layer: int = 512
    values_per_parameter: int = 256
    budget: float = 0.01
    """Share of the training time that may be spent, 0..1."""
    every: int = 0
    """Looks at every N-th step when above 0; 0 when the budget decides."""
    looks: int = 0
    burst_looks: int = 0
    """Looks taken at the start and round anomalies, outside the budget."""
    steps: int = 0
    look_seconds: float = 0.0
    """Median extra time of a look."""
    step_seconds: float = 0.0
    """Median time of an ordinary step."""
    guard_seconds: float = 0.0
    """Estimated time of the guard in an ordinary step."""
    estimated_cost: float = 0.0
    """Own estimate of all listening after the opening burst, as a share of the time without it."""
    opening_seconds: float = 0.0
    """Time of what the budget does not cover: looks of the opening and at anomalies, first verdicts."""
    blind: tuple[str, ...] = ()
    """What could not be heard and why, a sentence each."""


@dataclass(frozen=True)
class Telemetry:
    """Statistics at the looks."""

    steps: Integers = field(default_factory=_no_steps)
    """(looks,): the steps looked at."""
    layers: Floats = field(default_factory=lambda: _no_floats(0, 0, len(LAYER_STATISTICS)))
    """(looks, layers, statistics): columns are `LAYER_STATISTICS`, rows in the order of `History.layers`."""
    parameters: Floats = field(default_factory=lambda: _no_floats(0, 0, len(PARAMETER_STATISTICS)))
    """(looks, parameters, statistics): columns are `PARAMETER_STATISTICS`."""

    def layer(self, statistic: str) -> Floats:
        """(looks, layers): one statistic of all layers."""
        return self.layers[:, :, LAYER_STATISTICS.index(statistic)]

    def parameter(self, statistic: str) -> Floats:
        """(looks, parameters): one statistic of all parameters."""
        return self.parameters[:, :, PARAMETER_STATISTICS.index(statistic)]


@dataclass(frozen=True)
class History:
    """Everything that was heard of a run so far."""

    steps: int = 0
    """Steps done by the main optimizer."""
    finished: bool = True
    """Whether the script ended by itself."""
    ended_by: str = ""
    """Empty, or the exception that ended it, such as `KeyboardInterrupt`."""
    parts: tuple[str, ...] = PARTS
    """What was gathered."""
    models: tuple[Model, ...] = ()
    layers: tuple[Layer, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    strays: tuple[Stray, ...] = ()
    """Of the graphs that were read; at most 16."""
    optimizers: tuple[Optimizer, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    """Pairs of optimizers that step on one gradient."""
    loop: Loop = field(default_factory=Loop)
    losses: tuple[LossCall, ...] = ()
    curves: tuple[Curve, ...] = ()
    validation: tuple[ValidationPass, ...] = ()
    streams: tuple[Stream, ...] = ()
    worker_draws: tuple[WorkerDraws, ...] = ()
    """Sources of random numbers that stand alike in all workers of a loader."""
    kept: tuple[Kept, ...] = ()
    attention: tuple[Attention, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    """Dropout in the graphs of the first training losses, at most 32; that inside of an LSTM is left out."""
    softmaxes: tuple[Softmax, ...] = ()
    """In the graphs of the first training losses, at most 32."""
    inputs: tuple[Inputs, ...] = ()
    held_out_inputs: tuple[Inputs, ...] = ()
    """What was fed to models in passes without gradients, one for each model and line."""
    batches: Batches = field(default_factory=Batches)
    samples: tuple[Samples, ...] = ()
    """One for each trained model, in the order of `History.models` (`Samples()` for one that was not trained)."""
    held_out: tuple[HeldOut, ...] = ()
    """Passes without gradients whose rows were looked at, by step."""
    comparisons: tuple[Comparison, ...] = ()
    """Comparisons of answers that are no accuracy, by line."""
    measures: tuple[Measure, ...] = ()
    """Measures of libraries that are used wrongly, by line."""
    tokens: tuple[Tokens, ...] = ()
    """One for each loss with a target for each token."""
    units: tuple[Units, ...] = ()
    norms: tuple[BatchNorm, ...] = ()
    """Batch normalization layers that were seen in train mode."""
    telemetry: Telemetry = field(default_factory=Telemetry)
    octaves: tuple[OctaveLook, ...] = ()
    """Histograms of sampled values, at some of the looks."""
    birth: Birth | None = None
    sampling: Sampling = field(default_factory=Sampling)
    process_group: int = 0
    """Processes in torch.distributed's group, of which this is one; 0 when it was not set up."""
    ranks: tuple[RankSummary, ...] = ()
    standings: tuple[Standing, ...] = ()
    """Where processes stood that made no step for a while, and had not when they were last seen; by rank."""
    times: StepTimes = field(default_factory=StepTimes)
    framework: str = "torch"
    """`keras` when Keras's own loop and optimizers train, on any of its backends; `jax` for a step of JAX."""
    trainer: str = ""
    """Whose loop calls torch: `transformers`, `lightning` or `skorch`; empty for the user's own, and others."""
    fits: tuple[FitCall, ...] = ()
    """Calls of Keras's `fit`, the first 50."""
    imported: str = ""
    """The tool whose log this was read from: then there are curves only. Empty for a run that was listened to."""
    unit: str = "step"
    """What the steps of its curves count: `epoch` in a log that has a point for each epoch."""
    preflight: Preflight = field(default_factory=Preflight)
    """What experiments on copies of the untrained model have shown."""
    learning: Learning = field(default_factory=Learning)
    """How rows of the first batches were learned, where the loss compares classes."""
    fed: Data | None = None
    """The rows of the steps that were copied, where they are rows of numbers with a target each."""

    def curve(self, kind: str, phase: str = "training") -> Curve | None:
        """The first curve of a kind (`loss`, `accuracy`, `norm`, ...) and phase, or None.

        Of a run in parts (folds, phases: each with an optimizer of its own) the last part that has 5 points or more.
        """
        alike = [c for c in self.curves if c.kind == kind and c.phase == phase]
        if not alike:
            return None
        parts = [c for c in alike if c.name.startswith(f"{alike[0].name}, part ") and c.values.size >= 5]
        return parts[-1] if parts else alike[0]

    def main_loss(self) -> LossCall | None:
        """The loss function with most watched training calls, hand-written ones last; None without any."""
        trained = [loss for loss in self.losses if loss.training_calls]
        named = [loss for loss in trained if loss.function != "backward"]
        return max(named or trained, key=lambda loss: loss.training_calls, default=None)
