"""Losses that are kept with their graph from step to step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.flow import Kept
from stethoscope.facts.training import History, Loop
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
    Sums over a few steps that are backpropagated together, and a few losses kept in a queue, are not reported.
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
