"""Statistics from one buffer, against torch's own on the same values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stethoscope.observe.training.gathering import Gather, moments, root_mean_squares


def _gathered(*tensors: torch.Tensor) -> object:
    gather = Gather(1024)
    for slot, tensor in enumerate(tensors):
        gather.add(slot, tensor)
    return gather.take()


def test_moments_are_those_of_torch() -> None:
    one, other = torch.randn(10, 20), torch.rand(7) - 5

    found = moments(_gathered(one, other))

    for index, tensor in enumerate((one, other)):
        assert found.mean[index] == pytest.approx(tensor.mean().item(), abs=1e-5)
        assert found.std[index] == pytest.approx(tensor.std(correction=0).item(), rel=1e-3)
        assert found.rms[index] == pytest.approx(tensor.square().mean().sqrt().item(), rel=1e-5)
        assert found.largest[index] == pytest.approx(tensor.abs().max().item())


def test_zeros_are_counted_as_a_share() -> None:
    assert moments(_gathered(torch.tensor([0.0, 1, 0, -2]))).zero_share.tolist() == [0.5]


def test_values_that_are_no_numbers_are_counted_and_left_out_of_the_moments() -> None:
    found = moments(_gathered(torch.tensor([1.0, 3.0, float("nan"), float("inf")]), torch.ones(3)))

    assert found.nonfinite_share.tolist() == [0.5, 0.0]
    assert found.mean.tolist() == [2.0, 1.0]
    assert found.largest.tolist() == [3.0, 1.0]


def test_values_whose_squares_overflow_are_still_finite() -> None:
    found = moments(_gathered(torch.full((4,), 1e30)))

    assert found.rms[0] == pytest.approx(1e30, rel=1e-5)
    assert found.nonfinite_share[0] == 0


def test_a_gather_starts_anew_after_it_was_taken() -> None:
    gather = Gather(8)
    gather.add(3, torch.ones(2))
    gather.take()
    gather.add(5, torch.full((2,), 2.0))

    got = gather.take()

    assert got.slots == [5]
    assert root_mean_squares(got).tolist() == [2.0]


def test_a_large_tensor_grows_the_buffer() -> None:
    gather = Gather(1 << 20)
    gather.add(0, torch.ones(100))
    gather.add(1, torch.full((40_000,), 3.0))

    assert root_mean_squares(gather.take()).tolist() == [1.0, 3.0]
    assert np.isfinite(root_mean_squares(_gathered(torch.ones(1)))).all()
