"""How far the graphs of losses reach: where they end when they reach nothing that is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

from torch import Tensor

from stethoscope.facts.code import Site
from stethoscope.facts.flow import Backward
from stethoscope.observe.training.cuts import MOST_CUTS, cuts_in_loop, cuts_in_models
from stethoscope.observe.training.models import ModelBook
from stethoscope.observe.training.sites import Spot, is_users, site_of

MOST_LINES = 32
MOST_FUNCTIONS = 50


@dataclass(eq=False)
class ReachEntry:
    """Backward passes from one line; becomes a `facts.flow.Backward`."""

    place: Spot | None
    watched: int = 0
    without_graph: int = 0
    from_leaf: int = 0
    graphs: int = 0
    unreached: int = 0
    cut: str = ""
    cut_sites: tuple[Site, ...] | None = None

    def fact(self) -> Backward:
        """The frozen form."""
        return Backward(
            site_of(self.place), self.watched, self.without_graph, self.from_leaf, self.graphs, self.unreached,
            self.cut, self.cut_sites or (),
        )  # fmt: skip


class ReachBook:
    """Backward passes by line, and the forward passes that led to the coming one."""

    def __init__(self, book: ModelBook) -> None:
        self._book = book
        self._entries: dict[Spot | None, ReachEntry] = {}
        self._first_forward: Spot | None = None
        """The line of the first forward pass since the last backward pass or step."""
        self._has_graph: bool | None = None
        """Whether the last output of a model had a graph; None when it was not seen."""
        self._gradients_on: bool | None = None

    def forward_begins(self, place: Spot | None, *, gradients_on: bool) -> None:
        """A model is called."""
        self._first_forward = self._first_forward or place
        self._gradients_on = gradients_on
        self._has_graph = None

    def forward_ended(self, output: Tensor | None) -> None:
        """A model returned."""
        self._has_graph = output.requires_grad if output is not None else None

    def start_over(self) -> None:
        """What was called so far leads to no coming backward pass."""
        self._first_forward = None
        self._gradients_on = self._has_graph = None

    def entry(self, place: Spot | None) -> ReachEntry:
        """The entry of a line; at most 32 are kept apart."""
        if place not in self._entries and len(self._entries) >= MOST_LINES:
            place = None
        return self._entries.setdefault(place, ReachEntry(place))

    def backward_begins(self, loss: Tensor, place: Spot | None) -> None:
        """Does anything lie behind this loss?"""
        entry = self.entry(place)
        entry.watched += 1
        if loss.grad_fn is None:
            if loss.requires_grad:
                entry.from_leaf += 1
            else:
                entry.without_graph += 1
            self._find_cut(entry)

    def backward_failed(self, loss: Tensor, place: Spot | None) -> None:
        """At a step that was not attended to, torch refused a loss."""
        entry = self.entry(place)
        entry.watched += 1
        entry.without_graph += 1
        self._find_cut(entry)

    def graph_read(self, place: Spot | None, *, reached: bool) -> None:
        """The graph of a loss was read."""
        entry = self.entry(place)
        entry.graphs += 1
        entry.unreached += not reached
        if not reached or self._leaves_some_out():
            self._find_cut(entry)

    def _leaves_some_out(self) -> bool:
        """Whether layers that ran have parameters that an optimizer holds and no graph has reached."""
        parameters = self._book.parameters
        return any(
            not parameters[i].in_graph and parameters[i].optimizer >= 0 and parameters[i].trainable
            for layer in self._book.layers
            if layer.order >= 0
            for i in layer.parameters
        )

    def _find_cut(self, entry: ReachEntry) -> None:
        if entry.cut_sites is not None:
            return
        if self._gradients_on is False:
            entry.cut = "gradients off"
        elif self._has_graph is not None:
            entry.cut = "after the model" if self._has_graph else "inside the model"
        inside, around = cuts_in_models(self._users_functions()), cuts_in_loop(self._first_forward, entry.place)
        sites = (*around, *inside) if entry.cut != "inside the model" else (*inside, *around)
        entry.cut_sites = sites[:MOST_CUTS]

    def _users_functions(self) -> list[CodeType]:
        """The forward functions of the models that the user wrote."""

        def codes() -> Iterator[CodeType]:
            for entry in self._book.models:
                module = entry.module()
                for part in module.modules() if module is not None else ():
                    code = getattr(getattr(type(part).forward, "__wrapped__", type(part).forward), "__code__", None)
                    if code is not None and is_users(code):
                        yield code

        return list(dict.fromkeys(codes()))[:MOST_FUNCTIONS]

    def facts(self) -> tuple[Backward, ...]:
        """The frozen forms, in order of appearance."""
        return tuple(entry.fact() for entry in self._entries.values())
