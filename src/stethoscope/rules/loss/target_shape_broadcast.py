"""Predictions and targets that stretch each other to a shape that neither has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.core.treatment import ReshapeTarget
from stethoscope.facts.code import Code, Site
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.shapes import column_of, one_axis
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.lines import fitting, line_of, place_in, quoted, where
from stethoscope.rules.sites import code, place_at

Shape = tuple[int, ...]


def _run(output: Shape, target: Shape, stretched: Shape = (), **facts: Any) -> History:
    usual: dict[str, Any] = {"training_calls": 9, "watched": 9}
    loss = LossCall("mse_loss", output_shape=output, target_shape=target, broadcast_to=stretched, **(usual | facts))
    return History(steps=200, losses=(loss,))


class TargetShapeBroadcast(Rule):
    """Prediction and target are stretched against each other: (N, 1) meets (N,).

    ## What it sees
    A loss whose prediction and target have different numbers of axes and are both stretched to a shape that
    neither of them has.
    In code: a last layer with one output, whose column meets targets that have a single axis for certain.
    ## Why it hurts
    Each prediction is compared with every target. The best answer to that is one number for every input,
    the mean of the targets, and that is what the model learns, while the loss falls at first as it should.
    ## How to fix it
    Give both the same shape, with `squeeze(1)` on the prediction or `unsqueeze(1)` on the target.
    ## When it is not a fault
    A single number or one row that is meant for all (the "real" label of a GAN, one target for several
    heads) stretches one side only. Two sides with the same number of axes and a 1 written out in each are
    meant to be compared all with all. Neither is reported.
    ## Sources
    PyTorch documentation, "Broadcasting semantics", and the warning of `torch.nn.functional.mse_loss`:
    "Using a target size that is different to the input size ... will likely lead to incorrect results due
    to broadcasting".
    """

    on_trial = True
    explains = (
        "forward-crash",
        "collapsed-predictions",
        "learning-rate-too-low",
        "overfitting",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "no-gain-over-baseline",
        "metric-wrong",
    )
    reads = ("losses",)
    treatments = (ReshapeTarget(),)

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the shapes of each loss that training goes through."""
        calls = [loss for loss in seen.losses if loss.training_calls and loss.output_shape]
        if not calls:
            yield self.cannot_tell("no loss function was seen with its prediction and target")
        for loss in calls:
            if loss.broadcast_to and _stretches_both(loss):
                yield self._report(loss, seen)

    def _report(self, loss: LossCall, seen: History) -> Finding:
        pairs, meant = (
            math.prod(loss.broadcast_to),
            max(math.prod(loss.output_shape), math.prod(loss.target_shape)),
        )
        flat = len(loss.output_shape) == 1
        repair = ".unsqueeze(1)" if flat else ".squeeze(1)"
        call = f"loss = F.{loss.function}(prediction{repair}, target)"
        if not flat and math.prod(loss.output_shape) != math.prod(loss.target_shape):
            call = f"loss = F.{loss.function}(prediction, target.reshape(prediction.shape))"
        several = loss.output_shape[0] if loss.output_shape[0] > 1 else loss.target_shape[0]
        return self.finding(
            f"`{loss.function}` compares each of {several} predictions with all targets",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"prediction {_shape(loss.output_shape)} and target {_shape(loss.target_shape)} become",
                    _shape(loss.broadcast_to),
                    "equal from the start",
                ),
                Evidence("pairs compared", f"{pairs:,}", f"{meant:,}"),
            ],
            cause="An axis of size 1, or one that is not there, is stretched to fit the other side. The best "
            "answer to this loss is one number for every input: the mean of the targets.",
            fixes=["Give both sides the same shape:\n" + code(call)],
            unless="each prediction is to be compared with every target; then `expand` both sides to say so.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for columns that meet rows of targets."""
        for loss in losses_of(file):
            if loss.function not in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
                continue
            layer, home = column_of(file, loss.given), loss.output.made_in
            if layer is None or home is None or not one_axis(file, loss.target):
                continue
            output, target = quoted(file, loss.given, "the prediction"), quoted(file, loss.target, "the target")
            at = line_of(home, layer.at) if home is file else where(home, layer.at)
            yield self.finding(
                fitting(
                    f"{output} has shape (N, 1) and {target} (N,): all meet all",
                    "a column meets a row of targets in the loss",
                ),
                sureness=Sureness.CERTAIN,
                place=place_in(file, loss.call.at),
                evidence=[Evidence(f"axes of the target, where the layer on {at} gives 2", 1, 2, "read in the code")],
                cause="Each prediction is compared with every target of the batch: the best answer is their mean.",
                fixes=["Give the target the same shape:\n" + code(f"{target.strip('`')}.unsqueeze(1)"
                       if target.startswith("`") else "target = target.unsqueeze(1)")],
                chain=[Link(place_in(file, loss.call.at), "the loss"),
                       Link(place_in(home, layer.at), "the last layer")],
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "(64, 1) and (64,)": _run(
                (64, 1), (64,), (64, 64), site=Site("train.py", 29, "", "loss = F.mse_loss(model(x), y)")
            ),
            "(64,) and (64, 1)": _run((64,), (64, 1), (64, 64)),
            "sequences": _run((32, 1, 100), (32, 100), (32, 32, 100)),
        }
    )
    good = Examples(
        lambda: {
            "equal shapes": _run((64, 1), (64, 1)),
            "one label for all": _run((64, 1), (1,), (64, 1)),
            "one row for all": _run((64, 10), (10,), (64, 10)),
            "one target for ten heads": _run((64, 10), (64, 1), (64, 10)),
            "all pairs, written out": _run((32, 8, 1), (32, 1, 16), (32, 8, 16)),
            "a batch of one": _run((1, 1), (1,), (1, 1)),
            "only validated that way": _run((64, 1), (64,), (64, 64), training_calls=0),
            "a hand-written loss": History(steps=200, losses=(LossCall("backward", training_calls=9),)),
        }
    )
    bad_code = {
        "targets of scikit-learn": """
            import torch
            from sklearn.datasets import load_diabetes
            from sklearn.model_selection import train_test_split
            from torch import nn

            data = load_diabetes()
            X_train, X_test, y_train, y_test = train_test_split(data.data, data.target)
            y_train = torch.tensor(y_train, dtype=torch.float32)
            model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1))
            criterion = nn.MSELoss()
            criterion(model(torch.tensor(X_train)), y_train).backward()  # bad
            """,
        "in batches": """
            import torch
            from sklearn.datasets import make_regression
            from torch import nn

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(5, 1)

                def forward(self, x):
                    return self.fc(x)

            X, y = make_regression(100, 5)
            rows = torch.utils.data.TensorDataset(torch.tensor(X).float(), torch.tensor(y).float())
            net = Net()
            for x, t in torch.utils.data.DataLoader(rows, batch_size=8):
                out = net(x)
                nn.functional.mse_loss(out, t).backward()  # bad
            """,
    }
    good_code = {
        "one shape": """
            import torch
            from sklearn.datasets import load_diabetes
            from torch import nn

            X, y = load_diabetes(return_X_y=True)
            X, y = torch.tensor(X).float(), torch.tensor(y).float()
            model = nn.Sequential(nn.Linear(10, 1))
            flat = nn.Sequential(nn.Linear(10, 1), nn.Flatten(0))
            nn.functional.mse_loss(model(X).squeeze(1), y).backward()
            nn.functional.mse_loss(model(X), y.unsqueeze(1)).backward()
            nn.functional.mse_loss(model(X), y[:, None]).backward()
            nn.functional.mse_loss(flat(X), y).backward()
            y = y.reshape(-1, 1)
            nn.functional.mse_loss(model(X), y).backward()
            """,
        "several targets": """
            import torch
            from sklearn.datasets import load_linnerud
            from torch import nn

            data = load_linnerud()
            y = torch.tensor(data.target)
            nn.functional.mse_loss(nn.Linear(3, 1)(torch.tensor(data.data)), y).backward()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_diabetes
        from torch import nn
        from torch.nn.functional import mse_loss

        torch.manual_seed(SEED)
        data = load_diabetes()
        rows = torch.tensor(data.data, dtype=torch.float32)
        rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
        targets = torch.tensor(data.target, dtype=torch.float32)
        targets = (targets - targets.mean()) / targets.std()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, targets), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                loss = mse_loss(model(x), y)  # fix: loss = mse_loss(model(x).squeeze(1), y)
                loss.backward()
                optimizer.step()
        print(f"loss {(model(rows).squeeze(1) - targets).square().mean().item():.4f}")
        """)


def _stretches_both(loss: LossCall) -> bool:
    """Whether neither side keeps its number of values, and no axis was written out to ask for it."""
    pairs = math.prod(loss.broadcast_to)
    both = math.prod(loss.output_shape) < pairs and math.prod(loss.target_shape) < pairs
    return both and len(loss.output_shape) != len(loss.target_shape)


def _shape(shape: Shape) -> str:
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(str(size) for size in shape)})"
