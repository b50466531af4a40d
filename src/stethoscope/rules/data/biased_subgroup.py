"""A subgroup that is rare, or whose outcomes or errors differ from those of all others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.facts.data import Data, Group, Groups
from stethoscope.rules.columns import listed, of_numbers, of_words, one_set
from stethoscope.rules.sites import code

NAMED = 5
LONGEST = 24


class BiasedSubgroup(Rule):
    """A group of a sensitive column is rare, or its outcomes or a model's errors differ from all others'.

    ## What it sees
    For each value of the sensitive columns, and of each two of them: how many rows there are, the mean of the target
    and of the predictions' error, to which side they err, and intervals of their difference to all other rows. The
    intervals hold for all groups at once, so that many groups raise no more alarms than one.
    ## Why it hurts
    A model repeats what the labels say of a group, and learns little of one that it seldom sees. Its mean error hides
    both.
    ## How to fix it
    Collect more rows of the group, weight its rows, look at how its labels came about, and measure each group apart.
    ## When it is not a fault
    Where the groups do differ in what is predicted, as blood values between the sexes.
    ## Sources
    S. Barocas, M. Hardt, A. Narayanan, "Fairness and Machine Learning", 2023.
    R. Newcombe, "Interval Estimation for the Difference between Independent Proportions", Statistics in Medicine 1998.
    """

    severity = Severity.WARNING

    tolerated = Limit(
        0.05,
        unit="difference of shares, or of means in standard deviations / in mean errors",
        why="what is surely more than five points in a hundred is felt by those concerned",
    )
    fewest = Limit(
        100, unit="rows of a group", why="an error of 10 % is known to within 6 points at best from fewer rows"
    )
    rare = Limit(0.02, unit="share of the rows", why="a group that is larger is seen in each batch of 64 or so")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the groups of the training set; errors in the test set, where it has predictions."""
        told = seen.train.groups
        if told is None:
            why = "the sensitive columns have one value each" if seen.sensitive else "no sensitive columns were named"
            yield self.cannot_tell(why)
            return
        judged = next((one for one in reversed(seen.sets) if one.groups is not None and one.groups.error), seen.train)
        held = judged.groups or told
        worse = _widest(held, "error", self.tolerated, one_side=True)
        if worse:
            yield self._errors(seen, judged.name, held, worse)
        leaning = [one for one in _widest(held, "lean", self.tolerated, one_side=False) if one not in worse]
        if leaning:
            yield self._leans(seen, judged.name, held, leaning)
        different = _widest(told, "outcome", self.tolerated, one_side=False)
        if different:
            yield self._outcomes(seen, told, different)
        few = [
            group for group in told.groups
            if len(group.columns) == 1 and group.rows < self.fewest and group.rows < self.rare * told.rows
        ]  # fmt: skip
        if few:
            yield self._rare(seen, told, sorted(few, key=lambda one: one.rows))

    def _errors(self, seen: Data, name: str, told: Groups, worse: list[Group]) -> Finding:
        one = worse[0]
        return self.finding(
            _title("predictions are worse for", one),
            sureness=Sureness.CERTAIN,
            place=Place(file=name, columns=one.columns),
            evidence=[_gap(seen, told.error, group, "error") for group in worse[:NAMED]],
            cause="The model errs more often on these rows than on all others, by more than chance can do. Its mean "
            "error does not show it." if seen.task != "regression" else "The model errs more on these rows than on "
            "all others, by more than chance can do. Its mean error does not show it.",
            fixes=[
                "Give these rows more weight, or collect more of them, and measure the error of each group:\n"
                + code(
                    f"errors = frame.assign(error={_error(seen)})",
                    f"errors.groupby([{listed(one.columns)}])['error'].agg(['mean', 'size'])",
                )
            ],
            unless="what is predicted is harder to tell for this group, and that is known where it is used.",
        )  # fmt: skip

    def _leans(self, seen: Data, name: str, told: Groups, leaning: list[Group]) -> Finding:
        one = leaning[0]
        is_low = one.lean_gap[1] < 0
        positive = told.outcome.removeprefix("share with ")[:LONGEST].replace("`", "")
        start = f"predictions are too {'low' if is_low else 'high'} for"
        if seen.task != "regression":
            start = f"too {'few' if is_low else 'many'} predicted `{positive}` for"
        return self.finding(
            _title(start, one),
            sureness=Sureness.CERTAIN,
            place=Place(file=name, columns=one.columns),
            evidence=[_gap(seen, "mean of prediction less target", group, "lean") for group in leaning[:NAMED]],
            cause="Errors go to one side for this group, compared with all other rows, by more than chance can do. The "
            "size of the error does not show it.",
            fixes=[
                "Give these rows more weight, or collect more of them, and measure the leaning of each group:\n"
                + code(
                    f"leanings = frame.assign(leaning={_leaning(seen)})",
                    f"leanings.groupby([{listed(one.columns)}])['leaning'].agg(['mean', 'size'])",
                )
            ],
            unless="the target itself was measured differently for this group.",
        )

    def _outcomes(self, seen: Data, told: Groups, different: list[Group]) -> Finding:
        one = different[0]
        return self.finding(
            _title(f"`{seen.target[:16]}` differs for", one),
            sureness=Sureness.LIKELY,
            severity=Severity.NOTE,
            place=Place(file=seen.train.name, columns=(*one.columns, seen.target)),
            evidence=[_gap(seen, told.outcome, group, "outcome") for group in different[:NAMED]],
            cause="The labels of this group differ from those of all other rows, by more than chance can do. A model "
            "repeats that, with the column or through others that go with it.",
            fixes=[
                "Find out how the labels came about, and look at the target by group:\n"
                + code(f"frame.groupby([{listed(one.columns)}])[{seen.target!r}].agg(['mean', 'size'])"
                       if _has_numbers(seen) else
                       f"frame.groupby([{listed(one.columns)}])[{seen.target!r}].value_counts(normalize=True)")
            ],
            unless="the groups do differ in what is predicted.",
        )  # fmt: skip

    def _rare(self, seen: Data, told: Groups, few: list[Group]) -> Finding:
        one = few[0]
        return self.finding(
            _title(f"only {one.rows:,} of {told.rows:,} rows have", one),
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=tuple(dict.fromkeys(group.columns[0] for group in few))),
            evidence=[
                Evidence(f"rows with {_name(group)}", f"{group.rows:,} ({group.rows / told.rows:.2%})",
                         f"{self.fewest:,.0f} or more, or {self.rare:.0%}")
                for group in few[:NAMED]
            ],
            cause="From so few rows a model learns little of the group, and how well it does there cannot be measured.",
            fixes=[
                "Collect more rows of the group, or draw them more often:\n"
                + code("WeightedRandomSampler(1 / group_sizes[group_of_row], num_samples=len(dataset))")
            ],
            unless="the model is not used for this group.",
        )  # fmt: skip

    bad = Examples(lambda: {
        "worse predictions": _set(Group(("sex",), ("f",), 400, error=0.3, error_gap=(0.1, 0.2))),
        "just surely worse": _set(Group(("sex",), ("f",), 400, error=0.3, error_gap=(0.0505, 0.2))),
        "fewer with the outcome": _set(Group(("sex",), ("f",), 400, 0.2, outcome_gap=(-0.3, -0.1))),
        "two columns": _set(Group(("sex", "region"), ("f", "east"), 400, 0.9, outcome_gap=(0.1, 0.4))),
        "worse predictions in the test set": _tested(Group(("sex",), ("f",), 400, error=0.3, error_gap=(0.1, 0.2))),
        "predictions too low": _set(Group(("sex",), ("f",), 400, lean=-0.2, lean_gap=(-0.3, -0.1))),
        "numbers predicted too high": _set(
            Group(("sex",), ("f",), 400, lean=2.0, lean_gap=(0.1, 0.3)), task="regression"
        ),
        "rare": _set(Group(("sex",), ("x",), 12)),
        "99 rows": _set(Group(("sex",), ("x",), 99), rows=100_000),
        "just rare": _set(Group(("sex",), ("x",), 20), rows=1030),
        "numbers": _set(Group(("age",), ("up to 20",), 400, 0.9, error=2.0, error_gap=(0.1, 0.4)), task="regression"),
    })  # fmt: skip
    good = Examples(lambda: {
        "no difference": _set(Group(("sex",), ("f",), 400, 0.5, error=0.2, outcome_gap=(-0.1, 0.1),
                                    error_gap=(-0.1, 0.1))),
        "better predictions": _set(Group(("sex",), ("f",), 400, error=0.2, error_gap=(-0.2, -0.1))),
        "not surely worse": _set(Group(("sex",), ("f",), 400, error=0.2, error_gap=(0.0495, 0.2))),
        "few rows in a small set": _set(Group(("sex",), ("x",), 20), rows=970),
        "100 rows": _set(Group(("sex",), ("x",), 100), rows=100_000),
        "rare in two columns together": _set(Group(("sex", "region"), ("x", "east"), 3)),
    })  # fmt: skip


def _widest(told: Groups, what: str, tolerated: float, *, one_side: bool) -> list[Group]:
    """Groups whose difference is surely more than is tolerated, the widest first; single columns before pairs of them.

    A pair of which one column alone differs as much says nothing new.
    """
    found: list[tuple[float, Group]] = []
    for group in told.groups:
        low, high = getattr(group, f"{what}_gap")
        surely = low if one_side else max(low, -high)
        if not surely > tolerated:
            continue
        parts = [dict(zip(one.columns, one.values, strict=True)).items() for _, one in found]
        whole = dict(zip(group.columns, group.values, strict=True)).items()
        if len(group.columns) > 1 and any(part <= whole for part in parts):
            continue
        found.append((surely, group))
    return [group for _, group in sorted(found, key=lambda one: (len(one[1].columns), -one[0], one[1].values))]


def _name(group: Group) -> str:
    return " and ".join(f"{column} = {value}" for column, value in zip(group.columns, group.values, strict=True))


def _title(start: str, group: Group) -> str:
    """With as much of the group's name as there is room for."""
    name, room = _name(group).replace("`", ""), 72 - len(start) - 3
    return f"{start} `{name if len(name) <= room else name[: room - 1] + '…'}`"


def _gap(seen: Data, what: str, group: Group, kind: str) -> Evidence:
    value, (low, high) = getattr(group, kind), getattr(group, f"{kind}_gap")
    if seen.task == "regression":
        unit = "standard deviations" if kind == "outcome" else "of the others' error"
        return Evidence(
            f"{what}, {_name(group)} ({group.rows:,} rows)", number(value),
            "as all others", f"differs by {low:+.2f} to {high:+.2f} {unit}; 99 % for all groups together",
        )  # fmt: skip
    return Evidence(
        f"{what}, {_name(group)} ({group.rows:,} rows)", f"{value:.1%}",
        "as all others", f"differs by {100 * low:+.1f} to {100 * high:+.1f} points; 99 % for all groups together",
    )  # fmt: skip


def _error(seen: Data) -> str:
    target, predictions = f"frame[{seen.target!r}]", f"frame[{seen.predictions!r}]"
    if seen.task == "regression":
        return f"({target} - {predictions}).abs()"
    column = seen.train.profile.column(seen.predictions)
    if column is not None and column.numbers is not None and column.numbers.whole < column.numbers.count:
        return f"{target} != ({predictions} >= 0.5)"
    return f"{target} != {predictions}"


def _leaning(seen: Data) -> str:
    target, predictions = f"frame[{seen.target!r}]", f"frame[{seen.predictions!r}]"
    if seen.task == "regression":
        return f"{predictions} - {target}"
    column = seen.train.profile.column(seen.target)
    if column is not None and column.kind in ("number", "truth"):
        return f"{predictions} - {target}.astype(int)"
    return f"{predictions}.astype('category').cat.codes - {target}.astype('category').cat.codes"


def _has_numbers(seen: Data) -> bool:
    column = seen.train.profile.column(seen.target)
    return column is not None and column.numbers is not None


def _set(group: Group, rows: int = 1000, task: str = "classification") -> Data:
    outcome = "mean of y" if task == "regression" else "share with y = yes"
    told = Groups((group,), rows, outcome, "share predicted wrong")
    columns = of_words("sex", {"m": 600, "f": 400}), of_words("region", {"east": 500, "west": 500})
    target = of_numbers("y", np.arange(100) / 7) if task == "regression" else of_words("y", {"yes": 500, "no": 500})
    return one_set(*columns, target, target="y", task=task, groups=told)


def _tested(group: Group) -> Data:
    """Two sets, of which the second one holds the predictions."""
    seen = _set(group)
    told = Groups((Group(group.columns, group.values, group.rows),), 1000)
    return replace(seen, train=replace(seen.train, groups=told), test=replace(seen.train, name="test.csv"))
