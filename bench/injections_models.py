"""Faults of losses, of models and of data, made by an edit of correct code; see `injections`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from injecting import Change, Kind, Mutant, Script, alone, inside, keyword, made_as, methods, name_of, without

_FLATTEN = {"to", "cuda", "cpu", "double", "float", "half", "train", "eval"}


def _loss_calls(script: Script, function: str, module: str) -> Iterator[ast.Call]:
    """Calls of a loss with an answer and a target: of the function, or of what the module's class made."""
    made = made_as(script, rf"(?:torch\.)?(?:nn\.)?{module}")
    for call in script.nodes(ast.Call):
        assert isinstance(call, ast.Call)
        plain = ast.unparse(call.func)
        if plain in made and not _is_sure(script, call, plain, module):
            continue
        is_function = re.fullmatch(rf"(?:F|nn\.functional|torch\.nn\.functional)\.{function}", plain) is not None
        if len(call.args) >= 2 and (is_function or plain in made):
            yield call


def _is_sure(script: Script, call: ast.Call, name: str, module: str) -> bool:
    """Whether a name stands for this loss at a call: the nearest assignment in its function says so, or all do."""
    every = [
        node for node in script.nodes(ast.Assign)
        if isinstance(node, ast.Assign) and name in [name_of(one) for one in node.targets]
    ]  # fmt: skip
    home = script.function(call)
    near = [node for node in every if script.function(node) is home and node.lineno <= call.lineno]
    handed = ast.walk(home.args) if isinstance(home, ast.FunctionDef) else ()
    if not near and any(isinstance(one, ast.arg) and one.arg == name for one in handed):
        return False  # whatever loss the function is handed
    asked = near[-1:] or every
    return all(isinstance(one.value, ast.Call) and name_of(one.value.func).endswith(module) for one in asked)


def _has_torch(script: Script) -> bool:
    return any(
        any(alias.name == "torch" and alias.asname is None for alias in node.names)
        for node in script.nodes(ast.Import) if isinstance(node, ast.Import)
    )  # fmt: skip


def _wrapped(script: Script, node: ast.expr, function: str, *, method: str = "") -> Change:
    """A value that is given to a function of torch's."""
    text = script.source(node)
    if _has_torch(script):
        return script.replaced(
            node,
            f"torch.{function.replace('(', f'({text}, ', 1)}"
            if function.endswith("1)")
            else f"torch.{function}({text})",
        )
    return script.replaced(node, f"({text}).{method or function}" + ("" if function.endswith(")") else "()"))


def softmax_at_loss(script: Script) -> Iterator[Mutant]:
    """A softmax round what cross-entropy is given."""
    for call in _loss_calls(script, "cross_entropy", "CrossEntropyLoss"):
        yield script.mutant(call, _wrapped(script, call.args[0], "softmax(dim=1)"))


def sigmoid_at_loss(script: Script) -> Iterator[Mutant]:
    """A sigmoid round what binary cross-entropy with logits is given."""
    for call in _loss_calls(script, "binary_cross_entropy_with_logits", "BCEWithLogitsLoss"):
        yield script.mutant(call, _wrapped(script, call.args[0], "sigmoid"))


def arguments_swapped(script: Script) -> Iterator[Mutant]:
    """Answer and target in each other's place."""
    for call in _loss_calls(script, "cross_entropy", "CrossEntropyLoss"):
        first, second = call.args[:2]
        yield script.mutant(
            call, script.replaced(first, script.source(second)), script.replaced(second, script.source(first))
        )


def _answering(script: Script, function: str, module: str) -> Iterator[tuple[ast.ClassDef | ast.Call, ast.Call]]:
    """Classes, and calls of `Sequential`, whose answer a loss gets as it is, and the loss's call."""
    classes = {node.name: node for node in script.nodes(ast.ClassDef) if isinstance(node, ast.ClassDef)}
    models: dict[str, ast.ClassDef | ast.Call] = {}
    for name, made in made_as(script, r"[\w.]+").items():
        if name_of(made.func) in classes:
            models[name.rpartition(".")[2]] = classes[name_of(made.func)]
        elif re.fullmatch(r"(?:torch\.)?nn\.Sequential", name_of(made.func)):
            models[name.rpartition(".")[2]] = made
    told: set[ast.AST] = set()
    for loss in _loss_calls(script, function, module):
        given = loss.args[0]
        if isinstance(given, ast.Name):
            home = script.function(loss)
            made_at = [
                node.value for node in inside(home)
                if isinstance(node, ast.Assign) and name_of(node.targets[0]) == given.id and node.lineno <= loss.lineno
            ]  # fmt: skip
            given = made_at[-1] if made_at else given
        if isinstance(given, ast.Call):
            model = models.get(name_of(given.func).rpartition(".")[2])
            if model is not None and model not in told and name_of(given.func) not in ("self",):
                told.add(model)
                yield model, loss


def _forward(cls: ast.ClassDef) -> ast.FunctionDef | None:
    return next((one for one in cls.body if isinstance(one, ast.FunctionDef) and one.name == "forward"), None)


def _returned(cls: ast.ClassDef) -> list[ast.expr]:
    forward = _forward(cls)
    returns = [one for one in inside(forward) if isinstance(one, ast.Return)] if forward else []
    return [one.value for one in returns if one.value is not None]


def _region(script: Script, model: ast.ClassDef | ast.Call) -> tuple[int, int]:
    if isinstance(model, ast.ClassDef):
        return model.lineno, model.end_lineno or model.lineno
    return model.lineno - 1, (model.end_lineno or model.lineno) + 1


_PROBABLE = re.compile(r"softmax|sigmoid", re.I)


def _appended(script: Script, made: ast.Call, layer: str) -> Change | None:
    """A `Sequential` with one more layer."""
    if not made.args or made.keywords or isinstance(made.args[-1], ast.Starred | ast.Call) is False:
        return None
    if isinstance(made.args[-1], ast.Starred) or "OrderedDict" in script.source(made.args[0]):
        return None
    end = script.span(made.args[-1])[1]
    prefix = name_of(made.func).rpartition(".")[0]
    return Change(end, end, f", {prefix}.{layer}")


def _added_in_model(script: Script, losses: tuple[str, str], function: str, layer: str) -> Iterator[Mutant]:
    for model, _ in _answering(script, *losses):
        if isinstance(model, ast.Call):
            change = _appended(script, model, layer)
            if change is not None and not _PROBABLE.search(script.source(model.args[-1])):
                yield script.mutant(model, change, region=_region(script, model))
            continue
        values = _returned(model)
        plain = [one for one in values if not isinstance(one, ast.Tuple | ast.Dict | ast.List)]
        if not values or len(plain) != len(values) or any(_PROBABLE.search(script.source(one)) for one in values):
            continue
        changes = [_wrapped(script, one, function) for one in values]
        yield script.mutant(values[0], *changes, region=_region(script, model))


def softmax_in_model(script: Script) -> Iterator[Mutant]:
    """A softmax at the end of a model whose answer cross-entropy gets."""
    yield from _added_in_model(script, ("cross_entropy", "CrossEntropyLoss"), "softmax(dim=1)", "Softmax(dim=1)")


def sigmoid_in_model(script: Script) -> Iterator[Mutant]:
    """A sigmoid at the end of a model whose answer binary cross-entropy with logits gets."""
    losses = ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss")
    yield from _added_in_model(script, losses, "sigmoid", "Sigmoid()")


def _removed_in_model(script: Script, losses: tuple[str, str], words: str) -> Iterator[Mutant]:
    pattern = re.compile(words)
    for model, _ in _answering(script, *losses):
        if isinstance(model, ast.Call):
            end = model.args[-1] if model.args else None
            if isinstance(end, ast.Call) and len(model.args) > 1 and pattern.search(name_of(end.func)):
                start, stop = script.span(model.args[-2])[1], script.span(end)[1]
                yield script.mutant(model, Change(start, stop, ""), region=_region(script, model))
            continue
        values = _returned(model)
        first = values[0] if len(values) == 1 else None
        if isinstance(first, ast.Call) and pattern.search(name_of(first.func)):
            inner = first.args[0] if first.args else first.func.value if isinstance(first.func, ast.Attribute) else None
            if inner is not None:
                yield script.mutant(first, script.replaced(first, script.source(inner)), region=_region(script, model))


def log_softmax_removed(script: Script) -> Iterator[Mutant]:
    """The log-softmax at the end of a model whose answer NLL gets."""
    yield from _removed_in_model(script, ("nll_loss", "NLLLoss"), r"(?i)log_?softmax$")


def sigmoid_removed(script: Script) -> Iterator[Mutant]:
    """The sigmoid at the end of a model whose answer binary cross-entropy gets."""
    yield from _removed_in_model(script, ("binary_cross_entropy", "BCELoss"), r"(?i)sigmoid$")


def softmax_over_batch(script: Script) -> Iterator[Mutant]:
    """`dim=0` in the log-softmax at the end of a model, or at the loss."""
    for call in script.calls("log_softmax", "LogSoftmax", "softmax"):
        given = keyword(call, "dim")
        axis = given.value if given is not None else call.args[1] if len(call.args) > 1 else None
        if not isinstance(axis, ast.Constant) or axis.value != 1:
            continue
        home = script.class_(call)
        ends = home is not None and any(call in (one, getattr(one, "func", None)) for one in _returned(home))
        if ends and home is not None and any(model is home for model, _ in _answering(script, "nll_loss", "NLLLoss")):
            yield script.mutant(call, script.replaced(axis, "0"), region=_region(script, home))
        elif any(call is loss.args[0] for loss in _loss_calls(script, "nll_loss", "NLLLoss")):
            yield script.mutant(call, script.replaced(axis, "0"))


def super_init_removed(script: Script) -> Iterator[Mutant]:
    """`super().__init__()` of a module that makes layers."""
    for call in script.calls("__init__"):
        statement, cls, home = alone(call, script), script.class_(call), script.function(call)
        if statement is None or cls is None or not isinstance(home, ast.FunctionDef) or home.name != "__init__":
            continue
        modules = [one for one in cls.bases if re.search(r"(?:^|\.)Module$", ast.unparse(one))]
        layers = [one for one in inside(home) if isinstance(one, ast.Assign) and "nn." in script.source(one)]
        if modules and layers and "super" in script.source(call):
            yield script.mutant(call, script.gone(statement), region=_region(script, cls))


def layer_in_forward(script: Script) -> Iterator[Mutant]:
    """A layer that is made where it is used."""
    for node in script.nodes(ast.Assign):
        assert isinstance(node, ast.Assign)
        made, name, cls = node.value, name_of(node.targets[0]), script.class_(node)
        if cls is None or not isinstance(made, ast.Call) or not name.startswith("self."):
            continue
        if not re.fullmatch(r"(?:torch\.)?nn\.(?:Linear|Conv[123]d|Embedding|LSTM|GRU)", name_of(made.func)):
            continue
        given = [*made.args, *(one.value for one in made.keywords)]
        if not all(isinstance(one, ast.Constant) or name_of(one).startswith("self.") for one in given):
            continue
        forward = _forward(cls)
        used = [one for one in methods(forward, name[5:]) if name_of(one.func) == name] if forward is not None else []
        if len(used) == 1 and len([n for n in script.nodes(ast.Attribute) if name_of(n) == name]) == 2:
            change = script.replaced(used[0].func, script.source(made))
            yield script.mutant(used[0], script.gone(node), change)


def dropout_flag_removed(script: Script) -> Iterator[Mutant]:
    """`training=self.training` of a functional dropout."""
    for call in script.calls("dropout"):
        if re.fullmatch(r"(?:F|nn\.functional|torch\.nn\.functional)\.dropout", name_of(call.func)):
            change = without(script, call, "training")
            given = keyword(call, "training")
            if change is not None and given is not None and name_of(given.value) == "self.training":
                yield script.mutant(call, change)


def layer_shared(script: Script) -> Iterator[Mutant]:
    """`[layer] * n` in place of a list of n layers."""
    for node in script.nodes(ast.ListComp):
        assert isinstance(node, ast.ListComp)
        source, element = node.generators[0].iter, node.elt
        if len(node.generators) != 1 or node.generators[0].ifs or not isinstance(element, ast.Call):
            continue
        own = {one.name for one in script.nodes(ast.ClassDef) if isinstance(one, ast.ClassDef)}
        is_layer = re.match(
            r"(?:torch\.)?nn\.(?:Linear|Conv|LSTM|GRU|BatchNorm|LayerNorm|Trans)", name_of(element.func)
        )
        variable = name_of(node.generators[0].target)
        uses = any(isinstance(one, ast.Name) and one.id == variable for one in ast.walk(element))
        ranged = isinstance(source, ast.Call) and name_of(source.func) == "range" and len(source.args) == 1
        if "torch" not in script.text[:3000] or script.class_(node) is None:
            continue
        if ranged and isinstance(source, ast.Call) and not uses and (is_layer or name_of(element.func) in own):
            times = script.source(source.args[0])
            plain = isinstance(source.args[0], ast.Constant | ast.Name | ast.Attribute)
            text = f"[{script.source(element)}] * {times if plain else f'({times})'}"
            yield script.mutant(node, script.replaced(node, text))


def constant_weights(script: Script) -> Iterator[Mutant]:
    """The same number in all weights of each layer, where a rule of `nn.init` drew them."""
    for call in script.calls("xavier_uniform_", "xavier_normal_", "kaiming_normal_", "kaiming_uniform_", "normal_"):
        if not call.args or not re.match(r"(?:torch\.)?(?:nn\.)?init\.", name_of(call.func)):
            continue
        asked = next(
            (one for one in script.up(call) if isinstance(one, ast.If) and "Norm" in script.source(one.test)), None
        )
        linear = any(
            isinstance(one, ast.If) and re.search(r"Linear|Conv", script.source(one.test)) for one in script.up(call)
        )
        if asked is not None or not linear:
            continue  # a constant is right for them, or it is not known what they are
        if re.fullmatch(r"(?:m|module|layer|mod|l)\.weight(?:\.data)?", script.source(call.args[0])):
            base = name_of(call.func).rpartition(".")[0]
            text = f"{base}.constant_({script.source(call.args[0])}, 0.01)"
            yield script.mutant(call, script.replaced(call, text))


def scaled_before_split(script: Script) -> Iterator[Mutant]:
    """A scaler that is fitted before the first split of its data, and not on the training part."""
    parts = {
        name_of(one)
        for call in script.calls("train_test_split")
        if isinstance(parent := script.parents[call], ast.Assign) and isinstance(parent.targets[0], ast.Tuple)
        for one in parent.targets[0].elts
    }
    for call in script.calls("train_test_split"):
        node = script.parents[call]
        if not isinstance(node, ast.Assign) or not call.args or not isinstance(call.args[0], ast.Name):
            continue
        target = node.targets[0]
        if not isinstance(target, ast.Tuple) or len(target.elts) < 2:
            continue
        train, name = name_of(target.elts[0]), call.args[0].id
        if name in parts:
            continue
        block = script.block(node)
        after = block[block.index(node) + 1 :]
        if not isinstance(script.parents[node], ast.Module) and after is block:
            continue
        for fit in methods(after, "fit_transform") + methods(after, "fit"):
            scaler = name_of(fit.func.value) if isinstance(fit.func, ast.Attribute) else ""
            made = made_as(script, r"(?:\w+\.)*(?:StandardScaler|MinMaxScaler|RobustScaler|PCA)").get(scaler)
            statement = script.statement(fit)
            if made is None or not fit.args or name_of(fit.args[0]) != train or statement not in block:
                continue
            text = f"{name} = {script.source(made)}.fit_transform({name})"
            late = _imported_below(script, node, name_of(made.func).partition(".")[0])
            if late is not None:
                text = f"{script.source(late)}\n{' ' * node.col_offset}{text}"
            if isinstance(statement, ast.Assign):
                yield script.mutant(
                    node, script.led(node, text), script.replaced(fit, train), region=_wide(script, node)
                )
                break


def _imported_below(script: Script, place: ast.stmt, name: str) -> ast.stmt | None:
    """The import of a name that stands below a place, as in the later cells of a notebook."""
    imports = [
        node for node in script.nodes((ast.Import, ast.ImportFrom))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any((one.asname or one.name).partition(".")[0] == name for one in node.names)
    ]  # fmt: skip
    return imports[0] if imports and all(one.lineno > place.lineno for one in imports) else None


def _wide(script: Script, node: ast.stmt) -> tuple[int, int]:
    first, end = script.region(node)
    return first - 2, end + 3


def fitted_on_test(script: Script) -> Iterator[Mutant]:
    """`fit_transform` in place of `transform` of the test part."""
    made = made_as(
        script, r"(?:\w+\.)*(?:StandardScaler|MinMaxScaler|RobustScaler|PCA|CountVectorizer|TfidfVectorizer)"
    )
    for call in script.calls("transform"):
        owner = name_of(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        given = script.source(call.args[0]) if call.args else ""
        fitted = [
            one
            for one in (*script.calls("fit_transform"), *script.calls("fit"))
            if name_of(one.func).startswith(f"{owner}.")
        ]
        trained = [one for one in fitted if one.args and re.search(r"train", script.source(one.args[0]))]
        if (
            owner in made
            and trained
            and re.fullmatch(r"\w*(?:test|valid|val)\w*", given)
            and isinstance(call.func, ast.Attribute)
        ):
            end = script.span(call.func)[1]
            yield script.mutant(call, Change(end - len("transform"), end, "fit_transform"))


def from_logits_dropped(script: Script) -> Iterator[Mutant]:
    """`from_logits=True` of a Keras loss."""
    for call in script.calls("SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy"):
        given = keyword(call, "from_logits")
        change = without(script, call, "from_logits")
        if (
            change is None
            or given is None
            or not isinstance(given.value, ast.Constant)
            or given.value.value is not True
        ):
            continue
        compiled = next((one for one in script.up(call) if isinstance(one, ast.Call)), None)
        if compiled is not None and name_of(compiled.func).endswith(".compile"):
            yield script.mutant(call, change)


def activations_removed(script: Script) -> Iterator[Mutant]:
    """The ReLU between two linear layers of a `Sequential` that are no factorized matrix without it: the width between
    them is certainly not less than both of the widths around.
    """
    for made in script.calls("Sequential"):
        layers = made.args
        for first, middle, second in zip(layers, layers[1:], layers[2:], strict=False):
            names = [name_of(one.func) if isinstance(one, ast.Call) else "" for one in (first, middle, second)]
            linear = names[0].endswith("nn.Linear") and names[2].endswith("nn.Linear")
            if linear and names[1].endswith(("nn.ReLU", "nn.Tanh", "nn.GELU")):
                if isinstance(first, ast.Call) and isinstance(second, ast.Call) and _is_wide(script, first, second):
                    yield script.mutant(made, Change(script.span(first)[1], script.span(middle)[1], ""))
                break


def _is_wide(script: Script, first: ast.Call, second: ast.Call) -> bool:
    """Whether the width between two layers is certainly that of one side at least: by numbers, or as it is written."""
    outer = [_width(first, 0, "in_features"), _width(second, 1, "out_features")]
    inner = _width(first, 1, "out_features")
    number = _number(script, inner)
    for one in outer:
        other = _number(script, one)
        if one is None or inner is None:
            continue
        if ast.unparse(one) == ast.unparse(inner) or (number is not None and other is not None and number >= other):
            return True
    return False


def _width(layer: ast.Call, place: int, name: str) -> ast.expr | None:
    given = keyword(layer, name)
    return given.value if given is not None else layer.args[place] if len(layer.args) > place else None


def _number(script: Script, node: ast.expr | None) -> int | None:
    """A width as a number: written out, computed of such, or a name that the file binds once, to a number."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _number(script, node.left), _number(script, node.right)
        return left * right if left is not None and right is not None else None
    if isinstance(node, ast.Name):
        bound = [one for one in ast.walk(script.tree) if _binds_name(one, node.id)]
        only = script.parents[bound[0]] if len(bound) == 1 else None
        return _number(script, only.value) if isinstance(only, ast.Assign) and only.targets[0] is bound[0] else None
    return None


def _binds_name(node: ast.AST, name: str) -> bool:
    stored = isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
    return stored or (isinstance(node, ast.arg) and node.arg == name)


KINDS = (
    Kind("softmax at the loss", ("softmax-before-cross-entropy",), softmax_at_loss),
    Kind("softmax in the model", ("softmax-before-cross-entropy",), softmax_in_model, 0.75),
    Kind("sigmoid at the loss", ("sigmoid-before-bce-with-logits",), sigmoid_at_loss),
    Kind("sigmoid in the model", ("sigmoid-before-bce-with-logits",), sigmoid_in_model),
    Kind("log_softmax removed", ("nll-without-log-softmax",), log_softmax_removed),
    Kind("sigmoid removed before BCE", ("bce-without-sigmoid",), sigmoid_removed),
    Kind("loss arguments swapped", ("loss-arguments-swapped",), arguments_swapped),
    Kind("softmax over the batch", ("wrong-softmax-dim",), softmax_over_batch),
    Kind("super().__init__() removed", ("super-init-missing",), super_init_removed),
    Kind("layer made in forward", ("layer-made-in-forward",), layer_in_forward),
    Kind("dropout's flag removed", ("dropout-always-on",), dropout_flag_removed),
    Kind("one layer n times", ("shared-submodule-unintended",), layer_shared),
    Kind("constant weights", ("symmetric-initialization",), constant_weights),
    Kind("activation removed", ("missing-nonlinearity",), activations_removed),
    Kind("scaled before the split", ("fit-before-split", "preprocessing-leakage"), scaled_before_split),
    Kind("fitted on test data", ("encoders-fitted-apart", "fit-on-test-data", "preprocessing-leakage"), fitted_on_test),
    Kind("from_logits dropped", ("cross-entropy-without-softmax",), from_logits_dropped),
)
