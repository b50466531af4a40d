"""A few samples cannot be memorised."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.core.text import number
from stethoscope.facts.model import Memory
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code


def _run(*memory: Memory) -> History:
    return tried(memory=memory)


_stuck = Memory(2, 300, 2.31, 1.4, 0.5, by="Adam, lr=0.01")
_known = Memory(1, 12, 2.31, 0.05, 1.0, learned=True, by="the script's optimizer")


class CannotOverfitBatch(Rule):
    """The model cannot learn a few samples by heart, which every network that can learn a task can do.

    ## What it sees
    Copies of the model are trained on 1, 2 and 16 samples, again and again, without dropout and weight decay, with the
    script's own optimizer and with two others, and the loss stays far above its lowest value.
    ## Why it hurts
    Whatever keeps a network from memorising two samples keeps it from learning two thousand: a loss that does not fit,
    a graph that is cut, an activation that cannot give the answer, units that are dead.
    ## How to fix it
    Look at what else is reported: it is usually the cause. Otherwise shorten the model until it learns one sample, and
    add the parts again one by one.
    ## When it is not a fault
    Losses that cannot reach a low value (noise in the model, contradicting targets) are not judged.
    ## Sources
    A. Karpathy, "A Recipe for Training Neural Networks" (2019): "overfit one batch". J. Tobin, "Troubleshooting Deep
    Neural Networks" (2019).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what the copies could not learn."""
        memory = seen.preflight.memory
        if not memory:
            yield self.cannot_tell(seen.preflight.why_not("memory"))
            return
        stuck = [each for each in memory if not each.learned and not each.falling]
        if stuck and min(stuck, key=lambda each: each.samples).samples <= 2:
            yield self._report(min(stuck, key=lambda each: each.samples), memory)

    def _report(self, stuck: Memory, memory: tuple[Memory, ...]) -> Finding:
        what = "one sample" if stuck.samples == 1 else f"{stuck.samples} samples"
        finite = stuck.end == stuck.end
        end = number(float(f"{stuck.end:.3g}")) if finite else "not a number"
        return self.finding(
            f"{what} cannot be memorised: the loss is {end} in the end",
            evidence=[
                Evidence(
                    f"loss on {what}, after {stuck.steps} steps",
                    end,
                    f"near {number(float(f'{stuck.floor:.3g}'))}",
                    f"{number(float(f'{stuck.start:.3g}'))} before; best of three optimizers" if finite else "",
                ),
                *(
                    Evidence(f"the same with {each.samples}", f"{each.end:.3g}", "near 0")
                    for each in memory
                    if each is not stuck and each.end == each.end
                ),
            ],
            cause="Copies without dropout and weight decay were trained on nothing else and did not learn it: "
            "something in the model or its loss keeps the answer from being reached.",
            fixes=[
                "Follow one sample by hand:\n" + code("out = model(x[:1])", "print(out, y[:1], loss_fn(out, y[:1]))"),
                "Or take parts out of the model until it learns one sample, and add them again one by one.",
            ],
            unless="its loss cannot come near 0.",
        )

    bad = Examples(
        lambda: {
            "two samples": _run(_known, _stuck),
            "one sample": _run(Memory(1, 300, 2.3, 2.3, 0.0)),
            "not a number": _run(Memory(2, 4, 2.3, float("nan"), 0.0)),
            "two and sixteen": _run(_known, _stuck, Memory(16, 300, 2.31, 2.2, 0.2)),
        }
    )
    good = Examples(
        lambda: {
            "all known": _run(_known, Memory(2, 30, 2.3, 0.1, 1.0, learned=True)),
            "it needs more steps": _run(_known, Memory(2, 300, 2.31, 1.4, 0.5, falling=True)),
            "sixteen take longer": _run(_known, Memory(16, 300, 2.31, 1.0, 0.9)),
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
                return 0.1 * torch.sin(self.fc2(h))  # fix: return self.fc2(h)


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
