"""A run that seeds one generator of random numbers, and draws from another."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.loops import loops_of
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_TORCH = ("torch.manual_seed", "torch.random.manual_seed")
_NUMPY = frozenset({
    "rand", "randn", "randint", "random", "choice", "shuffle", "permutation", "normal", "uniform", "standard_normal",
    "random_sample", "beta", "binomial",
})  # fmt: skip
_PYTHON = frozenset({"random", "randint", "choice", "choices", "shuffle", "sample", "uniform", "gauss", "randrange"})
_LIBRARIES = {
    "NumPy": ("numpy.random.", _NUMPY, "numpy.random.seed(0)"),
    "Python's `random`": ("random.", _PYTHON, "random.seed(0)"),
}


class PartialSeed(Rule):
    """Torch is seeded, and random numbers are drawn from NumPy or Python's `random`, which are not.

    ## What it sees
    `torch.manual_seed(...)` in a file that trains, and draws by `np.random.` or `random.`, which it seeds neither
    itself nor by the files that it imports.
    ## Why it hurts
    Each library has a generator of its own. Order, splits or augmentations drawn from the others differ from run to
    run, though the file seems to settle them.
    ## How to fix it
    Seed all of them, once: `random.seed(0)`, `np.random.seed(0)`, `torch.manual_seed(0)`.
    ## When it is not a fault
    Numbers that are to differ between runs, such as a port or a name. `nondeterministic` compares two runs.
    ## Sources
    PyTorch documentation, "Reproducibility: Controlling sources of randomness".
    """

    on_trial = True
    severity = Severity.NOTE

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Compare what is seeded with what is drawn."""
        seeds = file.calls_of(*_TORCH)
        trains = seeds and any(loop.of("step") for loop in loops_of(file))
        if not trains or any(_seeds_more(one) for one in (file, *file.linked.saying("seed", "SEED", "Seed"))):
            return
        for library, (prefix, names, line) in _LIBRARIES.items():
            drawn = next(
                (call for call in file.calls if call.receiver is None and call.name.startswith(prefix)
                 and call.name.removeprefix(prefix) in names), None,
            )  # fmt: skip
            if drawn is not None:
                yield self._read(file, seeds[0], drawn, library, line)

    def _read(self, file: Code, seed: Call, drawn: Call, library: str, line: str) -> Finding:
        return self.finding(
            fitting(f"torch is seeded, and {library} is not", "one of two generators is seeded"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, drawn.at),
            evidence=[
                Evidence(f"seeds of the generator that {line_of(file, drawn.at)} draws from", 0, 1)
            ],
            cause=f"`torch.manual_seed` leaves {library} as it is: what is drawn there differs from run to run.",
            fixes=["Seed it, too:\n" + code(line)],
            unless="it is to differ between runs.",
            chain=[
                Link(place_in(file, seed.at), "torch is seeded"),
                Link(place_in(file, drawn.at), f"{library} draws, unseeded"),
            ],
        )  # fmt: skip

    bad_code = {
        "an order": """
            import numpy as np
            import random
            import torch

            torch.manual_seed(0)
            order = np.random.permutation(100)  # bad
            words = random.sample(["a", "b"], 1)  # bad

            def train(model, x, optimizer):
                for start in order:
                    optimizer.zero_grad()
                    model(x[start]).sum().backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "all of them": """
            import numpy as np
            import random
            import torch

            def seed():
                torch.manual_seed(0)
                np.random.seed(0)
                random.seed(0)

            order = np.random.permutation(100)
            words = random.sample(["a", "b"], 1)

            def train(model, x, optimizer):
                for start in order:
                    optimizer.zero_grad()
                    model(x[start]).sum().backward()
                    optimizer.step()
            """,
        "by a helper": """
            import numpy as np
            import torch
            from project import set_seed

            set_seed(0)
            torch.manual_seed(0)
            order = np.random.permutation(100)

            def train(model, x, optimizer):
                for start in order:
                    optimizer.zero_grad()
                    model(x[start]).sum().backward()
                    optimizer.step()
            """,
        "a generator of one's own": """
            import numpy as np
            import torch

            torch.manual_seed(0)
            order = np.random.default_rng(0).permutation(100)

            def train(model, x, optimizer):
                for start in order:
                    optimizer.zero_grad()
                    model(x[start]).sum().backward()
                    optimizer.step()
            """,
        "a file that trains nothing": """
            import numpy as np
            import torch

            torch.manual_seed(0)
            order = np.random.permutation(100)
            """,
    }


def _seeds_more(code: Code) -> bool:
    """Whether a file calls anything else that may seed: it has the word in its name."""
    return bool(code.calls_named(_may_seed)) or any("seed" in function.name.lower() for function in code.functions)


def _may_seed(name: str) -> bool:
    return "seed" in name.lower().rpartition(".")[2] and not name.startswith("torch.")
