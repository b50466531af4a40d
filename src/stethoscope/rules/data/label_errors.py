"""Labels that the rest of the data contradicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import amount, number
from stethoscope.facts.data import Data, LabelSuspects, Suspect
from stethoscope.facts.learning import Learning
from stethoscope.facts.samples import Samples
from stethoscope.facts.training import Curve, History
from stethoscope.rules.columns import named, of_numbers, of_words, one_set, row_of
from stethoscope.rules.examples import falling, run
from stethoscope.rules.far_targets import LOOK, far_off
from stethoscope.rules.learned_labels import evidence_of, known_by_heart, learning, suspects_of, wrong_rows
from stethoscope.rules.pictures import of_pictures, row_at
from stethoscope.rules.sites import code, place_at

Z = 1.96
MOST_SUSPECTS = 2000

SMOOTHED = code("loss_function = nn.CrossEntropyLoss(label_smoothing=0.1)")
LAST = 3
"""Validation losses at the end, of which the middle one counts."""

_tested = Samples(
    rows=1400, tested=600, classes=10, majority=0.11, neighbours=0.8, linear=0.75, named=0.81, surest=300,
    contradicted=46, relation=90.0, shape=(32, 64),
)  # fmt: skip


class LabelErrors(Rule):
    """Labels contradict what the rest of the data says of them.

    ## What it sees
    Several models that were not trained on a row are asked for its label, and *confident learning* lists the rows
    where they disagree with the one given. That alone says little: in every hard data set many rows are listed. So it
    warns by the half of the rows of which the models are the most confident. In clean data their labels are right in
    997 cases of 1,000 and more, whatever the data; what is wrong there is wrong in the labels, if the models know the
    data well otherwise. Of targets of numbers: rows that lie several times as far from the prediction as 99 % of them
    (or 15 times as far as the middle half, where one in a hundred is wrong); a warning where a slip of the point
    explains them.
    In a run: some hundred training rows, and what neighbours and a linear model make of them; and up to 2,048 rows of
    the first batches, with what the network itself made of each by its weights at 10 to 32 steps of the run. A label
    behind another one over the run (its *area under the margin* is below 0) is listed, with its place in the data set
    where a loader drew it. A note, and a warning where the network learns them by heart.
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
    G. Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020.
    S. Swayamdipta et al., "Dataset Cartography", EMNLP 2020.
    """

    severity = Severity.WARNING
    explains = ("conflicting-labels",)
    reads = ("losses", "samples", "validation")

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
        0.15,
        unit="share of guessing's errors that the models make besides, and its standard error",
        why="0.18 to 0.6 in 16 data sets that are hard, and whose labels are right; 0.02 to 0.11 in easy ones with up "
        "to 20 % of wrong labels",
    )
    hard_pictures = Limit(
        0.08,
        unit="share of guessing's errors that the models make besides of pictures, and its standard error",
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

    slips = Limit(
        5,
        unit="numbers that a slip of the point explains, and half of those that are far off",
        why="for a warning: one or two may be rare cases",
    )

    hard_in_runs = Limit(
        0.08,
        unit="share of guessing's errors that the two models of a run make besides",
        why="0.14 to 0.17 in handwritten digits of 28 pixels, whose distances say little; 0.05 in those of 8",
    )
    hard_learned = Limit(
        0.1,
        unit="share of guessing's errors that the network makes besides, and its standard error",
        why="0.16 to 0.36 where classes overlap or chance decides; 0 to 0.09 in digits and cancers with 10 to 40 % of "
        "wrong labels",
    )
    by_heart = Limit(
        0.5, unit="share of the rows in question that are known by heart at the end", why="else it has withstood them"
    )
    fewest_rows = Limit(
        200, unit="training rows that were asked about", why="in fewer a slip of the models counts much"
    )
    rises = Limit(
        1.25,
        unit="validation loss at the end / at its best",
        why="labels that are learned by heart cost what was learned",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what the network itself said of rows while it learned them, and what simple models said of others."""
        learned, samples = seen.learning, _asked(seen)
        if learned.rows >= self.fewest_rows:
            if self._was_contradicted(learned):
                yield self._learned(seen, learned)
                return
        elif samples.tested < self.fewest_rows:
            few = f"{samples.tested:,} training rows were seen with one class each; {self.fewest_rows:,.0f} are needed"
            yield self.cannot_tell(learned.why or few)
            return
        yield from self._by_simple_models(seen, samples)

    def _was_contradicted(self, learned: Learning) -> bool:
        """Whether the network contradicted labels of rows that it was sure of, in a task that it knows well."""
        guessed = 1 - learned.majority
        if not guessed > 0 or not learned.surest or _low(learned.contradicted, learned.surest) < self.wrong:
            return False
        besides = (1 - learned.named - learned.contradicted / learned.surest) / guessed
        spread = float(np.sqrt((1 - learned.named) / learned.rows)) / guessed
        return (learned.named - learned.majority) / guessed >= self.skill and besides + spread <= self.hard_learned

    def _learned(self, seen: History, learned: Learning) -> Finding:
        rows = wrong_rows(learned)
        worse = max(known_by_heart(learned, rows) / self.by_heart, _rise(seen) / self.rises) >= 1
        loss = seen.main_loss()
        return self.finding(
            f"about {len(rows) / learned.rows:.0%} of the training labels are probably wrong",
            severity=Severity.WARNING if worse else Severity.NOTE,
            place=place_at(loss.site if loss else None, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence_of(learned, rows) + self._rise_evidence(seen),
            cause="The network, though it was trained on these rows, gave them another label than their own while it "
            "learned what is common to all rows, and did so where it was surest."
            + (" Then it learned the wrong ones by heart." if worse else ""),
            fixes=[
                "List the rows, the most suspicious first, and correct them or leave them out:\n"
                + code("stethoscope data --run last --suspects rows.csv"),
                "If they cannot be looked at, make the loss forgive them:\n" + SMOOTHED,
            ],
            unless="chance decides the outcome in part, or labels were made wrong on purpose.",
            suspects=suspects_of(learned, rows),
        )

    def _rise_evidence(self, seen: History) -> list[Evidence]:
        rise = _rise(seen)
        if not rise >= self.rises:
            return []
        return [Evidence("validation loss at the end / at its best", number(rise), "1 to 1.1")]

    def _by_simple_models(self, seen: History, samples: Samples) -> Iterator[Finding | CannotTell]:
        """Judge what neighbours and a linear model said of some hundred training rows."""
        if samples.tested < self.fewest_rows:
            return
        guessed = 1 - samples.majority
        share = samples.contradicted / samples.surest
        if not guessed > 0 or _low(samples.contradicted, samples.surest) < self.wrong:
            return
        besides = (1 - samples.named - share) / guessed
        if (samples.named - samples.majority) / guessed >= self.skill and besides <= self.hard_in_runs:
            yield self._trained_on(seen, samples, share)
            return
        yield self.cannot_tell(
            f"{samples.contradicted:,} of {samples.surest:,} labels are not what simple models are surest of, and by "
            f"{samples.tested:,} rows wrong labels cannot be told from rows that are hard to tell apart: give the data "
            "to `stethoscope data`, whose models know more"
        )

    def _trained_on(self, seen: History, samples: Samples, share: float) -> Finding:
        loss = seen.main_loss()
        worse = _rise(seen) >= self.rises
        evidence = [
            Evidence(
                f"labels contradicted among the {samples.surest:,} rows that simple models are surest of",
                f"{samples.contradicted:,} ({share:.0%})",
                "at most 0.3 %, in clean data",
                f"nearest neighbours and a linear model, {samples.tested:,} rows, each left out in turn",
            ),
            Evidence(
                "all labels that they name as they are given",
                f"{samples.named:.0%}",
                f"{samples.majority:.0%} by the most frequent label",
            ),
        ]
        evidence += self._rise_evidence(seen)
        return self.finding(
            f"about {share:.0%} of the training labels are probably wrong",
            severity=Severity.WARNING if worse else Severity.NOTE,
            sureness=Sureness.LIKELY,
            place=place_at(loss.site if loss else None, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause="Simple models that did not see a row's label name another one where they are surest."
            + (" The network learns the wrong ones by heart: its validation loss rises again." if worse else ""),
            fixes=[
                "List the rows, the most suspicious first, and correct them or leave them out:\n"
                + code("found = stethoscope.inspect_data(train_set)", "found.show(sys.stdout)"),
                "If they cannot be looked at, make the loss forgive them:\n" + SMOOTHED,
            ],
            unless="chance decides the outcome in part, or labels were made wrong on purpose.",
        )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge what the models said of the labels of the training set."""
        labels = seen.train.labels
        if labels is None or labels.why or not labels.rows:
            yield self.cannot_tell(labels.why if labels is not None and labels.why else "there is no target")
            return
        if seen.task == "regression":
            if labels.suspects and labels.explained >= self.explained:
                place, rows = _place(seen, labels.suspects), _rows(seen, labels.suspects)
                yield far_off(self, seen, labels, self.slips, place, rows)
            return
        guessed = 1 - labels.chance
        if not guessed > 0 or not labels.confident:
            return
        share = labels.contradicted / labels.confident
        skill = (labels.accuracy - labels.chance) / guessed
        besides = (1 - labels.accuracy - share) / guessed
        spread = float(np.sqrt((1 - labels.accuracy) / labels.rows)) / guessed  # few rows can look easy by chance
        hard = self.hard if seen.train.images is None else self.hard_pictures
        clear = skill >= self.skill and besides + spread <= hard
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
                "If they cannot be looked at, make the loss forgive them:\n" + SMOOTHED,
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

    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        images, labels = images[order], labels[order]
        wrong = torch.rand(1400) < 0.25  # fix: wrong = torch.rand(1400) < 0.0
        given = torch.where(wrong, torch.randint(0, 10, (1400,)), labels[:1400])
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[:1400], given), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(60):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                scores = model(images[1400:])
                held_out = nn.functional.cross_entropy(scores, labels[1400:]).item()
                accuracy = (scores.argmax(1) == labels[1400:]).float().mean().item()
        print(f"loss {held_out:.4f}, accuracy {accuracy:.3f}")
        """)

    bad = Examples(lambda: {
        "a run, a sixth is wrong": _run(_tested),
        "a run that learns them by heart": _run(_tested, 1.0, 0.6, 0.7, 0.8, 0.9),
        "a run, and a rise next to the limit": _run(_tested, 1.0, 0.6, 0.755, 0.755, 0.755),
        "a run, and hardly a rise": _run(_tested, 1.0, 0.6, 0.745, 0.745, 0.745),
        "a run of as few rows as can tell": _run(replace(_tested, tested=200)),
        "a run whose models know just enough": _run(replace(_tested, named=0.777)),
        "a run, as few as can be told": _run(replace(_tested, contradicted=7, named=0.93)),
        "a network that learned some by heart": _heard(learning()),
        "a network that was surest of as few as can be told": _heard(learning(contradicted=11, named=0.93)),
        "a network of as few rows as can tell": _heard(learning(20, rows=200, contradicted=15)),
        "a network that knows just enough": _heard(learning(contradicted=310, named=0.425)),
        "a network, and a task just easy enough": _heard(learning(named=0.8465)),
        "a network that knows half of them by heart": _heard(learning(by_heart=31)),
        "a network that withstands most of them": _heard(learning(by_heart=29)),
        "a tenth is wrong": _set(_labels(wrong=88, accuracy=0.87)),
        "in hard data, just easy enough": _set(_labels(wrong=88, accuracy=0.779, suspects=())),
        "as few as can be told": _set(_labels(wrong=27, accuracy=0.94, rows=3600)),
        "models that know as little as can do": _set(_labels(wrong=270, accuracy=0.682, chance=0.5)),
        "one to look at": _set(_labels(suspects=(_suspect(0.97),))),
        "pictures, just easy enough": _pictures(accuracy=0.8415),
        "as sure as needed": _set(_labels(suspects=(_suspect(0.91),))),
        "a note where the models know enough": _set(_labels(accuracy=0.83, suspects=(_suspect(0.97),))),
        "numbers": _set(_amounts(0.8)),
        "numbers, five of them slips of the point": _set(_amounts(0.8, slips=5)),
        "numbers, four of them slips of the point": _set(_amounts(0.8, slips=4)),
        "numbers that are explained just well enough": _set(_amounts(0.51)),
    })  # fmt: skip
    good = Examples(lambda: {
        "a run with clean labels": _run(replace(_tested, contradicted=0, named=0.95)),
        "a run of 199 rows": _run(replace(_tested, tested=199)),
        "a run whose models know too little": _run(replace(_tested, named=0.7735)),
        "a run, just too few": _run(replace(_tested, contradicted=6, named=0.93)),
        "a network of 199 rows": _heard(learning(20, rows=199, contradicted=15)),
        "a network, just too few": _heard(learning(contradicted=10, named=0.93)),
        "a network that knows too little": _heard(learning(contradicted=320, named=0.408)),
        "a network, and a task just too hard": _heard(learning(named=0.843)),
        "a run of numbers": _run(Samples(tested=600, relation=50.0)),
        "clean": _set(_labels(wrong=2, accuracy=0.97)),
        "hard data": _set(_labels(wrong=50, accuracy=0.7, suspects=(_suspect(0.89),))),
        "just too hard": _set(_labels(wrong=88, accuracy=0.7735, suspects=())),
        "pictures, just too hard": _pictures(accuracy=0.838),
        "just too few": _set(_labels(wrong=26, accuracy=0.94, suspects=(), rows=3600)),
        "models that know too little": _set(_labels(wrong=280, accuracy=0.668, chance=0.5, suspects=())),
        "not sure enough": _set(_labels(suspects=(_suspect(0.87),))),
        "not known well enough for a note": _set(_labels(accuracy=0.81, suspects=(_suspect(0.97),))),
        "nothing was judged": _set(LabelSuspects("", "there are 500 classes")),
        "numbers of which little is explained": _set(_amounts(0.48)),
        "numbers, none of them far": _set(LabelSuspects("some models", rows=1000, explained=0.9, usual=3.0)),
    })  # fmt: skip


def _asked(seen: History) -> Samples:
    """The rows that simple models were asked about."""
    return max((one for one in seen.samples if one.surest), key=lambda one: one.tested, default=Samples())


def _rise(seen: History) -> float:
    """Validation loss at the end / at its best; 1 without one."""
    curve = seen.curve("loss", "validation")
    if curve is None or not len(curve.values):
        return 1.0
    return float(np.median(curve.values[-LAST:]) / curve.values.min())


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


def _run(samples: Samples, *validation: float) -> History:
    """A run on such rows, and its validation losses."""
    seen = replace(run(falling(2.3, 0.4)), samples=(samples,))
    curve = Curve("validation loss", "loss", "validation", np.arange(1, len(validation) + 1) * 40, np.array(validation))
    return replace(seen, curves=(*seen.curves, curve)) if validation else seen


def _heard(learned: Learning) -> History:
    """A run whose network said this of its rows."""
    return replace(run(falling(2.3, 0.4)), learning=learned)


def _pictures(accuracy: float) -> Data:
    """A folder of pictures of which a tenth of the surest half is in the wrong class."""
    seen = of_pictures(100, labels=("cat", "dog") * 50)
    return replace(seen, train=replace(seen.train, labels=_labels(wrong=88, accuracy=accuracy, suspects=())))


def _amounts(explained: float, slips: int = 0) -> LabelSuspects:
    suspects = (Suspect(7, 0.2, "900", "about 30"),) * max(1, slips)
    return LabelSuspects(
        "some models", "", suspects, 1000, explained=explained, usual=12.0, factor=10.0, slips=slips
    )  # fmt: skip


def _set(labels: LabelSuspects) -> Data:
    numbers = np.isfinite(labels.explained)
    target = of_numbers("y", range(100)) if numbers else of_words("y", {"cat": 900, "dog": 900})
    return one_set(
        of_numbers("a", range(100)), target, target="y", task="regression" if numbers else "classification",
        labels=labels,
    )  # fmt: skip
