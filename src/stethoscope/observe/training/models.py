"""The book of models: which modules the script calls, their layers in order of execution, their parameters.

Nothing of the user's is kept alive: modules and tensors are held by weak reference only.
"""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn, strided
from torch.nn.parameter import is_lazy

from stethoscope.facts.training import Layer, Model, Parameter
from stethoscope.observe.training import keras_layers
from stethoscope.observe.training.naming import every_name, every_parameter
from stethoscope.observe.training.shards import shards_of
from stethoscope.observe.training.sites import Spot, is_users, is_users_file, site_of
from stethoscope.observe.training.symmetry import DRAWN, looks_drawn

MOST_LAYERS = 1000
MOST_PARAMETERS = 2000
MOST_CALLERS = 3
REPLACED = " (replaced)"
"""Ends the name of what a model consisted of before the script put something else there."""
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)
_LOSSES = (nn.modules.loss._Loss,)


@dataclass(eq=False)
class LayerEntry:
    """A layer while the run goes on; becomes a `facts.training.Layer`."""

    module: weakref.ref[nn.Module]
    index: int
    name: str
    kind: str
    model: int
    order: int = -1
    feeds: str = ""
    applies: str = ""
    """The activation inside of the layer (Keras has such layers): its output is what comes after it."""
    output_shape: tuple[int, ...] = ()
    calls: int = 1
    parameters: list[int] = field(default_factory=list)
    dropout: float = 0.0
    made_graph: bool = False
    fed_input: bool = False
    loaded: bool = False

    def fact(self) -> Layer:
        """The frozen form."""
        return Layer(
            self.name, self.kind, self.model, self.order, self.applies or self.feeds, self.output_shape, self.calls,
            tuple(self.parameters), self.dropout, self.made_graph, self.fed_input, self.loaded,
        )  # fmt: skip


@dataclass(eq=False)
class ParameterEntry:
    """A parameter while the run goes on; becomes a `facts.training.Parameter`."""

    tensor: weakref.ref[Tensor]
    index: int
    name: str
    shape: tuple[int, ...]
    trainable: bool
    layer: int = -1
    optimizer: int = -1
    in_graph: bool | None = None
    received_gradient: bool | None = None
    shared_with: str = ""
    count: int = 1
    unit_spread_start: float = math.nan
    unit_spread: float = math.nan
    as_drawn: bool = False
    sharded: bool = False

    def fact(self) -> Parameter:
        """The frozen form."""
        return Parameter(
            self.name, self.shape, self.trainable, self.layer, self.optimizer, self.in_graph,
            self.received_gradient, self.shared_with, self.unit_spread_start, self.unit_spread,
            self.as_drawn, self.sharded,
        )  # fmt: skip


@dataclass(eq=False)
class ModelEntry:
    """A root module while the run goes on; becomes a `facts.training.Model`."""

    module: weakref.ref[nn.Module]
    index: int
    name: str
    kind: str
    wrapper: str
    layers: list[int] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    first_layer: str = ""
    called_from: Spot | None = None
    eval_called_from: Spot | None = None
    training_forwards: int = 0
    training_forwards_in_eval: int = 0
    first_step_in_eval: int = -1
    training_forwards_since_eval: int = 0
    has_dropout: bool = False
    has_batch_norm: bool = False
    of_libraries: tuple[str, ...] = ()
    path: str = ""
    """Where it stands in the module whose method called it, such as a `training_step`; empty when no module did."""

    @property
    def prefix(self) -> str:
        """Of the names of its layers and parameters."""
        return f"{self.path}." if self.path else "" if self.index == 0 else f"{self.name}."

    def look_at_regularizers(self) -> None:
        """Note dropout and batch normalization; done again at looks, since layers may be switched."""
        module = self.module()
        if module is None:
            return
        if keras_layers.is_keras(module):
            self.has_dropout = keras_layers.has_dropout(module)
            self.has_batch_norm = keras_layers.has_batch_norm(module)
            return
        modules = list(module.modules())
        self.has_dropout = any(_dropout_of(m) > 0 for m in modules)
        self.has_batch_norm = any(isinstance(m, _BATCH_NORMS) for m in modules)


class ModelBook:
    """All models, layers and parameters seen, numbered in the order in which they were met."""

    def __init__(self) -> None:
        self.models: list[ModelEntry] = []
        self.layers: list[LayerEntry] = []
        self.parameters: list[ParameterEntry] = []
        self._roots: weakref.WeakKeyDictionary[nn.Module, ModelEntry] = weakref.WeakKeyDictionary()
        self._layer_of: weakref.WeakKeyDictionary[nn.Module, LayerEntry] = weakref.WeakKeyDictionary()
        self._parameter_of: dict[int, ParameterEntry] = {}
        self._loaded: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self.too_many = False
        self.version = 0
        """Rises whenever something is added, so that cached views are rebuilt."""
        self._next_order = 0

    def model_of(self, module: nn.Module) -> ModelEntry | None:
        """The model that a called module is, or belongs to."""
        return self._roots.get(module)

    def layer_of(self, module: nn.Module) -> LayerEntry | None:
        """The layer that a module is, if it is one."""
        return self._layer_of.get(module)

    def parameter_of(self, tensor: Tensor) -> ParameterEntry | None:
        """The entry of a parameter; identity is checked, since ids are used again."""
        entry = self._parameter_of.get(id(tensor))
        return entry if entry is not None and entry.tensor() is tensor else None

    def add_root(self, called: nn.Module, place: Spot | None) -> ModelEntry | None:
        """Take in a module that the script calls itself; None for losses and others without parameters."""
        known = self._roots.get(called)
        if known is not None:
            return known
        inner, wrapper = unwrapped(called)
        if isinstance(inner, _LOSSES) or not _has_weights(inner):
            return None
        for entry in self.models:  # a part of a model that is known already
            whole = entry.module()
            if whole is not None and _is_part(inner, whole):
                self._roots[called] = entry
                return entry
        self.version += 1
        kind = type(inner).__name__
        alike = sum(1 for entry in self.models if entry.kind == kind)
        path = "" if keras_layers.is_keras(inner) else path_in_caller(called)
        if any(entry.path == path for entry in self.models):
            path = ""  # the same part of another fold's trainer: names stay different
        entry = ModelEntry(
            weakref.ref(inner), len(self.models), kind if not alike else f"{kind}{alike + 1}", kind, wrapper,
            called_from=place, path=path,
        )  # fmt: skip
        self.models.append(entry)
        self._roots[called] = self._roots[inner] = entry
        entry.look_at_regularizers()
        if keras_layers.is_keras(inner):
            self._add_keras_parts(entry, inner)
        else:
            self._add_parts(entry, inner)
        return entry

    def renew(self, unknown: Sequence[Tensor]) -> bool:
        """Take in again each model that holds tensors nobody knows: the script has exchanged parts of it since.

        Not where there are too many to know them all, nor for what waits for its first forward pass.
        """
        strange = {id(tensor) for tensor in unknown if not is_lazy(tensor)}
        before = self.version
        for entry in self.models if strange and not self.too_many else ():
            model = entry.module()
            if model is None or keras_layers.is_keras(model):
                continue
            if any(id(own) in strange for own in model.parameters()):
                self._forget_parts(entry, set(model.modules()))
                self._add_parts(entry, model)
        return self.version > before

    def _forget_parts(self, entry: ModelEntry, there: set[nn.Module]) -> None:
        """Leave a model without parts and parameters; what is not in it any more is of no model."""
        for index in entry.layers:
            layer = self.layers[index]
            part = layer.module()
            layer.order, layer.parameters = -1, []
            if part is None or part not in there:
                layer.name += REPLACED
                if part is not None:
                    del self._layer_of[part]
        for index in entry.parameters:
            known = self.parameters[index]
            known.name, known.layer, known.optimizer = known.name + REPLACED, -1, -1
        entry.layers = [index for index in entry.layers if not self.layers[index].name.endswith(REPLACED)]
        entry.parameters, entry.first_layer = [], ""

    def complete(self) -> None:
        """Take in what Keras models have made since they were met: layers get their weights at their first call."""
        for entry in self.models:
            model = entry.module()
            if model is not None and keras_layers.is_keras(model):
                self._add_keras_parts(entry, model)

    def _add_keras_parts(self, entry: ModelEntry, model: nn.Module) -> None:
        prefix = entry.prefix
        for part in keras_layers.parts_of(model):
            layer = self._layer_of.get(part.layer)
            if layer is None:
                if len(self.layers) >= MOST_LAYERS:
                    self.too_many = True
                    continue
                layer = LayerEntry(
                    weakref.ref(part.layer), len(self.layers), prefix + part.name, part.kind, entry.index,
                    applies=part.feeds, dropout=keras_layers.dropout_of(part.layer),
                )  # fmt: skip
                self.layers.append(layer)
                self._layer_of[part.layer] = layer
                entry.layers.append(layer.index)
            for name, tensor, shape in part.weights:
                added = self.parameter_of(tensor) or self.add_parameter(tensor, prefix + name)
                if added is None:
                    continue
                if added.layer < 0:
                    added.name, added.shape, added.layer = prefix + name, shape, layer.index
                    layer.parameters.append(added.index)
                if added.index not in entry.parameters:
                    entry.parameters.append(added.index)

    def _add_parts(self, entry: ModelEntry, module: nn.Module) -> None:
        prefix = entry.prefix
        entry.of_libraries = tuple((prefix + path).rstrip(".") for path in made_by_libraries(module))
        for path, part in module.named_modules():
            own = part._parameters
            if next(part.children(), None) is not None and not own:
                continue
            name = prefix + path if path else prefix.rstrip(".") or entry.name
            if part in self._layer_of or len(self.layers) >= MOST_LAYERS:
                self.too_many = self.too_many or part not in self._layer_of
                if (known := self._layer_of.get(part)) is not None and known.model == entry.index:
                    known.name = name
                continue
            layer = LayerEntry(weakref.ref(part), len(self.layers), name, type(part).__name__, entry.index)
            layer.dropout = _dropout_of(part)
            layer.loaded = part in self._loaded
            self.layers.append(layer)
            self._layer_of[part] = layer
            entry.layers.append(layer.index)
        seen: dict[int, ParameterEntry] = {}
        owners = dict(every_name(module))
        shards = shards_of(module)
        for path, parameter in every_parameter(module):
            if id(parameter) in seen:
                seen[id(parameter)].shared_with = prefix + path
                continue
            owner = owners[path.rpartition(".")[0]]
            parameter = shards.get((owner, path.rpartition(".")[2]), parameter)
            added = self.add_parameter(parameter, prefix + path)
            if added is None:
                continue
            seen[id(parameter)] = added
            entry.parameters.append(added.index)
            if (layer_entry := self._layer_of.get(owner)) is not None:
                added.layer = layer_entry.index
                layer_entry.parameters.append(added.index)
                added.as_drawn = not parameter.requires_grad and isinstance(owner, DRAWN) and looks_drawn(parameter)

    def add_parameter(self, tensor: Tensor, name: str) -> ParameterEntry | None:
        """Take in a parameter; one known under an optimizer's name gets its path. None when there are too many."""
        known = self.parameter_of(tensor)
        if known is not None:
            known.name = name
            return known
        if is_lazy(tensor):  # no forward pass has made it so far
            return None
        if len(self.parameters) >= MOST_PARAMETERS:
            self.too_many = True
            return None
        self.version += 1
        entry = ParameterEntry(
            weakref.ref(tensor), len(self.parameters), name, tuple(tensor.shape), tensor.requires_grad,
            count=tensor.numel(), sharded=hasattr(tensor, "_local_tensor"),
        )  # fmt: skip
        self.parameters.append(entry)
        self._parameter_of[id(tensor)] = entry
        return entry

    def weights_loaded(self, module: nn.Module) -> None:
        """`load_state_dict` was called on a module."""
        self._loaded.update(module.modules())

    def called(self, module: nn.Module, output: object) -> LayerEntry | None:
        """Note a layer's place in the order of execution and its output's shape."""
        layer = self._layer_of.get(module)
        if layer is None:
            return None
        if layer.order < 0:
            layer.order = self._next_order
            self._next_order += 1
            model = self.models[layer.model]
            if not model.first_layer:
                model.first_layer = layer.kind
        tensor = first_tensor(output)
        if tensor is not None:
            layer.output_shape = tuple(tensor.shape)
        return layer

    def model_facts(self) -> tuple[Model, ...]:
        """The models in their frozen form."""
        facts = []
        for entry in self.models:
            mine = [self.parameters[i] for i in entry.parameters]
            total = sum(p.count for p in mine)
            held = sum(p.count for p in mine if p.optimizer >= 0 and p.trainable)
            facts.append(
                Model(
                    name=entry.name,
                    kind=entry.kind,
                    num_parameters=total,
                    num_trainable=sum(p.count for p in mine if p.trainable),
                    has_dropout=entry.has_dropout,
                    has_batch_norm=entry.has_batch_norm,
                    wrapper=entry.wrapper,
                    optimized_share=held / total if total else 0.0,
                    call_site=site_of(entry.called_from),
                    training_forwards=entry.training_forwards,
                    training_forwards_in_eval=entry.training_forwards_in_eval,
                    first_step_in_eval=entry.first_step_in_eval,
                    training_forwards_since_eval=entry.training_forwards_since_eval,
                    eval_call_site=site_of(entry.eval_called_from),
                    library_modules=entry.of_libraries,
                )
            )
        return tuple(facts)


def _dropout_of(module: nn.Module) -> float:
    """With what probability a layer drops values in train mode."""
    if isinstance(module, _DROPOUTS):
        return float(module.p)
    return float(module.dropout) if isinstance(module, nn.RNNBase) else 0.0


def _has_weights(module: nn.Module) -> bool:
    if keras_layers.is_keras(module):  # asking it for its parameters would make it gather them
        return keras_layers.can_train(module)
    return next(module.parameters(), None) is not None


def _is_part(inner: nn.Module, whole: nn.Module) -> bool:
    """Whether a module belongs to a model; of Keras also a model that is made of layers of the other one only."""
    if not (keras_layers.is_keras(inner) and keras_layers.is_keras(whole)):
        return any(part is inner for part in whole.modules())
    theirs = {id(layer) for layer in keras_layers.all_layers(whole)}
    mine = [part.layer for part in keras_layers.parts_of(inner)]
    return id(inner) in theirs or (bool(mine) and all(id(layer) in theirs for layer in mine))


def path_in_caller(called: nn.Module) -> str:
    """Where a module stands in the one whose method of the user's calls it; empty where a script calls it."""
    frame = sys._getframe(1)
    users = 0
    while frame is not None and users < MOST_CALLERS:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self" and is_users(code):
            whole = frame.f_locals["self"]
            if isinstance(whole, nn.Module) and whole is not called:
                return next((path for path, part in whole.named_modules() if part is called), "")
        users += is_users(code)
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def made_by_libraries(model: nn.Module) -> list[str]:
    """Paths of the modules that hold others and whose class, or that of what holds these containers, is a package's."""
    found: dict[str, bool] = {}
    for path, part in model.named_modules():
        if next(part.children(), None) is None:
            continue
        of_torch = type(part).__module__.partition(".")[0] == "torch"
        file = getattr(sys.modules.get(type(part).__module__), "__file__", None)
        above = found.get(path.rpartition(".")[0], False) if path else False
        found[path] = above if of_torch else isinstance(file, str) and not is_users_file(file)
    return [path for path, is_theirs in found.items() if is_theirs]


def has_lazy(module: nn.Module) -> bool:
    """Whether there are parameters that only the first forward pass makes."""
    return any(is_lazy(parameter) for parameter in module.parameters())


def unwrapped(module: nn.Module) -> tuple[nn.Module, str]:
    """The module inside DataParallel, DDP and torch.compile, and the outermost wrapper's name."""
    wrapper = ""
    while True:
        inner: Any = None
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner, name = module.module, type(module).__name__
        elif "_orig_mod" in module._modules:
            inner, name = module._modules["_orig_mod"], "compiled"
        if inner is None:
            return module, wrapper
        module, wrapper = inner, wrapper or name


def first_tensor(value: object) -> Tensor | None:
    """The first floating-point tensor in a nested output, or None."""
    if isinstance(value, Tensor):
        readable = value.layout is strided and not value.is_meta and value.numel()
        return value if readable and value.is_floating_point() else None
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for part in value[:8]:
            found = first_tensor(part)
            if found is not None:
                return found
    return None
