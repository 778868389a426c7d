"""Sections through a volume, against an interpolation of single points."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.imaging.views import VIEWS, Section, View


def plainly(
    section: Section, array: NDArray[np.generic], spacing_mm: tuple[float, float, float], fill: float, value: int | None
) -> NDArray[np.float32]:
    """Sample point by point, as sections were until their rows and columns were taken one after the other."""
    view = section.view
    plane = np.take(array, section.index, axis=2 - view.through)
    plane = (plane if value is None else plane == value).astype(np.float32)
    ticks = ((np.arange(section.pixels) + 0.5) / section.pixels - 0.5) * section.side_mm
    columns = (section.center_mm[0] + ticks) / spacing_mm[view.across]
    rows = (section.center_mm[1] + (-ticks if view.rows_rise else ticks)) / spacing_mm[view.down]
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(plane, grid, order=1, mode="grid-constant", cval=fill))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@pytest.mark.parametrize(("fill", "value"), [(-1000.0, None), (0.0, None), (0.0, 1), (0.0, 9)])
def test_a_section_is_what_single_points_give(view: View, fill: float, value: int | None) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        array = rng.integers(0, 3, (20, 30, 25)).astype(np.uint8) if value else rng.normal(size=(20, 30, 25))
        spacing_mm = tuple(rng.uniform(0.5, 3, 3).tolist())
        center_mm = (float(rng.uniform(-10, 40)), float(rng.uniform(-10, 40)))  # beyond the edges too
        section = Section(view, int(rng.integers(0, 20)), center_mm, float(rng.uniform(10, 120)), pixels=61)
        np.testing.assert_allclose(
            section.sample(array, spacing_mm, fill, value=value),
            plainly(section, array, spacing_mm, fill, value),
            rtol=0,
            atol=1e-12 if value else 1e-4,
        )
