"""Target and prediction in each other's place."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import SwapLossArguments
from stethoscope.facts.code import At, Code, Site
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.changing import exchanged
from stethoscope.rules.examples import falling
from stethoscope.rules.heads import FOLLOWS, heard, named, span, trained
from stethoscope.rules.lines import line_of, place_in, quoted
from stethoscope.rules.sites import at, code, place_at
from stethoscope.rules.swapping import BY_AXES, BY_NAME, ORDERED, seen_as_target

POISSON = "poisson_nll_loss"
ONE_WAY = (
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "kl_div", "nll_loss", POISSON,
    "categorical_crossentropy",
)  # fmt: skip
"""Functions to which the order of their arguments matters."""


_swapped = {"output_has_gradient": False, "target_has_gradient": True, "output_min": 0.0, "output_max": 1.0}


class LossArgumentsSwapped(Rule):
    """The loss is given the target first and the prediction second.

    ## What it sees
    Gradients flow into the second argument of a loss function and not into the first. In code: the first comes with the
    data, holds whole numbers, or has one axis where the second has several; the second comes from a model.
    ## Why it hurts
    Cross-entropies take the logarithm of their first argument only, and the likelihood of counts its exponential.
    With the target there, the loss becomes a straight line in the prediction: it falls for ever in one direction, and
    right answers are not its minimum.
    ## How to fix it
    Prediction first, target second: `loss(prediction, target)`.
    ## When it is not a fault
    To a squared or absolute error the order makes no difference, and nothing is said. `kl_div` with a fixed first
    argument that holds log-probabilities is the divergence the other way round, which can be meant. In code it is
    possible at most where only the names of the arguments tell.
    ## Sources
    PyTorch documentation, `torch.nn.functional.binary_cross_entropy(input, target)`.
    """

    treatments = (SwapLossArguments(),)
    explains = (
        *FOLLOWS,
        "bce-without-sigmoid",
        "loss-unfit-for-task",
        "nll-without-log-softmax",
        "sigmoid-before-bce-with-logits",
        "softmax-before-cross-entropy",
    )
    reads = ("losses",)

    logarithms = Limit(0.5, unit="share of rows whose exponentials sum to 1", why="log-probabilities do in every row")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the arguments of each training loss to which their order matters."""
        calls = [loss for loss in trained(seen) if loss.function in ONE_WAY]
        if not calls:
            yield self.cannot_tell("no loss function was seen to which the order of its arguments matters")
        for loss in calls:
            meant = loss.function == "kl_div" and not loss.logs_sum_to_one < self.logarithms
            if loss.target_has_gradient and not loss.output_has_gradient and not meant:
                yield self._report(loss, seen)

    def _report(self, loss: LossCall, seen: History) -> Finding:
        # Keras's losses take the target first.
        first, second = ("prediction", "target") if loss.called else ("target", "prediction")
        of_output, of_target = ("second", "first") if loss.called else ("first", "second")
        evidence = [
            Evidence(f"gradients into the {of_output} argument", "0 of them", "all: it is the prediction"),
            Evidence(f"gradients into the {of_target} argument", "all of them", "none: it is the target"),
            Evidence(
                f"values of the {of_output} argument", span(loss.output_min, loss.output_max), "those of predictions"
            ),
        ]
        if loss.raised:
            evidence.append(Evidence(f"raised at watched call {loss.training_calls}", f"`{loss.raised}`", "no error"))
        what = "exponential or logarithm" if loss.function == POISSON else "logarithm"
        return self.finding(
            f"`{loss.shown}` is given the {first} first, the {second} second"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"{named(loss)} at {at(loss.site)} takes the {what} of its {of_output} argument only. In the "
            f"{of_target} place the prediction makes the loss a straight line, whose lowest point is no right answer.",
            fixes=[
                "Change their places:\n"
                + code(
                    "loss = loss_fn(target, prediction)"
                    if loss.called
                    else f"loss = F.{loss.function}(prediction, target)"
                )
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for losses whose first argument comes with the data, and whose second comes from a model."""
        for loss in losses_of(file):
            if loss.function not in ORDERED or loss.given is None or loss.target is None:
                continue
            what = seen_as_target(file, loss)
            if what is None:
                continue
            prediction, target = quoted(file, loss.target, "prediction"), quoted(file, loss.given, "target")
            yield self.finding(
                f"`{loss.function}` is given the target first, the prediction second",
                sureness=Sureness.POSSIBLE if what in (BY_NAME, BY_AXES) else Sureness.LIKELY,
                place=place_in(file, loss.call.at),
                evidence=[
                    Evidence(
                        f"first argument on {line_of(file, loss.call.at)}", f"{target}, {what[0]}", "the prediction"
                    ),
                    Evidence("second argument", f"{prediction}{what[1]}", "the target"),
                ],
                cause=f"`{loss.function}` takes the logarithm of its first argument only: with the target there its "
                "lowest point is no right answer.",
                fixes=[
                    Fix(
                        "Prediction first, target second:\n" + code(_righted(file, loss)),
                        edits=exchanged(file, *loss.call.arguments[:2]) if len(loss.call.arguments) > 1 else (),
                    )
                ],
            )

    bad = Examples(
        lambda: {
            "binary cross-entropy": heard(
                "binary_cross_entropy",
                falling(50.0, 2.0),
                site=Site("train.py", 31, "", "loss = F.binary_cross_entropy(y, model(x))"),
                **_swapped,
            ),
            "cross-entropy of probabilities": heard("cross_entropy", output_shape=(32, 3), **_swapped),
            "Keras's": heard("categorical_crossentropy", called="sparse_categorical_crossentropy", **_swapped),
            "counts": heard("poisson_nll_loss", falling(12.0, 3.0), **(_swapped | {"output_max": 9.0})),
            "kl_div of probabilities": heard("kl_div", output_shape=(32, 3), logs_sum_to_one=0.49, **_swapped),
        }
    )
    good = Examples(
        lambda: {
            "in order": heard("binary_cross_entropy", output_min=0.1, output_max=0.9),
            "gradients into both": heard("binary_cross_entropy", target_has_gradient=True),
            "a squared error": heard("mse_loss", **_swapped),
            "the divergence the other way round": heard(
                "kl_div", output_shape=(32, 3), logs_sum_to_one=0.51, **_swapped
            ),
        }
    )
    bad_code = {
        "told by the names of both": """
            class Loss(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.loss = nn.CrossEntropyLoss()

                def forward(self, logits, labels):
                    return self.loss(labels, logits)  # bad
            """,
        "with what fastai hands on": """
            from fastai.vision import *

            def loss_of(data, classes):
                net = nn.Linear(3, classes)
                for images, labels in data:
                    yield F.cross_entropy(labels, net(images))  # bad
            """,
        "told by the names of parts": """
            def loss_of(outputs, targets, weight):
                scores = outputs["pred_scores"]
                return F.cross_entropy(targets["gt_class"], scores, weight=weight)  # bad
            """,
        "a parameter that is named as the target": """
            import torch.nn.functional as F
            import torchvision
            from torch import nn

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.resnet = torchvision.models.resnet50()

                def forward(self, images, labels, mode):
                    x = self.resnet(images)
                    return F.cross_entropy(labels, x)  # bad
            """,
        "a product of scores": """
            def loss_of(logits, target_seq):
                return F.cross_entropy(target_seq, 15 * logits.float())  # bad
            """,
        "parts of one batch, in a method": """
            class Trainer:
                def __init__(self, model):
                    self.model = model
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def training_step(self, batch):
                    x, y = batch
                    scores = self.model(x)
                    return F.cross_entropy(y, scores)  # bad
            """,
        "class numbers first, whatever gives the scores": """
            def losses(batches, score):
                targets = [batch[1].cuda().long() for batch in batches]
                for i, batch in enumerate(batches):
                    yield F.cross_entropy(targets[i], score(batch[0]))  # bad
            """,
        "one axis first, two axes second": """
            def loss_of(logits, labels, classes):
                loss_fn = nn.CrossEntropyLoss()
                return loss_fn(labels.view(-1), logits.view(-1, classes))  # bad
            """,
        "the data first, to train whatever is handed over": """
            def train(net, batches, optimizer):
                for x, y in batches:
                    loss = F.cross_entropy(y, net(x))  # bad
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
        "raw scores as the target": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 2)

                def forward(self, x, labels):
                    scores = self.out(x)
                    return F.cross_entropy(labels.view(-1), scores)  # bad
            """,
        "the target first": """
            model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
            criterion = nn.BCELoss()
            for x, y in torch.load("data"):
                y = y.float().to("cuda")
                out = model(x).squeeze(1)
                loss = criterion(y, out)  # bad
            """,
    }
    good_code = {
        "what a model says of the target domain": """
            def adapt(network, target, scores):
                target = network.classify(target)
                return F.cross_entropy(target, scores)
            """,
        "the largest scores as the target": """
            def sharpen(target, preds):
                return F.cross_entropy(target, preds.argmax(1))
            """,
        "the prediction first": """
            model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
            criterion = nn.BCELoss()
            for x, y in torch.load("data"):
                loss = criterion(model(x).squeeze(1), y)
            """,
        "where the largest of two scores stands is no class number": """
            def loss_of(first, second, target):
                return F.cross_entropy(torch.max(first, second)[1], target)
            """,
        "two rows of scores, both with one axis": """
            def ranked(model, x, wanted):
                return F.cross_entropy(model(x).view(-1), F.softmax(wanted.view(-1), dim=0))
            """,
        "scores that are data, and targets that are made of it": """
            def loss_of(pairs, smooth):
                total = 0
                for scores, y in pairs:
                    total += F.cross_entropy(scores, smooth(y))
                return total
            """,
        "an error that has no order": """
            model = nn.Linear(3, 1)
            for x, y in torch.load("data"):
                loss = F.mse_loss(y, model(x))
            """,
        "targets that are assigned by the scores": """
            class Assigner(nn.Module):
                def forward(self, scores, labels):
                    return labels * scores.max(1, keepdim=True).values

            class Detection:
                def __init__(self, model):
                    self.assign = Assigner()
                    self.bce = nn.BCEWithLogitsLoss()

                def __call__(self, preds, batch):
                    boxes, scores = (preds["boxes"].contiguous(), preds["scores"].contiguous())
                    goals = self.assign(scores.detach().sigmoid(), batch["labels"])
                    return self.bce(scores, goals.to(scores.dtype))
            """,
        "a teacher, and scores that are handed over": """
            def distil(scores, teacher, x):
                teacher.eval()
                return F.cross_entropy(scores, teacher(x))
            """,
        "scores of a loop over answers": """
            def distil(student, teacher, data):
                teacher.eval()
                answers = [student(x) for x in data]
                for scores, x in zip(answers, data):
                    F.cross_entropy(scores, teacher(x)).backward()
            """,
        "a teacher": """
            def distil(student, teacher, data):
                for x in data:
                    loss = F.cross_entropy(student(x), teacher(x))
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
        model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
        criterion = nn.BCEWithLogitsLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(y, model(x))  # fix: loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {criterion(model(rows), labels).item():.4f}")
        """)


def _righted(file: Code, loss: LossUse) -> str:
    """The call with its first two arguments in each other's place; by the function's name where it takes more lines."""
    whole = loss.call.at
    if len(loss.call.arguments) < 2 or whole.line != whole.end_line:
        return f"loss = F.{loss.function}(prediction, target)"
    first, second = (one.at for one in loss.call.arguments[:2])
    ends = (whole.column, first.column), (second.column, second.end_column), (first.end_column, second.column)
    rest = (first.column, first.end_column), (second.end_column, whole.end_column)
    return "".join(file.text(At(whole.line, start, whole.line, end)) for start, end in (*ends, *rest))
