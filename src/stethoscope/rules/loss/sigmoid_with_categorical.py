"""Sigmoids on the units of a categorical loss."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.keras_models import compiled_in
from stethoscope.rules.keras_heads import CATEGORICAL, CLASSES
from stethoscope.rules.lines import fitting, place_in, where
from stethoscope.rules.sites import code


class SigmoidWithCategorical(Rule):
    """A Keras model ends in several sigmoids, and its loss expects probabilities that sum to 1.

    ## What it sees
    A last layer with two or more units and a sigmoid, compiled with a categorical cross-entropy without
    `from_logits=True`.
    ## Why it hurts
    Sigmoids are independent: all can be near 1 at once. The loss divides them by their sum, so it is small as soon as
    they are alike, and the gradient vanishes where they saturate; the outputs are no probabilities.
    ## How to fix it
    `activation="softmax"` for one class of several; `binary_crossentropy` where several labels hold at once.
    ## When it is not a fault
    None is known: for labels that hold together the loss is the wrong one.
    ## Sources
    Keras documentation, `CategoricalCrossentropy`; posts of the DeepLocalize benchmark.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the activation of the last layer beside the loss."""
        for compiled in compiled_in(file):
            head = compiled.head
            if head is None or head.activation not in ("sigmoid", "hard_sigmoid") or compiled.from_logits is not False:
                continue
            if compiled.loss not in CATEGORICAL or head.units is None or head.units < 2:
                continue
            name = CLASSES[compiled.loss]
            yield self.finding(
                fitting(f"{head.units} sigmoids go into `{name}`", "sigmoids go into a categorical loss"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, compiled.loss_at.at),
                evidence=[
                    Evidence(
                        f"sum of the {head.units} outputs of the last layer on {where(head.code, head.layer.at)}",
                        f"0 to {head.units}", "1",
                    )
                ],
                cause="Each sigmoid is a probability of its own, and the loss takes them for shares of one.",
                fixes=[
                    "For one class of several:\n" + code(f'layers.Dense({head.units}, activation="softmax")'),
                    "For labels that hold at once:\n" + code('loss="binary_crossentropy"'),
                ],
                chain=[
                    Link(place_in(head.code, head.layer.at), "the last layer"),
                    Link(place_in(file, compiled.loss_at.at), "the loss"),
                ],
            )  # fmt: skip

    bad_code = {
        "three classes": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(3, activation="sigmoid")])
            model.compile(optimizer="adam", loss="categorical_crossentropy")  # bad
            """,
    }
    good_code = {
        "one unit": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(1, activation="sigmoid")])
            model.compile(optimizer="adam", loss="binary_crossentropy")
            """,
        "labels that hold at once": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(5, activation="sigmoid")])
            model.compile(optimizer="adam", loss="binary_crossentropy")
            """,
        "softmax": """
            import keras
            from keras.layers import Dense

            model = keras.Sequential([Dense(64, activation="relu"), Dense(5, activation="softmax")])
            model.compile(optimizer="adam", loss="categorical_crossentropy")
            """,
    }
