"""The entropy of attention weights is read off the graph, whoever made them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def by_hand(x: Tensor) -> Tensor:
    return (x @ x.transpose(1, 2) / x.shape[-1] ** 0.5).softmax(dim=-1) @ x


def fused(x: Tensor) -> Tensor:
    heads = x.unsqueeze(1)
    return F.scaled_dot_product_attention(heads, heads, heads, is_causal=True).squeeze(1)


class Attending(nn.Module):
    def __init__(self, attend: Any, gain: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
        self.attend, self.gain = attend, gain

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.attend(self.gain * self.first(x))).mean(dim=1)


def shares_of(listening: Any, model: nn.Module, steps: int = 20, length: int = 12) -> tuple[Any, ...]:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with listening() as session:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(5, length, 4)), torch.randint(3, (5,))).backward()
            optimizer.step()
    return session.history().attention  # type: ignore[no-any-return]


@pytest.mark.parametrize("attend", [by_hand, fused])
def test_even_weights_have_a_share_of_one_and_pointed_ones_of_zero(listening: Any, attend: Any) -> None:
    (even,) = shares_of(listening, Attending(attend, 0.01))
    (pointed,) = shares_of(listening, Attending(attend, 300.0))
    assert even.keys == pointed.keys == 12
    assert even.shares.size >= 4
    assert even.shares.min() > 0.99
    assert pointed.shares.max() < 0.1


def test_the_layer_of_torch_is_read_like_any_other(listening: Any) -> None:
    class Layered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.last = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.layer(x)).mean(dim=1)

    (found,) = shares_of(listening, Layered())
    assert 0.5 < found.shares.min() <= found.shares.max() <= 1


def test_a_softmax_over_classes_is_no_attention(listening: Any) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.LogSoftmax(dim=1))
    assert shares_of(listening, model) == ()


def test_few_positions_say_nothing(listening: Any) -> None:
    assert shares_of(listening, Attending(by_hand, 1.0), length=7) == ()
