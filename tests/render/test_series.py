"""Long series made short: nothing that matters may be lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stethoscope.render.series import traced


def test_one_spike_in_a_hundred_thousand_values_is_kept() -> None:
    values = np.ones(100_000)
    values[61_803] = 500.0
    trace = traced(np.arange(values.size), values, columns=100)
    assert trace.values.size <= 300
    assert (trace.steps[trace.values == 500.0] == 61_803).all()
    assert trace.values.max() == 500.0


def test_one_value_that_is_no_number_is_kept_as_a_gap_and_a_mark() -> None:
    values = np.ones(50_000)
    values[777] = np.nan
    trace = traced(np.arange(values.size), values, columns=100)
    assert trace.bad == ((777.0, 777.0),)
    (gap,) = trace.values[trace.steps == 777]
    assert np.isnan(gap)


def test_stretches_that_are_no_numbers_are_found_at_both_ends() -> None:
    trace = traced([0, 1, 2, 3, 4], [np.nan, 1.0, np.inf, np.inf, np.nan])
    assert trace.bad == ((0.0, 0.0), (2.0, 4.0))


def test_the_smooth_line_does_not_follow_one_spike() -> None:
    values = np.ones(2000)
    values[1000] = 1e6
    assert traced(np.arange(2000), values).smooth.max() == 1.0


def test_a_series_without_values_makes_an_empty_trace() -> None:
    trace = traced([], [])
    assert trace.steps.size == trace.values.size == len(trace.bad) == 0


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")) | st.just(float("inf")), min_size=1, max_size=400),
    st.integers(2, 40),
)
def test_largest_smallest_and_every_bad_step_survive(values: list[float], columns: int) -> None:
    y = np.array(values)
    trace = traced(np.arange(y.size), y, columns=columns)
    finite = y[np.isfinite(y)]
    if finite.size:
        assert np.nanmax(trace.values) == finite.max()
        assert np.nanmin(trace.values) == finite.min()
    for step in np.flatnonzero(~np.isfinite(y)):
        assert any(first <= step <= last for first, last in trace.bad)
    assert (np.diff(trace.steps) > 0).all()
