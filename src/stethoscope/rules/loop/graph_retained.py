"""A graph that is retained after a round's only backward pass."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Binding, Call, Code, Name
from stethoscope.facts.events import Event
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.things import literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_PASSES = (".backward", ".manual_backward", "torch.autograd.backward", "torch.autograd.grad", ".grad")


class GraphRetained(Rule):
    """The only backward pass of a round keeps its graph, or reaches back into earlier rounds.

    ## What it sees
    `loss.backward(retain_graph=True)` in a training loop that has no other backward pass; and whether a hidden state
    goes from one round of the loop into the next without `detach()`.
    ## Why it hurts
    Nothing needs the graph any more, and its memory is held until the loss is made anew. Where it was added to silence
    "backward through the graph a second time", a state is carried with its graph: each step then goes back through
    all rounds so far, and time and memory grow with every batch.
    ## How to fix it
    Leave `retain_graph=True` out. Where torch then raises an error, detach what is carried over:
    `hidden = hidden.detach()`.
    ## When it is not a fault
    Several backward passes over one graph. That is not reported.
    ## Sources
    PyTorch documentation, `torch.Tensor.backward`; PyTorch examples, word_language_model: `repackage_hidden`.
    """

    on_trial = True
    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at loops with one backward pass."""
        for loop in loops_of(file):
            backwards = loop.of("backward")
            if loop.unclear or not loop.is_loop or len(backwards) != 1 or not loop.of("step"):
                continue
            call = backwards[0].call
            if call is None or backwards[0].code is not file or loop.of("grad", "other"):
                continue
            carried = next(_carried(file, loop), None)
            retains = literal(file, call.keyword("retain_graph")) is True and not _has_other_pass(file, loop, call)
            if retains and not call.is_open and literal(file, call.keyword("create_graph")) in (None, False):
                yield self._retained(file, loop, call, carried)
            elif carried is not None and call.keyword("retain_graph") is None:
                yield self._read_carried(file, loop, call, carried)

    def _retained(self, file: Code, loop: Loop, call: Call, carried: tuple[str, Call] | None) -> Finding:
        name = carried[0] if carried else "hidden"
        links = [Link(place_in(file, call.at), "the graph is kept after the backward pass")]
        if carried:
            links.append(Link(place_in(file, carried[1].at), f"`{name}` comes from the round before, with its graph"))
        return self.finding(
            fitting(
                f"`retain_graph=True` keeps all graphs that `{name}` came through" if carried else
                "`retain_graph=True` after the only backward pass of a round",
                "`retain_graph=True` keeps the graphs of all earlier rounds",
            ),
            severity=Severity.ERROR if carried else Severity.WARNING,
            sureness=Sureness.CERTAIN if carried else Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[Evidence(f"backward passes in a round of the loop on {line_of(file, loop.at)}", 1, "2 or more")],
            cause=f"`{name}` is carried into the next round with its graph, so each step goes back through all of them."
            if carried else "No other backward pass of the round uses the graph, so its memory is held for nothing.",
            fixes=[
                "Detach what is carried over, and free the graph:\n"
                + code(f"{name} = {name}.detach()", "loss.backward()")
                if carried else
                "Let the graph go; where torch then raises an error, detach what was made before this round:\n"
                + code("loss.backward()")
            ],
            unless="" if carried else "a backward pass elsewhere goes through the same graph.",
            chain=links,
        )  # fmt: skip

    def _read_carried(self, file: Code, loop: Loop, call: Call, carried: tuple[str, Call]) -> Finding:
        name, use = carried
        return self.finding(
            fitting(f"`{name}` is carried into the next round with its graph", "a state is carried with its graph"),
            severity=Severity.ERROR,
            sureness=Sureness.LIKELY,
            place=place_in(file, use.at),
            evidence=[
                Evidence(f"calls of `detach` for `{name}` in the loop on {line_of(file, loop.at)}", 0, "1 a round")
            ],
            cause=f"The backward pass of the second round goes back through `{name}` into the graph of the first, "
            "which is freed: torch raises an error.",
            fixes=["Detach it at the begin of each round:\n" + code(f"{name} = {name}.detach()")],
            unless=f"`{name}` is made without gradients.",
            chain=[
                Link(place_in(file, use.at), f"`{name}` is given, and made anew"),
                Link(place_in(file, call.at), "the backward pass goes through it"),
            ],
        )

    bad_code = {
        "for nothing": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward(retain_graph=True)  # bad
                    optimizer.step()
            """,
        "to silence an error": """
            model = nn.GRU(3, 3)
            optimizer = torch.optim.Adam(model.parameters())
            hidden = torch.zeros(1, 4, 3)
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                output, hidden = model(x, hidden)
                F.mse_loss(output, y).backward(retain_graph=True)  # bad
                optimizer.step()
            """,
        "carried over": """
            model = nn.GRU(3, 3)
            optimizer = torch.optim.Adam(model.parameters())

            def train(loader):
                hidden = None
                for x, y in loader:
                    output, hidden = model(x, hidden)  # bad
                    optimizer.zero_grad()
                    loss = F.mse_loss(output, y)
                    loss.backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "two backward passes": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    out = model(x)
                    out.sum().backward(retain_graph=True)
                    F.cross_entropy(out, y).backward()
                    optimizer.step()
            """,
        "detached": """
            model = nn.GRU(3, 3)
            optimizer = torch.optim.Adam(model.parameters())
            hidden = torch.zeros(1, 4, 3)
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                hidden = hidden.detach()
                output, hidden = model(x, hidden)
                F.mse_loss(output, y).backward()
                optimizer.step()
            """,
        "detached when it is given": """
            model = nn.GRU(3, 3)
            optimizer = torch.optim.Adam(model.parameters())
            hidden = torch.zeros(1, 4, 3)
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                output, hidden = model(x, hidden.detach())
                F.mse_loss(output, y).backward()
                optimizer.step()
            """,
        "made anew for each batch": """
            model = nn.GRU(3, 3)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                hidden, loss = torch.zeros(1, 4, 3), 0
                for step in range(5):
                    output, hidden = model(x[step], hidden)
                    loss = loss + F.mse_loss(output, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
        "a pass over the same graph with a gradient penalty": """
            def train(critic, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    out = critic(x)
                    out.mean().backward(retain_graph=True)
                    torch.autograd.grad(out.sum(), x)
                    optimizer.step()
            """,
        "a way of its own to the next round": """
            model = nn.GRU(3, 3)
            optimizer = torch.optim.Adam(model.parameters())
            state = torch.zeros(1, 4, 3)
            for x, y in torch.load("data"):
                with torch.no_grad():
                    guess, state = model(x, state)
                optimizer.zero_grad()
                F.mse_loss(model(x)[0], y).backward()
                optimizer.step()
            """,
    }


def _has_other_pass(file: Code, loop: Loop, call: Call) -> bool:
    """Whether anything else goes backward in the function, or where the loop may lead to."""
    first, last = file.functions[file.function_at(loop.context)].calls
    own = file.functions[file.function_at(call.context)].calls
    others = [*file.calls[first:last], *file.calls[slice(*own)]]
    return any(other.number != call.number and other.name in _PASSES for other in others)


def _carried(file: Code, loop: Loop) -> Iterator[tuple[str, Call]]:
    """States that a model is given and gives in a loop, and that nothing detaches: name, and the model's call."""
    backward = loop.of("backward")[0]
    for forward in loop.of("forward"):
        call = forward.call
        if call is None or forward.via or forward.code is not file or not _is_level(file, loop, forward, backward):
            continue
        for value in call.arguments:
            if not isinstance(value, Name) or value.binding == NOWHERE or "." in value.name:
                continue
            before = file.bindings[value.binding]
            if loop.context in file.numbers_around(before.context) or before.how == "argument":
                continue
            inside = [
                one for one in file.bindings
                if one.name == value.name and loop.context in file.numbers_around(one.context)
            ]  # fmt: skip
            if len(inside) == 1 and _is_from(inside[0], call):
                yield value.name, call


def _is_from(binding: Binding, call: Call) -> bool:
    """Whether a variable gets a part of what a call gives, and not the first: that is the answer."""
    value = binding.value
    return isinstance(value, Call) and value.number == call.number and binding.item[:1] >= (1,)


def _is_level(file: Code, loop: Loop, forward: Event, backward: Event) -> bool:
    """Whether the model's call and the backward pass are in each round of the loop, in no other loop inside of it."""
    return all(
        next((number for number in file.numbers_around(event.outer_context)
              if file.contexts[number].kind not in ("if", "else", "try")), NOWHERE) == loop.context
        for event in (forward, backward)
    )  # fmt: skip
