"""The model's parts as one real batch passes through them, and what is odd about how they are put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.core.text import amount
from stethoscope.facts.model import Hidden, Link, Part, Repeated, Structure
from stethoscope.observe.model.ingredients import tensors_in
from stethoscope.observe.preflight.parts import is_leaf, own_tensors, parts_of
from stethoscope.observe.preflight.subject import Subject
from stethoscope.observe.training.graph import Reading, read
from stethoscope.observe.training.sites import site_of, spot

LINEAR = (nn.Linear, nn.Bilinear)
CONVOLUTIONS = (nn.modules.conv._ConvNd,)
NORMS = (nn.modules.batchnorm._BatchNorm,)
DROPOUTS = (nn.modules.dropout._DropoutNd,)
SEE_THROUGH = (nn.Identity, nn.Flatten, nn.Unflatten, *DROPOUTS)
"""Modules behind which linear layers are still next to each other."""
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
DEEPEST = 3
"""Lists in lists in lists that are searched for layers."""
Origin = tuple[str, nn.Module]


def structure_of(subject: Subject) -> Structure:
    """Everything about the structure of a model. Runs one forward pass of a copy, and reads the graph of its loss."""
    model, optimizer = subject.copy()
    trace = Trace(model)
    torch.manual_seed(0)
    with trace:
        loss = subject.loss(model)
    held = {id(t) for group in optimizer.param_groups for t in group["params"]} if optimizer is not None else set()
    return read_structure(model, trace, loss, held)


def read_structure(model: nn.Module, trace: Trace, loss: Tensor | None, held: set[int]) -> Structure:
    """The structure of a model after a forward pass.

    Args:
        model: the traced one.
        trace: that followed it.
        loss: whose graph is read; None where it did not come so far.
        held: identities of the parameters that an optimizer holds.
    """
    reading = read(loss) if loss is not None and loss.grad_fn is not None else None
    reached = {id(leaf) for leaf in reading.leaves} if reading is not None else set()
    return Structure(
        parts=tuple(trace.parts()),
        links=tuple(trace.links_in(reading)),
        dropped_norms=tuple(trace.dropped_norms),
        hidden=tuple(_hidden(model, reached, held)),
        repeated=tuple(_repeated(model)),
    )


def structure_said(one: Structure) -> tuple[str, bool]:
    """A line about a structure, and whether it is as it should be."""
    modules = sum(part.order >= 0 for part in one.parts) or len(one.parts)
    frozen = one.parameters - one.trainable
    odd = len(one.links) + len(one.dropped_norms) + len(one.hidden) + len(one.repeated)
    words = f"{amount(modules, 'module')}, {amount(one.parameters, 'parameter')}"
    words += f", {frozen:,} of them frozen" if frozen else ", all trainable"
    return words, not odd


@dataclass(eq=False)
class _Seen:
    """A module's first call."""

    order: int
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...] = ()
    dtype: str = ""
    device: str = ""
    size: int = 0
    calls: int = 1


@dataclass(eq=False)
class _Made:
    """A tensor that a module returned, kept so that its memory is not given to another."""

    tensor: Tensor
    version: int
    by: Origin
    dropout: Origin | None = None
    """The dropout that it passed last, with nothing behind."""
    norm: str = ""
    """Class of the batch normalization that it passed behind a convolution."""
    nodes: tuple[Any, ...] = ()
    """Of the graph: that of what `by` returned, and of what it passed since."""


class Trace:
    """Hooks on all modules of a copy, for one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._seen: dict[nn.Module, _Seen] = {}
        self._made: dict[int, _Made] = {}
        self._handles: list[Any] = []
        self._links: list[tuple[Link, tuple[Any, ...]]] = []
        """With the nodes of what goes from one to the other."""
        self.dropped_norms: list[Link] = []

    def __enter__(self) -> Trace:
        for name, part in parts_of(self._model):
            if isinstance(part, torch.jit.ScriptModule):
                continue
            self._handles.append(part.register_forward_pre_hook(self._before(name), with_kwargs=True))
            self._handles.append(part.register_forward_hook(self._after(name), with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._made.clear()

    def _before(self, name: str) -> Any:
        def before(part: nn.Module, args: Any, kwargs: Any) -> None:
            given = [tensor for _, tensor in tensors_in((args, kwargs))]
            if part in self._seen:
                self._seen[part].calls += 1
                return
            self._seen[part] = _Seen(len(self._seen), tuple(tuple(t.shape) for t in given))
            if given:
                self._link(name, part, given[0])

        return before

    def _after(self, name: str) -> Any:
        def after(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            given = next((tensor for _, tensor in tensors_in((args, kwargs))), None)
            returned = [tensor for _, tensor in tensors_in(output)]
            seen = self._seen.get(part)
            if seen is not None and not seen.outputs:
                seen.outputs = tuple(tuple(t.shape) for t in returned)
                seen.size = sum(t.numel() * t.element_size() for t in returned)
                if returned:
                    seen.dtype, seen.device = _dtype(returned[0]), str(returned[0].device)
            if len(returned) != 1 or isinstance(part, CONTAINERS) or any(True for _ in part.children()):
                return
            made, source = returned[0], self._source(given)
            if isinstance(part, SEE_THROUGH):
                by = source.by if source is not None else (name, part)
                dropout = (name, part) if isinstance(part, DROPOUTS) and part.p > 0 else source and source.dropout
                norm = source.norm if source is not None else ""
                nodes = (*(source.nodes if source is not None else ()), made.grad_fn)
                self._made[_memory(made)] = _Made(made, made._version, by, dropout or None, norm, nodes)
            elif isinstance(part, NORMS) and source is not None and isinstance(source.by[1], CONVOLUTIONS):
                # Behind a linear layer it may be meant: projection heads end in one, and a predictor follows.
                nodes, kind = (*source.nodes, made.grad_fn), type(part).__name__
                self._made[_memory(made)] = _Made(made, made._version, source.by, norm=kind, nodes=nodes)
            else:
                self._made[_memory(made)] = _Made(made, made._version, (name, part), nodes=(made.grad_fn,))

        return after

    def _source(self, given: Tensor | None) -> _Made | None:
        """Where a tensor comes from; None when anything was computed between."""
        if given is None:
            return None
        made = self._made.get(_memory(given))
        if made is None or made.version != given._version or made.tensor.numel() != given.numel():
            return None
        return made

    def _link(self, name: str, part: nn.Module, given: Tensor) -> None:
        source = self._source(given)
        if source is None:
            return
        first_name, first = source.by
        for kinds in (LINEAR, CONVOLUTIONS):
            if isinstance(part, kinds) and isinstance(first, kinds):
                link = replace(_link(first_name, first, name, part), through=source.norm)
                self._links.append((link, source.nodes))
        if isinstance(part, NORMS) and source.dropout is not None:
            self.dropped_norms.append(_link(*source.dropout, name, part))

    def links_in(self, reading: Reading | None) -> Iterator[Link]:
        """Layers of which the second alone is given what the first returned: where others are, too (around a residual
        block, in front of two heads), the two are not one. Without a graph, all."""
        whole = reading is not None and reading.whole
        uses = Counter(child for node in reading.nodes for child, _ in node.next_functions) if reading and whole else {}
        for link, nodes in self._links:
            if not any(uses.get(node, 0) > 1 for node in nodes if node is not None):
                yield link

    def parts(self) -> Iterator[Part]:
        """The table."""
        places: dict[nn.Module, list[str]] = {}
        for name, part in parts_of(self._model, every_name=True):
            places.setdefault(part, []).append(name)
        counted: set[int] = set()
        for name, part in parts_of(self._model):
            seen = self._seen.get(part)
            own, others = own_tensors(part)
            tensors = [*own, *others]
            known = [t for t in tensors if not nn.parameter.is_lazy(t)]
            tied = [t for t in known if id(t) in counted]
            held = sum(t.numel() * t.element_size() for t in known if id(t) not in counted)
            counted.update(id(t) for t in own)
            yield Part(
                name=name,
                kind=type(part).__name__,
                order=seen.order if seen is not None else -1,
                calls=seen.calls if seen is not None else 0,
                input_shapes=seen.inputs if seen is not None else (),
                output_shapes=seen.outputs if seen is not None else (),
                dtype=_dtype(known[0]) if known else (seen.dtype if seen is not None else ""),
                device=str(known[0].device) if known else (seen.device if seen is not None else ""),
                also=tuple(each for each in places[part] if each != name),
                parameters=sum(t.numel() for t in own if not nn.parameter.is_lazy(t)),
                tied=sum(t.numel() for t in tied),
                trainable=sum(t.numel() for t in own if t.requires_grad and not nn.parameter.is_lazy(t)),
                parameter_bytes=held,
                output_bytes=seen.size if seen is not None else 0,
                is_leaf=is_leaf(part),
            )


def _memory(tensor: Tensor) -> int:
    """A name of the memory in which a tensor lies: views have the same, and so has what is computed in place."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):
        return id(tensor)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _link(first_name: str, first: nn.Module, second_name: str, second: nn.Module) -> Link:
    widths = (_width(first, "in"), _width(first, "out"), _width(second, "out"))
    return Link(
        first_name, second_name, (type(first).__name__, type(second).__name__), widths,
        is_plain=_is_plain(first) and _is_plain(second), site=site_of(spot(2)),
    )  # fmt: skip


def _width(part: nn.Module, side: str) -> int:
    for name in (f"{side}_features", f"{side}_channels", "num_features"):
        value = getattr(part, name, None)
        if isinstance(value, int):
            return value
    return 0


def _is_plain(part: nn.Module) -> bool:
    if not isinstance(part, CONVOLUTIONS):
        return True
    return part.groups == 1 and min(part.kernel_size) > 1 and not part.transposed


# What `parameters()` does not see


@dataclass(eq=False)
class _Found:
    layers: list[nn.Module] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)


def _hidden(model: nn.Module, reached: set[int], held: set[int]) -> Iterator[Hidden]:
    known = {id(p) for p in model.parameters()}
    for name, part in model.named_modules():
        for attribute, value in vars(part).items():
            if attribute in ("_parameters", "_buffers", "_modules") or attribute.endswith("_hooks"):
                continue
            found = _Found()
            _search(value, found, 0)
            tensors = [t for layer in found.layers for t in layer.parameters()] + found.tensors
            loose = {id(t): t for t in tensors if t.requires_grad and t.is_leaf and id(t) not in known}
            if not loose:
                continue
            kinds = Counter(type(layer).__name__ for layer in found.layers) or Counter(["Tensor"] * len(found.tensors))
            yield Hidden(
                owner=name,
                attribute=attribute,
                kind=type(value).__name__ if isinstance(value, list | tuple | dict | set) else "tensor",
                what=", ".join(f"{n} {kind}" if n > 1 else kind for kind, n in kinds.items()),
                values=sum(t.numel() for t in loose.values()),
                trained=all(key in held for key in loose),
                used=any(key in reached for key in loose),
            )


def _search(value: Any, found: _Found, depth: int) -> None:
    if isinstance(value, Tensor):
        found.tensors.append(value)
    elif isinstance(value, nn.Module) and depth:
        found.layers.append(value)
    elif depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        for part in list(value)[:1000]:
            _search(part, found, depth + 1)
    elif depth < DEEPEST and isinstance(value, dict):
        for part in list(value.values())[:1000]:
            _search(part, found, depth + 1)


def _repeated(model: nn.Module) -> Iterator[Repeated]:
    for name, part in model.named_modules():
        if not isinstance(part, CONTAINERS):
            continue
        places: dict[nn.Module, list[str]] = {}
        for key, child in part._modules.items():
            if child is not None:
                places.setdefault(child, []).append(key)
        for child, keys in places.items():
            values = sum(p.numel() for p in child.parameters() if not nn.parameter.is_lazy(p))
            if len(keys) > 1 and values:
                yield Repeated(name, type(child).__name__, tuple(keys), values)
