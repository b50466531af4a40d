"""A backward pass written by hand that is not the derivative of its forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.facts.code import Site
from stethoscope.facts.model import GradientTest
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code, place_at

_off = GradientTest(
    "Swish", 6, 0, 0.4, 0.6, 1.0, argument=0, site=Site("train.py", 31, "Net.forward", "x = Swish.apply(x)")
)


def _run(*tests: GradientTest) -> History:
    return tried(gradients=tests)


class GradientMismatch(Rule):
    """A backward pass written by hand disagrees with the numerical derivative of its forward pass.

    ## What it sees
    Each `autograd.Function` of the script, at the arguments that it has in the model, in double precision: the slope by
    its backward pass, beside central differences along random directions. Directions along which the function has a
    kink are told by halving the step, and not counted. The whole model is tested in the same way.
    ## Why it hurts
    The optimizer follows a direction that does not lower the loss as it believes. Training still works a little, which
    is why such an error is found late.
    ## How to fix it
    Derive the backward pass again, argument by argument: the gradient of each is the incoming gradient times the
    derivative of the output in it, summed over the axes that were broadcast.
    ## When it is not a fault
    Gradients that are others on purpose. Straight-through estimators (flat wherever they are measured) and functions
    that give back what they are given (gradient reversal, scaling) are known and not reported.
    ## Sources
    Nocedal and Wright, "Numerical Optimization", 8.1 (central differences). PyTorch documentation, "Gradcheck
    mechanics". Y. Bengio et al., arXiv:1308.3432 (straight-through estimators).
    """

    explains = ("loss-not-decreasing", "underfitting", "cannot-overfit-batch", "no-gain-over-baseline")

    exact = Limit(
        2e-4, unit="relative error, double precision", why="correct functions agree to 1e-7, slips begin at 1e-3"
    )
    coarse = Limit(0.05, unit="relative error, single precision", why="rounding alone gives up to a hundredth")

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each function, and the whole model where no function is to blame."""
        tests = [test for test in seen.preflight.gradients if test.tested]
        if not tests:
            yield self.cannot_tell(seen.preflight.why_not("gradients"))
            return
        off = [test for test in tests if not test.design and test.error > self._most(test)]
        functions = [test for test in off if test.argument >= 0]
        by_design = any(test.design for test in tests)
        for test in functions or ([] if by_design else off):
            yield self._report(test)

    def _most(self, test: GradientTest) -> float:
        return self.exact if test.precision == "float64" else self.coarse

    def _report(self, test: GradientTest) -> Finding:
        of_model = test.argument < 0
        what = "the model" if of_model else f"`{test.what}`"
        title = f"the gradient of {what} is off by {number(float(f'{test.error:.2g}'))} of its size"
        return self.finding(
            title if len(title) <= 72 else "a gradient is not the derivative of what is computed",
            sureness=Sureness.CERTAIN,
            place=place_at(test.site),
            evidence=[
                Evidence(
                    "slope by the backward pass",
                    f"{test.analytic:.6g}",
                    f"{test.numeric:.6g}",
                    f"central differences in {test.precision}",
                ),
                Evidence(
                    "relative error",
                    f"{test.error:.2g}",
                    f"below {self._most(test):g}",
                    f"largest along {test.tested} random directions",
                ),
            ],
            cause="Along some direction the loss changes otherwise than its gradient says; no function of the script "
            "with a backward pass of its own is off by itself."
            if of_model
            else f"What `{test.what}.backward` returns for argument {test.argument} is not the derivative of what "
            "`forward` computes.",
            fixes=[
                f"Derive the gradient of argument {max(test.argument, 0)} again, and check it:\n"
                + code(
                    "x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)",
                    f"torch.autograd.gradcheck({test.what if not of_model else 'function'}"
                    f"{'.apply' if not of_model else ''}, (x,))",
                ),
            ],
            unless="the gradient is another one on purpose, as that of a surrogate is.",
        )

    bad = Examples(
        lambda: {
            "a function": _run(_off),
            "its second argument": _run(replace(_off, argument=1)),
            "a small slip": _run(replace(_off, error=2.05e-4)),
            "the model alone": _run(GradientTest("the whole model", 6, 0, 0.02, 0.98, 1.0)),
            "both": _run(_off, GradientTest("the whole model", 6, 0, 0.02, 0.98, 1.0)),
            "in single precision": _run(replace(_off, precision="float32", error=0.051)),
            "a long name": _run(replace(_off, what="SoftmaxWithTemperatureAndLabelSmoothingFunction")),
        }
    )
    good = Examples(
        lambda: {
            "equal": _run(replace(_off, error=1e-9), GradientTest("the whole model", 6, 1, 1e-8, 1.0, 1.0)),
            "nearly equal": _run(replace(_off, error=1.95e-4)),
            "straight-through": _run(replace(_off, design="straight-through", error=1.0, numeric=0.0)),
            "reversed on purpose": _run(
                replace(_off, design="identity", error=2.0, analytic=-1.0),
                GradientTest("the whole model", 6, 0, 1.4, -0.4, 1.0),
            ),
            "rounding in single precision": _run(replace(_off, precision="float32", error=0.049)),
            "nothing smooth": _run(replace(_off, tested=0, kinks=24, error=float("nan"))),
            "not tested": tried(),
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


        class Swish(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * torch.sigmoid(x)

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                s = torch.sigmoid(x)
                return grad * s * (1 - s) * x  # fix: return grad * (s + x * s * (1 - s))


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

            def forward(self, x):
                return self.fc2(Swish.apply(self.fc1(x)))


        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
