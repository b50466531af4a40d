"""A sigmoid in front of a loss that applies one itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import RemoveOutputActivation
from stethoscope.facts.code import Code, Site
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.keras_heads import BINARY, twice
from stethoscope.rules.lines import place_in
from stethoscope.rules.pairing import is_compared, links, maker, once, raw_scores
from stethoscope.rules.sites import at, code, place_at

RAW = ("linear", "add", "embedding")
"""Operations that give raw scores, of any size: values within 0..1 are chance then."""
FUNCTION = "binary_cross_entropy_with_logits"


def _run(function: str = FUNCTION, **facts: Any) -> History:
    usual: dict[str, Any] = {
        "training_calls": 20,
        "watched": 20,
        "output_shape": (32, 1),
        "target_shape": (32, 1),
        "target_mean": 0.4,
    }
    return History(steps=200, losses=(LossCall(function, **(usual | facts)),))


class SigmoidBeforeBceWithLogits(Rule):
    """Probabilities go into a binary loss that expects raw scores, so a sigmoid runs twice.

    ## What it sees
    The operation that made the first argument of `binary_cross_entropy_with_logits`, read off the graph: a
    sigmoid or a softmax. Where that is not known, outputs that fill the range from 0 to 1 and never leave
    it.
    ## Why it hurts
    The loss applies a sigmoid to what it is given. Probabilities lie in 0..1, so after the second sigmoid
    every answer lies in 0.5..0.73: "no" cannot be said at all, the loss of a negative cannot fall below
    0.693, that of a positive not below 0.313, and gradients are small.
    ## How to fix it
    Give the loss the raw scores, and apply the sigmoid only where probabilities are needed.
    ## When it is not a fault
    Never on purpose, as far as is known, but to compare: where the same scores are also given to this loss as they are,
    it is possible at most. Probabilities as *target* are fine and not looked at. A loss of Keras with
    `from_logits=True` takes the scores behind a softmax or sigmoid where it runs on TensorFlow, and warns: this is
    possible at most, unless the file chooses JAX or torch for Keras.
    ## Sources
    PyTorch documentation, `torch.nn.BCEWithLogitsLoss`: "combines a Sigmoid layer and the BCELoss in one
    single class". The floors are arithmetic: log(2) and log(1 + 1/e).
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "no-gain-over-baseline",
    )
    reads = ("losses",)
    treatments = (RemoveOutputActivation("sigmoid"),)

    edge = Limit(0.05, unit="distance from 0 and from 1", why="scores that come this near to both would leave 0..1")
    fewest_calls = Limit(8, unit="watched calls", why="scores of an untrained model may lie in 0..1 for a while")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each binary cross-entropy with logits that training goes through."""
        calls = [loss for loss in seen.losses if loss.function == FUNCTION and loss.training_calls]
        if not calls:
            yield self.cannot_tell("the training loss is no binary cross-entropy with logits")
        for loss in calls:
            if loss.produced_by in ("sigmoid", "softmax"):
                yield self._report(loss, seen, loss.produced_by, Sureness.CERTAIN)
            elif loss.produced_by not in RAW and self._fills_unit_range(loss):
                yield self._report(loss, seen, "sigmoid", Sureness.LIKELY)

    def _fills_unit_range(self, loss: LossCall) -> bool:
        if loss.watched < self.fewest_calls:
            return False
        return 0.0 <= loss.output_min <= self.edge and 1.0 - self.edge <= loss.output_max <= 1.0

    def _report(self, loss: LossCall, seen: History, made_by: str, sureness: Sureness) -> Finding:
        evidence = []
        if sureness is Sureness.CERTAIN:
            evidence.append(
                Evidence(
                    f"operation before the loss, {loss.training_calls} training calls watched",
                    f"`{made_by}`",
                    "a linear layer",
                )
            )
        if math.isfinite(loss.output_min) and math.isfinite(loss.output_max):
            seen_range = f"{loss.output_min:.3g} to {loss.output_max:.3g}"
            evidence.append(Evidence(f"outputs in {loss.watched} calls", seen_range, "below 0 and above 1 too"))
        if 0.0 <= loss.target_mean <= 1.0:
            floor = loss.target_mean * math.log1p(1 / math.e) + (1 - loss.target_mean) * math.log(2)
            evidence.append(
                Evidence(
                    f"least loss with {loss.target_mean:.0%} positives",
                    f"{floor:.3f}",
                    "0",
                    "log(2), log(1 + 1/e)",
                )
            )
        first = "softmax and sigmoid both run" if made_by == "softmax" else "sigmoid runs twice"
        title = f"{first}: before and inside the loss with logits"
        return self.finding(
            title,
            sureness=sureness,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"`{FUNCTION}` at {at(loss.site)} applies a sigmoid to what it is given, and it is given "
            "probabilities.",
            fixes=[
                "Give the loss the scores as they leave the last layer:\n"
                + code(f"loss = F.{FUNCTION}(scores, targets)", "probabilities = scores.sigmoid()"),
                "Or keep the probabilities, and the loss that expects them:\n"
                + code("loss = F.binary_cross_entropy(probabilities, targets)"),
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow what each loss on logits is given back to the operation that made it."""
        yield from twice(self, file, BINARY, ("sigmoid",))
        for loss in once(losses_of(file)):
            kind = loss.output.kind
            if loss.function != "binary_cross_entropy_with_logits" or kind not in ("sigmoid", "softmax"):
                continue
            yield self.finding(
                f"{kind} goes into `binary_cross_entropy_with_logits`, which takes scores",
                sureness=Sureness.POSSIBLE if is_compared(file, loss) else Sureness.CERTAIN,
                place=place_in(file, loss.call.at),
                evidence=[
                    maker(file, loss, "a linear layer"),
                    Evidence("least loss of a sample with label 1", "0.313", "0", "log(1 + 1/e)"),
                ],
                cause="This loss applies a sigmoid to what it is given, and it is given probabilities.",
                fixes=[raw_scores(file, loss, "sigmoid()")],
                chain=links(file, loss),
            )

    bad = Examples(
        lambda: {
            "sigmoid in the graph": _run(
                produced_by="sigmoid",
                output_min=0.31,
                output_max=0.74,
                site=Site("train.py", 41, "", "loss = criterion(out, y)"),
            ),
            "softmax in the graph": _run(produced_by="softmax", output_shape=(32, 4)),
            "values fill 0 to 1, origin unknown": _run(output_min=0.0, output_max=1.0),
            "a sigmoid written by hand": _run(produced_by="reciprocal", output_min=0.01, output_max=0.98),
            "values near both ends, eight calls": _run(output_min=0.05, output_max=0.999, watched=8),
        }
    )
    good = Examples(
        lambda: {
            "raw scores": _run(produced_by="linear", output_min=-4.1, output_max=5.0),
            "raw scores, origin unknown": _run(output_min=-0.2, output_max=0.98),
            "raw scores between the ends": _run(output_min=0.052, output_max=0.999),
            "raw scores that happen to fill 0 to 1": _run(produced_by="linear", output_min=0.0, output_max=1.0),
            "seven calls": _run(output_min=0.0, output_max=1.0, watched=7),
            "sigmoid and the loss for probabilities": _run("binary_cross_entropy", produced_by="sigmoid"),
            "values not looked at": _run(),
        }
    )
    bad_code = {
        "Keras, `from_logits=True`": """
            import os

            os.environ["KERAS_BACKEND"] = "jax"
            import keras
            from keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")])
            model.compile(optimizer="adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))  # bad
            """,
        "a sigmoid at the end of the model": """
            model = nn.Sequential(nn.Linear(30, 1), nn.Sigmoid())
            criterion = nn.BCEWithLogitsLoss()
            for x, y in torch.load("data"):
                loss = criterion(model(x).squeeze(1), y)  # bad
            """,
        "a sigmoid on the way": """
            def loss(model, x, y):
                out = torch.sigmoid(model(x))
                return F.binary_cross_entropy_with_logits(out.view(-1), y)  # bad
            """,
    }
    good_code = {
        "Keras, probabilities": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")])
            model.compile(optimizer="adam", loss=keras.losses.BinaryCrossentropy())
            """,
        "scores": """
            model = nn.Sequential(nn.Linear(30, 1))
            for x, y in torch.load("data"):
                loss = F.binary_cross_entropy_with_logits(model(x).squeeze(1), y)
            """,
        "a sigmoid and the loss for it": """
            model = nn.Sequential(nn.Linear(30, 1), nn.Sigmoid())
            for x, y in torch.load("data"):
                loss = F.binary_cross_entropy(model(x).squeeze(1), y)
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
            nn.Sigmoid(),  # fix:
        )
        criterion = nn.BCEWithLogitsLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {criterion(model(rows), labels).item():.4f}")
        """)
