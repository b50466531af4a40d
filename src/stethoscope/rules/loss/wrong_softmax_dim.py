"""A softmax over the samples of the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Limit, Rule
from stethoscope.core.treatment import SoftmaxOverClasses
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.heads import FOLLOWS, heard, named, trained
from stethoscope.rules.sites import at, code, place_at


class WrongSoftmaxDim(Rule):
    """The softmax runs over the batch, or another axis that does not hold the classes.

    ## What it sees
    The axis of the softmax or log-softmax that made the first argument of the loss, read off the graph, and that
    its rows do not sum to 1.
    ## Why it hurts
    A softmax over the batch makes the samples compete with each other for each class. What the model says of one
    sample then depends on which others are in its batch, and probabilities of one sample do not sum to 1.
    ## How to fix it
    Name the axis of the classes: `dim=1` for (samples, classes), `dim=-1` where they come last.
    ## When it is not a fault
    Losses that compare all samples with all (as CLIP does) apply a softmax both ways, and hand the second one over
    transposed, so that rows sum to 1 again; that is not reported.
    ## Sources
    PyTorch documentation, `torch.nn.Softmax`: "dim - A dimension along which Softmax will be computed (so every
    slice along dim will sum to 1)", and the warning about an implicit dimension.
    """

    treatments = (SoftmaxOverClasses(),)
    explains = (
        *FOLLOWS,
        "loss-unfit-for-task",
        "nll-without-log-softmax",
        "output-activation-limits-range",
        "softmax-before-cross-entropy",
    )
    reads = ("losses",)

    rows = Limit(0.5, unit="share of rows that sum to 1", why="with the right axis all of them do")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the axis of the softmax in front of each training loss."""
        calls = [loss for loss in trained(seen) if loss.softmax_shape]
        if not calls:
            yield self.cannot_tell("no softmax was seen right before a training loss")
        for loss in calls:
            if self._is_over_samples(loss):
                yield self._report(loss, seen)

    def _is_over_samples(self, loss: LossCall) -> bool:
        shape, axis = loss.softmax_shape, loss.softmax_axis
        if shape[axis] < 2 or (loss.output_shape and shape[0] < 2):
            return False
        if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
            # One score for each sample; a single sample would have targets that sum to 1.
            return axis == 0 and len(loss.target_shape) == len(shape) and not loss.target_rows_sum_to_one >= self.rows
        summing = loss.logs_sum_to_one if loss.produced_by == "log_softmax" else loss.rows_sum_to_one
        if loss.produced_by == "log_softmax" and math.isnan(summing):
            return axis == 0 and loss.computes == "cross_entropy" and len(shape) == 2
        return summing < self.rows and axis != len(shape) - 1 and not (axis == 1 and len(shape) == 4)

    def _report(self, loss: LossCall, seen: History) -> Finding:
        shape, axis = loss.softmax_shape, loss.softmax_axis
        one_unit = math.prod(shape) == shape[0]
        size = f"{shape[axis]}, of the shape ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        evidence = [
            Evidence(
                f"axis of the `{loss.produced_by}`",
                f"dim={axis}",
                "none" if one_unit else f"the classes: dim={len(shape) - 1}",
            ),
            Evidence("values that it makes sum to 1", size, "1 score" if one_unit else f"{shape[-1]} classes"),
        ]
        summing = loss.logs_sum_to_one if loss.produced_by == "log_softmax" else loss.rows_sum_to_one
        if not math.isnan(summing):
            evidence.append(Evidence("samples whose probabilities sum to 1", f"{summing:.0%}", "100%"))
        fix = (
            "One score for each sample needs a sigmoid, which the loss applies itself:\n"
            + code("loss = F.binary_cross_entropy_with_logits(scores, targets)")
            if one_unit
            else "Name the axis of the classes:\n"
            + code(f"{loss.produced_by.replace('log_softmax', 'log_probabilities').replace('softmax', 'probabilities')}"
                   f" = scores.{loss.produced_by}(dim={len(shape) - 1})")
        )  # fmt: skip
        return self.finding(
            f"`{loss.produced_by}` runs over {'the batch' if axis == 0 else 'an axis without classes'} (dim={axis})",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"What goes into {named(loss)} at {at(loss.site)} sums to 1 over {shape[axis]} "
            f"{'samples' if axis == 0 else 'positions'} and not over classes, so that the answer for one depends on "
            "all the others.",
            fixes=[fix],
        )

    _ten = {"softmax_shape": (32, 10), "output_shape": (32, 10), "target_shape": (32,)}
    bad = {
        "log-softmax over the batch": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, logs_sum_to_one=0.0, columns_sum_to_one=1.0, **_ten
        ),
        "softmax over the batch, before cross-entropy": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, rows_sum_to_one=0.49, **_ten
        ),
        "log-softmax over the batch, before cross-entropy": heard(
            "cross_entropy", produced_by="log_softmax", softmax_axis=0, **_ten
        ),
        "one score for each sample": heard(
            "binary_cross_entropy", produced_by="softmax", softmax_axis=0, softmax_shape=(32, 1)
        ),
        "by hand": heard(
            "backward", form="categorical", produced_by="softmax", softmax_axis=0, rows_sum_to_one=0.0, **_ten
        ),
        "no axis given, three axes": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, softmax_shape=(8, 5, 10), output_shape=(40, 10),
            target_shape=(40,), logs_sum_to_one=0.0,
        ),
    }  # fmt: skip
    good = {
        "over the classes": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=1, logs_sum_to_one=1.0, **_ten
        ),
        "over the batch, handed over transposed": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, softmax_shape=(32, 32), output_shape=(32, 32),
            target_shape=(32,), logs_sum_to_one=1.0,
        ),
        "half of the rows sum to 1": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, rows_sum_to_one=0.51, **_ten
        ),
        "one sample, without a batch": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, softmax_shape=(10,), output_shape=(10,),
            target_shape=(10,), target_rows_sum_to_one=1.0,
        ),
        "a batch of one": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, softmax_shape=(1, 10), output_shape=(1, 10),
            target_shape=(1,), logs_sum_to_one=0.0,
        ),
        "half of the targets sum to 1": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, softmax_shape=(9,), output_shape=(9,),
            target_shape=(9,), target_rows_sum_to_one=0.5,
        ),
        "no softmax": heard("cross_entropy", produced_by="linear", output_shape=(32, 10)),
    }  # fmt: skip
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
            torch.utils.data.TensorDataset(images, labels), batch_size=16, shuffle=True
        )
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
            nn.LogSoftmax(dim=0),  # fix: nn.LogSoftmax(dim=1),
        )
        criterion = nn.NLLLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(4):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        right = [model(images[i : i + 1]).argmax().item() == labels[i] for i in range(200)]
        print(f"accuracy {sum(right) / 200:.4f}")
        """)
