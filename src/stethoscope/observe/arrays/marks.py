"""Marks what a step compares, differentiates and applies, while a copy of it is traced for reading.

The marks are names on values (`checkpoint_name`), which differentiation keeps. They are on for one trace of ours only,
and JAX keeps such traces apart from the user's: what the user runs is traced without them.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from stethoscope.observe.arrays.program import MARK
from stethoscope.observe.training.sites import Spot, is_users_file, spot

LOSSES = {
    "softmax_cross_entropy": "cross_entropy",
    "softmax_cross_entropy_with_integer_labels": "cross_entropy",
    "safe_softmax_cross_entropy": "cross_entropy",
    "sigmoid_binary_cross_entropy": "binary_cross_entropy_with_logits",
    "squared_error": "mse_loss",
    "l2_loss": "mse_loss",
    "huber_loss": "huber_loss",
}
"""Functions of Optax and what torch calls them."""
_ours = jax.make_user_context(default_value=0)
_traces = itertools.count(1)


@dataclass(frozen=True)
class Compared:
    """A call of a loss function of Optax while the step was traced."""

    called: str
    place: Spot | None
    weighted: bool
    axis: int = -1


@dataclass
class Notes:
    """What the marks of one trace stand for."""

    losses: list[Compared] = field(default_factory=list)
    gradients: list[str] = field(default_factory=list)
    """Paths of the gradients that an optimizer was given."""
    differentiated: int = 0
    differentiated_at: Spot | None = None
    updated_at: Spot | None = None
    optimizer: str = ""


def path_of(keys: Any) -> str:
    """A dotted path from the keys of a pytree."""
    parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in keys]
    if parts and hasattr(keys[0], "idx"):
        parts[0] = f"[{parts[0]}]"
    return ".".join(part for part in parts if part not in ("value", "raw_value"))


@contextlib.contextmanager
def marking(notes: Notes) -> Iterator[None]:
    """For as long as this lasts, losses, gradients and updates that are traced are marked."""
    undo: list[Callable[[], None]] = []
    try:
        optax = sys.modules.get("optax")
        if optax is not None:
            for name, original in {name: getattr(optax, name, None) for name in LOSSES}.items():
                if original is not None:
                    _replace(original, _marked_loss(original, name, notes), undo, ("optax", "optax.losses"))
            _tap_update(optax.GradientTransformation, notes, undo)
        for name in ("value_and_grad", "grad"):
            original = getattr(jax, name)
            _replace(original, _marked_transform(original, name, notes), undo, ("jax",))
        with _ours(next(_traces)):  # nothing that was traced before is taken from a cache
            yield
    finally:
        for each in reversed(undo):
            each()


def _replace(original: Any, other: Any, undo: list[Callable[[], None]], libraries: tuple[str, ...]) -> None:
    """Put another function where this one is known by name: in its library, and in the user's modules."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_users = name == "__main__" or (isinstance(file, str) and is_users_file(file))
        if name not in libraries and not is_users:
            continue
        for key, value in list(vars(module).items()):
            if value is original:
                setattr(module, key, other)
                undo.append(lambda module=module, key=key: setattr(module, key, original))  # type: ignore[misc]


def _marked(value: Any, name: str) -> Any:
    return checkpoint_name(value, MARK + name)


def _marked_loss(original: Any, name: str, notes: Notes) -> Any:
    def loss(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(("first", "second", "third", "fourth"), args, strict=False))
        output = given.pop("first", kwargs.pop("logits", kwargs.pop("predictions", None)))
        target = given.pop("second", kwargs.pop("labels", kwargs.pop("targets", None)))
        number = len(notes.losses)
        axis = kwargs.get("axis", -1)
        weighted = bool(given) or "where" in kwargs or kwargs.get("delta", 1.0) != 1.0
        notes.losses.append(Compared(name, spot(2), weighted, axis if isinstance(axis, int) else -1))
        output = _marked(output, f"{number}:output")
        if target is None:
            return original(output, **kwargs)
        target = _marked(target, f"{number}:target")
        return _marked(original(output, target, *given.values(), **kwargs), f"{number}:result")

    return loss


def _marked_transform(original: Any, name: str, notes: Notes) -> Any:
    def transform(fun: Any, *args: Any, **kwargs: Any) -> Any:
        inner = original(fun, *args, **kwargs)
        has_aux = bool(kwargs.get("has_aux", args[1] if len(args) > 1 else False))

        def differentiated(*given: Any, **named: Any) -> Any:
            result = inner(*given, **named)
            if notes.differentiated:
                return result
            notes.differentiated = 1
            notes.differentiated_at = spot(2)
            if name == "grad":
                return (_marked_tree(result[0], notes), result[1]) if has_aux else _marked_tree(result, notes)
            value, gradients = result
            value = (_marked(value[0], "loss"), *value[1:]) if has_aux else _marked(value, "loss")
            return value, _marked_tree(gradients, notes)

        return differentiated

    return transform


def _marked_tree(tree: Any, notes: Notes, beginning: str = "derivative") -> Any:
    """Each leaf is marked by its number; the paths are noted."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    notes.gradients = [path_of(path) for path, _ in leaves]
    marked = [_marked(leaf, f"{beginning}:{number}") for number, (_, leaf) in enumerate(leaves)]
    return jax.tree_util.tree_unflatten(structure, marked)


def _tap_update(kind: Any, notes: Notes, undo: list[Callable[[], None]]) -> None:
    """`optimizer.update(gradients, state, parameters)`: an attribute of a tuple, read through the class."""
    getter = kind.__dict__["update"]

    def update_of(transformation: Any) -> Any:
        original = getter.__get__(transformation, type(transformation))

        def update(updates: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
            if not notes.optimizer:
                notes.updated_at = spot(2)
                notes.optimizer = _kind_of(state)
                updates = _marked_tree(updates, notes, "gradient")
            return original(updates, state, *args, **kwargs)

        return update

    kind.update = property(update_of)
    undo.append(lambda: setattr(kind, "update", getter))


_STATES = {"ScaleByAdamState": "adam", "ScaleByLionState": "lion", "ScaleByRmsState": "rmsprop",
           "ScaleByRmsWithCountState": "rmsprop", "ScaleByStddevState": "rmsprop", "ScaleByRssState": "adagrad",
           "ScaleByAmsgradState": "amsgrad", "FactoredState": "adafactor", "ScaleByBeliefState": "adabelief",
           "MultiStepsState": "multisteps"}  # fmt: skip


def _kind_of(state: Any) -> str:
    """The optimizer that keeps such a state, as Optax calls it; `sgd` where nothing tells of another."""
    waiting = [state]
    while waiting:
        value = waiting.pop(0)
        found = _STATES.get(type(value).__name__)
        if found:
            return found
        if isinstance(value, tuple | list) and len(waiting) < 1000:
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
    return "sgd"
