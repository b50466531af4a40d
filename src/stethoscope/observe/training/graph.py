"""Reads the autograd graph that hangs on a loss: what made it, what it reaches, which lines of the user's it is.

During one early forward pass torch is asked to remember where each node was made (the switch that anomaly mode
uses, without its checks). The table of operations that comes of it tells, at any later step, which line and
which module an operation belongs to, as long as the graph keeps its shape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stethoscope.facts.code import Site
from stethoscope.observe.training.sites import shorten

MOST_NODES = 50_000
"""Larger graphs are read in part; reading costs about 1 microsecond a node and is done a few times a run."""

VIEWS = frozenset(
    [
        "view",
        "unsafe_view",
        "reshape_alias",
        "squeeze",
        "unsqueeze",
        "transpose",
        "permute",
        "t",
        "expand",
        "select",
        "slice",
        "clone",
        "alias",
        "to_copy",
        "as_strided",
        "contiguous",
        "flatten",
        "unflatten",
        "index",
        "copy_slices",
        "movedim",
        "cat",
        "split",
        "unbind",
        "detach",
    ]
)
"""Operations that hand values on unchanged."""
PICKS = frozenset(["gather", "index_select", "masked_select", "take"])
"""Operations that hand some of the values on: the score of the class, or of the action, that counts."""

_LINEAR = frozenset(
    ["addmm", "mm", "bmm", "addbmm", "linear", "convolution", "mkldnn_convolution", "baddbmm", "addmv", "mv"]
)
RANGES = {
    "relu": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "elu": (-1.76, math.inf),  # SELU, which is made of it, goes lowest
    "silu": (-0.2785, math.inf),
    "gelu": (-0.17, math.inf),
    "log_softmax": (-math.inf, 0.0),
    "log_sigmoid": (-math.inf, 0.0),
}
"""What activations can produce."""
_BOUNDS = {"hardtanh": ("_saved_min_val", "_saved_max_val"), "clamp": ("_saved_min", "_saved_max")}
_CASES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')


def operation_of(node: Any) -> str:
    """`LogSoftmaxBackward0` as `log_softmax`."""
    name = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
    return _CASES.sub("_", name).lower()


def made_by(node: Any) -> Any:
    """The node that made a value, views of it and picks from it left out; None when there is none."""
    for _ in range(20):
        if node is None or operation_of(node) not in VIEWS | PICKS:
            return node
        inputs = [child for child, _ in node.next_functions if child is not None]
        node = inputs[0] if inputs else None
    return None


def kind_of(node: Any) -> str:
    """The operation of a node; `linear` for matrix products (with or without a bias) and convolutions."""
    operation = operation_of(node) if node is not None else ""
    if operation == "add":
        inputs = [child for child, _ in node.next_functions if child is not None]
        return "linear" if len(inputs) == 2 and _is_linear(_without_bias(inputs)) else operation
    return "linear" if operation in _LINEAR else operation


def softmax_of(node: Any) -> tuple[int, tuple[int, ...]]:
    """Axis and shape of a softmax or log-softmax node; (-1, ()) for any other."""
    if node is None or operation_of(node) not in ("softmax", "log_softmax"):
        return -1, ()
    shape = shape_of(node) or ()
    axis = int(node._saved_dim)
    axis -= (1 << 64) * (axis >> 63)  # saved as an unsigned number
    return (axis % len(shape), shape) if shape else (-1, ())


def range_of(node: Any) -> tuple[float, float]:
    """Least and greatest value that an activation can produce; infinite where there is no limit."""
    operation = kind_of(node)
    if operation in ("hardtanh", "clamp"):
        low, high = (getattr(node, name, None) for name in _BOUNDS[operation])
        return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
    return RANGES.get(operation, (-math.inf, math.inf))


def _without_bias(inputs: list[Any]) -> Any:
    """Of the two sides of a sum, the one that is no parameter; None when neither or both are."""
    sides = [past_views(node) for node in inputs]
    others = [node for node in sides if not hasattr(node, "variable")]
    return others[0] if len(others) == 1 else None


def _is_linear(node: Any) -> bool:
    return node is not None and operation_of(node) in _LINEAR


def past_views(node: Any) -> Any:
    """The node behind a chain of views."""
    for _ in range(20):
        if node is None or operation_of(node) not in VIEWS or not node.next_functions:
            return node
        node = node.next_functions[0][0]
    return node


@dataclass(frozen=True)
class Made:
    """Where an operation was called."""

    operation: str
    site: Site | None
    module: str


@dataclass
class Reading:
    """What one walk over a graph showed."""

    nodes: list[Any] = field(default_factory=list)
    """In the order in which they were made; leaves (parameters) left out."""
    leaves: list[Tensor] = field(default_factory=list)
    whole: bool = True
    stretched: tuple[Any, tuple[int, ...], tuple[int, ...]] | None = None
    """A difference whose one side was stretched by broadcasting: node, shape of that side, shape of the result."""


def read(loss: Tensor) -> Reading:
    """Walk the graph of a loss once."""
    reading = Reading()
    root = loss.grad_fn
    seen = {root}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if hasattr(node, "variable"):
            reading.leaves.append(node.variable)
            continue
        reading.nodes.append(node)
        if len(reading.nodes) >= MOST_NODES:
            reading.whole = False
            break
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                waiting.append(child)
    reading.nodes.sort(key=lambda node: node._sequence_nr())
    reading.stretched = _stretched_difference(reading.nodes)
    return reading


def shape_of(node: Any) -> tuple[int, ...] | None:
    """Shape of the tensor that a node made."""
    metadata = getattr(node, "_input_metadata", None)
    if not metadata:
        return None
    return tuple(int(size) for size in metadata[0].shape)


def _stretched_difference(nodes: list[Any]) -> Any:
    """`prediction - target` with (N, 1) against (N,): the result is (N, N) and only one side has a gradient."""
    for node in nodes:
        if operation_of(node) not in ("sub", "rsub"):
            continue
        result = shape_of(node)
        sides = [child for child, _ in node.next_functions if child is not None]
        if result is None or len(result) != 2 or result[0] != result[1] or result[0] < 2 or len(sides) != 1:
            continue
        side = shape_of(sides[0]) if not hasattr(sides[0], "variable") else None
        if side in ((result[0], 1), (result[0],)):
            return node, side, result
    return None


def pairs(nodes: list[Any]) -> Iterator[tuple[str, Any]]:
    """(operation, node behind views) for each node and the node that its first input comes from."""
    for node in nodes:
        if node.next_functions and (child := past_views(node.next_functions[0][0])) is not None:
            yield operation_of(node), child


class OperationTable:
    """Operation, line and module of each node of the loss's graph, in the order in which they are made."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int, str]] = []
        self._open: list[tuple[int, str]] = []
        self.made: list[Made] = []
        self._was_on: bool | None = None

    @property
    def recording(self) -> bool:
        """Whether torch is remembering stacks on our behalf."""
        return self._was_on is not None

    def start(self) -> None:
        """Ask torch to remember where nodes are made, unless the user has that on already."""
        if not torch.is_anomaly_enabled():
            self._was_on = False
            torch.set_anomaly_enabled(True, False)

    def stop(self) -> None:
        """Put the switch back."""
        if self._was_on is not None:
            self._was_on = None
            if not torch.is_anomaly_check_nan_enabled():  # ours has no checks: with them it is the user's by now
                torch.set_anomaly_enabled(False, True)

    def enter(self, name: str) -> None:
        """A module's forward begins."""
        self._open.append((torch._C._autograd._get_sequence_nr(), name))

    def leave(self) -> None:
        """The innermost module's forward has ended."""
        if self._open:
            start, name = self._open.pop()
            self._spans.append((start, torch._C._autograd._get_sequence_nr(), name))

    def fill(self, reading: Reading, is_users: Any) -> None:
        """Take the table from the graph of the first loss."""
        self.made = [
            Made(operation_of(node), self._site(node, is_users), self._module(node._sequence_nr()))
            for node in reading.nodes
        ]
        self._spans.clear()
        self._open.clear()

    def _module(self, number: int) -> str:
        inside = [(end - start, name) for start, end, name in self._spans if start <= number < end]
        return min(inside)[1] if inside else ""

    def _site(self, node: Any, is_users: Any) -> Site | None:
        for entry in reversed(node.metadata.get("traceback_", ())):
            match = _FRAME.match(entry)
            if match and is_users(match["file"]):
                text = entry.splitlines()[1].strip() if "\n" in entry.rstrip() else ""
                function = "" if match["function"] == "<module>" else match["function"]
                return Site(shorten(match["file"]), int(match["line"]), function, text)
        return None

    def find(self, nodes: list[Any], node: Any) -> Made | None:
        """The entry for a node of a later graph: by position when the graphs are alike, else by a unique name."""
        operations = [operation_of(other) for other in nodes]
        if operations == [made.operation for made in self.made]:
            return self.made[nodes.index(node)]
        return self.only(operation_of(node))

    def only(self, operation: str) -> Made | None:
        """The entry of an operation that is called from one place only."""
        alike = {(made.site, made.module): made for made in self.made if made.operation == operation}
        return next(iter(alike.values())) if len(alike) == 1 else None
