"""Training rows that are given as validation data as well."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code, Group, Name, Value
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code


class ValidationDataIsTrainingData(Rule):
    """The rows that a model is fitted to are its validation data, too.

    ## What it sees
    `fit(x, y, validation_data=(x, y))` of Keras, or `fit(data, validation_data=data)`: the same variables, unchanged.
    ## Why it hurts
    The validation loss is the training loss: it shows no overfitting, and early stopping or a choice by it keeps the
    model that has memorised best.
    ## How to fix it
    Keep rows apart: `validation_split=0.2`, or a split of the data.
    ## When it is not a fault
    A demonstration that wants one metric without dropout; the number is then no measure of generalization.
    ## Sources
    Keras documentation, `Model.fit`, argument `validation_data`: "The model will not be trained on this data".
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Compare what is fitted to with what validates."""
        for call in file.calls_of(".fit"):
            validation, _ = followed(file, call.keyword("validation_data"))
            if validation is None or not file.says("keras"):
                continue
            parts = validation.items if isinstance(validation, Group) else (call.keyword("validation_data"),)
            given = [call.argument(0, "x"), *([call.argument(1, "y")] if len(parts) > 1 else [])]
            if not given or len(parts) < len(given) or not all(map(_same, given, parts[: len(given)])):
                continue
            data = quoted(file, call.argument(0, "x"), "the data")
            yield self.finding(
                fitting(f"{data} is both what is trained on and what validates", "training data validates as well"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"rows of {data} that {line_of(file, call.at)} keeps apart", "0 %", "10 % or more")],
                cause="The validation loss is measured on the rows that the model learns from, and cannot show "
                "overfitting.",
                fixes=["Keep rows apart:\n" + code("model.fit(x, y, validation_split=0.2)")],
            )

    bad_code = {
        "the same arrays": """
            from tensorflow import keras

            def train(model, x, y):
                model.fit(x, y, epochs=5, validation_data=(x, y))  # bad
            """,
        "the same data set": """
            import tensorflow as tf

            model = tf.keras.models.load_model("m.keras")
            data = tf.data.Dataset.load("train")
            model.fit(data, validation_data=data)  # bad
            """,
    }
    good_code = {
        "rows of their own": """
            from tensorflow import keras

            def train(model, x, y, x_val, y_val):
                model.fit(x, y, validation_data=(x_val, y_val))
            """,
        "bound anew": """
            from tensorflow import keras

            def train(model, load):
                x, y = load("train")
                valid = (x, y)
                x, y = load("more")
                model.fit(x, y, validation_data=valid)
            """,
    }


def _same(first: Value | None, second: Value | None) -> bool:
    """Whether two values are one variable, unchanged between."""
    both = isinstance(first, Name) and isinstance(second, Name)
    return both and isinstance(first, Name) and isinstance(second, Name) and first.binding == second.binding >= 0
