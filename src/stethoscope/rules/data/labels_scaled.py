"""Class labels that are scaled as if they were inputs."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Binding, Call, Code, Name, Operation, Value
from stethoscope.facts.things import binding_of, literal
from stethoscope.rules.lines import line_of, place_in, quoted
from stethoscope.rules.sites import code

LOADERS = tuple(
    f"keras.datasets.{name}.load_data" for name in ("mnist", "fashion_mnist", "cifar10", "cifar100", "reuters")
)


class LabelsScaled(Rule):
    """Class labels are divided by a number, as if they were pixels.

    ## What it sees
    The labels of one of Keras's image data sets, divided by a number.
    ## Why it hurts
    The classes 0 to 9 become fractions close to 0: as class numbers they all round to class 0, and as a target all
    answers near 0 look good.
    ## How to fix it
    Scale the inputs only.
    ## When it is not a fault
    Numbers that are to be predicted as numbers may be scaled. Only labels of known classes are looked at.
    ## Sources
    Keras documentation, `keras.datasets.mnist.load_data`: "y_train: uint8 NumPy array of digit labels".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for divisions of labels."""
        if not file.calls_of(*LOADERS):
            return
        for binding in file.bindings:
            value = binding.value
            if binding.how not in ("assign", "augment") or not isinstance(value, Operation) or value.operator != "/":
                continue
            labels, by = value.operands
            number = literal(file, by)
            if not isinstance(number, int | float) or isinstance(number, bool) or number <= 1:
                continue
            if not _are_labels(file, labels):
                continue
            name = quoted(file, labels, "the labels")
            yield self.finding(
                f"class labels are divided by {number:g}",
                sureness=Sureness.CERTAIN,
                place=place_in(file, binding.at),
                evidence=[Evidence(f"what {name} is divided by on {line_of(file, binding.at)}", f"{number:g}", "1")],
                cause=f"{name} are numbers of classes; divided, they are no classes any more."
                if name.startswith("`")
                else "Labels are numbers of classes; divided, they are no classes any more.",
                fixes=["Scale the inputs, and leave the labels as they are:\n" + code("x_train = x_train / 255")],
            )

    on_trial = True
    bad_code = {
        "with the pixels": """
            from tensorflow.keras.datasets import mnist

            (x_train, y_train), (x_test, y_test) = mnist.load_data()
            x_train, x_test = x_train / 255.0, x_test / 255.0
            y_train = y_train.astype("float32") / 255  # bad
            y_test /= 255  # bad
            """,
    }
    good_code = {
        "the pixels only": """
            from tensorflow.keras.datasets import mnist

            (x_train, y_train), (x_test, y_test) = mnist.load_data()
            x_train, x_test = x_train / 255.0, x_test / 255.0
            """,
        "prices": """
            from keras.datasets import boston_housing

            (x_train, y_train), (x_test, y_test) = boston_housing.load_data()
            y_train = y_train / 50.0
            """,
    }


def _are_labels(file: Code, value: Value | None) -> bool:
    """Whether a value is the labels of a data set of images, as they were loaded."""
    for _ in range(12):
        if isinstance(value, Call) and value.name in (".astype", ".reshape", ".flatten"):
            value = value.receiver
            continue
        binding: Binding | None = binding_of(file, value) if isinstance(value, Name) else None
        if binding is None or binding.how != "assign":
            return False
        if binding.item:
            made = binding.value
            return isinstance(made, Call) and made.name in LOADERS and len(binding.item) == 2 and binding.item[1] == 1
        value = binding.value
    return False
