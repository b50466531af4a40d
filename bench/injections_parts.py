"""Faults of layers, of initialization and of tests for NaN, made by an edit of correct code; see `injections`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from injecting import (
    Change,
    Kind,
    Mutant,
    Script,
    alone,
    keyword,
    last,
    made_as,
    name_of,
    owner,
    trainings,
    within,
)  # fmt: skip

_LAYER = re.compile(r"(?:torch\.)?nn\.(?:Linear|Conv[123]d|BatchNorm[123]d|LayerNorm|Embedding|LSTM|GRU)")


_WEIGHTY = re.compile(
    r"nn\.(?!Dropout|MaxPool|AvgPool|Identity|Adaptive|ReLU|Unfold|Module|Upsample|Upsampling|Flatten|Softmax|Sigmoid|Tanh"
    r"|GELU|SiLU|LeakyReLU|ELU|Pixel|ZeroPad|ReflectionPad|ReplicationPad)[A-Z]"
)


def _weighty_classes(script: Script) -> set[str]:
    """Classes of the file with layers or parameters: their own, or those of other such classes."""
    texts = {one.name: script.source(one) for one in script.nodes(ast.ClassDef) if isinstance(one, ast.ClassDef)}
    inherits = {
        one.name for one in script.nodes(ast.ClassDef)
        if isinstance(one, ast.ClassDef) and any(not ast.unparse(base).endswith("Module") for base in one.bases)
    }  # fmt: skip
    found = {name for name, text in texts.items() if _WEIGHTY.search(text)} | inherits
    while True:
        more = {
            name for name, text in texts.items()
            if name not in found and any(re.search(rf"\b{one}\(", text) for one in found)
        }  # fmt: skip
        if not more:
            return found
        found |= more


def module_list_removed(script: Script) -> Iterator[Mutant]:
    """A plain list in place of a `ModuleList` of layers with weights."""
    own = _weighty_classes(script)
    for call in script.calls("ModuleList"):
        parent, cls = script.parents[call], script.class_(call)
        if cls is None or not isinstance(parent, ast.Assign) or not name_of(parent.targets[0]).startswith("self."):
            continue
        if len(call.args) > 1 or call.keywords:
            continue
        given = script.source(call.args[0]) if call.args else "[]"
        if call.args and not isinstance(call.args[0], ast.List | ast.ListComp):
            given = f"[{given[1:-1]}]" if isinstance(call.args[0], ast.GeneratorExp) else f"list({given})"
        name = name_of(parent.targets[0])
        grows = [one for one in script.calls("append", "extend") if name_of(one.func).startswith(f"{name}.")]
        put = " ".join((given, *(script.source(one) for one in grows)))
        built = _WEIGHTY.search(put) or any(re.search(rf"\b{one}\(", put) for one in own)
        is_kept = _is_registered_later(script, cls, call, name) or _is_asked_as_module(script, name)
        if built and not is_kept and _is_read_again(script, name, call, grows):
            yield script.mutant(call, script.replaced(call, given), region=(cls.lineno, cls.end_lineno or cls.lineno))


def _is_registered_later(script: Script, cls: ast.ClassDef, call: ast.Call, name: str) -> bool:
    """Whether a class makes a container of what it first kept: `self.body = nn.Sequential(*self.body)`."""
    made = re.compile(rf"\b(?:Sequential|ModuleList|ModuleDict)\(\s*\*?{re.escape(name)}\b(?!\s*[\[.])")
    return len(made.findall(script.source(cls))) > len(made.findall(script.source(call)))


def _is_asked_as_module(script: Script, name: str) -> bool:
    """Whether what only one class has by this name is asked for what no list has: `model.layers.parameters()` fails."""
    own = re.compile(rf"^\s*{re.escape(name)}\s*(?::[^=]*)?=(?!=)", re.M)
    makers = [cls for cls in script.nodes(ast.ClassDef) if own.search(script.source(cls))]
    asked = rf"\.{re.escape(name.rpartition('.')[2])}\.\w+\("
    return len(makers) == 1 and any(re.search(asked, f"{ast.unparse(one.func)}(") for one in script.calls(*_METHODS))


_METHODS = (
    "parameters", "named_parameters", "children", "named_children", "modules", "named_modules", "state_dict",
    "load_state_dict", "apply", "requires_grad_", "train", "eval", "to", "cuda",
)  # fmt: skip


def _is_read_again(script: Script, name: str, made: ast.Call, grows: list[ast.Call]) -> bool:
    """Whether the file reads the attribute: of one that only a base reads, the base has registered that name already,
    and torch refuses to put a list there; one that nothing reads does nothing.
    """
    attribute = name.rpartition(".")[2]
    filled = {id(one.func.value) for one in grows if isinstance(one.func, ast.Attribute)}
    return any(
        isinstance(one, ast.Attribute)
        and one.attr == attribute
        and isinstance(one.ctx, ast.Load)
        and id(one) not in filled
        and one not in within(made)
        and not _is_of_stranger(script, one, made)
        for one in script.nodes(ast.Attribute)
    )


def _is_of_stranger(script: Script, read: ast.Attribute, made: ast.Call) -> bool:
    """Whether another class reads what it keeps itself under that name, and neither inherits from the other."""
    cls, other = script.class_(made), script.class_(read)
    if cls is None or other is None or cls is other or name_of(read.value) != "self":
        return False
    own = re.compile(rf"^\s*self\.{re.escape(read.attr)}\s*(?::[^=]*)?=(?!=)", re.M)
    heirs = {cls.name, other.name} & {ast.unparse(base) for one in (cls, other) for base in one.bases}
    return not heirs and own.search(script.source(other)) is not None


def dropout_of_one_layer(script: Script) -> Iterator[Mutant]:
    """Dropout that a recurrent layer is given, which has one layer and so nothing between layers."""
    for call in script.nodes(ast.Call):
        assert isinstance(call, ast.Call)
        recurrent = re.fullmatch(r"(?:torch\.)?nn\.(?:LSTM|GRU|RNN)", ast.unparse(call.func))
        known = all(one.arg for one in call.keywords) and not any(isinstance(one, ast.Starred) for one in call.args)
        given = keyword(call, "num_layers") or keyword(call, "dropout")
        if recurrent and known and len(call.args) == 2 and given is None:
            end = script.span(call)[1]
            yield script.mutant(call, _inserted(script, end - 1, ", dropout=0.3"))


def nan_by_equals(script: Script) -> Iterator[Mutant]:
    """A test for NaN that nothing passes."""
    for call in script.calls("isnan"):
        module = ast.unparse(call.func).partition(".")[0]
        if module in ("np", "numpy", "math") and len(call.args) == 1 and not call.keywords:
            text = f"({script.source(call.args[0])} == {module}.nan)"
            yield script.mutant(call, script.replaced(call, text))


def activation_twice(script: Script) -> Iterator[Mutant]:
    """A probability that is squashed once more."""
    for call in script.calls("softmax", "sigmoid"):
        written = ast.unparse(call.func)
        parent = script.parents.get(call)
        if not re.fullmatch(r"(?:torch|F|nn\.functional|torch\.nn\.functional)\.(?:softmax|sigmoid)", written):
            continue
        if len(call.args) < 1 or not isinstance(parent, ast.Assign | ast.Return):
            continue
        rest = [script.source(one) for one in call.args[1:]]
        rest += [f"{one.arg}={script.source(one.value)}" for one in call.keywords if one.arg]
        text = f"{script.source(call.func)}({', '.join([script.source(call), *rest])})"
        yield script.mutant(call, script.replaced(call, text))


def padding_row_drawn(script: Script) -> Iterator[Mutant]:
    """An embedding with a padding row, filled as a whole."""
    for node in script.nodes(ast.Assign):
        assert isinstance(node, ast.Assign)
        call, name = node.value, name_of(node.targets[0])
        if not isinstance(call, ast.Call) or not name.startswith("self.") or len(node.targets) != 1:
            continue
        padding = keyword(call, "padding_idx")
        if not re.fullmatch(r"(?:torch\.)?nn\.Embedding", ast.unparse(call.func)) or padding is None:
            continue
        if f"{name}.weight" in script.text or not isinstance(padding.value, ast.Constant | ast.Name):
            continue
        prefix = ast.unparse(call.func).rpartition(".")[0]
        if isinstance(padding.value, ast.Name) or padding.value.value is not None:
            end = script.span(node)[1]
            yield script.mutant(node, _inserted(script, end, f"; {prefix}.init.normal_({name}.weight)"))


def layer_named_twice(script: Script) -> Iterator[Mutant]:
    """A layer that gets the name of the one before it."""
    for cls in script.nodes(ast.ClassDef):
        assert isinstance(cls, ast.ClassDef)
        made = next((one for one in cls.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        body = made.body if made is not None else []
        for first, second in pairwise(body):
            one, other = _layer_at(first), _layer_at(second)
            if one is not None and other is not None and name_of(one) != name_of(other):
                yield script.mutant(other, script.replaced(other, name_of(one)))


def frozen_as_a_whole(script: Script) -> Iterator[Mutant]:
    """`model.requires_grad = False` in place of a loop over its parameters: the method would do."""
    for loop in script.nodes(ast.For):
        assert isinstance(loop, ast.For)
        source, body = loop.iter, loop.body[0]
        if len(loop.body) != 1 or not isinstance(source, ast.Call) or last(source) != "parameters" or source.args:
            continue
        set_, frozen = body.targets[0] if isinstance(body, ast.Assign) else None, getattr(body, "value", None)
        is_frozen = isinstance(frozen, ast.Constant) and frozen.value is False
        whole = owner(source)
        if is_frozen and name_of(set_) == f"{name_of(loop.target)}.requires_grad" and re.fullmatch(r"[\w.]+", whole):
            yield script.mutant(loop, script.replaced(loop, f"{whole}.requires_grad = False"))


def copy_removed(script: Script) -> Iterator[Mutant]:
    """The copy of the weights that a training keeps for the best, and loads or saves when it is over."""
    for training in trainings(script):
        loops = [one for one in (training, *script.up(training)) if isinstance(one, ast.For | ast.While)]
        for node in within(loops[-1]) if loops else ():
            value = node.value if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
            copied = value.args[0] if isinstance(value, ast.Call) and last(value) == "deepcopy" and value.args else None
            if not isinstance(node, ast.Assign) or not isinstance(copied, ast.Call) or last(copied) != "state_dict":
                continue
            name, end = name_of(node.targets[0]), loops[-1].end_lineno or 0
            chosen = any(isinstance(one, ast.If) for one in within(loops[-1]) if node in within(one))
            behind = [one for one in script.calls("load_state_dict", "save") if one.args and one.lineno > end]
            home = script.function(node)
            used = any(name_of(one.args[0]) == name and script.function(one) is home for one in behind)
            if name and chosen and used and value is not None:
                yield script.mutant(node, script.replaced(value, script.source(copied)))


def reset_removed(script: Script) -> Iterator[Mutant]:
    """All resets of a metric of torchmetrics or Keras that is read in each epoch."""
    made = made_as(script, r"(?:torchmetrics|(?:tf\.)?keras\.metrics|metrics)\.(?:\w+\.)?[A-Z]\w*|MulticlassAccuracy")
    for name in made:
        resets = [one for one in script.calls("reset", "reset_state", "reset_states") if owner(one) == name]
        bare = [alone(one, script) for one in resets]
        read = next((one for one in script.calls("compute", "result") if owner(one) == name), None)
        if resets and read is not None and None not in bare:
            looped = any(isinstance(one, ast.For) for one in script.up(read))
            if looped and script.function(read) is script.function(made[name]):
                yield script.mutant(read, *(script.gone(one) for one in bare if one is not None))


def _layer_at(statement: ast.stmt) -> ast.expr | None:
    """The attribute that gets a layer in a statement."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return None
    target = statement.targets[0]
    is_layer = _LAYER.fullmatch(ast.unparse(statement.value.func))
    return target if is_layer and name_of(target).startswith("self.") else None


def _inserted(script: Script, place: int, text: str) -> Change:
    """A text that is put in between; a comma that ends the arguments stays one."""
    trailing = text.startswith(",") and script.text[:place].rstrip().endswith(",")
    return Change(place, place, text[1:] if trailing else text)


KINDS = (
    Kind("ModuleList made a list", ("unregistered-modules",), module_list_removed, 0.9),
    Kind("dropout of one recurrent layer", ("dropout-without-effect",), dropout_of_one_layer),
    Kind("NaN by equals", ("nan-compared-by-equals",), nan_by_equals),
    Kind("activation twice", ("double-activation",), activation_twice),
    Kind("padding row drawn", ("padding-row-overwritten",), padding_row_drawn),
    Kind("layer named twice", ("overwritten-layer",), layer_named_twice),
    Kind("frozen by a module's attribute", ("attribute-without-effect",), frozen_as_a_whole),
    Kind("copy of the best weights removed", ("checkpoint-aliased",), copy_removed),
    Kind("metric's reset removed", ("metric-not-reset",), reset_removed),
)
