from __future__ import annotations

import numpy as np
import pytest

from twintrack.metrics.surface_distance import outline_distance

SPACING = (0.5, 1.0, 3.0)


def slab(start: int, axis: int) -> np.ndarray:
    """Return a plate of one voxel across the whole volume, perpendicular to an array axis."""
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[(slice(None),) * axis + (start,)] = True
    return mask


@pytest.mark.parametrize(("axis", "edge_mm"), [(0, 3.0), (1, 1.0), (2, 0.5)])
def test_parallel_plates_lie_their_gap_apart_in_mm(axis, edge_mm):
    found = outline_distance(slab(2, axis), slab(5, axis), SPACING)
    assert found.hd95_mm == pytest.approx(3 * edge_mm)
    assert found.surface_dice == (1.0 if 3 * edge_mm <= 2 else 0.0)


def test_a_part_within_reach_counts_by_its_share_of_both_outlines():
    one, other = slab(2, 1), slab(2, 1) | slab(9, 1)
    found = outline_distance(one, other, SPACING)
    assert found.surface_dice == pytest.approx((1 + 1) / (1 + 2))
    assert found.hd95_mm == pytest.approx(7.0)


def test_a_single_stray_voxel_does_not_move_the_95th_percentile():
    one = slab(2, 1)
    other = one.copy()
    other[0, 11, 0] = True
    assert outline_distance(one, other, SPACING).hd95_mm == 0


def test_empty_masks_are_equal_to_each_other_and_infinitely_far_from_all_others():
    empty = np.zeros((3, 3, 3), dtype=bool)
    both = outline_distance(empty, empty, SPACING)
    assert (both.hd95_mm, both.surface_dice) == (0, 1)
    one = outline_distance(empty, ~empty, SPACING)
    assert (one.hd95_mm, one.surface_dice) == (None, 0)


def test_the_interior_does_not_count():
    ball = np.zeros((11, 11, 11), dtype=bool)
    ball[2:9, 2:9, 2:9] = True
    shell = ball.copy()
    shell[4:7, 4:7, 4:7] = False
    found = outline_distance(ball, ball, SPACING)
    assert (found.hd95_mm, found.surface_dice) == (0, 1)
    assert outline_distance(ball, shell, (1, 1, 1)).hd95_mm > 0
