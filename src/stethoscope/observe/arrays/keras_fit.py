"""A fit of Keras on JAX or TensorFlow: what is seen of its steps between two lines of its own loop.

Keras's compiled step runs as it is. At a few steps its batch is looked at before it is handed on, and the model is
called on it once more, on copies of its state: the layers' outputs, what the loss is given, the gradients.

Where one call of that step makes several (`steps_per_execution`), they are made one by one when one of them is to be
looked at: given an iterator over one batch, Keras's own function makes one step and ends.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from stethoscope.observe.arrays.session import (
    ArraySession,
    Comparison,
    Layer,
    Look,
    Weights,
    as_tensor,
    few_units,
)
from stethoscope.observe.training import keras_layers
from stethoscope.observe.training.keras_losses import compared
from stethoscope.observe.training.keras_optimizers import KerasOptimizer, clipping_of
from stethoscope.observe.training.looks import VALUES_FOR_UNITS, VALUES_PER_PARAMETER
from stethoscope.observe.training.sampling import coprime_stride
from stethoscope.observe.training.sites import Spot

MOST_LAYERS = 64


class KerasFit:
    """Follows one fit.

    Args:
        model: compiled, and about to be fitted.
        session: is told what is seen.
        place: the line that fits it.
    """

    def __init__(self, model: Any, session: ArraySession, place: Spot | None) -> None:
        self._model = model
        self._session = session
        self._place = place
        self._variables = list(model.trainable_variables)
        self._layers: list[Any] = []
        self._original: Any = None
        self._last_mean = math.nan
        self._steps_of_epoch = 0
        own = type(model).train_step
        self._is_mean = own.__module__.startswith("keras.")
        """Keras's own step gives the mean loss of the epoch so far, and not that of the step."""
        self._see: Callable[..., Any] | None = None
        self._each = int(getattr(model, "steps_per_execution", 1) or 1)
        """Steps that a call of Keras's function makes, or fewer where the batches end."""
        self._parts_them = type(model).make_train_function.__module__.startswith("keras.")
        """Whether that function makes one step of one batch; a model's own may do as it likes."""
        if self._each > 1 and not self._parts_them:
            session.state.blind["keras steps"] = (
                f"the model makes its {self._each} steps of an execution (`steps_per_execution`) in a function of its "
                "own, and only the loss that this returns was heard"
            )
        self._describe()

    def _describe(self) -> None:
        model = self._model
        names = keras_layers.weights_of(model)
        known = [names[id(variable)] for variable in self._variables]
        layers = []
        for order, part in enumerate(keras_layers.parts_of(model)):
            own = tuple(name for name, _, _ in part.weights if name in known)
            shape = _shape_of(part.layer)
            layers.append(
                Layer(part.name, part.kind, "", part.feeds, shape, own, keras_layers.dropout_of(part.layer), order == 0,
                      order)
            )  # fmt: skip
            self._layers.append(part.layer)
        weights = []
        for name, variable in zip(known, self._variables, strict=True):
            shape = tuple(variable.shape)
            turned = name.endswith("kernel") and len(shape) > 1
            weights.append(Weights(name, (shape[-1], *reversed(shape[:-1])) if turned else shape))
        self._session.describe(
            type(model).__name__, layers, weights, self._place,
            has_dropout=keras_layers.has_dropout(model), has_batch_norm=keras_layers.has_batch_norm(model),
        )  # fmt: skip
        shown = KerasOptimizer(model.optimizer, self._variables)
        settings = {key: value for key, value in shown.param_groups[0].items() if key != "params"}
        settings = {key: value for key, value in settings.items() if isinstance(value, bool | int | float | str)}
        self._shown = shown
        self._session.optimizer_is(shown.kind, settings, self._place, self._place)
        clipping = clipping_of(model.optimizer)
        if clipping is not None:
            self._session.state.clip = (self._place, *clipping)

    # Keras's function that makes a step

    def listen(self) -> None:
        """Stand before the function that Keras calls for each step."""
        given = self._model.train_function
        while isinstance(owner := getattr(given, "__self__", None), KerasFit) and owner._original is not None:
            given = owner._original  # of a fit that was broken off, at which Keras tells no callback of an end
        self._original = given
        on_jax = keras.backend.backend() == "jax"
        self._model.train_function = self._on_jax if on_jax else self._on_tensorflow

    def leave(self) -> None:
        """Put Keras's function back."""
        if self._original is not None:
            self._model.train_function = self._original
            self._original = None

    def _on_jax(self, state: Any, iterator: Any) -> Any:
        if self._each == 1:
            return self._step_on_jax(state, iterator, iterator)
        if not self._parts_them:
            logs, after = self._original(state, iterator)
            self._careful(lambda: self._passed(logs, self._each))
            return logs, after
        logs, state = self._step_on_jax(state, iterator)
        with contextlib.suppress(StopIteration):  # the batches end within the execution
            for _ in range(self._each - 1):
                logs, state = self._step_on_jax(state, iterator)
        return logs, state

    def _step_on_jax(self, state: Any, iterator: Any, rest: Iterable[Any] = ()) -> Any:
        """One step of the next batch; Keras's function is shown that one and then the rest.

        Raises:
            StopIteration: there is no batch left.
        """
        original = self._original
        if rest is iterator and not self._wants:
            logs, after = original(state, iterator)
            self._careful(lambda: self._passed(logs))
            return logs, after
        batch = next(iterator)
        looks: list[Look] = []  # (of the state: trained, fixed, the optimizer's, those of measures)
        if self._wants:
            rate = self._rate_in
            self._careful(lambda: looks.append(self._look(batch, state[0], state[1], state[3], rate(state[2]))))
        logs, after = original(state, itertools.chain((batch,), rest))
        self._careful(lambda: self._stepped(logs, looks, after[0]))
        return logs, after

    def _rate_in(self, variables: list[Any]) -> float | None:
        """The learning rate among the optimizer's variables; None where a schedule sets it."""
        optimizer = self._model.optimizer
        for variable, value in zip(optimizer.variables, variables, strict=False):
            if variable is optimizer._learning_rate:
                return float(f"{float(value):.6g}")
        return None

    def _on_tensorflow(self, iterator: Any) -> Any:
        spec = getattr(iterator, "element_spec", None)
        if not self._wants or spec is None:
            return self._execution(iterator)
        again: list[Any] = []
        drawn: list[Any] = []
        self._careful(lambda: again.append(_giving(drawn, spec)))
        if not again:
            return self._execution(iterator)
        try:
            drawn.append(next(iterator))
        except StopIteration:
            return self._original(iterator)  # it says so in its own way
        logs = self._step_on_tensorflow(drawn[0], again[0])
        for number in range(1, self._each):
            if not self._wants:
                return self._rest(logs, itertools.islice(iterator, self._each - number), spec)
            batch = next(iterator, None)
            if batch is None:
                break
            began = self._session.begin_own()
            alone = _giving([batch], spec)
            self._session.end_own(began)
            logs = self._step_on_tensorflow(batch, alone)
        return logs

    def _step_on_tensorflow(self, batch: Any, alone: Any) -> Any:
        """One step, looked at; `alone` is an iterator of TensorFlow's over this batch and no more."""
        looks: list[Look] = []
        fixed = [variable.value for variable in self._model.non_trainable_variables]
        trained = [variable.value for variable in self._variables]
        self._careful(lambda: looks.append(self._look(batch, trained, fixed, [], self._shown.rate())))
        logs = self._original(alone)
        self._careful(lambda: self._stepped(logs, looks, [v.value for v in self._variables]))
        return logs

    def _execution(self, iterator: Any) -> Any:
        """Steps that are not looked at, in Keras's own way."""
        before = self._steps_so_far()
        logs = self._original(iterator)
        self._careful(lambda: self._passed(logs, self._steps_so_far() - before if self._each > 1 else 1))
        return logs

    def _rest(self, logs: Any, batches: Iterator[Any], spec: Any) -> Any:
        """The steps of an execution behind those that were looked at; `logs` are theirs, should there be no batch."""
        passed = _Passed(batches)
        try:
            logs = self._original(_giving(passed, spec))
        except StopIteration:
            return logs
        except Exception:
            if passed.failed is not None:
                raise passed.failed from None  # as it would have come out of the user's own pipeline
            raise
        self._careful(lambda: self._passed(logs, passed.count))
        return logs

    def _steps_so_far(self) -> int:
        """Counted by the optimizer, where a call makes several steps."""
        return int(self._model.optimizer._iterations.numpy()) if self._each > 1 else 0

    @property
    def _wants(self) -> bool:
        return self._session.wants and (self._each == 1 or self._parts_them)

    def _careful(self, ear: Callable[[], None]) -> None:
        """Our own code: should it fail, looking ends, once, with a word about it; training goes on."""
        state = self._session.state
        if "steps" in state.off:
            return
        began = self._session.begin_own()
        try:
            ear()
        except Exception as error:
            part = "looks" if "looks" not in state.off else "steps"
            state.give_up(part, error)
        self._session.end_own(began)

    # What is seen

    def _look(
        self, batch: Any, trained: list[Any], fixed: list[Any], measures: list[Any], rate: float | None
    ) -> Look:  # fmt: skip
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        for index, value in enumerate(trained):
            if self._session.wants_units(index):
                self._session.units_are(index, few_units(value, -1))
        before = {index: _few(value) for index, value in enumerate(trained)}
        if self._see is None:
            self._see = _seeing(self._model, _features(self._model, self._layers))
        answer, rows, gradients = self._see(trained, fixed, measures, x, y, weight)
        first = x if not isinstance(x, dict | list | tuple) else next(iter(keras.tree.flatten(x)), None)
        look = Look(
            inputs=None if first is None else as_tensor(first),
            layers={index: as_tensor(values) for index, values in rows.items()},
            before=before,
            gradients={index: _few(values) for index, values in enumerate(gradients) if values is not None},
        )
        one = self._comparison(y, answer, weight)
        if one is not None:
            look.comparisons.append(one)
        if rate is not None:
            curve = self._session.state.curve("learning rate", "learning rate", "training")
            if not curve.values or curve.values[-1] != rate:
                curve.add(self._session.state.steps, rate)
        return look

    def _comparison(self, y: Any, answer: Any, weight: Any) -> Comparison | None:
        """The one loss of a model with one output."""
        losses: Any = getattr(self._model._compile_loss, "_flat_losses", None) or ()
        if len(losses) != 1 or isinstance(answer, dict | list | tuple) or y is None:
            return None
        loss = losses[0].loss
        target = as_tensor(y)
        seen = compared(loss, target, as_tensor(answer), weight is not None)
        if seen is None:
            return None
        value = float(np.asarray(loss(y, answer))) if weight is None else math.nan
        last = next((layer for layer in reversed(self._layers) if _activation(layer) or layer.weights), None)
        return Comparison(
            function=seen.function,
            called=seen.called,
            expects=seen.expects,
            place=self._place,
            output=seen.output,
            target=seen.target,
            result=value,
            reduction=seen.reduction,
            weighted=weight is not None,
            maker="" if last is None else _activation(last),
        )

    def _stepped(self, logs: Any, looks: list[Look], after: list[Any]) -> None:
        if looks:
            looks[0].after = {index: _few(value) for index, value in enumerate(after)}
        self._session.stepped(self._loss_of(logs), self._place, looks[0] if looks else None)

    def _passed(self, logs: Any, steps: int = 1) -> None:
        """So many steps were made and not looked at; where their number is not known, those of an execution."""
        steps = steps if 0 < steps <= self._each else self._each
        self._session.stepped(self._loss_of(logs, steps), self._place, None, steps)

    def _loss_of(self, logs: Any, steps: int = 1) -> Any:
        if not isinstance(logs, dict) or "loss" not in logs:
            return None
        self._steps_of_epoch += steps
        if not self._is_mean:
            return logs["loss"]
        return OfMeans(logs["loss"], self, steps)

    def value_of(self, mean: float, number: int, steps: int) -> float:
        """The loss of a step (the mean of several), from the means up to it and up to the one before."""
        before, self._last_mean = self._last_mean, mean
        if number == steps or not math.isfinite(before):
            return mean
        return (mean * number - before * (number - steps)) / steps

    def epoch_begins(self) -> None:
        """Means begin anew."""
        self._steps_of_epoch = 0

    def epoch_ended(self, logs: Any) -> None:
        """Validation, if there was any."""
        logs = logs or {}
        if "val_loss" in logs:
            right = next((v for name, v in logs.items() if name.startswith("val_") and name.endswith("acc")), math.nan)
            right = next((v for name, v in logs.items() if name.startswith("val_") and "accuracy" in name), right)
            self._session.validated(float(logs["val_loss"]), float(right))


class OfMeans:
    """The loss of a step, read when it is wanted: from the mean of its epoch up to it."""

    size = 1

    def __init__(self, mean: Any, fit: KerasFit, steps: int = 1) -> None:
        self._mean = mean
        self._fit = fit
        self._number = fit._steps_of_epoch
        self._steps = steps

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self._fit.value_of(float(np.asarray(self._mean)), self._number, self._steps))


def _giving(drawn: Iterable[Any], spec: Any) -> Any:
    """An iterator of TensorFlow's over what is there when it is asked; made before anything is drawn, since it
    cannot be made of all kinds of batches.

    Raises:
        TypeError: batches of another kind, as those of several replicas are.
    """
    import tensorflow as tf

    return iter(tf.data.Dataset.from_generator(lambda: iter(drawn), output_signature=spec))


class _Passed:
    """Hands batches on, counts them, and keeps what their maker throws: TensorFlow would wrap it."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        self.count = 0
        self.failed: Exception | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            for batch in self._batches:
                self.count += 1
                yield batch
        except Exception as error:
            self.failed = error
            raise


def _activation(layer: Any) -> str:
    return keras_layers.activation_of(layer, type(layer).__name__)


def _shape_of(layer: Any) -> tuple[int, ...]:
    try:
        return tuple(size or -1 for size in layer.output.shape)
    except (AttributeError, ValueError):
        return ()


def _features(model: Any, layers: list[Any]) -> tuple[Any, list[int]] | None:
    """A model of the same layers that gives all their outputs; None where the model is no graph of layers."""
    if type(model).__name__ not in ("Functional", "Sequential") and not hasattr(model, "_functional"):
        return None
    found, numbers = [], []
    for number, layer in enumerate(layers[:MOST_LAYERS]):
        try:
            found.append(layer.output)
        except (AttributeError, ValueError):
            continue
        numbers.append(number)
    try:
        return keras.Model(_structure(model, "inputs"), [_structure(model, "outputs"), found]), numbers
    except (TypeError, ValueError, AttributeError):
        return None


def _structure(model: Any, which: str) -> Any:
    """The inputs or outputs of a graph of layers as they are given: one, a list, or by name."""
    graph = getattr(model, "_functional", None) or model
    return getattr(graph, f"_{which}_struct", getattr(model, which))


def _seeing(model: Any, features: tuple[Any, list[int]] | None) -> Callable[..., Any]:
    """(trained, fixed, measures, x, y, weight) to answers, rows of the layers' outputs and gradients; compiled once."""

    def answers(trained: Any, fixed: Any, measures: Any, x: Any, y: Any, weight: Any) -> Any:
        values = [*zip(model.trainable_variables, trained, strict=True),
                  *zip(model.non_trainable_variables, fixed, strict=True),
                  *zip(model.metrics_variables, measures, strict=False)]  # fmt: skip
        # On TensorFlow measures have values of their own; on JAX they are without any while a fit goes on.
        with keras.StatelessScope(state_mapping=values):
            rows: dict[int, Any] = {}
            if features is None:
                answer = model(x, training=True)
            else:
                answer, outputs = features[0](x, training=True)
                rows = {number: _rows(output) for number, output in zip(features[1], outputs, strict=True)}
            loss = model.compute_loss(x=x, y=y, y_pred=answer, sample_weight=weight, training=True)
        return loss, (answer, rows)

    if keras.backend.backend() == "jax":
        import jax

        differentiated = jax.jit(jax.value_and_grad(answers, has_aux=True))

        def on_jax(trained: Any, fixed: Any, measures: Any, x: Any, y: Any, weight: Any) -> Any:
            (_, (answer, rows)), gradients = differentiated(trained, fixed, measures, x, y, weight)
            return answer, rows, gradients

        return on_jax
    import tensorflow as tf

    def differentiate(trained: Any, fixed: Any, measures: Any, x: Any, y: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(trained)
            loss, (answer, rows) = answers(trained, fixed, measures, x, y, weight)
        return answer, rows, tape.gradient(loss, trained)

    on_tensorflow = tf.function(differentiate, reduce_retracing=True, autograph=False)

    def as_tensors(trained: Any, fixed: Any, measures: Any, *batch: Any) -> Any:
        copies = ([tf.identity(value) for value in values] for values in (trained, fixed, measures))
        return on_tensorflow(*copies, *batch)

    return as_tensors


def _rows(output: Any) -> Any:
    """Whole rows of a layer's output."""
    width = output.shape[-1]
    rows = keras.ops.reshape(output, (-1, width or 1))
    most = max(1, VALUES_FOR_UNITS // max(1, width or 1))
    return rows[:most]


def _few(value: Any) -> Any:
    array = np.asarray(value).reshape(-1)
    return array[:: coprime_stride(array.size, VALUES_PER_PARAMETER)].astype(np.float32)
