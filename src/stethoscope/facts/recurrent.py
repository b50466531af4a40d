"""Recurrent layers of torch in source code: how one was made, and which part of its answer a variable is."""

from __future__ import annotations

import re
from typing import NamedTuple

from stethoscope.facts.code import NOWHERE, At, Call, Code, Constant, Item, Name, Value
from stethoscope.facts.origins import called
from stethoscope.facts.things import literal

ONE_SAMPLE = re.compile(r"unsqueeze\((?:dim\s*=\s*)?[01]\)|view\((?:-1|len\([\w.]+\)|[\w.]+), 1\b|view\(1, |\[None")
"""What gives a sequence a batch of one: then the last of either axis is what it says."""
RECURRENT = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")


class Recurrent(NamedTuple):
    """A value that a recurrent layer gave."""

    kind: str
    """`LSTM`, `GRU` or `RNN`."""
    part: tuple[int, ...]
    """Position in what it returns: (0,) all outputs, (1,) the state; of an LSTM (1, 0) the hidden state."""
    made: Call
    """The call that made the layer."""
    made_in: Code
    called: Call
    """The call that gave the value."""

    @property
    def batch_first(self) -> bool | None:
        """Whether the first axis is that of samples; None when the code does not say."""
        value = self.made.keyword("batch_first")
        if self.made.is_open or len(self.made.arguments) > 4:
            return None
        return False if value is None else _known(literal(self.made_in, value))

    @property
    def stacked(self) -> int:
        """Layers times directions, as far as the code says; 1 at least."""
        if self.made.is_open:
            return 1
        layers = literal(self.made_in, self.made.argument(2, "num_layers"))
        both = literal(self.made_in, self.made.keyword("bidirectional"))
        return max(1, layers if isinstance(layers, int) else 1) * (2 if both is True else 1)


def _known(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def recurrent_of(code: Code, value: Value | None) -> Recurrent | None:
    """The recurrent layer that gave a value, straight."""
    item: tuple[int, ...] = ()
    while isinstance(value, Item) and isinstance(value.key, Constant) and type(value.key.value) is int:
        item, value = (value.key.value, *item), value.value
    while isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        if binding.how != "assign":
            return None
        item, value = (*binding.item, *item), binding.value
        while isinstance(value, Item) and isinstance(value.key, Constant) and type(value.key.value) is int:
            item, value = (value.key.value, *item), value.value
    if not isinstance(value, Call):
        return None
    layer = called(code, value)
    if layer.name not in RECURRENT or layer.made is None or layer.made_in is None:
        return None
    return Recurrent(layer.name.rpartition(".")[2], item, layer.made, layer.made_in, value)


def text_before(code: Code, at: At, context: int) -> str:
    """The lines of a function up to a place: what was done to the shapes before."""
    function = code.functions[code.function_at(context)]
    return "\n".join(line.partition("#")[0] for line in code.lines[max(0, function.at.line - 1) : at.line])
