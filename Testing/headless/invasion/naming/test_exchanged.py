"""Pieces in the other class: where a vessel goes on through the other class, and where one only passes."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.invasion.naming.exchanged import exchanged
from twintrack.invasion.naming.grid import Grid
from twintrack.invasion.naming.tree import Voxels
from twintrack.volume import Geometry

SHAPE = (60, 40, 40)
GEOMETRY = Geometry((40, 40, 60), (1.5, 1.5, 1.5))
VEIN_X, ARTERY_X = 15, 24
"""Columns of two tubes that run up side by side."""

LOST = slice(25, 36)
"""Slices of the vein that are called artery."""


def tube(x: int, radius: float = 3.0) -> np.ndarray:
    _, j, i = np.indices(SHAPE)
    inside = np.hypot(i - x, j - 20) <= radius
    inside[:4] = inside[-4:] = False
    return inside


def voxels(mask: np.ndarray) -> Voxels:
    grid = Grid.around(mask, GEOMETRY)
    assert grid is not None
    inside = grid.down(mask)
    return Voxels(inside, inside, grid)


def suspects(arteries: np.ndarray, veins: np.ndarray) -> tuple[np.ndarray, Voxels]:
    own = voxels(arteries)
    return exchanged(own, voxels(veins)), own


def test_where_an_interrupted_vein_goes_on_an_artery_is_suspect() -> None:
    vein, artery = tube(VEIN_X), tube(ARTERY_X)
    lost = vein.copy()
    lost[: LOST.start] = lost[LOST.stop :] = False
    found, own = suspects(artery | lost, vein & ~lost)
    column = own.place_mm[:, 0] / 1.5
    height = own.place_mm[:, 2] / 1.5
    piece = column < (VEIN_X + ARTERY_X) / 2
    assert found[piece].mean() > 0.85
    assert found[~piece & ((height < LOST.start - 3) | (height > LOST.stop + 3))].sum() == 0


@pytest.mark.parametrize("gap", [False, True])
def test_beside_a_whole_vein_or_a_gap_that_nothing_fills_no_artery_is_suspect(gap: bool) -> None:
    vein, artery = tube(VEIN_X), tube(ARTERY_X)
    if gap:
        vein[LOST] = False
    found, _ = suspects(artery, vein)
    assert not found.any()


def test_an_artery_between_two_veins_that_run_along_it_is_not_suspect() -> None:
    artery, veins = tube(20), tube(11) | tube(29)
    found, _ = suspects(artery, veins)
    assert not found.any()
