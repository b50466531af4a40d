"""The listener: its ears hear what the taps report, and what is worth keeping is given out as a history.

Everything here runs inside the user's training loop. Ordinary steps take the shortest path through it; the
careful work is done only while the state is `attentive` or `looking`: at the first steps, at looks, and round
anomalies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from stethoscope.facts.training import PARTS, History
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.training.backwards import BackwardEar
from stethoscope.observe.training.budget import DEFAULT_BUDGET, Budget
from stethoscope.observe.training.forwards import ForwardEar
from stethoscope.observe.training.history import history_of
from stethoscope.observe.training.loss_calls import LossEar
from stethoscope.observe.training.state import Sink, State
from stethoscope.observe.training.steps import StepEar
from stethoscope.observe.training.verdicts import Verdicts


class Session:
    """Listens to everything that trains in this process.

    Args:
        budget: share of the training time that listening may take, 0..1.
        every: look at every N-th step instead, when above 0.
        parts: what to gather (`facts.training.PARTS`).
        only: listen to these models and no others; None for all that are called.
        max_steps: end the script, as `sys.exit(0)` would, after this many steps when above 0.
        max_seconds: end it likewise at the first step that ends later than this after the first one, when above 0.
        sink: where to send what is heard, about once a second; None keeps it in memory.
        verdict: called with the history so far, without its end, now and then; None for silence until the end.
        capture: copies a few steps, for experiments when the run has ended; None for no experiments.
    """

    def __init__(
        self,
        *,
        budget: float = DEFAULT_BUDGET,
        every: int = 0,
        parts: Iterable[str] = PARTS,
        only: Iterable[nn.Module] | None = None,
        max_steps: int = 0,
        max_seconds: float = 0.0,
        sink: Sink | None = None,
        verdict: Callable[[History], None] | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.state = State(Budget(budget, every), parts)
        self.state.sink = sink
        self.state.capture = capture
        self.forwards = ForwardEar(self.state, only)
        self.losses = LossEar(self.state)
        self.backwards = BackwardEar(self.state)
        self._verdict = verdict
        self.state.on_waking = self.forwards.wake
        self.steps = StepEar(self.state, self.forwards, self.losses, self.send, max_steps, max_seconds)
        if verdict is not None:
            self.steps.verdicts = Verdicts(self.state.guard("verdicts")(self._give_verdict))

    def history(self, *, finished: bool = True, ended_by: str = "") -> History:
        """Everything heard so far."""
        self.steps.settle()
        self.steps.finish_looks()
        return history_of(self.state, finished=finished, ended_by=ended_by)

    def send(self) -> None:
        """Give the sink everything that is new."""
        sink = self.state.sink
        if sink is None:
            return
        for curve in list(self.state.curves.values()):
            curve.settle()
            steps, values = curve.unsent()
            if steps.size:
                sink.points(curve.name, steps, values)
        self.steps.settle()
        self.steps.finish_looks()
        sink.facts(history_of(self.state, finished=False, with_curves=False))

    def _give_verdict(self) -> None:
        if self._verdict is not None:
            self.steps.settle()
            self.steps.finish_looks()
            self._verdict(history_of(self.state, finished=False, thorough=False))

    def end(self) -> None:
        """Listening ends: finish what is under way and put everything of torch's back."""
        self.state.table.stop()
        self.steps.settle()
        self.state.quiet = False
        self.steps.finish_looks()
        self.state.looker.disarm()
        self.forwards.fall_asleep()
        self.state.end_pass()
