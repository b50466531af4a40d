"""Losses that are kept with their graph from step to step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Binding, Code, Operation, Site, Value
from stethoscope.facts.flow import Kept
from stethoscope.facts.kept_losses import kept_losses
from stethoscope.facts.training import History, Loop
from stethoscope.rules.kept_sums import is_read_as_tensor, sums_beside
from stethoscope.rules.lines import fitting, insertion, line_of, place_in
from stethoscope.rules.sites import at, code, place_at, receiver

_BACKWARD = Site("train.py", 20, "", "loss.backward()")
_KEEPS = Site("train.py", 22, "", "total += loss")


def _run(what: str = "training loss", **facts: Any) -> History:
    usual: dict[str, Any] = {"marked": 60, "most_alive": 50, "oldest": 50, "share": 1.0}
    return History(
        steps=200,
        loop=Loop(backward_calls=200, backward_sites=(_BACKWARD,)),
        kept=(Kept(what, _BACKWARD, **(usual | facts)),),
    )


class GraphKeptAlive(Rule):
    """Losses are kept with their graph from step to step, so memory grows.

    ## What it sees
    A mark on the graph of each loss that was watched, and how many of the marks of earlier steps (or of earlier
    batches of a validation pass) are still there. The line is the one that adds up or collects the loss.
    ## Why it hurts
    A loss tensor holds on to every operation that it was made of. A running `total += loss` chains the graphs of all
    steps together, and none of them can be freed: memory grows with each step. In validation with gradients on, the
    inputs of every layer are held as well.
    ## How to fix it
    Add up numbers: `total += loss.item()`, or `total += loss.detach()` where waiting for an accelerator costs time.
    ## When it is not a fault
    Sums over a few steps that are backpropagated together, and a few losses kept in a queue, are not reported. In code
    it is possible at most where a loop goes over the parts of one step, over a few rounds, or over a number of rounds
    that is not known, and where gradients get graphs of their own. Nothing is said of a sum that is an object of a
    class, or that goes backward itself.
    ## Sources
    PyTorch documentation, "Frequently Asked Questions": "Don't accumulate history across your training loop".
    """

    severity = Severity.WARNING
    reads = ("loop",)

    fewest = Limit(10, unit="graphs alive at once", why="a queue of the last few losses holds little")
    share = Limit(0.9, unit="share of the losses since the oldest one", why="all are kept, and not the best few")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each line that losses come from."""
        if not seen.loop.backward_calls:
            yield self.cannot_tell("no backward pass was watched")
            return
        for kept in seen.kept:
            if kept.most_alive >= self.fewest and kept.share >= self.share:
                yield self._report(kept, seen)

    def _report(self, kept: Kept, seen: History) -> Finding:
        trained = kept.what == "training loss"
        line = kept.kept_at[0] if kept.kept_at else kept.site
        unit = "steps" if trained else "batches"
        return self.finding(
            f"the graphs of {kept.most_alive} {unit} were alive at once: losses are kept",
            sureness=Sureness.CERTAIN,
            place=place_at(line, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"graphs of earlier {unit} still alive, of those watched since the oldest"
                    if trained
                    else "graphs of earlier batches still alive within a validation pass",
                    f"{kept.most_alive} ({kept.share:.0%})",
                    "0 or 1",
                    f"the loss at {at(kept.site)}",
                )
            ],
            cause=f"{_doing(line)} keeps the loss tensor, and with it every operation that it was made of; memory "
            f"grows with each {'step' if trained else 'batch'}.",
            fixes=[_fix(kept, line)],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for losses that go backward and are added up, or listed, with their graph."""
        for binding, kept, is_certain in kept_losses(file):
            yield self._read(file, binding, kept, Sureness.CERTAIN if is_certain else Sureness.POSSIBLE)

    def _read(self, file: Code, binding: Binding, kept: Value, sureness: Sureness) -> Finding:
        total, loss = _total(file, binding), file.text(kept.at)
        return self.finding(
            fitting(f"`{total}` keeps the graph of every loss", "a sum keeps the graph of every loss"),
            sureness=sureness,
            place=place_in(file, binding.at),
            evidence=[
                Evidence(
                    f"what is added to `{total}` on {line_of(file, binding.at)}",
                    f"the tensor `{loss}`",
                    f"the number `{loss}.item()`",
                ),
            ],
            cause=f"`{loss}` carries the graph that made it, and so does the sum: it grows with each step. The "
            "backward pass frees activations at most: the graph itself lasts as long as the sum does.",
            fixes=_without_graph(file, binding, kept),
        )

    bad = Examples(
        lambda: {
            "a running total": _run(kept_at=(_KEEPS,)),
            "a list of losses": _run(kept_at=(Site("train.py", 22, "", "history.append(loss)"),)),
            "a total of each epoch": _run(most_alive=20, oldest=20),
            "next to the limits": _run(most_alive=10, oldest=11, share=0.92),
            "a validation pass": _run("validation loss", most_alive=12, oldest=12),
        }
    )
    good = Examples(
        lambda: {
            "a queue of nine": _run(most_alive=9, oldest=9),
            "the best ones": _run(most_alive=20, share=0.88),
        }
    )
    bad_code = {
        "a running sum": """
            def train(model, loader, optimizer):
                total = 0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    total += loss  # bad
                return total / len(loader)
            """,
        "times the number of samples, scaled, divided": """
            def train(model, loader, optimizer, scaler, parts):
                total, seen = 0.0, 0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    total += loss * x.size(0)  # bad
                    loss = loss / parts
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
                return total
            """,
        "scaled by apex": """
            from apex import amp
            import torch
            import torch.nn.functional as F

            def train(model, loader, optimizer):
                total = 0.0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    with amp.scale_loss(loss, optimizer) as scaled:
                        scaled.backward()
                    optimizer.step()
                    total += loss  # bad
                return total
            """,
        "a sum written out": """
            def train(model, loader, optimizer):
                running_loss = 0.0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    running_loss = running_loss + loss  # bad
                print(running_loss)
            """,
        "places of a list and of a dict": """
            def train(model, loader, optimizer, epochs):
                losses, seen = [0.0] * epochs, {"loss": 0.0}
                for epoch in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        loss = F.cross_entropy(model(x), y)
                        loss.backward()
                        optimizer.step()
                        losses[epoch] += loss * len(y)  # bad
                        seen["loss"] += loss  # bad
                return losses, seen
            """,
        "a number that an object keeps": """
            class Trainer:
                def __init__(self, model, optimizer):
                    self.model, self.optimizer = model, optimizer
                    self.total = 0.0

                def step(self, x, y):
                    self.optimizer.zero_grad()
                    loss = F.cross_entropy(self.model(x), y)
                    loss.backward()
                    self.optimizer.step()
                    self.total += loss  # bad

                def train(self, loader, epochs):
                    for epoch in range(epochs):
                        self.total = 0.0
                        for x, y in loader:
                            self.step(x, y)
            """,
        "the loss of a model's answer": """
            def train(model, loader, optimizer):
                total = 0
                for batch in loader:
                    outputs = model(**batch)
                    outputs.loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    total += outputs.loss  # bad
                return total / len(loader)
            """,
        "a mean over processes": """
            def train(model, loader, optimizer, num_processes):
                total = 0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    if num_processes > 1:
                        torch.distributed.all_reduce(loss)
                        loss = loss / num_processes
                    total += loss  # bad
                return total / len(loader)
            """,
    }
    good_code = {
        "goes backward in another file": """
            # file: learning.py
            import torch.nn.functional as F

            def learn(model, optimizer, x, y, rate, rounds, scale):
                noisy, doubled = x * rate, x * scale
                optimizer.zero_grad()
                loss = F.cross_entropy(model(noisy + doubled), y) / rounds
                loss.backward()
                optimizer.step()
                return loss.item()
            # file: train.py
            from learning import learn

            total = 0
            for x, y in data:
                total += learn(model, optimizer, x, y, 1, 1, 1)
            """,
        "an array of numbers": """
            import numpy as np

            def train(model, loader, optimizer, epochs):
                losses = np.zeros(epochs)
                for epoch in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        loss = F.cross_entropy(model(x), y)
                        loss.backward()
                        optimizer.step()
                        losses[epoch] += loss
                return losses
            """,
        "a number that is set back after each few steps": """
            class Trainer:
                def __init__(self, model, optimizer):
                    self.model, self.optimizer = model, optimizer
                    self.total = 0.0

                def step(self, x, y):
                    self.optimizer.zero_grad()
                    loss = F.cross_entropy(self.model(x), y)
                    loss.backward()
                    self.optimizer.step()
                    self.total += loss

                def tell(self):
                    print(float(self.total))
                    self.total = 0.0

                def train(self, loader):
                    for i, (x, y) in enumerate(loader):
                        self.step(x, y)
                        if i % 10 == 9:
                            self.tell()
            """,
        "numbers that an object keeps, times a weight of the loss": """
            class Trainer:
                def __init__(self, model, optimizer):
                    self.model, self.optimizer = model, optimizer
                    self.total = 0.0

                def step(self, x, y, weight):
                    self.optimizer.zero_grad()
                    loss = F.cross_entropy(self.model(x), y)
                    scaled = loss * weight
                    scaled.backward()
                    self.optimizer.step()
                    self.total += loss.item() * weight

                def train(self, loader):
                    for x, y, weight in loader:
                        self.step(x, y, weight)
            """,
        "a dict of each round, and one that is set back": """
            def train(model, loader, optimizer):
                seen = {"loss": 0.0}
                for i, (x, y) in enumerate(loader):
                    optimizer.zero_grad()
                    here = {"loss": 0.0}
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    here["loss"] += loss
                    seen["loss"] += loss
                    if i % 10 == 9:
                        print(here, seen["loss"].item() / 10)
                        seen["loss"] = 0.0
            """,
        "another answer's loss": """
            def train(model, teacher, loader, optimizer):
                total = 0
                for batch in loader:
                    with torch.no_grad():
                        outputs = teacher(**batch)
                    answers = model(**batch)
                    answers.loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    total += outputs.loss
                return total / len(loader)
            """,
        "set back after each step of several batches": """
            def train(model, loader, optimizer):
                running = 0
                for i, (x, y) in enumerate(loader):
                    loss = F.cross_entropy(model(x), y)
                    running += loss
                    loss.backward()
                    if i % 4 == 3:
                        optimizer.step()
                        optimizer.zero_grad()
                        print(running.item())
                        running = 0
            """,
        "numbers": """
            def train(model, loader, optimizer):
                total = 0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                return total
            """,
        "numbers, times those by which the loss was scaled": """
            def train(model, loader, optimizer, weight):
                parts, total, weighted = 2, 0, 0.0
                for i, (x, y) in enumerate(loader):
                    loss = F.cross_entropy(model(x), y)
                    loss = weight * loss / parts
                    loss.backward()
                    if i % parts == parts - 1:
                        optimizer.step()
                        optimizer.zero_grad()
                    total += loss.item() * parts
                    weighted += loss.item() * weight
                return total, weighted
            """,
        "a sum that goes backward": """
            def train(model, loader, optimizer):
                total = 0
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    total += loss
                total.backward()
                optimizer.step()
            """,
        "a sum of terms": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    total = 0
                    for head in model.heads:
                        loss = F.cross_entropy(head(x), y)
                        total += loss
                    total.backward()
                    optimizer.step()
            """,
        "detached first": """
            def train(model, loader, optimizer):
                total = 0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    loss = loss.detach()
                    total += loss
                return total
            """,
    }
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
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        total = 0.0
        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                total += loss  # fix: total += loss.item()
        print(f"mean loss {float(total) / (8 * len(loader)):.4f}")
        """)


def _doing(line: Site | None) -> str:
    return f"`{line.text}` at {line}" if line and line.text and len(line.text) <= 60 else f"The code at {at(line)}"


def _fix(kept: Kept, line: Site | None) -> Fix:
    name = receiver(kept.site, "backward", "loss")
    text = line.text if line and kept.kept_at else ""
    edit = re.sub(rf"\b{re.escape(name)}\b(?!\s*=|\.)", f"{name}.item()", text)
    if text and edit != text:
        return Fix(f"Keep the number, and let the graph go:\n{code(edit)}", edit=edit)
    lines = (
        (f"total += {name}.item()",)
        if kept.what == "training loss"
        else ("with torch.no_grad():", "    validate(model)")
    )
    return Fix(f"Keep numbers, and let the graphs go:\n{code(*lines)}")


def _without_graph(file: Code, binding: Binding, kept: Value) -> list[Fix]:
    """Adding tensors without their graph, and adding numbers; the first alone where the sum is read as a tensor."""
    edits = (insertion(file, kept.at.end_line, kept.at.end_column, ".detach()"),)
    tensors, numbers = (code(_added(file, binding, kept, how)) for how in (".detach()", ".item()"))
    beside = [f"`{name}`" for name in sums_beside(file, binding, kept)]
    more = f" here and in {' and '.join(beside)}, which {'hold' if beside[1:] else 'holds'} the same graphs"
    what = f"Let the graph go,{more}, and keep a tensor:\n" if beside else "Let the graph go and keep a tensor:\n"
    first = Fix(f"{what}{tensors}", safe=True, edits=edits)
    if is_read_as_tensor(file, binding, _total(file, binding)):
        return [first]
    return [first, Fix(f"Or, where nothing asks for a tensor, add the number:\n{numbers}")]


def _total(file: Code, binding: Binding) -> str:
    """A sum as it is written."""
    return file.text(binding.at) if binding.name.endswith("[]") else binding.name


def _added(file: Code, binding: Binding, kept: Value, how: str) -> str:
    """The line that adds up, with the loss let go of."""
    value, total = binding.value, _total(file, binding)
    last = value.operands[-1] if isinstance(value, Operation) else kept
    text = file.text(last.at)
    place = kept.at.end_column - last.at.column
    one_line = last.at.line == last.at.end_line and text.isascii()
    return f"{total} += " + (text[:place] + how + text[place:] if one_line else f"{file.text(kept.at)}{how}")
