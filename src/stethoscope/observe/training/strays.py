"""Parameters that a training graph reaches and that neither a model, as it was met, nor an optimizer knows."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from stethoscope.facts.training import Stray
from stethoscope.observe.training.models import ModelBook
from stethoscope.observe.training.shards import shards_of

MOST_STRAYS = 16
"""Places that are told apart."""
TORCHS_OWN = frozenset(vars(nn.Module()))
"""Attributes of every module: what lies in them is registered."""


@dataclass(eq=False)
class StrayEntry:
    """A place in a model that holds such parameters; becomes a `facts.training.Stray`."""

    model: int
    kind: str
    elements: int
    tensors: list[weakref.ref[Tensor]] = field(default_factory=list)

    def fact(self, name: str, book: ModelBook) -> Stray | None:
        """The frozen form; None when an optimizer has taken them all since."""
        alive = [tensor for ref in self.tensors if (tensor := ref()) is not None and book.parameter_of(tensor) is None]
        if not alive:
            return None
        return Stray(name, self.kind, self.model, self.elements, len(alive), sum(tensor.numel() for tensor in alive))


class StrayBook:
    """Finds out where unknown leaves of a graph belong: asked only when a graph has some."""

    def __init__(self, book: ModelBook) -> None:
        self._book = book
        self._entries: dict[str, StrayEntry] = {}

    def see(self, leaves: Iterable[Tensor]) -> None:
        """The leaves of the graph of a training loss."""
        unknown = {
            id(leaf)
            for leaf in leaves
            if isinstance(leaf, nn.Parameter) and leaf.requires_grad and self._book.parameter_of(leaf) is None
        }
        if not unknown:
            return
        for model in self._book.models:
            root = model.module()
            if root is None:
                continue
            prefix = model.prefix
            shards = shards_of(root)  # the whole of one is no stray
            for path, module in root.named_modules():
                whole = f"{prefix}{path}".rstrip(".")
                own = [tensor for name, tensor in module._parameters.items() if (module, name) not in shards]
                late = [tensor for tensor in own if id(tensor) in unknown]
                self._note(whole, StrayEntry(model.index, "", 1), late)
                for name, container in vars(module).items():
                    parts = _parts(container) if name not in TORCHS_OWN else []
                    hidden = [tensor for tensor in _tensors(parts) if id(tensor) in unknown]
                    where = f"{whole}.{name}" if whole else name
                    self._note(where, StrayEntry(model.index, type(container).__name__, len(parts)), hidden)

    def _note(self, name: str, entry: StrayEntry, tensors: Iterable[Tensor | None]) -> None:
        found = [weakref.ref(tensor) for tensor in tensors if tensor is not None]
        if found and name not in self._entries and len(self._entries) < MOST_STRAYS:
            entry.tensors = found
            self._entries[name] = entry

    def facts(self) -> tuple[Stray, ...]:
        """The frozen forms, in the order in which they were found."""
        facts = (entry.fact(name, self._book) for name, entry in self._entries.items())
        return tuple(fact for fact in facts if fact is not None)


def _parts(container: object) -> list[object]:
    """What a plain Python container holds."""
    if type(container) is dict:
        return list(container.values())
    return list(container) if type(container) is list or type(container) is tuple else []


def _tensors(parts: Iterable[object]) -> Iterator[Tensor]:
    """The parameters in them, but for modules in eval mode: who puts one there keeps it as it is on purpose."""
    for part in parts:
        if isinstance(part, nn.Parameter):
            yield part
        elif isinstance(part, nn.Module) and part.training:
            yield from part.parameters()
