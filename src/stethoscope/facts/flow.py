"""How far gradients reach, which graphs stay, and which data trains and which validates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.code import Site

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Backward:
    """Backward passes that began at one line, as far as they were attended to: how far their graphs reach."""

    site: Site | None = None
    watched: int = 0
    without_graph: int = 0
    """Those whose loss required no gradient: torch raises."""
    from_leaf: int = 0
    """Those whose loss was made to require a gradient by hand: no operation made it, so nothing gets a gradient."""
    graphs: int = 0
    """Graphs that were read."""
    unreached: int = 0
    """Those of them that reached no parameter of a model or an optimizer."""
    cut: str = ""
    """Where the graph ends when it reaches no parameter: `gradients off`, `inside the model`, `after the model`,
    or empty when unknown."""
    cut_sites: tuple[Site, ...] = ()
    """Lines on the way from the model's call to the loss that cut a graph (`.detach()`, `.item()`, `no_grad`, ...),
    as far as the source shows; read when parameters that an optimizer holds were not reached."""


@dataclass(frozen=True)
class Kept:
    """Losses of one line whose graphs outlived the next step; only losses that were watched are counted."""

    what: str = "training loss"
    """`training loss`, or `validation loss` for one computed with gradients on and without a backward pass."""
    site: Site | None = None
    """Where it is backpropagated, or computed."""
    marked: int = 0
    """Losses watched."""
    most_alive: int = 0
    """Largest number of graphs of earlier steps (of earlier batches of a validation pass) alive at once."""
    oldest: int = 0
    """Age of the oldest of them then, in steps (in batches)."""
    share: float = 0.0
    """Share (0..1) alive then of those watched since the oldest one."""
    kept_at: tuple[Site, ...] = ()
    """Lines that add up or collect the loss with its graph, as far as the source shows."""


@dataclass(frozen=True)
class Softmax:
    """A softmax somewhere on the way from a model's inputs to a training loss, read off the graph."""

    operation: str
    """`softmax` or `log_softmax`."""
    axis: int
    shape: tuple[int, ...]
    """Of its result."""
    input_shape: tuple[int, ...] = ()
    """Of what the model was given; empty when unknown."""
    answer_shape: tuple[int, ...] = ()
    """Of what the model returned; empty when that is no single tensor."""
    site: Site | None = None
    """The user's line that calls it."""


@dataclass(frozen=True)
class Dropped:
    """Values dropped at random on the way to a training loss, by a layer or by a function, read off the graph."""

    probability: float
    site: Site | None = None
    """The user's line that leads to it."""


@dataclass(frozen=True)
class Stream:
    """Batches of one data set that a model was given in one way, as far as they were attended to."""

    source: int = -1
    """Number of the data set, in the order in which loaders began to read them; -1 when no loader was at work."""
    use: str = "training"
    """`training` when an optimizer step followed, `validation` when none did."""
    mode: str = "train"
    """`train` or `eval`: the model's."""
    samples: int = 0
    """Of the data set; 0 when unknown."""
    shuffled: bool | None = None
    """Whether its loader shuffles; None for an order of the script's own."""
    loader_site: Site | None = None
    """Where a loader began to read it first."""
    forward_site: Site | None = None
    backward_site: Site | None = None
    steps: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """(batches,): the step at which each was used; at validation, the steps done by then."""
    fingerprints: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """(batches,): checksums as in `facts.training.Batches`."""
    drawn: int = 0
    """Times that a distributed sampler drew an order for training, as far as was attended to; 0 without one."""
    orders: int = 0
    """Different orders among them, by the sampler's seed and epoch."""


@dataclass(frozen=True)
class Attention:
    """How one attention of a step spreads its weights, read off graphs of training losses now and then."""

    number: int
    """In the order of the calls, 0 nearest the input."""
    keys: int
    """Positions that it may look at."""
    steps: Integers
    """(readings,)"""
    shares: NDArray[np.float64]
    """(readings,): entropy of the last query's weights / that of even weights, median over samples and heads: 0 when
    it looks at one position, 1 when at all alike."""
