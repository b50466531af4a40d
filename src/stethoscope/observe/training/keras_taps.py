"""Taps on Keras, where it runs on torch: its own optimizers, losses and training loop, told in the words of torch's.

Keras clears gradients, sets modes and steps its optimizers by itself; what it hands to torch (modules, `backward`) is
heard through the taps on torch. Nothing is judged twice: the same ears hear both.
"""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from typing import TYPE_CHECKING, Any

import torch

from stethoscope.facts.training import FitCall
from stethoscope.observe.arrival import Arrival
from stethoscope.observe.training import keras_layers
from stethoscope.observe.training.keras_losses import compared
from stethoscope.observe.training.keras_optimizers import KerasOptimizer, clipping_of, schedule_of
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.sites import Spot, site_of, spot

if TYPE_CHECKING:
    from collections.abc import Callable

    from stethoscope.observe.training.replacing import Replacement
    from stethoscope.observe.training.taps import Taps

LAST_MODULE = "keras.src.models.model"
"""When this module of Keras has been imported, all that is tapped is there."""
MOST_FITS = 50
_is_compiling = torch.compiler.is_compiling


class KerasTaps:
    """Everything that connects a session to Keras; waits until the script has imported it."""

    def __init__(self, session: Session, taps: Taps) -> None:
        self._session = session
        self._state = session.state
        self._taps = taps
        self._arrival = Arrival(LAST_MODULE, self._arrived)
        self._made_at: weakref.WeakKeyDictionary[Any, Spot | None] = weakref.WeakKeyDictionary()
        self._compiled_at: weakref.WeakKeyDictionary[Any, Spot | None] = weakref.WeakKeyDictionary()
        self._shown: weakref.WeakKeyDictionary[Any, KerasOptimizer] = weakref.WeakKeyDictionary()
        self._validates_in_fit = False

    def wait(self) -> None:
        """Begin to wait for Keras."""
        self._arrival.wait()

    def forget(self) -> None:
        """Stop waiting for it."""
        self._arrival.forget()

    def _arrived(self) -> None:
        state = self._state
        backend = keras_layers.keras_backend()
        if backend != "torch":
            state.blind["keras"] = (
                f"Keras runs on {backend} here and not on torch; `stethoscope.adapters.keras.Callback()`, given to "
                "`fit`, listens there"
            )
            return
        try:
            self._put_on()
        except Exception as error:
            state.blind["keras"] = f"this version of Keras cannot be listened to ({type(error).__name__}: {error})"

    def _put_on(self) -> None:
        modules = sys.modules
        trainer = modules["keras.src.trainers.trainer"].Trainer
        torch_trainer = modules["keras.src.backend.torch.trainer"].TorchTrainer
        optimizer = modules["keras.src.optimizers.base_optimizer"].BaseOptimizer
        loss = modules["keras.src.losses.loss"].Loss
        taps, state = self._taps, self._state
        self._replace(trainer, "compile", taps.after("compile()", self._compiled))
        self._replace(optimizer, "__init__", taps.after("the optimizer", self._optimizer_made))
        self._replace(optimizer, "build", taps.after("the optimizer", self._optimizer_built))
        self._replace(optimizer, "apply", self._tap_apply)
        self._replace(torch_trainer, "fit", self._tap_fit)
        for name in ("evaluate", "predict", "test_on_batch", "predict_on_batch"):
            self._replace(torch_trainer, name, self._tap_evaluation)
        taps.for_losses.append(self._replace(loss, "__call__", taps.after("losses", self._loss_called, loop=True)))
        state.hears_keras = True

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> Replacement:
        """Put a wrapper on Keras.

        Keras takes its own frames out of the tracebacks that it raises, and shows the innermost of them only where
        nothing else is left: the wrapper passes for one of them.
        """

        def make_alike(original: Any) -> Any:
            wrapper = make(original)
            wrapper.__code__ = wrapper.__code__.replace(co_filename=original.__code__.co_filename)
            return wrapper

        return self._taps.replace(owner, name, make_alike)

    # The optimizer

    def _compiled(self, args: Any, kwargs: Any, result: Any) -> None:
        self._compiled_at[args[0]] = spot(3)

    def _optimizer_made(self, args: Any, kwargs: Any, result: Any) -> None:
        self._made_at[args[0]] = spot(3)

    def _optimizer_built(self, args: Any, kwargs: Any, result: Any) -> None:
        optimizer = args[0]
        variables = args[1] if len(args) > 1 else kwargs.get("variables", ())
        if optimizer in self._shown or not variables:
            return
        state = self._state
        state.framework = "keras"
        place = self._made_at.get(optimizer)
        shown = self._shown[optimizer] = KerasOptimizer(optimizer, variables)
        state.book.complete()
        self._session.steps.optimizer_made(shown, place)
        clipping = clipping_of(optimizer)
        if clipping is not None:
            state.clip = (place, *clipping)
        schedule = schedule_of(optimizer)
        if schedule:
            state.schedules.made(schedule, place)

    def _tap_apply(self, original: Any) -> Any:
        steps, state = self._session.steps, self._state
        begins = state.guard("the optimizer")(steps.step_begins)
        built = state.guard("the optimizer")(self._optimizer_built)
        shown_as = self._shown

        @functools.wraps(original)
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            if _is_compiling() or keras_layers.in_symbolic_scope():
                return original(optimizer, grads, trainable_variables)
            shown = shown_as.get(optimizer)
            if shown is None:
                built((optimizer, trainable_variables), {}, None)
                shown = shown_as.get(optimizer)
            if shown is not None and state.awake:
                begins(shown, (), {})
            result = original(optimizer, grads, trainable_variables)
            if shown is not None:
                steps.after_step(shown, (), {})
            return result

        return apply

    # Losses

    def _loss_called(self, args: Any, kwargs: Any, result: Any) -> None:
        if keras_layers.in_symbolic_scope() or not isinstance(result, torch.Tensor):
            return
        named = dict(zip(("loss", "y_true", "y_pred", "sample_weight"), args, strict=False)) | kwargs
        seen = compared(named["loss"], named.get("y_true"), named.get("y_pred"), named.get("sample_weight") is not None)
        if seen is not None:
            self._session.losses.keras_loss_called(
                seen, named["loss"], named.get("y_true"), named["y_pred"], result, self._where_compiled()
            )

    def _where_compiled(self) -> Spot | None:
        """The `compile(...)` line of the model whose forward pass came last, or the line that trains it."""
        state = self._state
        entry = None
        if torch.is_grad_enabled():
            entry = state.forward_models[-1][0] if state.forward_models else None
        elif state.passes.current is not None:
            entry = state.book.models[state.passes.current.model]
        model = None if entry is None else entry.module()
        return (None if model is None else self._compiled_at.get(model)) or spot(3)

    # The loop

    def _tap_fit(self, original: Any) -> Any:
        signature = inspect.signature(original)
        begins = self._state.guard("fit()")(self._fit_begins)

        @functools.wraps(original)
        def fit(*args: Any, **kwargs: Any) -> Any:
            begins(signature, args, kwargs)
            return original(*args, **kwargs)

        return fit

    def _fit_begins(self, signature: inspect.Signature, args: Any, kwargs: Any) -> None:
        asked = signature.bind(*args, **kwargs)
        asked.apply_defaults()
        given = asked.arguments
        model = given["self"]
        place = spot(3)
        callbacks = given["callbacks"] or ()
        if not isinstance(callbacks, list | tuple):
            callbacks = (callbacks,)
        names = tuple(type(callback).__name__ for callback in callbacks)
        for name in names:
            if name in ("ReduceLROnPlateau", "LearningRateScheduler"):
                self._state.schedules.made(name, place)
        if len(self._state.fits) < MOST_FITS:
            self._state.fits.append(
                FitCall(
                    site=site_of(place),
                    compile_site=site_of(self._compiled_at.get(model)),
                    loss=_named(getattr(model, "_compile_loss", None), "_user_loss"),
                    metrics=_metrics(model),
                    callbacks=names,
                    epochs=int(given["epochs"]),
                    batch_size=int(given["batch_size"] or 32),
                    shuffle=bool(given["shuffle"]),
                    validates=bool(given["validation_split"]) or given["validation_data"] is not None,
                    weighted=given["class_weight"] is not None or given["sample_weight"] is not None,
                )
            )

    def _tap_evaluation(self, original: Any) -> Any:
        guard = self._state.guard("evaluation")
        begins, ended = guard(self._evaluation_begins), guard(self._evaluation_ended)

        @functools.wraps(original)
        def evaluate(*args: Any, **kwargs: Any) -> Any:
            begins()
            result = original(*args, **kwargs)
            ended(bool(kwargs.get("_use_cached_eval_dataset")))
            return result

        return evaluate

    def _evaluation_begins(self) -> None:
        """Keras switches gradients off out of the user's sight: the hooks that ordinary steps do without go on."""
        self._state.end_pass()
        self._state.quiet = False
        self._session.forwards.wake()

    def _evaluation_ended(self, in_fit: bool) -> None:
        """Where `fit` validates, what is evaluated beside it (a test set, the training set) is not on that curve."""
        current = self._state.passes.current
        self._validates_in_fit = self._validates_in_fit or in_fit
        if current is not None and self._validates_in_fit and not in_fit:
            current.on_curve = False
        self._state.end_pass()


def _named(holder: Any, attribute: str) -> str:
    """A loss as it was given to `compile`: a name, or the class or function."""
    given = getattr(holder, attribute, None)
    if isinstance(given, str) or given is None:
        return given or ""
    return str(getattr(given, "__name__", type(given).__name__))


def _metrics(model: Any) -> tuple[str, ...]:
    given = getattr(getattr(model, "_compile_metrics", None), "_user_metrics", None) or ()
    if not isinstance(given, list | tuple):
        given = (given,)
    return tuple(m if isinstance(m, str) else str(getattr(m, "name", type(m).__name__)) for m in given)
