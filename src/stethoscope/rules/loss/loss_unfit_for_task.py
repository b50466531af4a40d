"""A loss that cannot measure what the targets ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import FitHead
from stethoscope.facts.code import Code
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.examples import falling, flat
from stethoscope.rules.head_reading import labels_as_numbers, misfits
from stethoscope.rules.heads import FOLLOWS, REGRESSION, heard, maker_evidence, named, span, trained, width
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at

SIGNED = ("soft_margin_loss", "hinge_embedding_loss")
"""Losses whose targets are -1 and 1."""
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
CLASSIFY = code(
    "model = nn.Sequential(..., nn.Linear(hidden, {classes}))",
    "loss = F.cross_entropy(scores, labels.long())",
)
YES_OR_NO = code("loss = F.binary_cross_entropy_with_logits(scores, targets)  # no activation before it")


@dataclass(frozen=True)
class Misfit:
    """One way in which a loss does not fit."""

    title: str
    cause: str
    evidence: tuple[Evidence, ...]
    fix: str
    certain: bool = True
    severity: Severity = Severity.ERROR
    unless: str = ""


_digits = {"target_min": 0.0, "target_max": 9.0, "target_distinct": 10, "target_whole": 1.0}


class LossUnfitForTask(Rule):
    """The loss does not fit the targets, or the number of outputs that it is given.

    ## What it sees
    What goes into the loss. A softmax over a single unit, or a cross-entropy over a single class, is constant. A
    cross-entropy whose targets are numbers and no classes, or no distribution. Sigmoids in a cross-entropy written
    out by hand. A binary loss whose targets are not 0 and 1, or that is given exclusive classes and does not learn
    them; a margin loss whose targets are not -1 and 1; negative rates of counts. A squared or absolute error on class
    indices: whole numbers from 0 on, each about equally frequent.
    In code: the last layer of a Keras model beside its loss, and where the targets of a squared error come from.
    ## Why it hurts
    The best answer to such a loss is not the answer that was wanted: a constant has no gradient, and to a squared
    error class 7 lies between 6 and 8.
    ## How to fix it
    One number for each sample: a linear layer and a squared error. Yes or no: one score and the binary
    cross-entropy with logits. One of C classes: C scores and cross-entropy with the indices of the classes.
    ## When it is not a fault
    A squared error on ordered grades can be meant. It is reported only where grades are spread evenly and the
    error stays large, or where nothing is learned.
    ## Sources
    PyTorch documentation of the loss functions. N. Humbatova et al., "Taxonomy of real faults in deep learning
    systems", ICSE 2020 (wrong loss, wrong output layer).
    """

    on_trial = True
    treatments = (FitHead("cross_entropy"), FitHead("binary_cross_entropy_with_logits"), FitHead("mse_loss"))
    explains = (
        "forward-crash",
        *FOLLOWS,
        "frozen-parameters",
        "output-activation-limits-range",
        "softmax-before-cross-entropy",
        "target-shape-broadcast",
    )
    reads = ("losses",)

    fewest_calls = Limit(3, unit="watched calls", why="one batch may hold few classes")
    exclusive = Limit(0.98, unit="share of target rows with a single 1", why="labels that may come together do so")
    even = Limit(
        0.15,
        unit="relative distance of the targets' variance from that of equally frequent classes",
        why="counts and grades gather round a middle; classes are collected evenly",
    )
    rounding = Limit(
        0.08, unit="squared error at the end", why="a typical error of 0.28 and more: rounding misses the class often"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the inputs of each training loss."""
        calls = trained(seen)
        if not calls:
            yield self.cannot_tell("no loss function was seen with its prediction and target")
        progress = progress_of(seen)
        for loss in calls:
            misfit = (
                _one_unit(loss)
                or _no_distribution(loss)
                or _sigmoid_and_classes(loss)
                or _not_yes_or_no(loss)
                or _not_plus_or_minus(loss)
                or _no_rates(loss)
                or self._exclusive_classes(loss, seen, progress)
                or self._class_indices(loss, seen, progress)
            )
            if misfit is not None:
                yield self.finding(
                    misfit.title,
                    severity=misfit.severity,
                    sureness=Sureness.CERTAIN if misfit.certain else Sureness.LIKELY,
                    place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
                    evidence=misfit.evidence,
                    cause=misfit.cause,
                    fixes=[misfit.fix],
                    unless=misfit.unless,
                )

    def _exclusive_classes(self, loss: LossCall, seen: History, progress: Progress) -> Misfit | None:
        is_stuck = progress.known and not progress.learns_well
        if loss.computes not in BINARY or width(loss) < 3 or not is_stuck or loss.watched < self.fewest_calls:
            return None
        if not loss.target_rows_one_hot >= self.exclusive:
            return None
        return Misfit(
            f"a yes-or-no loss for each of {width(loss)} classes that exclude each other"[:72],
            f"{named(loss).capitalize()} at {at(loss.site)} asks {width(loss)} separate questions, of which "
            f"{width(loss) - 1} have the answer no: saying no to all is nearly right, and learned first.",
            (
                Evidence("target rows with exactly one 1", f"{loss.target_rows_one_hot:.0%}", "fewer: several 1s"),
                loss_evidence(seen, progress),
            ),
            "Let the classes compete:\n" + code("loss = F.cross_entropy(scores, targets.argmax(dim=1))"),
            certain=False,
            severity=Severity.WARNING,
        )

    def _class_indices(self, loss: LossCall, seen: History, progress: Progress) -> Misfit | None:
        classes = loss.target_distinct
        is_counted = loss.target_min == 0 and loss.target_max == classes - 1 and loss.target_whole == 1
        if loss.computes not in REGRESSION or classes < 3 or not is_counted or loss.watched < self.fewest_calls:
            return None
        outputs = math.prod(loss.output_shape[1:])
        each = math.prod(loss.target_shape[1:])
        wide = outputs == classes and each == 1
        even = (classes * classes - 1) / 12
        is_even = abs(loss.target_variance - even) <= self.even * even
        off = progress.known and progress.end > _error_of(self.rounding, loss.computes)
        if not wide and not (is_even and each == 1 and (off or progress.is_stuck)):
            return None
        return Misfit(
            f"{named(loss)} on {classes} class indices, as if they were amounts",
            f"The targets are the whole numbers 0 to {classes - 1}{'' if wide else ', about equally frequent'}: names "
            "of classes. To "
            f"{named(loss)} at {at(loss.site)} class 2 lies between 1 and 3, and a doubt between 0 and "
            f"{classes - 1} is answered by one in the middle.",
            (
                Evidence("different target values", f"{classes}, from 0 to {classes - 1}", "many, and not whole"),
                Evidence("outputs compared with one target", str(outputs), "1")
                if wide
                else Evidence(
                    "variance of the targets",
                    f"{loss.target_variance:.3g}",
                    f"other than {even:.3g}",
                    f"{classes} equally frequent classes have (C x C - 1) / 12",
                ),
                loss_evidence(seen, progress),
            ),
            f"Give the network {classes} scores, and compare them with the class:\n{CLASSIFY.format(classes=classes)}",
            certain=wide,
            severity=Severity.ERROR if wide or progress.is_stuck else Severity.WARNING,
            unless="the numbers are ordered grades, and a near miss is nearly right.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at last layers beside their losses, and at where targets come from."""
        yield from misfits(self, file)
        yield from labels_as_numbers(self, file)

    bad = Examples(lambda: {
        "a softmax over one unit": heard("mse_loss", produced_by="softmax", softmax_axis=1, softmax_shape=(32, 1)),
        "a cross-entropy over one class": heard("cross_entropy", flat(0.0)),
        "labels as numbers into cross-entropy": heard(
            "cross_entropy", output_shape=(32,), target_shape=(32,), target_rows_sum_to_one=0.0, target_whole=1.0
        ),
        "targets that are no distribution": heard(
            "cross_entropy", output_shape=(32, 5), target_shape=(32, 5), target_rows_sum_to_one=0.1
        ),
        "a hand-written cross-entropy of sigmoids": heard(
            "backward", falling(0.7, 0.01), form="categorical", output_shape=(32, 3), target_shape=(32, 3),
            produced_by="sigmoid", target_rows_one_hot=1.0,
        ),
        "half of the binary cross-entropy": heard(
            "backward", form="categorical", produced_by="sigmoid", target_min=0.0, target_max=1.0, target_mean=0.4
        ),
        "class indices into a binary loss": heard(
            "binary_cross_entropy_with_logits", target_min=0.0, target_max=2.0, target_distinct=3
        ),
        "a margin and labels of 0 and 1": heard(
            "soft_margin_loss", target_min=0.0, target_max=1.0, target_distinct=2
        ),
        "scores in the place of rates": heard(
            "poisson_nll_loss", expects="values", output_min=-1.2, output_max=2.0, produced_by="linear"
        ),
        "ten exclusive classes, stuck": heard(
            "binary_cross_entropy", flat(0.33), output_shape=(32, 10), target_rows_one_hot=0.99, chance=0.325
        ),
        "the same in three calls": heard(
            "binary_cross_entropy", flat(0.33), output_shape=(32, 10), target_rows_one_hot=1.0, chance=0.325, watched=3
        ),
        "ten scores against one index": heard("mse_loss", output_shape=(32, 10), target_variance=4.0, **_digits),
        "digits as amounts": heard("mse_loss", falling(8.0, 0.9), target_variance=8.2, chance=8.2, **_digits),
        "digits, by absolute error": heard("l1_loss", falling(4.5, 0.9), target_variance=8.2, **_digits),
        "digits, by the loss between both": heard("smooth_l1_loss", falling(4.0, 0.3), target_variance=8.2, **_digits),
        "digits a little uneven": heard("mse_loss", falling(8.0, 0.9), target_variance=7.03, chance=8.2, **_digits),
        "digits, an error next to the limit": heard(
            "mse_loss", falling(8.0, 0.0815), target_variance=8.2, chance=8.2, **_digits
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "a softmax over ten": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=1, softmax_shape=(32, 10), output_shape=(32, 10)
        ),
        "raw scores and class indices": heard(
            "cross_entropy", output_shape=(32, 10), target_shape=(32,), produced_by="linear", target_is_integer=True
        ),
        "soft targets": heard(
            "cross_entropy", output_shape=(32, 10), target_shape=(32, 10), target_rows_sum_to_one=1.0
        ),
        "several labels at once": heard(
            "binary_cross_entropy", flat(0.33), output_shape=(32, 10), target_rows_one_hot=0.96, chance=0.325
        ),
        "ten exclusive classes, learned well": heard(
            "binary_cross_entropy", falling(0.69, 0.05), output_shape=(32, 10), target_rows_one_hot=1.0, chance=0.325
        ),
        "ten exclusive classes, two calls": heard(
            "binary_cross_entropy", flat(0.33), output_shape=(32, 10), target_rows_one_hot=1.0, chance=0.325, watched=2
        ),
        "counts that gather at the low end": heard(
            "mse_loss", falling(3.0, 0.9), target_variance=3.0, chance=3.0, **_digits
        ),
        "counts a little less even than classes": heard(
            "mse_loss", falling(6.0, 0.9), target_variance=6.995, chance=6.995, **_digits
        ),
        "even grades, learned to the last": heard(
            "mse_loss", falling(8.0, 0.0785), target_variance=8.2, chance=8.2, **_digits
        ),
        "even grades by absolute error, learned": heard(
            "l1_loss", falling(4.5, 0.2), target_variance=8.2, **_digits
        ),
        "amounts": heard("mse_loss", target_min=25.0, target_max=346.0, target_whole=1.0, target_variance=5900.0),
        "a margin and labels of -1 and 1": heard(
            "soft_margin_loss", target_min=-1.0, target_max=1.0, target_distinct=2
        ),
        "rates of counts": heard("poisson_nll_loss", expects="values", output_min=0.01, output_max=9.0),
        "logarithms of rates": heard("poisson_nll_loss", expects="logarithms", output_min=-2.0, output_max=2.0),
        "yes or no": heard("binary_cross_entropy", target_min=0.0, target_max=1.0, target_distinct=2),
    })  # fmt: skip
    bad_code = {
        "a softmax and a squared error": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")])
            model.compile("adam", loss="mse")  # bad
            """,
        "a softmax and a binary loss": """
            from keras import Sequential
            from keras.layers import Dense

            model = Sequential([Dense(3, activation="softmax")])
            model.compile("adam", loss="binary_crossentropy")  # bad
            """,
        "sigmoids and exclusive classes": """
            from keras import Sequential
            from keras.layers import Dense

            model = Sequential([Dense(3, activation="sigmoid")])
            model.compile("adam", loss="categorical_crossentropy")  # bad
            """,
        "a squared error of digits": """
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision import datasets

            loader = DataLoader(datasets.MNIST("data"), batch_size=64)

            def train(model):
                for x, y in loader:
                    y = y.float().unsqueeze(1)
                    F.mse_loss(model(x), y).backward()  # bad
            """,
    }
    good_code = {
        "pairs that go together": """
            from keras import Sequential
            from keras.layers import Dense

            Sequential([Dense(3, activation="softmax")]).compile("adam", loss="categorical_crossentropy")
            Sequential([Dense(3, activation="sigmoid")]).compile("adam", loss="binary_crossentropy")
            Sequential([Dense(2, activation="softmax")]).compile("adam", loss="binary_crossentropy")
            Sequential([Dense(3)]).compile("adam", loss="mse")
            """,
        "what an autoencoder compares": """
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision import datasets

            loader = DataLoader(datasets.MNIST("data"), batch_size=64)

            def train(model):
                for x, y in loader:
                    F.mse_loss(model(x), x).backward()
                    F.mse_loss(model(x), F.one_hot(y).float()).backward()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_breast_cancer
        from torch import nn

        torch.manual_seed(SEED)
        data = load_breast_cancer()
        rows = torch.tensor(data.data, dtype=torch.float32)
        rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
        labels = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, labels), batch_size=32, shuffle=True
        )
        model = nn.Sequential(
            nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1),
            nn.Softmax(dim=1),  # fix: nn.Sigmoid(),
        )
        criterion = nn.BCELoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {criterion(model(rows), labels).item():.4f}")
        """)


def _one_unit(loss: LossCall) -> Misfit | None:
    shape, axis = loss.softmax_shape, loss.softmax_axis
    softmax = len(shape) > axis >= 0 and shape[axis] == 1 and math.prod(shape) > 1
    single = loss.function in ("cross_entropy", "nll_loss") and len(loss.output_shape) > 1 and width(loss) == 1
    if not softmax and not single:
        return None
    by = loss.produced_by if softmax else loss.function
    constant = "0" if by != "softmax" else "1"
    what = "output of the network" if softmax else "loss"
    return Misfit(
        f"`{by}` over a single unit: the {'output' if softmax else 'loss'} is always {constant}",
        "A softmax divides each score by the sum of all scores. With one score the result is 1 and its logarithm 0, "
        "whatever the weights are, and no gradient reaches them.",
        (
            Evidence("size of the axis that `softmax` runs over", "1", "one score for each class, 2 at least"),
            Evidence(f"range of the {what}", f"{constant} to {constant}", "moves with the input"),
        ),
        "One unit for yes or no: leave the softmax out, and use the loss that applies a sigmoid:\n"
        + YES_OR_NO
        + "\nOr one unit for each class, and class indices as targets:\n"
        + CLASSIFY.format(classes="classes"),
    )


def _no_distribution(loss: LossCall) -> Misfit | None:
    if loss.function != "cross_entropy" or loss.target_is_integer or not loss.target_rows_sum_to_one < 0.5:
        return None
    samples = loss.output_shape[0]
    if len(loss.output_shape) == 1:
        return Misfit(
            f"`cross_entropy` takes {samples} samples for {samples} classes of one sample",
            f"Outputs and targets have one axis, and the targets at {at(loss.site)} are no class indices but numbers. "
            "So they are read as the class probabilities of a single sample, and the softmax runs over the batch.",
            (
                Evidence("shapes of outputs and targets", f"({samples},) and ({samples},)", "(N, classes) and (N,)"),
                Evidence("targets that sum to 1", f"{loss.target_rows_sum_to_one:.0%}", "100%"),
            ),
            "A number for each sample:\n"
            + code("loss = F.mse_loss(outputs, targets)")
            + "\nYes or no for each sample:\n"
            + YES_OR_NO,
        )
    return Misfit(
        "the targets of `cross_entropy` are no distribution over the classes",
        f"Float targets are read as probabilities by `cross_entropy` at {at(loss.site)}: each row should sum to 1. "
        "Where several classes are right at once, the softmax makes them compete with each other.",
        (Evidence("target rows within 0..1 that sum to 1", f"{loss.target_rows_sum_to_one:.0%}", "100%"),),
        "Several labels at once: ask for each of them:\n" + YES_OR_NO,
        severity=Severity.WARNING,
    )


def _sigmoid_and_classes(loss: LossCall) -> Misfit | None:
    classes = width(loss)
    if loss.produced_by not in ("sigmoid", "hardsigmoid") or loss.computes != "categorical":
        return None
    if classes == 1:
        return Misfit(
            "the loss looks at the positive samples only",
            f"{named(loss).capitalize()} at {at(loss.site)} is y * log(p) without (1 - y) * log(1 - p): the other "
            "samples cost nothing, so that yes for all is the best answer.",
            (
                Evidence("share of targets above 0", f"{loss.target_mean:.0%}", "all samples count"),
                Evidence("loss of yes for all", "0", "above 0"),
            ),
            "Use the whole loss, on scores without the sigmoid:\n" + YES_OR_NO,
        )
    return Misfit(
        f"sigmoids of {classes} classes go into a loss for exclusive classes",
        f"{named(loss).capitalize()} at {at(loss.site)} takes the logarithm at the true class only. Sigmoids need not "
        "sum to 1, so that yes to everything costs nothing.",
        (
            maker_evidence(loss, "`softmax`"),
            Evidence("loss of saying yes to every class", "0", "log(C) and more: the outputs sum to 1"),
        ),
        "One class for each sample: give `cross_entropy` the scores:\n"
        + code("loss = F.cross_entropy(scores, labels)  # no sigmoid before it")
        + "\nSeveral at once: ask for each:\n"
        + YES_OR_NO,
    )


def _error_of(squared: float, computes: str) -> float:
    """What a loss gives for errors of this mean square: half of it, for the absolute one 0.8 of its root."""
    if computes == "l1_loss":
        return math.sqrt(2 * squared / math.pi)
    return squared if computes == "mse_loss" else squared / 2


def _not_yes_or_no(loss: LossCall) -> Misfit | None:
    # Labels of 1.2 are a trick of those who train GANs.
    if loss.computes not in BINARY or not (loss.target_min < -0.5 or loss.target_max > 1.5):
        return None
    return Misfit(
        f"the targets of a yes-or-no loss go from {span(loss.target_min, loss.target_max)}",
        f"{named(loss).capitalize()} at {at(loss.site)} is meant for targets of 0 and 1. For others it has no "
        "lower end: it falls on while the answers become worse.",
        (Evidence("targets", span(loss.target_min, loss.target_max), "0 to 1"),),
        "Labels of -1 and 1 become 0 and 1:\n"
        + code("targets = (targets + 1) / 2")
        + "\nClass indices need a score for each class:\n"
        + CLASSIFY.format(classes="classes"),
    )


def _not_plus_or_minus(loss: LossCall) -> Misfit | None:
    if loss.function not in SIGNED or loss.target_min != 0 or loss.target_max != 1 or loss.target_distinct != 2:
        return None
    return Misfit(
        f"{named(loss)} takes labels of -1 and 1, and is given 0 and 1",
        f"{named(loss).capitalize()} at {at(loss.site)} multiplies each score with its label, or asks whether that is "
        "-1. A label of 0 counts for neither side, so that yes for all is the best answer.",
        (Evidence("targets", "0 and 1", "-1 and 1"),),
        "Labels of 0 and 1 become -1 and 1:\n"
        + code("targets = 2 * targets - 1")
        + "\nOr use the loss for 0 and 1:\n"
        + YES_OR_NO,
    )


def _no_rates(loss: LossCall) -> Misfit | None:
    if loss.function != "poisson_nll_loss" or loss.expects != "values" or not loss.output_min < 0:
        return None
    return Misfit(
        "`poisson_nll_loss` takes rates, and is given values below 0",
        f"With `log_input=False` {named(loss)} at {at(loss.site)} takes the logarithm of what it is given: a rate, "
        "which is never negative. That of a negative value is no number.",
        (Evidence("outputs that went into the loss", span(loss.output_min, loss.output_max), "above 0"),),
        "Let the network say the logarithm of the rate, as the loss expects unless told otherwise:\n"
        + code("loss = F.poisson_nll_loss(log_rates, counts)", "rates = log_rates.exp()"),
    )
