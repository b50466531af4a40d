"""What the processes of a distributed run recorded, as far as one is compared with another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.code import Site
from stethoscope.facts.feed import Batches

if TYPE_CHECKING:
    from stethoscope.facts.training import History


def _no_table() -> NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


def _no_seconds() -> NDArray[np.float64]:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class StepTimes:
    """When in a step what happened, in seconds from the end of the step before; at steps that were looked at."""

    steps: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(looks,)"""
    fed: NDArray[np.float64] = field(default_factory=_no_seconds)
    """(looks,): the first forward pass began, with its batch."""
    backward: NDArray[np.float64] = field(default_factory=_no_seconds)
    """(looks,): the first backward pass began."""
    whole: NDArray[np.float64] = field(default_factory=_no_seconds)
    """(looks,): the step ended."""


@dataclass(frozen=True)
class Copy:
    """The trained parameters of one process at its looks."""

    names: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    optimizers: tuple[str, ...] = ()
    """Class and first settings of each, as text."""
    steps: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(looks,)"""
    weight_rms: NDArray[np.float32] = field(default_factory=_no_table)
    """(looks, parameters): of sampled elements, the same ones in each process."""
    gradient_rms: NDArray[np.float32] = field(default_factory=_no_table)
    """(looks, parameters): likewise."""


@dataclass(frozen=True)
class Standing:
    """Where a process stands that has not ended a step for a while, seen from beside it once a second."""

    rank: int
    steps: int = 0
    """That it has done."""
    waited: float = 0.0
    """Seconds since its last step, or since it began."""
    held: float = 0.0
    """Seconds that it has stood at this very line, with this exchange."""
    longest: float = 0.0
    """Seconds, the most that ever lay between two of its steps; 0 before the second one."""
    exchange: str = ""
    """The exchange with other processes in which it waits: `all_reduce`, `barrier`, `backward`, `forward`, ...; empty
    where it does something of its own."""
    sites: tuple[Site, ...] = ()
    """The user's lines on its stack, the innermost first; at most 4."""
    is_fed: bool = False
    """Whether it is being given a batch: a data loader is at work."""
    exchanges: int = -1
    """That it has begun, as its process group counts them; -1 when not known."""
    batches: int = -1
    """Of an epoch, as its first data loader says; -1 when not known."""
    ended: bool = False
    """Whether its script has ended."""
    failed: str = ""
    """What the exchange raised, its first line; empty while it waits."""


@dataclass(frozen=True)
class RankSummary:
    """What another process of a distributed run recorded."""

    rank: int
    steps: int = 0
    last_loss: float = float("nan")
    state: str = "finished"
    copy: Copy = field(default_factory=Copy, compare=False, repr=False)
    """Its parameters, to be compared with those of process 0."""
    times: StepTimes = field(default_factory=StepTimes, compare=False, repr=False)
    batches: Batches = field(default_factory=Batches, compare=False, repr=False)
    """Of its training."""


def copy_of(history: History) -> Copy:
    """The whole parameters that an optimizer holds and that trained, as this process saw them."""
    table = history.telemetry
    inside = [(n, history.parameters[n]) for n in range(min(len(history.parameters), table.parameters.shape[1]))]
    held = [n for n, p in inside if p.optimizer >= 0 and p.trainable and not p.sharded]
    return Copy(
        tuple(history.parameters[n].name for n in held),
        tuple(history.parameters[n].shape for n in held),
        tuple(
            f"{optimizer.kind} {sorted(optimizer.groups[0].items()) if optimizer.groups else ''}"
            for optimizer in history.optimizers
        ),
        table.steps,
        table.parameter("weight_rms")[:, held],
        table.parameter("gradient_rms")[:, held],
    )
