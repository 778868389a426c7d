"""Synthetic tumours of known extent around the vessels of a real CT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from twintrack.invasion import InvasionResult, measure_invasion
from twintrack.io.volumes import read_volume
from twintrack.results.report.vessel_pictures import vessel_pictures
from twintrack.volume import Volume

FILES = {"AORTA": "aorta", "CELIAC": "celiac_trunk", "SMA": "superior_mesenteric_artery"}
STRAIGHT = slice(16, 33)
"""Slices in which the aorta runs straight; above, it bends towards the arch."""

NAMES = {name: value for value, name in enumerate(FILES, start=1)}


@dataclass(frozen=True)
class Patient:
    """CT and vessel map, and the axis of each straight stretch of vessel that tumours are put around."""

    ct: Volume
    vessels: Volume

    def stretch(self, name: str, slices: slice) -> tuple[np.ndarray, np.ndarray]:
        """Middle and direction of a vessel between slices, fitted to its voxels: not by the measure's own line."""
        part = np.zeros(self.vessels.array.shape, dtype=bool)
        part[slices] = self.vessels.array[slices] == NAMES[name]
        points = self.vessels.geometry.to_lps_mm(np.argwhere(part)[:, ::-1])
        if name == "CELIAC":
            axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
        else:
            # Long enough in z for a line through the middles of the slices.
            layers = np.unique(points[:, 2])
            middles = np.array([points[points[:, 2] == z].mean(axis=0) for z in layers])
            axis = np.array([np.polyfit(layers, middles[:, k], 1)[0] for k in range(3)])
        return points.mean(axis=0), axis / np.linalg.norm(axis)

    def tumor(self, name: str, slices: slice, angle_deg: float, length_mm: float) -> Volume:
        """Draw a sector of `angle_deg` about the vessel's front, 9 mm thick, over `length_mm` of the vessel."""
        middle, axis = self.stretch(name, slices)
        grid = np.indices(self.vessels.array.shape)[::-1].reshape(3, -1).T
        offset = self.vessels.geometry.to_lps_mm(grid) - middle
        front = np.array([0.0, -1.0, 0.0]) if abs(axis[1]) < 0.7 else np.array([0.0, 0.0, 1.0])
        front = front - (front @ axis) * axis
        front /= np.linalg.norm(front)
        turn = np.degrees(np.abs(np.arctan2(offset @ np.cross(axis, front), offset @ front)))
        inside = (turn <= angle_deg / 2) & (np.abs(offset @ axis) <= length_mm / 2)
        mask = self.vessels.array == NAMES[name]
        far_mm = ndimage.distance_transform_edt(~mask, sampling=self.vessels.geometry.spacing_mm[::-1])
        near = (far_mm <= 9.0) & (self.vessels.array == 0)
        return self.vessels.with_array((inside.reshape(mask.shape) & near).astype(np.float32))

    def measure(self, tumor: Volume) -> InvasionResult:
        return measure_invasion(tumor, self.vessels, NAMES)


@pytest.fixture(scope="module")
def patient(test_data: Path) -> Patient:
    folder = test_data / "data" / "aorta"
    if not folder.is_dir():
        pytest.skip("the CT with an aorta is not among the test data")
    ct = read_volume(folder / "ct.nii.gz")
    labels = np.zeros(ct.array.shape, dtype=np.uint8)
    for name, file in FILES.items():
        labels[read_volume(folder / f"{file}.nii.gz").array > 0] = NAMES[name]
    return Patient(ct.to_lps(), ct.with_array(labels).to_lps())


@pytest.mark.slow
@pytest.mark.parametrize("angle_deg", [60, 150, 240])
def test_a_sector_around_the_real_aorta_is_measured_as_drawn(patient: Patient, angle_deg: int) -> None:
    aorta = patient.measure(patient.tumor("AORTA", STRAIGHT, angle_deg, 12.0)).vessels["AORTA"]
    assert aorta.angle_deg[9] == pytest.approx(angle_deg, abs=12)
    # The slab is flat and the aorta, 28 mm wide, turns by some degrees in it: its two sides are not equally long.
    assert aorta.contact_length_mm[9] == pytest.approx(12.0, abs=4.0)
    assert aorta.category is not None
    assert aorta.category.value == ("encasement" if angle_deg > 180 else "abutment")


@pytest.mark.slow
@pytest.mark.parametrize("angle_deg", [120, 360])
def test_a_sector_around_the_real_celiac_trunk_is_measured_as_drawn(patient: Patient, angle_deg: int) -> None:
    celiac = patient.measure(patient.tumor("CELIAC", slice(0, None), angle_deg, 9.0)).vessels["CELIAC"]
    # Four voxels across: a voxel's step of the wall is about 30 degrees.
    assert celiac.angle_deg[9] == pytest.approx(angle_deg, abs=35)


@pytest.mark.render
def test_each_touched_vessel_of_the_real_ct_gets_a_picture(patient: Patient, pictures: Path) -> None:
    tumor = patient.tumor("AORTA", STRAIGHT, 150, 12.0)
    drawn = vessel_pictures(patient.ct, tumor, patient.measure(tumor))
    assert "AORTA" in drawn
    for name, png in drawn.items():
        assert png.startswith(b"\x89PNG")
        (pictures / f"contact_{name.lower()}.png").write_bytes(png)
