"""Predictions in a random order, compared with labels in the order of the files."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name
from stethoscope.facts.expressions import values_of
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_FLOWS = (".flow_from_directory", ".flow_from_dataframe")
_PREDICTS = (".predict", ".predict_generator", ".predict_on_generator")


class GeneratorShuffledPredictions(Rule):
    """A Keras generator shuffles while a model predicts, and its labels keep the files' order.

    ## What it sees
    `flow_from_directory` without `shuffle=False`, given to `predict`, and its `classes`, `labels` or `filenames` read
    in the same file.
    ## Why it hurts
    Generators shuffle unless told otherwise, and `generator.classes` is in the order of the files. Answers and labels
    belong to different images: the confusion matrix shows chance level, however good the model is.
    ## How to fix it
    `shuffle=False` for the generator that is predicted on.
    ## When it is not a fault
    A generator whose labels are not read, or that shuffles for training only. Neither is reported.
    ## Sources
    Keras documentation, `ImageDataGenerator.flow_from_directory`: "shuffle: whether to shuffle the data (default:
    True)".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow what is predicted on to the call that made it."""
        if not file.calls_of(*_FLOWS):
            return
        told = set()
        for call in file.calls_of(*_PREDICTS):
            given = call.argument(0, "x") or call.keyword("generator")
            flow, _ = followed(file, given)
            if not isinstance(flow, Call) or flow.name not in _FLOWS or flow.number in told or flow.is_open:
                continue
            if flow.keyword("shuffle") is not None and literal(file, flow.keyword("shuffle")) is not True:
                continue
            read = next(iter(_labels(file, given)), None)
            if read is None or (file.says(".reset()") and file.says("shuffle = False")):
                continue
            told.add(flow.number)
            yield self._read(file, flow, call, read)

    def _read(self, file: Code, flow: Call, call: Call, read: Attribute) -> Finding:
        name = file.text(read.value.at)
        return self.finding(
            fitting(f"`{name}` shuffles while its answers are predicted", "a generator shuffles what is predicted"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, flow.at),
            evidence=[
                Evidence(f"orders that the answers on {line_of(file, call.at)} can have", "any", "1, that of the files",
                         "`shuffle` is True unless given")
            ],
            cause=f"Answers come in a shuffled order, `{name}.{read.name}` in the order of the files: they belong to "
            "different images.",
            fixes=["Keep the order of what is predicted on:\n" + code("flow_from_directory(..., shuffle=False)")],
            chain=[
                Link(place_in(file, flow.at), "the generator shuffles"),
                Link(place_in(file, call.at), "answers are predicted, in its order"),
                Link(place_in(file, read.at), "labels are read, in the order of the files"),
            ],
        )  # fmt: skip

    bad_code = {
        "a report": """
            from sklearn.metrics import confusion_matrix
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def report(model):
                images = ImageDataGenerator(rescale=1 / 255)
                test = images.flow_from_directory("test", target_size=(64, 64))  # bad
                answers = model.predict(test).argmax(axis=1)
                return confusion_matrix(test.classes, answers)
            """,
    }
    good_code = {
        "in order": """
            from sklearn.metrics import confusion_matrix
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def report(model):
                images = ImageDataGenerator(rescale=1 / 255)
                test = images.flow_from_directory("test", target_size=(64, 64), shuffle=False)
                answers = model.predict(test).argmax(axis=1)
                return confusion_matrix(test.classes, answers)
            """,
        "labels of another": """
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def train(model):
                images = ImageDataGenerator(rescale=1 / 255)
                train = images.flow_from_directory("train")
                test = images.flow_from_directory("test")
                weights = [1 for one in train.classes]
                model.fit(train, class_weight=weights)
                return model.predict(test)
            """,
    }


def _labels(file: Code, generator: object) -> Iterator[Attribute]:
    """Where the labels of a generator are read."""
    for value in values_of(file):
        if isinstance(value, Attribute) and value.name in ("classes", "labels", "filenames"):
            owner = value.value
            same = isinstance(owner, Name) and isinstance(generator, Name) and owner.binding == generator.binding
            if same and isinstance(owner, Name) and owner.binding != NOWHERE:
                yield value
