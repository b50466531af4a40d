"""A regression target far from the scale of a network's output."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.facts.data import Data
from stethoscope.rules.columns import named, of_numbers, one_set
from stethoscope.rules.sites import code


class UnnormalizedTarget(Rule):
    """The target of a regression is on a scale far from that of a network's output.

    ## What it sees
    Mean and spread of the target column, where it is a number to be predicted.
    ## Why it hurts
    A fresh network answers numbers of about unit size. With a target of thousands the first loss is millions, and so is
    its gradient: rates that are usual diverge, and small ones take forever to reach the mean.
    ## How to fix it
    Subtract the training set's mean and divide by its spread; undo it on the answers. Of prices and counts, take the
    logarithm.
    ## When it is not a fault
    Where it is scaled later, or the model is none that learns by gradients.
    ## Sources
    Y. LeCun, L. Bottou, G. Orr and K.-R. Mueller, "Efficient BackProp", 1998.
    """

    severity = Severity.NOTE

    large = Limit(50.0, unit="root mean square of the target", why="temperatures and percentages reach some tens")
    small = Limit(
        0.01, unit="spread of the target", why="shares of a few percent are learned, of a few thousandths not"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the target's size."""
        column = seen.train.profile.column(seen.target)
        numbers = column.numbers if column is not None else None
        if seen.task != "regression" or numbers is None or not numbers.std > 0:
            yield self.cannot_tell("there is no target that is a number")
            return
        size = (numbers.mean**2 + numbers.std**2) ** 0.5
        if size < self.large and numbers.std >= self.small:
            return
        log = numbers.least > 0 and numbers.skewness > 1
        name = seen.target
        yield self.finding(
            f"the target {named(name)} has a mean of {number(numbers.mean)}, a spread of {number(numbers.std)}"[:72],
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=(name,)),
            evidence=[
                Evidence(f"mean of {named(name)}", number(numbers.mean), "about 0, as a network gets it"),
                Evidence(f"spread of {named(name)}", number(numbers.std), "about 1"),
            ],
            cause="A fresh network answers numbers of about unit size; the loss and its gradient grow with the square "
            "of the target's size.",
            fixes=[
                "Scale it with the training set's mean and spread, and undo that on the answers:\n"
                + code(f"y = numpy.log(frame[{name!r}])" if log else
                       f"y = (frame[{name!r}] - {numbers.mean:.4g}) / {numbers.std:.4g}")
            ],
            unless="it is scaled later, or the model does not learn by gradients.",
        )  # fmt: skip

    bad = Examples(lambda: {
        "prices": one_set(of_numbers("y", [1000 * 1.02**i for i in range(99)]), target="y", task="regression"),
        "fifty": one_set(of_numbers("y", [45, 55.2]), target="y", task="regression"),
        "thousandths": one_set(of_numbers("y", [0.5, 0.5197]), target="y", task="regression"),
    })  # fmt: skip
    good = Examples(lambda: {
        "unit size": one_set(of_numbers("y", [-1.5, 0.5, 1.0]), target="y", task="regression"),
        "below fifty": one_set(of_numbers("y", [44, 54.2]), target="y", task="regression"),
        "a hundredth": one_set(of_numbers("y", [0.5, 0.5205]), target="y", task="regression"),
        "classes": one_set(of_numbers("y", [100, 200, 300]), target="y", task="classification"),
    })  # fmt: skip
