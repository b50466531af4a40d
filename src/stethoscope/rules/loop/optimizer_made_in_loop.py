"""An optimizer that is made anew in each round of training."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Name, Value
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import followed, iterated, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_WITHOUT_MEMORY = frozenset({"SGD", "LBFGS"})
_WORD = re.compile(r"[A-Za-z_]\w*")
_ANEW = (".load_state_dict", ".apply", ".reset_parameters", ".reset", ".from_pretrained", ".reset_weights")


class OptimizerMadeInLoop(Rule):
    """An optimizer is made anew in each round, for the same model, and forgets its moments each time.

    ## What it sees
    An optimizer with moments (Adam and its kin, SGD with momentum) that is constructed inside of the loop which
    steps it, or of the loop over epochs around that, over the parameters of a model which was made before.
    ## Why it hurts
    Its running averages begin at nothing each time. In the loop over batches Adam becomes a step of fixed size along
    the signs of one gradient, and momentum never builds up.
    ## How to fix it
    Make it once, before the loops.
    ## When it is not a fault
    A model that is made or reset in the same loop (folds, trials), parameters that are (adversarial examples, style
    transfer), and tasks or stages of training, each with loops of their own. Those are not reported.
    ## Sources
    PyTorch documentation, `torch.optim`: constructing an optimizer; Kingma and Ba 2015, "Adam", section 3.
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look where the optimizers of training loops are made."""
        told = set()
        for loop in loops_of(file):
            for step in loop.of("step"):
                made = step.thing.made
                if made is None or step.thing.made_in is not file or made.number in told or not loop.is_loop:
                    continue
                around = _round(file, loop, made)
                if around != NOWHERE and _has_memory(file, made) and _is_older(file, made, around):
                    told.add(made.number)
                    yield self._read(file, loop, made, around)

    def _read(self, file: Code, loop: Loop, made: Call, around: int) -> Finding:
        name = made.name.rpartition(".")[2]
        each = "batch" if around == loop.context else "epoch"
        return self.finding(
            fitting(f"`{name}` is made anew in each {each}", "the optimizer is made anew in each round"),
            severity=Severity.ERROR if each == "batch" else Severity.WARNING,
            sureness=Sureness.CERTAIN if each == "batch" else Sureness.LIKELY,
            place=place_in(file, made.at),
            evidence=[
                Evidence(f"times that {line_of(file, made.at)} makes it, of one training", f"1 for each {each}", "once")
            ],
            cause="A new optimizer knows nothing of the steps before: its moments begin at 0 again.",
            fixes=["Make it once, before the loops:\n" + code(file.lines[made.at.line - 1].strip())],
            unless=f"it is meant to forget them after each {each}.",
            chain=[
                Link(place_in(file, file.contexts[around].at), "the loop begins"),
                Link(place_in(file, made.at), "the optimizer is made, in each round of it"),
            ],
        )

    bad_code = {
        "for each batch": """
            def train(model, loader):
                for x, y in loader:
                    optimizer = torch.optim.Adam(model.parameters())  # bad
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "for each epoch": """
            model = nn.Linear(3, 2)
            loader = DataLoader(torch.load("data"), shuffle=True)
            for epoch in range(10):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)  # bad
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "made once": """
            def train(model, loader):
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "a model for each fold": """
            def validate(folds):
                for fold in range(10):
                    model = nn.Linear(3, 2)
                    optimizer = torch.optim.Adam(model.parameters())
                    for x, y in folds[fold]:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "a model that is set back": """
            def validate(model, loader, start):
                for trial in range(10):
                    model.load_state_dict(start)
                    optimizer = torch.optim.Adam(model.parameters())
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "noise for each image": """
            def attack(model, images):
                for image in images:
                    noise = torch.zeros_like(image, requires_grad=True)
                    optimizer = torch.optim.Adam([noise])
                    optimizer.zero_grad()
                    model(image + noise).sum().backward()
                    optimizer.step()
            """,
        "tasks, one after the other": """
            def learn(model, tasks):
                for task in range(3):
                    optimizer = torch.optim.Adam(model.parameters())
                    for epoch in range(10):
                        for x, y in tasks[task]:
                            optimizer.zero_grad()
                            F.cross_entropy(model(x), y).backward()
                            optimizer.step()
            """,
        "a part of the data after the other": """
            def learn(model, parts):
                for part in range(3):
                    optimizer = torch.optim.Adam(model.parameters())
                    for x, y in parts[part]:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "a rate for each": """
            def learn(model, loader, rates):
                for epoch in range(10):
                    optimizer = torch.optim.Adam(model.parameters(), lr=rates[epoch])
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "nothing to forget": """
            def learn(model, loader):
                for epoch in range(10):
                    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
    }


def _round(file: Code, loop: Loop, made: Call) -> int:
    """The loop whose rounds make an optimizer: that over batches, or that over epochs around it."""
    inner = list(file.numbers_around(made.context))
    branched = any(file.contexts[number].kind in ("if", "else", "try", "except") for number in inner)
    if branched or file.function_at(made.context) != file.function_at(loop.context):
        return NOWHERE
    if loop.context in inner:
        return loop.context
    loops = [number for number in file.numbers_around(file.contexts[loop.context].parent)
             if file.contexts[number].kind in ("for", "while")]  # fmt: skip
    if not loops or loops[0] not in inner:
        return NOWHERE
    epochs = file.contexts[loops[0]]
    counted, _ = iterated(file, epochs.value)
    is_counted = isinstance(counted, Call) and counted.name in ("builtins.range", "tqdm.trange", "tqdm.auto.trange")
    hangs = _reads(file, file.contexts[loop.context].value, loops[0]) or any(
        _reads(file, value, loops[0]) for _, value in made.keywords
    )
    return loops[0] if is_counted and epochs.kind == "for" and not hangs else NOWHERE


def _reads(file: Code, value: Value | None, loop: int) -> bool:
    """Whether what a value says hangs on something that is bound in a loop, as far as its text shows."""
    if value is None:
        return False
    words = set(_WORD.findall(file.text(value.at)))
    return any(
        loop in file.numbers_around(binding.context) and binding.name.partition(".")[0] in words
        for binding in file.bindings
    )


def _has_memory(file: Code, made: Call) -> bool:
    name = made.name.rpartition(".")[2]
    if not made.name.startswith("torch.optim.") or made.is_open:
        return False
    if name == "SGD":
        momentum = literal(file, made.argument(2, "momentum"))
        return isinstance(momentum, float | int) and momentum > 0
    return name not in _WITHOUT_MEMORY


def _is_older(file: Code, made: Call, loop: int) -> bool:
    """Whether what is optimized is a model that was there before the loop, and is not set back in it."""
    given, _ = followed(file, made.argument(0, "params"))
    if not isinstance(given, Call) or given.name != ".parameters" or not isinstance(given.receiver, Name):
        return False
    name = given.receiver
    if name.binding == NOWHERE or thing_of(file, name).kind not in ("module", "unknown"):
        return False
    bound = any(
        loop in file.numbers_around(one.context) and one.name == name.name and one.how != "merge"
        for one in file.bindings
    )
    set_back = any(loop in file.numbers_around(call.context) for call in file.calls_of(*_ANEW))
    return not bound and not set_back
