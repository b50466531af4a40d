"""A layer that takes time first, whose answer is read as if samples came first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, At, Call, Code, Constant, Group, Item, Name, Operation, Value
from stethoscope.facts.expressions import values_of
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.recurrent import ONE_SAMPLE, RECURRENT, text_before
from stethoscope.facts.things import followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code

_ENCODERS = {"torch.nn.TransformerEncoder", "torch.nn.TransformerDecoder"}
_LAYERS = {"torch.nn.TransformerEncoderLayer", "torch.nn.TransformerDecoderLayer", "torch.nn.Transformer"}
_PAIRS = {"torch.nn.MultiheadAttention", *RECURRENT}
"""Layers that return their outputs and something else."""
_KEEP_AXES = {"torch.nn.LayerNorm", "torch.nn.Dropout", "torch.nn.ReLU", "torch.nn.GELU", "torch.nn.Linear",
              "torch.nn.Tanh", "torch.nn.Identity"}  # fmt: skip
_REDUCING = {".mean", ".sum", ".max", ".amax", "torch.mean", "torch.sum", "torch.max", "torch.amax"}


class _Sequence(NamedTuple):
    """A value that a layer over sequences gave."""

    kind: str
    made: Call
    made_in: Code
    call: Call


class TimeBatchSwapped(Rule):
    """A transformer or recurrent layer takes time first, and its answer is read as if samples came first.

    ## What it sees
    A layer without `batch_first=True`, and its answer averaged over axis 1, or indexed there as `out[:, 0]`.
    ## Why it hurts
    Without `batch_first` axis 0 is time and axis 1 the samples. Given (sample, step, feature), the layer runs over the
    samples as if they were steps: every sample's output depends on its neighbours in the batch, and no step on another.
    ## How to fix it
    `batch_first=True` where the layer is made; or turn the axes before and after it.
    ## When it is not a fault
    A mean over the samples of each step on purpose, and batches of one.
    ## Sources
    PyTorch documentation, `torch.nn.TransformerEncoderLayer` and `torch.nn.LSTM` (`batch_first`). `batch-leakage` sees
    in a model that one sample's output depends on the others.
    """

    on_trial = True
    explains = ("batch-leakage", "underfitting", "no-gain-over-baseline", "cannot-overfit-batch")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what is averaged or indexed on axis 1."""
        if not file.calls_of(*_LAYERS, *_PAIRS):
            return
        told = set()
        for value, at, context in _read_on_axis_1(file):
            found = _sequence(file, value)
            if found is None or at in told or _batch_first(found) is not False:
                continue
            told.add(at)
            if found.kind in RECURRENT and context == NOWHERE:
                continue  # an index is the matter of `last-step-of-wrong-axis`
            if not ONE_SAMPLE.search(text_before(file, at, found.call.context)):
                yield self._report(file, value, at, found)

    def _report(self, file: Code, value: Value, at: At, found: _Sequence) -> Finding:
        kind = found.kind.rpartition(".")[2]
        written = quoted(file, value, "its answer")
        line = f" on {line_of(file, found.made.at)}" if found.made_in is file else ""
        return self.finding(
            fitting(f"the `{kind}` takes time first, and {written} is read samples first",
                    f"the `{kind}` takes time first, its answer is read samples first",
                    "a layer takes time first, and its answer is read samples first"),
            sureness=Sureness.LIKELY,
            place=place_in(file, at),
            evidence=[
                Evidence(f"axis of time of the `{kind}` made{line} without `batch_first`", 0,
                         f"1, as {line_of(file, at)} reads it")
            ],
            cause=f"It was made without `batch_first=True`: axis 1, over which {written} is read, is that of samples.",
            fixes=["Let it take samples first:\n" + code(f"nn.{kind}(..., batch_first=True)")],
            unless="the samples of each step are meant.",
        )  # fmt: skip

    bad_code = {
        "a mean over steps": """
            class Net(nn.Module):
                def __init__(self, words):
                    super().__init__()
                    self.embed = nn.Embedding(words, 64)
                    layer = nn.TransformerEncoderLayer(d_model=64, nhead=4)
                    self.encoder = nn.TransformerEncoder(layer, num_layers=2)
                    self.fc = nn.Linear(64, 2)

                def forward(self, tokens):
                    x = self.encoder(self.embed(tokens))
                    return self.fc(x.mean(dim=1))  # bad
            """,
        "the first token": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.attention = nn.MultiheadAttention(64, 4)
                    self.norm = nn.LayerNorm(64)
                    self.rnn = nn.GRU(64, 64)

                def forward(self, x):
                    x, _ = self.attention(x, x, x)
                    x = self.norm(x)
                    out, _ = self.rnn(x)
                    return x[:, 0, :] + torch.mean(out, dim=1)  # bad
            """,
    }
    good_code = {
        "samples first": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    layer = nn.TransformerEncoderLayer(64, 4, batch_first=True)
                    self.encoder = nn.TransformerEncoder(layer, 2)
                    self.rnn = nn.GRU(64, 64, batch_first=True)

                def forward(self, x):
                    x = self.encoder(x)
                    out, _ = self.rnn(x)
                    return x[:, 0] + out.mean(dim=1)
            """,
        "turned, or read time first": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), 2)

                def forward(self, x):
                    x = self.encoder(x.transpose(0, 1))
                    first = x[0] + x.mean(dim=0)
                    x = x.transpose(0, 1)
                    return first + x[:, 0] + x.mean(dim=1)
            """,
        "not known": """
            class Net(nn.Module):
                def __init__(self, layer, **options):
                    super().__init__()
                    self.encoder = nn.TransformerEncoder(layer, 2)
                    self.attention = nn.MultiheadAttention(64, 4, **options)

                def forward(self, x):
                    x = self.encoder(x).mean(dim=1)
                    return self.attention(x, x, x)[0][:, 0]
            """,
    }


def _read_on_axis_1(file: Code) -> Iterator[tuple[Value, At, int]]:
    """What is reduced or indexed on axis 1, where, and the context of the call; NOWHERE of an index."""
    for call in file.calls_of(*_REDUCING):
        bound = call.name.startswith(".")
        axis = literal(file, call.argument(0 if bound else 1, "dim"))
        value = call.receiver if bound else call.argument(0, "input")
        if axis == 1 and axis is not True and value is not None:
            yield value, call.at, call.context
    for item in values_of(file):
        if isinstance(item, Item) and isinstance(item.key, Group) and len(item.key.items) in (2, 3):
            first, second = item.key.items[:2]
            is_all = (
                isinstance(first, Operation)
                and first.operator == ":"
                and all(isinstance(one, Constant) and one.value is None for one in first.operands)
            )
            if is_all and isinstance(second, Constant) and second.value in (0, -1):
                yield item.value, item.at, NOWHERE


def _sequence(file: Code, value: Value | None, depth: int = 0) -> _Sequence | None:
    """The layer over sequences that gave a value, straight or through layers that keep its axes."""
    item: tuple[int, ...] = ()
    while isinstance(value, Name) and value.binding != NOWHERE:
        binding = file.bindings[value.binding]
        if binding.how != "assign":
            return None
        item, value = (*binding.item, *item), binding.value
    if isinstance(value, Item) and isinstance(value.key, Constant) and value.key.value == 0:
        item, value = (0, *item), value.value
    if not isinstance(value, Call) or value.receiver is None or depth > 8:
        return None
    layer = called(file, value)
    if layer.name in _KEEP_AXES and not item:
        return _sequence(file, value.argument(0), depth + 1)
    if layer.made is None or layer.made_in is None or item != ((0,) if layer.name in _PAIRS else ()):
        return None
    is_one = layer.name in _ENCODERS or layer.name in _LAYERS or layer.name in _PAIRS
    return _Sequence(layer.name, layer.made, layer.made_in, value) if is_one else None


def _batch_first(found: _Sequence) -> bool | None:
    """Whether a layer takes samples first; None when the code does not say."""
    made, home = found.made, found.made_in
    if found.kind in _ENCODERS:
        inner, _ = followed(home, made.argument(0, "encoder_layer") or made.keyword("decoder_layer"))
        layer = thing_of(home, inner)
        if layer.name not in _LAYERS or layer.made is None or layer.made_in is None:
            return None
        made, home = layer.made, layer.made_in
    most = 4 if found.kind in RECURRENT else 6
    if made.is_open or len(made.arguments) > most:
        return None
    value = made.keyword("batch_first")
    said = False if value is None else literal(home, value)
    return said if isinstance(said, bool) else None
