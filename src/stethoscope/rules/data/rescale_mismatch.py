"""Images that are rescaled for training, and not for what is measured."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Operation, Value
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_FLOWS = (".flow_from_directory", ".flow_from_dataframe")


class RescaleMismatch(Rule):
    """A Keras generator rescales the training images, and that of the validation images does not.

    ## What it sees
    Two `ImageDataGenerator`s that feed one `fit`, the training one with a `rescale` that the validation one lacks or
    has otherwise, and no `preprocessing_function` in either.
    ## Why it hurts
    The model learns from pixels between 0 and 1, and is measured on pixels between 0 and 255: the validation score is
    near chance, whatever was learned.
    ## How to fix it
    The same `rescale` for both.
    ## When it is not a fault
    A generator whose preprocessing function does the same. That is not reported. In a run `inconsistent-preprocessing`
    compares the two ranges.
    ## Sources
    Keras documentation, `ImageDataGenerator`: `rescale`.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow both data sets of a `fit` to their generators."""
        told = set()
        for call in file.calls_of(".fit", ".fit_generator"):
            given = call.argument(0, "x") or call.keyword("generator")
            first, second = _generator(file, given), _generator(file, call.keyword("validation_data"))
            if first is None or second is None or first is second or second.number in told:
                continue
            scales = _rescale(file, first), _rescale(file, second)
            if None in scales or scales[0] == scales[1]:
                continue
            told.add(second.number)
            yield self.finding(
                "training and validation images are rescaled differently",
                sureness=Sureness.CERTAIN,
                place=place_in(file, second.at),
                evidence=[
                    Evidence(f"factor of the images on {line_of(file, second.at)}", f"{scales[1]:.4g}",
                             f"{scales[0]:.4g}", "as in training")
                ],
                cause="What the model learned from one range of pixels is measured on another.",
                fixes=["Rescale both alike:\n" + code("ImageDataGenerator(rescale=1 / 255)")],
                chain=[
                    Link(place_in(file, first.at), "training images are prepared"),
                    Link(place_in(file, second.at), "validation images are prepared"),
                    Link(place_in(file, call.at), "both are given to `fit`"),
                ],
            )  # fmt: skip

    bad_code = {
        "only in training": """
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def train(model):
                augmented = ImageDataGenerator(rescale=1.0 / 255, horizontal_flip=True)
                plain = ImageDataGenerator()  # bad
                images = augmented.flow_from_directory("train")
                others = plain.flow_from_directory("validation")
                model.fit(images, validation_data=others)
            """,
    }
    good_code = {
        "alike": """
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def train(model):
                augmented = ImageDataGenerator(rescale=1.0 / 255, horizontal_flip=True)
                plain = ImageDataGenerator(rescale=1 / 255.0)
                images = augmented.flow_from_directory("train")
                model.fit(images, validation_data=plain.flow_from_directory("validation"))
            """,
        "otherwise": """
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def train(model, prepare):
                augmented = ImageDataGenerator(rescale=1.0 / 255, horizontal_flip=True)
                plain = ImageDataGenerator(preprocessing_function=prepare)
                images = augmented.flow_from_directory("train")
                model.fit(images, validation_data=plain.flow_from_directory("validation"))
            """,
        "arrays that were rescaled": """
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

            def train(model, x, y, x_test, y_test):
                augmented = ImageDataGenerator(rescale=1.0 / 255)
                plain = ImageDataGenerator()
                model.fit(augmented.flow(x, y), validation_data=plain.flow(x_test, y_test))
            """,
    }


def _generator(file: Code, value: Value | None) -> Call | None:
    """The construction of the `ImageDataGenerator` that images come from, read from files."""
    flow, _ = followed(file, value)
    if not isinstance(flow, Call) or flow.name not in _FLOWS:
        return None
    made, _ = followed(file, flow.receiver)
    known = isinstance(made, Call) and made.name.endswith("ImageDataGenerator") and not made.is_open
    if not known or not isinstance(made, Call) or made.keyword("preprocessing_function") is not None:
        return None
    return made if made.keyword("samplewise_std_normalization") is None and not made.arguments else None


def _rescale(file: Code, made: Call) -> float | None:
    """The factor of a generator; None where it is not known."""
    value = made.keyword("rescale")
    if value is None:
        return 1.0
    found = literal(file, value)
    if found is None:
        return 1.0
    if isinstance(found, int | float):
        return float(found)
    if isinstance(found, Operation) and found.operator == "/":
        above, below = (literal(file, one) for one in found.operands)
        if isinstance(above, int | float) and isinstance(below, int | float) and below:
            return above / below
    return None
