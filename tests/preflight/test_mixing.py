"""Which samples and which positions an output depends on: 30 built cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.mixing import causality_of, mixing_of
from stethoscope.observe.preflight.subject import CannotMake, Subject

T, C = 9, 8


class Made(nn.Module):
    """Layers and a forward pass by name."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name, part in parts.items():
            for module in part.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
            setattr(self, name, part)
        self._forward = forward

    def forward(self, *x: Tensor) -> Tensor:
        return self._forward(self, *x)


def subject(model: nn.Module, x: Tensor) -> Subject:
    return given(model, lambda out, y: out.float().square().mean(), (x, x), None).subject()


def rows(*shape: int) -> Tensor:
    return torch.randn(12, *shape, generator=torch.Generator().manual_seed(1))


TOKENS = torch.randint(11, (12, T), generator=torch.Generator().manual_seed(1))
linear = lambda: nn.Linear(C, C)  # noqa: E731

APART = {
    "a perceptron": (Made(lambda m, x: m.a(x).tanh(), a=linear()), rows(C)),
    "a convolution with group norm": (
        Made(lambda m, x: m.n(m.c(x)).flatten(1), c=nn.Conv2d(3, 4, 3), n=nn.GroupNorm(2, 4)), rows(3, 6, 6)),
    "batch norm in eval mode": (Made(lambda m, x: m.n(m.a(x)), a=linear(), n=nn.BatchNorm1d(C)), rows(C)),
    "layer norm": (Made(lambda m, x: m.n(m.a(x)), a=linear(), n=nn.LayerNorm(C)), rows(C)),
    "attention over positions": (
        Made(lambda m, x: m.a(x, x, x)[0].mean(1), a=nn.MultiheadAttention(C, 2, batch_first=True)), rows(T, C)),
    "a recurrent net, samples first": (
        Made(lambda m, x: m.r(x)[0][:, -1], r=nn.LSTM(C, 5, batch_first=True)), rows(T, C)),
    "softmax over features": (Made(lambda m, x: m.a(x).softmax(1), a=linear()), rows(C)),
    "an embedding": (Made(lambda m, x: m.e(x).mean(1), e=nn.Embedding(11, C)), TOKENS),
    "transpose where it belongs": (Made(lambda m, x: m.c(x.transpose(1, 2)).mean(2), c=nn.Conv1d(C, 4, 3)), rows(T, C)),
}  # fmt: skip
MIXED = {
    "softmax over the batch": (Made(lambda m, x: m.a(x).softmax(0), a=linear()), rows(C)),
    "the mean of the batch is taken off": (Made(lambda m, x: m.a(x) - m.a(x).mean(0), a=linear()), rows(C)),
    "a view for a transpose": (
        Made(lambda m, x: m.a(x).reshape(T, x.shape[0], C).transpose(0, 1).mean(1), a=linear()), rows(T, C)),
    "attention over samples": (
        Made(lambda m, x: m.a(x.transpose(0, 1), *[x.transpose(0, 1)] * 2)[0].transpose(0, 1).mean(1),
             a=nn.MultiheadAttention(C, 2, batch_first=True)), rows(T, C)),
    "batch norm without running statistics": (
        Made(lambda m, x: m.n(m.a(x)), a=linear(), n=nn.BatchNorm1d(C, track_running_stats=False)), rows(C)),
    "a norm over the whole batch": (Made(lambda m, x: m.a(x) / m.a(x).norm(), a=linear()), rows(C)),
    "a sum over the wrong axis": (Made(lambda m, x: m.a(x).sum(0, keepdim=True) + x, a=linear()), rows(C)),
    "a roll along the batch": (Made(lambda m, x: m.a(x).roll(1, 0), a=linear()), rows(C)),
}  # fmt: skip


def _decoder(causal: bool) -> nn.Module:
    def forward(m: Made, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1]) if causal else None
        return m.b(m.e(tokens), src_mask=mask)

    return Made(forward, e=nn.Embedding(11, C), b=nn.TransformerEncoderLayer(C, 2, 16, batch_first=True))


def _by_hand(mask: Callable[[Tensor], Tensor]) -> nn.Module:
    def forward(m: Made, tokens: Tensor) -> Tensor:
        h = m.e(tokens)
        scores = m.q(h) @ m.k(h).transpose(1, 2)
        return mask(scores).softmax(-1) @ h

    return Made(forward, e=nn.Embedding(11, C), q=linear(), k=linear())


def _below(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -1e9)


CAUSAL = {
    "a decoder with a mask": (_decoder(True), TOKENS),
    "attention by hand with a mask": (_by_hand(_below), TOKENS),
    "a recurrent net": (
        Made(lambda m, x: m.r(m.e(x))[0], e=nn.Embedding(11, C), r=nn.GRU(C, 6, batch_first=True)), TOKENS),
    "a convolution padded on the left": (
        Made(lambda m, x: m.c(F.pad(x.transpose(1, 2), (2, 0))).transpose(1, 2), c=nn.Conv1d(C, 4, 3)), rows(T, C)),
    "each position by itself": (Made(lambda m, x: m.a(m.e(x)), e=nn.Embedding(11, C), a=linear()), TOKENS),
    "a cumulative sum": (Made(lambda m, x: m.a(x).cumsum(1), a=linear()), rows(T, C)),
}  # fmt: skip
AHEAD = {
    "an encoder without a mask": (_decoder(False), TOKENS),
    "attention by hand without a mask": (_by_hand(lambda scores: scores), TOKENS),
    "a mask that is off by one": (
        _by_hand(lambda s: s.masked_fill(torch.ones_like(s).triu(2).bool(), -1e9)), TOKENS),
    "a recurrent net in both directions": (
        Made(lambda m, x: m.r(m.e(x))[0], e=nn.Embedding(11, C), r=nn.GRU(C, 6, batch_first=True, bidirectional=True)),
        TOKENS),
    "a convolution padded on both sides": (
        Made(lambda m, x: m.c(x.transpose(1, 2)).transpose(1, 2), c=nn.Conv1d(C, 4, 3, padding=1)), rows(T, C)),
    "the mean over all positions": (Made(lambda m, x: m.a(x) - x.mean(1, keepdim=True), a=linear()), rows(T, C)),
    "a softmax over positions": (Made(lambda m, x: m.a(x).softmax(1), a=linear()), rows(T, C)),
}  # fmt: skip


@pytest.mark.parametrize("name", APART)
def test_samples_are_apart(name: str) -> None:
    assert mixing_of(subject(*APART[name])).mixed == 0


@pytest.mark.parametrize("name", MIXED)
def test_samples_are_mixed(name: str) -> None:
    assert mixing_of(subject(*MIXED[name])).mixed


@pytest.mark.parametrize("name", CAUSAL)
def test_positions_see_none_later(name: str) -> None:
    assert causality_of(subject(*CAUSAL[name])).later == 0


@pytest.mark.parametrize("name", AHEAD)
def test_positions_see_later_ones(name: str) -> None:
    assert causality_of(subject(*AHEAD[name])).later


def test_there_are_thirty_cases() -> None:
    assert len(APART) + len(MIXED) + len(CAUSAL) + len(AHEAD) >= 30


def test_the_module_in_which_samples_meet_is_named() -> None:
    model = nn.Sequential(nn.Linear(C, C), nn.Softmax(dim=0), nn.Linear(C, 3))
    mixing = mixing_of(subject(model, rows(C)))
    assert (mixing.module, mixing.kind) == ("1", "Softmax")


def test_an_output_that_compares_samples_is_not_judged() -> None:
    with pytest.raises(CannotMake, match="compares the samples"):
        mixing_of(subject(Made(lambda m, x: m.a(x) @ m.a(x).T, a=linear()), rows(C)))


def test_the_model_in_whose_own_code_samples_meet_is_named() -> None:
    inner = Made(lambda m, x: m.b(m.a(x).softmax(0)), a=linear(), b=linear())
    mixing = mixing_of(subject(Made(lambda m, x: m.out(m.inner(x)), inner=inner, out=linear()), rows(C)))
    assert (mixing.module, mixing.kind) == ("inner", "Made")


def test_a_layer_that_takes_samples_for_time_mixes_them_where_each_has_one_target() -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(11, T, C), torch.randint(2, (11,))
    model = Made(lambda m, x: m.out(m.r(x)[0][:, -1]), r=nn.LSTM(C, 5), out=nn.Linear(5, 2))
    mixing = mixing_of(given(model, nn.CrossEntropyLoss(), (x, labels), None).subject())
    assert mixing.mixed
    assert not mixing.one_way
    assert mixing.module == "r"


def test_a_source_may_be_seen_whole() -> None:
    def forward(m: Made, source: Tensor, tokens: Tensor) -> Tensor:
        hidden = m.encoder(m.e(source))[0]
        made, _ = m.decoder(m.e(tokens))
        return made + m.attention(made, hidden, hidden)[0]

    model = Made(
        forward, e=nn.Embedding(11, C), encoder=nn.GRU(C, C, batch_first=True),
        decoder=nn.GRU(C, C, batch_first=True), attention=nn.MultiheadAttention(C, 2, batch_first=True),
    )  # fmt: skip
    loss = nn.CrossEntropyLoss()
    batch = (TOKENS, TOKENS.flip(1), TOKENS)
    seen = causality_of(given(model, lambda out, y: loss(out.flatten(0, 1), y.flatten()), batch, None).subject())
    assert seen.later == 0
    assert seen.earlier


def test_time_on_the_first_axis_is_not_judged() -> None:
    with pytest.raises(CannotMake, match="is time"):
        mixing_of(subject(Made(lambda m, x: m.r(x)[0], r=nn.LSTM(C, 5)), rows(7, C)))
