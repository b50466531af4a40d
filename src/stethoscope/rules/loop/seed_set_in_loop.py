"""A seed that is set again in each round of training."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Constant, Name
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_SEEDS = ("torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all")

_DRAWING = ("ropout", "shuffle", "rand", "multinomial", "bernoulli", "normal_", ".sample(")
"""Words of what draws random numbers: without any of them a seed does nothing."""


class SeedSetInLoop(Rule):
    """The same seed is set again in each round of training, so that all rounds draw the same numbers.

    ## What it sees
    `torch.manual_seed(0)` inside of a training loop, or of the loop over epochs around it, with a seed that does not
    change.
    ## Why it hurts
    In the loop over batches dropout removes the same units at each step; in the loop over epochs every epoch has
    the same order of samples, the same augmentations, and the same masks. What was to be random is fixed, and the
    model adapts to it.
    ## How to fix it
    Seed once, before the loops; or with a seed of each epoch's own.
    ## When it is not a fault
    Loops over trials that make a model each, and seeds that hang on the round. Neither is reported.
    ## Sources
    PyTorch documentation, "Reproducibility".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for seeds in training loops."""
        seeds = [call for call in file.calls_of(*_SEEDS) if call.arguments]
        if not seeds or not file.and_linked_say(*_DRAWING):
            return
        told = set()
        for loop in loops_of(file):
            if not loop.is_loop or not loop.of("step"):
                continue
            for call in seeds:
                around = _round(file, loop, call)
                if around != NOWHERE and call.number not in told and _is_fixed(file, call, around):
                    told.add(call.number)
                    yield self._read(file, loop, call, around)

    def _read(self, file: Code, loop: Loop, call: Call, around: int) -> Finding:
        each = "batch" if around == loop.context else "epoch"
        return self.finding(
            fitting(f"the same seed is set in each {each}", "the same seed is set in each round"),
            severity=Severity.ERROR if each == "batch" else Severity.WARNING,
            sureness=Sureness.CERTAIN if each == "batch" else Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[Evidence(f"times that {line_of(file, call.at)} is run", f"1 for each {each}", "once")],
            cause=f"Each {each} begins from the same seed, so it draws the same order, the same masks and the same "
            "noise as the one before.",
            fixes=["Seed once, before the loops:\n" + code(file.lines[call.at.line - 1].strip())],
            unless=f"each {each} is meant to see the same random numbers.",
            chain=[
                Link(place_in(file, file.contexts[around].at), "the loop begins"),
                Link(place_in(file, call.at), "the seed is set, in each round of it"),
            ],
        )

    bad_code = {
        "for each batch": """
            model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                torch.manual_seed(0)  # bad
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
        "for each epoch": """
            def train(model, loader, optimizer, seed):
                for epoch in range(10):
                    torch.manual_seed(seed)  # bad
                    for x, y in DataLoader(loader, shuffle=True):
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
    }
    good_code = {
        "nothing is drawn": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    torch.manual_seed(0)
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "once": """
            def train(model, data, optimizer):
                torch.manual_seed(0)
                loader = DataLoader(data, shuffle=True)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "a seed for each epoch": """
            def train(model, data, optimizer):
                loader = DataLoader(data, shuffle=True)
                for epoch in range(10):
                    torch.manual_seed(epoch)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "models that are compared": """
            def compare(data, makers):
                loader = DataLoader(data, shuffle=True)
                for make in makers:
                    torch.manual_seed(0)
                    model = make()
                    optimizer = torch.optim.Adam(model.parameters())
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "for an evaluation in a loop": """
            def train(model, loader, optimizer, show):
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    torch.manual_seed(0)
                    show(model(torch.randn(3, 3)))
                    torch.seed()
            """,
    }


def _round(file: Code, loop: Loop, call: Call) -> int:
    """The loop whose rounds set the seed before they train: that over batches, or that over epochs around it."""
    inner = list(file.numbers_around(call.context))
    if file.function_at(call.context) != file.function_at(loop.context):
        return NOWHERE
    if any(file.contexts[number].kind in ("if", "else", "with", "except") for number in inner):
        return NOWHERE
    if loop.context in inner:
        return loop.context
    outer = next((number for number in file.numbers_around(file.contexts[loop.context].parent)
                  if file.contexts[number].kind in ("for", "while")), NOWHERE)  # fmt: skip
    before = call.at < file.contexts[loop.context].at
    return outer if outer in inner and before and file.contexts[outer].kind == "for" else NOWHERE


def _is_fixed(file: Code, call: Call, loop: int) -> bool:
    """Whether a seed is the same in all rounds, and nothing that is trained is made in them."""
    value = call.arguments[0]
    if isinstance(value, Name) and value.binding != NOWHERE:
        fixed = loop not in file.numbers_around(file.bindings[value.binding].context)
    else:
        fixed = isinstance(value, Constant)
    makes = any(
        loop in file.numbers_around(other.context) for other in file.calls_of(".parameters", ".reset_parameters")
    )
    again = [other for other in file.calls_of(*_SEEDS) if loop in file.numbers_around(other.context)]
    restored = any(loop in file.numbers_around(other.context) for other in file.calls_of("torch.set_rng_state"))
    return fixed and not makes and not restored and len({other.name for other in again}) == len(again)
