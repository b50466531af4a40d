"""Probabilities in front of a loss that applies a softmax itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import RemoveOutputActivation
from stethoscope.facts.class_counts import num_classes
from stethoscope.facts.code import Code, Site
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.training import History, LossCall
from stethoscope.facts.tried import is_random
from stethoscope.rules.heads import FOLLOWS
from stethoscope.rules.keras_heads import CATEGORICAL, twice
from stethoscope.rules.lines import place_in
from stethoscope.rules.one_output import one_output
from stethoscope.rules.pairing import dimension_of, is_compared, links, made_at, maker, once, raw_scores
from stethoscope.rules.sites import at, code, place_at

SIGMOIDS = ("sigmoid", "hardsigmoid")


def _run(function: str = "cross_entropy", **facts: Any) -> History:
    usual: dict[str, Any] = {
        "training_calls": 9,
        "watched": 9,
        "output_shape": (32, 10),
        "target_shape": (32,),
        "target_is_integer": True,
    }
    return History(steps=200, losses=(LossCall(function, **(usual | facts)),))


class SoftmaxBeforeCrossEntropy(Rule):
    """Probabilities go into a loss that expects raw scores and applies a softmax to them.

    ## What it sees
    The operation that made the first argument of `cross_entropy`, read off the graph: a softmax, or a sigmoid of
    each score; or, where that is not known, rows that lie between 0 and 1 and sum to 1.
    ## Why it hurts
    Cross-entropy applies log-softmax to what it is given. Probabilities differ by at most 1, so its softmax
    is nearly flat: with 10 classes the loss cannot fall below 1.461 even when every answer is right, and
    the gradients shrink as the model grows surer.
    ## How to fix it
    Give the loss the raw scores, and apply softmax only where probabilities are printed or compared.
    ## When it is not a fault
    Probabilities as *target* are fine. A log-softmax before `cross_entropy` changes nothing, and is a note. A loss
    of Keras with `from_logits=True` takes the scores behind a softmax or sigmoid where it runs on TensorFlow, and
    warns: this is possible at most, unless the file chooses JAX or torch for Keras. So are shares whose scores the
    same loss is also given, to compare the two, and answers to targets that are drawn by chance (`torch.randint`),
    as where steps are timed or a model is only tried: they teach nothing. Of a network that gets other layers after
    it was made, and of shares that a line changes in place, nothing is said in code; nor of a single output, for which
    the loss is 0 with a sigmoid and without: `one-output-cross-entropy` says so.
    ## Sources
    PyTorch documentation, `torch.nn.functional.cross_entropy`: "predicted unnormalized logits". The floor
    is arithmetic: a row of one 1 and C - 1 zeros gives log(e + C - 1) - 1.
    """

    explains = FOLLOWS
    reads = ("losses",)
    treatments = (RemoveOutputActivation("softmax"), RemoveOutputActivation("sigmoid"))

    rows = Limit(0.99, unit="share of rows that sum to 1", why="raw scores never do so row after row")
    fewest_calls = Limit(3, unit="watched calls", why="one batch of an untrained model may be odd")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each cross-entropy that training goes through."""
        calls = [loss for loss in seen.losses if loss.function == "cross_entropy" and loss.training_calls]
        if not calls:
            yield self.cannot_tell("the training loss is no cross-entropy")
        for loss in calls:
            if loss.produced_by == "softmax" or _is_sigmoid_of_classes(loss):
                yield self._report(loss, seen, Sureness.CERTAIN)
            elif loss.produced_by == "log_softmax":
                yield self._harmless(loss, seen)
            elif loss.rows_sum_to_one >= self.rows and loss.watched >= self.fewest_calls:
                yield self._report(loss, seen, Sureness.LIKELY)

    def _report(self, loss: LossCall, seen: History, sureness: Sureness) -> Finding:
        classes = _num_classes(loss)
        evidence = []
        if sureness is Sureness.CERTAIN:
            evidence.append(
                Evidence(
                    f"operation before the loss, {loss.training_calls} training calls watched",
                    f"`{loss.produced_by}`",
                    "a linear layer",
                )
            )
        if loss.rows_sum_to_one >= self.rows:
            evidence.append(
                Evidence("rows of the outputs that sum to 1", f"{loss.rows_sum_to_one:.0%}", "none of them")
            )
        if loss.target_is_integer and loss.reduction == "mean" and classes > 1:
            floor = math.log(math.e + classes - 1) - 1
            evidence.append(
                Evidence(f"least loss that {classes} classes can reach", f"{floor:.3f}", "0", "log(e + C - 1) - 1")
            )
        title = f"softmax runs twice: before and inside `{loss.function}`"
        if loss.produced_by in SIGMOIDS:
            title = f"sigmoids of {classes} classes go into `{loss.function}`, which takes scores"
        return self.finding(
            title,
            sureness=sureness,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"`{loss.function}` at {at(loss.site)} applies log_softmax to what it is given, and it is "
            "given probabilities.",
            fixes=[
                "Give the loss the scores as they leave the last layer:\n"
                + code("loss = F.cross_entropy(scores, targets)", "probabilities = scores.softmax(dim=1)")
            ],
        )

    def _harmless(self, loss: LossCall, seen: History) -> Finding:
        return self.finding(
            f"log_softmax runs twice, to no effect: before and inside `{loss.function}`",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence("operation that made the outputs", "`log_softmax`", "a linear layer"),
                Evidence("difference that the second one makes", "0", "0", "log_softmax of log_softmax is itself"),
            ],
            cause="The loss applies log_softmax again; the result is the same, computed twice.",
            fixes=["Pair log_softmax with its own loss:\n" + code("loss = F.nll_loss(log_probabilities, targets)")],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow what each cross-entropy is given back to the operation that made it."""
        yield from twice(self, file, CATEGORICAL, ("softmax",))
        for loss in once(losses_of(file)):
            if loss.function != "cross_entropy" or one_output(file, loss) is not None:
                continue  # of one output, whatever it goes through, the loss is 0: `one-output-cross-entropy`
            if loss.output.kind in ("softmax", "sigmoid") and not _is_drawn(loss):
                yield self._read(file, loss)
            elif loss.output.kind == "log_softmax":
                yield self._read_harmless(file, loss)

    def _read(self, file: Code, loss: LossUse) -> Finding:
        title = f"softmax runs twice:{made_at(file, loss).replace(' of ', ' at ')} and inside `cross_entropy`"
        if loss.output.kind == "sigmoid":
            title = "sigmoids of classes go into `cross_entropy`, which takes scores"
        is_meant = is_compared(file, loss) or is_random(loss.code, loss.target)
        return self.finding(
            title if len(title) <= 72 else "softmax runs twice: before and inside `cross_entropy`",
            sureness=Sureness.POSSIBLE if is_meant else Sureness.CERTAIN,
            place=place_in(file, loss.call.at),
            evidence=[
                maker(file, loss, "a linear layer"),
                _floor(num_classes(file, loss.output)),
            ],
            cause="`cross_entropy` applies log_softmax to what it is given, and it is given probabilities.",
            fixes=[raw_scores(file, loss, f"softmax(dim={dimension_of(loss)})")],
            chain=links(file, loss),
        )

    def _read_harmless(self, file: Code, loss: LossUse) -> Finding:
        return self.finding(
            "log_softmax runs twice, to no effect: before and inside `cross_entropy`",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place_in(file, loss.call.at),
            evidence=[
                maker(file, loss, "a linear layer"),
                Evidence("difference that the second one makes", "0", "0", "log_softmax of log_softmax is itself"),
            ],
            cause="The loss applies log_softmax again; the result is the same, computed twice.",
            fixes=["Pair log_softmax with its own loss:\n" + code("loss = F.nll_loss(log_probabilities, targets)")],
            chain=links(file, loss),
        )

    bad = Examples(
        lambda: {
            "softmax in the graph": _run(
                produced_by="softmax", site=Site("train.py", 41, "", "loss = F.cross_entropy(probs, labels)")
            ),
            "rows sum to 1, origin unknown": _run(rows_sum_to_one=1.0),
            "nearly all rows, three calls": _run(rows_sum_to_one=0.99, watched=3),
            "soft targets": _run(produced_by="softmax", target_is_integer=False, target_shape=(32, 10)),
            "log_softmax before": _run(produced_by="log_softmax"),
            "sigmoids of ten classes": _run(produced_by="sigmoid"),
            "the second of two losses": replace(
                _run(),
                losses=(*_run().losses, *_run(produced_by="softmax", output_shape=(32, 2)).losses),
            ),
        }
    )
    good = Examples(
        lambda: {
            "raw scores": _run(produced_by="linear", rows_sum_to_one=0.0),
            "raw scores, origin unknown": _run(rows_sum_to_one=0.0),
            "a few rows sum to 1": _run(rows_sum_to_one=0.98),
            "two calls": _run(rows_sum_to_one=1.0, watched=2),
            "log_softmax before nll_loss": _run("nll_loss", produced_by="log_softmax"),
            "softmax and a squared error": _run("mse_loss", produced_by="softmax", rows_sum_to_one=1.0),
            "sigmoids and several labels at once": _run(
                produced_by="sigmoid", target_is_integer=False, target_shape=(32, 10), target_rows_sum_to_one=0.2
            ),
            "only validated that way": _run(produced_by="softmax", training_calls=0, evaluation_calls=9),
        }
    )
    bad_code = {
        "Keras, `from_logits=True`": """
            import os

            os.environ["KERAS_BACKEND"] = "jax"
            import keras
            from keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax")])
            model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))  # bad
            """,
        "a softmax in the model": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 10)

                def forward(self, x):
                    x = F.relu(self.hidden(x))
                    return F.softmax(self.out(x), dim=1)

            model = Net().to("cuda")
            criterion = nn.CrossEntropyLoss()
            for x, y in torch.load("data"):
                scores = model(x)
                loss = criterion(scores, y)  # bad
            """,
        "a softmax at the call": """
            def train(model, x, y):
                probabilities = torch.softmax(model(x), dim=-1)
                return F.cross_entropy(probabilities, y)  # bad
            """,
        "the last layer of a list": """
            layers = [nn.Linear(64, 64), nn.ReLU()]
            layers += [nn.Linear(64, 10)]
            layers.append(nn.Softmax(dim=1))
            model = nn.Sequential(*layers)
            criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
            print(criterion(model(torch.ones(2, 64)), torch.zeros(2).long()))  # bad
            """,
        "the second of two outputs": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 10)
                    self.softmax = nn.Softmax(dim=1)

                def forward(self, x):
                    x = self.hidden(x)
                    return x, self.softmax(self.out(x))

            def train(loader):
                net = Net()
                loss_function = nn.CrossEntropyLoss()
                for x, y in loader:
                    features, out = net(x)
                    loss_function(out, y).backward()  # bad
            """,
        "a model of another file": """
            # file: models.py
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 10)

                def forward(self, x):
                    return self.out(self.hidden(x)).softmax(1)
            # file: train.py
            import torch
            from torch import nn
            from models import Net

            net = torch.nn.DataParallel(Net())
            criterion = nn.CrossEntropyLoss()
            print(criterion(net(torch.ones(2, 64)), torch.zeros(2).long()))  # bad
            """,
        "sigmoids of classes": """
            model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
            print(F.cross_entropy(model(torch.ones(1, 4)), torch.zeros(1).long()))  # bad
            """,
        "log_softmax, which is a note": """
            model = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(dim=1))
            print(F.cross_entropy(model(torch.ones(1, 4)), torch.zeros(1).long()))  # bad
            """,
    }
    good_code = {
        "Keras, probabilities": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax")])
            model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy())
            """,
        "scores": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 10)

                def forward(self, x):
                    return self.out(F.relu(self.hidden(x)))

            model = Net()
            print(F.cross_entropy(model(torch.ones(2, 64)), torch.zeros(2).long()))
            """,
        "probabilities beside the loss": """
            def train(model, x, y):
                scores = model(x)
                probabilities = scores.softmax(dim=1)
                return F.cross_entropy(scores, y), probabilities
            """,
        "probabilities as target": """
            def distil(student, teacher, x):
                return F.cross_entropy(student(x), F.softmax(teacher(x), dim=1))
            """,
        "probabilities only when it does not train": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 10)

                def forward(self, x):
                    x = self.out(self.hidden(x))
                    if self.training:
                        return x
                    return F.softmax(x, dim=1)

            model = Net()
            print(F.cross_entropy(model(torch.ones(2, 64)), torch.zeros(2).long()))
            """,
        "an attribute that is only called softmax": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 10)
                    self.softmax = nn.Identity()

                def forward(self, x):
                    return self.softmax(self.out(x))

            model = Net()
            print(F.cross_entropy(model(torch.ones(2, 64)), torch.zeros(2).long()))
            """,
        "the model is another one by then": """
            model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
            print(model(torch.ones(1, 4)))
            model = nn.Sequential(nn.Linear(4, 3))
            print(F.cross_entropy(model(torch.ones(1, 4)), torch.zeros(1).long()))
            """,
        "one of two models, who knows which": """
            def train(model, x, y):
                return F.cross_entropy(model(x), y)

            train(nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1)), 1, 2)
            train(nn.Sequential(nn.Linear(4, 3)), 1, 2)
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
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(64, 64)
                self.out = nn.Linear(64, 10)

            def forward(self, x):
                scores = self.out(torch.relu(self.hidden(x)))
                return torch.softmax(scores, dim=1)  # fix: return scores

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _floor(classes: int) -> Evidence:
    """The least loss that shares can reach, of as many classes as there are, or else of a few and of many."""
    few, many = (f"{math.log(math.e + number - 1) - 1:.3f}" for number in (classes or 2, 10))
    if classes:
        return Evidence(f"least loss that {classes} classes can reach", few, "0", "log(e + C - 1) - 1")
    return Evidence("least loss that can be reached", f"{few} of 2 classes, {many} of 10", "0", "log(e + C - 1) - 1")


def _is_drawn(loss: LossUse) -> bool:
    """Whether a choice is drawn, as by a Gumbel softmax: it is no probability of an answer."""
    return loss.output.made is not None and loss.output.made.name.endswith("gumbel_softmax")


def _is_sigmoid_of_classes(loss: LossCall) -> bool:
    """Whether each class has a sigmoid of its own, although one of them is right; several at once need another loss."""
    several = not loss.target_is_integer and loss.target_rows_sum_to_one < 0.5
    return loss.produced_by in SIGMOIDS and _num_classes(loss) > 1 and len(loss.output_shape) > 1 and not several


def _num_classes(loss: LossCall) -> int:
    """Size of the axis that holds the classes: the second, or the only one."""
    return loss.output_shape[1 if len(loss.output_shape) > 1 else 0] if loss.output_shape else 0
