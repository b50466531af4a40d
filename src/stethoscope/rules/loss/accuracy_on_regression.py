"""Accuracy as the metric of a Keras regression."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code, Group, Value
from stethoscope.facts.keras_models import compiled_in
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import place_in, where
from stethoscope.rules.sites import code

_NUMBERS = frozenset({
    "mse", "meansquarederror", "mae", "meanabsoluteerror", "mape", "meanabsolutepercentageerror", "huber", "logcosh",
    "msle", "meansquaredlogarithmicerror", "huberloss",
})  # fmt: skip
_ACCURACIES = ("accuracy", "acc")


class AccuracyOnRegression(Rule):
    """A Keras model that predicts numbers is watched by accuracy, which says nothing about numbers.

    ## What it sees
    `metrics=["accuracy"]` beside a squared or absolute error, on a model that ends in a layer without an activation.
    ## Why it hurts
    Accuracy counts answers that equal the target, or lie on the same side of 0.5. For prices or temperatures it is near
    0 however good the model is, and early stopping or a choice of models by it is blind.
    ## How to fix it
    `metrics=["mae"]`.
    ## When it is not a fault
    Targets that are 0 and 1, fitted by least squares on purpose.
    ## Sources
    Keras documentation, "Accuracy metrics"; nine of the Stack Overflow posts in the DeepLocalize benchmark.
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the metrics beside the loss and the last layer."""
        for compiled in compiled_in(file):
            head, metrics = compiled.head, compiled.call.keyword("metrics")
            if head is None or head.activation != "linear" or compiled.loss not in _NUMBERS:
                continue
            accuracy = next((one for one in _listed(file, metrics) if literal(file, one) in _ACCURACIES), None)
            if accuracy is None:
                continue
            yield self.finding(
                "accuracy is measured where numbers are predicted",
                sureness=Sureness.LIKELY,
                place=place_in(file, accuracy.at),
                evidence=[
                    Evidence(
                        f"outputs of the last layer on {where(head.code, head.layer.at)}",
                        f"{head.units or 1}, any number", "classes", "no activation",
                    )
                ],
                cause="Accuracy asks whether an answer equals its target, or is on the same side of 0.5: numbers that "
                "are close do not count.",
                fixes=["Measure the distance:\n" + code('metrics=["mae"]')],
                unless="the targets are 0 and 1.",
                chain=[
                    Link(place_in(head.code, head.layer.at), "the last layer gives any number"),
                    Link(place_in(file, compiled.loss_at.at), "the loss is a distance"),
                    Link(place_in(file, accuracy.at), "accuracy is measured"),
                ],
            )  # fmt: skip

    bad_code = {
        "a price": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(64, activation="relu"), layers.Dense(1)])
            model.compile(optimizer="adam", loss="mean_squared_error", metrics=["accuracy"])  # bad
            """,
        "among other metrics": """
            import keras
            from keras.layers import Dense

            def build():
                model = keras.models.Sequential()
                model.add(Dense(8, activation="relu"))
                model.add(Dense(1, activation="linear"))
                watched = ["mae", "acc"]  # bad
                model.compile("adam", loss=keras.losses.MeanAbsoluteError(), metrics=watched)
                return model
            """,
    }
    good_code = {
        "a distance": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(1)])
            model.compile(optimizer="adam", loss="mse", metrics=["mae"])
            """,
        "a probability": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(1, activation="sigmoid")])
            model.compile(optimizer="adam", loss="mse", metrics=["accuracy"])
            """,
        "classes": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(10)])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
            """,
    }


def _listed(file: Code, metrics: Value | None) -> tuple[Value, ...]:
    """The metrics of a list."""
    found, _ = followed(file, metrics)
    return found.items if isinstance(found, Group) and found.kind in ("list", "tuple") else ()
