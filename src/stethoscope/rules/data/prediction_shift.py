"""Predictions for a second set that are distributed differently from those for the first."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import named
from stethoscope.rules.shifting import evidence_of, one_shift, percent, unjudged
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, two_sets, yes_no


class PredictionShift(Rule):
    """A model's predictions are distributed differently in the two sets.

    ## What it sees
    The column of predictions in both sets: how many rows lie elsewhere, by more than the tolerance and more than
    chance allows; beside it the same of the target, where both sets have one.
    ## Why it hurts
    Of all columns this one sums up what matters to the model: inputs that moved without moving it cost little, and
    where it moves and the labels do not, the answers have become worse.
    ## How to fix it
    Look for what moved in the inputs, the preparation first. Label some rows of the second set to see whether the
    answers are right.
    ## When it is not a fault
    The labels moved as well, and the model follows them.
    ## Sources
    S. Rabanser, S. Günnemann and Z. Lipton, "Failing Loudly: an empirical study of methods for detecting dataset
    shift", NeurIPS 2019.
    """

    severity = Severity.WARNING

    tolerance = Limit(0.05, unit="share of the rows with another answer", why="as of any other column")
    clear = Limit(0.1, unit="the same share, for a warning", why="one answer in ten")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare the predictions of the two sets."""
        rate = SHARES[self.name]
        shift = one_shift(seen, seen.predictions, "prediction", rate, self.tolerance)
        if isinstance(shift, str):
            yield self.cannot_tell(shift)
            return
        if shift.verdict != "shift":
            if why := unjudged([shift], rate, self.tolerance):
                yield self.cannot_tell(why)
            return
        assert seen.test is not None
        evidence = [evidence_of(shift, self.tolerance)]
        labels = one_shift(seen, seen.target, "target", rate, self.tolerance)
        if not isinstance(labels, str):
            evidence.append(
                Evidence(
                    f"labels {named(seen.target)} that lie elsewhere", percent(labels.gap.size), "as many",
                    "predictions should move as the labels do",
                )
            )  # fmt: skip
        yield self.finding(
            f"predictions differ between the sets: {percent(shift.gap.size)} lie elsewhere",
            severity=Severity.WARNING if shift.effect >= self.clear else Severity.NOTE,
            place=Place(file=seen.test.name, columns=(seen.predictions,)),
            evidence=evidence,
            cause=f"The model answers otherwise for {seen.test.name} than for {seen.train.name}, by more than the "
            "tolerance and chance allow: its inputs have moved, or they are prepared differently.",
            fixes=[
                Fix(
                    "See where the answers have moved:\n"
                    + code(
                        f"print(train[{seen.predictions!r}].describe())",
                        f"print(test[{seen.predictions!r}].describe())",
                    )
                ),
                "Compare the inputs of both sets, and label some rows of the second.",
            ],
            unless="the labels have moved as well, and the model follows them.",
        )

    bad = Examples(lambda: {
        "scores": two_sets({"p": (bell(), bell(mean=1.0))}, predictions="p"),
        "classes": two_sets({"p": ({"a": 500, "b": 500}, {"a": 250, "b": 750})}, predictions="p"),
        "beside labels": two_sets(
            {"p": (bell(), bell(mean=1.0)), "y": (yes_no(0.5, 1000), yes_no(0.5, 1000))}, predictions="p", target="y"
        ),
        "next to the tolerance": two_sets({"p": (yes_no(0.5), yes_no(0.5515))}, predictions="p"),
        "next to a warning": two_sets({"p": (yes_no(0.5), yes_no(0.602))}, predictions="p"),
        "next to no warning": two_sets({"p": (yes_no(0.5), yes_no(0.598))}, predictions="p"),
    })  # fmt: skip
    good = Examples(lambda: {
        "the same": two_sets({"p": (bell(), bell())}, predictions="p"),
        "just within the tolerance": two_sets({"p": (yes_no(0.5), yes_no(0.5485))}, predictions="p"),
        "no predictions": two_sets({"p": (yes_no(0.5), yes_no(0.7))}),
    })  # fmt: skip
