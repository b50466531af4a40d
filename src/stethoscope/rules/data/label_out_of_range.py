"""Class indices that the output cannot express, or outputs whose classes never come."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.columns import named as one_name
from stethoscope.rules.columns import of_numbers, one_set
from stethoscope.rules.examples import falling
from stethoscope.rules.heads import FOLLOWS, heard, named, trained, width
from stethoscope.rules.sites import at, code, place_at

FUNCTIONS = ("cross_entropy", "nll_loss", "multi_margin_loss", "categorical_crossentropy")


def _labels(labels: range) -> Data:
    """A table with 30 rows of each label."""
    return one_set(of_numbers("y", [*labels] * 30), target="y", task="classification")


_ten = {"output_shape": (64, 10), "target_shape": (64,), "target_is_integer": True}
_three = {
    "output_shape": (12, 2000), "target_shape": (12,), "target_is_integer": True, "target_min": 0.0,
    "target_max": 2.0, "target_distinct": 3,
}  # fmt: skip


def _fits(loss: LossCall) -> bool:
    """Whether there is a label for each sample and position, with the classes on axis 1."""
    return loss.target_shape == (*loss.output_shape[:1], *loss.output_shape[2:])


class LabelOutOfRange(Rule):
    """Class indices that the output cannot express, labels that do not count, or outputs that never come.

    ## What it sees
    The smallest and largest class index beside the number of outputs, in a call that failed; labels of which all
    are below 0 and so left out of the loss; many times more outputs than classes, in a run that has not learned to
    leave them out; and, as a note, labels that count from 1.
    ## Why it hurts
    C outputs stand for the classes 0 to C - 1. For any other index there is no output to compare with: on a CPU
    the run stops, on a GPU it stops later with an unrelated message. Where all labels are left out, the mean over
    none of them is no number. Outputs without a class share in each answer until the network has learned, one by
    one, never to give them.
    ## How to fix it
    Count classes from 0, and give the network one output for each.
    ## When it is not a fault
    Some labels of -100 (padding, masked words) are what `ignore_index` is for.
    ## Sources
    PyTorch documentation, `torch.nn.CrossEntropyLoss`: "Class indices in the range [0, C)", `ignore_index`.
    """

    explains = (*FOLLOWS, "forward-crash")
    reads = ("losses",)

    ignored = Limit(0.95, unit="share of labels below 0", why="masked language models leave out 85 %, padding less")
    fewest = Limit(20.0, unit="labels seen for each class", why="a class that is rare may not have come yet")

    spare = Limit(10.0, unit="outputs for each class that comes", why="a few spare ones are suppressed in a few steps")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the labels of each training loss over classes."""
        calls = [loss for loss in trained(seen) if loss.function in FUNCTIONS and loss.target_is_integer]
        if not calls:
            yield self.cannot_tell("no training loss takes class indices")
        for loss in calls:
            if loss.raised and _fits(loss) and (loss.target_max >= width(loss) > 1 or loss.target_min < 0):
                yield self._outside(loss, seen)
            elif loss.ignored_share >= self.ignored:
                yield self._ignored(loss, seen)
            elif self._has_spare_outputs(loss, seen):
                yield self._spare(loss, seen)
            elif self._counts_from_one(loss):
                yield self._from_one(loss, seen)

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge labels that are whole numbers: where they begin, and what is left out between them."""
        column = seen.train.profile.column(seen.target)
        numbers = column.numbers if column is not None else None
        if seen.task != "classification" or numbers is None or not numbers.values:
            yield self.cannot_tell("there is no target whose classes are numbers")
            return
        labels = [int(value) for value, _ in numbers.values]
        classes, rows = len(labels), numbers.count
        if classes < 3 or rows < self.fewest * classes or labels == list(range(classes)):
            return
        if any(value != int(value) for value, _ in numbers.values):
            return
        gaps = sorted(set(range(max(0, labels[0]), labels[-1])) - set(labels))
        yield self.finding(
            f"labels of {one_name(seen.target)} run from {labels[0]} to {labels[-1]}, and are {classes} classes",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=(seen.target,)),
            evidence=[
                Evidence("smallest label", labels[0], 0),
                Evidence("largest label", labels[-1], classes - 1),
                *([Evidence("labels that no row has", ", ".join(map(str, gaps[:8])), "none")] if gaps else []),
            ],
            cause=f"A network with {classes} outputs stands for the classes 0 to {classes - 1}: a larger label stops "
            "the training, or asks for outputs that never come.",
            fixes=[
                "Count the classes from 0:\n"
                + code(f"frame[{seen.target!r}] = frame[{seen.target!r}].rank(method='dense') - 1")
            ],
            unless="they are amounts, and no classes, or are encoded later.",
        )

    def _counts_from_one(self, loss: LossCall) -> bool:
        counts = loss.class_counts
        if len(counts) < 3 or counts[0] or not all(counts[1:]):
            return False
        return sum(counts) >= self.fewest * len(counts)

    def _has_spare_outputs(self, loss: LossCall, seen: History) -> bool:
        """Whether all labels that came are the first few classes, and the run ended no better than a guess of them.

        Tasks may follow each other, so only a run that has ended can tell; a vocabulary is larger than any text.
        """
        classes, seen_labels = loss.target_distinct, loss.watched * math.prod(loss.target_shape)
        is_counted = classes > 1 and loss.target_min == 0 and loss.target_max == classes - 1
        of_tokens = len(loss.target_shape) > 1 or any(fed.dtype.startswith("int") for fed in seen.inputs)
        if not seen.finished or not is_counted or of_tokens or seen_labels < self.fewest * classes:
            return False
        progress = progress_of(seen)
        is_slow = progress.known and progress.end > math.log(classes)
        return width(loss) >= self.spare * classes and is_slow

    def _outside(self, loss: LossCall, seen: History) -> Finding:
        classes, low, high = width(loss), int(loss.target_min), int(loss.target_max)
        from_one = low == 1 and high == classes
        repair = (
            "Count the classes from 0:\n" + code("labels = labels - 1")
            if from_one
            else "Give the network an output for each class, or repair the labels:\n"
            + code(f"nn.Linear(hidden, {max(high + 1, classes)})", "print(labels.unique())")
        )
        return self.finding(
            f"labels go from {low} to {high}, and the outputs stand for 0 to {classes - 1}",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(seen.steps, seen.steps)),
            evidence=[
                Evidence("class indices seen", f"{low} to {high}", f"0 to {classes - 1}", f"{classes} outputs"),
                Evidence(f"raised at watched call {loss.training_calls}", f"`{loss.raised}`", "no error"),
            ],
            cause=f"{named(loss)} at {at(loss.site)} looks the output of the true class up by its index, and there is "
            "none at that place.",
            fixes=[repair],
        )

    def _ignored(self, loss: LossCall, seen: History) -> Finding:
        return self.finding(
            f"{loss.ignored_share:.0%} of the labels are below 0 and do not count",
            sureness=Sureness.LIKELY,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence("labels below 0", f"{loss.ignored_share:.1%}", "padding only"),
                Evidence("smallest label", f"{loss.target_min:.0f}", "0"),
            ],
            cause=f"{named(loss)} at {at(loss.site)} leaves labels equal to `ignore_index` (-100) out. Nearly nothing "
            "is left to learn from; where nothing is left, the loss is no number.",
            fixes=["Look at where labels are set to -100:\n" + code("print((labels >= 0).float().mean())")],
        )

    def _spare(self, loss: LossCall, seen: History) -> Finding:
        classes, outputs = loss.target_distinct, width(loss)
        return self.finding(
            f"{outputs:,} outputs for {classes} classes: {outputs - classes:,} never come",
            severity=Severity.WARNING,
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence("class indices seen", f"0 to {classes - 1}", f"0 to {outputs - 1}", f"{outputs:,} outputs"),
                Evidence(
                    "training loss, median of its last tenth",
                    f"{progress_of(seen).end:.4g}",
                    f"below {math.log(classes):.3g}",
                    f"log({classes}): a guess among the classes that come",
                ),
            ],
            cause=f"{named(loss)} at {at(loss.site)} spreads each answer over {outputs:,} outputs, of which only the "
            f"first {classes} are ever right: the loss begins at log({outputs:,}) = {math.log(outputs):.2f}, and the "
            "first steps are spent on pushing the others down.",
            fixes=["Give the network one output for each class:\n" + code(f"nn.Linear(hidden, {classes})")],
            unless="labels of the other classes come later, from other data.",
        )

    def _from_one(self, loss: LossCall, seen: History) -> Finding:
        classes = len(loss.class_counts)
        return self.finding(
            f"no label is 0: {classes - 1} classes count from 1, for {classes} outputs",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence("labels of class 0", f"0 of {sum(loss.class_counts):,}", "some"),
                Evidence("classes with labels", f"{classes - 1}", f"{classes}"),
            ],
            cause="Output 0 stands for a class that never occurs. It costs little, but shows that labels count from 1.",
            fixes=["Count from 0, with one output less:\n" + code("labels = labels - 1")],
            unless="class 0 is a background or a padding class that is left out on purpose.",
        )

    bad = Examples(lambda: {
        "labels from 1": _labels(range(1, 5)),
        "labels of 1 to 10": heard(
            "cross_entropy", [], watched=1, target_min=1.0, target_max=10.0,
            raised="IndexError: Target 10 is out of bounds.", **_ten,
        ),
        "a class too many": heard(
            "nll_loss", target_min=0.0, target_max=11.0, raised="IndexError: Target 11 is out of bounds.", **_ten
        ),
        "a label of -1": heard(
            "cross_entropy", target_min=-1.0, target_max=9.0, raised="IndexError: Target -1 is out of bounds.", **_ten
        ),
        "all left out": heard("cross_entropy", ignored_share=1.0, target_min=-100.0, **_ten),
        "nearly all left out": heard("cross_entropy", ignored_share=0.96, target_min=-100.0, **_ten),
        "two thousand outputs for three classes": heard("cross_entropy", falling(7.6, 3.1), **_three),
        "labels just enough to say": heard(
            "cross_entropy", falling(7.6, 1.2), **(_three | {"watched": 5, "output_shape": (12, 31)})
        ),
        "labels count from one": heard("cross_entropy", class_counts=(0, *[23] * 9), **_ten),
    })  # fmt: skip
    good = Examples(
        lambda: {
            "labels from 0": _labels(range(4)),
            "labels of 0 to 9": heard("cross_entropy", target_min=0.0, target_max=9.0, class_counts=(20,) * 10, **_ten),
            "spare outputs, learned not to give them": heard("cross_entropy", falling(7.6, 0.4), **_three),
            "spare outputs, too few labels to say": heard(
                "cross_entropy", falling(7.6, 3.1), **(_three | {"watched": 4, "target_shape": (14,)})
            ),
            "a few outputs to spare": heard(
                "cross_entropy", falling(3.3, 2.0), **(_three | {"output_shape": (12, 29)})
            ),
            "masked words": heard("cross_entropy", ignored_share=0.94, target_min=-100.0, **_ten),
            "too few labels to say": heard("cross_entropy", class_counts=(0, *[22] * 9), **_ten),
            "raised for another reason": heard(
                "cross_entropy", target_min=0.0, target_max=9.0, raised="ValueError: batch sizes differ", **_ten
            ),
            "two classes, one seen": heard("cross_entropy", class_counts=(0, 90), output_shape=(64, 2)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        hidden_words = torch.rand(len(labels)) < 0.99  # fix: hidden_words = torch.rand(len(labels)) < 0.1
        labels[hidden_words] = -100
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=512, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        right = model(images).argmax(dim=1) == torch.tensor(data.target)
        print(f"accuracy {right.float().mean().item():.4f}")
        """)
