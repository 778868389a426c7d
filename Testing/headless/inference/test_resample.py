"""Sizes and thick slices are nnU-Net's, for every spacing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, determine_do_sep_z_and_axis

from twintrack.inference.resample import network_shape, slice_axis

# Round numbers too, so that spacings are equal, and ratios lie on the limit.
SIZE = st.one_of(st.sampled_from([0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5]), st.floats(0.2, 10.0))
SPACING = st.tuples(SIZE, SIZE, SIZE)


@settings(deadline=None)
@given(st.tuples(*[st.integers(1, 700)] * 3), SPACING, SPACING)
def test_sizes_are_nnunets_but_never_nothing(shape, spacing, target):
    expected = [max(int(n), 1) for n in compute_new_shape(shape, spacing, target)]
    assert network_shape(shape, spacing, target) == expected


@settings(deadline=None)
@given(SPACING, SPACING, st.sampled_from([None, True, False]))
def test_thick_slices_are_nnunets(spacing, target, apart):
    is_apart, axis = determine_do_sep_z_and_axis(apart, list(spacing), list(target))
    assert slice_axis(spacing, target, apart) == (int(axis) if is_apart else None)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((5.0, 0.8, 0.8), (1.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 1.0), (0.8, 0.8, 5.0), 2),
        ((5.0, 5.0, 0.8), (1.0, 1.0, 1.0), None),
        ((1.5, 1.0, 1.0), (1.0, 1.0, 1.0), None),
    ],
)
def test_slices_are_thick_along_one_axis_or_not_at_all(spacing, target, axis):
    assert slice_axis(spacing, target, None) == axis
