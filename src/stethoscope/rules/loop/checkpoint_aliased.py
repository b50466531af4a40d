"""The best weights are kept by reference, and change with the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, At, Binding, Call, Code, Name, Operation, Value
from stethoscope.facts.events import events_of, is_in_loop, name_of
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_COPIES = frozenset({"copy.copy", "builtins.dict"})
"""Copies of the table alone: the tensors in it are the same."""
_USES = frozenset({".load_state_dict", "torch.save"})


class CheckpointAliased(Rule):
    """The best weights are kept without a copy, so they go on changing with the model.

    ## What it sees
    `best = model.state_dict()` in a training loop, and `load_state_dict(best)` or `torch.save(best, ...)` behind it;
    or the same with an attribute, where a class keeps what was best.
    ## Why it hurts
    The dictionary holds the model's own tensors, which the optimizer changes in place. What is loaded in the end is
    the last epoch's weights and not the best one's, without any error.
    ## How to fix it
    `best = copy.deepcopy(model.state_dict())`, or save it to a file at once.
    ## When it is not a fault
    A dictionary that is saved or loaded in the same round, or a model that is made anew in each round. Neither is
    reported.
    ## Sources
    PyTorch tutorial, "Saving and Loading Models": "model.state_dict() returns a reference to the state and not its
    copy", and best_model_state must be copied.
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for states that are kept in a loop, and used behind it."""
        for call in file.calls_of(".state_dict"):
            kept = _kept(file, call)
            if kept is None or call.arguments or call.receiver is None:
                continue
            binding = file.bindings[kept]
            if _is_filled_anew(file, binding):
                continue
            use = _used_by_class(file, binding, call) if "." in binding.name else _used_behind(file, kept, call)
            if use is not None:
                yield self._read(file, call, binding.name, use)

    def _read(self, file: Code, call: Call, name: str, use: Call) -> Finding:
        model = name_of(file, call.receiver)
        return self.finding(
            fitting(f"`{name}` is no copy: it changes with the model", "the best weights are no copy"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, call.at),
            evidence=[Evidence(f"copies of the tensors that {line_of(file, call.at)} makes", 0, "1 of each")],
            cause="`state_dict()` gives the model's own tensors, which the optimizer changes in place: in the end "
            f"`{name}` holds the last weights.",
            fixes=["Copy them:\n" + code("import copy", "", f"{name} = copy.deepcopy({model}.state_dict())")],
            chain=[
                Link(place_in(file, call.at), "the weights are kept, by reference"),
                Link(place_in(file, use.at), "they are taken for the best ones"),
            ],
        )

    bad_code = {
        "loaded in the end": """
            def train(model, loader, optimizer, score):
                best, best_state = 0, None
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    if score(model) > best:
                        best = score(model)
                        best_state = model.state_dict()  # bad
                model.load_state_dict(best_state)
                return model
            """,
        "saved in the end, by steps of a function": """
            model = nn.Linear(3, 2)
            opt = torch.optim.Adam(model.parameters())

            def run(x, y):
                opt.zero_grad()
                F.cross_entropy(model(x), y).backward()
                opt.step()
                return 0.5

            least = 9.0
            for epoch in range(10):
                loss = run(torch.ones(2, 3), torch.ones(2).long())
                if loss < least:
                    least = loss
                    best = model.state_dict().copy()  # bad
            torch.save(best, "best.pt")
            """,
        "kept by a class": """
            class EarlyStopping:
                def __init__(self):
                    self.least, self.state = 9.0, None

                def __call__(self, loss, model):
                    if loss < self.least:
                        self.least = loss
                        self.state = model.state_dict()  # bad

                def restore(self, model):
                    model.load_state_dict(self.state)
            """,
    }
    good_code = {
        "copied": """
            import copy

            def train(model, loader, optimizer, score):
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        model(x).sum().backward()
                        optimizer.step()
                    if score(model) > 3:
                        best = copy.deepcopy(model.state_dict())
                        other = {name: value.clone() for name, value in model.state_dict().items()}
                model.load_state_dict(best or other)
            """,
        "saved at once": """
            def train(model, loader, optimizer, score):
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        model(x).sum().backward()
                        optimizer.step()
                    state = model.state_dict()
                    torch.save(state, "last.pt")
            """,
        "changed, and loaded again": """
            def load(model, path):
                state = model.state_dict()
                state.update(torch.load(path))
                model.load_state_dict(state)
            """,
        "kept in each round: the last is meant": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    model(x).sum().backward()
                    optimizer.step()
                    state = model.state_dict()
                torch.save(state, "last.pt")
            """,
        "a model for each round": """
            def search(make, loader, score):
                for rate in (0.1, 0.01):
                    model = make()
                    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
                    for x, y in loader:
                        optimizer.zero_grad()
                        model(x).sum().backward()
                        optimizer.step()
                    if score(model) > 3:
                        best = model.state_dict()
                torch.save(best, "best.pt")
            """,
        "taken when the training is over": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    model(x).sum().backward()
                    optimizer.step()
                state = model.state_dict()
                torch.save(state, "last.pt")
            """,
        "copied one by one": """
            class Best:
                def __call__(self, loss, model):
                    if loss < self.least:
                        self.least = loss
                        self.state = model.state_dict()
                        for key in self.state:
                            self.state[key] = self.state[key].to("cpu")

                def restore(self, model):
                    model.load_state_dict(self.state)
            """,
        "weights for another model, at once": """
            class Agent:
                def synchronize(self, loss):
                    if loss > 3:
                        self.state = self.online.state_dict()
                        self.target.load_state_dict(self.state)
            """,
    }


def _kept(file: Code, call: Call) -> int | None:
    """The variable that gets the state as it is, or a copy of the table alone."""
    numbers: dict[int, int] | None = file.memo.get("kept states")
    if numbers is None:
        numbers = file.memo["kept states"] = {}
        for number, binding in enumerate(file.bindings):
            state = _state(binding.value) if binding.how == "assign" and not binding.item else None
            if state is not None:
                numbers[state.number] = number
    return numbers.get(call.number)


def _is_filled_anew(file: Code, binding: Binding) -> bool:
    """Whether the tensors of a table are replaced after it was taken: `state[key] = state[key].cpu()`."""
    function = file.functions[file.function_at(binding.context)]
    end = function.at.end_line if function.owner != NOWHERE or function.context else len(file.lines)
    behind = At(binding.at.line, 0, end, 0)
    return file.matches(re.compile(rf"(?<![\w.]){re.escape(binding.name)}\[[^\]]+\]\s*=(?!=)"), behind)


def _state(value: Value | None) -> Call | None:
    if isinstance(value, Call) and value.name == ".state_dict":
        return value
    if isinstance(value, Call):
        inner = value.receiver if value.name == ".copy" else value.argument(0) if value.name in _COPIES else None
        return inner if isinstance(inner, Call) and inner.name == ".state_dict" else None
    return None


def _used_behind(file: Code, number: int, call: Call) -> Call | None:
    """What uses a state behind the loop in which it was kept, where the loop goes on training its model."""
    binding = file.bindings[number]
    index = file.function_at(binding.context)
    loop = _training_around(file, index, call)
    if loop == NOWHERE:
        return None
    _, last = file.functions[index].calls
    for other in file.calls[call.number + 1 : last]:
        if other.name not in _USES or loop in file.numbers_around(other.context):
            continue
        given = other.argument(0)
        if isinstance(given, Name) and given.name == binding.name and number in _bindings(file, given):
            return other
    return None


def _bindings(file: Code, name: Name) -> tuple[int, ...]:
    if name.binding == NOWHERE:
        return ()
    return (name.binding, *file.bindings[name.binding].options)


def _training_around(file: Code, index: int, call: Call) -> int:
    """The loop around a call that trains a model which is not made in it, where the call is made now and then."""
    receiver = call.receiver
    if not isinstance(receiver, Name) or receiver.binding == NOWHERE:
        return NOWHERE
    made = set(file.numbers_around(file.bindings[receiver.binding].context))
    own = file.functions[index].context if index else 0
    chosen = False
    events = [event for event in events_of(file, index) if event.kind in ("step", "backward")]
    for loop in file.numbers_around(call.context):
        if loop == own or loop in made:
            break
        kind = file.contexts[loop].kind
        chosen = chosen or kind in ("if", "else")
        if kind in ("for", "while") and any(is_in_loop(file, event, loop) for event in events):
            return loop if chosen else NOWHERE
    return NOWHERE


def _used_by_class(file: Code, binding: Binding, call: Call) -> Call | None:
    """What loads a state that a class has kept in an attribute after a comparison, in another of its methods."""
    index = file.function_at(call.context)
    function = file.functions[index]
    first, _, rest = binding.name.partition(".")
    is_attribute = function.owner != NOWHERE and function.parameters and function.parameters[0].name == first
    compares = any(
        here.kind in ("if", "else") and isinstance(here.value, Operation) for here in file.around(call.context)
    )
    if not is_attribute or function.name == "__init__" or not compares:
        return None
    for other in file.calls_of(".load_state_dict"):
        given = name_of(file, other.argument(0))
        elsewhere = file.function_at(other.context) != index
        if given.endswith("." + rest) and elsewhere:
            return other
    return None
