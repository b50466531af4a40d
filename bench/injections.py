"""Faults of the training loop, of modes and of what is around them, made by an edit of correct code.

Each kind looks in a syntax tree for a place at which the edit makes a real fault, and says which rules are right there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from injecting import (
    MODAL,
    SCHEDULER,
    Change,
    Kind,
    Mutant,
    Script,
    alone,
    becomes_array,
    inside,
    made_as,
    methods,
    name_of,
    owner,
    steps,
    stops_without_gradients,
    trainings,
    within,
    without,
)  # fmt: skip

NO_GRAD = re.compile(r"(?:torch\.)?(?:no_grad|inference_mode)(?:\(\))?")


def _training_parts(script: Script) -> Iterator[tuple[ast.AST, ast.AST, list[ast.Call]]]:
    """Trainings, their functions, and the calls that clear gradients in the function."""
    for training in trainings(script):
        home = script.function(training) if isinstance(training, ast.For | ast.While | ast.AsyncFor) else training
        if not _is_left_to_fill_in(script, steps(training)[0]):
            yield training, home, methods(home, "zero_grad")


def _is_left_to_fill_in(script: Script, step: ast.Call) -> bool:
    """Whether all that a file binds an optimizer to is None, as in a lesson that asks for it: nothing runs there."""
    assigned = [one for one in script.nodes(ast.Assign) if isinstance(one, ast.Assign)]
    values = [one.value for one in assigned if any(name_of(target) == owner(step) for target in one.targets)]
    return bool(values) and all(isinstance(one, ast.Constant) and one.value is None for one in values)


def _steps_once(training: ast.AST) -> bool:
    """Whether a function without a loop makes its optimizer itself, for the one step that it takes: there is nothing to
    clear.
    """
    if isinstance(training, ast.For | ast.While | ast.AsyncFor):
        return False
    names = {owner(one) for one in steps(training)}
    made = [one for one in inside(training) if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call)]
    return all(any(name_of(target) == name for one in made for target in one.targets) for name in names)


def zero_grad_removed(script: Script) -> Iterator[Mutant]:
    """All `zero_grad()` of a function that trains."""
    told = set()
    for training, home, cleared in _training_parts(script):
        bare = [alone(call, script) for call in cleared]
        if home in told or not cleared or None in bare or not methods(training, "zero_grad") or _steps_once(training):
            continue
        if any(".grad" in script.source(one) for one in inside(home) if isinstance(one, ast.Assign)):
            continue  # cleared by hand, too
        told.add(home)
        yield script.mutant(steps(training)[0], *(script.gone(one) for one in bare if one is not None))


def zero_grad_between(script: Script) -> Iterator[Mutant]:
    """`zero_grad()` moved from before the backward pass to behind it."""
    for training, _, _ in _training_parts(script):
        cleared, backward, stepped = methods(training, "zero_grad"), methods(training, "backward"), steps(training)
        if len(cleared) != 1 or len(backward) != 1 or len(stepped) != 1:
            continue
        first, second, third = (alone(one[0], script) for one in (cleared, backward, stepped))
        if first is None or second is None or third is None or not (first.lineno < second.lineno < third.lineno):
            continue
        if script.block(second) is script.block(third):
            yield script.mutant(second, script.gone(first), script.followed(second, first))


def step_removed(script: Script) -> Iterator[Mutant]:
    """The optimizer's step, where a training has one optimizer, and the text names it elsewhere, too: a loop that goes
    backward beside no optimizer computes gradients.
    """
    for training, home, _ in _training_parts(script):
        stepped = steps(training)
        statement = alone(stepped[0], script)
        name = owner(stepped[0]) if not stepped[0].args else ast.unparse(stepped[0].args[0])
        is_named = len(re.findall(rf"(?<![\w.]){re.escape(name)}(?!\w)", re.sub(r"#.*", "", script.text))) > 1
        one_step = len({ast.unparse(call) for call in stepped}) == 1 and len(steps(home)) == 1
        if one_step and is_named and statement is not None:
            backward = methods(training, "backward")[0]
            yield script.mutant(backward, script.gone(statement))


def backward_removed(script: Script) -> Iterator[Mutant]:
    """The backward pass, where a training has one, and where no gradient is written by hand: `parameter.grad = ...`."""
    for training, home, _ in _training_parts(script):
        backward = methods(training, "backward")
        statement = alone(backward[0], script)
        if len(methods(home, "backward")) != 1 or stops_without_gradients(training):
            continue
        if statement is not None and not _writes_gradients(home):
            yield script.mutant(steps(training)[0], script.gone(statement))


def _writes_gradients(home: ast.AST) -> bool:
    """Whether a function gives a `.grad` a value that is not None."""
    return any(
        isinstance(target, ast.Attribute) and target.attr == "grad"
        for one in inside(home)
        if isinstance(one, ast.Assign) and not (isinstance(one.value, ast.Constant) and one.value.value is None)
        for target in one.targets
    )


def scheduler_first(script: Script) -> Iterator[Mutant]:
    """`scheduler.step()` moved from behind the training to the begin of its round."""
    made = made_as(script, r"(?:torch\.)?(?:optim\.)?(?:lr_scheduler\.)\w+|\w*(?:StepLR|AnnealingLR|ExponentialLR)")
    training_functions = {
        home.name for training, home, _ in _training_parts(script) if isinstance(home, ast.FunctionDef)
    }
    for call in script.calls("step"):
        statement = alone(call, script)
        if statement is None or call.args or owner(call) not in made or not SCHEDULER.search(owner(call)):
            continue
        block, parent = script.block(statement), script.parents[statement]
        before = block[: block.index(statement)]
        trains = any(
            steps([one])
            or any(isinstance(n, ast.Call) and name_of(n.func) in training_functions for n in inside([one]))
            for one in before
        )
        if not isinstance(parent, ast.For | ast.While) or not trains or len(methods(parent, "step")) > 2:
            continue
        yield script.mutant(before[0], script.led(before[0], script.source(statement)), script.gone(statement))


def clip_after_step(script: Script) -> Iterator[Mutant]:
    """Clipping moved behind the step."""
    for training, _, _ in _training_parts(script):
        clips = [*methods(training, "clip_grad_norm_"), *methods(training, "clip_grad_value_")]
        clips += [
            one for one in inside(training) if isinstance(one, ast.Call) and name_of(one.func).startswith("clip_grad_")
        ]
        stepped = steps(training)
        if len(clips) != 1 or len(stepped) != 1:
            continue
        clip, step = alone(clips[0], script), alone(stepped[0], script)
        if clip is None or step is None or script.block(clip) is not script.block(step):
            continue
        if clip.lineno < step.lineno:
            yield script.mutant(clip, script.gone(clip), script.followed(step, clip))


def call_forgotten(script: Script) -> Iterator[Mutant]:
    """The parentheses of `optimizer.step()`, `zero_grad()`, `backward()`, `eval()` or `train()`."""
    kinds: dict[str, int] = {}
    for call in script.calls("step", "zero_grad", "backward", "eval", "train"):
        statement = alone(call, script)
        if statement is None or call.args or call.keywords or not isinstance(call.func, ast.Attribute):
            continue
        if kinds.setdefault(call.func.attr, 0) < 1 and not SCHEDULER.search(owner(call)):
            kinds[call.func.attr] += 1
            yield script.mutant(statement, script.replaced(call, script.source(call.func)))


def loss_detached(script: Script) -> Iterator[Mutant]:
    """`.detach()` or `.item()` behind the loss that goes backward."""
    for number, (training, _, _) in enumerate(_training_parts(script)):
        backward = methods(training, "backward")
        if len(backward) != 1 or not isinstance(backward[0].func, ast.Attribute):
            continue
        name = name_of(backward[0].func.value)
        made = [
            node for node in inside(training)
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and name_of(node.targets[0]) == name
            and isinstance(node.value, ast.Call)
        ]  # fmt: skip
        if name and len(made) == 1:
            how = (".detach()", ".item()", ".data")[number % 3]
            end = script.span(made[0].value)[1]
            yield script.mutant(backward[0], Change(end, end, how))


def item_removed(script: Script) -> Iterator[Mutant]:
    """`.item()` of a running total of the training's loss, which the training does not set back itself."""
    for training, home, _ in _training_parts(script):
        lost = {
            ast.unparse(call.func.value)
            for call in methods(training, "backward")
            if isinstance(call.func, ast.Attribute)
        }
        for node in inside(training):
            if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add) or isinstance(home, ast.Module):
                continue
            if any(isinstance(one, ast.Assign) and _sets(one, node.target) for one in inside(training)):
                continue  # the graphs of a few steps, and not of all
            for call in within(node.value):
                if (
                    isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                    and call.func.attr == "item" and ast.unparse(call.func.value) in lost
                    and script.parents[call] in (node, node.value) and not _is_called(script, call)
                ):  # fmt: skip
                    yield script.mutant(node, script.replaced(call, script.source(call.func.value)))


def _sets(statement: ast.Assign, target: ast.expr) -> bool:
    """Whether an assignment gives a variable, an attribute or a place of a dict a value."""
    return _binds(statement, ast.unparse(target)) or ast.unparse(target) in map(ast.unparse, statement.targets)


def _is_called(script: Script, call: ast.Call) -> bool:
    return isinstance(script.parents[call], ast.Call)


_TENSOR_ONLY = {
    "view",
    "permute",
    "unsqueeze",
    "detach",
    "clamp",
    "expand",
    "contiguous",
    "squeeze",
    "transpose",
    "reshape",
}


def result_dropped(script: Script) -> Iterator[Mutant]:
    """`x = x.view(...)` without `x =`, where a layer or a function of torch's has made `x` just before."""
    layers = set(made_as(script, r"(?:torch\.)?nn\.[A-Z]\w+"))
    for node in script.nodes(ast.Assign):
        assert isinstance(node, ast.Assign)
        call, name = node.value, name_of(node.targets[0])
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _TENSOR_ONLY):
            continue
        if name_of(call.func.value) != name or "." in name or call.func.attr == "contiguous":
            continue
        block = script.block(node)
        before = block[: block.index(node)]
        made = next((one for one in reversed(before) if _binds(one, name)), None)
        value = made.value if isinstance(made, ast.Assign) else None
        if isinstance(value, ast.Call):
            maker = ast.unparse(value.func)
            if maker in layers or (
                maker.startswith(("F.", "torch.")) and not maker.startswith(("torch.load", "torch.utils"))
            ):
                yield script.mutant(node, script.replaced(node, script.source(call)))


def _binds(statement: ast.stmt, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store) for n in ast.walk(statement))


def _evaluates(script: Script, home: ast.AST) -> bool:
    """Whether a function calls a model and trains nothing."""
    return not methods(home, "backward") and any(isinstance(one, ast.For | ast.With) for one in inside(home))


def eval_removed(script: Script) -> Iterator[Mutant]:
    """The switches to eval mode of a file that trains and evaluates a model with dropout or batch normalization."""
    if not MODAL.search(re.sub(r"#.*", "", script.text) + script.around) or not any(True for _ in trainings(script)):
        return
    calls = [call for call in script.calls("eval") if not call.args and isinstance(call.func, ast.Attribute)]
    bare = [alone(call, script) for call in calls]
    if not calls or None in bare or len({owner(call) for call in calls}) != 1:
        return
    for call in calls:
        home = script.function(call)
        block = script.block(script.statement(call))
        after = block[block.index(script.statement(call)) :]
        loops = [one for one in inside(after) if isinstance(one, ast.For) and _calls_model(one, owner(call))]
        if loops and not _is_modeless(script, owner(call)):
            region = script.region(call)
            if isinstance(home, ast.Module):
                region = call.lineno - 3, (loops[0].end_lineno or loops[0].lineno) + 3
            fault = script.mutant(call, *(script.gone(one) for one in bare if one is not None), region=region)
            yield replace(fault, others=tuple(_switched(script, one) for one in calls if one is not call))
            return


def _switched(script: Script, call: ast.Call) -> tuple[int, int]:
    """The lines in which the mode holds that a call sets: its function; at module level the rest of its block."""
    home = script.function(call)
    statement = script.statement(call)
    return _lines(home) if isinstance(home, ast.stmt) else (call.lineno, _lines(script.block(statement)[-1])[1])


def _is_modeless(script: Script, name: str) -> bool:
    """Whether a model is made of a class of the project that has no layer with modes, no part of another class, and is
    given none.
    """
    made = made_as(script, r"\w+").get(name)
    if made is None or not all(
        isinstance(one, ast.Constant) for one in (*made.args, *(key.value for key in made.keywords))
    ):
        return False
    cls = re.compile(rf"^class {ast.unparse(made.func)}\((?:torch\.)?(?:nn\.)?Module\):(.*?)(?=^\S|\Z)", re.M | re.S)
    bodies = [found.group(1) for text in (script.text, script.project) for found in cls.finditer(text)]
    other = re.compile(rf"{MODAL.pattern}|_bn\b|timm|(?<![\w.])[A-Z]\w*\(")
    return bool(bodies) and not any(map(other.search, bodies))


def _calls_model(block: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Call) and name_of(one.func) in (name, f"{name}.module") for one in within(block))


def train_removed(script: Script) -> Iterator[Mutant]:
    """The switches back to train mode, in a file that evaluates in each epoch."""
    if not MODAL.search(re.sub(r"#.*", "", script.text) + script.around):
        return
    calls = [call for call in script.calls("train") if not call.args and alone(call, script)]
    evals = [call for call in script.calls("eval") if not call.args and alone(call, script)]
    if not calls or not evals or len({owner(call) for call in (*calls, *evals)}) != 1:
        return
    for call in calls:
        home = script.function(call)
        for loop in (one for one in script.up(call) if isinstance(one, ast.For | ast.While)):
            switched = [one for one in evals if loop in script.up(one) and one.lineno > call.lineno]
            if switched and steps(loop) and methods(loop, "backward"):
                statements = [alone(one, script) for one in calls if loop in script.up(one)]
                yield script.mutant(call, *(script.gone(one) for one in statements if one), region=_lines(loop))
                return
        if isinstance(home, ast.FunctionDef) and steps(home) and methods(home, "backward"):
            looped = _called_together(script, home, evals)
            if looped is not None and script.function(call) is not script.function(evals[0]):
                statements = [alone(one, script) for one in calls]
                lines = min(home.lineno, *_lines(looped)), max(home.end_lineno or 0, *_lines(looped))
                yield script.mutant(call, *(script.gone(one) for one in statements if one), region=lines)
                return


def _lines(node: ast.AST) -> tuple[int, int]:
    assert isinstance(node, ast.stmt)
    return node.lineno, node.end_lineno or node.lineno


def _called_together(script: Script, training: ast.FunctionDef, evals: list[ast.Call]) -> ast.For | None:
    """The loop that calls a function that trains and one that switches to eval mode."""
    switching = {home.name for call in evals if isinstance(home := script.function(call), ast.FunctionDef)}
    for loop in script.nodes(ast.For):
        assert isinstance(loop, ast.For)
        named = {name_of(call.func).rpartition(".")[2] for call in within(loop) if isinstance(call, ast.Call)}
        if training.name in named and named & switching and training.name not in switching:
            return loop
    return None


def no_grad_removed(script: Script) -> Iterator[Mutant]:
    """`with torch.no_grad():` round the batches of an evaluation, or as a decorator of a function that evaluates."""
    modeled = {owner(call) for call in script.calls("eval", "train", "parameters", "load_state_dict", "state_dict")}
    for node in script.nodes(ast.With):
        assert isinstance(node, ast.With)
        if len(node.items) != 1 or not NO_GRAD.fullmatch(ast.unparse(node.items[0].context_expr)):
            continue
        nested = any(_is_quiet(one) for one in script.up(node))
        loops = [one for one in inside(node) if isinstance(one, ast.For)]
        around = next((one for one in script.up(node) if isinstance(one, ast.For | ast.FunctionDef)), None)
        looped = loops or isinstance(around, ast.For)
        called = [
            one for loop in (loops or [node]) for one in within(loop)
            if isinstance(one, ast.Call) and name_of(one.func) in modeled
        ]  # fmt: skip
        if nested or not looped or not called or methods(node, "backward"):
            continue
        if (not loops and isinstance(around, ast.For) and methods(around, "backward")) or not _reads(node):
            continue
        if node.body[0].lineno == node.lineno or _has_long_text(node) or becomes_array(node, script, modeled):
            continue
        yield script.mutant(node, *_unwrapped(script, node), region=script.region(called[0]))
    for home in script.nodes(ast.FunctionDef):
        assert isinstance(home, ast.FunctionDef)
        for decorator in home.decorator_list:
            if not NO_GRAD.fullmatch(ast.unparse(decorator)) or not _reads(home):
                continue
            if becomes_array(home, script, modeled):
                continue
            loops = [one for one in inside(home) if isinstance(one, ast.For)]
            called = [
                one for loop in loops for one in within(loop)
                if isinstance(one, ast.Call) and name_of(one.func) in modeled
            ]  # fmt: skip
            if called:
                start, end = script.span(decorator)
                yield script.mutant(called[0], Change(start - 1, end, ""))


def _is_quiet(node: ast.AST) -> bool:
    if isinstance(node, ast.With):
        return any(NO_GRAD.fullmatch(ast.unparse(one.context_expr)) for one in node.items)
    return isinstance(node, ast.FunctionDef) and any(NO_GRAD.fullmatch(ast.unparse(one)) for one in node.decorator_list)


def _reads(node: ast.AST) -> bool:
    """Whether a number comes out of it: what is only kept as a tensor may be meant to have its graph."""
    return any(methods(node, name) for name in ("item", "argmax", "max", "numpy", "topk", "eq", "tolist")) or any(
        isinstance(one, ast.Call) and ast.unparse(one.func) in ("torch.max", "torch.argmax", "float")
        for one in within(node)
    )


def _has_long_text(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Constant) and one.lineno != one.end_lineno for one in ast.walk(node)) or any(
        isinstance(one, ast.JoinedStr) and one.lineno != one.end_lineno for one in ast.walk(node)
    )


def _unwrapped(script: Script, node: ast.With) -> Iterator[Change]:
    """The body of a `with` on its own, each line less indented."""
    first = node.body[0]
    less = first.col_offset - node.col_offset
    header = script.offset(node.lineno, node.col_offset)
    end = script.starts[first.lineno - 1]
    yield Change(header, end - 1, "pass")
    for line in range(first.lineno, (node.end_lineno or node.lineno) + 1):
        text = script.lines[line - 1]
        if text[:less].strip() == "":
            start = script.starts[line - 1]
            yield Change(start, start + min(less, len(text)), "")


def set_epoch_removed(script: Script) -> Iterator[Mutant]:
    """`sampler.set_epoch(epoch)`, of one of the samplers of the file."""
    calls = list(script.calls("set_epoch"))
    bare = [alone(call, script) for call in calls]
    made = [] if _keeps_batches(script) else list(script.calls("DistributedSampler"))
    if all(_is_in_only_epoch(script, call) for call in calls):
        return
    if calls and made and None not in bare and any(True for _ in trainings(script)):
        homes = [script.function(one) for one in made]
        ends = [_lines(home) if isinstance(home, ast.stmt) else (1, len(script.lines)) for home in homes]
        lines = min(first for first, _ in ends), max(end for _, end in ends)
        yield script.mutant(calls[0], *(script.gone(one) for one in bare if one is not None), region=lines)


def _is_in_only_epoch(script: Script, call: ast.Call) -> bool:
    """Whether a script goes over its batches once, and tells the sampler within: there is no other epoch."""
    loops = [one for one in script.up(call) if isinstance(one, ast.For | ast.While)]
    return isinstance(script.function(call), ast.Module) and len(loops) == 1 and loops[0] in list(trainings(script))


def _keeps_batches(script: Script) -> bool:
    """Whether the batches of a loader are drawn once: `list(DataLoader(...))`; then nothing is left to be told."""
    kept = [*script.calls("list"), *script.calls("tuple")]
    return any(one in call.args for call in kept for one in script.calls("DataLoader"))


def set_epoch_removed_elsewhere(script: Script) -> Iterator[Mutant]:
    """The same where the file calls, in a loop, what trains in another file."""
    calls = list(script.calls("set_epoch"))
    bare = [alone(call, script) for call in calls]
    in_loop = any(isinstance(one, ast.For | ast.While) for call in calls for one in script.up(call))
    trains = any(True for _ in trainings(script))
    if in_loop and any(True for _ in script.calls("DistributedSampler")) and None not in bare and not trains:
        gone = (script.gone(one) for one in bare if one is not None)
        yield script.mutant(calls[0], *gone, region=(1, len(script.lines)))


def shuffle_removed(script: Script) -> Iterator[Mutant]:
    """`shuffle=True` of a loader that a training goes over: the last of its name before that loop."""
    for call in script.calls("DataLoader"):
        parent = script.parents[call]
        name = name_of(parent.targets[0]) if isinstance(parent, ast.Assign) else ""
        if name and any(_goes_over(script, loop, name, call) for loop in trainings(script)):
            change = without(script, call, "shuffle")
            given = next((one.value for one in call.keywords if one.arg == "shuffle"), None)
            if change is not None and isinstance(given, ast.Constant) and given.value is True:
                yield script.mutant(call, change)


def _goes_over(script: Script, loop: ast.AST, name: str, made: ast.Call) -> bool:
    """Whether a loop goes over what a call made: the nearest of its name above, or the only one of the file."""
    if not isinstance(loop, ast.For) or not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", ast.unparse(loop.iter)):
        return False
    every = [
        node for node in script.nodes(ast.Assign)
        if isinstance(node, ast.Assign) and any(_binds(node, name) or name_of(one) == name for one in node.targets)
    ]  # fmt: skip
    near = [node for node in every if script.function(node) is script.function(loop) and node.lineno < loop.lineno]
    asked = near[-1:] if near else every
    return len(asked) == 1 and asked[0].value is made


KINDS = (
    Kind("zero_grad removed", ("missing-zero-grad",), zero_grad_removed, 0.9),
    Kind("zero_grad between backward and step", ("gradients-cleared-before-step",), zero_grad_between),
    Kind("step removed", ("missing-optimizer-step",), step_removed),
    Kind("backward removed", ("missing-backward",), backward_removed),
    Kind("scheduler first", ("scheduler-before-optimizer",), scheduler_first),
    Kind("clipping after the step", ("gradient-clipping-misplaced",), clip_after_step),
    Kind("parentheses forgotten", ("call-forgotten",), call_forgotten),
    Kind("loss detached", ("loss-detached",), loss_detached),
    Kind("item() removed", ("graph-kept-alive",), item_removed),
    Kind("result dropped", ("result-dropped",), result_dropped),
    Kind("eval() removed", ("validation-in-train-mode",), eval_removed, 0.65),
    Kind("train() removed", ("training-in-eval-mode",), train_removed),
    Kind("no_grad removed", ("validation-builds-graph",), no_grad_removed, 0.6),
    Kind("set_epoch removed", ("distributed-sampler-epoch",), set_epoch_removed),
    Kind("set_epoch, trained elsewhere", ("distributed-sampler-epoch",), set_epoch_removed_elsewhere),
    Kind("shuffle removed", ("unshuffled-data",), shuffle_removed),
)
