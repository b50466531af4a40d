"""Findings as rules write them, for the samples."""

from __future__ import annotations

import numpy as np

from stethoscope.core.finding import (
    CannotTell,
    Diagnosis,
    Evidence,
    Finding,
    Fix,
    Kind,
    Place,
    Plot,
    Proof,
    Severity,
    Sureness,
)
from stethoscope.core.text import number
from stethoscope.facts.training import History

CHECKED = (
    "dying-relu",
    "exploding-gradients",
    "gradients-cleared-before-step",
    "learning-rate-too-high",
    "loss-not-finite",
    "missing-backward",
    "missing-optimizer-step",
    "missing-zero-grad",
    "parameters-not-in-optimizer",
    "softmax-before-cross-entropy",
    "target-shape-broadcast",
    "training-in-eval-mode",
    "unnormalized-input",
    "unshuffled-data",
    "vanishing-gradients",
)
NOT_CHECKED = (
    CannotTell("overfitting", "no validation data passed through the model"),
    CannotTell("validation-in-train-mode", "no validation data passed through the model"),
)


def missing_zero_grad(history: History) -> Finding:
    """An error, certain, with a proof and something that follows from it."""
    norms = history.curve("norm")
    assert norms is not None
    finding = Finding(
        rule="missing-zero-grad",
        kind=Kind.CAUSE,
        severity=Severity.ERROR,
        sureness=Sureness.CERTAIN,
        rank=1,
        title="gradients of `SGD` are never cleared: each step adds to the last",
        place=Place(file="train.py", line=32, text="loss.backward()", steps=(0, history.steps - 1)),
        cause="the loop calls `backward()` and `step()` but never `zero_grad()`, so the optimizer follows "
        "the sum of all gradients since the start instead of the gradient of this batch.",
        evidence=(
            Evidence("steps that began with the old gradient", "64 of 64 watched", 0, "by the loop's own order"),
            Evidence(
                "gradient norm, last step",
                norms.values[-1].item(),
                "0.1 to 10",
                plot=Plot(
                    tuple(norms.steps.tolist()),
                    tuple(norms.values.tolist()),
                    "gradient norm",
                    (0.1, 10.0),
                    True,
                ),
            ),
        ),
        fixes=(
            Fix("Clear the gradients before each backward pass:\n    optimizer.zero_grad()\n    loss.backward()"),
            Fix("Or clear them after the step, which does the same.", safe=True),
        ),
        unless="gradients are gathered over several batches on purpose, and cleared after them.",
        proof=Proof("gradients cleared for each step", 2.31, 0.402, "cured", 2.303, 48, 5, 5),
    )
    return finding.folded(stuck(history))


def stuck(history: History) -> Finding:
    """A symptom."""
    return Finding(
        rule="loss-not-decreasing",
        kind=Kind.SYMPTOM,
        severity=Severity.ERROR,
        sureness=Sureness.CERTAIN,
        title="the training loss stays at 2.31 for 400 steps",
        cause="the loss has not come 10 % below what guessing reaches.",
        evidence=(Evidence("training loss, last 40 steps", 2.311, "below 2.07", "guessing among 10 classes: 2.303"),),
        fixes=(Fix("See the finding above."),),
        place=Place(steps=(0, history.steps - 1)),
    )


def vanishing_gradients(history: History) -> Finding:
    """An error that lies in a layer."""
    depth = history.telemetry.parameter("gradient_rms")
    first = tuple(float(value) for value in depth[:, 0])
    fall = float(np.median(depth[:, -1] / depth[:, 0]))
    return Finding(
        rule="vanishing-gradients",
        kind=Kind.CAUSE,
        severity=Severity.ERROR,
        sureness=Sureness.LIKELY,
        rank=1,
        title=f"gradients shrink {number(fall)}-fold between the last layer and `net.0`",
        cause="each sigmoid passes on at most a quarter of the gradient; eleven leave next to nothing.",
        evidence=(
            Evidence(
                "gradient of `net.0`, root mean square",
                first[-1],
                "above 1e-6",
                "sampled",
                Plot(tuple(history.telemetry.steps.tolist()), first, "gradient of net.0", (1e-6, None), True),
            ),
            Evidence("gradient of the last layer", float(depth[-1, -1]), "1e-4 to 1", "sampled"),
        ),
        fixes=(Fix("Replace the sigmoids between the layers by ReLUs:\n    nn.ReLU()"),),
        place=Place(module="net.0", steps=(0, history.steps - 1)),
    )


def loss_not_finite(history: History) -> Finding:
    """An error from one step on."""
    loss = history.curve("loss")
    assert loss is not None
    first = int(np.flatnonzero(~np.isfinite(loss.values))[0])
    return Finding(
        rule="loss-not-finite",
        kind=Kind.CAUSE,
        severity=Severity.ERROR,
        sureness=Sureness.CERTAIN,
        rank=1,
        title=f"the loss is NaN from step {first} on: the batch held a NaN",
        cause="one value of the input was NaN. One step later every weight was NaN too, and stays so.",
        evidence=(
            Evidence("values that are NaN in the input of step 230", "1 of 512", 0),
            Evidence(
                "training loss",
                float("nan"),
                "a number",
                "",
                Plot(
                    tuple(loss.steps.tolist()),
                    tuple(loss.values.tolist()),
                    "training loss",
                    (None, 2.303),
                    True,
                ),
            ),
        ),
        fixes=(Fix("Find the row and leave it out:\n    assert torch.isfinite(images).all()"),),
        place=Place(
            file="train.py",
            line=31,
            text="loss = F.cross_entropy(outputs, labels)",
            module="net.0",
            steps=(first, history.steps - 1),
        ),
    )


def slow_rate(history: History) -> Finding:
    """A note."""
    return Finding(
        rule="learning-rate-too-low",
        kind=Kind.CAUSE,
        severity=Severity.NOTE,
        sureness=Sureness.POSSIBLE,
        rank=2,
        title="weights of `net.2` move by 1.2e-5 of their size a step",
        cause="the learning rate may be ten times too small for this layer.",
        evidence=(Evidence("update / weight, median", 1.2e-5, "about 1e-3", "rule of thumb, Karpathy 2015"),),
        fixes=(Fix("Try ten times the rate.", edit="optimizer = SGD(model.parameters(), lr=1.0)"),),
        place=Place(file="train.py", line=24, parameter="net.2.weight", steps=(100, 200)),
    )


def diagnosis_of(*findings: Finding) -> Diagnosis:
    """A diagnosis with these findings, two checks that were not possible and one silenced."""
    return Diagnosis(findings, CHECKED, NOT_CHECKED)
