"""A cross-entropy over one class."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Code
from stethoscope.facts.keras_models import compiled_in
from stethoscope.facts.loss_calls import losses_of
from stethoscope.rules.keras_heads import CATEGORICAL, CLASSES
from stethoscope.rules.lines import line_of, place_in, where
from stethoscope.rules.one_output import one_output
from stethoscope.rules.sites import code


class OneOutputCrossEntropy(Rule):
    """A cross-entropy over classes gets one output: its loss is 0, whatever the model says.

    ## What it sees
    A last layer with one unit, and perhaps a sigmoid behind it, in front of `cross_entropy`, or of a categorical
    cross-entropy of Keras.
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
            head = one_output(file, loss)
            if head is not None and head.made is not None and head.made_in is not None:
                yield self._read(
                    file, loss.call.at, "cross_entropy", head.made_in, head.made.at,
                    "F.binary_cross_entropy_with_logits(output, y)",
                )  # fmt: skip
        for compiled in compiled_in(file):
            dense = compiled.head
            if dense is not None and dense.units == 1 and compiled.loss in CATEGORICAL:
                yield self._read(
                    file, compiled.loss_at.at, CLASSES[compiled.loss], dense.code, dense.layer.at,
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
        "torch, behind a sigmoid": """
            class Head(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.out = nn.Linear(width, 1)
                    self.act = torch.sigmoid

                def forward(self, x):
                    return self.act(self.out(x))

            loss = F.cross_entropy(Head(8)(torch.load("x")), torch.load("y"))  # bad
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
        "the scores of several choices, side by side": """
            class Choices(nn.Module):
                def __init__(self, body):
                    super().__init__()
                    self.body = body
                    self.score = nn.Linear(8, 1)

                def forward(self, x, labels):
                    logits = self.score(self.body(x))
                    reshaped = logits.view(-1, x.shape[1])
                    return nn.CrossEntropyLoss()(reshaped, labels)
            """,
        "reshaped by the head": """
            class Head(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.score = nn.Linear(8, 1)

                def forward(self, x):
                    return self.score(x).squeeze(-1)

            head = Head()
            loss = F.cross_entropy(head(torch.load("x")), torch.load("y"))
            """,
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
