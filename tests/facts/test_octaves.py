"""Octave histograms: each value in its bin, and a bounded number of looks."""

from __future__ import annotations

import numpy as np
import pytest

from stethoscope.facts.octaves import BINS, BROKEN, LOWEST, SIDE, ZERO, OctaveLook, edges, octaves
from stethoscope.observe.training.gathering import Gather
from stethoscope.observe.training.octaves import MOST_BYTES, MOST_LOOKS, OctaveLog
from stethoscope.observe.training.reduction import SLOTS


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (0.0, ZERO), (-0.0, ZERO), (1e-30, ZERO), (1e-42, ZERO), (np.nan, BROKEN), (np.inf, BROKEN), (-np.inf, BROKEN),
        (1.0, ZERO + 1 - LOWEST), (1.999, ZERO + 1 - LOWEST), (2.0, ZERO + 2 - LOWEST), (-1.0, ZERO - 1 + LOWEST),
        (3e38, 2 * SIDE), (-3e38, 0),
    ],
)  # fmt: skip
def test_a_value_is_in_the_bin_of_its_octave(value: float, place: int) -> None:
    assert octaves(np.array([value], np.float32)).tolist() == [place]


def test_a_value_lies_between_the_edges_of_its_bin() -> None:
    values = np.random.default_rng(0).standard_cauchy(2000).astype(np.float32)
    limits, bins = edges(), octaves(values)

    assert limits.size == BROKEN + 1
    inside = (limits[bins] <= values) & (values <= limits[bins + 1])
    assert inside.all()


def gathered(*tensors: np.ndarray, look: int = 0) -> Gather:
    gather = Gather(512)
    for slot, values in enumerate(tensors):
        gather.add_values(look * SLOTS + slot, values.astype(np.float32))
    return gather


def test_a_look_has_the_histogram_of_each_layer_and_parameter() -> None:
    log = OctaveLog()
    outputs = gathered(np.array([1.0, 1.5, -4.0]), np.array([0.0]))
    none, weights = Gather(512), gathered(np.array([8.0, np.nan]))
    log.see([7], 2, 1, (outputs.take(), none.take(), weights.take(), Gather(512).take()))

    (look,) = log.fact()
    assert (look.step, look.layers, look.parameters) == (7, 2, 1)
    assert np.flatnonzero(look.of("output", 0)).tolist() == [ZERO - 3 + LOWEST, ZERO + 1 - LOWEST]
    assert look.of("output", 0).sum() == 3
    assert look.of("output", 1)[ZERO] == 1
    assert not look.of("output gradient", 0).any()
    assert np.flatnonzero(look.of("weight", 0)).tolist() == [ZERO + 4 - LOWEST, BROKEN]
    assert not look.of("gradient", 0).any()


def test_looks_reduced_together_stay_apart() -> None:
    log, gather = OctaveLog(), Gather(512)
    for look, value in enumerate((1.0, 2.0)):
        gather.add_values(look * SLOTS, np.full(4, value, np.float32))
    log.see([3, 5], 1, 0, (gather.take(), *(Gather(1).take() for _ in range(3))))

    assert [one.step for one in log.fact()] == [3, 5]
    assert [int(np.flatnonzero(one.of("output", 0))[0]) for one in log.fact()] == [ZERO + 1 - LOWEST, ZERO + 2 - LOWEST]


def test_there_are_never_too_many_and_the_first_stays() -> None:
    log = OctaveLog()
    for step in range(3000):
        one = gathered(np.ones(4))
        log.see([step], 1, 0, (one.take(), *(Gather(1).take() for _ in range(3))))
        assert len(log.fact()) <= MOST_LOOKS

    steps = [one.step for one in log.fact()]
    assert steps[0] == 0
    assert len(steps) > MOST_LOOKS // 2
    assert len(set(np.diff(steps))) == 1
    assert log.fact() is log.fact()


def test_a_huge_model_keeps_few() -> None:
    log = OctaveLog()
    values = [np.geomspace(1e-9, 1e5, 256) * (-1) ** n for n in range(3000)]
    for step in range(12):
        parts = tuple(gathered(*values).take() for _ in range(4))
        log.see([step], 3000, 3000, parts)

    assert 1 <= len(log.fact()) < 12
    assert sum(one.cells.nbytes + one.counts.nbytes for one in log.fact()) <= 2 * MOST_BYTES
    assert isinstance(log.fact()[0], OctaveLook)
    assert int(log.fact()[0].cells.max()) < 12_000 * BINS
