"""Integer inputs beside the targets of a loss with one target for each token: padding, and what lies in the future."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from stethoscope.facts.samples import Tokens
from stethoscope.observe.training.sampling import as_array
from stethoscope.observe.training.sites import Spot, site_of

MOST_BATCHES = 40
"""Batches whose tokens are counted."""
MOST_LOSSES = 1000
MOST_ENTRIES = 16
MOST_WHOLE = 400
LEFT_OUT = -100
MOST_ROWS = 64
MOST_POSITIONS = 512
VALUES_READ = 200_000
"""Scores read at one batch: rows x positions x classes."""
SHIFTED = 0.9
"""Share of targets equal to the next input along the first axis that shows that it counts positions."""
BEFORE_LAST = 4
"""Positions before the last one whose loss is taken beside its own."""


@dataclass(eq=False)
class TokenEntry:
    """One loss; becomes a `facts.training.Tokens`."""

    function: str
    place: Spot | None
    time_first: bool = False
    """Whether the first axis counts positions, and the second samples."""
    batches: int = 0
    positions: int = 0
    counted: int = 0
    same: int = 0
    followed: int = 0
    """Positions that have a later one and are counted."""
    next: int = 0
    classes: int = 0
    last_losses: list[float] = field(default_factory=list)
    other_losses: list[float] = field(default_factory=list)
    token: int = -1
    padded: int = 0
    elsewhere: int = 0
    padded_counted: int = 0
    padded_targets: dict[int, int] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)
    of_numbers: bool = False
    whole_steps: list[int] = field(default_factory=list)
    whole_means: list[float] = field(default_factory=list)

    def see(self, inputs: Any, targets: Any, ignore: int) -> None:
        """One batch: (rows, positions) each."""
        counted = targets != ignore
        self.batches += 1
        self.positions += targets.size
        self.counted += int(counted.sum())
        self.same += int((counted & (inputs == targets)).sum())
        self.followed += int(counted[:, :-1].sum())
        self.next += int((counted[:, :-1] & (inputs[:, 1:] == targets[:, :-1])).sum())
        ends, frequency = np.unique(inputs[:, -1], return_counts=True)
        if self.token < 0 and frequency.max() * 4 >= len(inputs):
            self.token = int(ends[frequency.argmax()])
        if self.token >= 0:
            is_token = inputs == self.token
            tail = np.logical_and.accumulate(is_token[:, ::-1], axis=1)[:, ::-1]
            self.padded += int(tail.sum())
            self.elsewhere += int((is_token & ~tail).sum())
            self.padded_counted += int((tail & counted).sum())
            for target, times in zip(*np.unique(targets[tail & counted], return_counts=True), strict=True):
                self.padded_targets[int(target)] = self.padded_targets.get(int(target), 0) + int(times)
            self.lengths.update((~tail).sum(axis=1).tolist())

    def fact(self) -> Tokens:
        """The frozen form."""
        target = max(self.padded_targets, key=lambda target: self.padded_targets[target], default=-1)
        return Tokens(
            function=self.function,
            site=site_of(self.place),
            batches=self.batches,
            positions=self.positions,
            classes=self.classes,
            same_share=self.same / self.counted if self.counted else math.nan,
            next_share=self.next / self.followed if self.followed else math.nan,
            last_losses=np.array(self.last_losses),
            other_losses=np.array(self.other_losses),
            padding_token=self.token,
            padded=self.padded,
            padding_elsewhere=self.elsewhere,
            padded_counted=self.padded_counted,
            padded_target=target,
            padded_target_share=self.padded_targets[target] / self.padded_counted if self.padded_counted else math.nan,
            lengths=len(self.lengths),
            of_numbers=self.of_numbers,
            whole_steps=np.array(self.whole_steps, np.int64),
            whole_means=np.array(self.whole_means, np.float64),
        )


class TokenBook:
    """All losses over tokens."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Spot | None], TokenEntry] = {}
        self._inputs: list[weakref.ref[Tensor]] = []

    def see_inputs(self, tensors: list[Tensor]) -> None:
        """The inputs of a training forward."""
        rows = [t for t in tensors if t.dim() == (3 if t.is_floating_point() else 2) and t.shape[1] > 2]
        self._inputs = [weakref.ref(tensor) for tensor in rows]

    def see_loss(
        self,
        function: str,
        place: Spot | None,
        output: Tensor,
        target: Tensor,
        ignore: int,
        each: tuple[int, Tensor] | None = None,
    ) -> None:
        """A training loss whose targets are class indices, or numbers.

        Args:
            each: the step, and what was returned, of a loss for each position.
        """
        # A decoder's own input comes after the encoder's.
        for place_among, reference in reversed([*enumerate(self._inputs)]):
            inputs = reference()
            if inputs is None or not _fits(inputs, target):
                continue
            if (
                place_among or inputs.is_floating_point()
            ) and inputs.data_ptr() == target.data_ptr():  # a model that is handed the targets, too
                continue
            entry = self._entries.setdefault((function, place), TokenEntry(function, place))
            if each is not None and len(entry.whole_steps) < MOST_WHOLE:
                entry.whole_steps.append(each[0])
                entry.whole_means.append(float(each[1].detach().mean()))
            if len(self._entries) > MOST_ENTRIES:
                return
            if inputs.is_floating_point() or target.is_floating_point():
                if entry.batches < MOST_BATCHES and max(inputs.shape[:2]) <= MOST_POSITIONS:
                    self._see_numbers(entry, inputs.detach(), output.detach(), target.detach(), ignore)
            elif len(entry.last_losses) < MOST_LOSSES:
                self._see(entry, inputs, output, target.detach().reshape(inputs.shape), ignore)
            return

    def _see_numbers(self, entry: TokenEntry, inputs: Tensor, output: Tensor, target: Tensor, ignore: int) -> None:
        """Inputs of several numbers a position, or targets that are numbers: only what is padded is of interest."""
        shape = inputs.shape[:2]
        given = inputs
        if inputs.is_floating_point():
            given = (inputs != 0).any(dim=2).long()
            if not entry.batches:
                entry.of_numbers, entry.token = True, 0
                entry.time_first = int(_ends(given.T).sum()) > int(_ends(given).sum())
        answers = target.reshape(shape) if not target.is_floating_point() else _coded(output, target, shape)
        if entry.time_first:
            given, answers = given.T, answers.T
        tokens, codes = (as_array(t[:MOST_ROWS].cpu().contiguous()) for t in (given, answers))
        if tokens.size:
            entry.see(tokens, codes, LEFT_OUT if target.is_floating_point() else ignore)

    def _see(self, entry: TokenEntry, inputs: Tensor, output: Tensor, target: Tensor, ignore: int) -> None:
        shape = inputs.shape
        if max(shape) > MOST_POSITIONS:
            return
        if not entry.batches:
            entry.time_first = bool((inputs[1:] == target[:-1]).float().mean() > SHIFTED)
        if entry.time_first:
            inputs, target = inputs.T, target.T
        rows, length = min(len(inputs), MOST_ROWS), inputs.shape[1]
        tokens, answers = (as_array(t[:rows].detach().cpu().contiguous()) for t in (inputs, target))
        if not tokens.size or tokens.shape != answers.shape:
            return
        if entry.batches < MOST_BATCHES:
            entry.see(tokens, answers, ignore)
        entry.classes = output.shape[1]
        read = min(rows, VALUES_READ // ((BEFORE_LAST + 1) * entry.classes))
        flat = output.dim() == 2
        if length <= BEFORE_LAST + 1 or read < 1 or not (output.dim() == 3 or (flat and output.is_contiguous())):
            return
        scores = output.detach().view(*shape, -1) if flat else output.detach().movedim(1, 2)
        scores = (scores.transpose(0, 1) if entry.time_first else scores)[:read, -BEFORE_LAST - 1 :]
        values = as_array(scores.float().cpu().contiguous()).astype(np.float64)
        ends = answers[:read, -BEFORE_LAST - 1 :]
        losses = _losses(values, np.clip(ends, 0, entry.classes - 1))
        kept = (ends != ignore) & (ends >= 0) & (ends < entry.classes)
        if kept[:, -1].any() and kept[:, :-1].any():
            entry.last_losses.append(float(losses[:, -1][kept[:, -1]].mean()))
            entry.other_losses.append(float(losses[:, :-1][kept[:, :-1]].mean()))

    def facts(self) -> tuple[Tokens, ...]:
        """The frozen forms."""
        return tuple(entry.fact() for entry in self._entries.values() if entry.batches)


def _fits(inputs: Tensor, target: Tensor) -> bool:
    """Whether there is a target for each position: one, or several numbers."""
    if target.numel() == math.prod(inputs.shape[:2]):
        return True
    return bool(target.is_floating_point() and target.dim() > 2 and target.shape[:2] == inputs.shape[:2])


def _ends(given: Tensor) -> Tensor:
    """(rows, positions): whether from here to the end of the row all is 0."""
    return given.flip(1).cumsum(dim=1).flip(1) == 0


def _coded(output: Tensor, target: Tensor, shape: Any) -> Tensor:
    """(rows, positions): 0 where all numbers of the target are 0, else 1; and where the answer is 0 too, left out."""
    numbers = target.reshape(*shape, -1)
    codes = (numbers != 0).any(dim=2).long()
    if output.numel() == target.numel():
        codes[(codes == 0) & (output.reshape(numbers.shape) == 0).all(dim=2)] = LEFT_OUT
    return codes


def _losses(scores: Any, answers: Any) -> Any:
    """(rows, positions): cross-entropy of scores (rows, positions, classes)."""
    highest = scores.max(axis=2, keepdims=True)
    total = np.log(np.exp(scores - highest).sum(axis=2)) + highest[:, :, 0]
    return total - np.take_along_axis(scores, answers[:, :, None], axis=2)[:, :, 0]
