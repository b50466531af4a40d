"""A softmax over a single number."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code, Constant, Symbol
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import edit_of, line_of, place_in
from stethoscope.rules.sites import code


class SoftmaxOnOneUnit(Rule):
    """A layer with one unit ends in softmax: its output is 1, whatever comes in.

    ## What it sees
    `Dense(1, activation="softmax")` of Keras.
    ## Why it hurts
    Softmax divides by the sum over the units. Of one unit that is the unit itself: the output is always 1, and no
    gradient passes.
    ## How to fix it
    A sigmoid for two classes, or one unit for each class. For weights over a sequence: softmax along the sequence.
    ## When it is not a fault
    None is known.
    ## Sources
    Keras documentation, `keras.activations.softmax`: "the elements of the output vector are in range (0, 1) and sum
    to 1", along the last axis.
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such layers."""
        for call in file.calls_of("keras.layers.Dense", "keras.layers.core.Dense"):
            written = call.argument(1, "activation")
            activation, _ = followed(file, written)
            named = isinstance(activation, Constant) and activation.value == "softmax"
            given = isinstance(activation, Symbol) and activation.name in ("keras.activations.softmax", SOFTMAX)
            if literal(file, call.argument(0, "units")) != 1 or not (named or given):
                continue
            yield self.finding(
                "a softmax over one unit always gives 1",
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"units that the softmax on {line_of(file, call.at)} compares", 1, "2 or more")],
                cause="Softmax divides each output by the sum over the units; with one unit the result is 1 for every "
                "input, and has no gradient.",
                fixes=[
                    Fix(
                        "For two classes, use a sigmoid:\n" + code('layers.Dense(1, activation="sigmoid")'),
                        edits=(edit_of(file, written.at, '"sigmoid"'),) if written is not None else (),
                    ),
                    "For weights over a sequence, take the softmax along it:\n"
                    + code("layers.Softmax(axis=1)(layers.Dense(1)(x))"),
                ],
            )

    on_trial = True
    bad_code = {
        "a head for two classes": """
            import tensorflow as tf
            from tensorflow.keras.layers import Dense

            model = tf.keras.Sequential()
            model.add(tf.keras.layers.Dense(1, activation="softmax"))  # bad
            scores = Dense(1, activation=tf.nn.softmax)  # bad
            """,
    }
    good_code = {
        "a sigmoid, or a unit for each class": """
            from keras.layers import Dense

            one = Dense(1, activation="sigmoid")
            ten = Dense(10, activation="softmax")
            """,
    }


SOFTMAX = "tensorflow.nn.softmax"
