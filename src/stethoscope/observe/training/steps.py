"""The ear for optimizers: steps, looks, and the decision about the next one."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, distributed

from stethoscope.observe.training.budget import LAST_OPENING_STEP, WATCHED_STEPS
from stethoscope.observe.training.forwards import ForwardEar
from stethoscope.observe.training.loss_calls import LossEar
from stethoscope.observe.training.protocol import AnyOptimizer, OptimizerEntry
from stethoscope.observe.training.reduction import gradient_norm
from stethoscope.observe.training.sites import Spot, spot
from stethoscope.observe.training.state import DISCOVERY_STEPS, State
from stethoscope.observe.training.verdicts import Verdicts

DENSE_LOOKS_PER_FULL = 48
"""When looks are so dense that the budget is no concern (`every`), one in 48 attends to calls, losses, batches and
units as well: that costs three times a look, and is done for the first 50 steps anyway."""
MOST_OPTIMIZERS = 64
SNAPSHOT_SECONDS = 0.9
"""The store is given the facts so far about once a second: a killed run is readable up to then."""

_clock = time.perf_counter


class EnoughSteps(SystemExit):
    """As many steps were taken as were asked for: the script ends as by `sys.exit(0)`."""


class StepEar:
    """Hears optimizers being made and stepping.

    Args:
        state: what the session shares.
        forwards: put to sleep when nothing more is to be heard.
        losses: told when a step is complete.
        send: called about once a second, between steps.
        max_steps: ends the script, as `sys.exit(0)` would, after this many steps when above 0.
        max_seconds: ends it likewise at the first step that ends later than this after the first one, when above 0.
    """

    def __init__(
        self,
        state: State,
        forwards: ForwardEar,
        losses: LossEar,
        send: Callable[[], None],
        max_steps: int,
        max_seconds: float = 0.0,
    ) -> None:
        self.state = state
        self._forwards = forwards
        self._losses = losses
        self._send = send
        self._max_steps = max_steps
        self._max_seconds = max_seconds
        self._first_ended = 0.0
        self.verdicts: Verdicts | None = None
        self._in_closure = False
        self._main: OptimizerEntry | None = None
        self._stepped_since_main: set[int] = set()
        self._entry_of: weakref.WeakKeyDictionary[AnyOptimizer, OptimizerEntry] = weakref.WeakKeyDictionary()
        self._looked_optimizers: set[int] = set()
        self._arriving = False
        """Whether the values of the last look are on their way from an accelerator."""
        self._looks_since_attentive = 0
        self._last_rate = float("nan")
        self._only_optimizer = 0
        """Identity of the optimizer while there is but one."""
        self._ordinary_steps: list[float] = []
        self._settled_at = -1
        """In the quiet: the steps of the run up to which the main optimizer's are counted; -1 otherwise."""
        self._settled_points = -1
        """In the quiet: the points of the main curve up to which backward passes are counted; -1 otherwise."""
        state.end_counting = self._end_counting
        self._step_ended = state.guard("the optimizer")(self.step_ended)
        self._leave_quiet = state.guard("the optimizer")(self._between_quiet_steps)
        self._step_began = _clock()
        self._snapshot_due = self._step_began + SNAPSHOT_SECONDS

    def optimizer_made(self, optimizer: AnyOptimizer, place: Spot | None) -> OptimizerEntry:
        """Take in an optimizer."""
        known = self._entry_of.get(optimizer)
        if known is not None:
            return known
        self._end_counting()
        self.state.quiet = False
        again = next((e for e in self.state.optimizers if e.optimizer() is None and e.made_at == place), None)
        if again is None and len(self.state.optimizers) >= MOST_OPTIMIZERS:
            again = self.state.optimizers[-1]
        if again is not None:  # the next fold, or an inner loop that makes one for each step
            again.renew(optimizer)
            self._entry_of[optimizer] = again
            self._only_optimizer = id(optimizer) if len(self.state.optimizers) == 1 else 0
            if again is self._main:
                self.state.start_segment()
            return again
        kind = getattr(optimizer, "kind", type(optimizer).__name__)
        entry = OptimizerEntry(weakref.ref(optimizer), len(self.state.optimizers), kind, place)
        self.state.optimizers.append(entry)
        self._only_optimizer = id(optimizer) if len(self.state.optimizers) == 1 else 0
        self._entry_of[optimizer] = entry
        entry.renew(optimizer)
        self.state.discovering = max(self.state.discovering, DISCOVERY_STEPS)
        self.state.on_discovery(True)
        return entry

    def choose_waiting_probes(self) -> None:
        """A model is called whose parameters all exist now: those that were lazy can be looked at from here on."""
        for entry in self.state.optimizers:
            if entry.waits:
                entry.choose_probes()

    def gradients_cleared(self, owner: Any) -> None:
        """`zero_grad()` was called on an optimizer or a module."""
        place = spot(3)
        self.state.cycles.note("zero_grad", place)
        for optimizer in self.state.optimizers:
            if optimizer.clear_from is None or optimizer.optimizer() is owner:
                optimizer.clear_from = place

    def gradients_clipped(self, kind: str, limit: Any, norm: Any) -> None:
        """Gradients were clipped by norm or by value."""
        if self.state.clip is None or self.state.attentive:
            place = spot(3)
            self.state.clip = (place, kind, float(limit))
            if self.state.attentive:
                self.state.cycles.note("clip", place, f"{kind} {float(limit):g}")
                if self.state.capture is not None:
                    self.state.capture.clipped(kind, float(limit))
        if isinstance(norm, Tensor):
            curve = self.state.curve("clip norm", "clip norm", "training")
            if norm.device.type == "cpu":
                curve.add(self.state.steps, norm.item())
            else:
                curve.add_later(self.state.steps, norm.detach())

    def scheduler_stepped(self, scheduler: Any) -> None:
        """A learning-rate schedule moved on."""
        is_new = self.state.schedules.stepped(scheduler, self.state.steps)
        if is_new or self.state.attentive:
            place = spot(3)
            self.state.schedules.called_from(scheduler, place)
            self.state.cycles.note("scheduler", place, type(scheduler).__name__)

    def step_begins(self, optimizer: AnyOptimizer, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step, at a step that is attended to or looked at."""
        began = _clock()
        entry = self._entry_of.get(optimizer) or self.optimizer_made(optimizer, None)
        self._in_closure = _has_closure(args, kwargs)
        if self.state.attentive:
            self.state.table.stop()
            if entry.step_from is None:
                entry.step_from = spot(3)
            if len(self.state.optimizers) > 1:
                self.state.overlaps.step_begins(entry, self.state.optimizers)
            if not self._in_closure:
                entry.step_begins()
            if self.state.capture is not None:
                self.state.capture.step_begins(entry, self._in_closure, self.state.optimizers)
        if self.state.looking and entry.index not in self._looked_optimizers and "looks" not in self.state.off:
            self.state.take_in_tensors(entry)
            try:
                self.state.looker.before_step(entry.tensors(), with_gradients=not self._in_closure)
            except Exception as error:  # see guard()
                self.state.give_up("looks", error)
        self.state.own_seconds += _clock() - began

    def after_step(self, optimizer: AnyOptimizer, args: Any, kwargs: Any) -> None:
        """The hook behind every step of every optimizer; in the quiet it counts, and reads the clock."""
        state = self.state
        if not state.quiet or id(optimizer) != self._only_optimizer:
            self._end_counting()
            self._step_ended(optimizer)
            return
        now = _clock()
        self._ordinary_steps.append(now - self._step_began)
        state.steps += 1
        if state.steps >= state.wake_at or now > self._snapshot_due:
            self._leave_quiet(now)
        else:
            self._step_began = now

    def settle(self) -> None:
        """Count the steps of the main optimizer that were only counted as steps of the run."""
        state = self.state
        if self._main is not None and self._settled_at >= 0:
            self._main.steps += state.steps - self._settled_at
            self._settled_at = state.steps
        if state.main_curve is not None and self._settled_points >= 0:
            state.backward_calls += len(state.main_curve.values) - self._settled_points
            self._settled_points = len(state.main_curve.values)

    def _end_counting(self) -> None:
        """The quiet is over: from here on steps and backward passes are counted one by one."""
        self.settle()
        self._settled_at = self._settled_points = -1

    def _between_quiet_steps(self, now: float) -> None:
        optimizer = None if self._main is None else self._main.optimizer()
        if optimizer is not None:
            self._read_rate(optimizer)
        self._between_steps(now)
        self._step_began = _clock()

    def _is_ordinary(self) -> bool:
        """One optimizer, one line that backpropagates, no scaler, and a loss whose value is at hand."""
        state = self.state
        curve = state.main_curve
        return (
            len(state.optimizers) == 1
            and self._main is not None
            and len(state.backward_sites) == 1
            and not state.scaling
            and curve is not None
            and not curve.is_remote
            and not state.off
        )

    def step_ended(self, optimizer: AnyOptimizer) -> None:
        """An optimizer has stepped."""
        entry = self._entry_of.get(optimizer) or self.optimizer_made(optimizer, None)
        entry.steps += 1
        entry.backwards_since_step = 0
        if self.state.awake:
            self._awake_step_ended(entry)
        elif entry.after_step is not None:
            entry.step_ended(False)
        # The main optimizer is the first one to step, until another one steps twice while it does not.
        main = self._main
        if entry is main or main is None or main.optimizer() is None or entry.index in self._stepped_since_main:
            if main is not None and entry is not main and entry.steps <= 2:
                self.state.start_segment()
            self._main = entry
            self._stepped_since_main.clear()
            self._main_stepped(optimizer)
        else:
            self._stepped_since_main.add(entry.index)

    def _awake_step_ended(self, entry: OptimizerEntry) -> None:
        began = _clock()
        if self.state.looking and entry.index not in self._looked_optimizers and "looks" not in self.state.off:
            self._looked_optimizers.add(entry.index)
            try:
                self.state.looker.after_step(entry.tensors(), with_gradients=self._in_closure)
            except Exception as error:  # see guard()
                self.state.give_up("looks", error)
        if self._in_closure and self.state.attentive:
            entry.step_begins()  # only now are the gradients there that it used
        self._in_closure = False
        if self.state.attentive:
            self.state.cycles.note("step", entry.step_from, entry.kind)
            self.state.overlaps.step_ended(entry)
            entry.step_ended(True)
        elif entry.after_step is not None:
            entry.step_ended(False)
        self.state.own_seconds += _clock() - began

    def step_skipped(self, optimizer: AnyOptimizer) -> None:
        """A gradient scaler found an overflow and left the step out."""
        entry = self._entry_of.get(optimizer)
        if entry is not None:
            entry.skipped += 1
            entry.backwards_since_step = 0

    def _main_stepped(self, optimizer: AnyOptimizer) -> None:
        """One step of the run is complete."""
        now = _clock()
        step = self.state.steps
        self.state.steps = step + 1
        self._read_rate(optimizer)
        if self.state.passes.current is not None:
            self.state.end_pass()
        if self._arriving:
            self._arriving = False
            self.finish_looks()
        if self.state.awake:
            self.state.clock.step_ended(step, self._step_began, now)
            self._close_awake_step(step, now)
        else:
            self._ordinary_steps.append(now - self._step_began)
        self.state.own_seconds = 0.0
        self._between_steps(now)
        self._step_began = _clock()

    def _read_rate(self, optimizer: AnyOptimizer) -> None:
        rate = optimizer.param_groups[0].get("lr")
        if rate is not None and float(rate) != self._last_rate:
            self._last_rate = float(rate)
            step = max(0, self.state.steps - 1)
            self.state.curve("learning rate", "learning rate", "training").add(step, self._last_rate)

    def _between_steps(self, now: float) -> None:
        """Decide about the coming step: is it looked at, and attended to in full?"""
        self._end_counting()
        self.state.budget.ordinary_steps(self._ordinary_steps)
        self._ordinary_steps.clear()
        looking = self.state.looking = self.state.budget.wants(self.state.steps)
        was_attentive = self.state.attentive
        opening = self.state.steps < WATCHED_STEPS
        if looking and not opening:
            self._looks_since_attentive += 1
            full = not self.state.budget.is_dense or self._looks_since_attentive >= DENSE_LOOKS_PER_FULL
            self.state.looker.count_units(full)
            if full:
                self._looks_since_attentive = 0
            self.state.attentive = full
        else:
            self.state.attentive = opening or self.state.steps < self.state.attend_until
        if self.state.attentive != was_attentive:
            self.state.on_attention(self.state.attentive)
        self.state.awake = self.state.attentive or looking
        if self.state.awake:
            self._forwards.wake()
        else:
            self._forwards.fall_asleep()
        self.state.quiet = not self.state.awake and self._is_ordinary()
        if self.state.quiet and self.state.main_curve is not None:
            self._settled_at = self.state.steps
            self._settled_points = len(self.state.main_curve.values)
        self.state.wake_at = self.state.budget.next_look(self.state.steps)
        if self._max_steps:
            self.state.wake_at = min(self.state.wake_at, self._max_steps)
        if self.verdicts is not None:
            if self.state.steps >= self.verdicts.due_at:
                opening = self.verdicts.is_opening(self.state.steps)
                self.state.budget.spent(self.verdicts.give(self.state.steps), opening=opening)
            self.state.wake_at = min(self.state.wake_at, self.verdicts.due_at)
        self._copy_weights()
        if now > self._snapshot_due:
            self._snapshot_due = now + SNAPSHOT_SECONDS
            began = _clock()
            self._send()
            self.state.budget.spent(_clock() - began)
        if self._max_steps and self.state.steps >= self._max_steps:
            raise EnoughSteps(0)
        if self._max_seconds:
            self._first_ended = self._first_ended or now
            if now - self._first_ended > self._max_seconds:
                raise EnoughSteps(0)

    def _copy_weights(self) -> None:
        """Now and then, so that it is known later how single rows were learned."""
        state = self.state
        snapshots = state.capture.snapshots if state.capture is not None else None
        if snapshots is None:
            return
        if state.steps >= snapshots.due:
            entry = state.capture.model if state.capture is not None else None
            seconds = snapshots.take(state.steps, None if entry is None else entry.module())
            state.budget.spent(seconds, opening=state.steps < LAST_OPENING_STEP)
        state.wake_at = min(state.wake_at, math.ceil(snapshots.due)) if snapshots.due < math.inf else state.wake_at

    def _close_awake_step(self, step: int, now: float) -> None:
        began = _clock()
        if self.state.attentive:
            self.state.cycles.close()
            self.state.streams.close_step(step)
            if distributed.is_available() and distributed.is_initialized():
                self.state.process_group = distributed.get_world_size()
            self.state.reach.start_over()
            self._losses.close_step()
            if step >= WATCHED_STEPS and not self.state.looking:
                self.state.budget.spent(self.state.own_seconds)
            if self.state.capture is not None:
                self.state.capture.step_ended()
        if self.state.discovering:
            self.state.discovering -= 1
            if not self.state.discovering:
                self.state.on_discovery(False)
        if self.state.looking:
            self._looked_optimizers.clear()
            if "looks" not in self.state.off:
                self._close_look(step)
            spent = _clock() - began
            own = self.state.own_seconds + self.state.looker.seconds + spent
            self.state.looker.seconds = 0.0
            self.state.budget.looked_step(step, now - self._step_began + spent, own)
            # Only now is it known when the next look is.
            if not self.state.budget.wants(self.state.steps):
                self.state.looker.disarm()

    def _close_look(self, step: int) -> None:
        self.state.looker.send()
        due = self.state.looker.close(step)
        if self._is_remote():
            self._arriving = True
        elif due or not self.state.budget.is_dense:
            self.finish_looks()

    def _is_remote(self) -> bool:
        """Whether the main model is on an accelerator: its values are read one step later."""
        main = self._main
        return main is not None and any(t.device.type != "cpu" for t in main.tensors()[:1])

    def finish_looks(self) -> None:
        """Reduce the looks that wait, and hand them on."""
        try:
            looks = self.state.looker.results()
        except Exception as error:  # see guard()
            self.state.give_up("looks", error)
            return
        for look in looks:
            self.state.looks.add(look.step, look.layers, look.parameters)
            norm = gradient_norm(look, self.state.book.parameters)
            self.state.curve("gradient norm", "norm", "training").add(look.step, norm)
            if self.state.sink is not None:
                self.state.sink.look(look.step, look.layers, look.parameters)


def _has_closure(args: Any, kwargs: Any) -> bool:
    return (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
