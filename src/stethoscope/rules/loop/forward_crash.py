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

LONGEST_TITLE = 72
SURE_TO_FIT = "What fits"
NOT_TRIED = ("backward", "device", "memory", "use")
"""Where a change is known by the exception's words alone, and was not seen to compute."""


def _a(error: str) -> str:
    return f"{'an' if error[:1] in 'AEIOU' else 'a'} {error}"


class ForwardCrash(Rule):
    """The model, or its loss, fails on the batch: which layer, what it takes, and what it was given.

    ## What it sees
    The exception that ended a forward pass, a loss or a backward pass, and in its traceback the innermost module that
    was running, with its arguments. Where an operation on a line of yours failed, what it was given is worked out once
    more on tensors without values; so is a compiled model, whose traceback shows none of its frames. A change is
    proposed as one that fits only if the layer, the operation or the block computes after it. A failed loader,
    `load_state_dict` or optimizer is explained where its words are known.
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
        named = f"`{crash.kind}`" if crash.kind else "the script"
        where = f"`{crash.module}` ({crash.kind})" if crash.module else named
        title = {
            "layer": f"{where} fails on what it is given",
            "loss": f"{where} fails on what it is given",
            "call": f"{where} is called with other arguments than it takes",
            "code": f"{where} raises {_a(crash.error)}",
            "use": f"{where} raises {_a(crash.error)}",
            "backward": f"the backward pass raises {_a(crash.error)}",
            "device": f"{where} asks for a device that is not there",
            "memory": f"{where} runs out of memory",
            "data": f"{where} gives samples of which no batch can be made",
            "training": f"training raises {_a(crash.error)}",
        }[crash.during]
        if len(title) > LONGEST_TITLE:
            title = title.replace(where, "a layer", 1)
        shapes = " and ".join(
            f"{shape} {dtype}".strip() for shape, dtype in zip(crash.input_shapes, crash.input_dtypes, strict=True)
        )
        evidence = [Evidence("exceptions", f"1, {crash.error}: {crash.message}", "0")]
        if shapes and crash.expected:
            evidence.insert(0, Evidence("given, shape and type", shapes, crash.expected))
        elif crash.expected and crash.during == "data":
            evidence.insert(0, Evidence("samples of a batch", "of different shapes", crash.expected))
        elif crash.expected:
            evidence.insert(0, Evidence("parameters", "others", crash.expected))
        elif shapes:
            evidence.insert(0, Evidence("given, shape and type", shapes, "what its code is written for"))
        called = SURE_TO_FIT if crash.during not in NOT_TRIED else "A change that helps"
        fixes = [f"{called}:\n{code(*crash.fix.splitlines())}"] if crash.fix else []
        if crash.during in ("layer", "code") and not crash.fix:
            fixes.append("Print what arrives, right before that line:\n" + code("print(x.shape, x.dtype, x.device)"))
        elif crash.during == "loss" and not crash.fix:
            shown = code("print(output.shape, output.dtype, target.shape, target.dtype)")
            fixes.append("Print what is compared, right before that line:\n" + shown)
        elif crash.during == "data" and crash.expected and not crash.fix:
            fixes.append(
                "Bring samples to one size where they are made, or pad them in the loader's `collate_fn`. With "
                "`num_workers=0` the exception names their shapes."
            )
        elif not fixes:
            fixes.append(
                "`python -m pdb -c continue` before your script's name stops on that line; look at its values."
            )
        return self.finding(
            title,
            sureness=Sureness.CERTAIN,
            place=place_at(crash.site, module=crash.module or None),
            evidence=evidence,
            cause=self._cause(crash),
            fixes=fixes,
        )

    @staticmethod
    def _cause(crash: Crash) -> str:
        if crash.expected and crash.during == "layer":
            fits = "" if crash.why else "; what arrives is something else"
            return f"This layer takes {crash.expected}{fits}." + (f" {crash.why}" if crash.why else "")
        if crash.why:
            return crash.why
        if crash.expected and crash.during == "loss":
            return f"It takes {crash.expected}; what arrives is something else."
        return f"{'It' if crash.module or crash.kind else 'A step'} ends with {_a(crash.error)}, whose words are shown."

    bad = Examples(
        lambda: {
            "a narrow layer": tried(crash=_narrow),
            "a loss": tried(crash=replace(_narrow, module="", kind="cross_entropy", during="loss", fix="")),
            "no tensors": tried(
                crash=Crash("ValueError", "too many values to unpack (expected 2)", "", "Net", during="code")
            ),
            "a call": tried(
                crash=Crash(
                    "TypeError",
                    "Net.forward() missing 1 required positional argument: 'mask'",
                    "",
                    "Net",
                    expected="forward(x, mask)",
                    during="call",
                    why="Its `forward` has other parameters.",
                )
            ),
            "backward": tried(crash=Crash("RuntimeError", "Trying to backward a second time", during="backward")),
            "ragged samples of a worker": tried(
                crash=Crash(
                    "RuntimeError",
                    "Trying to resize storage that is not resizable",
                    kind="Rows",
                    expected="tensors of one shape",
                    during="data",
                    why="Samples of a batch have different sizes, and cannot be stacked.",
                )
            ),
            "saved weights of other sizes": tried(
                crash=Crash(
                    "RuntimeError",
                    "size mismatch for weight",
                    kind="Linear",
                    input_shapes=((2, 4),),
                    input_dtypes=("float32",),
                    expected="(2, 3)",
                    during="use",
                    why="`weight` was saved as (2, 4), and is (2, 3) in this model.",
                )
            ),
            "no such device": tried(crash=Crash("AssertionError", "Torch not compiled with CUDA", during="device")),
            "the user's own code": tried(crash=Crash("KeyError", "'pixels'", during="training")),
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
