"""Layers and parameters that the model holds in plain lists, where `parameters()` does not see them."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.model import Hidden, Structure
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code, place_at

REGISTERS = {"list": "nn.ModuleList(%s)", "tuple": "nn.ModuleList(%s)", "set": "nn.ModuleList(%s)",
             "dict": "nn.ModuleDict(%s)", "tensor": "nn.Parameter(%s)"}  # fmt: skip


def _run(*hidden: Hidden) -> History:
    return tried(structure=Structure(hidden=hidden))


_layers = Hidden("", "layers", "list", "3 Linear", values=12_000)


class UnregisteredModules(Rule):
    """Layers or parameters are kept in a plain list, dict or tensor, so that `parameters()` misses them.

    ## What it sees
    Among the attributes of the model's modules there are trainable tensors that `model.parameters()` does not give, on
    which the loss depends, and which no optimizer holds.
    ## Why it hurts
    `nn.Module` registers a layer when it is assigned to an attribute, and not when it is put into a list. What is not
    registered is not trained, not moved by `.to(device)`, not switched by `.eval()`, and not saved by `state_dict()`.
    ## How to fix it
    Use `nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList`, or `nn.Parameter`.
    ## When it is not a fault
    A teacher or a frozen feature extractor that is hidden on purpose: switch its gradients off, and nothing is
    reported. Layers in a list that an optimizer is given by hand are trained; that they are not saved is a note.
    ## Sources
    PyTorch documentation, `torch.nn.ModuleList`. Islam et al., "A Comprehensive Study on Deep Learning Bug
    Characteristics", FSE 2019.
    """

    explains = (
        "parameters-not-in-optimizer", "disconnected-parameters", "underfitting", "no-gain-over-baseline",
        "loss-not-decreasing", "cannot-overfit-batch", "batch-leakage",
    )  # fmt: skip

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what the model hides."""
        structure = seen.preflight.structure
        if structure is None:
            yield self.cannot_tell(seen.preflight.why_not("structure"))
            return
        for hidden in structure.hidden:
            if hidden.used:
                yield self._report(hidden)

    def _report(self, hidden: Hidden) -> Finding:
        holder = f"{hidden.owner}.{hidden.attribute}" if hidden.owner else hidden.attribute
        title = f"`self.{hidden.attribute}` hides {hidden.values:,} trainable values from `parameters()`"
        is_layer = hidden.what.split(" ")[-1] != "Tensor"
        what = "layers" if is_layer else "tensors"
        kept = f"a plain {hidden.kind}" if hidden.kind != "tensor" else "a plain tensor"
        register = REGISTERS.get(hidden.kind, "nn.ModuleList(%s)") % "..."
        if not is_layer and hidden.kind != "tensor":
            register = "nn.ParameterList(...)"
        trained = (
            "An optimizer holds them, so they are trained, but neither saved nor moved with the model."
            if hidden.trained
            else "No optimizer holds them, so they stay as they were drawn."
        )
        return self.finding(
            title if len(title) <= 72 else f"{hidden.values:,} trainable values are hidden from `parameters()`",
            severity=Severity.NOTE if hidden.trained else Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place_at(None, module=holder),
            evidence=[
                Evidence(f"in `{holder}`, {kept}", hidden.what, f"in an {register.replace('...', '')[:-2]}"),
                Evidence(
                    "trainable values that the loss depends on and `parameters()` misses", f"{hidden.values:,}", 0,
                    "read off the graph of the loss",
                ),
            ],
            cause=f"`{holder}` is {kept}, which `nn.Module` does not look into: its {what} are not registered. "
            + trained,
            fixes=["Register them, before the optimizer is made:\n" + code(f"self.{hidden.attribute} = {register}")],
            unless="they are hidden on purpose and not to be trained; then switch their gradients off.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "layers in a list": _run(_layers),
            "in a dict of a part": _run(Hidden("encoder", "heads", "dict", "2 Linear, Conv2d", 900)),
            "a plain tensor": _run(Hidden("", "scale", "tensor", "Tensor", 16)),
            "tensors in a list": _run(Hidden("", "weights", "list", "3 Tensor", 300)),
            "trained all the same": _run(Hidden("", "layers", "list", "3 Linear", 12_000, trained=True)),
            "a long name": _run(Hidden("", "convolutional_blocks_of_the_encoder", "list", "3 Conv2d", 12_000)),
        }
    )
    good = Examples(
        lambda: {
            "nothing hidden": _run(),
            "not used": _run(Hidden("", "teacher", "list", "Net", 12_000, used=False)),
            "not read": tried(),
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
                layers = [nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)]
                self.layers = layers  # fix: self.layers = nn.ModuleList(layers)
                self.out = nn.Linear(16, 10)

            def forward(self, x):
                for layer in self.layers:
                    x = torch.relu(layer(x))
                return self.out(x)


        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
