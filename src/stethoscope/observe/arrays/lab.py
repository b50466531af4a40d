"""Takes steps of JAX again on copies of their state, for a few dozen steps: as they were, and with updates scaled.

What is run is the step's own program, as it was read off a trace: no line of the user's is run again. What a step
returns and the next one is given (weights, the optimizer's state, keys) is carried on; what differs from call to call
is its batch. An update is what a weight gains in a step: scaled, it is that of another learning rate.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from stethoscope.core.treatment import ScaleLearningRate, Treatment, Trial
from stethoscope.observe.arrays.probe import Probe
from stethoscope.observe.arrays.program import Constant, values_of
from stethoscope.observe.arrays.pytrees import Taken
from stethoscope.observe.model.lab import (
    FEWEST_CAPTURED,
    FEWEST_STEPS,
    LONGER,
    MOST_BROKEN,
    MOST_STEPS,
    REPLAYS,
    SAME_LOSS,
    OutOfTime,
)
from stethoscope.observe.model.recipe import CannotTry

MOST_CAPTURED = 16
MOST_STATE_BYTES = 64 << 20
MOST_BATCH_BYTES = 16 << 20
"""For all batches together."""

_clock = time.perf_counter


class Rehearsal:
    """Copies of what the first steps were given, taken before they ran.

    Args:
        weights: number of the array of each parameter.
    """

    def __init__(self, probe: Probe, weights: Sequence[int]) -> None:
        self.probe = probe
        self.weights = list(weights)
        self.state: list[Any] = []
        """All arrays of the first call."""
        self.batches: list[dict[int, Any]] = []
        """By number, the arrays of each call that are none of its state."""
        self.carries: dict[int, int] = {}
        """Array of a call to the output of the one before it."""
        self.losses: list[float] = []
        self.why_not = ""
        self._returned: dict[int, tuple[int, Any]] = {}
        self._bytes = 0

    @property
    def is_on(self) -> bool:
        """Whether further steps are to be kept."""
        return not self.why_not and len(self.batches) < MOST_CAPTURED

    def begins(self, probe: Probe, taken: Taken) -> None:
        """A step is about to run."""
        if not self.is_on or probe is not self.probe:
            return
        if not self.state:
            self._begin(taken)
            return
        if not self.carries:
            self._find_carries(taken)
        if self.is_on:
            self._keep(taken.arrays)

    def ended(self, result: Any, loss: Any) -> None:
        """It has returned: `loss` is what was seen of it."""
        if not self.is_on or len(self.losses) == len(self.batches):
            return
        self.losses.append(math.nan if loss is None else float(np.asarray(loss).reshape(-1)[0]))
        if not self.carries:
            leaves = jax.tree_util.tree_leaves(result)
            self._returned = {id(leaf): (number, leaf) for number, leaf in enumerate(leaves)}

    def _begin(self, taken: Taken) -> None:
        size = sum(int(np.prod(np.shape(array))) * _itemsize(array) for array in taken.arrays)
        if size > MOST_STATE_BYTES + MOST_BATCH_BYTES:
            self.why_not = f"its state and a batch take {size / 1e6:.0f} MB, too much to be copied"
            return
        self.state = [_copied(array) for array in taken.arrays]
        self.batches.append({})

    def _find_carries(self, taken: Taken) -> None:
        """What is given now and was returned then; the variables of NNX models are changed where they are."""
        for number, array in enumerate(taken.arrays):
            if number >= taken.plain:
                self.carries[number] = self.probe.num_returned + number - taken.plain
            elif id(array) in self._returned:
                self.carries[number] = self._returned[id(array)][0]
        self._returned = {}
        if not all(number in self.carries for number in self.weights):
            self.why_not = "the weights that a step is given are not those that the one before it has returned"
            return
        outputs = self.probe.program.outputs
        shapes = self.probe.program.shapes
        for number, place in self.carries.items():
            out = outputs[place] if place < len(outputs) else None
            if out is None or isinstance(out, Constant) or shapes[out] != np.shape(taken.arrays[number]):
                self.why_not = "what it returns has another shape than what it is given"
        self.batches[0] = {n: array for n, array in enumerate(self.state) if n not in self.carries}

    def _keep(self, arrays: Sequence[Any]) -> None:
        batch = {number: array for number, array in enumerate(arrays) if number not in self.carries}
        self._bytes += sum(int(np.prod(np.shape(array))) * _itemsize(array) for array in batch.values())
        if self._bytes <= MOST_BATCH_BYTES:
            self.batches.append({number: _copied(array) for number, array in batch.items()})

    def lab(self, chance: float, seconds: float) -> StepBench:
        """Tries learning rates on copies.

        Args:
            chance: value of the loss for the best guess that ignores the input; NaN when unknown.
            seconds: time for all experiments together.
        """
        return StepBench(self, chance, seconds)


class StepBench:
    """Pairs of copies, in the order and with the measures of the lab for torch."""

    def __init__(self, rehearsal: Rehearsal, chance: float, seconds: float) -> None:
        self._kept = rehearsal
        self._chance = chance
        self._until = _clock() + seconds
        self._run: Callable[..., Any] | None = None
        self._most_steps = 0
        self._steps = 0
        self._controls: dict[int, float] = {}

    def __call__(self, treatments: tuple[Treatment, ...], longer: bool) -> Trial:
        """Try another rate. Never raises: what goes wrong is the trial's reason."""
        words = " and ".join(each.words() for each in treatments)
        try:
            if len(treatments) > 1 or not isinstance(treatments[0], ScaleLearningRate):
                raise CannotTry("of a step of JAX only other learning rates are tried")
            return self._trial(words, treatments[0].factor, longer)
        except CannotTry as reason:
            return Trial(words, why_not=str(reason))
        except (OutOfTime, KeyboardInterrupt):
            return Trial(words, why_not="the time for experiments was over")
        except Exception as error:  # a failing lab must not cost the report
            return Trial(words, why_not=f"it failed ({type(error).__name__}: {str(error).strip()[:100]})")

    def _trial(self, words: str, factor: float, longer: bool) -> Trial:
        """Updates times this factor, beside updates as they are."""
        self.check()
        steps = min(MOST_STEPS, self._most_steps) * (LONGER if longer else 1)
        if steps > self._most_steps:
            raise CannotTry("longer replays would take too long")
        if steps != self._steps:
            self._steps = steps
            self._controls.clear()
        start = self._measured(self._kept.state)
        if math.isfinite(self._chance):
            start = self._chance if math.isnan(start) else min(start, self._chance)
        before, after = [], []
        for number in range(REPLAYS):
            if number not in self._controls:
                self._controls[number] = self._trained(number, 1.0)
            before.append(self._controls[number])
            after.append(self._trained(number, factor))
        return Trial(words, self._steps, tuple(before), tuple(after), start, start)

    def check(self) -> None:
        """A step taken again must give the loss that the run saw, and must be quick.

        Raises:
            CannotTry: it cannot be taken again.
        """
        if self._run is not None:
            if not self._most_steps:
                raise CannotTry("a step cannot be taken again")
            return
        kept = self._kept
        if kept.why_not or len(kept.losses) < FEWEST_CAPTURED or not kept.carries:
            raise CannotTry(kept.why_not or "too few steps were seen")
        self._run = _compiled(kept)
        seconds = math.inf
        arrays, loss = self.taken(kept.state, 0, 1.0)
        first = kept.losses[0]
        if math.isfinite(first) and not abs(loss - first) <= SAME_LOSS * max(abs(first), 1e-6):
            raise CannotTry(f"the first step, taken again, gives a loss of {loss:.4g} and not {first:.4g}")
        for number in range(1, min(3, len(kept.losses))):
            began = _clock()
            arrays, _ = self.taken(arrays, number, 1.0)
            seconds = min(seconds, _clock() - began)
        affordable = int(0.5 * (self._until - _clock()) / (2 * REPLAYS * max(seconds, 1e-6)))
        if affordable < FEWEST_STEPS:
            raise CannotTry(f"a step takes {seconds:.2g} s, too long for {2 * REPLAYS * FEWEST_STEPS} of them")
        self._most_steps = affordable

    def taken(self, arrays: Sequence[Any], batch: int, factor: float) -> tuple[list[Any], float]:
        """One step on the batch of this number: the arrays for the next one, and its loss."""
        assert self._run is not None
        given = list(arrays)
        for number, value in self._kept.batches[batch].items():
            given[number] = value
        carried, loss = self._run(given, factor)
        for number, value in zip(self._kept.carries, carried, strict=True):
            given[number] = value
        return given, float(np.asarray(loss).reshape(-1)[0])

    def _trained(self, number: int, factor: float) -> float:
        """Mean loss of a copy at the end of a replay; NaN when it broke down."""
        count, draw = len(self._kept.losses), random.Random(number)
        turn = draw.randrange(count)
        arrays, broken = list(self._kept.state), 0
        for index in range(self._steps):
            if _clock() > self._until:
                raise OutOfTime
            arrays, loss = self.taken(arrays, (index + turn) % count, factor)
            broken = 0 if math.isfinite(loss) else broken + 1
            if broken >= MOST_BROKEN:
                return math.nan
        return self._measured(arrays)

    def _measured(self, arrays: Sequence[Any]) -> float:
        """Mean loss over all batches that were kept."""
        values = [self.taken(arrays, number, 1.0)[1] for number in range(len(self._kept.losses))]
        return sum(values) / len(values)


def _compiled(kept: Rehearsal) -> Callable[..., Any]:
    """(arrays, factor) to the arrays that are carried on, and the loss."""
    program, weights = kept.probe.program, set(kept.weights)
    loss = program.marks.get("loss")
    if loss is None:
        raise CannotTry("its loss was not seen")
    outputs = [program.outputs[place] for place in kept.carries.values()]
    wanted = list(dict.fromkeys([loss, *(out for out in outputs if not isinstance(out, Constant))]))
    _, operations = program.needed_for(wanted)

    def run(arrays: list[Any], factor: Any) -> Any:
        found = dict(zip(wanted, values_of(program, wanted, operations, arrays), strict=True))
        carried = []
        for number, out in zip(kept.carries, outputs, strict=True):
            value = out.value if isinstance(out, Constant) else found[out]
            if number in weights:
                old = arrays[number]
                value = (old + factor * (value - old)).astype(value.dtype)
            carried.append(value)
        return carried, found[loss]

    compiled: Callable[..., Any] = jax.jit(run)
    return compiled


def _copied(array: Any) -> Any:
    """A copy that no donation takes away; of Python's numbers the number."""
    if isinstance(array, jax.Array):
        return array.copy()
    return array if isinstance(array, float | int) else np.array(array)


def _itemsize(array: Any) -> int:
    return int(getattr(getattr(array, "dtype", None), "itemsize", 8))
