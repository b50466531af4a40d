"""A cross-entropy over one class."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Code
from stethoscope.facts.keras_models import compiled_in
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.things import literal
from stethoscope.rules.keras_heads import CATEGORICAL, CLASSES
from stethoscope.rules.lines import line_of, place_in, where
from stethoscope.rules.sites import code


class OneOutputCrossEntropy(Rule):
    """A cross-entropy over classes gets one output: its loss is 0, whatever the model says.

    ## What it sees
    A last layer with one unit in front of `cross_entropy`, or of a categorical cross-entropy of Keras.
    ## Why it hurts
    Over one class every probability is 1 and every loss 0: there is no gradient, or only a meaningless one.
    ## How to fix it
    Two units for two classes, or a binary cross-entropy for one.
    ## When it is not a fault
    None is known for targets that are classes.
    ## Sources
    PyTorch documentation, `torch.nn.CrossEntropyLoss`; Keras documentation, `CategoricalCrossentropy`: "use this when
    there are two or more label classes".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at how many numbers the last layer gives."""
        for loss in losses_of(file):
            made, home = loss.output.made, loss.output.made_in
            if loss.function != "cross_entropy" or made is None or home is None or made.name != "torch.nn.Linear":
                continue
            if literal(home, made.argument(1, "out_features")) == 1:
                yield self._read(
                    file, loss.call.at, "cross_entropy", home, made.at, "F.binary_cross_entropy_with_logits(output, y)"
                )
        for compiled in compiled_in(file):
            head = compiled.head
            if head is not None and head.units == 1 and compiled.loss in CATEGORICAL:
                yield self._read(
                    file, compiled.loss_at.at, CLASSES[compiled.loss], head.code, head.layer.at,
                    "loss=keras.losses.BinaryCrossentropy(from_logits=True)",
                )  # fmt: skip

    def _read(self, file: Code, used: At, loss: str, home: Code, layer: At, binary: str) -> Finding:
        line = line_of(home, layer) if home is file else where(home, layer)
        return self.finding(
            f"`{loss}` compares classes, and gets one output",
            sureness=Sureness.CERTAIN,
            place=place_in(file, used),
            evidence=[Evidence(f"outputs of the last layer on {line}", 1, "2 or more, one for each class")],
            cause="Among one class the probability is 1 whatever the model says, so there is nothing to learn.",
            fixes=["For two classes and one output, use the binary loss, with targets 0.0 and 1.0:\n" + code(binary)],
            chain=[Link(place_in(file, used), "the loss"), Link(place_in(home, layer), "the last layer")],
        )

    on_trial = True
    bad_code = {
        "torch": """
            model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()  # bad
            """,
        "Keras": """
            from keras import Sequential
            from keras.layers import Dense

            model = Sequential()
            model.add(Dense(1, activation="sigmoid"))
            model.compile("adam", loss="sparse_categorical_crossentropy")  # bad
            """,
    }
    good_code = {
        "two classes": """
            model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()
            """,
        "a binary loss": """
            from keras import Sequential
            from keras.layers import Dense

            model = Sequential([Dense(1, activation="sigmoid")])
            model.compile("adam", loss="binary_crossentropy")
            """,
    }
