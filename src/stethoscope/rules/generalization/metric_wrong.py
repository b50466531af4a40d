"""An accuracy of the script's own that compares the wrong things."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.training import Comparison, History, LossCall, Measure
from stethoscope.rules.examples import falling, run
from stethoscope.rules.measuring import measured_amiss
from stethoscope.rules.sites import at, code, place_at

CLASS_LOSSES = ("cross_entropy", "nll_loss")

_pairs = Comparison(
    "pairs", output_shape=(64, 1), left=(64, 1), right=(64,), result=(64, 64), times=5, rows=320, last_step=199,
    told=0.53, meant=0.94,
)  # fmt: skip
_axis = Comparison(
    "axis", axis=0, output_shape=(50, 10), left=(10,), right=(10,), result=(10,), times=8, rows=80, last_step=199,
    told=0.05, meant=0.93,
)  # fmt: skip


def _run(*comparisons: Comparison, function: str = "cross_entropy", classes: int = 10) -> History:
    """A run that learns, whose measures were compared like this."""
    loss = LossCall(function, training_calls=50, output_shape=(32, classes), chance=2.3)
    return replace(run(falling(2.3, 0.1)), losses=(loss,), comparisons=comparisons)


def _measured(*measures: Measure) -> History:
    return replace(_run(), measures=measures)


_never_reset = Measure(
    "not reset", "MulticlassAccuracy", times=8, rows=397, last_step=160, passes=((8, 48), (8, 56), (8, 64))
)
_swapped = Measure("swapped", "r2_score", times=6, rows=600, last_step=160, told=-3.1, meant=0.42)


class MetricWrong(Rule):
    """The script's own accuracy sets answers beside the wrong targets, or takes them along the wrong axis.

    ## What it sees
    The `==` and `argmax` of the script on what the model has just answered, in validation and at watched training
    steps. Two things are certainly no accuracy: answers of shape (N, 1) beside targets of shape (N,), where each
    answer meets all targets; and the largest score along the batch where the loss has its classes on axis 1.
    A metric of torchmetrics that is read after each validation pass, is given one update for each forward pass, and
    holds those of all passes before. A function of `sklearn.metrics` for which it matters which side is which, and that
    is given the model's last answers where the targets belong.
    In code, besides: scores that the loss takes for scores, cut at 0.5; and a sum over samples that is divided by a
    number of batches, or the reverse.
    ## Why it hurts
    The number that decides which model is kept, and when to stop, says nothing about the model. Often a good network
    looks as if it knew nothing.
    ## How to fix it
    Bring both sides to one shape, take `argmax(dim=1)`, and see that a few samples give what you count by hand.
    ## When it is not a fault
    When every answer is to be compared with every target.
    ## Sources
    PyTorch documentation, "Broadcasting semantics".
    """

    on_trial = True
    reads = ("losses", "validation")

    fewest_passes = Limit(
        3, unit="validation passes since it was empty", why="a second reading may be that of a last, larger test"
    )
    fewest_rows = Limit(8, unit="samples compared", why="a handful may be looked at for another reason")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Report the first measure that is certainly none of the model's answers and their targets."""
        for comparison in seen.comparisons:
            if comparison.rows < self.fewest_rows:
                continue
            if comparison.kind == "pairs":
                yield self._stretched(comparison)
                return
            if any(_has_classes_on_axis_1(loss, comparison) for loss in seen.losses):
                yield self._along(comparison)
                return
        for measure in seen.measures:
            if measure.kind == "swapped" and measure.rows >= self.fewest_rows:
                yield self._turned_round(measure)
                return
            if measure.kind == "not reset" and measure.times >= self.fewest_passes:
                yield self._carried_over(measure)
                return

    def _turned_round(self, seen: Measure) -> Finding:
        numbers = []
        if not math.isnan(seen.told):
            numbers.append(Evidence(f"`{seen.name}` at the last time", f"{seen.told:.3f}", f"{seen.meant:.3f}"))
        return self.finding(
            f"`{seen.name}` takes the model's answers for the targets",
            sureness=Sureness.CERTAIN,
            place=place_at(seen.site, steps=(seen.first_step, seen.last_step)),
            evidence=[
                Evidence("validations whose first side ends with the model's last answers", seen.times, 0),
                *numbers,
            ],
            cause=f"`{seen.name}(y_true, y_pred)` measures the second side by the first. The other way round it is "
            "another number.",
            fixes=[Fix("Give the targets first:\n" + code(f"{seen.name}(targets, predictions)"))],
        )

    def _carried_over(self, seen: Measure) -> Finding:
        forwards, updates = seen.passes[-1]
        return self.finding(
            f"`{seen.name}` is never reset: it mixes {seen.times} validation passes"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(seen.site, steps=(seen.first_step, seen.last_step)),
            evidence=[
                Evidence(
                    "updates that the metric holds when it is read",
                    " then ".join(f"{held:,}" for _, held in seen.passes),
                    f"{forwards:,} each time",
                    "one for each forward pass of that validation",
                )
            ],
            cause=f"Only {forwards / updates:.0%} of what was read last is about the model as it was then; the rest "
            "is about how it was at earlier validations.",
            fixes=[Fix("Empty it after each reading:\n" + code("score = metric.compute()", "metric.reset()"))],
            unless="an average over all validations so far is meant.",
        )

    def _stretched(self, seen: Comparison) -> Finding:
        first = len(seen.left) < len(seen.right)
        lesser, wide = ("left", seen.right) if first else ("right", seen.left)
        fix = "predictions.reshape(-1) == targets.reshape(-1)"
        return self.finding(
            f"`==` compares each of {seen.left[0]} answers with all {seen.left[0]} targets",
            sureness=Sureness.CERTAIN,
            place=place_at(seen.site, steps=(seen.first_step, seen.last_step)),
            evidence=[
                Evidence(
                    f"{_shape(seen.left)} == {_shape(seen.right)} becomes",
                    _shape(seen.result),
                    _shape(wide),
                    f"the {lesser} side is stretched",
                ),
                _shares(seen),
            ],
            cause="An axis of size 1, or one that is not there, is stretched to fit the other side. The share that is "
            "equal is what chance gives, however good the model is.",
            fixes=[Fix("Give both sides the same shape:\n" + code(f"accuracy = ({fix}).float().mean()"))],
            unless="every answer is to be compared with every target.",
        )

    def _along(self, seen: Comparison) -> Finding:
        where = "of a whole batch" if seen.axis < 0 else "over the batch"
        rows, classes = seen.output_shape
        gives = "1 number" if seen.axis < 0 else f"{classes} numbers, one a class"
        return self.finding(
            f"the accuracy takes the largest score {where}, not of a sample",
            sureness=Sureness.CERTAIN,
            place=place_at(seen.reduced_at or seen.site, steps=(seen.first_step, seen.last_step)),
            evidence=[
                Evidence(f"largest scores of {_shape(seen.output_shape)}", gives, f"{rows} numbers, one a sample"),
                _shares(seen),
            ],
            cause="The loss has samples on axis 0 and classes on axis 1. Along axis 0 the largest score says which "
            f"sample is the most typical of a class; it is compared with targets at {at(seen.site)}.",
            fixes=[
                Fix(
                    "Take the largest score of each sample:\n"
                    + code("predictions = scores.argmax(dim=1)", "accuracy = (predictions == targets).float().mean()")
                )
            ],
            unless="the targets name the best sample for each class.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is compared, added up, divided, and given to measures."""
        yield from measured_amiss(self, file)

    bad = Examples(
        lambda: {
            "(64, 1) and (64,)": _run(_pairs, function="binary_cross_entropy_with_logits", classes=1),
            "(64,) and (64, 1)": _run(replace(_pairs, left=(64,), right=(64, 1))),
            "along the batch": _run(_axis),
            "over the whole batch": _run(replace(_axis, axis=-1, left=(), right=(50,), result=(50,))),
            "8 samples": _run(replace(_axis, rows=8)),
            "never reset": _measured(_never_reset),
            "three passes since it was empty": _measured(replace(_never_reset, times=3)),
            "targets and answers turned round": _measured(_swapped),
            "turned round, not worked out": _measured(replace(_swapped, name="recall_score", told=math.nan)),
            "a share that could not be told": _run(replace(_axis, meant=math.nan)),
        }
    )
    good = Examples(
        lambda: {
            "nothing was compared": _run(),
            "two passes": _measured(replace(_never_reset, times=2)),
            "7 samples turned round": _measured(replace(_swapped, rows=7)),
            "7 samples": _run(replace(_pairs, rows=7)),
            "along the batch, of another width than the loss is given": _run(_axis, classes=12),
            "along the batch, where the loss knows no classes": _run(_axis, function="mse_loss"),
        }
    )
    bad_code = {
        "along the samples": """
            def test(model, data):
                loader = DataLoader(data, batch_size=64)
                correct = 0
                for x, y in loader:
                    scores = model(x)
                    _, predicted = torch.max(scores, 0)  # bad
                    correct += (predicted == y).sum().item()
                    correct += (scores.argmax(dim=0) == y).sum()  # bad
                return correct / len(data)
            """,
        "scores cut as probabilities": """
            def test(model, loader):
                for x, y in loader:
                    scores = model(x).squeeze(1)
                    loss = F.binary_cross_entropy_with_logits(scores, y)
                    right = ((scores > 0.5) == y).sum()  # bad
                    right = torch.round(scores).eq(y).sum()  # bad
            """,
        "a column and a row": """
            import torch
            from sklearn.datasets import load_breast_cancer
            from torch import nn

            data = load_breast_cancer()
            labels = torch.tensor(data.target)
            model = nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 1))
            said = model(torch.tensor(data.data).float()) > 0
            print((said == labels).float().mean())  # bad
            """,
        "another length": """
            loader = DataLoader(torch.load("data"), batch_size=32)

            def test(model):
                correct, total = 0, 0.0
                for x, y in loader:
                    scores = model(x)
                    total += F.cross_entropy(scores, y).item()
                    correct += (scores.argmax(1) == y).sum().item()
                print(correct / len(loader))  # bad
                total /= len(loader.dataset)  # bad
            """,
        "the other way round": """
            from sklearn.metrics import classification_report
            from sklearn.model_selection import train_test_split

            def report(model, X, y):
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                y_pred = model.fit(X_train, y_train).predict(X_test)
                print(classification_report(y_pred, y_test))  # bad
            """,
    }
    good_code = {
        "as it should be": """
            from sklearn.metrics import recall_score
            from sklearn.model_selection import train_test_split

            loader = DataLoader(torch.load("data"), batch_size=32)

            def test(model, X, y):
                correct, total, summed = 0, 0.0, 0.0
                for x, y in loader:
                    scores = model(x)
                    loss = F.binary_cross_entropy_with_logits(scores, y)
                    correct += ((torch.sigmoid(scores) > 0.5) == y).sum().item()
                    total += loss.item()
                    summed += F.mse_loss(scores, y, reduction="sum").item()
                print(correct / len(loader.dataset), total / len(loader), summed / len(loader.dataset))
                X_train, X_test, y_train, y_test = train_test_split(X, y)
                print(recall_score(y_test, model.predict(X_test)))
            """,
        "one sample": """
            def show(model, data):
                for x, y in data:
                    print(model(x).argmax(0) == y, model(x[None])[0].argmax(0) == y)
            """,
        "divided twice": """
            loader = DataLoader(torch.load("data"), batch_size=32)

            def test(model):
                correct = 0
                for x, y in loader:
                    correct += (model(x).argmax(1) == y).sum().item()
                print(correct / len(loader) / 32)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_breast_cancer
        from torch import nn

        torch.manual_seed(SEED)
        data = load_breast_cancer()
        features = torch.tensor(data.data, dtype=torch.float32)
        features = (features - features.mean(0)) / features.std(0)
        labels = torch.tensor(data.target, dtype=torch.float32)
        order = torch.randperm(len(features))
        train, held_out = order[:400], order[400:]
        model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        criterion = nn.BCEWithLogitsLoss()

        for epoch in range(10):
            for rows in train[torch.randperm(400)].split(40):
                optimizer.zero_grad()
                loss = criterion(model(features[rows]).squeeze(1), labels[rows])
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                said = model(features[held_out]) > 0  # fix: said = model(features[held_out]).squeeze(1) > 0
                truth = labels[held_out]
                told = (said == truth).float().mean().item()
        with torch.no_grad():
            real = (model(features[held_out]).squeeze(1) > 0).eq(labels[held_out] > 0.5).float().mean().item()
        print(f"loss {abs(told - real):.4f}")
        """)


def _has_classes_on_axis_1(loss: LossCall, seen: Comparison) -> bool:
    if loss.computes not in CLASS_LOSSES:
        return False
    return len(loss.output_shape) == 2 and loss.output_shape[1] == seen.output_shape[1]


def _shares(seen: Comparison) -> Evidence:
    """What the script counts as right, beside what is right."""
    recomputed = "the accuracy" if math.isnan(seen.meant) else f"{seen.meant:.1%}"
    return Evidence(
        f"share that is equal, in {seen.times} comparisons",
        f"{seen.told:.1%}",
        recomputed,
        "recomputed sample by sample",
    )


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
