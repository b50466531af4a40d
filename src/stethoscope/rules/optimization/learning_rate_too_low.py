"""Steps so small that nothing can be learned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ScaleLearningRate
from stethoscope.facts.code import Code
from stethoscope.facts.model import RangeTest, StepEffect
from stethoscope.facts.optimizer_calls import optimizers_of
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, History, Optimizer
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run, tried, with_curve
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.lines import fitting, place_in
from stethoscope.rules.sites import code, place_at

HEALTHY_PACE = 1e-3
"""Update / weight of the fastest weight at which the promise of the gradients is judged."""


@dataclass(frozen=True)
class Crawl:
    """How little the weights moved."""

    pace: float
    """Update / weight of the fastest weight, median over the looks."""
    promised: float
    """Loss decrease that all gradients of the run together promised, as a share of the loss at its start."""
    possible: float
    """The same for 1,000 steps at a healthy pace."""


_rates, _losses = np.logspace(-7, 1, 5), np.array([2.3, 2.3, 2.2, 1.5, 9.0])


class LearningRateTooLow(Rule):
    """The learning rate is so small that the weights, and with them the loss, hardly move.

    ## What it sees
    Three things together: a loss that is still at its start; updates of less than 1/10,000 of the weights, even
    for the fastest weight; and gradients that would lower the loss if the steps were of ordinary size. The last is
    the sum over all parameters of gradient times update. A loss that falls, slowly, at less than 2/1,000 is reported
    when a higher rate does far better on a copy. In code: a rate that is written out, that no schedule changes, and
    that is nearly 0.
    ## Why it hurts
    The run costs as much as a good one and learns nothing. Seen from outside it looks like a broken model.
    ## How to fix it
    Raise the rate until the first steps move the weights by about 0.1 to 1 %. The finding gives the number.
    ## When it is not a fault
    Fine-tuning of a network that is already good, a warm-up that has only begun, and a frozen network are not
    reported. Neither is a vanished gradient: there a higher rate would not help.
    ## Sources
    A. Karpathy, CS231n notes, "Ratio of weights:updates" (about 1e-3). H. Ben Braiek and F. Khomh, TheDeepChecker,
    TOSEM 2022 (too slow below 1e-4).
    """

    explains = (
        "collapsed-predictions",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "no-gain-over-baseline",
    )
    on_trial = True
    reads = ("losses", "gradients", "updates")
    treatments = (ScaleLearningRate(10), ScaleLearningRate(100), ScaleLearningRate(1000), ScaleLearningRate(10000))

    fewest_steps = Limit(50, unit="steps", why="a shorter run may stop before a sound rate shows in the loss")
    pace = Limit(
        1e-4,
        unit="update / weight of the fastest weight",
        why="a tenth of the common 1e-3; the slowest of 106 healthy runs showed 7e-4, after its rate had decayed",
    )
    slow = Limit(
        2e-3,
        unit="update / weight of the fastest weight",
        why="at the common pace of 1e-3 a loss may still fall too slowly: said when a higher rate does far better on a "
        "copy",
    )
    below = Limit(
        100.0, unit="times", why="the rate at which the loss falls fastest is usually 3 to 30 times what a run can use"
    )
    promised = Limit(
        0.05,
        unit="share of the loss that all gradients of the run promised to take away",
        why="0.02 to 0.03 at a tenth of a sound rate; 0.09 to 0.27 in runs that only stopped too early",
    )
    unmoved = Limit(
        0.05,
        unit="share of the loss at its start",
        why="noise moved the loss of runs at a rate far too low by up to 2 %, first batches by up to 3.6 %",
    )
    possible = Limit(
        0.01,
        unit="share of the loss, promised for 1,000 steps at a pace of 1e-3",
        why="0.02 to 0.8 in runs that a higher rate cured; 1e-5 and less behind saturated outputs",
    )

    written = Limit(1e-7, unit="learning rate", why="fine-tuning of large models goes down to 1e-6")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each optimizer, when the loss has not moved."""
        progress = progress_of(seen)
        if not progress.known or seen.steps < self.fewest_steps:
            yield self.cannot_tell(f"the run was shorter than {self.fewest_steps:g} steps, or no loss was seen")
            return
        if progress.learns_well or progress.nonfinite_step >= 0 or not progress.reference > 0:
            return
        is_unmoved = abs(progress.start - progress.end) <= self.unmoved * progress.start
        is_rising = progress.end > progress.best + progress.noise
        if not is_unmoved and is_rising:
            return
        if why := _excuse(seen, progress, self.pace):
            yield self.cannot_tell(why)
            return
        for index in range(len(seen.optimizers)):
            crawl = _crawl(seen, index, progress)
            if crawl is None or crawl.possible < self.possible:
                continue
            if is_unmoved and crawl.pace < self.pace:
                yield self._report(seen, index, crawl, Sureness.LIKELY)
            elif crawl.pace < self.slow and crawl.promised < self.promised:
                yield self._report(seen, index, crawl, Sureness.SUSPECTED)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the rate by a step of a copy, and by copies that were trained while the rate rose."""
        test, effect = seen.preflight.range_test, seen.preflight.effect
        if test is None or effect is None:
            yield self.cannot_tell(seen.preflight.why_not("range_test"))
            return
        rates = seen.curve("learning rate")
        if rates is not None and rates.values.size > 1:
            yield self.cannot_tell("the learning rate changes from step to step")
        elif test.present * self.below <= test.suggested and effect.ratio < self.pace:
            yield self._report_test(seen, test, effect)

    def _report_test(self, seen: History, test: RangeTest, effect: StepEffect) -> Finding:
        optimizer = seen.optimizers[0] if seen.optimizers else None
        return self.finding(
            f"a learning rate of {test.present:.3g}: the loss falls fastest at {test.suggested:.1g}",
            severity=Severity.WARNING,
            sureness=Sureness.SUSPECTED,
            place=place_at(optimizer.site if optimizer is not None else None),
            evidence=[
                Evidence(
                    "learning rate",
                    f"{test.present:.3g}",
                    f"about {test.suggested:.1g}",
                    "rate raised from step to step (L. N. Smith 2017)",
                    Plot(tuple(np.log10(test.rates)), tuple(map(float, test.losses)), "loss by log10 of the rate"),
                ),
                Evidence("size of an update / size of the weights", f"{effect.ratio:.1e}", "1e-3 to 1e-2", "CS231n"),
            ],
            cause="The steps are too short to matter: at this pace the weights stay nearly as they were drawn.",
            fixes=[f"Raise the rate:\n{code(f'lr={test.suggested / 3:.0e}')}"],
            unless="the network was trained before, and is to change little.",
        )

    def _report(self, seen: History, index: int, crawl: Crawl, sureness: Sureness) -> Finding:
        optimizer = seen.optimizers[index]
        rate = optimizer.groups[0].get("lr") if optimizer.groups else None
        named = f"a learning rate of {rate:.3g}" if isinstance(rate, float | int) else f"`{optimizer.kind}`"
        steps = seen.telemetry.steps
        ratios = update_ratios(seen, weights_by_depth(seen, index))
        plot = Plot(
            tuple(map(float, steps)),
            tuple(float(v) for v in np.nan_to_num(np.fmax.reduce(ratios, axis=1))),
            "update / weight, fastest weight",
            (1e-3, 1e-2),
            log=True,
        )
        title = f"{named} moves weights by {crawl.pace:.1e} of their size a step"
        return self.finding(
            title if len(title) <= 72 else title.removesuffix(" a step"),
            severity=Severity.ERROR if sureness is Sureness.LIKELY else Severity.WARNING,
            sureness=sureness,
            place=place_at(optimizer.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"size of the updates / size of the fastest weight ({optimizer.kind})",
                    f"{crawl.pace:.1e}",
                    "1e-3 to 1e-2",
                    "CS231n; sampled, median over the looks",
                    plot,
                ),
                Evidence(
                    f"share of the loss that the gradients of all {seen.steps:,} steps promised to take away",
                    f"{100 * crawl.promised:.2g} %",
                    f"{100 * crawl.promised * HEALTHY_PACE / crawl.pace:.2g} % at a pace of 1e-3",
                    "sum of gradient x update",
                ),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause="The gradients point downhill and are large enough, but the steps along them are too short to "
            "matter within this run.",
            fixes=[_fix(optimizer, rate, crawl.pace)],
            unless="the network is already as good as it is meant to be.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the learning rates that are written out; 0 is what a program writes that sets them later."""
        for made in optimizers_of(file):
            if made.rate is None or not 0 < made.rate < self.written:
                continue
            name = "learning_rate" if made.call.name.startswith("keras") else "lr"
            yield self.finding(
                fitting(f"a learning rate of {made.rate:g} is nearly 0", "the learning rate is nearly 0"),
                sureness=Sureness.LIKELY,
                place=place_in(file, made.call.at),
                evidence=[Evidence(f"learning rate of {made.kind}", f"{made.rate:g}", "1e-5 to 0.1")],
                cause="A million steps at this rate do less than a hundred at a usual one.",
                fixes=["Begin with a usual one:\n" + code(f"{made.kind}(..., {name}=1e-3)")],
                unless="a program changes the rate elsewhere.",
            )

    bad = Examples(
        lambda: {
            "SGD at 1e-5": run(flat(2.32), updates=1e-6, descent=1e-6, rate=1e-5),
            "a pace next to the limit": run(flat(2.32), updates=9.7e-5, descent=4e-4),
            "a pace that is slow, and not hopeless": run(flat(2.31), updates=1.03e-4, descent=1e-4),
            "a copy learns a hundred times higher": tried(
                range_test=RangeTest(_rates, _losses, 0.99e-5, 1e-3), effect=StepEffect(2.3, 2.3, 9.7e-5)
            ),
            "a run of 50 steps": run(flat(2.32, 50), updates=1e-6, descent=1e-6, rate=1e-5),
            "the loss moved a little": run([2.32] * 100 + [2.207] * 100, updates=1e-6, descent=1e-6),
            "hardly a pace, and the loss falls a little": run([2.32] * 100 + [2.201] * 100, updates=1e-6, descent=1e-6),
            "slow, and the loss falls a little": run([2.32] * 100 + [2.201] * 100, updates=1.95e-3, descent=1.9e-4),
            "a promise next to the limit": run(flat(2.32), updates=1e-6, descent=8.0e-9),
        }
    )
    good = Examples(
        lambda: {
            "a usual rate": run(falling(2.31, 0.1), updates=0.01),
            "a copy learns less than a hundred times higher": tried(
                range_test=RangeTest(_rates, _losses, 1.03e-5, 1e-3), effect=StepEffect(2.3, 2.3, 9.7e-5)
            ),
            "a usual first step": tried(
                range_test=RangeTest(_rates, _losses, 0.99e-5, 1e-3), effect=StepEffect(2.3, 2.3, 1.03e-4)
            ),
            "stuck at a usual rate": run(flat(2.31), updates=0.01, descent=0.01),
            "a run of 48 steps": run(flat(2.32, 48), updates=1e-6, descent=1e-6, rate=1e-5),
            "the loss falls, at a usual pace": run([2.32] * 100 + [2.201] * 100, updates=2.05e-3, descent=1.9e-4),
            "slow, and it promised to fall by more": run(flat(2.31), updates=1e-3, descent=2e-4),
            "slow, and the loss rises": run([*flat(2.32), *flat(2.5)], updates=1e-6, descent=1e-6),
            "vanished gradients at a usual rate": run(flat(2.31), updates=1e-7, descent=1e-12),
            "a promise just below the limit": run(flat(2.32), updates=1e-6, descent=7.4e-9),
            "fine-tuning of a good network": run(flat(0.2), updates=1e-5, descent=1e-4),
            "converged long ago": run(flat(1e-4), updates=1e-6, descent=1e-6),
            "nothing moves at all": run(flat(2.31), updates=0.0),
            "a warm-up that has only begun": with_curve(
                run(flat(2.31), updates=1e-5, descent=1e-5),
                Curve("learning rate", "learning rate", "training", np.arange(200), np.linspace(1e-7, 1e-5, 200)),
            ),
            "a head start of a network trained before": run(flat(1.6), updates=1e-6, descent=1e-6, rate=1e-5),
        }
    )
    bad_code = {
        "next to the limit": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.98e-7, momentum=0.9)  # bad
            """,
        "Adam": """
            def train(model):
                return torch.optim.AdamW(model.parameters(), 1e-10)  # bad
            """,
    }
    good_code = {
        "at the limit, and none": """
            model = nn.Linear(3, 2)
            optimizers = [torch.optim.SGD(model.parameters(), lr=1e-7), torch.optim.Adam(model.parameters(), lr=0)]
            """,
        "set elsewhere": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
            for group in optimizer.param_groups:
                group["lr"] = 0.1
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
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = torch.optim.SGD(model.parameters(), lr=1e-5)  # fix: opt = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _excuse(seen: History, progress: Progress, pace: float) -> str:
    """Why a loss that does not move may be as it should, or an empty string."""
    if progress.start < 0.8 * progress.chance:
        return "the network was trained before: its loss began well below guessing"
    rates = seen.curve("learning rate")
    if rates is not None and rates.values.size > 1:
        if rates.values[-1] > 1.001 * rates.values[rates.values.size // 2]:
            return "the learning rate is still rising"
        fastest = np.nanmax(update_ratios(seen, weights_by_depth(seen)), initial=0.0)
        if rates.values[-1] < 0.1 * rates.values.max() and fastest >= pace:
            return "the learning rate has fallen to less than a tenth of its highest"
    return ""


def _crawl(seen: History, optimizer: int, progress: Progress) -> Crawl | None:
    """How little the weights of an optimizer moved; None when they did not move at all or were not measured."""
    weights = weights_by_depth(seen, optimizer)
    ratios = update_ratios(seen, weights)
    if not ratios.size:
        return None
    # A weight that stands still (dead units, a frozen part) says nothing about the rate.
    pace = float(np.fmax.reduce(middle(np.where(ratios > 0, ratios, np.nan)), initial=0.0))
    if not np.isfinite(pace) or pace <= 0:
        return None
    held = [index for index, each in enumerate(seen.parameters) if each.optimizer == optimizer]
    each_step = float(np.median(np.nansum(seen.telemetry.parameter("descent")[:, held], axis=1)))
    share = each_step / progress.start
    return Crawl(pace, share * seen.steps, share * 1000 * HEALTHY_PACE / pace)


def _fix(optimizer: Optimizer, rate: object, pace: float) -> Fix:
    if not isinstance(rate, float | int):
        return Fix("Raise the learning rate: multiply `lr` by 10 until the loss falls.")
    # To the pace of a usual run, and no higher than rates that people use.
    higher = float(f"{rate * 5 * HEALTHY_PACE / pace:.0e}")
    line = optimizer.site.text if optimizer.site else ""
    edit, found = re.subn(r"\blr\s*=\s*[\d.eE+-]+", f"lr={higher:g}", line, count=1)
    shown = edit if found else f"{optimizer.kind}(model.parameters(), lr={higher:g})"
    return Fix(
        f"Raise the rate, so that a step moves the fastest weight by about 0.5 %:\n{code(shown)}",
        edit=edit if found else None,
    )
