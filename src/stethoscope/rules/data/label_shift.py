"""Labels of a second set that come from another distribution than those of training."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Finding, Fix, Place, Severity
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.rules.budget import SHARES
from stethoscope.rules.shifting import evidence_of, of_known_classes, one_shift, percent, unjudged
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, two_sets, yes_no


class LabelShift(Rule):
    """The target is distributed differently in the two sets.

    ## What it sees
    The shares of the classes (or the values of a continuous target) in both sets: how many rows lie elsewhere, by
    more than the tolerance and more than chance allows. Classes that the first set lacks are left to new-categories.
    ## Why it hurts
    A model learns how frequent each class is, and leans towards the frequent ones. Where other classes are frequent
    its probabilities are off, and so are a threshold and an accuracy measured there.
    ## How to fix it
    Split with the same shares (stratified). Where the difference is real, weight the classes or correct the
    probabilities by the ratio of the shares.
    ## When it is not a fault
    A test set that was balanced on purpose, or a later time in which a class has become frequent.
    ## Sources
    Z. Lipton, Y. Wang and A. Smola, "Detecting and correcting for label shift with black box predictors", ICML 2018.
    M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities",
    Neural Computation 14, 2002.
    """

    severity = Severity.WARNING

    tolerance = Limit(
        0.05, unit="share of the rows with another label", why="class shares that differ so little cost little"
    )
    clear = Limit(
        0.1, unit="the same share, for a warning", why="one label in ten: as much as many models' whole error"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare the target of the two sets."""
        rate = SHARES[self.name]
        shift = one_shift(seen, seen.target, "target", rate, self.tolerance)
        if isinstance(shift, str):
            yield self.cannot_tell(shift)
            return
        if shift.verdict != "shift":
            if why := unjudged([shift], rate, self.tolerance):
                yield self.cannot_tell(why)
            return
        assert seen.test is not None
        if (known := of_known_classes(shift, rate, self.tolerance)) is None:
            yield self.cannot_tell("what differs are classes that the first set lacks, which new-categories tells")
            return
        shift = known
        of_classes = shift.one.numbers is None
        yield self.finding(
            f"the labels have shifted: {percent(shift.gap.size)} of them lie elsewhere",
            severity=Severity.WARNING if shift.effect >= self.clear else Severity.NOTE,
            place=Place(file=seen.test.name, columns=(seen.target,)),
            evidence=[evidence_of(shift, self.tolerance)],
            cause=f"The {'classes have other shares' if of_classes else 'values of the target lie elsewhere'} in "
            f"{seen.test.name} than in {seen.train.name}, by more than the tolerance and chance allow.",
            fixes=[
                Fix(
                    "Where both were cut from one table, keep the shares alike:\n"
                    + code(f"train, test = train_test_split(frame, stratify=frame[{seen.target!r}])")
                )
                if of_classes
                else Fix(
                    "Where both were cut from one table, shuffle it first:\n"
                    + code("train, test = train_test_split(frame, shuffle=True)")
                ),
                "Where the difference is real, correct the probabilities by the ratio of the shares.",
            ],
            unless="the shares were made different on purpose, as by balancing one of the sets.",
        )

    bad = Examples(lambda: {
        "other shares": two_sets({"y": ({"a": 500, "b": 500}, {"a": 250, "b": 750})}, target="y"),
        "class indices": two_sets({"y": ([0.0, 1.0] * 500, [0.0, 1.0, 1.0, 1.0] * 250)}, target="y"),
        "a new class, and other shares": two_sets(
            {"y": ({"a": 500, "b": 500}, {"a": 200, "b": 600, "c": 200})}, target="y"
        ),
        "a continuous target": two_sets({"y": (bell(), bell(mean=1.0))}, target="y"),
        "next to the tolerance": two_sets({"y": (yes_no(0.5), yes_no(0.5515))}, target="y"),
        "next to a warning": two_sets({"y": (yes_no(0.5), yes_no(0.602))}, target="y"),
        "next to no warning": two_sets({"y": (yes_no(0.5), yes_no(0.598))}, target="y"),
    })  # fmt: skip
    good = Examples(lambda: {
        "the same shares": two_sets({"y": (yes_no(0.5, 1000), yes_no(0.51, 1000))}, target="y"),
        "just within the tolerance": two_sets({"y": (yes_no(0.5), yes_no(0.5485))}, target="y"),
        "a new class": two_sets({"y": ({"a": 500, "b": 500}, {"a": 400, "b": 400, "c": 200})}, target="y"),
        "other names of the classes": two_sets({"y": ({"a": 500, "b": 500}, {"0": 400, "1": 400})}, target="y"),
        "no target": two_sets({"y": (yes_no(0.5), yes_no(0.7))}),
        "no labels in the second set": two_sets({"y": (yes_no(0.5, 100), {})}, target="y"),
    })  # fmt: skip
