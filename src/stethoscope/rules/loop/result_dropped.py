"""The result of an operation that changes nothing in place, thrown away."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Edit, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.cells import is_displayed
from stethoscope.facts.certain_tensors import TENSORS_ONLY, is_certain_tensor
from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name
from stethoscope.facts.guarded import is_there_to_fail
from stethoscope.facts.idle_drops import CONVERSIONS, SHAPES, is_idle, is_said_to_be_module
from stethoscope.facts.origins import thing_of
from stethoscope.facts.uses import readings_of
from stethoscope.rules.lines import fitting, insertion, line_of, place_in, quoted
from stethoscope.rules.sites import code

METHODS = frozenset(
    [
        ".to",
        ".cuda",
        ".cpu",
        ".float",
        ".long",
        ".double",
        ".half",
        ".detach",
        ".clamp",
        ".masked_fill",
        ".squeeze",
        ".unsqueeze",
        ".view",
        ".reshape",
        ".permute",
        ".transpose",
        ".flatten",
        ".softmax",
        ".sigmoid",
        ".relu",
        ".abs",
        ".mul",
        ".add",
        ".div",
        ".sub",
        ".requires_grad",
        ".type",
        ".contiguous",
        ".clone",
    ]
)
"""Methods of a tensor that give a new one."""


class ResultDropped(Rule):
    """A tensor's method gives a new tensor, and the result is thrown away.

    ## What it sees
    `x.clamp(0, 1)`, `scores.masked_fill(mask, -1e9)`, `x.unsqueeze(1)` and their like as a statement of its own, on
    something that is certainly a tensor.
    ## Why it hurts
    These methods leave the tensor as it is and return another one: the line does nothing.
    ## How to fix it
    Keep the result, `x = x.clamp(0, 1)`, or use the method that works in place, `x.clamp_(0, 1)`.
    ## When it is not a fault
    `model.to(device)`, which moves a module in place; a line in `try` or in `pytest.raises`, which is there to fail;
    one of a script in cells, which displays it. None of these is reported. What may be no tensor, such as a graph of
    PyG, which moves in place, a tensor that is not read again, and what is measured by a clock or a profiler, is
    possible at most. So is what gives the same numbers, as `x.to(device)`, `x.float()`, `x.clone()` and `x.detach()`,
    also in another shape, as `x.view(8, -1)`: where it was needed another line fails, and of such lines most were left
    over; what another line does and keeps; scores whose order alone is asked for behind a softmax; what is empty; and a
    part, `x[:3]`, or what a call gives.
    ## Sources
    PyTorch documentation, `torch.Tensor.to` ("returns a tensor").
    """

    severity = Severity.WARNING
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for such calls whose value nobody takes."""
        for bare in file.bare:
            call = bare.value
            if not isinstance(call, Call) or call.name not in METHODS or is_displayed(file, bare):
                continue
            if thing_of(file, call.receiver).kind != "tensor" or is_there_to_fail(file, bare.context):
                continue
            if call.name in CONVERSIONS and isinstance(call.receiver, Call) and call.receiver.name in _FRESH:
                continue  # `torch.zeros(1).cuda()` wakes the device
            if is_said_to_be_module(file, call):
                continue
            name = quoted(file, call.receiver, "the tensor")
            is_leaf = thing_of(file, call.receiver).name == "torch.nn.Parameter" and call.name in _WORK_IN_PLACE
            yield self.finding(
                fitting(f"the result of `{call.name[1:]}` is dropped", "a result is dropped"),
                sureness=Sureness.POSSIBLE if _is_doubtful(file, call) else Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence(f"what takes the result on {line_of(file, call.at)}", "0 variables", "1")],
                cause=f"`{call.name[1:]}` returns a new tensor and leaves {name} as it is.",
                fixes=[_in_place(file, call) if is_leaf else _taken(file, call, name)],
            )

    bad_code = {
        "flattened, and not kept": """
            for x, y in DataLoader(torch.load("data")):
                x.flatten(1)  # bad
                print(x)
            """,
        "masked, and not kept": """
            class Attention(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.queries, self.keys = nn.Linear(8, 8), nn.Linear(8, 8)

                def forward(self, x, mask):
                    scores = self.queries(x) @ self.keys(x).transpose(-2, -1)
                    scores.masked_fill(mask == 0, float("-inf"))  # bad
                    return F.softmax(scores, dim=-1) @ x
            """,
        "clamped, and not kept": """
            class Actor(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 2)

                def forward(self, x):
                    action = self.out(x)
                    action.clamp(-1, 1)  # bad
                    return action
            """,
    }
    good_code = {
        "kept": """
            for x, y in DataLoader(torch.load("data")):
                x = x.flatten(1)
                x.clamp_(0, 1)
            """,
        "a module": """
            model = nn.Linear(3, 2)
            model.to("cuda")
            """,
        "something unknown": """
            def store(memory):
                memory.detach()
            """,
        "there to fail": """
            x = torch.ones(3)
            try:
                x.view(2, 2)
            except RuntimeError:
                print("no")
            """,
    }


def _taken(file: Code, call: Call, name: str) -> Fix:
    """The result bound to a name; or the line removed, where nothing would read it, or a gradient is read off what the
    tensor is now.
    """
    if not _is_needed(file, call) or _is_left(file, call):
        return Fix(f"Remove the line: nothing reads {name} behind it.")
    here = file.functions[file.function_at(call.context)]
    graded = re.compile(rf"(?<![\w.]){re.escape(name.strip('`'))}\.(?:grad\b|retain_grad\()")
    if call.name == ".detach" and file.matches(graded, here.at if here.context else None):
        return Fix(f"Remove the line: {name} is the tensor whose gradient is read, and a detached one has none.")
    taken = code(f"{_taker(file, call, name)} = {file.text(call.at)}")
    line = _assertion_behind(file, call, name.strip("`"))
    if line and call.name in SHAPES:
        return Fix(f"Keep the result, of which {line} asserts something:\n{taken}", edits=_kept(file, call))
    if call.name in SHAPES:  # what follows may have been written for the shape that it has now
        what = "Keep the result; or remove the line, where what follows wants the shape that it has:\n"
        return Fix(what + taken, edits=_kept(file, call))
    if call.name in _VALUES:
        what = "Keep the result, which changes what is computed; or remove the line, where it is right without it:\n"
        return Fix(what + taken, edits=_kept(file, call))
    return Fix("Keep the result:\n" + taken, safe=True, edits=_kept(file, call))


def _is_left(file: Code, call: Call) -> bool:
    """Whether a tensor that is handed in, or that each round of a loop draws anew, is only deleted behind a call."""
    tensor = call.receiver
    how = file.bindings[tensor.binding].how if isinstance(tensor, Name) and tensor.binding != NOWHERE else ""
    loops = [one for one in file.around(call.context) if one.kind in ("for", "while")]
    if not isinstance(tensor, Name) or how not in ("for", "argument") or (how == "argument" and loops):
        return False
    behind = [one.at.line for one in readings_of(file, tensor.binding) if one.at.line > call.at.end_line]
    return all(file.lines[line - 1].lstrip().startswith("del ") for line in behind)


def _assertion_behind(file: Code, call: Call, name: str) -> str:
    """The line right behind a call, where it asserts something of the tensor; empty where it does not."""
    for number in range(call.at.end_line + 1, len(file.lines) + 1):
        line = file.lines[number - 1].partition("#")[0].strip()
        if line:
            asserts = re.match(rf"assert\b.*(?<![\w.]){re.escape(name)}\b", line)
            return line_of(file, call.at._replace(line=number)) if asserts else ""
    return ""


def _in_place(file: Code, call: Call) -> Fix:
    """A parameter changed where it is: a module takes no tensor in its place, and an optimizer has the old one."""
    parameter = file.text(call.receiver.at) if call.receiver is not None else ""
    arguments = file.text(call.at).removeprefix(f"{parameter}{call.name}")
    changed = code("with torch.no_grad():", f"    {parameter}{call.name}_{arguments}")
    return Fix(f"Change the parameter in place:\n{changed}")


def _kept(file: Code, call: Call) -> tuple[Edit, ...]:
    """The name that takes the result, where binding it there changes nothing else."""
    tensor = call.receiver
    before = file.lines[call.at.line - 1].encode("utf-8", "surrogatepass")[: call.at.column]
    if not isinstance(tensor, Name) or tensor.binding == NOWHERE or before.strip():
        return ()
    made = file.bindings[tensor.binding]
    if "." not in tensor.name and file.function_at(made.context) != file.function_at(call.context):
        return ()  # it would become a local name
    return (insertion(file, call.at.line, call.at.column, f"{tensor.name} = "),)


def _taker(file: Code, call: Call, name: str) -> str:
    """What the result is to be bound to: the tensor itself, where it has a name."""
    tensor = call.receiver
    while isinstance(tensor, Call) and tensor.name.startswith("."):
        tensor = tensor.receiver
    return file.text(tensor.at) if isinstance(tensor, Name | Attribute) else name.strip("`")


_VALUES = frozenset({".masked_fill", ".clamp", ".softmax", ".sigmoid", ".relu", ".abs", ".mul", ".add", ".div", ".sub"})
"""Those that give other numbers."""
_WORK_IN_PLACE = frozenset({".clamp", ".masked_fill", ".abs", ".mul", ".add", ".div", ".sub", ".relu", ".sigmoid"})
"""Those that have a twin that changes the numbers in place, `clamp_`."""
_FRESH = frozenset({"torch.zeros", "torch.ones", "torch.rand", "torch.randn", "torch.empty", "torch.tensor",
                    "torch.Tensor", "torch.FloatTensor", "torch.randint", "torch.arange"})  # fmt: skip

_CLOCK = re.compile(r"\btime\.\w*time\(|perf_counter|monotonic\(|default_timer|timeit|\.elapsed_time\(|synchronize\(")
_QUIET = re.compile(
    r"(?:torch\.|\b)(?:no_grad|enable_grad|inference_mode|set_grad_enabled|set_detect_anomaly|autocast|amp\.\w+|stream"
    r"|device|trange|tqdm|alive_bar|progress_bar|open|scope|maybe_autocast|join|no_sync|accumulate)$"
)
"""Contexts that do not look at what happens in them: neither at its time, nor at what it remembers or raises."""


def _is_doubtful(file: Code, call: Call) -> bool:
    """Whether something else may be meant: a method that works in place, time or memory that is taken, nothing."""
    is_tensor = call.name in TENSORS_ONLY or is_certain_tensor(file, call.receiver)
    return (
        not is_tensor
        or _has_done_its_work(call)
        or not _is_needed(file, call)
        or _is_measured(file, call)
        or _is_watched(file, call)
        or is_idle(file, call)
        or _is_done_beside(file, call)
        or _keeps_order(file, call)
    )


def _is_needed(file: Code, call: Call) -> bool:
    """Whether a tensor that was made here is read again: one that is not only wakes the device, or is waited for."""
    tensor = call.receiver
    while isinstance(tensor, Call) and tensor.name in METHODS:
        tensor = tensor.receiver
    if not isinstance(tensor, Name) or tensor.binding == NOWHERE or "." in tensor.name:
        return True
    if file.bindings[tensor.binding].how != "assign":
        return True
    dropped = {bare.value.receiver.at for bare in file.bare if isinstance(bare.value, Call) and bare.value.receiver}
    loops = [one for one in file.around(call.context) if one.kind in ("for", "while", "once")]
    from_line = loops[-1].at.line if loops else call.at.line
    reads = (one for one in readings_of(file, tensor.binding) if one.at not in dropped)
    return any(one.at.line >= from_line and one.at != tensor.at for one in reads)


def _are_read_as(file: Code, call: Call, name: Name, pattern: re.Pattern[str]) -> bool:
    """Whether all that is read of a variable behind a call goes on in a way."""
    if name.binding == NOWHERE:
        return False
    behind = [one for one in readings_of(file, name.binding) if one.at.line > call.at.end_line]
    texts = [file.lines[one.at.end_line - 1].encode()[one.at.end_column :].decode(errors="replace") for one in behind]
    return bool(texts) and all(pattern.match(one) for one in texts)


def _is_done_beside(file: Code, call: Call) -> bool:
    """Whether the same is done in another line of the function, which keeps the result: a line that is left over."""
    here = file.functions[file.function_at(call.context)]
    said = file.text(call.at)
    kept = re.compile(rf"[=(,\[]\s*{re.escape(said)}|\breturn {re.escape(said)}")
    lines = file.lines[here.at.line - 1 : here.at.end_line] if here.context else file.lines
    return any(kept.search(line.partition("#")[0]) for line in lines)


_ORDERED = re.compile(r"\.(?:argmax|argsort|topk)\b")


def _keeps_order(file: Code, call: Call) -> bool:
    """Whether only the order of scores is asked behind a softmax or a sigmoid of them, which leave it as it is."""
    if call.name not in (".softmax", ".sigmoid") or not isinstance(call.receiver, Name):
        return False
    return _are_read_as(file, call, call.receiver, _ORDERED)


def _is_measured(file: Code, call: Call) -> bool:
    """Whether a clock is read around: then a result is waited for, or a loop that does nothing else takes its time."""
    function = file.functions[file.function_at(call.context)]
    if not file.matches(_CLOCK, function.at if function.context else None):
        return False
    loop = next((one for one in file.numbers_around(call.context) if file.contexts[one].kind in ("for", "while")), None)
    inside = [one for one in file.calls if loop is not None and loop in file.numbers_around(one.context)]
    dropped = {bare.value.number for bare in file.bare if isinstance(bare.value, Call)}
    return bool(inside) and all(one.number in dropped for one in inside)


def _is_watched(file: Code, call: Call) -> bool:
    """Whether a context around looks at what happens: a profiler, hooks for saved tensors, one that takes errors."""
    for here in file.around(call.context):
        if here.kind == "function":
            return False
        if here.kind == "with" and not (isinstance(here.value, Call) and _QUIET.search(here.value.name)):
            return True
    return False


def _has_done_its_work(call: Call) -> bool:
    """Whether it follows a method that worked in place: `x.scatter_(...).float()` is not without effect."""
    before = call.receiver
    return isinstance(before, Call) and before.name.endswith("_") and not before.name.endswith("__")
