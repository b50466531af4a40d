"""Captures a few training steps while a run goes on, so that they can be taken again on copies when it has ended.

The model and its optimizer are copied once, before the first step; of the batches a few dozen are kept at most, spread
over the run, as copies. Nothing of the user's is held beyond the step that it belongs to, and a step is only captured
when it is attended to anyway. Whatever cannot be captured ends the capturing, never the listening.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethoscope.core.text import byte_size
from stethoscope.observe.model.copies import copy_of, keras_copy_of
from stethoscope.observe.model.free_memory import free_memory
from stethoscope.observe.model.ingredients import (
    KERAS_LOSS,
    OWN_LOSS,
    CannotCapture,
    Leaves,
    Pass,
    Step,
    View,
    copied,
    leaves_of,
    tensors_in,
    view_of,
)
from stethoscope.observe.training.handwritten import HandWritten
from stethoscope.observe.training.keras_layers import is_keras

if TYPE_CHECKING:
    from stethoscope.observe.model.hollow import Hollow
    from stethoscope.observe.model.snapshots import Snapshots

MOST_STEPS = 64
ENOUGH_STEPS = 16
ENOUGH_ROWS = 256
"""Where sixteen steps have as many rows, no more are kept: of a few rows copies would only learn by heart."""
MOST_BYTES = 16 << 20
"""For all batches together: with the copy of a small model and our own code, less than 50 MB."""
MOST_MODEL_BYTES = 200 << 20
ROOM_FOR_COPIES = 8
"""Times the memory of a model that must be free: two copies, gradients, and what an optimizer holds of each."""
MOST_OUTLINES = 4
"""Models of which a copy without values is made."""
MOST_PASSES = 16
"""Forward passes that may belong to one step; more are no accumulation."""
MOST_DISCARDED = 40
"""After as many steps in a row that could not be captured, none is tried any more."""
WRITTEN_FORMS = ("mse_loss", "l1_loss", "cross_entropy", "nll_loss", "binary_cross_entropy")
"""Functions of torch's that are taken for losses that amount to them."""


def _careful(method: Callable[..., None]) -> Callable[..., None]:
    """Whatever goes wrong in here ends this step's capturing, with a reason, and nothing else."""

    @functools.wraps(method)
    def tried(self: Capture, *args: Any, **kwargs: Any) -> None:
        if not self.is_on or (self.step is None and method.__name__ not in ("forward_begins", "step_begins")):
            return
        try:
            method(self, *args, **kwargs)
        except CannotCapture as reason:
            self._discard(str(reason))
        except Exception as error:
            self._discard(f"it could not be copied ({type(error).__name__}: {str(error)[:80]})")

    return tried


class Capture:
    """The steps captured so far. The ears of a session tell it what they hear at steps that are attended to.

    Args:
        most_bytes: of all batches together.
        most_model_bytes: of the parameters and buffers of a model that is copied.
        outlines: whether copies without values are made, for models and steps that cannot be copied otherwise.
    """

    def __init__(
        self, *, most_bytes: int = MOST_BYTES, most_model_bytes: int = MOST_MODEL_BYTES, outlines: bool = False
    ) -> None:
        self.is_on = True
        self._most_bytes = most_bytes
        self._most_model_bytes = most_model_bytes
        self.steps: list[Step] = []
        self.reasons: Counter[str] = Counter()
        """Why steps could not be captured."""
        self.step: Step | None = None
        """The step under way."""
        self.original: tuple[nn.Module, Any] | None = None
        """Copies of the model and its optimizer, as they were before the first step that was captured."""
        self.outlines: dict[str, tuple[Hollow, tuple[Any, ...], dict[str, Any]]] = {}
        """By name, a copy without values of each model, and arguments without values."""
        self._takes_outlines = outlines
        self.model: Any = None
        """Entry of the model that was copied."""
        self.optimizer: Any = None
        """Entry of its optimizer."""
        self.copied_at = -1
        """Step of the run at which they were copied."""
        self.copied_when = 0.0
        """The same, on the clock of `time.perf_counter`."""
        self.snapshots: Snapshots | None = None
        """Follows how rows are learned; None where that is not asked for."""
        self._is_for_replays = True
        """Whether the step under way is kept for experiments, and not for its rows alone."""
        self._seen = 0
        self._stride = 1
        self._discarded_in_row = 0
        self._output: Leaves | None = None
        self._results: list[Tensor] = []
        self._is_inside = False
        """Whether the model's forward pass is under way."""
        self._bad = False
        """Whether the step under way cannot be captured."""
        self._closure_of: Any = None
        """Entry of the optimizer that steps right now and calls a closure for it."""
        self._closure_calls = 0
        self._is_full = False
        """Whether it has more forward passes than are kept."""

    # What the ears tell

    @_careful
    def forward_begins(
        self, number: int, entry: Any, training: bool, args: Any, kwargs: Any, optimizers: list[Any]
    ) -> None:
        """A model is called with gradients on, in train mode or not; `kwargs` is None when they are not known."""
        if self._takes_outlines and kwargs is not None and len(self.outlines) < MOST_OUTLINES:
            with contextlib.suppress(Exception):  # what cannot be copied has no outline
                if entry.name not in self.outlines:
                    self._take_outline(entry, args, kwargs, optimizers)
        if self.step is None:
            self._is_for_replays = not self._seen % self._stride
            if self._bad or not (self._is_for_replays or self._wants_rows):
                return
            self.step = Step(number, model=entry)
        if len(self.step.passes) >= MOST_PASSES:
            self._is_full = True
        if self._bad or self._is_full:
            return
        if entry is not self.step.model or (self.model is not None and entry is not self.model):
            raise CannotCapture("several models take part in a step")
        if entry.wrapper:
            raise CannotCapture(f"the model is wrapped in {entry.wrapper}")
        if torch.is_autocast_enabled("cpu") or (torch.cuda.is_available() and torch.is_autocast_enabled("cuda")):
            raise CannotCapture("it is trained in mixed precision")
        waiting = self.step.passes[-1] if self.step.passes else None
        if waiting is not None and not waiting.function:
            raise CannotCapture("the model is called several times for one loss")
        if waiting is not None and self.original is None and optimizers:  # no step has been taken so far
            self.copy_originals(entry, optimizers[0], optimizers, number)
        if self._closure_of is not None:
            if self._closure_calls:
                raise CannotCapture("the optimizer calls its closure several times")
            self._closure_calls += 1
            self.copy_originals(entry, self._closure_of, optimizers, number)
        size = sum(t.numel() * t.element_size() for _, t in tensors_in((args, kwargs)))
        if size > self._most_bytes // 2:  # of fewer than two nothing can be learned
            raise CannotCapture(f"a batch takes {size >> 20} MB, more than is copied")
        self._output = None
        self._is_inside = True
        self._results.clear()
        self.step.passes.append(Pass(copied(args), copied(kwargs or {}), training, kwargs is not None))

    @_careful
    def forward_ended(self, output: Any) -> None:
        """It returned."""
        self._is_inside = False
        self._output = leaves_of(output)

    @_careful
    def loss_called(self, function: str, args: Any, kwargs: Any, result: Tensor) -> None:
        """A loss function of torch's was called in training."""
        if not self._expects_loss():
            return
        given = _signature(function).bind(*args, **kwargs).arguments
        first, second = given.pop("input", None), given.pop("target", None)
        if first is None or second is None:
            raise CannotCapture(f"`{function}` does not compare one output with one target")
        assert self.step is not None
        current = self.step.passes[-1]
        current.swapped = not first.requires_grad and isinstance(second, Tensor) and second.requires_grad
        argument, target = (second, first) if current.swapped else (first, second)
        if isinstance(target, Tensor) and target.requires_grad:
            raise CannotCapture("the target is computed by what is trained")
        self._take_loss(function, argument, target, {name: _option(value) for name, value in given.items()}, result)

    @_careful
    def keras_loss_called(self, loss: Any, y_true: Any, y_pred: Tensor, weighted: bool, result: Tensor) -> None:
        """A loss of Keras's was called in training."""
        if not self._expects_loss():
            return
        if weighted:
            raise CannotCapture("the samples are weighted")
        self._take_loss(KERAS_LOSS, y_pred, y_true, {"loss": loss}, result)

    def _expects_loss(self) -> bool:
        """Whether the step under way waits for its loss."""
        assert self.step is not None
        # In its own forward pass a model computes its loss itself.
        if self._bad or self._is_full or self._is_inside:
            return False
        if self.step.passes and self.step.passes[-1].function:
            raise CannotCapture("the loss is put together from several")
        if not self.step.passes or self._output is None:
            raise CannotCapture("its loss is not computed from one forward pass of one model")
        return True

    def _take_loss(self, function: str, argument: Tensor, target: Any, options: dict[str, Any], result: Tensor) -> None:
        assert self.step is not None
        assert self._output is not None
        current = self.step.passes[-1]
        current.view = view_of(self._output, argument)
        if current.view is None:
            raise CannotCapture("what the loss compares is computed from the output in a way that is not known")
        current.function = function
        current.target = copied(target)
        current.options = options
        value = result.detach()
        current.value = float(value if value.dim() == 0 else value.float().mean())
        self._output = None
        self._results.append(result)

    @_careful
    def backward_begins(self, loss: Any, written: HandWritten | None) -> None:
        """A loss is about to be backpropagated; `written` says what it amounts to where no loss function made it."""
        assert self.step is not None
        if self._bad or self._is_full:
            return
        current = self.step.passes[-1] if self.step.passes else None
        if current is not None and not current.function:
            self._take_own_loss(current)
        if current is not None and not current.function and written is not None and self._output is not None:
            if written.form not in WRITTEN_FORMS:
                raise CannotCapture("the loss is written out by hand")
            self._take_loss(written.form, written.output, written.target, {}, _mean_of(written, loss))
        if current is None or not current.function:
            raise CannotCapture("the loss is not made by one loss function of torch's")
        if not math.isnan(current.factor):
            raise CannotCapture("a loss is backpropagated twice")
        if self._results and loss is self._results[-1]:
            current.factor = 1.0
        elif isinstance(loss, Tensor) and loss.numel() == 1 and current.value:
            current.factor = float(loss.detach()) / current.value
        else:
            raise CannotCapture("what is backpropagated is not one loss")
        self._results.clear()

    def _take_own_loss(self, current: Pass) -> None:
        """Where a model returns its loss, that is the one number among what it returns."""
        numbers = [(path, t) for path, t in self._output or () if t.numel() == 1 and t.is_floating_point()]
        if len(numbers) == 1:
            (path, value) = numbers[0]
            current.function, current.view, current.value = OWN_LOSS, View(path, "as it is", ()), float(value)
            self._output = None

    @_careful
    def clipped(self, kind: str, limit: float) -> None:
        """Gradients were clipped."""
        assert self.step is not None
        self.step.clip = (kind, limit)

    @_careful
    def step_begins(self, entry: Any, has_closure: bool, optimizers: list[Any]) -> None:
        """An optimizer is about to step."""
        if has_closure and not (self.step is not None and self.step.passes):  # the forward pass is still to come
            self._closure_of, self._closure_calls = entry, 0
        elif self.step is not None and self.step.passes and not self._bad:
            self.copy_originals(self.step.model, entry, optimizers, self.step.number)

    def step_ended(self) -> None:
        """The run's step is complete."""
        if not self.is_on:
            return
        step, bad, is_full = self.step, self._bad, self._is_full
        self.step, self._output, self._bad, self._is_full = None, None, False, False
        self._closure_of = None
        self._results.clear()
        self._seen += 1
        if bad or step is None:
            return
        if is_full:
            self._note(f"more than {MOST_PASSES} forward passes belong to one step")
            return
        if any(not math.isnan(each.factor) for each in step.passes):  # others were not trained on
            step.passes = [each for each in step.passes if not math.isnan(each.factor)]
        if not step.passes or not all(each.function for each in step.passes):
            self._note("the loss is not made by one loss function of torch's")
            return
        if any(not each.sure_of_kwargs and not leaves_of(each.args) for each in step.passes):
            self._note("the first call of a model is heard without its keyword arguments")
            return
        if self.snapshots is not None and self._wants_rows:
            self.snapshots.see(step)
        if not self._is_for_replays:
            return
        self._discarded_in_row = 0
        self.steps.append(step)
        while self._is_too_much():
            # The first one stays: it was taken with the weights that were copied.
            del self.steps[1::2]
            self._stride *= 2

    def _is_too_much(self) -> bool:
        count = len(self.steps)
        rows = sum(each.rows for each in self.steps)
        return (
            count > MOST_STEPS
            or (count > ENOUGH_STEPS and rows > ENOUGH_ROWS)
            or (count > 1 and sum(each.size for each in self.steps) > self._most_bytes)
        )

    def step_without_optimizer(self) -> None:
        """The run is over and its optimizer never stepped: what was heard as one step is one for each pass."""
        assert self.step is not None
        complete = [each for each in self.step.passes if each.function]
        self.steps = [Step(self.step.number, [each], model=self.step.model) for each in complete]
        self.step = None

    # What is kept

    def copy_originals(self, model: Any, optimizer: Any, optimizers: list[Any], number: int) -> None:
        """Copy a model and its optimizer, unless that was done."""
        if len([each for each in optimizers if each.steps or each is optimizer]) > 1:
            raise CannotCapture("several optimizers take part")
        if self.original is not None:
            return
        module, torch_optimizer = model.module(), optimizer.optimizer()
        if module is None or torch_optimizer is None:
            raise CannotCapture("the model or its optimizer is gone")
        size = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
        free = free_memory(next(module.parameters()).device)
        is_tight = free is not None and free < ROOM_FOR_COPIES * size
        if is_tight or size > self._most_model_bytes:
            what = "more than there is room for" if is_tight else "more than is copied"
            raise CannotCapture(f"the model takes {byte_size(size)}, {what}")
        if is_keras(module):
            self.original = keras_copy_of(module, torch_optimizer)
        else:
            self.original = copy_of(module, torch_optimizer)
        self.model, self.optimizer, self.copied_at = model, optimizer, number
        self.copied_when = time.perf_counter()

    def _take_outline(self, entry: Any, args: Any, kwargs: Any, optimizers: list[Any]) -> None:
        """Copy a model without its values, at the first call that is heard with all its arguments."""
        from stethoscope.observe.model.hollow import hollow  # seldom needed

        module = entry.module()
        if module is None or is_keras(module):
            return
        known = (each.optimizer() for each in optimizers)
        empty = hollow(module, [optimizer for optimizer in known if optimizer is not None])
        self.outlines[entry.name] = (empty, *empty.emptied((args, kwargs)))

    def _discard(self, why: str) -> None:
        """This step cannot be captured."""
        self._bad = True
        self._output = None
        self._results.clear()
        if self.step is not None:
            self.step.passes.clear()
        self._note(why)

    @property
    def _wants_rows(self) -> bool:
        return self.snapshots is not None and self.snapshots.wants_rows

    def _note(self, why: str) -> None:
        if not self._is_for_replays:
            return
        self.reasons[why] += 1
        self._discarded_in_row += 1
        if self._discarded_in_row >= MOST_DISCARDED:
            self.is_on = False
            self.step = None
            self.steps.clear()


@functools.cache
def _signature(function: str) -> inspect.Signature:
    return inspect.signature(getattr(F, function))


def _mean_of(written: HandWritten, loss: Tensor) -> Tensor:
    """The mean that a loss is, or is a multiple of; where it is neither, the multiples of the steps differ.

    Torch's own functions are not called here: that would be heard as a loss of the script's.

    Raises: CannotCapture when it is not known.
    """
    if written.is_mean:
        return loss
    difference = written.output.detach() - written.target.detach()
    if written.form == "mse_loss":
        return difference.square().mean()
    if written.form == "l1_loss":
        return difference.abs().mean()
    raise CannotCapture("the loss is written out by hand")


def _option(value: Any) -> Any:
    if isinstance(value, Tensor) and value.requires_grad:
        raise CannotCapture("the loss has parameters of its own")
    return copied(value)
