"""Dropout that removes more than the network can do without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import NoDropout
from stethoscope.facts.code import Attribute, Call, Code, Site
from stethoscope.facts.expressions import values_of
from stethoscope.facts.flow import Dropped
from stethoscope.facts.modes import accuracies_of, losses_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.things import literal
from stethoscope.facts.training import Curve, History, Layer
from stethoscope.facts.uses import readings_of
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.lines import fitting, place_in
from stethoscope.rules.sites import at, code, place_at

ENOUGH = 0.5
"""A training loss half of the way down is no underfitting."""


@dataclass(frozen=True)
class Place:
    """A layer or a line that drops values."""

    name: str
    """Of the layer; empty for a function."""
    probability: float
    site: Site | None = None


@dataclass(frozen=True)
class Lift:
    """How much better the network is in eval mode than it was while training."""

    of: str
    training: float
    validation: float
    gain: float
    """Accuracy won, or loss saved as a share of the training loss."""


def _run(
    loss: ArrayLike,
    *dropouts: float,
    accuracy: float | None = None,
    validated: float | None = None,
    learned: float = 0.3,
) -> History:
    """A classifier with these dropout layers, and what its last passes in eval mode gave."""
    seen = run(loss, weights=len(dropouts) + 1)
    extra = tuple(Layer(f"drop{i}", "Dropout", order=2 * i + 1, dropout=p) for i, p in enumerate(dropouts))
    seen = replace(seen, layers=(*seen.layers, *extra))
    passes = np.array([50, 100, 150, 200])
    if accuracy is not None:
        steps = np.arange(50)
        seen = with_curve(seen, Curve("training accuracy", "accuracy", "training", 4 * steps, np.full(50, learned)))
        seen = with_curve(seen, Curve("validation accuracy", "accuracy", "validation", passes, np.full(4, accuracy)))
    if validated is not None:
        seen = with_curve(seen, Curve("validation loss", "loss", "validation", passes, np.full(4, validated)))
    return seen


_GRAPHS = re.compile(r"\b(?:torch_geometric|dgl|edge_index|adj)\b")


class DropoutTooStrong(Rule):
    """Dropout removes so much that the network cannot even learn its training data.

    ## What it sees
    The probability of the strongest dropout layer, a training loss that stays high, and the same network in eval
    mode, where nothing is dropped: clearly better on validation data than it was on training data at that time. Above
    0.8 the first two are enough.
    In code: a probability of 0.9 or more that is written out, unless the network is one of graphs, whose
    sparse features are dropped like that.
    ## Why it hurts
    With p = 0.9 a step trains a tenth of the units, and the signal that is left is multiplied by ten: mostly noise.
    Regularization that keeps the training loss up has nothing left to regularize.
    ## How to fix it
    p is the probability to *drop*: 0.1 to 0.5 are usual. `nn.Dropout(0.1)` keeps 90 %.
    ## When it is not a fault
    A network that reaches a good training loss in spite of it. Some gap is normal: dropout makes training harder
    than validation.
    ## Sources
    N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014),
    section 7.3 (underfitting above p = 0.6 to 0.7 dropped). PyTorch documentation, `torch.nn.Dropout`.
    """

    on_trial = True
    severity = Severity.WARNING
    treatments = (NoDropout(),)
    explains = (
        "learning-rate-too-high",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
        "train-eval-mismatch",
        "too-few-epochs",
    )
    reads = ("losses", "validation")

    fewest = Limit(0.6, unit="probability to drop", why="up to 0.5 is usual, and underfitting began above 0.6 to 0.7")
    beyond_use = Limit(
        0.8, unit="probability to drop", why="no use is known, so a run that learns little needs no more evidence"
    )
    accuracy = Limit(
        0.15,
        unit="accuracy in eval mode above that in training",
        why="p = 0.5 in two layers shows 0.07, 0.8 in two layers 0.3",
    )
    loss = Limit(
        0.15, unit="loss saved in eval mode, share", why="another set of data alone seldom makes so much difference"
    )

    written = Limit(0.9, unit="probability to drop", why="so much is written where the share to keep is meant")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the strongest dropout layer, when the training loss stays high."""
        progress = progress_of(seen)
        if not progress.known:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        poor = progress.gain < ENOUGH if np.isfinite(progress.gain) else not progress.learns_well
        strong = [
            Place(layer.name, layer.dropout)
            for layer in seen.layers
            if layer.dropout >= self.fewest and layer.order >= 0
        ] or [Place("", each.probability, each.site) for each in seen.dropped if each.probability >= self.fewest]
        if not strong or not poor or progress.ended_nonfinite:
            return
        lifts = _lifts(seen)
        found = next(
            (lift for lift in lifts if lift.gain >= (self.accuracy if lift.of == "accuracy" else self.loss)), None
        )
        worst = max(strong, key=lambda place: place.probability)
        # Where so little is left that nothing is learned, the network is no better without it afterwards.
        if found is not None or worst.probability >= self.beyond_use:
            yield self._report(seen, worst, len(strong), found)

    def _report(self, seen: History, worst: Place, count: int, lift: Lift | None) -> Finding:
        progress = progress_of(seen)
        evidence = [
            Evidence(
                "probability to drop, " + (f"`{worst.name}`" if worst.name else f"at {at(worst.site)}"),
                f"{worst.probability:.3g}",
                "0.1 to 0.5",
            ),
            *([Evidence("places that drop more than half", count, 0)] if count > 1 else []),
        ]
        if lift is not None:
            evidence.append(
                Evidence(
                    f"{lift.of} in training, with dropout / in validation, without",
                    f"{lift.training:.3g} / {lift.validation:.3g}",
                    "about the same",
                    "at the same steps",
                )
            )
        return self.finding(
            f"dropout of {worst.probability:.3g} leaves too little to learn from"
            + (f" (`{worst.name}`)" if 0 < len(worst.name) < 20 else ""),
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            sureness=Sureness.LIKELY if lift is not None or progress.is_stuck else Sureness.POSSIBLE,
            place=place_at(worst.site, steps=(0, max(seen.steps - 1, 0)), module=worst.name),
            evidence=[*evidence, loss_evidence(seen, progress)],
            cause=f"Each step trains the {1 - worst.probability:.0%} of the units that are left and multiplies them by "
            f"{1 / max(1 - worst.probability, 1e-3):.3g}, so the training loss stays high.",
            fixes=[
                Fix(
                    "Drop less; the argument is the share that is removed:\n"
                    + code(
                        "layers.Dropout(0.2)"
                        if seen.framework == "keras"
                        else "nn.Dropout(0.2)"
                        if worst.name
                        else "F.dropout(x, 0.2, training=self.training)"
                    )
                ),
            ],
            unless="a network with less dropout is worse on new data.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at probabilities that are written out."""
        for call in file.calls_named(_drops):
            probability = _probability(file, call)
            if probability is None or not self.written <= probability < 1 or file.matches(_GRAPHS):
                continue
            if _is_never_called(file, call):
                continue  # `unused-layer` says so
            kept = 1 - probability
            name = call.name.rpartition(".")[2]
            yield self.finding(
                fitting(f"`{name}({probability:g})` drops {probability:.0%} of its input", "dropout drops nearly all"),
                sureness=Sureness.LIKELY,
                place=place_in(file, call.at),
                evidence=[Evidence(f"share of values that `{name}` drops", f"{probability:g}", "0.1 to 0.5")],
                cause=f"The number is the probability to drop: {kept:.2g} of the units are left, multiplied by "
                f"{1 / kept:.3g}.",
                fixes=[f"Where {probability:.0%} are to be kept, drop the rest:\n" + code(f"{name}({kept:.2g})")],
                unless="so little is meant to pass.",
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "0.8, and far better in eval mode": _run(falling(2.31, 1.65), 0.8, 0.8, accuracy=0.79, validated=1.3),
            "by the loss alone": _run(falling(2.31, 1.65), 0.8, validated=1.3),
            "an accuracy next to the limit": _run(falling(2.31, 1.9), 0.7, accuracy=0.455),
            "a loss next to the limit": _run(flat(2.0), 0.7, validated=1.69),
            "a probability next to the limit": _run(falling(2.31, 1.65), 0.61, accuracy=0.79),
            "0.9, never validated": _run(flat(2.3), 0.9),
            "next to the limit, never validated": _run(flat(2.3), 0.81),
            "as poor in eval mode": _run(flat(2.3), 0.9, accuracy=0.1, learned=0.1, validated=2.3),
            "by a function": replace(
                _run(flat(2.3)), dropped=(Dropped(0.9, Site("train.py", 30, "", "x = F.dropout(x, 0.9)")),)
            ),
        }
    )
    good = Examples(
        lambda: {
            "half, and better in eval mode": _run(falling(2.31, 1.6), 0.5, 0.5, accuracy=0.79),
            "a probability just below the limit": _run(falling(2.31, 1.65), 0.59, accuracy=0.79),
            "a training loss that falls far in spite of it": _run(
                falling(2.31, 0.4), 0.8, accuracy=0.95, validated=0.1
            ),
            "as poor in eval mode: something else": _run(flat(2.3), 0.79, accuracy=0.1, learned=0.1, validated=2.3),
            "a function that drops half": replace(_run(flat(2.3)), dropped=(Dropped(0.5),)),
            "an accuracy just below the limit": _run(falling(2.31, 1.9), 0.7, accuracy=0.445),
            "a loss just below the limit": _run(flat(2.0), 0.7, validated=1.71),
            "just below the limit, never validated": _run(flat(2.3), 0.79),
            "too short to say": _run(flat(2.3, 12), 0.9),
        }
    )
    bad_code = {
        "the share to keep": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.drop = nn.Dropout(0.99)  # bad
                    self.fc = nn.Linear(3, 2)

                def forward(self, x):
                    x = F.dropout(self.drop(x), p=0.95, training=self.training)  # bad
                    return self.fc(x)
            """,
        "among others in a list": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.drop = nn.Dropout(0.9)  # bad
                    self.all = nn.ModuleList([nn.Linear(3, 2), self.drop])
            """,
        "in Keras": """
            from tensorflow.keras import layers

            layer = layers.Dropout(rate=0.9)  # bad
            """,
    }
    good_code = {
        "strong": """
            drop = nn.Dropout(0.89)
            F.dropout(torch.ones(3), 0.8)
            """,
        "never called": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.drop = nn.Dropout(0.9)
                    self.fc = nn.Linear(3, 2)

                def forward(self, x):
                    # x = self.drop(x)
                    return self.fc(x)
            """,
        "sparse features of a graph": """
            def forward(x, edge_index, conv):
                return conv(F.dropout(x, p=0.92), edge_index)
            """,
        "all of it, as a switch": """
            drop = nn.Dropout(1.0)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        train, held_out = order[:1400], order[1400:]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[train], labels[train]), batch_size=64, shuffle=True
        )
        p = 0.85  # fix: p = 0.15
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 10)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(12):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.cross_entropy(model(images[held_out]), labels[held_out]).item()
        print(f"loss {score:.4f}")
        """)


def _lifts(seen: History) -> list[Lift]:
    """What eval mode gains at the last passes, by accuracy and by loss, as far as known."""
    found = []
    if accuracies := accuracies_of(seen):
        training, validation = (float(np.median(v[-3:])) for v in (accuracies.training, accuracies.validation))
        found.append(Lift("accuracy", training, validation, validation - training))
    if losses := losses_of(seen):
        training, validation = (float(np.median(v[-3:])) for v in (losses.training, losses.validation))
        found.append(Lift("loss", training, validation, (training - validation) / max(training, 1e-12)))
    return found


def _is_never_called(file: Code, made: Call) -> bool:
    """Whether a layer is kept as an attribute, by a name that nothing else in the file calls or reads."""
    for number, binding in enumerate(file.bindings):
        if binding.value is made and binding.name.startswith("self."):
            name = binding.name.removeprefix("self")
            read = any(isinstance(one, Attribute) and one.name == name[1:] for one in values_of(file))
            return not (file.calls_of(name) or readings_of(file, number) or read)
    return False


def _drops(name: str) -> bool:
    """Whether a full name is that of a dropout."""
    is_known = name.startswith(("torch.nn.", "keras.layers."))
    return is_known and name.lower().endswith(("dropout", "dropout2d", "dropout1d"))


def _probability(file: Code, call: Call) -> float | None:
    """The number that a dropout is given, where it is written out."""
    functional = call.name.startswith("torch.nn.functional.")
    given = call.argument(1 if functional else 0, "rate" if call.name.startswith("keras") else "p")
    value = literal(file, given) if given is not None else None
    return value if isinstance(value, float) else None
