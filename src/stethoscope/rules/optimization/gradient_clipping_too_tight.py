"""Gradients that are clipped to next to nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Clip
from stethoscope.facts.code import Site
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, History, Loop
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import loss_evidence, outcome, small_plot, times
from stethoscope.rules.sites import at, code, place_at


def _clipped(loss: Any, limit: float = 1e-3, norm: Any = 0.5, updates: float = 1.4e-5) -> History:
    made = run(loss, updates=updates)
    norms = np.broadcast_to(np.asarray(norm, np.float64), (len(np.asarray(loss)),))
    made = with_curve(made, Curve("clip norm", "clip norm", "training", np.arange(norms.size), norms))
    site = Site("train.py", 20, "", f"nn.utils.clip_grad_norm_(model.parameters(), {limit:g})")
    return replace(made, loop=Loop(clip_site=site, clip_kind="norm", clip_limit=limit))


def _by_value(loss: Any, received: Any, limit: float = 1e-4, updates: float = 1.4e-5) -> History:
    """Clipped by value: the optimizer received gradients of this rms."""
    site = Site("train.py", 20, "", f"nn.utils.clip_grad_value_(model.parameters(), {limit:g})")
    made = run(loss, gradients=received, updates=updates)
    return replace(made, loop=Loop(clip_site=site, clip_kind="value", clip_limit=limit))


class GradientClippingTooTight(Rule):
    """Nearly every gradient is clipped to a small part of its natural size, and the loss hardly falls.

    ## What it sees
    The norm of the gradients before clipping, at every step, beside the limit: nearly all are above it, by far. Where
    values are clipped: gradients nearly all of whose entries sit at the limit. And steps so short, because of it,
    that the weights hardly move.
    ## Why it hurts
    Clipping is meant for the rare gradient that is far too large. When it cuts every one, it is a learning rate
    that is smaller by that factor, and the run crawls.
    ## How to fix it
    Set the limit above the usual norm, so that only outliers are cut. The finding gives the number.
    ## When it is not a fault
    Optimizers that divide by the size of the gradient (Adam) take no notice of such a factor, and some recipes clip
    every step on purpose. Only runs that do not learn, and whose steps are tiny, are reported.
    ## Sources
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013
    (limits of half to ten times the average norm).
    """

    treatments = (Clip(None),)
    explains = (
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "gradients", "updates")

    factor = Limit(20, unit="median gradient norm / limit", why="recipes that clip every step do so by up to about 10")
    share = Limit(0.9, unit="share of the steps", why="clipping that is meant for outliers cuts far fewer")
    pace = Limit(
        1e-3,
        unit="update / weight of the fastest weight",
        why="the slow end of healthy runs (CS231n); above it, the steps are long enough all the same",
    )

    at_limit = Limit(
        0.9,
        unit="rms of the gradient's entries / limit of the values",
        why="only when four of five entries are cut does their rms come so near the limit",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the norms before clipping with the limit."""
        progress = progress_of(seen)
        norms = next((c for c in seen.curves if c.kind == "clip norm" and c.values.size), None)
        limit = seen.loop.clip_limit
        by_value = seen.loop.clip_kind == "value"
        if not limit > 0 or (norms is None and not by_value):
            yield self.cannot_tell("gradients are not clipped")
            return
        if not progress.known:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        if progress.learns_well or progress.ended_nonfinite:
            return
        if by_value:
            level, pace = _level(seen), _pace(seen)
            if self._is_cut(level / limit) and pace < self.pace:
                yield self._report_values(seen, progress, level, pace)
            return
        finite = norms.values[np.isfinite(norms.values)] if norms is not None else np.zeros(0)
        if norms is None or not finite.size:
            return
        natural = float(np.median(finite))
        clipped = float(np.mean(finite > limit))
        pace = _pace(seen)
        if clipped >= self.share and natural >= self.factor * limit and pace < self.pace:
            yield self._report(seen, progress, norms, natural, clipped, pace)

    def _is_cut(self, ratio: float) -> bool:
        """Whether nearly all entries are cut; above 1 the optimizer cuts by itself what was measured before."""
        return self.at_limit <= ratio <= 1.01 or ratio >= self.factor

    def _report_values(self, seen: History, progress: Progress, level: float, pace: float) -> Finding:
        limit, site = seen.loop.clip_limit, seen.loop.clip_site
        return self.finding(
            f"clipping each value at {limit:g} cuts nearly all of every gradient",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "rms of the gradients' entries that are not 0",
                    f"{level:.3g} (limit: {limit:g})",
                    "far below the limit, but for outliers",
                    "sampled, median over weights and looks",
                ),
                _pace_evidence(pace),
                loss_evidence(seen, progress),
            ],
            cause=f"The limit at {at(site)} is below what nearly all entries of the gradients measure: each keeps "
            f"little more than its sign, and every step is shortened; the loss {outcome(progress)}.",
            fixes=[_value_fix(site, limit)],
            unless="such short steps are wanted.",
        )

    def _report(
        self, seen: History, progress: Progress, norms: Curve, natural: float, clipped: float, pace: float
    ) -> Finding:
        limit, site = seen.loop.clip_limit, seen.loop.clip_site
        return self.finding(
            f"clipping at {limit:g} cuts gradients to 1/{times(natural / limit)} of their size",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "gradient norm before clipping, median",
                    f"{natural:.3g} (limit: {limit:g})",
                    "below the limit, but for outliers",
                    plot=small_plot(norms, "gradient norm before clipping", (None, limit), log=True),
                ),
                Evidence("steps that were clipped", f"{clipped:.0%}", "a few"),
                _pace_evidence(pace),
                loss_evidence(seen, progress),
            ],
            cause=f"The limit at {at(site)} is far below what the gradients of this network measure, so it shortens "
            f"every step by that factor; the loss {outcome(progress)}.",
            fixes=[_fix(site, norms)],
            unless="such short steps are wanted.",
        )

    bad = Examples(
        lambda: {
            "a limit of 0.001 on a norm of 0.5": _clipped(flat(2.31)),
            "a norm of 20 times the limit": _clipped(flat(2.31), norm=0.02),
            "nine steps of ten": _clipped(flat(2.31), norm=np.where(np.arange(200) % 10, 0.5, 1e-4)),
            "steps that are next to long enough": _clipped(flat(2.31), updates=9.8e-4),
            "learns a little": _clipped(falling(2.31, 1.95)),
            "values, nearly all at the limit": _by_value(flat(2.31), 0.98e-4),
            "values, next to the limit": _by_value(flat(2.31), 0.91e-4),
            "values cut by the optimizer itself": _by_value(flat(2.31), 20.1e-4),
        }
    )
    good = Examples(
        lambda: {
            "a limit above the norm": _clipped(flat(2.31), limit=5.0),
            "learns well": _clipped(falling(2.31, 0.3)),
            "a limit of a nineteenth of the norm": _clipped(flat(2.31), norm=0.0195),
            "eight steps of ten": _clipped(flat(2.31), norm=np.where(np.arange(200) % 5, 0.5, 1e-4)),
            "nearly nine of ten": _clipped(flat(2.31), norm=np.where(np.arange(200) % 9, 0.5, 1e-4)),
            "an optimizer that scales its own steps": _clipped(flat(2.31), updates=1.02e-3),
            "no clipping": run(flat(2.31)),
            "values, many below the limit": _by_value(flat(2.31), 0.89e-4),
            "values cut by the optimizer itself, few of them": _by_value(flat(2.31), 19.9e-4),
            "values, and learns well": _by_value(falling(2.31, 0.3), 0.98e-4),
            "values, in steps that are long enough": _by_value(flat(2.31), 0.98e-4, updates=1.02e-3),
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
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        weights = list(model.parameters())
        opt = torch.optim.SGD(weights, lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                nn.utils.clip_grad_norm_(weights, 1e-3)  # fix: nn.utils.clip_grad_norm_(weights, 5.0)
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _pace(seen: History) -> float:
    """Update / weight of the fastest weight, median over the looks; NaN when it was not measured."""
    ratios = update_ratios(seen, weights_by_depth(seen))
    return float(np.fmax.reduce(middle(ratios, axis=0), initial=np.nan)) if ratios.size else float("nan")


def _level(seen: History) -> float:
    """Rms of the entries that are not 0, median over weights and looks."""
    weights = weights_by_depth(seen)
    if not weights or not seen.telemetry.steps.size:
        return float("nan")
    sizes, zeros = (
        seen.telemetry.parameter(name)[:, weights].astype(np.float64)
        for name in ("gradient_rms", "gradient_zero_share")
    )
    alive = np.where(zeros < 1, 1 - zeros, 1.0)  # where unknown, too
    return float(middle(middle(np.where(sizes > 0, sizes / np.sqrt(alive), np.nan), axis=0)))


def _pace_evidence(pace: float) -> Evidence:
    return Evidence(
        "size of the updates / size of the fastest weight", f"{pace:.1e}", "1e-3 to 1e-2", "CS231n; sampled"
    )


def _value_fix(site: Site | None, limit: float) -> Fix:
    higher = max(1.0, float(f"{100 * limit:.1g}"))
    return _edited(site, "value", "clip_value", higher, "Raise the limit, so that few entries reach it:")


def _fix(site: Site | None, norms: Curve) -> Fix:
    finite = norms.values[np.isfinite(norms.values)]
    higher = float(f"{2 * float(np.quantile(finite, 0.9)):.1g}")
    return _edited(
        site, "norm", "max_norm", higher, "Raise the limit above the usual norm, so that only outliers are cut:"
    )


def _edited(site: Site | None, kind: str, argument: str, higher: float, advice: str) -> Fix:
    line = site.text if site else ""
    number = rf"(clip_grad_{kind}_\([^#]*?,\s*(?:{argument}\s*=\s*)?)[\d.]+(?:[eE][+-]?\d+)?"
    edit, found = re.subn(number, rf"\g<1>{higher:g}", line, count=1)
    shown = edit if found else f"nn.utils.clip_grad_{kind}_(model.parameters(), {higher:g})"
    return Fix(f"{advice}\n{code(shown)}", edit=edit if found else None)
