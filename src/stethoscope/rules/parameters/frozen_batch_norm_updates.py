"""A frozen backbone whose batch normalization goes on following the batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.freezing import frozen_in_train_mode
from stethoscope.facts.norms import BatchNorm
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, Layer, Parameter
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.lines import fitting, line_of, place_in, way_to
from stethoscope.rules.sites import code, place_at


def _run(loss: ArrayLike, drift: float, trained_before: bool = False, looks: int = 6, **changes: Any) -> History:
    """A frozen layer and its frozen batch normalization in train mode, and a head that is trained."""
    seen = run(loss, weights=2)
    frozen = replace(seen.parameters[0], trainable=trained_before, optimizer=0 if trained_before else -1)
    scale = Parameter("1.weight", (64,), trainable=False, layer=2)
    norm = BatchNorm(2, 0.1, True, np.arange(looks) * 20, np.full(looks, 16), np.zeros(looks), looks, drift)
    layer = Layer("1", "BatchNorm1d", order=1, parameters=(2,))
    return replace(
        seen,
        layers=(*seen.layers, layer),
        parameters=(frozen, seen.parameters[1], replace(scale, **changes)),
        norms=(norm,),
    )


class FrozenBatchNormUpdates(Rule):
    """A frozen backbone is in train mode, so its batch normalization keeps changing.

    ## What it sees
    Batch normalization layers in train mode whose own parameters, and those of all layers before them, are set not
    to train, while layers behind them do; and how far their running statistics moved while that went on.
    In code: a network with batch normalization all of whose parameters are frozen, and that a training loop puts into
    train mode with nothing of it in eval mode; a note, since the drift is not seen.
    ## Why it hurts
    `requires_grad_(False)` stops gradients and nothing else. In train mode each batch is still normalized with its own
    statistics, and the running ones drift towards the new data: the features that were to be kept are not kept, and
    in evaluation they are others than the head was trained on.
    ## How to fix it
    Put the frozen part into eval mode after every `model.train()`.
    ## When it is not a fault
    When the statistics are meant to adapt to the new data. A drift that is small is a note.
    ## Sources
    PyTorch documentation, "Autograd mechanics": `requires_grad` and evaluation mode are independent of each other.
    Keras documentation, "Transfer learning and fine-tuning" (batch normalization must stay in inference mode).
    """

    on_trial = True
    severity = Severity.WARNING
    explains = ("batch-norm-statistics-unsettled", "batch-norm-tiny-batch", "train-eval-mismatch")
    reads = ("activations", "losses")

    drift = Limit(
        0.3,
        unit="change that the moved statistics make / size of a normalized value",
        why="batches of the same data move them by 0.05 to 0.15; new data by 0.5 and more",
    )
    fewest_looks = Limit(3, unit="looks", why="one pass in train mode may be meant to set them")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for batch normalization in train mode within a frozen part."""
        norms = [n for n in seen.norms if n.keeps_statistics and n.steps.size >= self.fewest_looks]
        if not norms:
            yield self.cannot_tell("no batch normalization was seen in train mode often enough")
            return
        frozen = [n for n in norms if n.frozen_looks >= self.fewest_looks and _is_frozen(seen, n)]
        if frozen:
            yield self._report(seen, frozen)

    def _report(self, seen: History, frozen: list[BatchNorm]) -> Finding:
        worst = max(frozen, key=lambda n: n.drift)
        layer = seen.layers[worst.layer]
        progress = progress_of(seen)
        far = worst.drift >= self.drift
        name = layer.name.rpartition(".")[0].partition(".")[0] if "." in layer.name else ""
        owner = f"model.{name}" if name and not name.isdigit() else "backbone"
        return self.finding(
            f"{len(frozen)} frozen batch normalizations keep moving their statistics"
            if len(frozen) > 1
            else f"`{layer.name}` is frozen and keeps moving its statistics"[:72],
            severity=Severity.WARNING if far else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place_at(
                None, steps=(int(worst.steps[-worst.frozen_looks]), max(seen.steps - 1, 0)), module=layer.name
            ),
            evidence=[
                Evidence(
                    f"change of the normalized values of `{layer.name}` since it was frozen, of their size",
                    f"{worst.drift:.0%}",
                    "0 %",
                    "running mean and variance, all channels",
                ),
                Evidence("frozen batch normalization layers in train mode", len(frozen), 0),
                *(
                    [Evidence("training loss, start / end", f"{progress.start:.3g} / {progress.end:.3g}", "falls")]
                    if progress.known
                    else []
                ),
            ],
            cause="Their parameters do not train, but the layers are in train mode: each batch is normalized with its "
            "own statistics, and the running ones follow it.",
            fixes=[Fix(f"Put the frozen part into eval mode, after each `model.train()`:\n{code(f'{owner}.eval()')}")],
            unless="the statistics are meant to adapt to the new data.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for frozen networks in train mode."""
        for frozen in frozen_in_train_mode(file):
            yield self.finding(
                fitting(f"`{frozen.name}` is frozen, and its batch normalization is not", "frozen, but in train mode"),
                severity=Severity.NOTE,
                sureness=Sureness.LIKELY,
                place=place_in(file, frozen.at),
                evidence=[
                    Evidence(f"parts of `{frozen.name}` that are put into eval mode for training", 0,
                             "its batch normalization", f"frozen on {line_of(file, frozen.at)}")
                ],
                cause="`requires_grad` stops gradients and nothing else: in train mode the running statistics follow "
                "the new data.",
                fixes=["Put the normalization into eval mode, behind each `train()`:\n"
                       + code(f"for module in {frozen.name}.modules():",
                              "    if isinstance(module, nn.BatchNorm2d):", "        module.eval()")],
                unless="the statistics are meant to adapt to the new data.",
                chain=[Link(place_in(file, frozen.at), "is frozen"),
                       *way_to(file, frozen.train, "is put into train mode")],
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "drifts far": _run(falling(2.3, 0.5), 0.9),
            "a drift next to the limit": _run(flat(1.0), 0.31),
            "a note next to the limit": _run(flat(1.0), 0.29),
            "three looks": _run(flat(1.0), 0.9, looks=3),
        }
    )
    good = Examples(
        lambda: {
            "two looks": _run(flat(1.0), 0.9, looks=2),
            "the normalization is trained": _run(flat(1.0), 0.9, trainable=True),
            "a layer before it is trained": _run(flat(1.0), 0.9, trained_before=True),
        }
    )
    bad_code = {
        "a backbone of torchvision": """
            import torch
            from torch import nn
            from torchvision import models

            def train(loader):
                model = models.resnet18(weights="DEFAULT")
                for p in model.parameters():  # bad
                    p.requires_grad = False
                model.fc = nn.Linear(512, 2)
                optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
                for x, y in loader:
                    model.train()
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "its normalization in eval mode": """
            import torch
            from torch import nn
            from torchvision import models

            def train(loader):
                model = models.resnet18(weights="DEFAULT")
                model.requires_grad_(False)
                model.fc = nn.Linear(512, 2)
                optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
                for x, y in loader:
                    model.train()
                    for module in model.modules():
                        if isinstance(module, nn.BatchNorm2d):
                            module.eval()
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "no normalization, and nothing frozen": """
            import torch
            from torch import nn
            from torchvision import models

            def train(loader):
                model, other = models.vgg16(), models.resnet18()
                model.requires_grad_(False)
                optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
                for x, y in loader:
                    model.train()
                    other.train()
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(other(model(x)), y).backward()
                    optimizer.step()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 8 - 1
        old, new = torch.tensor(data.target < 5), torch.tensor(data.target >= 5)
        labels = torch.tensor(data.target) % 5

        def batches(x, y, size):
            order = torch.randperm(len(x))
            return ((x[i], y[i]) for i in order.split(size) if len(i) == size)

        backbone = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32))
        model = nn.Sequential(backbone, nn.ReLU(), nn.Linear(32, 5))

        def train(optimizer, x, y, size, epochs, frozen):
            for epoch in range(epochs):
                model.train()
                # add: if frozen: backbone.eval()
                for a, b in batches(x, y, size):
                    loss = nn.functional.cross_entropy(model(a), b)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            model.eval()

        train(torch.optim.Adam(model.parameters(), lr=3e-3), images[old], labels[old], 32, 6, False)
        head, model[2] = model[2], nn.Linear(32, 5)
        backbone.requires_grad_(False)
        train(torch.optim.Adam(model[2].parameters(), lr=3e-3), 2 * images[new] + 1, labels[new], 8, 6, True)
        model[2] = head
        print(f"loss {nn.functional.cross_entropy(model(images[old]), labels[old]).item():.4f}")
        """)  # noqa: E501


def _is_frozen(seen: History, norm: BatchNorm) -> bool:
    """Whether its parameters and all before it are set not to train, in a model that is trained behind it."""
    layer = seen.layers[norm.layer]
    own = [seen.parameters[i] for i in layer.parameters]
    if not own or any(p.trainable for p in own) or layer.order < 0:
        return False
    alike = [
        (seen.layers[p.layer].order, p)
        for p in seen.parameters
        if 0 <= p.layer < len(seen.layers) and seen.layers[p.layer].model == layer.model
    ]
    before = [p for order, p in alike if 0 <= order < layer.order]
    trained = [order for order, p in alike if p.trainable and p.optimizer >= 0]
    return bool(before) and not any(p.trainable for p in before) and bool(trained)
