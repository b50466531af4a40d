"""Trained matrices of low rank beside frozen ones, told from a network that is frozen in part."""

from __future__ import annotations

import pytest

from stethoscope.facts.adapters import has_adapters
from stethoscope.facts.training import History, Parameter


def _seen(**shapes: tuple[int, ...]) -> History:
    """Parameters by name, with `_` for dots; those whose name ends in `frozen` do not train."""
    parameters = []
    for name, shape in shapes.items():
        path, trains = name.removesuffix("_frozen").replace("_", "."), not name.endswith("frozen")
        parameters.append(Parameter(path, shape, trains, optimizer=0 if trains else -1))
    return History(parameters=tuple(parameters))


@pytest.mark.parametrize(
    "seen",
    [
        _seen(h_q_base_weight_frozen=(64, 32), h_q_A_default_weight=(4, 32), h_q_B_default_weight=(64, 4)),
        _seen(fc_linear_weight_frozen=(64, 32), fc_a=(32, 4), fc_b=(4, 64)),
        _seen(fc_weight_frozen=(64, 64), fc_a=(64, 8), fc_b=(8, 64)),
    ],
)
def test_two_factors_beside_a_frozen_matrix_adapt_it(seen: History) -> None:
    assert has_adapters(seen)


@pytest.mark.parametrize(
    "seen",
    [
        _seen(body_0_weight_frozen=(64, 64), body_2_weight=(10, 64), body_4_weight=(64, 10)),  # layers in a row
        _seen(fc1_weight_frozen=(64, 64), fc2_weight=(10, 64), fc3_weight=(64, 10)),
        _seen(net_body_weight_frozen=(64, 32), net_head_weight=(10, 64)),
        _seen(h_q_base_weight=(64, 32), h_q_A_weight=(4, 32), h_q_B_weight=(64, 4)),  # nothing is frozen
        _seen(h_q_base_weight_frozen=(64, 32), h_q_A_weight=(4, 32), h_q_B_weight=(64, 8)),  # other ranks
    ],
)
def test_other_frozen_networks_have_none(seen: History) -> None:
    assert not has_adapters(seen)
