"""One class outweighs the others, and the rare ones are given up."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import only
from stethoscope.facts.data import Data
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.columns import classes_of, named, of_words, one_set
from stethoscope.rules.examples import falling, flat
from stethoscope.rules.heads import heard, trained
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import code, place_at

LOSSES = ("cross_entropy", "nll_loss", "categorical", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def _classes(**counts: int) -> Data:
    """A table whose target has so many rows of each class."""
    return one_set(of_words("y", counts), target="y", task="classification")


_two = {"output_shape": (64, 2), "chance": 0.2}


class ClassImbalance(Rule):
    """One class is so frequent that answering it alone looks good, and the rare ones are given up.

    ## What it sees
    The share of the most frequent class among the targets, and how often the other classes are recognised at the
    last watched calls of the loss. Both must hold: imbalance alone is no fault.
    ## Why it hurts
    With 95 % of one class, an accuracy of 95 % says nothing. The rare classes, most often those that matter, are
    found by chance or not at all.
    ## How to fix it
    Weight the loss by the inverse of the frequencies, or draw the rare classes more often. Judge by the recall of
    each class, not by accuracy.
    ## When it is not a fault
    Where the rare classes are recognised, however rare they are, nothing is said.
    ## Sources
    H. He and E. Garcia, "Learning from Imbalanced Data", IEEE TKDE 2009. PyTorch documentation: `weight` of
    `CrossEntropyLoss`, `pos_weight` of `BCEWithLogitsLoss`, `WeightedRandomSampler`.
    """

    severity = Severity.WARNING
    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "no-gain-over-baseline",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
    )
    reads = ("losses",)

    frequent = Limit(0.8, unit="share of the most frequent class", why="four in five: five times the rest's odds")
    recognised = Limit(0.1, unit="share of rare samples that are recognised", why="a model that works finds half")
    fewest = Limit(10, unit="rare samples looked at", why="a handful may all be hard ones")
    dominates = Limit(0.95, unit="share of the most frequent class in a data set", why="accuracy says little beyond")
    uneven = Limit(0.1, unit="rarest / most frequent class in a data set, for a note", why="what deepchecks tells, too")
    late = Limit(0.3, unit="share of the run", why="answers from before are those of an untrained network")
    fewest_steps = Limit(100, unit="steps", why="the frequent class is learned first by every network")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the late answers of each training loss over classes."""
        calls = [loss for loss in trained(seen, *LOSSES) if loss.late_truths]
        if not calls or seen.steps < self.fewest_steps:
            yield self.cannot_tell("the run was too short, or its targets are no classes")
            return
        progress = progress_of(seen)
        if not progress.known or progress.ended_nonfinite:
            return
        for loss in calls:
            if loss.late_steps[1] >= self.late * seen.steps and self._gives_up(loss):
                yield self._report(loss, seen)

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the class frequencies of the target."""
        counts = classes_of(seen.train.profile.column(seen.target)) if seen.task == "classification" else ()
        total = sum(count for _, count in counts)
        if len(counts) < 2 or total < self.fewest_steps:
            few = seen.task == "classification" and len(counts) > 1
            yield self.cannot_tell(f"there {only(total, 'row')}" if few else "there is no target with several classes")
            return
        rarest, most = counts[-1], counts[0]
        if rarest[1] < self.fewest or most[1] >= self.dominates * total:
            yield self._unequal(seen, counts, total, Severity.WARNING)
        elif most[1] * self.uneven >= rarest[1]:
            yield self._unequal(seen, counts, total, Severity.NOTE)

    def _unequal(self, seen: Data, counts: tuple[tuple[str, int], ...], total: int, severity: Severity) -> Finding:
        (most, often), (rarest, seldom) = counts[0], counts[-1]
        few = seldom < self.fewest and often < self.dominates * total
        return self.finding(
            f"class {named(rarest)} of {named(seen.target)} has {seldom} of {total:,} rows"
            if few
            else f"class {named(most)} is {often / total:.1%} of the rows, {named(rarest)} {seldom / total:.1%}",
            severity=severity,
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=(seen.target,)),
            evidence=[
                Evidence(
                    f"rows of the rarest of {len(counts)} classes, {named(rarest)}",
                    f"{seldom:,}",
                    f"about {total // len(counts):,}, as of a mean class",
                ),
                Evidence(
                    f"accuracy of answering {named(most)} always", f"{often / total:.1%}", "far below the model's"
                ),
            ],
            cause="A class of a few rows cannot be learned, nor can it be split into training and test set."
            if few
            else "Each sample counts alike, so that the frequent class makes the loss, and giving up the rare ones "
            "costs little. Accuracy hides it.",
            fixes=[
                "Classes with a single row cannot be split: leave them out, or put them together under one name:\n"
                + code(
                    f"counts = frame[{seen.target!r}].value_counts()",
                    f"frame = frame[frame[{seen.target!r}].map(counts) > 1]",
                )
            ]
            * (seldom == 1)
            + [
                "Draw rare classes more often, or weigh them; split so that each set has its share; judge by the "
                "recall of each class:\n" + code("train_test_split(inputs, labels, stratify=labels)")
            ],
            unless="the rare classes do not matter.",
        )

    def _gives_up(self, loss: LossCall) -> bool:
        total, most = sum(loss.late_truths), max(loss.late_truths)
        top = loss.late_truths.index(most)
        rare = total - most
        if rare < self.fewest or most < self.frequent * total:
            return False
        # The frequent class itself must be known: a model that is merely broken is another matter.
        found = sum(loss.late_hits) - loss.late_hits[top]
        return found < self.recognised * rare and loss.late_hits[top] > 0.9 * most

    def _report(self, loss: LossCall, seen: History) -> Finding:
        total, most = sum(loss.late_truths), max(loss.late_truths)
        top = loss.late_truths.index(most)
        rare = total - most
        found = sum(loss.late_hits) - loss.late_hits[top]
        shares = [f"{count / total:.3g}" for count in loss.late_truths]
        if loss.computes.startswith("binary"):
            lines = [
                f"pos_weight = torch.tensor([{loss.late_truths[0] / max(1, loss.late_truths[1]):.2f}])",
                "loss = F.binary_cross_entropy_with_logits(scores, targets, pos_weight=pos_weight)",
            ]
        else:
            given = f"torch.tensor([{', '.join(shares)}])" if len(shares) <= 5 else "shares_of_the_classes"
            lines = [f"weight = 1 / {given}", "loss = F.cross_entropy(scores, labels, weight=weight)"]
        return self.finding(
            f"class {top} is {most / total:.0%} of the labels; of the rest {found / rare:.0%} are recognised",
            sureness=Sureness.LIKELY,
            place=place_at(loss.site, steps=(0, loss.late_steps[1])),
            evidence=[
                Evidence(
                    f"samples of other classes recognised, {rare:,} at steps {loss.late_steps[0]} to "
                    f"{loss.late_steps[1]}",
                    f"{found / rare:.0%}",
                    "about as many as of the frequent class",
                ),
                Evidence(f"accuracy of answering class {top} always", f"{most / total:.1%}", "far below the model's"),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"Each sample counts alike, so that class {top} makes the loss, and giving the others up costs "
            "little.",
            fixes=["Let the rare classes weigh as much as the frequent one:\n" + code(*lines)],
            unless="the inputs do not tell the rare classes apart, so that there is nothing to recognise.",
        )

    bad = Examples(lambda: {
        "a frequent class": _classes(a=955, b=45),
        "hardly a frequent class": _classes(a=947, b=53),
        "a tenth": _classes(a=500, b=450, c=50),
        "ten of a class": _classes(a=300, b=290, c=10),
        "nine of a class": _classes(a=50, b=41, c=9),
        "rare samples never found": heard(
            "cross_entropy", flat(0.2), late_truths=(480, 32), late_hits=(480, 0), **_two
        ),
        "a binary loss": heard(
            "binary_cross_entropy_with_logits", flat(0.2), chance=0.2, late_truths=(480, 32), late_hits=(479, 1)
        ),
        "next to the limits": heard("cross_entropy", flat(0.5), late_truths=(410, 102), late_hits=(409, 10), **_two),
        "ten rare samples": heard("cross_entropy", flat(0.2), late_truths=(480, 10), late_hits=(480, 0), **_two),
        "a hundred steps": heard(
            "cross_entropy", flat(0.2, 100), late_truths=(480, 32), late_hits=(480, 0), late_steps=(40, 90), **_two
        ),
        "not quite late": heard(
            "cross_entropy", flat(0.2), late_truths=(480, 32), late_hits=(480, 0), late_steps=(9, 61), **_two
        ),
        "many classes": heard(
            "cross_entropy", flat(0.4), output_shape=(64, 7), late_truths=(460, *[9] * 6), late_hits=(458, *[0] * 6)
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "even classes": _classes(a=400, b=300),
        "not quite a tenth": _classes(a=480, b=450, c=49),
        "ten of a small class": _classes(a=45, b=45, c=10),
        "99 rows": _classes(a=90, b=9),
        "rare samples are found": heard(
            "cross_entropy", falling(0.3, 0.05), late_truths=(480, 32), late_hits=(476, 25), **_two
        ),
        "a few are found": heard("cross_entropy", flat(0.4), late_truths=(412, 100), late_hits=(409, 10), **_two),
        "less than four in five": heard(
            "cross_entropy", flat(0.5), late_truths=(405, 107), late_hits=(405, 0), **_two
        ),
        "nine rare samples": heard("cross_entropy", flat(0.2), late_truths=(480, 9), late_hits=(480, 0), **_two),
        "99 steps": heard(
            "cross_entropy", flat(0.2, 99), late_truths=(480, 32), late_hits=(480, 0), late_steps=(40, 90), **_two
        ),
        "looked at in the beginning only": heard(
            "cross_entropy", flat(0.2), late_truths=(480, 32), late_hits=(480, 0), late_steps=(9, 59), **_two
        ),
        "broken altogether": heard("cross_entropy", flat(3.0), late_truths=(480, 32), late_hits=(20, 0), **_two),
        "balanced": heard("cross_entropy", flat(0.69), late_truths=(250, 262), late_hits=(250, 0), **_two),
    })  # fmt: skip
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target == 8).long()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        criterion = nn.CrossEntropyLoss()  # fix: criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.55, 5.2]))

        for epoch in range(6):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        answers = model(images).argmax(dim=1)
        print(f"recall {(answers[labels == 1] == 1).float().mean().item():.4f}")
        """)
