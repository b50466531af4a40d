"""Labels in a form that the loss does not take."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Attribute, Binding, Call, Code, Name, Value
from stethoscope.facts.keras_models import Compiled, compiled_in
from stethoscope.facts.splits import part_of_split
from stethoscope.facts.things import binding_of
from stethoscope.rules.keras_heads import CLASSES
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code

ONE_HOT = re.compile(r"keras\.(?:\w+\.)*to_categorical")
CLASSES_LOADED = re.compile(r"keras\.datasets\.(?:mnist|fashion_mnist|cifar10|cifar100|reuters)\.load_data")
FORMS = {"categoricalcrossentropy": "rows with a single 1", "sparsecategoricalcrossentropy": "class numbers"}


class OneHotMismatch(Rule):
    """Labels are class numbers where the loss takes rows with a single 1, or the reverse.

    ## What it sees
    What `fit` gets as labels, followed back to `to_categorical` or to one of Keras's data sets, beside the loss that
    the model is compiled with.
    ## Why it hurts
    The shapes do not match: `fit` stops with an error, or, where they fit by chance, learns other labels.
    ## How to fix it
    Class numbers with `sparse_categorical_crossentropy`, rows with a single 1 with `categorical_crossentropy`.
    ## When it is not a fault
    Labels that are changed on a way which cannot be followed. Those are not reported.
    ## Sources
    Keras documentation, `CategoricalCrossentropy`: "We expect labels to be provided in a one_hot representation".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow the labels of each `fit` of a model whose loss is known."""
        for compiled in compiled_in(file):
            expected = FORMS.get(compiled.loss)
            if expected is None or not isinstance(compiled.model, Name):
                continue
            for call in _fits(file, compiled):
                labels = call.argument(1, "y")
                made = _origin(file, labels)
                form = None if made is None else FORMS[
                    "categoricalcrossentropy" if ONE_HOT.fullmatch(made.name) else "sparsecategoricalcrossentropy"
                ]  # fmt: skip
                if made is None or form is None or form == expected:
                    continue
                shown = quoted(file, labels, "the labels")
                other = next(name for name, takes in FORMS.items() if takes == form)
                yield self.finding(
                    fitting(f"{shown} are {form}, the loss takes {expected}", f"labels are {form}"),
                    sureness=Sureness.CERTAIN,
                    place=place_in(file, call.at),
                    evidence=[
                        Evidence(f"what {shown} holds, by {line_of(file, made.at)}", form, expected,
                                 f"`{CLASSES[compiled.loss]}` on {line_of(file, compiled.loss_at.at)}")
                    ],
                    cause=f"`{CLASSES[compiled.loss]}` takes {expected}, and the labels are {form}.",
                    fixes=["Use the loss for them:\n" + code(f"loss=keras.losses.{CLASSES[other]}()")],
                    chain=[
                        Link(place_in(file, made.at), "the labels are made"),
                        Link(place_in(file, compiled.loss_at.at), "the loss is chosen"),
                    ],
                )  # fmt: skip

    on_trial = True
    bad_code = {
        "rows with a single 1": """
            from tensorflow import keras

            def train(model, x, numbers):
                y = keras.utils.to_categorical(numbers, 10)
                model.compile("adam", loss="sparse_categorical_crossentropy")
                model.fit(x, y, epochs=5)  # bad
            """,
        "class numbers": """
            from keras.datasets import mnist

            def train(model):
                (x_train, y_train), (x_test, y_test) = mnist.load_data()
                model.compile("adam", loss="categorical_crossentropy")
                model.fit(x_train / 255, y_train)  # bad
            """,
    }
    good_code = {
        "as the loss takes them": """
            from keras.datasets import mnist
            from keras.utils import to_categorical

            def train(model):
                (x_train, y_train), (x_test, y_test) = mnist.load_data()
                y_train = to_categorical(y_train)
                model.compile("adam", loss="categorical_crossentropy")
                model.fit(x_train, y_train)
            """,
        "compiled anew": """
            from keras.utils import to_categorical

            def train(model, x, y):
                rows = to_categorical(y)
                model.compile("adam", loss="sparse_categorical_crossentropy")
                model.fit(x, y)
                model.compile("adam", loss="categorical_crossentropy")
                model.fit(x, rows)
            """,
    }


def _fits(file: Code, compiled: Compiled) -> Iterator[Call]:
    """The calls of `fit` of a model in the same function, until it is compiled anew."""
    binding = binding_of(file, compiled.model)
    first, last = file.functions[file.function_at(compiled.call.context)].calls
    for call in file.calls[first:last]:
        if call.number <= compiled.call.number or binding is None or binding_of(file, call.receiver) is not binding:
            continue
        if call.name == ".compile":
            return
        if call.name == ".fit":
            yield call


def _origin(file: Code, value: Value | None) -> Call | None:
    """The call that gave labels their form."""
    for _ in range(12):
        part = part_of_split(file, value)
        if part is not None:
            value = part.split.argument(part.array)
        binding: Binding | None = binding_of(file, value)
        if binding is not None:
            if binding.how != "assign" or not isinstance(binding.value, Name | Call | Attribute):
                return None
            if binding.item:
                made = binding.value
                loads = isinstance(made, Call) and CLASSES_LOADED.fullmatch(made.name) and binding.item[-1] == 1
                return made if loads and isinstance(made, Call) and len(binding.item) == 2 else None
            value = binding.value
        elif isinstance(value, Call):
            if ONE_HOT.fullmatch(value.name):
                return value
            if value.name not in (".astype", "numpy.array", "numpy.asarray"):
                return None
            value = value.receiver if value.name == ".astype" else value.argument(0)
        else:
            return None
    return None
