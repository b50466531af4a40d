"""Rows with certain values where a model's predictions are worst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.facts.data import Data, Segment
from stethoscope.rules.columns import of_words, one_set
from stethoscope.rules.sites import code


class WeakSegment(Rule):
    """In rows with certain values of one column or two the predictions are much worse than elsewhere.

    ## What it sees
    On one half of the rows it looks for the cells of one column, and of each two, where the error of the predictions
    is most above the others'; on the other half it measures them. Of that half are the figures, and their intervals
    hold for all segments that were tried.
    ## Why it hurts
    A good mean hides it: those whom the segment stands for get a bad model.
    ## How to fix it
    Look at rows of the segment: labels, missing values, too few examples. Add rows like these, or a column that tells
    them apart.
    ## When it is not a fault
    Where rows of the segment are hard by nature, such as cases between two classes.
    ## Sources
    Y. Chung, T. Kraska, N. Polyzotis, K. Tae, S. Whang, "Slice Finder", ICDE 2019.
    """

    severity = Severity.WARNING

    tolerated = Limit(
        0.05, unit="share predicted wrong above the others'", why="surely five points in a hundred are worth the work"
    )
    times = Limit(1.5, unit="times the others' error", why="by less, a segment differs as any two do")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the segments of the test set, where it has predictions, or of the training set."""
        judged = next((one for one in reversed(seen.sets) if one.weak is not None), None)
        if judged is None or judged.weak is None:
            why = "no predictions were given" if not seen.predictions else "predictions and target cannot be compared"
            yield self.cannot_tell(why)
            return
        surely = self.tolerated if seen.task != "regression" else 0.0
        weak = [one for one in judged.weak if one.gap[0] > surely and one.others + one.gap[0] > self.times * one.others]
        if weak:
            yield self._report(seen, judged.name, weak)

    def _report(self, seen: Data, name_of_set: str, weak: list[Segment]) -> Finding:
        one = weak[0]
        is_share = seen.task != "regression"
        start, name = "predictions are weak where", _name(one).replace("`", "")
        room = 72 - len(start) - 3
        return self.finding(
            f"{start} `{name if len(name) <= room else name[: room - 1] + '…'}`",
            sureness=Sureness.CERTAIN,
            place=Place(file=name_of_set, columns=tuple(column for column, _ in one.where)),
            evidence=[
                Evidence(
                    f"{'share predicted wrong' if is_share else 'mean error'} where {_name(each)} ({each.rows:,} rows)",
                    f"{each.error:.1%}" if is_share else number(each.error),
                    f"{each.others:.1%} elsewhere" if is_share else f"{number(each.others)} elsewhere",
                    "rows that were not used to find it; differs surely by "
                    + (f"{100 * each.gap[0]:.1f} points" if is_share else number(each.gap[0])),
                )
                for each in weak
            ],
            cause="The predictions are worse there than elsewhere, by more than chance can do, on rows that took no "
            "part in the search. Few rows like these, wrong labels, or a missing column are the usual reasons.",
            fixes=[f"Look at rows of the segment, and add rows like these:\n{code(f'frame[{one.frame}].head(20)')}"],
            unless="these rows are hard by nature.",
        )

    bad = Examples(lambda: {
        "two columns": _set(_segment(0.4, 0.1, 0.2)),
        "just enough points": _set(_segment(0.14, 0.05, 0.0505)),
        "just enough times": _set(_segment(0.4, 0.2, 0.1025)),
        "numbers": _set(_segment(4.0, 1.0, 2.0), "regression"),
        "in the test set": _tested(_segment(0.4, 0.1, 0.2)),
    })  # fmt: skip
    good = Examples(lambda: {
        "none": one_set(of_words("a", {"x": 500, "y": 500}), target="a", task="classification", weak=()),
        "in the training set, and not in the test set": _tested(_segment(0.3, 0.2, -0.05), _segment(0.4, 0.1, 0.2)),
        "by chance": _set(_segment(0.3, 0.2, -0.05)),
        "not quite enough points": _set(_segment(0.14, 0.05, 0.0495)),
        "not quite so many times": _set(_segment(0.4, 0.2, 0.0985)),
    })  # fmt: skip


def _name(one: Segment) -> str:
    return " and ".join(f"{column} is {value}" for column, value in one.where)


def _segment(error: float, others: float, surely: float) -> Segment:
    where = (("age", "above 60"), ("sex", "f"))
    return Segment(where, 120, error, others, (surely, 2 * error), "(frame['age'] > 60) & (frame['sex'] == 'f')")


def _set(one: Segment, task: str = "classification") -> Data:
    return one_set(of_words("y", {"x": 500, "z": 500}), target="y", task=task, weak=(one,))


def _tested(tested: Segment, trained: Segment | None = None) -> Data:
    seen = _set(trained or tested)
    seen = seen if trained else replace(seen, train=replace(seen.train, weak=None))
    return replace(seen, test=replace(seen.train, name="test.csv", weak=(tested,)))
