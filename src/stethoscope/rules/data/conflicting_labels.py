"""The same input with different labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount
from stethoscope.facts.data import Data, DataSet, Repeats
from stethoscope.rules import pictures
from stethoscope.rules.columns import decided_by_chance, named, of_numbers, of_words, one_set, row_of
from stethoscope.rules.sites import code


class ConflictingLabels(Rule):
    """Rows with equal inputs have different labels.

    ## What it sees
    Groups of rows that are equal in all columns but the target, and differ there. Of pictures: the same pixels in
    several classes. Of a second set: such rows where the first one has few.
    ## Why it hurts
    No model can be right about both. They are label errors, or something is missing among the inputs that tells the
    two apart; their share is a floor under the error.
    ## How to fix it
    Look at the groups: correct labels that are wrong, or add the column in which the rows differ.
    ## When it is not a fault
    Outcomes that chance decides: the same case may end in either way. Where labels of equal rows differ as often as
    those of any two rows, it is a note.
    ## Sources
    C. Northcutt, A. Athalye, J. Mueller, "Pervasive Label Errors in Test Sets", NeurIPS 2021.
    """

    severity = Severity.WARNING
    in_batches = True

    share = Limit(0.01, unit="share of the rows", why="below, an experienced labeller errs as often")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the conflicts of the training set."""
        if seen.train.images is not None and seen.train.images.labels:
            yield from pictures.conflicts(self, seen, self.share)
            if seen.train.repeats is None:
                return
        repeats = seen.train.repeats
        if repeats is None or seen.task != "classification":
            yield self.cannot_tell("there is no target with classes" if seen.task != "classification" else
                                   "rows were not compared")  # fmt: skip
            return
        if repeats.conflicting is None:
            yield self.cannot_tell("this engine compares whole rows only; take a part of them into memory")
            return
        if repeats.conflicting:
            yield self._rows(seen, seen.train, repeats, repeats.conflicting)
        other = seen.test.repeats if seen.test is not None else None
        if seen.test is None or other is None or not other.conflicting or self._are_many(seen, seen.train):
            return
        if self._are_many(seen, seen.test):
            yield self._rows(seen, seen.test, other, other.conflicting)

    def _are_many(self, seen: Data, one: DataSet) -> bool:
        count = (one.repeats.conflicting if one.repeats is not None else 0) or 0
        return count > 0 and count >= self.share * one.profile.rows and not decided_by_chance(seen, one)

    def _rows(self, seen: Data, one: DataSet, repeats: Repeats, count: int) -> Finding:
        by_chance = decided_by_chance(seen, one)
        rows, where = one.profile.rows, "" if one is seen.train else ", second set"
        suspects = [
            SuspectRow(one.name, row, row_of(one.sample, row, seen.target), f"equal inputs: row {_other(group, row)}")
            for group in repeats.conflicts
            for row in group
        ]
        return self.finding(
            f"{amount(count, 'row')} with equal inputs and different {named(seen.target)}{where}"[:72],
            severity=Severity.WARNING if self._are_many(seen, one) else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name, columns=(seen.target,)),
            evidence=[
                Evidence(
                    "rows whose inputs equal another row's, and whose label does not",
                    f"{count:,} ({count / rows:.1%})",
                    "0",
                )
            ],
            cause="Equal rows differ in their labels about as often as any two rows do: in these columns different "
            "cases look the same. No model can be right about both, so their share is a floor under its error."
            if by_chance
            else "Of two such rows one is wrong for any model: a label error, or a column that tells them apart is "
            "missing.",
            fixes=[
                "Look at them, and correct the labels or leave the groups out:\n"
                + code("stethoscope data TRAIN --target TARGET --suspects rows.csv")
            ],
            unless="chance decides the outcome, so that equal cases do differ.",
            suspects=suspects,
        )

    bad = Examples(lambda: {
        "many": _set(Repeats(conflicting=20, conflicts=((1, 2),))),
        "a hundredth": _set(Repeats(conflicting=10)),
        "not quite a hundredth": _set(Repeats(conflicting=96), 10000),
        "as by chance": _set(Repeats(exact=80, conflicting=80)),
        "one of which is not known": _set(Repeats(exact=9, conflicting=20)),
        "few": _set(Repeats(conflicting=2)),
        "a picture in two classes": pictures.of_pictures(labels=("cat", "dog") * 50, same=((2, 7),)),
    })  # fmt: skip
    good = Examples(lambda: {
        "none": _set(Repeats()),
        "not counted": _set(Repeats(exact=9, conflicting=None)),
        "pictures of a single colour": pictures.of_pictures(
            labels=("cat", "dog") * 50, same=((0, 1),), contrast=[0.0, 0.0]
        ),
        "a copy in its class": pictures.of_pictures(labels=("cat", "dog") * 50, same=((2, 8),)),
    })  # fmt: skip


def _other(group: Sequence[int], row: int) -> int:
    """Another row of a group: its first one, of the first the next."""
    return next((one for one in group if one != row), row)


def _set(repeats: Repeats, rows: int = 1000) -> Data:
    columns = of_numbers("a", range(rows)), of_words("y", {"cat": rows // 2, "dog": rows // 2})
    return one_set(*columns, target="y", task="classification", repeats=repeats)
