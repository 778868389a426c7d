"""Maps of arteries and veins are told by names, and maps of named vessels are left to those who measure them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.vessel_classes import read_vessel_classes
from twintrack.io.volumes import write_volume
from twintrack.labels import STRUCTURES
from twintrack.volume import Geometry, Volume


def volume_of(*values: int) -> Volume:
    array = np.zeros((4, 4, 4), np.uint8)
    for number, value in enumerate(values):
        array[number] = value
    return Volume(array, Geometry((4, 4, 4), (1.0, 1.0, 1.0)))


def written(folder: Path, values: tuple[int, ...], names: dict[str, int] | None = None) -> Path:
    path = folder / "map.nii.gz"
    write_volume(volume_of(*values), path, names=names)
    return path


def test_names_in_the_file_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path, (2, 3, 4), {"veins": 2, "arteries": 3, "pancreas parenchyma": 4})
    found = read_vessel_classes(path)
    assert found is not None
    assert set(found.names) == {"VEINS", "ARTERIES", "pancreas"}
    assert (found.labels.array[1] == STRUCTURES["ARTERIES"]).all()


def test_names_are_given(tmp_path: Path) -> None:
    found = read_vessel_classes(written(tmp_path, (2, 3)), {"Veins": 2, "ARTERIES": 3})
    assert found is not None
    assert set(found.names) == {"VEINS", "ARTERIES"}


@pytest.mark.parametrize("names", [{"SMA": 2, "veins": 3}, {"PORTA": 2}, {"aorta": 2}, {"kidney_left": 2}])
def test_a_map_of_named_vessels_is_none(tmp_path: Path, names: dict[str, int]) -> None:
    assert read_vessel_classes(written(tmp_path, (2, 3), names)) is None


def test_numbers_alone_are_no_names(tmp_path: Path) -> None:
    assert read_vessel_classes(written(tmp_path, (2, 3))) is None


def test_a_folder_of_masks(tmp_path: Path) -> None:
    for name in ("aorta", "arteries", "inferior_vena_cava", "portal_vein_and_splenic_vein", "kidney_left"):
        write_volume(volume_of(1), tmp_path / f"{name}.nii.gz")
    found = read_vessel_classes(tmp_path)
    assert found is not None
    assert set(found.names) == {"AORTA", "ARTERIES", "IVC", "PORTAL_SPLENIC"}


def test_a_map_without_a_voxel_of_a_vessel_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, (7,), {"veins": 2, "arteries": 3, "liver": 7})
    with raises_error(InputError, "vessels-not-found", path):
        read_vessel_classes(path)


def test_a_name_that_the_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, (2,), {"veins": 2})
    with raises_error(InputError, "vessel-names-ambiguous", "ARTERIES"):
        read_vessel_classes(path, {"VEINS": "veins", "ARTERIES": "arts"})
