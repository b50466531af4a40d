"""Parameters that two optimizers move by the same gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import amount
from stethoscope.facts.code import Site
from stethoscope.facts.overlap import Overlap
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, Optimizer
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(watched: int = 50, repeated: int = 50, *, of_both: int = 4, of_first: int = 8, loss: float = 2.3) -> History:
    """Two optimizers, of which the first one holds what the second one holds."""
    seen = run(falling(2.3, loss) if loss < 2 else flat(loss))
    slow = Optimizer(
        "SGD",
        Site("train.py", 12, "", "slow = torch.optim.SGD(model.parameters(), lr=0.5)"),
        Site("train.py", 20, "", "slow.step()"),
        ({"lr": 0.5},),
        of_first,
        200,
    )
    fast = replace(slow, groups=({"lr": 0.01},), num_parameters=of_both, step_site=None)
    return replace(
        seen,
        optimizers=(slow, fast),
        overlaps=(Overlap(0, 1, "head.weight", of_both, 4160, watched, repeated),) if repeated else (),
    )


class ParametersInTwoOptimizers(Rule):
    """Two optimizers hold the same parameters, and both step them by the same gradient.

    ## What it sees
    Two optimizers that step one after the other, with parameters in common whose gradients are the same at both steps:
    no backward pass has renewed them between, and nothing has cleared them.
    ## Why it hurts
    These parameters are moved twice for each gradient, by the sum of two steps. Where one part of a model was to be
    trained slowly and another one fast, the slow part is trained at the fast rate as well.
    ## How to fix it
    Give each optimizer parameters of its own, or make one optimizer with a group of parameters for each rate.
    ## When it is not a fault
    Two losses with an optimizer each that train a shared part in turn, each after a backward pass of its own: that is
    not reported, nor is an optimizer that wraps another one. In a run that has learned well it is a note.
    ## Sources
    PyTorch documentation, `torch.optim`, "Per-parameter options": one optimizer takes a group for each part of a model.
    """

    severity = Severity.WARNING
    explains = (
        "learning-rate-too-high",
        "momentum-too-high",
        "dying-relu",
        "saturated-activations",
        "collapsed-predictions",
        "exploding-gradients",
        "numerical-instability",
        "loss-not-finite",
        "loss-not-decreasing",
        "loss-oscillating",
        "loss-spike",
        "underfitting",
        "too-few-epochs",
        "no-gain-over-baseline",
    )
    reads = ("loop",)

    fewest = Limit(
        3, unit="steps on a gradient used before", why="one or two may lie at the change from one phase to the next"
    )
    share = Limit(
        0.5,
        unit="share of the watched steps",
        why="where a gradient is used twice by mistake it is so at every step; once in a while, it is a method",
    )
    learned = Limit(
        0.9,
        unit="share of the way from guessing to a loss of 0",
        why="it is a mistake whatever becomes of it, but a run that has come so far has hardly suffered from it",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each pair of optimizers with parameters in common."""
        for pair in seen.overlaps:
            if pair.repeated >= self.fewest and pair.repeated >= self.share * pair.watched:
                yield self._report(pair, seen)

    def _report(self, pair: Overlap, seen: History) -> Finding:
        first, second = seen.optimizers[pair.first], seen.optimizers[pair.second]
        names = _names(first, second)
        progress = progress_of(seen)
        has_learned = progress.learns_well and not progress.gain < self.learned
        severity = Severity.NOTE if has_learned else Severity.ERROR if progress.is_stuck else Severity.WARNING
        title = f"`{pair.name}` is stepped by {names[0]} and by {names[1]}"
        if len(title) > 72 or not pair.name:
            title = f"two optimizers step the same {amount(pair.tensors, 'parameter')}, one after the other"
        evidence = [
            Evidence(
                f"steps of {names[1]} on a gradient that {names[0]} has stepped on",
                f"{pair.repeated} of {pair.watched} watched",
                "0",
            ),
            Evidence("parameters in both", f"{amount(pair.tensors, 'tensor')}, {pair.values:,} values", "0"),
        ]
        rates = [_rate(optimizer) for optimizer in (first, second)]
        if all(rates):
            evidence.append(Evidence("learning rates that move them", f"{rates[0]} and {rates[1]}", "one of them"))
        if progress.known and not has_learned:
            evidence.append(loss_evidence(seen, progress))
        return self.finding(
            title,
            severity=severity,
            sureness=Sureness.CERTAIN,
            place=place_at(
                _by_size(first, second)[0].site, steps=(0, max(seen.steps - 1, 0)), parameter=pair.name or None
            ),
            evidence=evidence,
            cause=f"The {first.kind} made at {at(first.site)} and the {second.kind} made at {at(second.site)} were "
            "given the same parameters, and no backward pass lies between their steps: each gradient is used twice, "
            "at both rates.",
            fixes=_fixes(pair, first, second),
            unless="the two steps are meant to add up.",
        )

    bad = Examples(
        lambda: {
            "all steps, stuck": _run(),
            "as many as there must be": _run(3, 3),
            "half of the steps": _run(40, 20),
            "both hold the same": _run(of_first=4),
            "in a run that learns": _run(loss=0.19),
            "in a run that learns almost": _run(loss=0.22),
        }
    )
    good = Examples(
        lambda: {
            "nothing in common": _run(repeated=0),
            "at the change of a phase": _run(2, 2),
            "now and then": _run(40, 19),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        head = nn.Linear(32, 10)
        model = nn.Sequential(body, head)
        slow = torch.optim.Adam(body.parameters(), lr=0.001)
        fast = torch.optim.Adam(model.parameters(), lr=0.1)  # fix: fast = torch.optim.Adam(head.parameters(), lr=0.1)
        for epoch in range(12):
            for rows in torch.randperm(1797).split(64):
                slow.zero_grad()
                fast.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                slow.step()
                fast.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _names(first: Optimizer, second: Optimizer) -> tuple[str, str]:
    """What the script calls the two, or their places in it."""
    names = [receiver(optimizer.step_site, "step", "") for optimizer in (first, second)]
    if all(names) and names[0] != names[1]:
        return f"`{names[0]}`", f"`{names[1]}`"
    return f"one {first.kind}", f"another {second.kind}" if first.kind == second.kind else f"one {second.kind}"


def _rate(optimizer: Optimizer) -> str:
    rates = [group.get("lr") for group in optimizer.groups]
    return f"{rates[0]:g}" if rates and isinstance(rates[0], float | int) and len(set(rates)) == 1 else ""


def _fixes(pair: Overlap, first: Optimizer, second: Optimizer) -> list[Fix | str]:
    if pair.tensors == first.num_parameters == second.num_parameters:
        step = second.step_site.text if second.step_site is not None else "optimizer.step()"
        return [f"Keep one of the two optimizers, and take the step of the other one out:\n{code(f'# {step}')}"]
    larger, smaller = _by_size(first, second)
    large, small = (receiver(o.step_site, "step", name) for o, name in ((larger, "first"), (smaller, "second")))
    rates = [_rate(optimizer) or "1e-3" for optimizer in (larger, smaller)]
    return [
        "Give each optimizer parameters of its own:\n"
        + code(
            f'held = {{id(p) for group in {small}.param_groups for p in group["params"]}}',
            "others = [p for p in model.parameters() if id(p) not in held]",
            f"{large} = torch.optim.{larger.kind}(others, lr={rates[0]})",
        ),
        "Or make one optimizer with a group for each rate, and step once:\n"
        + code(
            f"optimizer = torch.optim.{larger.kind}([",
            f'    {{"params": {small}.param_groups[0]["params"], "lr": {rates[1]}}},',
            f'    {{"params": others, "lr": {rates[0]}}},',
            "])",
        ),
    ]


def _by_size(first: Optimizer, second: Optimizer) -> tuple[Optimizer, Optimizer]:
    """The one that holds more parameters, and the other one."""
    return (first, second) if first.num_parameters >= second.num_parameters else (second, first)
