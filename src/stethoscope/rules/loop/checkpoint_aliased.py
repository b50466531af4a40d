"""The best weights are kept by reference, and change with the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Constant,
    Context,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.events import events_of, is_in_loop, is_named_as_schedule, name_of
from stethoscope.facts.keepers import Keeping, keeping_of
from stethoscope.facts.origins import is_module, lineage, thing_of
from stethoscope.facts.own_states import may_be_no_weights
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_COPIES = frozenset({"copy.copy", "builtins.dict"})
"""Copies of the table alone: the tensors in it are the same."""
_USES = frozenset({".load_state_dict", "torch.save"})
DEEPEST = 6
"""Expressions inside of each other that are looked at for what a condition compares."""


class CheckpointAliased(Rule):
    """The best weights are kept without a copy, so they go on changing with the model.

    ## What it sees
    `best = model.state_dict()` in a training loop, under a comparison of a score or where there is none yet, and
    `load_state_dict(best)` or `torch.save(best, ...)` behind it; or the same with an attribute, where a class keeps
    what was best.
    ## Why it hurts
    The dictionary holds the model's own tensors, which the optimizer changes in place. What is loaded in the end is
    the last epoch's weights and not the best one's, without any error.
    ## How to fix it
    `best = copy.deepcopy(model.state_dict())`, or save it to a file at once.
    ## When it is not a fault
    A dictionary that is saved or loaded in the same round; a model that is made anew, copied, or moved to the processor
    for it; the state of a schedule, which is numbers; a loop that ends there. None of these is reported. The state of
    what is not seen to be a model, as of a loader or a record, of a model that is frozen, and of one for which all
    calls give copies, is possible at most, as is one that is saved to a file at once as well; and where a class keeps
    it, of a model that all who call it make anew each time, or if nobody calls it and nothing in it speaks of epochs.
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
            if _is_filled_anew(file, binding) or not _gives_own_tensors(file, call):
                continue
            is_saved = _is_saved_at_once(file, kept)
            use = _used_by_class(file, binding, call) if "." in binding.name else _used_behind(file, kept, call)
            if use is not None:
                keeping = keeping_of(file, call) if "." in binding.name else Keeping.TRAINED_ON
                is_doubtful = is_saved or may_be_no_weights(file, call) or keeping in (Keeping.ANEW, Keeping.NOBODY)
                sureness = Sureness.LIKELY if keeping is Keeping.EPOCHS else Sureness.CERTAIN
                yield self._read(file, call, binding.name, use, Sureness.POSSIBLE if is_doubtful else sureness)

    def _read(self, file: Code, call: Call, name: str, use: Call, sureness: Sureness) -> Finding:
        kept = f"{name} = copy.deepcopy({name_of(file, call.receiver)}.state_dict())"
        return self.finding(
            fitting(f"`{name}` is no copy: it changes with the model", "the best weights are no copy"),
            sureness=sureness,
            place=place_in(file, call.at),
            evidence=[Evidence(f"copies of the tensors that {line_of(file, call.at)} makes", 0, "1 of each")],
            cause="`state_dict()` gives the model's own tensors, which the optimizer changes in place"
            f"{_shallow(file, call)}: in the end `{name}` holds the last weights.",
            fixes=[f"Copy them{_others(file, call, name)}:\n" + code("import copy", "", kept)],
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


def _shallow(file: Code, call: Call) -> str:
    """What a copy of the table is good for, where one is made."""
    line = file.lines[call.at.end_line - 1]
    return ", and a shallow copy of the table holds the same tensors" if re.search(r"copy\b", line) else ""


def _others(file: Code, call: Call, name: str) -> str:
    """The other lines of the function in which the same variable gets the state as it is, as before a loop."""
    home = file.function_at(call.context)
    lines = [
        line_of(file, one.value.at) for one in file.bindings[slice(*file.functions[home].bindings)]
        if one.name == name and one.how == "assign" and isinstance(one.value, Call) and one.value is not call
        and one.value.name == ".state_dict" and not one.item
    ]  # fmt: skip
    return f", here and on {' and '.join(lines)}" if lines else ""


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


def _is_saved_at_once(file: Code, number: int) -> bool:
    """Whether a state is saved where it is kept as well: what is wanted of the best weights is in that file."""
    kept = file.bindings[number]
    return any(
        name_of(file, one.argument(0)) == kept.name and kept.context in file.numbers_around(one.context)
        for one in file.calls_of("torch.save")
        if one.at.line > kept.at.line and file.contexts[kept.context].kind in ("if", "else")
    )


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


_HELPERS = (".unwrap_model", ".get_model", ".unwrap")
_EXCHANGES = re.compile(r"\.data\s*=(?!=)|vector_to_parameters")
"""Updates that give a parameter another tensor, and leave the one that a state holds as it is."""
_GATHERS = re.compile(r"state_dict_type|full_params|[Gg]ather")
"""Contexts in which a state is put together anew from all processes."""


def _gives_own_tensors(file: Code, call: Call) -> bool:
    """Whether a state is a model's, and holds its very tensors: not the numbers of a schedule, nor those of a copy, nor
    of a model that was moved for it, nor what a class or a context makes of it.
    """
    owner = call.receiver
    thing = thing_of(file, owner)
    has_its_own = any("state_dict" in cls.methods for _, cls in lineage(thing))
    is_other = thing.kind not in ("module", "instance", "unknown")
    if has_its_own or is_other or (thing.kind == "instance" and is_module(thing) is False) or file.matches(_EXCHANGES):
        return False
    while isinstance(owner, Call) and owner.name in _HELPERS:
        owner = owner.argument(0) or owner.receiver
    if not isinstance(owner, Name | Attribute):
        return False  # `copy.deepcopy(model).state_dict()`, `model.cpu().state_dict()`
    name = name_of(file, owner)
    if is_named_as_schedule(name) or "scaler" in name.lower():
        return False
    made, _ = followed(file, owner)
    if isinstance(made, Call) and made.name.startswith("copy."):
        return False
    if any(here.kind == "with" and isinstance(here.value, Call) and _GATHERS.search(here.value.name)
           for here in file.around(call.context)):  # fmt: skip
        return False
    return not _is_moved(file, call, name)


def _is_moved(file: Code, call: Call, name: str) -> bool:
    """Whether the model goes to the processor inside of the same loop, and back: its tensors are left behind then."""
    here = {one for one in file.numbers_around(call.context) if file.contexts[one].kind in ("for", "while", "function")}
    inner = max(here, default=NOWHERE)
    first, last = file.functions[file.function_at(call.context)].calls
    moves = (
        one
        for one in file.calls[first:last]
        if one.name == ".cpu" or (one.name == ".to" and "cpu" in file.text(one.at))
    )
    return any(name_of(file, one.receiver) == name and inner in file.numbers_around(one.context) for one in moves)


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
    asked: list[Context] = []
    events = [event for event in events_of(file, index) if event.kind in ("step", "backward")]
    for loop in file.numbers_around(call.context):
        if loop == own or loop in made:
            break
        kind = file.contexts[loop].kind
        if kind in ("if", "else"):
            asked.append(file.contexts[loop])
        if kind in ("for", "while") and any(is_in_loop(file, event, loop) for event in events):
            is_kept = any(_asks_for_best(file, one.value, loop) for one in asked)
            return loop if is_kept and not any(_leaves(file, call, one) for one in asked) else NOWHERE
    return NOWHERE


def _leaves(file: Code, call: Call, branch: Context) -> bool:
    """Whether the loop ends behind a state that was kept: nothing trains the model any more."""
    lines = list(_behind(file, call, branch))
    asked = next((one.value for one in file.around(call.context) if one.kind == "while"), None)
    flags = set(re.findall(r"[\w.]+", file.text(asked.at))) if asked is not None else set()
    body = file.lines[branch.at.line - 1 : branch.at.end_line]
    ends = (re.match(r"\s*([\w.]+)\s*=\s*(?:True|False)\b", line) for line in body)
    if any(found is not None and found.group(1) in flags for found in ends):
        return True
    return any(re.match(r"\s*(?:break|return|raise|sys\.exit|exit|quit)\b", line) for line in lines)


def _behind(file: Code, call: Call, branch: Context) -> Iterator[str]:
    """The lines behind a call to the end of a branch, without those that run in its place: of an `else`."""
    tests = {here.at.column for here in file.around(call.context) if here.kind == "if"}
    skipped = None
    for line in file.lines[call.at.line : branch.at.end_line]:
        depth = len(line) - len(line.lstrip())
        if not line.strip() or (skipped is not None and depth > skipped):
            continue
        skipped = depth if depth in tests and re.match(r"\s*(?:else|elif)\b", line) else None
        if skipped is None:
            yield line


def _compared(file: Code, value: Value | None, depth: int = 0) -> Iterator[Name | Attribute]:
    """The variables of a condition that are compared by size."""
    found, _ = followed(file, value)
    if isinstance(found, Choice) and depth <= DEEPEST:
        for one in found.options:
            yield from _compared(file, one, depth + 1)
    if not isinstance(found, Operation) or depth > DEEPEST:
        return
    if found.operator in ("<", ">", "<=", ">="):
        yield from _named(found, 0)
    for one in found.operands:
        yield from _compared(file, one, depth + 1)


def _named(value: Value, depth: int) -> Iterator[Name | Attribute]:
    if isinstance(value, Name | Attribute):
        yield value
    parts: tuple[Value, ...] = ()
    if isinstance(value, Operation):
        parts = value.operands
    elif isinstance(value, Item):
        parts = (value.value,)
    elif isinstance(value, Call):
        parts = (*value.arguments, *((value.receiver,) if value.receiver is not None else ()))
    if depth < DEEPEST:
        for one in parts:
            yield from _named(one, depth + 1)


def _asks_for_best(file: Code, condition: Value | None, loop: int) -> bool:
    """Whether a condition compares by size what the loop itself works out: a score, and no number of rounds."""
    return any(_is_worked_out(file, one, loop) for one in (*_compared(file, condition), *_first(file, condition, loop)))


def _first(file: Code, condition: Value | None, loop: int) -> Iterator[Name]:
    """The score of a condition that asks whether there is none yet, `best is None`, where the loop compares it, too."""
    if not isinstance(condition, Operation) or condition.operator != "is":
        return
    score, nothing = condition.operands
    if isinstance(score, Name) and isinstance(nothing, Constant) and nothing.value is None:
        inside = (one for one in file.contexts if one.kind == "if" and loop in file.numbers_around(one.parent))
        if any(name_of(file, one) == score.name for here in inside for one in _compared(file, here.value)):
            yield score


def _is_worked_out(file: Code, value: Name | Attribute, loop: int) -> bool:
    name = name_of(file, value)
    inside = [one for one in file.bindings if one.name == name and loop in file.numbers_around(one.context)]
    return any(one.how == "assign" or (one.how == "augment" and not _is_count(one)) for one in inside)


def _is_count(binding: Binding) -> bool:
    """Whether a variable is counted up: `step += 1`."""
    value = binding.value
    return isinstance(value, Operation) and isinstance(value.operands[-1], Constant)


def _used_by_class(file: Code, binding: Binding, call: Call) -> Call | None:
    """What loads a state that a class has kept in an attribute after a comparison, in another of its methods."""
    index = file.function_at(call.context)
    function = file.functions[index]
    first, _, rest = binding.name.partition(".")
    is_attribute = function.owner != NOWHERE and function.parameters and function.parameters[0].name == first
    own = function.context
    inside = takewhile(lambda here: here.kind not in ("for", "while"), file.around(call.context))
    # What was worked out before the loop, as a number of rounds that is to be reached, is no score.
    around = (one for one in file.numbers_around(call.context) if file.contexts[one].kind in ("for", "while"))
    home = next((one for one in around if own in file.numbers_around(one)), own)
    compares = any(here.kind in ("if", "else") and _asks_for_best(file, here.value, home) for here in inside)
    if not is_attribute or function.name == "__init__" or not compares or _is_bound_again(file, binding, own):
        return None
    every = file.calls_of(".load_state_dict")
    loads = [one for one in every if name_of(file, one.argument(0)).endswith("." + rest)]
    elsewhere = [one for one in loads if file.function_at(one.context) != index]
    behind = [
        one for one in loads
        if one.number > call.number and file.function_at(one.context) == index
        and call.context not in file.numbers_around(one.context)
    ]  # fmt: skip
    own_first = sorted(elsewhere, key=lambda one: file.functions[file.function_at(one.context)].owner != function.owner)
    return [*behind, *own_first][0] if elsewhere else None


def _is_bound_again(file: Code, binding: Binding, function: int) -> bool:
    """Whether a method binds the attribute once more behind the state, as to copies of its tensors."""
    later = (one for one in file.bindings if one.name == binding.name and one.order > binding.order)
    return any(one.how == "assign" and function in file.numbers_around(one.context) and
               one.context == binding.context for one in later)  # fmt: skip
