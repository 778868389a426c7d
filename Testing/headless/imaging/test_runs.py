"""Connected parts of label maps, found among stretches of rows: SciPy's parts of each label."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from twintrack.imaging.runs import Runs

SHAPES = [(7, 9, 11), (1, 1, 30), (1, 12, 1), (12, 1, 1), (5, 1, 6), (1, 20, 20), (20, 6, 1)]


def parts_by_label(labels: np.ndarray, structure: np.ndarray) -> set[frozenset[int]]:
    """Return the voxels of each connected part, by SciPy, one label after the other."""
    parts = set()
    for value in np.unique(labels[labels > 0]):
        found, count = ndimage.label(labels == value, structure)
        parts |= {frozenset(np.flatnonzero(found == number).tolist()) for number in range(1, count + 1)}
    return parts


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("by_faces", [True, False])
def test_parts_are_those_of_scipy(shape: tuple[int, ...], share: float, by_faces: bool) -> None:
    rng = np.random.default_rng(int(share * 100))
    structure = ndimage.generate_binary_structure(3, 1 if by_faces else 3)
    for _ in range(5):
        labels = (rng.integers(1, 4, shape) * (rng.random(shape) < share)).astype(np.uint8)
        runs = Runs.of(labels)
        part, count = runs.parts(by_faces=by_faces)
        assert np.array_equal(runs.voxels, np.flatnonzero(labels))
        assert np.array_equal(runs.to_voxels(runs.value), labels.ravel()[runs.voxels])
        number = runs.to_voxels(part)
        found = {frozenset(runs.voxels[number == n].tolist()) for n in range(count)}
        assert found == parts_by_label(labels, structure)


def test_parts_come_in_the_order_of_scipy_with_box_and_mask() -> None:
    mask = np.random.default_rng(3).random((9, 12, 14)) < 0.12
    found, count = ndimage.label(mask, np.ones((3, 3, 3)))
    parts = Runs.of(mask.view(np.uint8)).by_part()
    assert len(parts) == count > 20
    for number, (part, box) in enumerate(zip(parts, ndimage.find_objects(found), strict=True), start=1):
        assert part.box == box
        assert np.array_equal(part.mask_in(box), found[box] == number)


def test_a_stretch_ends_with_its_row() -> None:
    labels = np.ones((2, 2, 3), dtype=np.uint8)
    assert Runs.of(labels).length.tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4, 5), (3, 4, 0)])
def test_nothing_has_no_parts(shape: tuple[int, ...]) -> None:
    runs = Runs.of(np.zeros(shape, dtype=np.uint8))
    part, count = runs.parts()
    assert len(runs.voxels) == len(part) == count == 0
    assert runs.by_part() == []
