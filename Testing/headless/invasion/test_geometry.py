"""Points on rays, the map there, and medians of rows with gaps: quick ways with the results of the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.invasion.geometry import Neighborhood, ceiling_of, on_rays, row_medians
from twintrack.volume import Geometry

SIZE, SPACING_MM = (12, 10, 9), (0.7, 1.3, 2.1)


def test_points_on_rays_lie_at_their_distance_from_the_start_and_a_linear_map_is_read_there() -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry(SIZE, SPACING_MM)
    z, y, x = np.indices(geometry.shape) * np.array(SPACING_MM[::-1])[:, None, None, None]
    field = (2 * x - 3 * y + 5 * z).astype(np.float32)
    near = Neighborhood.around(field, np.ones(field.shape, dtype=bool), geometry, np.zeros(3, dtype=np.int64))
    start_mm, rays = rng.uniform(3, 6, (3, 4, 1)), rng.normal(size=(3, 4, 7))
    rays /= np.linalg.norm(rays, axis=0)
    at_mm = rng.uniform(0, 2, (4, 7))
    points = on_rays(start_mm, rays, at_mm)
    assert points.shape == (4, 7, 3)
    assert np.linalg.norm(points - start_mm.transpose(1, 2, 0), axis=-1) == pytest.approx(at_mm)
    assert near.sample(near.probability, points) == pytest.approx(points @ [2.0, -3.0, 5.0], abs=1e-4)
    assert near.sample(near.probability, points - 1000.0).max() == 0


@pytest.mark.parametrize("flat", [False, True])
def test_looking_only_where_a_field_can_be_higher_gives_the_highest_sample_to_the_last_bit(flat: bool) -> None:
    rng = np.random.default_rng(1)
    geometry = Geometry(SIZE, SPACING_MM)
    values = rng.random(geometry.shape) ** 4 if not flat else np.where(rng.random(geometry.shape) < 0.5, 0.1, 0.3)
    field = values.astype(np.float32)
    field[:, :3] = 0
    near = Neighborhood.around(field, np.ones(field.shape, dtype=bool), geometry, np.zeros(3, dtype=np.int64))
    ceiling = ceiling_of(field)
    highest = plain = np.zeros(5000)
    looked_at = 0
    for _ in range(4):
        # Some beyond the box on either side, some exactly on voxels and on the box's faces.
        points = rng.uniform(-0.2, 1.2, (5000, 3)) * np.array(SIZE) * SPACING_MM
        points[:500] = rng.integers(0, SIZE, (500, 3)) * np.array(SPACING_MM)
        plain = np.maximum(plain, near.sample(field, points))
        before = highest.copy()
        near.raise_to_sample(highest, field, ceiling, points)
        looked_at += np.count_nonzero(highest != before)
        assert np.array_equal(highest, plain)
    assert looked_at > 0


@pytest.mark.parametrize("columns", [1, 2, 7, 8])
def test_medians_of_rows_are_those_of_numpy_to_the_last_bit(columns: int) -> None:
    rng = np.random.default_rng(columns)
    table = rng.normal(size=(200, columns))
    assert np.array_equal(row_medians(table), np.median(table, axis=1))
    table[rng.random(table.shape) < 0.4] = np.nan
    table[:, 0] = np.where(np.isnan(table).all(axis=1), 0.5, table[:, 0])
    assert np.array_equal(row_medians(table), np.nanmedian(table, axis=1))
    assert np.isnan(row_medians(np.full((2, columns), np.nan))).all()
