"""Inputs beside the targets of a loss with one target for each position: padding, and what lies in the future."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stethoscope.facts.samples import Tokens
from stethoscope.observe.training.padding import Filler, runs, turned, way_of
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
    first_followed: int = 0
    """Positions that have two later ones and are counted, beside the first input."""
    first_next: int = 0
    first_second: int = 0
    classes: int = 0
    last_losses: list[float] = field(default_factory=list)
    other_losses: list[float] = field(default_factory=list)
    token: int = -1
    filler: Filler | None = None
    """Of inputs that are numbers."""
    target_filler: Tensor | None = None
    """What a target that is made of numbers is at the first padded position."""
    first: bool = False
    """Whether padding stands at the starts of rows."""
    padded: int = 0
    elsewhere: int = 0
    padded_counted: int = 0
    padded_targets: dict[int, int] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)
    of_numbers: bool = False
    whole_steps: list[int] = field(default_factory=list)
    whole_means: list[float] = field(default_factory=list)
    whole_lengths: list[int] = field(default_factory=list)

    def see(self, inputs: Any, targets: Any, ignore: int, is_token: Any = None) -> None:
        """One batch: (rows, positions) each; `is_token` says where what fills rows stands, once that is known."""
        counted = targets != ignore
        self.batches += 1
        self.positions += targets.size
        self.counted += int(counted.sum())
        self.same += int((counted & (inputs == targets)).sum())
        self.followed += int(counted[:, :-1].sum())
        self.next += int((counted[:, :-1] & (inputs[:, 1:] == targets[:, :-1])).sum())
        if is_token is None:
            return
        tail = _runs(is_token, self.first)
        self.elsewhere += int((is_token & ~tail).sum())
        if self.first:  # the last of them may be there to tell the first one that is data
            tail[:, :-1] &= tail[:, 1:]
        self.padded += int(tail.sum())
        self.padded_counted += int((tail & counted).sum())
        for target, times in zip(*np.unique(targets[tail & counted], return_counts=True), strict=True):
            self.padded_targets[int(target)] = self.padded_targets.get(int(target), 0) + int(times)
        self.lengths.update((~tail).sum(axis=1).tolist())

    def see_first(self, inputs: Any, targets: Any, ignore: int) -> None:
        """The same batch beside the model's first input: are targets its next positions, or the ones behind these?"""
        counted, answers = targets[:, :-2] != ignore, targets[:, :-2]
        self.first_followed += int(counted.sum())
        self.first_next += int((counted & (inputs[:, 1:-1] == answers)).sum())
        self.first_second += int((counted & (inputs[:, 2:] == answers)).sum())

    def look_for_padding(self, inputs: Tensor, time_first: bool | None = None) -> None:
        """Find out how rows are filled, and which axis counts positions where that is not known."""
        if self.filler is None and (way := way_of(inputs, (False, True) if time_first is None else (time_first,))):
            self.filler, self.time_first, self.first = way.filler, way.time_first, way.first
            self.token = 0 if way.filler.words else int(way.filler.value or 0)

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
            first_next_share=self.first_next / self.first_followed if self.first_followed else math.nan,
            first_second_share=self.first_second / self.first_followed if self.first_followed else math.nan,
            last_losses=np.array(self.last_losses),
            other_losses=np.array(self.other_losses),
            padding_token=self.token,
            padded=self.padded,
            padding_elsewhere=self.elsewhere,
            padded_counted=self.padded_counted,
            padded_target=target,
            padded_target_share=self.padded_targets[target] / self.padded_counted if self.padded_counted else math.nan,
            lengths=len(self.lengths),
            padded_first=self.first,
            of_numbers=self.of_numbers,
            filled_with="" if self.filler is None else self.filler.words,
            whole_steps=np.array(self.whole_steps, np.int64),
            whole_means=np.array(self.whole_means, np.float64),
            whole_lengths=np.array(self.whole_lengths, np.int64),
        )


class TokenBook:
    """All losses over tokens."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Spot | None], TokenEntry] = {}
        self._inputs: list[Tensor] = []

    def see_inputs(self, tensors: list[Tensor]) -> None:
        """The inputs of a training forward, held until the backward pass: `model(x[rows])` itself keeps none."""
        self._inputs = [t for t in tensors if t.dim() in ((2, 3) if t.is_floating_point() else (2,)) and t.shape[1] > 2]

    def release(self) -> None:
        """No more losses are to come of these inputs."""
        self._inputs = []

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
        given = self._given(target)
        if not given:
            return
        inputs = given[0]
        entry = self._entries.setdefault((function, place), TokenEntry(function, place))
        if len(self._entries) > MOST_ENTRIES:
            return
        if each is not None and len(entry.whole_steps) < MOST_WHOLE:
            entry.whole_steps.append(each[0])
            entry.whole_means.append(float(each[1].detach().mean()))
            entry.whole_lengths.append(inputs.shape[1])
        if max(inputs.shape[:2]) > MOST_POSITIONS:
            return
        if inputs.is_floating_point() or target.is_floating_point():
            if entry.batches < MOST_BATCHES:
                self._see_numbers(entry, inputs.detach(), output.detach(), target.detach(), ignore)
        elif len(entry.last_losses) < MOST_LOSSES:
            self._see(entry, inputs, output, target.detach().reshape(inputs.shape), ignore)
            if entry.batches <= MOST_BATCHES and not given[-1].is_floating_point():
                tokens = turned(given[-1], entry.time_first)[:MOST_ROWS].detach()
                answers = turned(target.detach().reshape(inputs.shape), entry.time_first)[:MOST_ROWS]
                first, wanted = as_array(tokens.cpu().contiguous()), as_array(answers.cpu().contiguous())
                entry.see_first(first, wanted, ignore)

    def _given(self, target: Tensor) -> list[Tensor]:
        """The inputs that have a target for each position, or for all but the last, which has none to follow; the
        first one comes last."""
        # A decoder's own input comes after the encoder's.
        fitting = [
            tensor if cut is None else tensor[:, :cut]
            for number, tensor in reversed([*enumerate(self._inputs)])
            if _fits(tensor, target, cut := _cut(tensor, target))
            # A model may be handed the targets, too.
            and not ((number or tensor.is_floating_point()) and tensor.data_ptr() == target.data_ptr())
        ]
        masks = [len(fitting) > 1 and _is_mask(tensor) for tensor in fitting]
        return [tensor for tensor, is_mask in zip(fitting, masks, strict=True) if not is_mask]

    def _see_numbers(self, entry: TokenEntry, inputs: Tensor, output: Tensor, target: Tensor, ignore: int) -> None:
        """Inputs that are numbers, or targets that are: only what is padded is of interest."""
        shape = inputs.shape[:2]
        entry.of_numbers = inputs.is_floating_point()
        entry.look_for_padding(inputs)
        if entry.filler is None:
            entry.batches, entry.positions = entry.batches + 1, entry.positions + math.prod(shape)
            return
        told = entry.filler.told(turned(inputs, entry.time_first)[:MOST_ROWS], entry.first)
        answers = turned(target.reshape(*shape, -1), entry.time_first)[:MOST_ROWS]
        if not target.is_floating_point():
            codes = answers[:, :, 0]
        else:
            given = turned(output.reshape(*shape, -1), entry.time_first)[:MOST_ROWS] if _alike(output, target) else None
            codes = _coded(entry, runs(told, entry.first), answers, given)
        read, is_token = (as_array(t.cpu().contiguous()) for t in (codes, told))
        if read.size:
            entry.see(np.zeros_like(read) - 1, read, LEFT_OUT if target.is_floating_point() else ignore, is_token)

    def _see(self, entry: TokenEntry, inputs: Tensor, output: Tensor, target: Tensor, ignore: int) -> None:
        shape = inputs.shape
        if not entry.batches:
            entry.time_first = bool((inputs[1:] == target[:-1]).float().mean() > SHIFTED)
        # Only a language model's targets show which axis counts positions; a tagger's padding does.
        is_shifted = entry.time_first or bool((inputs[:, 1:] == target[:, :-1]).float().mean() > SHIFTED)
        entry.look_for_padding(inputs, entry.time_first if is_shifted else None)
        inputs, target = turned(inputs, entry.time_first), turned(target, entry.time_first)
        rows, length = min(len(inputs), MOST_ROWS), inputs.shape[1]
        tokens, answers = (as_array(t[:rows].detach().cpu().contiguous()) for t in (inputs, target))
        if not tokens.size or tokens.shape != answers.shape:
            return
        if entry.batches < MOST_BATCHES:
            entry.see(tokens, answers, ignore, None if entry.filler is None else tokens == entry.token)
        entry.classes = output.shape[1]
        read = min(rows, VALUES_READ // ((BEFORE_LAST + 1) * entry.classes))
        flat = output.dim() == 2
        if length <= BEFORE_LAST + 1 or read < 1 or not (output.dim() == 3 or (flat and output.is_contiguous())):
            return
        if output.numel() != target.numel() * entry.classes:
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


def _cut(inputs: Tensor, target: Tensor) -> int | None:
    """-1 where all positions but the last have a target, as in `loss(model(x)[:, :-1], x[:, 1:])`."""
    rows, positions = inputs.shape[:2]
    is_shorter = not inputs.is_floating_point() and not target.is_floating_point()
    return -1 if is_shorter and positions > 3 and target.numel() == rows * (positions - 1) else None


def _fits(inputs: Tensor, target: Tensor, cut: int | None) -> bool:
    """Whether there is a target for each position: one, or several numbers."""
    if cut is not None or target.numel() == math.prod(inputs.shape[:2]):
        return True
    return bool(target.is_floating_point() and target.dim() > 2 and target.shape[:2] == inputs.shape[:2])


def _is_mask(tensor: Tensor) -> bool:
    """Whether it only says which positions are data, as an attention mask does."""
    is_other: Tensor = (tensor != 0) & (tensor != 1)
    return not (tensor.is_floating_point() or is_other.any())


def _alike(output: Tensor, target: Tensor) -> bool:
    return bool(output.numel() == target.numel())


def _runs(is_token: Any, first: bool) -> Any:
    """(rows, positions): where it stands from there to the end of its row, or from the start to there."""
    if first:
        return np.logical_and.accumulate(is_token, axis=1)
    return np.logical_and.accumulate(is_token[:, ::-1], axis=1)[:, ::-1]


def _coded(entry: TokenEntry, padded: Tensor, targets: Tensor, answers: Tensor | None) -> Tensor:
    """(rows, positions): 0 where the target is what fills targets, if zeros, 1 if other numbers; 2 elsewhere.

    Padded positions where the answer is the target itself, since both were multiplied by a mask, are left out.
    """
    end = 0 if entry.first else -1
    if entry.target_filler is None and bool(padded.any()):
        entry.target_filler = targets[padded[:, end].nonzero()[0, 0], end].clone()
    filler = targets.new_zeros(1) if entry.target_filler is None else entry.target_filler
    if entry.filler is not None and entry.filler.value is None:
        filler = targets[:, :1] if entry.first else targets[:, -1:]
    same = (targets == filler).all(dim=2)
    is_zero = bool((filler == 0).all())
    codes = torch.where(same, 0 if is_zero else 1, 2)
    if answers is not None:
        codes[padded & same & (answers == targets).all(dim=2)] = LEFT_OUT
    return codes


def _losses(scores: Any, answers: Any) -> Any:
    """(rows, positions): cross-entropy of scores (rows, positions, classes)."""
    highest = scores.max(axis=2, keepdims=True)
    total = np.log(np.exp(scores - highest).sum(axis=2)) + highest[:, :, 0]
    return total - np.take_along_axis(scores, answers[:, :, None], axis=2)[:, :, 0]
