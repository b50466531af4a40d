"""Training steps that run with the model in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import TrainMode
from stethoscope.facts.code import Site
from stethoscope.facts.training import History, Model
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(steps: int = 200, **facts: Any) -> History:
    usual: dict[str, Any] = {
        "has_dropout": True,
        "optimized_share": 1.0,
        "training_forwards": 40,
        "training_forwards_in_eval": 30,
        "training_forwards_since_eval": 30,
        "first_step_in_eval": 20,
    }
    return History(steps=steps, models=(Model("Net", **(usual | facts)),))


class TrainingInEvalMode(Rule):
    """Training steps run with the model in eval mode.

    ## What it sees
    Forward passes on which a backward pass followed, with the model in eval mode, from some step to the
    end, in a model with dropout or batch normalization.
    ## Why it hurts
    In eval mode dropout does nothing, so its regularization is gone. Batch normalization uses its running
    statistics instead of the batch's: those of an untrained or a past network, never updated, so that
    nothing is normalized.
    ## How to fix it
    Call `model.train()` where each epoch begins, since a validation pass before it has called
    `model.eval()`.
    ## When it is not a fault
    Fine-tuning with all statistics frozen. Gradients for the input (saliency, adversarial samples) are not
    reported as long as training passes are made in train mode too.
    ## Sources
    PyTorch documentation, "Autograd mechanics", section "Evaluation Mode (nn.Module.eval())".
    """

    explains = (
        "collapsed-predictions",
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "overfitting",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "too-few-epochs",
        "saturated-activations",
        "no-gain-over-baseline",
        "train-eval-mismatch",
    )
    reads = ("loop",)
    treatments = (TrainMode(),)

    fewest_forwards = Limit(8, unit="forward passes", why="a probe or two may run in eval mode on purpose")
    fewest_steps = Limit(8, unit="steps", why="gradients taken after the last step train nothing")
    share = Limit(0.9, unit="share of training forwards", why="mixed modes are a method: adversarial samples")
    optimized = Limit(0.5, unit="share of the model's elements", why="a mostly frozen model is in eval mode on purpose")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for a model that went into eval mode and trained on in it."""
        judged = False
        for model in seen.models:
            judged = judged or model.training_forwards > 0
            changed = model.has_dropout or model.has_batch_norm
            if not changed or model.first_step_in_eval < 0 or model.optimized_share < self.optimized:
                continue
            if model.training_forwards_in_eval < self.fewest_forwards:
                continue
            if seen.steps - model.first_step_in_eval < self.fewest_steps:
                continue
            if model.training_forwards_in_eval >= self.share * model.training_forwards_since_eval:
                yield self._report(model, seen)
        if not judged:
            yield self.cannot_tell("no forward pass of a model in training was watched")

    def _report(self, model: Model, seen: History) -> Finding:
        name = receiver(model.eval_call_site, "eval", "model")
        parts = " and ".join(
            word
            for word, there in (("dropout", model.has_dropout), ("batch normalization", model.has_batch_norm))
            if there
        )
        always = model.first_step_in_eval == 0
        since = "from the start" if always else f"from step {model.first_step_in_eval:,} on"
        effect = []
        if model.has_dropout:
            effect.append("dropout drops nothing")
        if model.has_batch_norm:
            effect.append("batch normalization uses running statistics, which no longer follow the weights")
        where = "before each training epoch, after validation" if not always else "before training"
        return self.finding(
            f"`{model.name}` trains in eval mode {since}"[:72],
            severity=Severity.ERROR if model.has_batch_norm else Severity.WARNING,
            sureness=Sureness.CERTAIN,
            place=place_at(model.eval_call_site or model.call_site, steps=(model.first_step_in_eval, seen.steps - 1)),
            evidence=[
                Evidence(
                    f"watched training forwards in eval mode, {since}",
                    f"{model.training_forwards_in_eval} of {model.training_forwards_since_eval}",
                    "0",
                ),
                Evidence(f"`{name}.eval()` last called", at(model.eval_call_site), f"followed by {name}.train()"),
            ],
            cause=f"The model holds {parts}; in eval mode " + ", and ".join(effect) + ".",
            fixes=[f"Go back to train mode {where}:\n" + code(f"{name}.train()")],
            unless="statistics and dropout are meant to be frozen while the weights are tuned.",
        )

    bad = Examples(
        lambda: {
            "eval mode after the first validation": _run(
                has_batch_norm=True,
                eval_call_site=Site("train.py", 30, "validate", "net.eval()"),
            ),
            "from the start": _run(
                first_step_in_eval=0,
                training_forwards=9,
                training_forwards_in_eval=9,
                training_forwards_since_eval=9,
            ),
            "nearly all": _run(training_forwards_in_eval=27),
            "as few forwards as can tell": _run(training_forwards_in_eval=8, training_forwards_since_eval=8),
            "as few steps as can tell": _run(steps=28),
            "half of the model trained": _run(optimized_share=0.5),
        }
    )
    good = Examples(
        lambda: {
            "train mode": _run(training_forwards_in_eval=0, training_forwards_since_eval=0, first_step_in_eval=-1),
            "nothing that has a mode": _run(has_dropout=False),
            "adversarial samples made in eval mode": _run(
                training_forwards_in_eval=20, training_forwards_since_eval=40
            ),
            "one mode short of nearly all": _run(training_forwards_in_eval=26),
            "saliency after training": _run(steps=27),
            "a few probes": _run(training_forwards_in_eval=7, training_forwards_since_eval=7),
            "a backbone mostly frozen": _run(optimized_share=0.49),
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
        order = torch.randperm(len(images))
        train, test = order[:1400], order[1400:]
        layers = []
        for _ in range(8):
            layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        def accuracy(rows):
            model.eval()
            with torch.no_grad():
                return (model(images[rows]).argmax(dim=1) == labels[rows]).float().mean().item()

        print(f"before training: {accuracy(test):.3f}")
        for epoch in range(6):
            # add: model.train()
            for rows in train[torch.randperm(len(train))].split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy(test):.3f}")
        """)
