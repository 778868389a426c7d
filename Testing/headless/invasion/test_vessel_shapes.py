"""Vessels that are absent, tiny, thin, noisy, branching, in pieces or cut, and a real aorta."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from twintrack.invasion import InvasionResult, VesselInvasion, measure_invasion
from twintrack.io.volumes import read_volume
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
GRID = Geometry((40, 40, 40), (0.8, 0.8, 1.0))
NO_LINE = "no usable centre line"


def measure(tumor: np.ndarray, vessel: np.ndarray, geometry: Geometry = GRID) -> VesselInvasion:
    result = measure_invasion(
        Volume(tumor.astype(np.float32), geometry),
        Volume(vessel.astype(np.uint8), geometry),
        {"SMA": 1},
        thresholds=[0.5],
    )
    return result.vessels["SMA"]


def empty() -> np.ndarray:
    return np.zeros(GRID.shape, dtype=bool)


def test_an_absent_vessel_is_reported_as_absent_without_a_single_number() -> None:
    result = measure(np.ones(GRID.shape), empty())
    assert not result.present
    assert result.reason == "the vessel map does not hold this vessel"
    assert result.angle_deg == result.arc_deg == result.contact_length_mm == result.contact_area_mm2 == (None,)
    assert (result.p_contact, result.p_encased, result.expected_angle_deg) == (None, None, None)
    assert (result.category, result.category_probability, result.worst) == (None, None, None)
    assert result.protocol_deg == {"axial": [None], "coronal": [None], "sagittal": [None]}


def test_an_empty_map_touches_nothing_but_the_vessel_is_present() -> None:
    vessel = empty()
    vessel[5:35, 15:22, 15:22] = True
    result = measure(empty(), vessel)
    assert result.present
    assert result.angle_deg == (0.0,)
    assert result.worst_position_lps_mm is None


@pytest.mark.parametrize("voxels", [1, 2, 3, 5, 9, 30])
def test_a_tiny_vessel_inside_the_tumor_is_encased_and_away_from_it_is_free(voxels: int) -> None:
    vessel = empty()
    near_middle = np.argsort(((np.indices(GRID.shape) - 20) ** 2).sum(axis=0).ravel(), kind="stable")[:voxels]
    vessel.ravel()[near_middle] = True
    tumor = empty()
    tumor[12:29, 12:29, 12:29] = True
    around = measure(tumor & ~vessel, vessel)
    assert around.angle_deg[0] == 360.0
    assert around.category.value == "encasement"
    assert 0 < around.contact_length_mm[0] < 8
    assert voxels > 3 or any(NO_LINE in note for note in around.notes)
    away = empty()
    away[20, 20, 27:33] = True
    assert measure(away, vessel).category.value == "none"


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 1), (1, 1, 1)])
def test_a_vessel_one_voxel_thin_is_followed(direction: tuple[int, int, int]) -> None:
    vessel = empty()
    steps = np.arange(4, 36)
    vessel[tuple(steps if along else 20 for along in direction)] = True
    tumor = empty()
    tumor[14:27, 14:27, 14:27] = True
    result = measure(tumor & ~vessel, vessel)
    assert result.angle_deg[0] == 360.0
    inside_mm = 13 * float(np.linalg.norm(np.multiply(direction, (1.0, 0.8, 0.8))))
    assert result.contact_length_mm[0] == pytest.approx(inside_mm, abs=2.0)


def test_a_rough_wall_changes_little(tube: TubeMaker) -> None:
    case = tube(radius_mm=4.0, angle_deg=240, spacing_mm=(0.8, 0.8, 1.0), axis=(1.0, 0.3, 1.0), seed=5)
    inside = case.vessel.array > 0
    shell = ndimage.binary_dilation(inside) & ~ndimage.binary_erosion(inside)
    rough = inside ^ (shell & (np.random.default_rng(0).random(inside.shape) < 0.1))
    result = measure(case.probability.array, rough, case.vessel.geometry)
    assert result.angle_deg[0] == pytest.approx(240, abs=15)
    assert result.contact_length_mm[0] == pytest.approx(16, abs=2.5)


def test_a_stray_voxel_in_the_tumor_is_no_encased_vessel() -> None:
    vessel = empty()
    vessel[2:38, 5:12, 5:12] = True
    tumor = empty()
    tumor[10:30, 20:36, 20:36] = True
    vessel[20, 28, 28] = True
    result = measure(tumor & ~vessel, vessel)
    assert result.category.value == "none"
    assert any("stray" in note for note in result.notes)


def test_both_pieces_of_an_interrupted_vessel_count() -> None:
    z, y, x = np.indices(GRID.shape) * np.array([1.0, 0.8, 0.8])[:, None, None, None]
    vessel = np.hypot(y - 16, x - 16) < 4
    vessel[17:23] = False
    beside = (y < 16) & (np.hypot(y - 16, x - 16) < 10)
    tumor = beside & (((z > 7) & (z < 13)) | ((z > 27) & (z < 33))) & ~vessel
    result = measure(tumor, vessel)
    assert result.angle_deg[0] == pytest.approx(180, abs=10)
    assert result.contact_length_mm[0] == pytest.approx(10, abs=2)
    assert any("2 pieces" in note for note in result.notes)


def test_the_side_branch_of_a_vessel_is_measured() -> None:
    geometry = Geometry((60, 50, 60), (0.8, 0.8, 1.0))
    z, y, x = np.indices(geometry.shape) * np.array([1.0, 0.8, 0.8])[:, None, None, None]
    trunk = np.hypot(y - 20, x - 12) < 4.5
    branch = (np.hypot(y - 20, z - 30) < 3) & (x > 12) & (x < 42)
    vessel = trunk | branch
    tumor = (np.hypot(y - 20, z - 30) < 9) & (x > 26) & (x < 34) & ~vessel
    result = measure(tumor, vessel, geometry)
    assert result.angle_deg[0] == 360.0
    assert result.contact_length_mm[0] == pytest.approx(8, abs=2)
    assert result.worst_position_lps_mm is not None
    assert result.worst_position_lps_mm[0] == pytest.approx(30, abs=5)


def test_a_vessel_that_ends_in_an_oblique_plane_keeps_its_angle(tube: TubeMaker) -> None:
    case = tube(radius_mm=5.0, angle_deg=120, spacing_mm=(0.8, 0.8, 1.0), axis=(1.0, 0.0, 1.0), seed=4)
    vessel = case.vessel.array > 0
    vessel[30:] = False
    result = measure(case.probability.array, vessel, case.vessel.geometry)
    assert result.angle_deg[0] == pytest.approx(120, abs=10)
    assert result.contact_length_mm[0] == pytest.approx(16, abs=2)


def test_a_vessel_cut_by_the_volume_is_measured_up_to_the_cut_and_says_so(tube: TubeMaker) -> None:
    case = tube(radius_mm=5.0, angle_deg=200, spacing_mm=(0.8, 0.8, 1.0), seed=4)
    cut = case.vessel.array.shape[0] // 2
    geometry = Geometry((*case.vessel.geometry.size[:2], cut), case.vessel.geometry.spacing_mm)
    result = measure(case.probability.array[:cut], case.vessel.array[:cut] > 0, geometry)
    assert result.angle_deg[0] == pytest.approx(200, abs=8)
    assert result.contact_length_mm[0] == pytest.approx(8, abs=1.5)
    assert any("edge cuts the vessel" in note for note in result.notes)


def test_tumor_at_the_blind_end_of_a_vessel_is_not_passed_over_in_silence() -> None:
    z, y, x = np.indices(GRID.shape) * np.array([1.0, 0.8, 0.8])[:, None, None, None]
    vessel = (np.hypot(y - 16, x - 16) < 4) & (z < 20)
    result = measure((np.hypot(y - 16, x - 16) < 3) & (z >= 20) & (z < 30), vessel)
    assert result.category is None
    assert result.angle_deg == (None,)
    assert result.p_contact == 1.0
    assert result.p_encased is None
    assert result.reason is not None
    assert any("vessel's end" in note for note in result.notes)


def test_a_tumor_that_swallows_the_vessel_or_fills_it_encases_it(tube: TubeMaker) -> None:
    case = tube(radius_mm=4.0, angle_deg=0, spacing_mm=(1.0, 1.0, 1.0))
    vessel = case.vessel.array > 0
    # A tumour that ends at the wall passes one half there, as any border does between two voxels.
    for tumor, least in ((np.ones(vessel.shape), 1.0), (vessel, 0.5)):
        result = measure(tumor, vessel, case.vessel.geometry)
        assert result.angle_deg[0] == 360.0
        assert result.p_encased >= least - 1e-5


@pytest.fixture(scope="module")
def aorta_case(test_data: Path) -> tuple[Volume, dict[str, int]]:
    files = {"AORTA": "aorta", "CELIAC": "celiac_trunk", "SMA": "superior_mesenteric_artery"}
    folder = test_data / "data" / "aorta"
    if not folder.is_dir():
        pytest.skip("the CT with an aorta is not among the test data")
    masks = {name: read_volume(folder / f"{file}.nii.gz") for name, file in files.items()}
    names = {name: value for value, name in enumerate(files, start=1)}
    labels = np.zeros(masks["SMA"].array.shape, dtype=np.uint8)
    for name, mask in masks.items():
        labels[mask.array > 0] = names[name]
    return masks["SMA"].with_array(labels), names


def ball_around(vessels: Volume, center_zyx: np.ndarray, radius_mm: float) -> Volume:
    """Return a soft ball outside all vessels."""
    grid = np.indices(vessels.array.shape).transpose(1, 2, 3, 0) - center_zyx
    distance_mm = np.linalg.norm(grid * np.array(vessels.geometry.spacing_mm[::-1]), axis=-1)
    share = np.clip(0.5 + (radius_mm - distance_mm) / 3.0, 0, 1)
    return vessels.with_array(np.where(vessels.array > 0, 0, share).astype(np.float32))


def measure_ball(case: tuple[Volume, dict[str, int]], center_zyx: np.ndarray, radius_mm: float) -> InvasionResult:
    vessels, names = case
    return measure_invasion(ball_around(vessels, center_zyx, radius_mm), vessels, names)


@pytest.mark.slow
def test_a_ball_around_the_real_sma_encases_it_and_leaves_the_far_aorta_free(
    aorta_case: tuple[Volume, dict[str, int]],
) -> None:
    vessels, names = aorta_case
    middle = np.argwhere(vessels.array == names["SMA"]).mean(axis=0)
    result = measure_ball(aorta_case, middle, 11.0)
    sma = result.vessels["SMA"]
    assert sma.category.value == "encasement"
    assert sma.p_encased > 0.8
    assert any("edge cuts the vessel" in note for note in sma.notes)
    assert 4 < sma.contact_length_mm[9] < 25
    assert result.vessels["AORTA"].angle_deg[9] < 120
    assert result.resectability.pattern == "arterial encasement or aortic contact"


@pytest.mark.slow
def test_a_ball_beside_the_real_celiac_trunk_abuts_it(aorta_case: tuple[Volume, dict[str, int]]) -> None:
    vessels, names = aorta_case
    mask = vessels.array == names["CELIAC"]
    # The trunk's front: the ball's centre lies one ball radius and one trunk radius in front of its middle.
    middle = np.argwhere(mask).mean(axis=0)
    surface = np.argwhere(mask)[np.argmin(np.argwhere(mask)[:, 1])]
    result = measure_ball(aorta_case, surface - np.array([0, 9.0 / 1.5, 0]), 9.0)
    celiac = result.vessels["CELIAC"]
    assert celiac.category.value == "abutment"
    assert 0 < celiac.angle_deg[9] <= 180
    assert result.vessels["AORTA"].p_contact < 0.05
    far = measure_ball(aorta_case, middle + np.array([60, 0, 0]), 5.0).vessels
    assert [far[name].p_contact for name in ("CELIAC", "SMA")] == [0.0, 0.0]


def test_many_pieces_without_a_centre_line_are_one_note() -> None:
    vessel, tumor = empty(), empty()
    for place in range(6, 34, 4):
        vessel[20, 20, place : place + 2] = True
    tumor[17:24, 17:24, 4:36] = True
    notes = [note for note in measure(tumor & ~vessel, vessel).notes if NO_LINE.split(maxsplit=1)[1] in note]
    assert notes == ["7 pieces of 2 voxel(s) have no usable centre line; their longest extents were used"]
