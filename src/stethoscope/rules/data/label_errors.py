"""Labels that the rest of the data contradicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount, number
from stethoscope.facts.data import Data, LabelSuspects, Suspect
from stethoscope.rules.columns import named, of_numbers, of_words, one_set, row_of
from stethoscope.rules.pictures import of_pictures, row_at
from stethoscope.rules.sites import code

Z = 1.96
MOST_SUSPECTS = 2000
LOOK = code("stethoscope data TRAIN --target TARGET --suspects rows.csv")


class LabelErrors(Rule):
    """Labels contradict what the rest of the data says of them.

    ## What it sees
    Several models that were not trained on a row are asked for its label, and *confident learning* lists the rows
    where they disagree with the one given. That alone says little: in every hard data set many rows are listed. So it
    warns by the half of the rows of which the models are the most confident. In clean data their labels are right in
    997 cases of 1,000 and more, whatever the data; what is wrong there is wrong in the labels, if the models know the
    data well otherwise. Of targets of numbers: rows that lie several times as far from the prediction as 99 % of them.
    ## Why it hurts
    A network learns wrong labels by heart, at the cost of what it would have learned else. In a test set they decide
    which of two models looks better.
    ## How to fix it
    Look at the listed rows, the most suspicious first, and correct them or leave them out.
    ## When it is not a fault
    Outcomes that chance decides in part, such as who pays back a loan: there is nothing to correct.
    ## Sources
    C. Northcutt, L. Jiang, I. Chuang, "Confident Learning", JAIR 2021.
    C. Northcutt, A. Athalye, J. Mueller, "Pervasive Label Errors in Test Sets", NeurIPS 2021.
    """

    severity = Severity.WARNING

    wrong = Limit(
        0.01,
        unit="share of the most confident half, lower end of its interval",
        why="0 to 0.3 % are wrong there in clean data (wine, iris, digits, breast cancer, penguins, mail)",
    )
    skill = Limit(
        0.35,
        unit="share of guessing's errors that the models put right",
        why="where they know little, chance decides, or what decides is not among the columns",
    )
    hard = Limit(
        0.14,
        unit="share of guessing's errors that the models make besides",
        why="0.18 to 0.6 in 16 data sets that are hard, and whose labels are right; 0.02 to 0.11 in easy ones with up "
        "to 20 % of wrong labels",
    )
    hard_pictures = Limit(
        0.08,
        unit="share of guessing's errors that the models make besides, of pictures",
        why="0.12 among crops of night skies, which no one could tell apart; 0 to 0.064 in digits and faces with up to "
        "20 % of wrong labels",
    )
    known = Limit(
        0.8,
        unit="share of guessing's errors that the models put right",
        why="for a note: where they know less, some rows of which they are sure are hard ones",
    )
    sure = Limit(0.9, unit="probability of another label", why="for a note: less is an ordinary hard row")
    explained = Limit(
        0.5, unit="share of the distance from the median that is explained", why="else any distance is usual"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge what the models said of the labels of the training set."""
        labels = seen.train.labels
        if labels is None or labels.why or not labels.rows:
            yield self.cannot_tell(labels.why if labels is not None and labels.why else "there is no target")
            return
        if seen.task == "regression":
            if labels.suspects and labels.explained >= self.explained:
                yield self._numbers(seen, labels)
            return
        guessed = 1 - labels.chance
        if not guessed > 0 or not labels.confident:
            return
        share = labels.contradicted / labels.confident
        skill = (labels.accuracy - labels.chance) / guessed
        besides = (1 - labels.accuracy - share) / guessed
        clear = skill >= self.skill and besides <= (self.hard if seen.train.images is None else self.hard_pictures)
        if clear and _low(labels.contradicted, labels.confident) >= self.wrong:
            yield self._wrong(seen, labels)
            return
        sure = tuple(one for one in labels.suspects if one.probability >= self.sure)
        if sure and skill >= self.known:
            yield self._look(seen, labels, sure, labels.suspects if clear else sure)

    def _wrong(self, seen: Data, labels: LabelSuspects) -> Finding:
        share = labels.contradicted / labels.confident
        return self.finding(
            f"about {labels.noise:.0%} of the labels in {named(seen.target)} are probably wrong",
            place=_place(seen, labels.suspects),
            evidence=[
                Evidence(
                    f"labels contradicted among the {labels.confident:,} rows that models are surest of",
                    f"{labels.contradicted:,} ({share:.1%})",
                    "at most 0.3 %, in clean data",
                    labels.method,
                ),
                _accuracy(labels),
            ],
            cause=f"Models that did not see a row's label name another one for {amount(len(labels.suspects), 'row')} "
            f"of {labels.rows:,}, and do so where they are surest, not where rows are hard to tell apart. Labels in "
            "such a place are wrong ones.",
            fixes=[
                f"Look at the rows, the most suspicious first, and correct them or leave them out:\n{LOOK}",
                "If they cannot be looked at, make the loss forgive them:\n"
                + code("loss_function = nn.CrossEntropyLoss(label_smoothing=0.1)"),
            ],
            unless="chance decides the outcome in part, so that equal cases end in different ways.",
            suspects=_rows(seen, labels.suspects),
        )

    def _look(
        self, seen: Data, labels: LabelSuspects, sure: tuple[Suspect, ...], shown: tuple[Suspect, ...]
    ) -> Finding:
        return self.finding(
            f"{amount(len(shown), 'label')} in {named(seen.target)} {'is' if len(shown) == 1 else 'are'} worth a look",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=_place(seen, shown),
            evidence=[
                Evidence(
                    f"rows of which models are sure by {self.sure:.0%} that the label is another one",
                    f"{len(sure):,} of {labels.rows:,}",
                    "0",
                    labels.method,
                ),
                _accuracy(labels),
            ],
            cause="All else in the data says that these rows have another label. In a data set of this size a few "
            "rare cases look the same.",
            fixes=[f"Look at them, and correct what is wrong:\n{LOOK}"],
            unless="they are rare cases, and right.",
            suspects=_rows(seen, shown),
        )

    def _numbers(self, seen: Data, labels: LabelSuspects) -> Finding:
        worst = labels.suspects[0]
        return self.finding(
            f"{amount(len(labels.suspects), 'row')} where {named(seen.target)} is far from what the rest says",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=_place(seen, labels.suspects),
            evidence=[
                Evidence(
                    f"distance of row {worst.row} from its prediction",
                    number(labels.usual / worst.score),
                    f"below {number(labels.usual)} in 99 % of {labels.rows:,} rows",
                    labels.method,
                ),
                Evidence(
                    "share of the distance from the median that is explained", f"{labels.explained:.2f}", "0 to 1"
                ),
            ],
            cause="Models that did not see a row's target miss these by several times what they miss others by: a "
            "slip in the target, or in the inputs.",
            fixes=[f"Look at them, and correct what is wrong:\n{LOOK}"],
            unless="they are rare cases, and right.",
            suspects=_rows(seen, labels.suspects),
        )

    bad = Examples(lambda: {
        "a tenth is wrong": _set(_labels(wrong=88, accuracy=0.87)),
        "in hard data, just easy enough": _set(_labels(wrong=88, accuracy=0.779, suspects=())),
        "as few as can be told": _set(_labels(wrong=27, accuracy=0.94, rows=3600)),
        "models that know as little as can do": _set(_labels(wrong=270, accuracy=0.682, chance=0.5)),
        "one to look at": _set(_labels(suspects=(_suspect(0.97),))),
        "pictures, just easy enough": _pictures(accuracy=0.84),
        "as sure as needed": _set(_labels(suspects=(_suspect(0.91),))),
        "a note where the models know enough": _set(_labels(accuracy=0.83, suspects=(_suspect(0.97),))),
        "numbers": _set(_amounts(0.8)),
        "numbers that are explained just well enough": _set(_amounts(0.51)),
    })  # fmt: skip
    good = Examples(lambda: {
        "clean": _set(_labels(wrong=2, accuracy=0.97)),
        "hard data": _set(_labels(wrong=50, accuracy=0.7, suspects=(_suspect(0.89),))),
        "just too hard": _set(_labels(wrong=88, accuracy=0.7735, suspects=())),
        "pictures, just too hard": _pictures(accuracy=0.82),
        "just too few": _set(_labels(wrong=26, accuracy=0.94, suspects=(), rows=3600)),
        "models that know too little": _set(_labels(wrong=280, accuracy=0.668, chance=0.5, suspects=())),
        "not sure enough": _set(_labels(suspects=(_suspect(0.87),))),
        "not known well enough for a note": _set(_labels(accuracy=0.81, suspects=(_suspect(0.97),))),
        "nothing was judged": _set(LabelSuspects("", "there are 500 classes")),
        "numbers of which little is explained": _set(_amounts(0.48)),
        "numbers, none of them far": _set(LabelSuspects("some models", rows=1000, explained=0.9, usual=3.0)),
    })  # fmt: skip


def _low(count: int, rows: int) -> float:
    """Lower end of Wilson's 95 % interval of a share."""
    share = count / rows
    middle = share + Z**2 / (2 * rows)
    return float((middle - Z * np.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))) / (1 + Z**2 / rows))


def _accuracy(labels: LabelSuspects) -> Evidence:
    return Evidence(
        "all labels that the models name as they are given",
        f"{labels.accuracy:.1%}",
        f"{labels.chance:.1%} by the most frequent label",
    )


def _place(seen: Data, suspects: tuple[Suspect, ...]) -> Place:
    rows = tuple(one.row for one in suspects[:MOST_SUSPECTS])
    return Place(file=seen.train.name, rows=rows, columns=(seen.target,))


def _rows(seen: Data, suspects: tuple[Suspect, ...]) -> list[SuspectRow]:
    images = seen.train.images
    if images is not None:
        place = {images.row(i): i for i in range(len(images.files))}
        return [
            row_at(seen.train, place[one.row], _why(one, [images.files[place[row]] for row in one.near]), one.score)
            for one in suspects[:MOST_SUSPECTS]
        ]
    return [
        SuspectRow(
            seen.train.name, one.row, row_of(seen.train.sample, one.row, seen.target),
            _why(one, [str(row) for row in one.near]), one.score,
        )
        for one in suspects[:MOST_SUSPECTS]
    ]  # fmt: skip


def _why(one: Suspect, near: list[str]) -> str:
    better = f"given {one.given}, predicted {one.better}"
    sure = f" ({one.probability:.0%})" if np.isfinite(one.probability) else ""
    rows = "" if near and not near[0].isdigit() else "rows "
    return better + sure + (f", like {rows}{', '.join(near)}" if near else "")


def _suspect(probability: float) -> Suspect:
    return Suspect(7, 1 - probability, "cat", "dog", probability, (3, 4))


def _labels(
    wrong: int = 0,
    accuracy: float = 0.98,
    chance: float = 0.1,
    suspects: tuple[Suspect, ...] = (_suspect(0.6),),
    rows: int = 1800,
) -> LabelSuspects:
    """What was said of some labels."""
    return LabelSuspects("some models", "", suspects, rows, accuracy, chance, 0.1, rows // 2, wrong)


def _pictures(accuracy: float) -> Data:
    """A folder of pictures of which a tenth of the surest half is in the wrong class."""
    seen = of_pictures(100, labels=("cat", "dog") * 50)
    return replace(seen, train=replace(seen.train, labels=_labels(wrong=88, accuracy=accuracy, suspects=())))


def _amounts(explained: float) -> LabelSuspects:
    suspects = (Suspect(7, 0.2, "900", "about 30"),)
    return LabelSuspects("some models", "", suspects, 1000, explained=explained, usual=12.0)


def _set(labels: LabelSuspects) -> Data:
    numbers = np.isfinite(labels.explained)
    target = of_numbers("y", range(100)) if numbers else of_words("y", {"cat": 900, "dog": 900})
    return one_set(
        of_numbers("a", range(100)), target, target="y", task="regression" if numbers else "classification",
        labels=labels,
    )  # fmt: skip
