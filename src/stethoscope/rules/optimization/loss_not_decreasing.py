"""A training loss that does not fall, when nothing else says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, History, Loop, Optimizer
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import RISEN, small_plot
from stethoscope.rules.sites import code, place_at

TINY_PACE = 1e-4
"""Updates below this share of the weights move nothing within a usual run (CS231n: about 1e-3)."""
HUGE_PACE = 0.1
"""Updates above this share of the weights undo each other (see learning-rate-too-high)."""
KNOWN_LEVEL = 0.8
"""A loss that begins below this share of guessing belongs to a network that was trained before."""

FELL_A_LITTLE = 0.02
"""A loss of unknown meaning that came down by more than this share moved: whether that is much, nobody can say."""


@dataclass(frozen=True)
class Vitals:
    """What the gradients and the steps along them looked like."""

    gradient: float
    """Median gradient norm over the looks; NaN when not measured."""
    pace: float
    """Median over looks and weights of update / weight; NaN when not measured."""


CAME_DOWN = 10.0
"""A loss that began at ten times where it ends has fallen, whatever guessing gives."""


class LossNotDecreasing(Rule):
    """The training loss stays where it began.

    ## What it sees
    The training loss at the end of the run, beside where it began or what guessing would reach: less than a tenth
    of the way down was made. Where a rule knows why, this is printed as evidence under that cause.
    ## Why it hurts
    The network has learned nothing from its data, so everything that is measured on it says nothing.
    ## How to fix it
    Train on one batch again and again. If its loss falls to 0, model, loss and optimizer work and the data is at
    fault; if it does not, the fault is in the model, the loss or the optimizer.
    ## When it is not a fault
    Losses that are not meant to fall: those of networks that work against each other, and rewards. A network that
    was trained before starts below guessing and is not reported.
    ## Sources
    A. Karpathy, "A Recipe for Training Neural Networks", 2019 (overfit one batch).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses", "gradients", "updates")
    from_curves = True
    to_the_end = True

    fewest_steps = Limit(50, unit="steps", why="sound runs need 20 to 40 steps before the loss leaves guessing")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the loss as a whole."""
        progress = progress_of(seen)
        curve = seen.curve("loss")
        if curve is None or not progress.known or curve.values.size < self.fewest_steps:
            yield self.cannot_tell(f"fewer than {self.fewest_steps:g} values of a training loss were seen")
        elif why := _excuse(seen, progress, curve):
            yield self.cannot_tell(why)
        elif progress.is_stuck and not progress.ended_nonfinite:
            yield self._report(seen, progress, curve)

    def _report(self, seen: History, progress: Progress, curve: Curve) -> Finding:
        is_known = np.isfinite(progress.chance)
        vitals = _vitals(seen)
        cause, fix = _account(vitals)
        level = (
            Evidence(
                "training loss, median of its last tenth",
                f"{progress.end:.4g} (guessing: {progress.chance:.4g})",
                f"below {0.5 * progress.reference:.3g}",
                "half of the way from guessing to 0",
                small_plot(curve, "training loss", (None, 0.5 * progress.reference)),
            )
            if is_known
            else Evidence(
                "training loss, median of its last tenth",
                f"{progress.end:.4g}",
                f"well below {progress.start:.4g}, where it began",
                plot=small_plot(curve, "training loss"),
            )
        )
        steps = int(curve.steps[-1]) + 1
        # From far above guessing down to it is some way, though nothing that depends on the inputs is learned yet.
        came_down = progress.end * CAME_DOWN < progress.start
        title = f"the loss does not fall: {progress.start:.3g} at first, {progress.end:.3g} after {steps:,} steps"
        if came_down:
            title = f"the loss came down to guessing and no further: {progress.end:.3g} after {steps:,} steps"
        is_sure = (is_known and not came_down) or (bool(seen.imported) and progress.gain < RISEN)
        return self.finding(
            title if len(title) <= 72 else f"the loss does not fall in {steps:,} steps",
            severity=Severity.WARNING if is_sure else Severity.NOTE,
            sureness=Sureness.LIKELY if is_sure else Sureness.POSSIBLE,
            place=place_at(curve.site, steps=(_since(curve, progress), max(steps - 1, 0))),
            evidence=[level, *_checked(seen, vitals)],
            cause=cause,
            fixes=[fix],
            unless="the loss is not meant to fall, as in adversarial or reinforcement learning.",
        )

    bad = Examples(
        lambda: {
            "stuck at guessing, all else in order": run(flat(2.31), updates=0.005, norms=[0.5] * 12),
            "a run of 50 steps": run(flat(2.31, 50), updates=0.005, norms=[0.5] * 12),
            "no gradient arrives": run(flat(2.31), updates=0.0, norms=[0.0] * 12),
            "steps that move nothing": run(flat(2.31), updates=1e-6, norms=[0.5] * 12),
            "steps that move too much": run(flat(2.31), updates=0.5, norms=[0.5] * 12),
            "nothing measured but the loss": run(flat(2.31), updates=np.nan),
            "guessing unknown": run(flat(0.4), chance=np.nan, updates=0.005, norms=[0.5] * 12),
            "from far above down to guessing": run([*np.geomspace(90.0, 2.31, 40), *flat(2.31, 160)], updates=0.005),
            "went down and came back": run([*falling(2.31, 0.6, 100), *flat(2.6, 100)], updates=0.005),
        }
    )
    good = Examples(
        lambda: {
            "a run that learns": run(falling(2.31, 0.1), updates=0.005),
            "a run that learns slowly": run(falling(2.31, 1.9), updates=0.005),
            "a run of 49 steps": run(flat(2.31, 49), updates=0.005),
            "a network trained before": run(flat(1.6), updates=0.005),
            "two losses that work against each other": replace(
                run(flat(2.31), updates=0.005),
                optimizers=(Optimizer("Adam", steps=200), Optimizer("Adam", steps=200)),
                loop=Loop(backward_sites=(Site("train.py", 30), Site("train.py", 38))),
            ),
            "a warm-up that has only begun": with_curve(
                run(flat(2.31), updates=1e-5),
                Curve("learning rate", "learning rate", "training", np.arange(200), np.linspace(1e-7, 1e-5, 200)),
            ),
            "a reward, which is as often negative": run(flat(0.0) + np.sin(np.arange(200.0)), chance=np.nan),
            "a loss that is no number": run([2.3] * 30 + [np.nan] * 170),
        }
    )
    bug = Bug("""
        import copy

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
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        best = copy.deepcopy(model.state_dict())

        for epoch in range(6):
            for x, y in loader:
                model.load_state_dict(best)  # fix:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _excuse(seen: History, progress: Progress, curve: Curve) -> str:
    """Why a loss that does not fall may be as it should, or an empty string."""
    is_shared = len(seen.optimizers) > 1 or not np.isfinite(progress.chance)
    if len(seen.loop.backward_sites) > 1 and is_shared:
        return "several losses are backpropagated from different lines, and may work against each other"
    if np.nanmin(curve.values, initial=np.inf) < 0:
        return "the loss goes below 0, as rewards and likelihoods do, so there is no level that it should reach"
    is_level_known = np.isfinite(progress.chance) or not seen.imported
    if not is_level_known and FELL_A_LITTLE * progress.start < progress.start - progress.end:
        return "the loss came down a little, and what guessing would reach is not known"
    if progress.start < KNOWN_LEVEL * progress.chance:
        return "the network was trained before: its loss began well below guessing"
    rates = seen.curve("learning rate")
    if rates is not None and rates.values.size > 1 and rates.values[-1] > 1.001 * np.median(rates.values):
        return "the learning rate is still rising"
    return ""


def _since(curve: Curve, progress: Progress) -> int:
    """The step from which on there was no progress: 0, or the lowest loss of a run that had learned and lost it."""
    had_learned = progress.best < KNOWN_LEVEL * progress.reference
    return int(curve.steps[np.nanargmin(curve.values)]) if had_learned else 0


def _vitals(seen: History) -> Vitals:
    norms = seen.curve("norm")
    finite = norms.values[np.isfinite(norms.values)] if norms is not None else np.zeros(0)
    ratios = update_ratios(seen, weights_by_depth(seen))
    paces = ratios[np.isfinite(ratios)]
    return Vitals(
        gradient=float(np.median(finite)) if finite.size else float("nan"),
        pace=float(np.median(middle(ratios, axis=1)[-max(1, len(ratios) // 2) :])) if paces.size else float("nan"),
    )


def _checked(seen: History, vitals: Vitals) -> Iterator[Evidence]:
    """What was looked at on the way, so that it need not be looked at again."""
    if np.isfinite(vitals.gradient):
        yield Evidence("norm of all gradients, median over the looks", f"{vitals.gradient:.2g}", "above 0")
    if np.isfinite(vitals.pace):
        yield Evidence(
            "size of the updates / size of the weights, second half", f"{vitals.pace:.1e}", "1e-4 to 1e-1", "CS231n"
        )
    accuracy = seen.curve("accuracy")
    counts = [loss.class_counts for loss in seen.losses if sum(loss.class_counts)]
    if accuracy is not None and accuracy.values.size and counts:
        most = max(counts[0]) / sum(counts[0])
        last = float(np.mean(accuracy.values[-max(3, accuracy.values.size // 10) :]))
        yield Evidence(
            "training accuracy, last tenth", f"{last:.0%}", f"above {most:.0%}", "share of the most frequent class"
        )


def _account(vitals: Vitals) -> tuple[str, str]:
    """What can be ruled out, and what to look at next."""
    if vitals.gradient == 0:
        cause = "Every gradient that was looked at is 0: nothing flows from the loss to the weights."
        next_look = "Look for the place where the graph is cut or saturated, from the loss backwards:\n" + code(
            "for name, weight in model.named_parameters():",
            "    print(name, weight.requires_grad, weight.grad)",
        )
    elif vitals.pace < TINY_PACE:
        cause = f"Gradients arrive, but a step moves the weights by only {vitals.pace:.1e} of their size."
        next_look = (
            "Raise the learning rate (`lr` of the optimizer) by factors of 10 until the loss moves, and see what "
            "shortens the steps: clipping, a schedule, tiny gradients."
        )
    elif vitals.pace > HUGE_PACE:
        cause = (
            f"Gradients arrive, but a step moves the weights by {vitals.pace:.1g} of their size, so that steps may "
            "undo each other."
        )
        next_look = "Lower the learning rate (`lr` of the optimizer) by factors of 10 until the loss falls."
    else:
        cause = (
            f"Gradients arrive and each step moves the weights by {vitals.pace:.1e} of their size, as it should, and "
            "no other rule found a reason. What is left: labels that do not belong to their inputs, a model that "
            "cannot tell the inputs apart, or code that takes the steps back."
            if np.isfinite(vitals.pace)
            else "No other rule found a reason, and the weights were not measured, so little can be ruled out."
        )
        next_look = "Train on one batch alone, which tells the data from the rest:\n" + code(
            "x, y = next(iter(loader))", "for step in range(200):  # the lines of the loop, on this x and y"
        )
    return cause, next_look
