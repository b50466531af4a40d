"""Gradients that are cleared after they were computed and before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import KeepGradients
from stethoscope.facts.code import Site
from stethoscope.facts.training import History, Optimizer
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(**facts: Any) -> History:
    return History(steps=200, optimizers=(Optimizer("SGD", **facts),))


class GradientsClearedBeforeStep(Rule):
    """Gradients are cleared after the backward pass and before the step, so the step sees none.

    ## What it sees
    Gradients arrived in a backward pass, and were missing or zero again when the optimizer stepped.
    ## Why it hurts
    The step has nothing to follow: weights stay as they are, or move by weight decay and old momentum only.
    The script runs, prints a loss, and learns nothing.
    ## How to fix it
    Keep the order: clear, backward, step.
    ## When it is not a fault
    An odd step at which gradients are thrown away on purpose, because they were not finite for one. Steps
    like that are rare, and are not reported.
    ## Sources
    PyTorch documentation, "Optimizing Model Parameters": `loss.backward()`, `optimizer.step()`,
    `optimizer.zero_grad()`.
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "frozen-parameters",
        "no-gain-over-baseline",
    )
    reads = ("loop",)
    treatments = (KeepGradients(),)

    fewest_steps = Limit(3, unit="steps", why="one or two steps may drop their gradients on purpose")
    share = Limit(0.5, unit="share of watched steps", why="gradients dropped now and then are a guard")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the steps that found their gradients cleared."""
        for optimizer in seen.optimizers:
            lost = optimizer.cleared_before_step
            if optimizer.watched == 0:
                yield self.cannot_tell(f"no step of {optimizer.kind} was watched")
            elif lost >= self.fewest_steps and lost >= self.share * optimizer.watched:
                yield self._report(optimizer, seen)

    def _report(self, optimizer: Optimizer, seen: History) -> Finding:
        name = receiver(optimizer.step_site, "step", "optimizer")
        lost = f"{optimizer.cleared_before_step} of {optimizer.watched}"
        return self.finding(
            f"gradients are cleared before the step that needs them: {lost} steps",
            sureness=Sureness.CERTAIN,
            place=place_at(optimizer.clear_site or optimizer.step_site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(f"watched steps of {optimizer.kind} that found no gradients", lost, "0"),
                Evidence("gradients are cleared at", at(optimizer.clear_site), "before the backward pass"),
                Evidence("gradients are used at", at(optimizer.step_site), "before they are cleared again"),
            ],
            cause="The backward pass brought gradients, and they were cleared before the step, which had "
            "nothing to follow.",
            fixes=[
                "Clear first, then compute, then step:\n"
                + code(f"{name}.zero_grad()", "loss.backward()", f"{name}.step()")
            ],
        )

    bad = Examples(
        lambda: {
            "every step": _run(
                watched=9,
                cleared_before_step=9,
                clear_site=Site("train.py", 20, "", "opt.zero_grad()"),
                step_site=Site("train.py", 21, "", "opt.step()"),
            ),
            "three of six": _run(watched=6, cleared_before_step=3),
        }
    )
    good = Examples(
        lambda: {
            "the usual order": _run(watched=9),
            "thrown away twice in two steps": _run(watched=2, cleared_before_step=2),
            "thrown away whenever it is not finite": _run(watched=100, cleared_before_step=49),
            "no gradients ever arrived": _run(watched=9, without_backward=9, without_gradient=9),
            "nothing watched": _run(),
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
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                # add: optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.zero_grad()  # fix:
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
