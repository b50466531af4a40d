"""The model or its loss raises an exception on the batch that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.model import Crash
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code, place_at

_narrow = Crash(
    "RuntimeError",
    "mat1 and mat2 shapes cannot be multiplied (32x784 and 64x128)",
    "fc1",
    "Linear",
    Site("net.py", 14, "Net.forward", "x = self.fc1(x)"),
    ((32, 784),),
    ("float32",),
    "(..., 64)",
    "nn.Linear(784, 128)",
)


class ForwardCrash(Rule):
    """The model, or its loss, fails on the batch: which layer, what it takes, and what it was given.

    ## What it sees
    The exception that ended a forward pass or a loss, and in its traceback the innermost module that was running, with
    its arguments.
    ## Why it hurts
    Nothing can be learned before the shapes fit.
    ## How to fix it
    Change the layer to what arrives, or what arrives to the layer: `flatten` before a linear layer, `permute` where
    channels come last, `.float()` and `.long()` for types, `.to(device)`.
    ## When it is not a fault
    It is one.
    ## Sources
    Islam et al., "A Comprehensive Study on Deep Learning Bug Characteristics", FSE 2019 (most bugs that crash are
    unaligned shapes and types).
    """

    explains = ("missing-backward", "missing-optimizer-step")

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Say what the exception means."""
        crash = seen.preflight.crash
        if crash is not None:
            yield self._report(crash)

    def _report(self, crash: Crash) -> Finding:
        where = f"`{crash.module}` ({crash.kind})" if crash.module else f"`{crash.kind}`"
        shapes = " and ".join(
            f"{shape} {dtype}" for shape, dtype in zip(crash.input_shapes, crash.input_dtypes, strict=True)
        )
        title = f"{where} fails on what it is given"
        fixes = [f"What fits:\n{code(crash.fix)}"] if crash.fix else []
        return self.finding(
            title if len(title) <= 72 else "a layer fails on what it is given",
            sureness=Sureness.CERTAIN,
            place=place_at(crash.site, module=crash.module or None),
            evidence=[
                Evidence("given, shape and type", shapes or "0 tensors", crash.expected or "what it can compute with"),
                Evidence("exception", f"{crash.error}: {crash.message}", "none"),
            ],
            cause=f"{'This layer takes ' + crash.expected if crash.expected else 'It cannot compute with this'}; what "
            "arrives has another shape, type or place."
            if crash.input_shapes
            else f"It raised a {crash.error}.",
            fixes=[*fixes, "Print what arrives, right before that line:\n" + code("print(x.shape, x.dtype, x.device)")],
        )

    bad = Examples(
        lambda: {
            "a narrow layer": tried(crash=_narrow),
            "a loss": tried(crash=replace(_narrow, module="", kind="cross_entropy", expected="", fix="")),
            "no tensors": tried(crash=Crash("ValueError", "too many values to unpack (expected 2)", "", "Net")),
            "a long name": tried(
                crash=replace(_narrow, module="encoder.layers.11.attention.self.scores.query.projection")
            ),
        }
    )
    good = Examples(lambda: {"nothing failed": tried()})
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.images, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]  # 64 values a picture
        # add: layers.insert(0, nn.Flatten())
        model = nn.Sequential(*layers)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {loss.item():.4f}")
        """)
