"""Facts about what is fed to the model: scale, features, identity, and the order of the labels."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, strided

from stethoscope.facts.training import Batches, Inputs
from stethoscope.observe.training.sampling import sampled, sampled_rows

MOST_BATCHES = 2000
MOST_FEATURES = 4096
MOST_CLASSES = 100
VALUES_FOR_FINGERPRINT = 256
BY_ITSELF = 1e-3
"""A batch whose features have mean 0 and spread 1 up to this was standardized by itself."""
FEWEST_STANDARDIZED = 4
MOST_MEASURED = 1 << 20
"""Values of a batch that are read in full to tell, once a sample of them says that it may be so."""
MOST_REFUTED = 4
"""After so many batches that were not, the rest are taken for others like them."""
STEPS_IN_CHECKSUM = 50
"""Steps that are attended to in every run, whatever the clock says: only they can be compared between runs."""


def fingerprint(tensor: Tensor) -> int:
    """A checksum of shape and sampled values: equal batches have equal ones."""
    values = sampled(tensor, VALUES_FOR_FINGERPRINT)
    return zlib.crc32(np.ascontiguousarray(values).tobytes(), hash(tuple(tensor.shape)) & 0xFFFFFFFF)


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first non-empty tensor among a forward's arguments, nested ones included."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            if value.numel() and value.layout is strided and not value.is_meta:
                return value
        elif isinstance(value, tuple | list) and value:
            if (found := first_input(tuple(value[:4]), {})) is not None:
                return found
        elif isinstance(value, dict) and (found := first_input((), value)) is not None:
            return found
    return None


def shares_memory(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether a tensor is the other one, or a view of it."""
    if one is None or other is None or one.dtype != other.dtype:
        return False
    try:
        return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # inside of vmap and the like tensors have no memory of their own
        return False


def is_standardized(tensor: Tensor) -> bool:
    """Whether a batch has mean 0 and spread 1 by itself: in each feature of two axes, or over all its values."""
    rows = tensor.shape[0]
    if rows < FEWEST_STANDARDIZED or tensor.numel() > MOST_MEASURED:
        return False
    values = tensor.detach().double()
    if tensor.dim() > 2 or tensor.shape[1] < 2:
        values = values.reshape(-1, 1)
    means, spreads = values.mean(dim=0), values.std(dim=0, unbiased=False)
    corrected = spreads * (values.shape[0] / (values.shape[0] - 1)) ** 0.5
    constant = spreads < BY_ITSELF
    unit = ((spreads - 1).abs() < BY_ITSELF) | ((corrected - 1).abs() < BY_ITSELF) | constant
    return bool(unit.all() and (means.abs() < BY_ITSELF).all() and not constant.all())


def _classes_of_rows(target: Tensor) -> Any:
    """The class of each row of a one-hot target; None for any other target."""
    if target.dim() != 2 or not 1 < target.shape[1] <= MOST_CLASSES:
        return None
    rows = target.detach()[:4096].float().cpu().numpy()
    is_one_hot = ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()
    return rows.argmax(axis=1) if is_one_hot else None


@dataclass(eq=False)
class InputEntry:
    """What was fed to one model; becomes a `facts.training.Inputs`. Feature moments are merged over the looks."""

    model: int
    shape: tuple[int, ...] = ()
    dtype: str = ""
    looks: int = 0
    rows: int = 0
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    smallest: float = math.nan
    largest: float = math.nan
    nonfinite: int = 0
    feature_sums: Any = field(default_factory=lambda: np.zeros(0))
    feature_squares: Any = field(default_factory=lambda: np.zeros(0))
    standardized: int = 0

    def see(self, tensor: Tensor) -> None:
        """Look at one batch."""
        self.looks += 1
        self.shape, self.dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        if tensor.is_complex():
            return
        values = sampled(tensor, 1024).astype(np.float64)
        finite = values[np.isfinite(values)]
        self.nonfinite += values.size - finite.size
        self.count += finite.size
        if not finite.size:
            return
        self.total += float(finite.sum())
        self.squares += float((finite * finite).sum())
        self.smallest = float(np.fmin(self.smallest, finite.min()))
        self.largest = float(np.fmax(self.largest, finite.max()))
        if tensor.is_floating_point() and tensor.dim() >= 2:
            self._see_features(tensor)
            if self.looks - self.standardized <= MOST_REFUTED and abs(values.mean()) < 0.3 > abs(values.std() - 1):
                self.standardized += is_standardized(tensor)

    def _see_features(self, tensor: Tensor) -> None:
        axis = -1 if tensor.dim() <= 3 else 1
        if tensor.shape[axis] > MOST_FEATURES:
            return
        rows = sampled_rows(tensor, 8192).astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if self.feature_sums.size != rows.shape[1]:
            self.feature_sums, self.feature_squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
            self.rows = 0
        self.feature_sums += rows.sum(axis=0)
        self.feature_squares += (rows * rows).sum(axis=0)
        self.rows += rows.shape[0]

    def fact(self, first_layer: str) -> Inputs:
        """The frozen form."""
        mean = self.total / self.count if self.count else math.nan
        variance = max(0.0, self.squares / self.count - mean * mean) if self.count else math.nan
        means = self.feature_sums / self.rows if self.rows else np.zeros(0)
        stds = np.sqrt(np.maximum(self.feature_squares / self.rows - means**2, 0)) if self.rows else np.zeros(0)
        seen = self.count + self.nonfinite
        return Inputs(
            self.model, self.shape, self.dtype, self.looks, self.rows, mean, math.sqrt(variance), self.smallest,
            self.largest, self.nonfinite / seen if seen else 0.0, means, stds, first_layer, self.standardized,
        )  # fmt: skip


@dataclass(frozen=True)
class BatchLook:
    """One batch of the training stream."""

    step: int
    size: int
    print: int
    class_counts: Any
    label_changes: int
    target_mean: float
    target_variance: float
    samples: int


class BatchBook:
    """The training batches looked at, in order; every second one is dropped when there are too many."""

    def __init__(self) -> None:
        self.inputs: dict[int, InputEntry] = {}
        self.beside: dict[int, InputEntry] = {}
        """Tables of numbers that follow a first argument of integers, as category indices are."""
        self._looks: list[BatchLook] = []
        self._step_of: dict[int, int] = {}
        self._fingerprint = 0
        self._rows = 0
        self.checksum = 0

    def see_input(self, step: int, model: int, tensor: Tensor) -> None:
        """The first forward pass of a model in a step; later ones are passed over."""
        if self._step_of.get(model) == step:
            return
        self.inputs.setdefault(model, InputEntry(model)).see(tensor)
        if step not in self._step_of.values():
            self._fingerprint = fingerprint(tensor)
            self._rows = int(tensor.shape[0]) if tensor.dim() > 1 else 0
            if step < STEPS_IN_CHECKSUM:
                self.checksum = zlib.crc32(self._fingerprint.to_bytes(4, "little"), self.checksum)
        self._step_of[model] = step

    def see_beside(self, model: int, first: Tensor, tensors: list[Tensor]) -> None:
        """All inputs of a forward pass whose first one was seen."""
        if first.is_floating_point() or not first.dim():
            return
        for tensor in tensors:
            is_table = tensor.dim() == 2 and tensor.is_floating_point() and tensor.shape[1] > 1
            # Two values only are a mask.
            if is_table and len(tensor) == len(first) and np.unique(sampled(tensor, 256)).size > 2:
                self.beside.setdefault(model, InputEntry(model)).see(tensor)
                return

    def see_target(self, step: int, target: Tensor, num_classes: int) -> None:
        """The targets of that step; `num_classes` is 0 for targets that are no class indices (but one-hot rows)."""
        if self._looks and self._looks[-1].step == step:
            return
        flat = target.detach().reshape(-1)
        counts, changes, mean, variance = np.zeros(0, np.int64), 0, math.nan, math.nan
        if (of_rows := _classes_of_rows(target)) is not None:
            labels, num_classes = of_rows, target.shape[1]
        elif 1 < num_classes <= MOST_CLASSES and not flat.is_floating_point():
            labels = flat[:4096].cpu().numpy()
            labels = labels[(labels >= 0) & (labels < num_classes)]
        else:
            labels = None
        if labels is not None:
            counts = np.bincount(labels, minlength=num_classes)
            changes = int(np.count_nonzero(np.diff(labels)))
        else:
            values = sampled(target, 1024).astype(np.float64)
            mean, variance = float(values.mean()), float(values.var())
        size = int(target.shape[0]) if target.dim() else 1
        samples = self._rows if 0 < self._rows < size and size % self._rows == 0 else size
        self._looks.append(BatchLook(step, size, self._fingerprint, counts, changes, mean, variance, samples))
        if len(self._looks) > MOST_BATCHES:
            del self._looks[MOST_BATCHES // 2 :: 2]

    def facts(self) -> Batches:
        """The frozen form; class counts are given when all batches have the same classes."""
        looks = self._looks
        sizes = {look.class_counts.size for look in looks}
        same = len(sizes) == 1 and sizes != {0}
        return Batches(
            np.array([look.step for look in looks], np.int64),
            np.array([look.size for look in looks], np.int64),
            np.array([look.print for look in looks], np.int64),
            np.stack([look.class_counts for look in looks]) if same else np.zeros((0, 0), np.int64),
            np.array([look.label_changes for look in looks], np.int64),
            np.array([look.target_mean for look in looks]),
            np.array([look.target_variance for look in looks]),
            np.array([look.samples for look in looks], np.int64),
        )
