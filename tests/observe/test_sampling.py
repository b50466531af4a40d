"""A few values must speak for all."""

from __future__ import annotations

from math import gcd

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stethoscope.observe.training.sampling import coprime_stride, sampled, sampled_rows


@given(st.integers(1, 1 << 22), st.integers(1, 4096))
def test_a_stride_takes_at_most_the_cap_and_shares_no_factor_with_the_count(count: int, cap: int) -> None:
    stride = coprime_stride(count, cap)

    assert -(-count // stride) <= cap
    assert stride == 1 or gcd(stride, count) == 1


def test_every_channel_of_an_image_batch_is_seen() -> None:
    channels = torch.arange(64.0).reshape(1, 64, 1, 1).expand(32, 64, 16, 16).contiguous()

    assert set(sampled(channels, 1024)) == set(range(64))


def test_a_small_tensor_is_taken_whole() -> None:
    assert sampled(torch.arange(10.0), 256).tolist() == list(range(10))


def test_a_transposed_tensor_gives_values_of_its_own() -> None:
    tensor = torch.arange(6.0).reshape(2, 3).T

    assert sorted(sampled(tensor, 100)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_as_float32(dtype: torch.dtype) -> None:
    values = sampled(torch.full((8,), 1.5, dtype=dtype), 100)

    assert values.dtype == np.float32
    assert values.tolist() == [1.5] * 8


def test_the_spread_of_a_weight_is_right_within_a_tenth() -> None:
    weight = torch.randn(512, 512) * torch.linspace(0.1, 3, 512)[:, None]

    assert np.std(sampled(weight, 1024)) == pytest.approx(weight.std().item(), rel=0.1)


def test_rows_of_feature_maps_have_a_column_for_each_channel() -> None:
    maps = torch.randn(8, 16, 10, 10)
    maps[:, 3] = -1

    rows = sampled_rows(maps, 4096)

    assert rows.shape[1] == 16
    assert np.flatnonzero(~(rows > 0).any(axis=0)).tolist() == [3]


def test_rows_of_a_sequence_have_a_column_for_each_feature() -> None:
    assert sampled_rows(torch.randn(4, 7, 5), 10_000).shape == (28, 5)


class Spread(torch.Tensor):
    """Stands for a tensor that is spread over processes: it has no memory of its own."""

    _local_tensor: torch.Tensor

    @staticmethod
    def __new__(cls, local: torch.Tensor | None) -> Spread:
        made = torch.Tensor._make_wrapper_subclass(cls, (64, 64))
        if local is not None:
            made._local_tensor = local
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["_local_tensor"], None

    @classmethod
    def __torch_dispatch__(cls, *_: object) -> None:
        raise AssertionError("an operation on it would wait for the other processes")


def test_of_a_tensor_spread_over_processes_its_own_part_is_read() -> None:
    here = Spread(torch.arange(6.0).reshape(2, 3))

    assert sampled(here, 64).tolist() == [0, 1, 2, 3, 4, 5]
    assert sampled_rows(here, 64).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert sampled(Spread(None), 64).size == 0
