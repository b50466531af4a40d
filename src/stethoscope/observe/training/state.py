"""What a session has heard, and the flags that every tap looks at first."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor, nn

from stethoscope.facts.flow import Dropped, Softmax
from stethoscope.facts.metrics import Measure
from stethoscope.facts.training import Birth, FitCall, Floats, History
from stethoscope.facts.workers import WorkerDraws
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.training.attention import AttentionBook
from stethoscope.observe.training.batches import BatchBook
from stethoscope.observe.training.budget import Budget
from stethoscope.observe.training.curves import GrowingCurve
from stethoscope.observe.training.graph import OperationTable
from stethoscope.observe.training.kept import KeptBook
from stethoscope.observe.training.looks import Looker
from stethoscope.observe.training.losses import LossBook
from stethoscope.observe.training.metrics import MetricEar
from stethoscope.observe.training.models import ModelBook, ModelEntry
from stethoscope.observe.training.overlaps import OverlapBook
from stethoscope.observe.training.pace import StepClock
from stethoscope.observe.training.protocol import CycleLog, OptimizerEntry
from stethoscope.observe.training.reach import ReachBook
from stethoscope.observe.training.row_numbers import RowNumbers
from stethoscope.observe.training.samples import SampleBook
from stethoscope.observe.training.schedules import ScheduleBook
from stethoscope.observe.training.sites import Spot
from stethoscope.observe.training.strays import StrayBook
from stethoscope.observe.training.streams import StreamBook
from stethoscope.observe.training.telemetry import LookLog
from stethoscope.observe.training.terms import Terms
from stethoscope.observe.training.tokens import TokenBook
from stethoscope.observe.training.validation import PassBook

FEWEST_IN_SEGMENT = 20
"""Shorter phases (an optimizer made for each step) are no segments."""
DISCOVERY_STEPS = 3
"""Steps during which every module call is watched, to learn which models there are."""


class Sink(Protocol):
    """Where a session sends what it hears; the store's writer is one."""

    def points(self, series: str, steps: Any, values: Any) -> None:
        """New points of a curve."""

    def look(self, step: int, layers: Floats, parameters: Floats) -> None:
        """The statistics of a look."""

    def facts(self, history: History) -> None:
        """Everything known so far."""


class State:
    """Shared by all ears of a session."""

    def __init__(self, budget: Budget, parts: Iterable[str]) -> None:
        self.parts = tuple(parts)
        self.off: set[str] = set()
        """Parts of the listening that failed and ended."""
        self.notices: list[str] = []
        self.blind: dict[str, str] = {}
        """What cannot be heard, and why."""
        self.sink: Sink | None = None
        self.book = ModelBook()
        self.budget = budget
        self.looker = Looker(self.book, self.parts, self.guard("looks"))
        self.losses = LossBook()
        self.batches = BatchBook()
        self.samples = SampleBook()
        self.tokens = TokenBook()
        self.passes = PassBook()
        self.metrics = MetricEar(self)
        self.measures: Callable[[], tuple[Measure, ...]] = tuple
        """What measures of libraries have been heard to do."""
        self.streams = StreamBook()
        self.row_numbers = RowNumbers()
        self.worker_draws: tuple[WorkerDraws, ...] = ()
        self.kept = KeptBook()
        self.cycles = CycleLog()
        self.reach = ReachBook(self.book)
        self.table = OperationTable()
        self.looks = LookLog()
        self.optimizers: list[OptimizerEntry] = []
        self.overlaps = OverlapBook(self.book)
        self.curves: dict[Any, GrowingCurve] = {}
        """By name; losses that are backpropagated by the number of the line that does so."""
        self.birth: Birth | None = None
        self.process_group = 0
        self.epoch_batches = -1
        """Of an epoch, as the first data loader says; -1 when it does not."""
        self.clock = StepClock()
        self.framework = "torch"
        self.trainer: str | None = None
        """Whose loop it is; None before the first backward pass."""
        self.hears_keras = False
        """Whether Keras is loaded, and tapped."""
        self.fits: list[FitCall] = []
        self.capture: Capture | None = None
        self.terms: Terms | None = None
        """Takes the first loss apart; None where that would cost the script time."""
        """Copies a few steps so that they can be replayed when the run has ended; None when nothing shall be proven."""
        self.compiled = False
        self.scaling = False
        """Whether a gradient scaler is at work: the loss that is backpropagated is not the loss itself."""
        self.steps = 0
        self.backward_calls = 0
        self.backward_sites: dict[Spot | None, int] = {}
        self.graphs_read: dict[tuple[Spot | None, int], int] = {}
        self.strays = StrayBook(self.book)
        self.softmaxes: list[Softmax] = []
        self.dropped: list[Dropped] = []
        self.attention = AttentionBook()
        self.clip: tuple[Spot | None, str, float] | None = None
        self.schedules = ScheduleBook()
        self.looking = budget.wants(0)
        """Whether layers and parameters are measured at this step."""
        self.attentive = True
        """Whether calls, gradients, losses and batches are watched in full at this step."""
        self.awake = True
        """Whether this step is attentive or looked at; every tap is silent otherwise."""
        self.quiet = False
        """Whether this is an ordinary step of an ordinary loop: one optimizer, one line that backpropagates, CPU.
        Taps then note a number and return: cold caches make every line of ours cost five times its price."""
        self.alarm_above = 0.0
        """A loss of this size, or one that is no number, ends the quiet."""
        self.wake_at = 0
        """The next step that will be looked at."""
        self.attend_until = 0
        """Steps below this one are attended to, whatever else is decided."""
        self.discovering = DISCOVERY_STEPS
        self.on_discovery: Callable[[bool], None] = lambda on: None
        self.on_hearing: Callable[[bool], None] = lambda on: None
        """Told when forward passes begin or cease to be heard."""
        self.on_attention: Callable[[bool], None] = lambda on: None
        """Told when steps begin or cease to be attended to."""
        self.on_waking: Callable[[], None] = lambda: None
        """Told when forward passes are to be heard from now on."""
        self.end_counting: Callable[[], None] = lambda: None
        """Settles what was only counted in the quiet; called before anything is counted one by one again."""
        self.active: nn.Module | None = None
        """The root module whose forward pass is under way, when that is attended to."""
        self.forward_models: list[tuple[ModelEntry, bool]] = []
        """Models (and whether in train mode) whose forward passes wait for a backward pass."""
        self.nodes: dict[int, int] = {}
        """Number of a graph node to the layer whose output it made, while models are being discovered."""
        self.hooked_saves = False
        """Whether saved tensors are packed by hooks (checkpointing): unpacking one would run the user's code."""
        self.segment = 0
        """Rises when a new main optimizer takes over from one that is gone: the next fold, the next phase."""
        self.main_curve: GrowingCurve | None = None
        """The loss of the line that backpropagates first, in this segment."""
        self.last_input: weakref.ref[Tensor] | None = None
        self.answer: tuple[Tensor, int] | None = None
        """What the last attentive forward pass returned, detached, and the number of the node that made it; until
        the backward pass."""
        self.own_seconds = 0.0
        """Time spent in our own code at this step."""

    def guard(self, part: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Wrap our own code: should it fail, that part of the listening ends, once, with a word about it."""

        def wrap(function: Callable[..., None]) -> Callable[..., None]:
            @functools.wraps(function)
            def careful(*args: Any, **kwargs: Any) -> None:
                if part in self.off:
                    return
                try:
                    function(*args, **kwargs)
                except Exception as error:  # whatever it is, training goes on
                    self.give_up(part, error)

            return careful

        return wrap

    def give_up(self, part: str, error: Exception) -> None:
        """End one part of the listening; the first time, say so."""
        self.off.add(part)
        notice = (
            f"listening to {part} stopped at step {self.steps} because of a fault in stethoscope "
            f"({type(error).__name__}: {error}); training goes on unchanged"
        )
        if not self.notices:
            print(f"stethoscope: {notice}", file=sys.stderr)
        self.notices.append(notice)
        self.looker.open = False
        self.quiet = False
        self.table.stop()
        if part == "looks":
            self.looker.disarm()
            self.looker.hears_inside = False

    def curve(self, name: str, kind: str, phase: str, place: Spot | None = None) -> GrowingCurve:
        """The curve of a name."""
        found = self.curves.get(name)
        if found is None:
            found = self.curves[name] = GrowingCurve(name, kind, phase, place)
        return found

    def end_discovery(self) -> None:
        """It is known well enough which models there are."""
        if self.discovering:
            self.discovering = 0
            self.on_discovery(False)

    def start_segment(self) -> None:
        """A new main optimizer took over: its losses are curves of their own."""
        if self.main_curve is not None and len(self.main_curve.values) >= FEWEST_IN_SEGMENT and self.segment < 50:
            self.segment += 1
            self.backward_sites.clear()
            self.main_curve = None

    def part(self, name: str) -> str:
        """The name of a curve in this segment."""
        return f"{name}, part {self.segment + 1}" if self.segment else name

    def take_in_tensors(self, entry: OptimizerEntry) -> None:
        """Note which parameters an optimizer holds; those of no model get a name of the optimizer's."""
        if entry.taken_in == self.book.version:
            return
        tensors = list(entry.tensors())
        if self.book.renew([tensor for tensor in tensors if self.book.parameter_of(tensor) is None]):
            self._look_at_what_is_new()
        for number, tensor in enumerate(tensors):
            known = self.book.parameter_of(tensor)
            if known is None:
                known = self.book.add_parameter(tensor, f"optimizer{entry.index}[{number}]")
            if known is not None:
                known.optimizer = entry.index
        entry.taken_in = self.book.version

    def _look_at_what_is_new(self) -> None:
        """In which order a model's new parts run, and what they do, is seen in the next steps."""
        self.looker.disarm()
        self.discovering = DISCOVERY_STEPS
        self.on_discovery(True)
        self.budget.anomaly()
        self.quiet = False
        self.wake_at = 0

    def follow_batches(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A wrapper round a data loader's `__next__`: which data set does a batch come from?"""
        guard = self.guard("data loaders")
        yielded, ended = guard(self.streams.yielded), guard(self.streams.ended)
        numbered = self.guard("numbers of rows")(self.row_numbers.yielded)

        @functools.wraps(original)
        def following(batches: Any) -> Any:
            try:
                batch = original(batches)
            except StopIteration:
                ended()
                raise
            yielded(batches._dataset)
            numbered(batches, batch)
            return batch

        return following

    def follow_numbers(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A wrapper round its `_next_index`: which rows will a batch be made of?"""
        return self.row_numbers.follow(original, self.guard("numbers of rows")(self.row_numbers.drawn))

    def attend(self, steps: int = 2) -> None:
        """Attend to this step, which has hardly begun, and to the next ones."""
        self.attend_until = max(self.attend_until, self.steps + steps)
        if not self.attentive:
            self.attentive = self.awake = True
            self.quiet = False
            self.on_attention(True)
            self.on_waking()

    def end_pass(self) -> None:
        """Training goes on after a pass that trained nothing: note what it showed."""
        self.samples.end_pass()
        ended = self.passes.end()
        if ended is None:
            return
        for undo in ended.undo:
            undo()
        if ended.forwards > 1 or ended.loss_calls:
            self.streams.validated(ended)
        if not ended.loss_counted or not ended.on_curve:
            return
        name = self.part("validation loss")
        self.curve(name, "loss", "validation").add(ended.step, ended.loss_sum / ended.loss_counted)
        if ended.judged:
            name = self.part("validation accuracy")
            self.curve(name, "accuracy", "validation").add(ended.step, ended.right / ended.judged)
