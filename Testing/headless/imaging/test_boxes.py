"""Boxes of labels, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from twintrack.imaging.boxes import label_boxes


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_boxes_of_labels_are_those_that_scipy_finds(dtype: type) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.zeros(rng.integers(1, 12, 3), dtype)
        for value in rng.integers(1, 9, 4):
            low = [int(rng.integers(0, n)) for n in labels.shape]
            labels[tuple(slice(a, a + int(rng.integers(1, 4))) for a in low)] = value
        assert label_boxes(labels, 6) == ndimage.find_objects(labels, max_label=6)


def test_labels_at_every_edge_have_whole_boxes() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0, 0, 0], labels[-1, -1, -1] = 2, 2
    assert label_boxes(labels, 2) == [None, (slice(0, 4), slice(0, 5), slice(0, 6))]


def test_a_map_without_labels_and_negative_values_have_no_box() -> None:
    assert label_boxes(np.zeros((3, 3, 3), np.int16), 2) == [None, None]
    assert label_boxes(np.full((3, 3, 3), -1, np.int16), 2) == [None, None]


def test_a_mask_of_booleans_is_label_one() -> None:
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 2, 3] = True
    assert label_boxes(mask, 1) == [(slice(1, 2), slice(2, 3), slice(3, 4))]
