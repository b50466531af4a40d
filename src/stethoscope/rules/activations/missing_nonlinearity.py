"""Layers that are linear and follow each other with nothing between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import prod

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.code import At, Call, Code, Name, Operation, Value
from stethoscope.facts.layers import chain_of
from stethoscope.facts.model import Link, Structure
from stethoscope.facts.module_classes import modules_in
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.things import Thing, followed, literal
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code, place_at

MOST_NAMED = 3


def _run(*links: Link) -> History:
    return tried(structure=Structure(links=links))


class MissingNonlinearity(Rule):
    """Linear layers follow each other with no activation between them, and so amount to one.

    ## What it sees
    What a linear layer or a convolution returns goes into the next one as it is (between convolutions, also through
    batch normalization): one batch is followed through the model, and nothing else was computed between the two.
    ## Why it hurts
    A product of matrices is a matrix. Two linear layers in a row can express what one can, and no more; a network
    without any activation is a linear model, however many layers it has.
    ## How to fix it
    Put an activation between the layers, or leave one of them out.
    ## When it is not a fault
    A narrow layer between two wide ones is a factorized matrix, made so on purpose (LoRA, bottlenecks, autoencoders
    whose code is linear), and so are grouped, 1 x 1 and 1 x 3 convolutions beside others. They are not reported; nor is
    a layer whose output goes elsewhere as well, as around a residual block.
    ## Sources
    Goodfellow, Bengio, Courville, "Deep Learning" (2016), 6.1. Humbatova et al., "Taxonomy of Real Faults in Deep
    Learning Systems", ICSE 2020 ("missing activation").
    """

    severity = Severity.WARNING
    explains = ("no-gain-over-baseline", "underfitting")

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the links between linear layers."""
        structure = seen.preflight.structure
        if structure is None:
            yield self.cannot_tell(seen.preflight.why_not("structure"))
            return
        links = [link for link in structure.links if link.is_plain and not _is_factorized(link)]
        if links:
            yield self._report(links)

    def _report(self, links: list[Link]) -> Finding:
        first = links[0]
        named = ", ".join(f"`{link.first}` and `{link.second}`" for link in links[:MOST_NAMED])
        more = f", and {len(links) - MOST_NAMED} more" if len(links) > MOST_NAMED else ""
        kind = first.kinds[0]
        nothing = "no activation" if first.through else "nothing"
        title = f"{nothing} between `{first.first}` and `{first.second}`: together they are one layer"
        return self.finding(
            title if len(title) <= 72 else f"{nothing} between two {kind} layers: together they are one",
            sureness=Sureness.CERTAIN,
            place=place_at(first.site, module=first.second),
            evidence=[
                Evidence(f"pairs of linear layers with {nothing} between", f"{len(links)}: {named}{more}", 0),
                Evidence(
                    "features in, between and out", " to ".join(f"{w:,}" for w in first.widths),
                    "fewer between than on both sides, where it is meant", "then the pair is a factorized matrix",
                ),
            ],
            cause=f"`{first.second}` is given what `{first.first}` returns "
            + (f"through `{first.through}` only, which scales and shifts. " if first.through else "as it is. ")
            + "Two linear maps in a row are one linear map: the second layer adds parameters and nothing that they "
            "could express.",
            fixes=["Put an activation between them:\n" + code(*_activated(first))],
            unless="the two are meant as one factorized matrix.",
        )  # fmt: skip

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for linear layers that are given what another one returns, in `forward` and in `Sequential`."""
        for call in file.calls_of("torch.nn.Sequential"):
            layers = [layer for layer in chain_of(thing_of(file, call)) or () if layer.kind not in PASSING]
            for first, second in pairwise(layers):
                if first.kind == second.kind == "linear" and _is_no_bottleneck(file, first.call, second.call):
                    yield self._read(file, first.call, second.call)
        for thing in modules_in(file):
            for call in _in_forward(file, thing):
                made = _linear(file, call)
                before = _given_by(file, call.argument(0)) if made is not None else None
                if before is not None and _is_no_bottleneck(file, before, made):
                    yield self._read(file, before, made, call)

    def _read(self, file: Code, first: Call | None, second: Call | None, used: Call | None = None) -> Finding:
        place = used or second or first
        ends = [line_of(file, one.at) for one in (first, second) if one is not None]
        at = place.at if place is not None else At(1, 0, 1, 0)
        return self.finding(
            fitting(
                f"no activation between the linear layers of {' and '.join(ends)}",
                "two linear layers with no activation",
            ),
            sureness=Sureness.POSSIBLE,  # many are meant: an adapter before a head, a map that is learnt in two steps
            place=place_in(file, at),
            evidence=[Evidence(f"activations between the layers made on {' and '.join(ends)}", 0, 1)],
            cause="The second layer is given what the first one returns, as it is: two linear maps in a row are one.",
            fixes=["Put an activation between them:\n" + code("x = torch.relu(self.first(x))", "x = self.second(x)")],
            unless="the product is meant, as in a factorized matrix.",
        )

    bad = Examples(
        lambda: {
            "two in a row": _run(Link("fc1", "fc2", widths=(64, 128, 10))),
            "the middle is as wide as the input": _run(Link("fc1", "fc2", widths=(64, 64, 128))),
            "convolutions with batch normalization between": _run(
                Link("a", "b", ("Conv2d", "Conv2d"), (3, 32, 64), through="BatchNorm2d")
            ),
            "convolutions": _run(Link("a", "b", ("Conv2d", "Conv2d"), (3, 32, 64))),
            "four pairs": _run(*(Link(f"{i}", f"{i + 1}", widths=(64, 64, 64)) for i in range(4))),
            "long names": _run(
                Link("encoder.layers.11.output.dense", "encoder.layers.11.output.last", widths=(9, 9, 9))
            ),
        }
    )
    good = Examples(
        lambda: {
            "no links": _run(),
            "a factorized matrix": _run(Link("down", "up", widths=(512, 16, 512))),
            "a code between encoder and decoder": _run(Link("encoder.4", "decoder.0", widths=(64, 8, 64))),
            "depthwise and pointwise": _run(Link("a", "b", ("Conv2d", "Conv2d"), (32, 32, 64), is_plain=False)),
            "not read": tried(),
        }
    )
    bad_code = {
        "in a row": """
            model = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 3))  # bad
            """,
        "with dropout between": """
            model = nn.Sequential(
                nn.Linear(4, 64),
                nn.Dropout(0.5),
                nn.Linear(64, 64),  # bad
                nn.ReLU(),
                nn.Linear(64, 3),
            )
            """,
        "a width that is a multiple": """
            def mlp(dim):
                return nn.Sequential(nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim))  # bad
            """,
        "in forward": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.first = nn.Linear(width, width)
                    self.second = nn.Linear(width, 10)

                def forward(self, x):
                    x = self.first(x)
                    return self.second(x)  # bad
            """,
    }
    good_code = {
        "activated": """
            model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
            """,
        "a narrow one between": """
            model = nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 512))
            """,
        "widths that are not known": """
            def low_rank(width, rank):
                return nn.Sequential(nn.Linear(width, rank), nn.Linear(rank, width))
            """,
        "a width that is a part": """
            def low_rank(dim):
                return nn.Sequential(nn.Linear(dim, dim // 4), nn.Linear(dim // 4, dim))
            """,
        "activated in forward": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.first = nn.Linear(width, width)
                    self.second = nn.Linear(width, 10)

                def forward(self, x):
                    return self.second(F.relu(self.first(x)))
            """,
        "two heads": """
            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.first = nn.Linear(width, width)
                    self.mean = nn.Linear(width, 10)
                    self.spread = nn.Linear(width, 10)

                def forward(self, x):
                    x = self.first(x)
                    return self.mean(x), self.spread(x)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import make_circles
        from torch import nn

        torch.manual_seed(SEED)
        points, labels = make_circles(600, noise=0.1, factor=0.4, random_state=SEED)
        x, y = torch.tensor(points, dtype=torch.float32), torch.tensor(labels)


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1 = nn.Linear(2, 32)
                self.fc2 = nn.Linear(32, 32)
                self.out = nn.Linear(32, 2)

            def forward(self, x):
                x = self.fc1(x)  # fix: x = torch.relu(self.fc1(x))
                x = self.fc2(x)  # fix: x = torch.relu(self.fc2(x))
                return self.out(x)


        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for epoch in range(20):
            for rows in torch.randperm(600).split(50):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(x), y).item():.4f}")
        """)


def _is_factorized(link: Link) -> bool:
    before, between, after = link.widths
    return between < min(before, after)


def _activated(link: Link) -> tuple[str, ...]:
    """The two with an activation between, as they are called: by name, or in a container."""
    name = link.first.rsplit(".", 1)[-1]
    if name.isdigit():
        first, second = (f"nn.{kind}(...)" for kind in link.kinds)
        return (f"{first}, nn.ReLU(), {second}",)
    return f"x = torch.relu(self.{link.first}(x))", f"x = self.{link.second}(x)"


PASSING = ("dropout", "identity")


def _in_forward(file: Code, thing: Thing) -> tuple[Call, ...]:
    number = thing.cls.methods.get("forward") if thing.cls is not None else None
    return () if number is None else file.calls[slice(*file.functions[number].calls)]


def _linear(file: Code, call: Call) -> Call | None:
    """Where the linear layer that a call applies was constructed; None when it applies none."""
    callee: Thing = called(file, call)
    is_linear = callee.name == "torch.nn.Linear" and callee.kind == "module" and callee.made_in is file
    return callee.made if is_linear and callee.made is not call else None


def _given_by(file: Code, value: Value | None) -> Call | None:
    """The construction of the linear layer whose output a value is, when only one call uses it."""
    found, way = followed(file, value)
    if not isinstance(found, Call):
        return None
    if any(_times_given(file)[file.bindings.index(binding)] > 1 for binding in way):
        return None
    callee = called(file, found)
    if callee.kind == "module" and callee.name == "torch.nn.Dropout":
        return _given_by(file, found.argument(0))
    return _linear(file, found)


def _times_given(file: Code) -> Counter[int]:
    """How often calls are given what is bound, by the numbers of the bindings."""
    if "times given" not in file.memo:
        given = (one for call in file.calls for one in call.arguments if isinstance(one, Name))
        file.memo["times given"] = Counter(one.binding for one in given)
    times: Counter[int] = file.memo["times given"]
    return times


def _number(file: Code, value: Value) -> int | None:
    """A width that is written out, or computed of such."""
    found, _ = followed(file, value)
    if isinstance(found, Operation) and found.operator == "*":
        parts = [_number(file, one) for one in found.operands]
        return None if None in parts else prod(part for part in parts if part is not None)
    number = literal(file, value)
    return number if type(number) is int else None


def _is_no_bottleneck(file: Code, first: Call | None, second: Call | None) -> bool:
    """Whether the width between two layers is certainly as large as that before or behind them."""
    if first is None or second is None:
        return False
    outer = (first.argument(0, "in_features"), second.argument(1, "out_features"))
    inner = first.argument(1, "out_features")
    if inner is None:
        return False
    width = _number(file, inner)
    for one in outer:
        if one is None:
            continue
        other = _number(file, one)
        if width is not None and other is not None:
            if width >= other:
                return True
        elif file.text(one.at) and file.text(one.at) in (file.text(inner.at), _multiplied(file, inner)):
            return True
    return False


def _multiplied(file: Code, width: Value) -> str:
    """What a width is a multiple of: `dim`, of `4 * dim`."""
    if not isinstance(width, Operation) or width.operator != "*" or len(width.operands) != 2:
        return ""
    numbers = [_number(file, one) for one in width.operands]
    unknown = [file.text(one.at) for one, number in zip(width.operands, numbers, strict=True) if number is None]
    return unknown[0] if len(unknown) == 1 and all(number is None or number >= 1 for number in numbers) else ""
