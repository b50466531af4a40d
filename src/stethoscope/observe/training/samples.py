"""Single rows of what is fed to models: have they been seen before, in training or outside of it, and with what target?

Rows are told apart by a checksum of a few of their values, so the user's data is never kept; a thousand rows at
most are, with their targets, to ask whether one follows from the other.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor, nn, strided

from stethoscope.facts.samples import HeldOut, Samples
from stethoscope.facts.training import Inputs
from stethoscope.observe.training.batches import InputEntry
from stethoscope.observe.training.lookalikes import lookalikes, nearly_equal
from stethoscope.observe.training.pairing import paired
from stethoscope.observe.training.sampling import as_array, coprime_stride
from stethoscope.observe.training.sites import Spot, site_of

MOST_KNOWN = 60_000
"""Checksums of training rows kept for each model."""
MOST_ROWS = 2048
"""Rows of one batch that are looked at."""
VALUES_PER_ROW = 64
"""Values of a row that its checksum is made of."""
MOST_COMPARED = 128
"""Rows of each of the first forwards of a pass that are compared with training rows by distance."""
MOST_KEPT = 1024
"""Rows kept with their targets."""
FEATURES_KEPT = 512
FORWARDS_READ = 400
"""Forwards of one pass whose rows are looked at."""
MOST_PASSES = 32
EACH_PASS_UNTIL = 4
"""From one line, the first passes are looked at row by row, then the 8th, the 16th, ..."""
LATE_BATCHES = 12
"""Batches over which the share of familiar rows is taken."""
MOST_PLACES = 8
MOST_INPUTS = 4
_MIX = np.uint64(0x9E3779B97F4A7C15)


def _scrambled(numbers: Any) -> Any:
    """Each 64-bit number as another one that looks random (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = numbers * _MIX
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_WEIGHTS = _scrambled(np.arange(1, MOST_INPUTS * VALUES_PER_ROW + 2, dtype=np.uint64)) | np.uint64(1)


def inputs_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among a forward's arguments that have one row for each sample, as the first of them has."""
    found: list[Tensor] = []
    waiting = [*args, *kwargs.values()]
    while waiting and len(found) < MOST_INPUTS:
        value = waiting.pop(0)
        if isinstance(value, Tensor):
            fits = value.layout is strided and not value.is_meta and value.dim() and value.numel()
            if fits and not value.is_complex() and (not found or value.shape[0] == found[0].shape[0]):
                found.append(value)
        elif isinstance(value, tuple | list):
            waiting = [*value[:4], *waiting]
        elif isinstance(value, dict):
            waiting = [*value.values(), *waiting]
    return sorted(found, key=lambda tensor: tensor.dim() < 2)  # a trainer may name the labels first


def rows_of(tensor: Tensor, most_rows: int, most_values: int) -> Any:
    """(rows, values) as float32: the first rows, each with at most so many values, taken with a coprime stride."""
    few = tensor.detach()[:most_rows]
    width = few[0].numel()
    flat = few.reshape(few.shape[0], width)[:, :: coprime_stride(width, most_values)]
    values = as_array(flat.float().cpu().contiguous())
    return values.reshape(flat.shape) if values.size else np.zeros((0, 1), np.float32)


def checksums(tensors: list[Tensor]) -> list[int]:
    """One number for each row: equal rows have equal ones."""
    rows = np.hstack([rows_of(tensor, MOST_ROWS, VALUES_PER_ROW) for tensor in tensors])
    bits = np.ascontiguousarray(rows + np.float32(0)).view(np.uint32).astype(np.uint64)  # + 0 makes -0 a 0
    with np.errstate(over="ignore"):
        sums = (_scrambled(bits + np.uint64(1)) * _WEIGHTS[: bits.shape[1]]).sum(axis=1, dtype=np.uint64)
    numbers: list[int] = sums.view(np.int64).tolist()
    return numbers


def _is(values: Any, answers: Any) -> bool:
    """Whether an argument of the model is the targets themselves, given to it for its loss."""
    return bool(values.shape[1] == 1 and np.array_equal(values[:, 0], answers.astype(np.float32)))


@dataclass(eq=False)
class TrainingRows:
    """What one model was trained on, as far as it was looked at."""

    module: weakref.ref[nn.Module]
    known: set[int] = field(default_factory=set)
    batch: list[int] = field(default_factory=list)
    """Checksums of the last batch looked at."""
    late: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=LATE_BATCHES))
    """(rows, of these known before) of the last batches."""
    pairs: int = 0
    equal_pairs: int = 0
    shape: tuple[int, ...] = ()
    of_first: int = 0
    """Columns of the kept rows that belong to the first input."""
    waiting: Any = None
    """Places of the rows of the last batch that are new, and these rows of each input, until their targets are seen."""
    kept: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    count: int = 0
    classes: bool = False

    @property
    def familiar(self) -> float:
        """Share of the rows looked at late that were known."""
        rows = sum(rows for rows, _ in self.late)
        return sum(known for _, known in self.late) / rows if rows else math.nan

    def see(self, tensors: list[Tensor]) -> None:
        """One training batch."""
        self.shape = tuple(tensors[0].shape)
        self.batch = checksums(tensors)
        distinct = set(self.batch)
        self.pairs += len(self.batch) * (len(self.batch) - 1) // 2
        self.equal_pairs += len(self.batch) - len(distinct)
        before = self.known.intersection(distinct)
        self.late.append((len(distinct), len(before)))
        self.waiting = None
        if self.count < MOST_KEPT:
            new = [place for place, number in enumerate(self.batch) if number not in before][: MOST_KEPT - self.count]
            if new:
                rows = [rows_of(tensor, MOST_ROWS, FEATURES_KEPT // len(tensors)) for tensor in tensors]
                self.waiting = new, [each[new] for each in rows]
        if len(self.known) < MOST_KNOWN:
            self.known |= distinct

    def see_target(self, target: Tensor, classes: bool) -> None:
        """The targets of the batch just seen, when there is one for each row."""
        waiting, self.waiting = self.waiting, None
        if waiting is None or target.numel() != self.shape[0] or target.is_complex():
            return
        places, parts = waiting
        answers = as_array(target.detach().reshape(-1)[:MOST_ROWS].double().cpu())[places]
        rows = np.hstack([parts[0], *(part for part in parts[1:] if not _is(part, answers))])
        if self.kept and (self.kept[0].shape[1] != rows.shape[1] or self.classes != classes):
            return
        self.of_first = parts[0].shape[1]
        self.kept.append(rows)
        self.targets.append(answers)
        self.count += len(answers)
        self.classes = classes

    def fact(self, judged: bool) -> Samples:
        """The frozen form; with what simple models make of the rows when asked for."""
        told = Samples()
        if judged and self.kept:
            rows = np.vstack(self.kept)
            told = paired(rows, np.concatenate(self.targets), self.classes, self.of_first)
            pairs, near = nearly_equal(rows)
            told = replace(told, pairs=pairs, near_pairs=near)
        features = self.kept[0].shape[1] if self.kept else 0
        return replace(told, rows=len(self.known), familiar=self.familiar, features=features, shape=self.shape)


@dataclass(eq=False)
class PassRows:
    """The rows of one pass without gradients."""

    model: int
    step: int
    place: Spot | None
    sizes: list[int] = field(default_factory=list)
    numbers: list[list[int]] = field(default_factory=list)
    missed: bool = False
    few: list[Any] = field(default_factory=list)
    """Of the first forwards, some rows as training rows are kept, and their checksums."""

    def see(self, tensors: list[Tensor]) -> None:
        """One forward."""
        self.numbers.append(checksums(tensors))
        self.missed |= tensors[0].shape[0] > MOST_ROWS
        if len(self.numbers) <= EACH_PASS_UNTIL and len(tensors) == 1:
            rows = rows_of(tensors[0], MOST_COMPARED, FEATURES_KEPT)
            self.few.append((rows, self.numbers[-1][: len(rows)]))

    def fact(self, training: TrainingRows) -> HeldOut:
        """Beside the training rows known by now."""
        seen = {number for numbers in self.numbers for number in numbers}
        rows = sum(len(numbers) for numbers in self.numbers)
        hits = tuple(sum(number in training.known for number in numbers) for numbers in self.numbers)
        return HeldOut(
            model=self.model,
            step=self.step,
            site=site_of(self.place),
            rows=rows,
            whole=not self.missed,
            in_training=sum(hits),
            sizes=tuple(len(numbers) for numbers in self.numbers),
            hits=hits,
            training_rows=len(training.known),
            covered=len(training.known & seen) / len(training.known) if training.known else 0.0,
            familiar=training.familiar,
            pairs=rows * (rows - 1) // 2 + training.pairs,
            equal_pairs=rows - len(seen) + training.equal_pairs,
        )


class SampleBook:
    """All rows that were looked at."""

    def __init__(self) -> None:
        self.training: dict[int, TrainingRows] = {}
        self._step_of: dict[int, int] = {}
        self._last: TrainingRows | None = None
        self._forwards = 0
        self._passes: dict[Spot | None, PassRows | None] = {}
        """Of the pass under way, by the line that calls the model, since there may be several: one measures it, the
        next one asks it for what another model is to learn. None where its rows are not looked at."""
        self._visits: dict[tuple[int, Spot | None], int] = {}
        self._held_out: list[HeldOut] = []
        self._last_passes: dict[tuple[int, Spot | None], tuple[int, list[Any]]] = {}
        """Place in the list above of the last pass from each line, and some of its rows."""
        self._inputs: dict[tuple[int, Spot | None], InputEntry] = {}

    def see_training(self, step: int, model: int, module: nn.Module, tensors: list[Tensor]) -> None:
        """A training forward: the first one of a model in a step is looked at."""
        self.end_pass()
        if self._step_of.get(model) == step:
            self._last = None  # whose targets come next cannot be told
            return
        alone = step not in self._step_of.values()
        self._step_of[model] = step
        self._last = None
        if not tensors or tensors[0].dim() < 2:
            return
        rows = self.training.get(model)
        if rows is None or rows.module() is not module:
            rows = self.training[model] = TrainingRows(weakref.ref(module))
        rows.see(tensors)
        self._last = rows if alone else None

    def see_target(self, target: Tensor, classes: bool) -> None:
        """The targets of the forward just seen, when it was the only one of its step so far."""
        last, self._last = self._last, None
        if last is not None:
            last.see_target(target, classes)

    def wants_rows(self, model: int, step: int, place: Spot | None) -> bool:
        """Whether a forward from this line, in the pass under way, is looked at row by row."""
        if place not in self._passes:
            self._passes[place] = self._begun(model, step, place)
        return self._passes[place] is not None

    def _begun(self, model: int, step: int, place: Spot | None) -> PassRows | None:
        key = (model, place)
        if key not in self._visits and len(self._visits) >= MOST_PLACES:
            return None
        visit = self._visits[key] = self._visits.get(key, 0) + 1
        is_due = visit <= EACH_PASS_UNTIL or not visit & (visit - 1)
        return PassRows(model, step, place) if is_due and len(self._held_out) < MOST_PASSES else None

    def see_held_out(self, place: Spot | None, tensors: list[Tensor]) -> None:
        """A forward of the pass under way."""
        current = self._passes.get(place)
        if current is None:
            return
        if not tensors or tensors[0].dim() < 2 or len(current.numbers) >= FORWARDS_READ:
            current.missed = True
            return
        current.see(tensors)
        if len(current.numbers) <= EACH_PASS_UNTIL:
            self._inputs.setdefault((current.model, current.place), InputEntry(current.model)).see(tensors[0])

    def end_pass(self) -> None:
        """The pass is over: compare its rows with the training rows known by now, and forget them."""
        over, self._passes = self._passes, {}
        for ended in over.values():
            if ended is not None and ended.numbers and ended.model in self.training:
                self._held_out.append(ended.fact(self.training[ended.model]))
                self._last_passes[ended.model, ended.place] = len(self._held_out) - 1, ended.few

    def facts(self, models: int, judged: bool) -> tuple[Samples, ...]:
        """The frozen forms, one for each model."""
        return tuple(
            self.training[model].fact(judged) if model in self.training else Samples() for model in range(models)
        )

    def held_out(self, judged: bool = False) -> tuple[HeldOut, ...]:
        """The passes looked at; with what distances say of the last ones when asked for."""
        passes = list(self._held_out)
        for (model, _), (place, few) in self._last_passes.items() if judged else ():
            training = self.training.get(model)
            if training is None or not training.kept:
                continue
            known = np.vstack(training.kept)
            fitting = [(rows, numbers) for rows, numbers in few if rows.shape[1] == known.shape[1]]
            others = [
                row
                for rows, numbers in fitting
                for row, number in zip(rows, numbers, strict=True)
                if number not in training.known
            ]
            if others:
                said = lookalikes(known, np.stack(others))
                passes[place] = replace(
                    passes[place],
                    looked_at=said.compared,
                    lookalikes=said.near,
                    lookalikes_expected=said.expected,
                )
        return tuple(passes)

    def held_out_inputs(self) -> tuple[Inputs, ...]:
        """The scale of what was fed to models in passes without gradients."""
        return tuple(replace(entry.fact(""), site=site_of(place)) for (_, place), entry in self._inputs.items())
