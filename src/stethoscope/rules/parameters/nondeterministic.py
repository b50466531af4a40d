"""Two training steps from one seed differ."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.model import Repeats
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code


class Nondeterministic(Rule):
    """The same step, taken twice from one seed, gives different numbers.

    ## What it sees
    Two copies take the same step on the same batch, with the states of all random number generators put back between
    them; output, loss, gradients and weights are compared bit for bit.
    ## Why it hurts
    A run that cannot be repeated cannot be debugged: whether a change helped is hidden behind what changed by itself.
    ## How to fix it
    Seed every generator that the model draws from, the ones of its own included; on a GPU,
    `torch.use_deterministic_algorithms(True)` names the operations that sum in changing order.
    ## When it is not a fault
    Differences in the last bits on a GPU are the price of speed: they are a note at most.
    ## Sources
    PyTorch documentation, "Reproducibility".
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING

    rounding = Limit(
        1e-3, unit="relative difference", why="sums in changing order differ by 1e-6, gradients of them by 1e-4"
    )

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge how the two steps differ."""
        repeats = seen.preflight.repeats
        if repeats is None:
            yield self.cannot_tell(seen.preflight.why_not("repeats"))
        elif not repeats.same:
            yield self._report(repeats)

    def _report(self, repeats: Repeats) -> Finding:
        is_large = repeats.difference > self.rounding
        return self.finding(
            f"two steps from one seed differ in their {repeats.what}",
            severity=Severity.WARNING if is_large else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            evidence=[Evidence(f"largest difference of the {repeats.what}, relative", f"{repeats.difference:.2g}", 0)],
            cause="The model draws random numbers from a source that torch, numpy and `random` do not seed, or keeps "
            "something from call to call."
            if is_large
            else "Some operation sums in an order that changes from call to call.",
            fixes=[
                "Draw from torch's generator, or seed the model's own one:\n"
                + code("rng = numpy.random.default_rng(seed)")
                if is_large
                else "Have torch name the operation:\n" + code("torch.use_deterministic_algorithms(True)"),
            ],
            unless="the run is not meant to be repeated.",
        )

    bad = Examples(
        lambda: {
            "another output": tried(repeats=Repeats(False, "output", 0.3)),
            "more than rounding": tried(repeats=Repeats(False, "loss", 1.04e-3)),
            "rounding": tried(repeats=Repeats(False, "gradients", 0.96e-3)),
        }
    )
    good = Examples(lambda: {"the same": tried(repeats=Repeats()), "not tried": tried()})
    bug = Bug("""
        import numpy as np
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        rng = np.random.default_rng()  # fix:


        class Noisy(nn.Module):
            def forward(self, x):
                noise = torch.tensor(rng.normal(size=x.shape), dtype=x.dtype)  # fix: noise = torch.randn_like(x)
                return x + 0.3 * noise


        model = nn.Sequential(Noisy(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(5):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
