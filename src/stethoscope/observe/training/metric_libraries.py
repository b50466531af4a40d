"""The ear for measures of libraries: torchmetrics that is never reset, and scikit-learn given its two sides swapped."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from stethoscope.facts.metrics import Measure
from stethoscope.observe.arrival import Arrival
from stethoscope.observe.training.metrics import answers_of
from stethoscope.observe.training.sites import Spot, is_users, site_of, spot

if TYPE_CHECKING:
    from stethoscope.observe.training.state import State
    from stethoscope.observe.training.taps import Taps

MOST_LINES = 16
MOST_METRICS = 64
FEWEST_ANSWERS = 8
"""Fewer could be equal to something else by chance."""
LAST_OF_TORCHMETRICS = "torchmetrics.wrappers"
"""torchmetrics imports torch itself: only when this part is there, the rest of it is."""
ASYMMETRIC = {
    "r2_score", "explained_variance_score", "mean_absolute_percentage_error", "mean_pinball_loss", "precision_score",
    "recall_score", "balanced_accuracy_score", "classification_report",
}  # fmt: skip
"""Functions of scikit-learn that give something else when their two sides are swapped."""
MEANT_TO_GROW = ("MaxMetric", "MinMetric", "SumMetric", "CatMetric", "Running")
"""Metrics that look back over everything on purpose."""
CLOSE = 1e-6


@dataclass(eq=False)
class MeasureEntry:
    """A measure at one line; becomes a `facts.metrics.Measure`."""

    kind: str
    name: str
    place: Spot | None
    first_step: int
    last_step: int = 0
    times: int = 0
    rows: int = 0
    told: float = math.nan
    meant: float = math.nan
    passes: list[tuple[int, int]] = field(default_factory=list)

    def fact(self) -> Measure:
        """The frozen form."""
        return Measure(
            self.kind, self.name, site_of(self.place), self.times, self.rows, self.first_step, self.last_step,
            self.told, self.meant, tuple(self.passes[-3:]),
        )  # fmt: skip


class LibraryEar:
    """Hears measures of torchmetrics and scikit-learn while forward passes are heard."""

    def __init__(self, state: State, taps: Taps) -> None:
        self._state = state
        self._taps = taps
        self._entries: dict[tuple[str, Spot | None, int], MeasureEntry] = {}
        self._known: list[weakref.ref[Any]] = []
        """Metrics by number: their hash is that of what they hold."""
        self._arrivals = (
            Arrival(LAST_OF_TORCHMETRICS, self._torchmetrics_arrived),
            Arrival("sklearn.metrics", self._sklearn_arrived),
        )

    def wait(self) -> None:
        """Begin to wait for the libraries."""
        for arrival in self._arrivals:
            arrival.wait()

    def forget(self) -> None:
        """Stop waiting for them."""
        for arrival in self._arrivals:
            arrival.forget()

    def _torchmetrics_arrived(self) -> None:
        metric = getattr(sys.modules.get("torchmetrics.metric"), "Metric", None)
        if metric is not None and hasattr(metric, "sync_context"):
            self._taps.replace(metric, "sync_context", self._taps.after("metrics", self.computed, loop=True))

    def _sklearn_arrived(self) -> None:
        # Scripts bind the functions themselves before torch is there; these are looked up at each call.
        for module, name in (("_regression", "_check_reg_targets"), ("_classification", "_check_targets")):
            owner = sys.modules.get(f"sklearn.metrics.{module}")
            if owner is not None and hasattr(owner, name):
                self._taps.replace(owner, name, self._taps.after("metrics", self.checked, loop=True))

    def computed(self, args: Any, kwargs: Any, result: Any) -> None:
        """`compute()` of torchmetrics is about to read what the metric has gathered."""
        current, metric = self._state.passes.current, args[0]
        if current is None or kwargs.get("should_sync") is False or not current.forwards:
            return  # in training, or for one batch inside of `forward`
        kind = type(metric).__name__
        number = next((i for i, known in enumerate(self._known) if known() is metric), len(self._known))
        if kind.startswith(MEANT_TO_GROW) or number >= MOST_METRICS:
            return
        if number == len(self._known):
            self._known.append(weakref.ref(metric))
        entry = self._entry("not reset", kind, spot(3), number)
        updates = int(metric._update_count)
        if entry is None or (entry.passes and entry.last_step == self._state.steps):
            return
        before = entry.passes[-1][1] if entry.passes else 0
        if updates != before + current.forwards:  # reset in between, or not once for each forward pass
            entry.passes.clear()
            before = 0
        if updates == before + current.forwards:
            entry.passes.append((current.forwards, updates))
        entry.times = len(entry.passes)
        entry.rows = current.samples
        entry.last_step = self._state.steps

    def checked(self, args: Any, kwargs: Any, result: Any) -> None:
        """A function of scikit-learn checks its two sides."""
        answer = self._state.metrics.answer
        if answer is None or len(args) < 2:
            return
        first, second = (_flat(side) for side in args[:2])
        if first is None or second is None or first.size != second.size or first.size < FEWEST_ANSWERS:
            return
        name = _asked_for(sys._getframe(2))
        if not name:
            return
        for said in _said(answer):
            rows = said.size
            if FEWEST_ANSWERS <= rows <= first.size and _same(first[-rows:], said) and not _same(second[-rows:], said):
                entry = self._entry("swapped", name, spot(3), -1)
                # Some functions check their sides more than once.
                if entry is not None and (not entry.times or entry.last_step != self._state.steps):
                    entry.times += 1
                    entry.rows += first.size
                    entry.last_step = self._state.steps
                    if name == "r2_score":
                        entry.told, entry.meant = _share_explained(first, second), _share_explained(second, first)
                return

    def _entry(self, kind: str, name: str, place: Spot | None, number: int) -> MeasureEntry | None:
        known = self._entries.get((kind, place, number))
        if known is None and len(self._entries) < MOST_LINES:
            known = self._entries[kind, place, number] = MeasureEntry(kind, name, place, self._state.steps)
        return known

    def facts(self) -> tuple[Measure, ...]:
        """The frozen forms; a metric that holds one pass only was reset, as it should be."""
        entries = self._entries.values()
        return tuple(entry.fact() for entry in entries if entry.times > (entry.kind == "not reset"))


def _asked_for(frame: FrameType | None) -> str:
    """The function that the user called, when its two sides must not be swapped."""
    name = ""
    while frame is not None and not is_users(frame.f_code):
        name = frame.f_code.co_name if frame.f_code.co_name.endswith(("_score", "_report", "_error", "_loss")) else name
        frame = frame.f_back
    return name if frame is not None and name in ASYMMETRIC else ""


def _flat(side: Any) -> np.ndarray | None:
    """Numbers in a row, where they can be read without computing anything."""
    if isinstance(side, Tensor):
        side = side.detach().cpu().numpy() if not side.requires_grad else None
    if not isinstance(side, np.ndarray | list | tuple):
        return None
    try:
        flat = np.asarray(side, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return flat if flat.size else None


def _said(answer: Tensor) -> Iterator[np.ndarray]:
    """What a model may be taken to say by its last answer: its numbers, or the classes that they stand for."""
    if answer.numel() == answer.shape[0]:
        yield answer.double().cpu().numpy().reshape(-1)
    for said in answers_of(answer):
        yield said.double().cpu().numpy().reshape(-1)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, rtol=CLOSE, atol=CLOSE) and np.ptp(other) > 0)


def _share_explained(truth: np.ndarray, said: np.ndarray) -> float:
    spread = float(np.square(truth - truth.mean()).sum())
    return 1 - float(np.square(truth - said).sum()) / spread if spread else math.nan
