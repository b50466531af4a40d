"""One sample's output depends on the other samples of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.code import Code, Site
from stethoscope.facts.model import Mixing
from stethoscope.facts.shapes import exchanged_by_view
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code, place_at

BATCH_FIRST = (
    "RNN", "LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerDecoder", "Transformer",
)  # fmt: skip
"""Layers that take the first axis for time unless they are told."""
_all = Mixing(7, 42, 42, "attention", "SelfAttention", Site("net.py", 12, "Net.forward", "x = self.attention(x)"))


class BatchLeakage(Rule):
    """A sample's output depends on the other samples of its batch, in eval mode.

    ## What it sees
    In eval mode, gradients of the output of one sample in the inputs of the others, on a batch that is cut to a prime
    number of samples, so that no axis is mistaken for another by chance.
    In code: `x.view(x.size(1), x.size(0))`, the sizes of a tensor in another order.
    ## Why it hurts
    The answer for a sample changes with the company in which it is asked: training sees neighbours that production
    does not have, metrics change with the batch size, and what the network learns is partly about its batch.
    ## How to fix it
    Look for `view` and `reshape` where `transpose` or `permute` is meant, for a softmax, a mean or a norm over axis 0,
    and for sequence layers that take the first axis for time (`batch_first`).
    ## When it is not a fault
    Models that compare samples by design (retrieval within the batch, graphs whose nodes are the rows) and rows that
    are steps of one sequence. Outputs that have an axis for the other samples are not judged.
    ## Sources
    A. Karpathy, "A Recipe for Training Neural Networks" (2019): "use backprop to chart dependencies".
    """

    on_trial = True
    explains = ("cannot-overfit-batch", "train-eval-mismatch", "underfitting", "no-gain-over-baseline")

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge which samples move which outputs."""
        mixing = seen.preflight.mixing
        if mixing is None:
            yield self.cannot_tell(seen.preflight.why_not("mixing"))
        elif mixing.one_way and mixing.mixed:
            yield self.cannot_tell("only earlier rows move later ones, as along time: rows may be steps of a sequence")
        elif mixing.mixed:
            yield self._report(mixing)

    def _report(self, mixing: Mixing) -> Finding:
        where = f"in `{mixing.module}`" if mixing.module else "in the model's own code"
        title = f"samples of a batch are mixed {where}"
        return self.finding(
            title if len(title) <= 72 else "samples of a batch are mixed inside of the model",
            sureness=Sureness.CERTAIN,
            place=place_at(mixing.site, module=mixing.module or None),
            evidence=[
                Evidence(
                    "pairs of samples of which one moves the other's output",
                    f"{mixing.mixed} of {mixing.pairs}",
                    0,
                    f"by gradients, in eval mode, in a batch of {mixing.samples}",
                ),
                *(
                    [Evidence("first mixed in the output of", f"`{mixing.module}` ({mixing.kind})", "none")]
                    if mixing.module
                    else []
                ),
            ],
            cause=f"What the model answers for one sample depends on the others beside it: {where} values of different "
            "samples are computed into one.",
            fixes=[
                *(
                    ["Say that the first axis counts samples:\n" + code(f"nn.{mixing.kind}(..., batch_first=True)")]
                    if mixing.kind in BATCH_FIRST
                    else []
                ),
                "Keep axis 0 for the samples; exchange axes by name, and reshape behind it only:\n"
                + code("x = x.transpose(1, 2)  # not x.view(...)", "weights = scores.softmax(dim=-1)  # not dim=0"),
            ],
            unless="samples are meant to be compared with each other.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for tensors that are reshaped to their own sizes in another order."""
        for call, order in exchanged_by_view(file):
            how = call.name[1:]
            name = quoted(file, call.receiver, "the tensor")
            yield self.finding(
                fitting(f"`{how}` is given the sizes of {name} in another order", f"`{how}` does not exchange axes"),
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(f"order of the axes that {line_of(file, call.at)} asks for", ", ".join(map(str, order)),
                             ", ".join(map(str, sorted(order))), "read in the code")
                ],
                cause=f"`{how}` cuts the same row of numbers anew and moves none: what belonged to one sample is "
                "spread over others, where an exchange of axes was asked for.",
                fixes=["Exchange the axes:\n" + code(f"{name.strip('`')}.transpose({min(order)}, {order[0]})"
                       if len(order) == 2 else f"{name.strip('`')}.permute({', '.join(map(str, order))})")],
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "all of them": tried(mixing=_all),
            "a layer that takes samples for time": tried(mixing=replace(_all, mixed=21, module="rnn", kind="LSTM")),
            "two": tried(mixing=replace(_all, mixed=2)),
            "in the model's own code": tried(mixing=replace(_all, module="", kind="", site=None)),
            "a long name": tried(mixing=replace(_all, module="encoder.layers.11.attention.self.scores.softmax.inner")),
        }
    )
    good = Examples(
        lambda: {
            "apart": tried(mixing=replace(_all, mixed=0, module="", kind="")),
            "along time": tried(mixing=replace(_all, mixed=21, one_way=True)),
            "not tried": tried(),
        }
    )
    bad_code = {
        "two axes": """
            class Net(nn.Module):
                def forward(self, x):
                    x = x.view(x.size(1), x.size(0), -1)  # bad
                    return x.reshape(x.shape[1], x.shape[0], x.shape[2])  # bad
            """,
        "sizes with names": """
            class Merge(nn.Module):
                def forward(self, x):
                    batch, time, width = x.shape
                    rows = x.size(0)
                    return x.view(width, batch, time), x.reshape(time, rows)  # bad
            """,
    }
    good_code = {
        "in their order, or another tensor": """
            def merge(x, y):
                batch, time, width = x.size()
                x.view(batch, time, 4, -1)
                x.view(x.size(0), -1)
                x.view(time, -1)
                x = x.transpose(0, 1)
                x.reshape(time, batch, width)
                return y.view(x.size(1), x.size(0))
            """,
        "scores that are skewed, for relative positions": """
            def skew(scores):
                padded = F.pad(scores, (1, 0))
                batch, heads, rows, columns = padded.shape
                return padded.reshape(batch, heads, columns, rows)[:, :, 1:]
            """,
        "axes that are joined": """
            def merge(x):
                batch, time, width = x.size()
                return x.view(batch * time, width), x.reshape(time * width, batch)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.images, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.rows = nn.Linear(8, 16)
                self.out = nn.Linear(8 * 16, 10)

            def forward(self, x):
                x = torch.relu(self.rows(x))  # samples, rows, features
                x = x.reshape(8, len(x), 16).transpose(0, 1)  # fix:
                return self.out(x.flatten(1))


        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(61):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
