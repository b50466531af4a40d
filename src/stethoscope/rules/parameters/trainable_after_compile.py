"""Keras layers that are frozen after the model was compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.attributes import attributes_set, owner_of
from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Constant, Group, Item, Name, Value
from stethoscope.facts.events import name_of
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_FITS = (".fit", ".fit_generator")
_SWITCHED_OFF = re.compile(r"\btrainable\s*=(?!=|\s*True\b)|\.freeze\(")


class TrainableAfterCompile(Rule):
    """Layers of a Keras model are frozen or thawed after `compile`, and `fit` goes on as compiled.

    ## What it sees
    `layer.trainable = ...` on a compiled model, on its layers, or on a model that it is made of, followed by `fit` of
    that model without another `compile`.
    ## Why it hurts
    What is trained is settled when the model is compiled. A base that was to be thawed stays frozen, and one that was
    to be frozen is trained, with large gradients from a new head.
    ## How to fix it
    Call `compile` again after `trainable` has changed.
    ## When it is not a fault
    A generative adversarial network, where two models are compiled with different switches: the one that is fitted is
    compiled after the change, and not reported.
    ## Sources
    Keras documentation, "Transfer learning and fine-tuning: compile() and trainable".
    """

    on_trial = True
    severity = Severity.ERROR

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for switches between `compile` and `fit` of one model, in the order in which they stand."""
        if not file.says("keras"):
            return
        told = set()
        for number, binding in attributes_set(file, "trainable"):
            index = file.function_at(binding.context)
            calls = file.calls[slice(*file.functions[index].calls)]
            compiles = [call for call in calls if call.name == ".compile"]
            for fit in (call for call in calls if call.name in _FITS and call.number >= binding.order):
                same = [call for call in compiles if _is_same(call.receiver, fit.receiver) and call.number < fit.number]
                is_before = bool(same) and same[-1].number < binding.order
                if not is_before or not _is_part(file, owner_of(file, number), fit.receiver) or fit.number in told:
                    continue
                again = any(binding.order < one.number < fit.number for one in compiles)
                if again or _is_branched(file, binding) or _stays_on(file, binding):
                    continue
                told.add(fit.number)
                yield self._read(file, binding, same[-1], fit)
                break

    def _read(self, file: Code, binding: Binding, compiled: Call, fit: Call) -> Finding:
        model = name_of(file, fit.receiver)
        return self.finding(
            fitting(f"`{binding.name}` changes after `{model}` is compiled", "`trainable` changes after `compile`"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, binding.at),
            evidence=[
                Evidence(f"calls of `compile` between {line_of(file, binding.at)} and {line_of(file, fit.at)}", 0, 1)
            ],
            cause="Which weights are trained is settled by `compile`: `fit` goes on with those of before.",
            fixes=["Compile again, after the change:\n" + code(f"{model}.compile(optimizer=..., loss=...)")],
            chain=[
                Link(place_in(file, compiled.at), "the model is compiled"),
                Link(place_in(file, binding.at), "a switch is changed"),
                Link(place_in(file, fit.at), "the model is fitted, as it was compiled"),
            ],
        )

    bad_code = {
        "thawed for fine-tuning": """
            from tensorflow import keras
            from tensorflow.keras import layers

            base = keras.applications.Xception(include_top=False)
            base.trainable = False
            model = keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid")])
            model.compile("adam", "binary_crossentropy")
            model.fit(keras.utils.image_dataset_from_directory("data"))
            base.trainable = True  # bad
            model.fit(keras.utils.image_dataset_from_directory("data"), epochs=3)
            """,
        "layers of the model": """
            import keras

            def train(x, y):
                model = keras.models.load_model("model.keras")
                model.compile("adam", "mse")
                for layer in model.layers[:-2]:
                    layer.trainable = False  # bad
                model.fit(x, y)
            """,
    }
    good_code = {
        "compiled again": """
            import keras

            def train(model, x, y):
                model.compile("adam", "mse")
                model.fit(x, y)
                for layer in model.layers:
                    layer.trainable = True
                model.compile("adam", "mse")
                model.fit(x, y)
            """,
        "two models of one": """
            import keras

            def train(generator, discriminator, x, y):
                discriminator.compile("adam", "binary_crossentropy")
                discriminator.trainable = False
                gan = keras.Sequential([generator, discriminator])
                gan.compile("adam", "binary_crossentropy")
                gan.fit(x, y)
            """,
        "switched on, as it was made": """
            import keras

            def train(x, y):
                base = keras.applications.Xception(include_top=False)
                model = keras.Sequential([base, keras.layers.Dense(1)])
                model.compile("adam", "mse")
                base.trainable = True
                model.fit(x, y)
            """,
        "another model": """
            import keras

            def train(model, other, x, y):
                model.compile("adam", "mse")
                other.trainable = False
                model.fit(x, y)
            """,
    }


def _stays_on(file: Code, binding: Binding) -> bool:
    """Whether something is switched on in a file that switches nothing off: layers are on as they are made."""
    on = isinstance(binding.value, Constant) and binding.value.value is True
    return on and not file.matches(_SWITCHED_OFF)


def _is_same(first: Value | None, second: Value | None) -> bool:
    """Whether two expressions are one variable."""
    return (
        isinstance(first, Name) and isinstance(second, Name)
        and first.binding == second.binding != NOWHERE
    )  # fmt: skip


def _is_part(file: Code, value: Value | None, model: Value | None) -> bool:
    """Whether something is a model, one of its layers, or was given to the call that made it."""
    for _ in range(6):
        if _is_same(value, model):
            return True
        if isinstance(value, Name) and value.binding != NOWHERE:
            if _is_given(file, value, model):
                return True
            value = file.bindings[value.binding].value if file.bindings[value.binding].how == "for" else None
        elif isinstance(value, Attribute | Item):
            value = value.value
        else:
            return False
    return False


def _is_given(file: Code, value: Name, model: Value | None) -> bool:
    """Whether a variable is an item of the list that a `Sequential` was made from, or was added to it."""
    made, _ = followed(file, model)
    if not isinstance(made, Call) or not made.name.endswith("Sequential"):
        return False
    layers, _ = followed(file, made.argument(0, "layers"))
    items = layers.items if isinstance(layers, Group) else ()
    added = [call.argument(0) for call in file.calls_of(".add") if _is_same(call.receiver, model)]
    return any(_is_same(one, value) for one in (*items, *added))


def _is_branched(file: Code, binding: Binding) -> bool:
    """Whether a switch is changed under a condition that is no choice among layers."""
    kinds = [here.kind for here in file.around(binding.context)]
    until = kinds[: kinds.index("for")] if "for" in kinds else kinds
    inner = isinstance(binding.value, Constant)
    return any(
        kind in ("if", "else", "except") for kind in (kinds if inner and "for" not in kinds else kinds[len(until) :])
    )
