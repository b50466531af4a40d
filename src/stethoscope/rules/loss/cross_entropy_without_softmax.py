"""A hand-written cross-entropy of outputs that are no probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Limit, Rule
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.heads import FOLLOWS, heard, maker_evidence, span, trained, width
from stethoscope.rules.sites import at, code, place_at

SIGMOIDS = ("sigmoid", "hardsigmoid")


class CrossEntropyWithoutSoftmax(Rule):
    """A cross-entropy written out by hand takes the logarithm of outputs that no softmax made.

    ## What it sees
    A loss of the form `-(y * log(p))`, or `-log(p)` at the true class, read off its graph, whose `p` does not sum
    to 1 over the classes.
    ## Why it hurts
    Such a loss looks at the true class only; it relies on the softmax to push the others down. Without one, it
    falls without end as all outputs grow, whatever the input is. Logarithms of negative scores are no numbers.
    ## How to fix it
    Give the raw scores to `cross_entropy`, which applies the softmax itself, safely.
    ## When it is not a fault
    Weighted log-likelihoods of other things than classes (policy gradients, densities) have no targets of a
    single 1, and are not looked at.
    ## Sources
    PyTorch documentation, `torch.nn.CrossEntropyLoss`. Keras documentation, `CategoricalCrossentropy(from_logits)`:
    "Whether y_pred is expected to be a logits tensor".
    """

    explains = FOLLOWS
    explains = (
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "loss-not-finite",
        "numerical-instability",
        "unnormalized-input",
        "vanishing-gradients",
    )
    reads = ("losses",)

    summing = Limit(0.5, unit="share of rows that sum to 1", why="probabilities do so in every row")
    one_hot = Limit(0.98, unit="share of target rows with a single 1", why="other weights are no classes")
    fewest_calls = Limit(3, unit="watched calls", why="one batch of an untrained model may be odd")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each hand-written cross-entropy that training goes through."""
        calls = [loss for loss in trained(seen, "categorical") if width(loss) > 1]
        if not calls:
            yield self.cannot_tell("no hand-written cross-entropy of probabilities was seen")
        for loss in calls:
            classes = loss.target_is_integer or loss.target_rows_one_hot >= self.one_hot
            raw = loss.rows_sum_to_one < self.summing and loss.produced_by not in (*SIGMOIDS, "softmax")
            if raw and classes and loss.watched >= self.fewest_calls:
                yield self._report(loss, seen)

    def _report(self, loss: LossCall, seen: History) -> Finding:
        evidence = [
            Evidence("rows of the outputs that sum to 1", f"{loss.rows_sum_to_one:.0%}", "100%"),
            Evidence("values whose logarithm is taken", span(loss.output_min, loss.output_max), "0 to 1"),
        ]
        if loss.produced_by:
            evidence.append(maker_evidence(loss, "`softmax`"))
        return self.finding(
            "a cross-entropy by hand is given scores, not probabilities",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"The loss that is backpropagated at {at(loss.site)} takes the logarithm of the true class's output. "
            "No softmax makes the classes share a sum of 1, so that raising all outputs lowers the loss without end.",
            fixes=[
                "Give the scores, as they leave the last linear layer, to the function that applies the softmax:\n"
                + code("loss = F.cross_entropy(scores, labels)")
            ],
        )

    _ten = {"form": "categorical", "output_shape": (32, 10), "target_shape": (32, 10)}
    bad = {
        "positive scores": heard(
            "backward",
            **_ten,
            produced_by="softplus",
            rows_sum_to_one=0.0,
            target_rows_one_hot=1.0,
            output_min=0.1,
            output_max=40.0,
        ),
        "indices, next to the limits": heard(
            "backward", **_ten, rows_sum_to_one=0.49, target_is_integer=True, watched=3, output_min=0.1, output_max=4.0
        ),
        "nearly all rows with a single 1": heard(
            "backward", **_ten, rows_sum_to_one=0.0, target_rows_one_hot=0.99, output_min=0.1, output_max=4.0
        ),
    }
    good = {
        "a softmax": heard("backward", **_ten, produced_by="softmax", rows_sum_to_one=1.0, target_rows_one_hot=1.0),
        "half of the rows": heard("backward", **_ten, rows_sum_to_one=0.51, target_rows_one_hot=1.0),
        "weights of several classes": heard("backward", **_ten, rows_sum_to_one=0.0, target_rows_one_hot=0.96),
        "two calls": heard("backward", **_ten, rows_sum_to_one=0.0, target_rows_one_hot=1.0, watched=2),
        "sigmoids, which are a matter of their own": heard(
            "backward", **_ten, produced_by="sigmoid", rows_sum_to_one=0.0, target_rows_one_hot=1.0
        ),
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
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
            nn.Softplus(),  # fix: nn.Softmax(dim=1),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                one_hot = nn.functional.one_hot(y, 10).float()
                loss = -(one_hot * torch.log(model(x) + 1e-8)).sum(dim=1).mean()
                loss.backward()
                optimizer.step()
        print(f"accuracy {(model(images).argmax(dim=1) == labels).float().mean().item():.4f}")
        """)
