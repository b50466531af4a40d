"""A model whose output does not depend on its input."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.model import InputUse
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code

MOST_NAMED = 6


class InputIgnored(Rule):
    """The output does not depend on the input, or on some of its columns.

    ## What it sees
    In eval mode the answers stay bit for bit the same when the samples change places; or some columns of the input,
    whose values differ from sample to sample, have no gradient at all.
    ## Why it hurts
    The model can learn how frequent the answers are and nothing else. Training looks alive, since the bias of the last
    layer still finds the best guess.
    ## How to fix it
    Follow the input through `forward`: a variable that is overwritten, a buffer that is used in its place, a mask of
    zeros, a slice that leaves columns out.
    ## When it is not a fault
    A model that is conditioned by a label alone, or columns that are left out on purpose.
    ## Sources
    A. Karpathy, "A Recipe for Training Neural Networks" (2019): "input-independent baseline".
    """

    explains = (
        "collapsed-predictions", "loss-not-decreasing", "no-gain-over-baseline", "cannot-overfit-batch", "underfitting",
        "disconnected-parameters",
    )  # fmt: skip

    columns = Limit(
        0.05, unit="share of the columns", why="a dead unit of the first layer never silences a whole column by itself"
    )

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what moves the output."""
        use = seen.preflight.input_use
        if use is None:
            yield self.cannot_tell(seen.preflight.why_not("input_use"))
        elif not use.depends:
            yield self._ignored(use)
        elif use.features and len(use.unused) >= self.columns * use.features:
            yield self._partly(use)

    def _ignored(self, use: InputUse) -> Finding:
        learned = []
        if use.steps and use.unchanged == use.unchanged and use.blanked == use.blanked:
            learned = [
                Evidence(
                    f"loss after {use.steps} steps on a copy",
                    f"{use.unchanged:.4g}",
                    f"below {use.blanked:.4g}",
                    "what copies reach that see the mean sample only",
                )
            ]
        return self.finding(
            "the output is the same whatever the input",
            sureness=Sureness.CERTAIN,
            evidence=[Evidence("outputs that change when samples change places", 0, "all"), *learned],
            cause="Nothing of the input reaches the output: between them its values are overwritten, multiplied by "
            "zero, or left aside.",
            fixes=["Compare two samples' values, layer by layer, to find where they become equal:\n"
                   + code("h = layer(x)", "print((h[0] - h[1]).abs().max())")],
            unless="the model is meant to answer without looking.",
        )  # fmt: skip

    def _partly(self, use: InputUse) -> Finding:
        named = ", ".join(str(i) for i in use.unused[:MOST_NAMED])
        more = ", ..." if len(use.unused) > MOST_NAMED else ""
        return self.finding(
            f"{len(use.unused)} of {use.features} input columns move no output",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            evidence=[
                Evidence(
                    "columns without any gradient, whose values differ", f"{len(use.unused)}: {named}{more}", 0,
                    "in eval mode, over the first batch",
                )
            ],
            cause="These columns are given to the model, and no output depends on them.",
            fixes=["Take them out of the data, or let `forward` use them:\n" + code("print(x.grad.abs().sum(0))")],
            unless="they are left out on purpose.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "nothing used": tried(input_use=InputUse(False)),
            "and trained": tried(input_use=InputUse(False, blanked=2.30, permuted=2.31, unchanged=2.30, steps=48)),
            "half of the columns": tried(input_use=InputUse(True, 8, (4, 5, 6, 7))),
            "a twentieth of the columns": tried(input_use=InputUse(True, 80, (1, 2, 3, 4))),
            "many columns": tried(input_use=InputUse(True, 64, tuple(range(20)))),
        }
    )
    good = Examples(
        lambda: {
            "all used": tried(input_use=InputUse(True, 64)),
            "fewer": tried(input_use=InputUse(True, 81, (1, 2, 3, 4))),
            "pictures": tried(input_use=InputUse(True)),
            "not tried": tried(),
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


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(64, 64), nn.Linear(64, 10)

            def forward(self, x):
                h = torch.relu(self.fc1(x))
                h = torch.zeros_like(h)  # fix:
                return self.fc2(h)


        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(5):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
