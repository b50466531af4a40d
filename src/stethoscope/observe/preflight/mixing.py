"""Does a sample's output depend on the other samples of its batch, or a position's on later ones?

Gradients tell: in eval mode the output of sample i has none in the input of sample j. The batch is cut to a prime
number of samples, so that a view that takes one axis for another cannot come out even by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.facts.model import Causality, Mixing
from stethoscope.observe.model.apart import seed
from stethoscope.observe.model.ingredients import Pass, tensors_in
from stethoscope.observe.model.recipe import Recipe, clones
from stethoscope.observe.preflight.parts import caller_of, is_leaf, parts_of
from stethoscope.observe.preflight.subject import SEQUENCES, CannotMake, Subject, cut
from stethoscope.observe.training.keras_layers import is_keras
from stethoscope.observe.training.sites import Spot, site_of, spot

PRIMES = (7, 5, 3)
FEWEST_POSITIONS = 3
MOST_ASKED = 8
"""Positions whose outputs are asked for, spread over the sequence."""


def mixing_of(subject: Subject) -> Mixing:
    """Which samples move which outputs, and where they meet.

    Raises: CannotMake when samples cannot be told apart, or the model has no gradient in its input.
    """
    rows = subject.rows
    count = next((prime for prime in PRIMES if prime <= rows), 0)
    if not count:
        raise CannotMake("the batch has fewer than 3 samples")
    if subject.time_comes_first:
        raise CannotMake("the first axis of what recurrent or attention layers are given is time")
    one = subject.part(range(count))
    trace = Trace(subject.steady_copy(), count)
    seed(0)
    with torch.enable_grad(), trace:
        output = output_of(trace.model, subject.recipe, one, trace)
    if not trace.roots:
        raise CannotMake("no input of the model has gradients")
    if output.dim() > 1 and count in output.shape[1:]:
        raise CannotMake("the output compares the samples with each other, or is laid out by another axis")
    if not output.dim() or output.shape[0] != count:
        raise CannotMake("the output has no row for each sample")
    pairs = _mixed(output, trace.roots, count)
    if not pairs:
        return Mixing(count, 0, count * (count - 1))
    one_way = all(source < moved for source, moved in pairs) and not trace.runs_along_samples
    name, kind, place = trace.where(lambda t: bool(t.shape[:1] == (count,) and _mixed(t, trace.roots, count)))
    return Mixing(count, len(pairs), count * (count - 1), name, kind, site_of(place), one_way)


def causality_of(subject: Subject) -> Causality:
    """Which later positions of a sequence move the output at a position, and where they are looked at.

    Raises: CannotMake when inputs and outputs have no axis of positions.
    """
    if subject.time_comes_first:
        raise CannotMake("the first axis of what recurrent or attention layers are given is time")
    rows = subject.rows
    one = cut(subject.first, range(min(2, rows)))
    trace = Trace(subject.steady_copy(), min(2, rows))
    seed(0)
    with torch.enable_grad(), trace:
        output = output_of(trace.model, subject.recipe, one, trace)
    roots = [root for root in trace.roots if root.dim() > 2]
    lengths = {root.shape[1] for root in roots}
    if len(lengths) != 1 or output.dim() < 2 or output.shape[1] not in lengths or output.shape[0] != trace.count:
        raise CannotMake("the output has no position for each position of the input")
    (length,) = lengths
    if length < FEWEST_POSITIONS:
        raise CannotMake(f"the sequences have fewer than {FEWEST_POSITIONS} positions")
    asked = sorted({round(i * (length - 1) / (MOST_ASKED - 1)) for i in range(MOST_ASKED)})
    # Of several sequences one may be a source, all of which every position may see; what is asked for is the other one.
    crossed = [(root, *_crossed(output, [root], asked)) for root in roots]
    roots = [root for root, later, earlier in crossed if earlier and not later] or roots
    later, earlier = _crossed(output, roots, asked)
    pairs = sum(1 for a in asked for b in asked if a < b)
    if not later:
        return Causality(length, 0, earlier, pairs)
    name, kind, place = trace.where(
        lambda t: bool(t.shape[:2] == (trace.count, length) and _crossed(t, roots, asked)[0])
    )
    return Causality(length, later, earlier, pairs, name, kind, site_of(place))


def _crossed(output: Tensor, roots: list[Tensor], asked: list[int]) -> tuple[int, int]:
    """Pairs of positions of which the later input moves the earlier output, and the reverse."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(output.shape, generator=draw, dtype=torch.float64).to(output)
    later = earlier = 0
    for position in asked:
        gradients = torch.autograd.grad(
            (output[:, position] * weights[:, position]).sum(), roots, retain_graph=True, allow_unused=True
        )
        for other in asked:
            moves = any(g is not None and bool((g[:, other] != 0).any()) for g in gradients)
            later += moves and other > position
            earlier += moves and other < position
    return later, earlier


@dataclass(frozen=True, eq=False)
class _Call:
    """Of a module."""

    name: str
    part: nn.Module
    given: list[Tensor]
    made: Tensor
    place: Spot | None


class Trace:
    """Keeps what each module returns, and makes the inputs leaves of the graph."""

    def __init__(self, model: nn.Module, count: int) -> None:
        self.model = model
        self.count = count
        self.roots: list[Tensor] = []
        self.runs_along_samples = False
        """Whether a recurrent or attention layer takes samples that have an axis for time for time themselves."""
        self._calls: list[_Call] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Trace:
        for name, part in parts_of(self.model):
            if isinstance(part, torch.jit.ScriptModule):
                continue
            if isinstance(part, nn.Embedding | nn.EmbeddingBag) or (is_keras(part) and _embeds(part)):
                self._handles.append(part.register_forward_hook(self._embedded))
            self._handles.append(part.register_forward_hook(self._after(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _embedded(self, part: nn.Module, args: Any, output: Any) -> Any:
        """What an embedding returns stands for its indices, which have no gradient."""
        if isinstance(output, Tensor) and output.dim() > 1 and output.shape[0] == self.count:
            root = output.detach().requires_grad_(True)
            self.roots.append(root)
            return root + 0.0
        return None

    def _after(self, name: str) -> Any:
        def after(part: nn.Module, args: Any, output: Any) -> None:
            given = [t for _, t in tensors_in(args) if t.is_floating_point() and t.requires_grad]
            found = next((t for _, t in tensors_in(output) if t.is_floating_point() and t.requires_grad), None)
            if isinstance(part, SEQUENCES) and not getattr(part, "batch_first", True) and given:
                samples, *time = given[0].shape[:-1]
                self.runs_along_samples |= samples == self.count and bool(time) and time[0] not in (1, self.count)
            if found is not None:
                self._calls.append(_Call(name, part, given, found, spot(2)))

        return after

    def where(self, crosses: Callable[[Tensor], bool]) -> tuple[str, str, Spot | None]:
        """The first module whose output has what its input has not, or the one in whose own code it comes about."""
        for call in self._calls:
            if not crosses(call.made):
                continue
            name, part = call.name, call.part
            if any(crosses(tensor) for tensor in call.given):  # it came about before: between two calls
                name, part = caller_of(self.model, name)
            return name, type(part).__name__ if name or is_leaf(part) else "", call.place
        return "", "", None


def _embeds(layer: Any) -> bool:
    return any(base.__name__ == "Embedding" for base in type(layer).__mro__)


def output_of(model: nn.Module, recipe: Recipe, one: Pass, trace: Trace) -> Tensor:
    """What the model returns, where the loss takes it from."""
    args, kwargs = clones((one.args, one.kwargs))
    for _, tensor in tensors_in((args, kwargs)):
        if tensor.is_floating_point() and tensor.dim() and tensor.shape[0] == trace.count:
            tensor.requires_grad_(True)
            trace.roots.append(tensor)
    try:
        returned = model(*args, **kwargs)
    except RuntimeError as error:
        if "leaf" not in str(error):
            raise
        raise CannotMake("the model writes to its input") from error
    if one.view is None:
        found = next((t for _, t in tensors_in(returned) if t.is_floating_point()), None)
    else:
        found = returned
        for key in one.view.path:
            found = getattr(found, key[1:]) if isinstance(key, str) and key.startswith(".") else found[key]
    if not isinstance(found, Tensor):
        found = next((t for _, t in tensors_in(found) if t.is_floating_point() and t.requires_grad), None)
    if found is None or not found.requires_grad:
        raise CannotMake("the output has no gradient in the input")
    return found


def _mixed(output: Tensor, roots: list[Tensor], count: int) -> list[tuple[int, int]]:
    """Pairs of (sample whose input moves, sample whose output moves)."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(output.shape, generator=draw, dtype=torch.float64).to(output)
    pairs = []
    for moved in range(count):
        gradients = torch.autograd.grad(
            (output[moved] * weights[moved]).sum(), roots, retain_graph=True, allow_unused=True
        )
        for source in range(count):
            if source != moved and any(g is not None and bool((g[source] != 0).any()) for g in gradients):
                pairs.append((source, moved))
    return pairs
