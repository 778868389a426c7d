"""The hash of a CT says which CT it is, whatever file it came in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from twintrack.dicom import write_ct_series
from twintrack.io.ct import ct_sha256, load_ct
from twintrack.io.volumes import write_volume
from twintrack.volume import Geometry, Volume

GEOMETRY = Geometry((20, 18, 12), (0.7031, 0.7031, 2.5), (-187.3, 12.45, -1034.125))


@pytest.fixture(scope="module")
def ct() -> Volume:
    array = np.random.default_rng(5).integers(-1000, 1200, GEOMETRY.shape).astype(np.int16)
    return Volume(array, GEOMETRY)


def by_hand(path: Path) -> str:
    """What the documentation says, in other words and with another reader."""
    image = sitk.ReadImage(str(path))
    parts = [image.GetSpacing(), image.GetOrigin(), image.GetDirection()]
    line = json.dumps([list(image.GetSize()), *([round(x, 3) + 0.0 for x in part] for part in parts)]) + "\n"
    return hashlib.sha256(line.encode() + sitk.GetArrayFromImage(image).astype("<i2").tobytes()).hexdigest()


def test_it_is_what_the_documentation_says(ct, tmp_path):
    write_volume(ct, tmp_path / "ct.nrrd")
    assert ct_sha256(ct) == by_hand(tmp_path / "ct.nrrd")


@pytest.mark.process
def test_the_kind_of_file_and_the_type_in_it_make_no_difference(ct, tmp_path):
    write_ct_series(ct, tmp_path / "series", description="x")
    for kind in (np.int16, np.int32, np.float32, np.float64):
        for ending in (".nii.gz", ".nrrd", ".mha"):
            write_volume(ct.with_array(ct.array.astype(kind)), tmp_path / f"{np.dtype(kind).name}{ending}")
    hashes = {path.name: ct_sha256(load_ct(path).volume) for path in tmp_path.iterdir()}
    assert len(hashes) == 13
    assert set(hashes.values()) == {ct_sha256(ct)}


def test_a_voxel_a_shift_another_spacing_or_another_order_make_one(ct):
    other = ct.array.copy()
    other[3, 4, 5] += 1
    moved = [
        Geometry(GEOMETRY.size, GEOMETRY.spacing_mm, (-187.3, 12.45, -1034.12)),
        Geometry(GEOMETRY.size, (0.7031, 0.7031, 2.51), GEOMETRY.origin_mm),
        Geometry(GEOMETRY.size, GEOMETRY.spacing_mm, GEOMETRY.origin_mm, (-1, 0, 0, 0, -1, 0, 0, 0, 1)),
    ]
    others = [ct.with_array(other), ct.with_array(ct.array + np.float32(0.5)), ct.with_array(ct.array[::-1])]
    hashes = {ct_sha256(volume) for volume in [ct, *others, *(Volume(ct.array, grid) for grid in moved)]}
    assert len(hashes) == 7


def test_values_that_do_not_fit_are_hashed_as_they_are(ct):
    large = ct.array.astype(np.float32)
    large[0, 0, 0] = 40000
    assert ct_sha256(ct.with_array(large)) == ct_sha256(ct.with_array(large.astype(np.int32)))
    assert ct_sha256(ct.with_array(large)) != ct_sha256(ct.with_array(large.astype(np.uint16).astype(np.int16)))
