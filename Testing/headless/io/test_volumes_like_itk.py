"""Voxels are read as ITK reads them, and grids of NRRD and MetaImage to the last bit; NIfTI: test_nifti_place.py."""

from __future__ import annotations

import gzip
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from random_nifti import TYPES, random_nifti
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume


def like_itk(path) -> None:
    """Compare with ITK."""
    expected = Volume.from_sitk(sitk.ReadImage(str(path)))
    found = read_volume(path)
    assert found.geometry == expected.geometry
    assert found.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(found.array, expected.array)


@pytest.mark.slow
def test_voxels_of_nifti_files_with_any_types_scales_and_orders_are_read_as_by_itk(tmp_path):
    rng = np.random.default_rng(20)
    compared = 0
    for number in range(150):
        path = tmp_path / f"{number}.nii{'.gz' if number % 3 else ''}"
        data = random_nifti(rng, sheared=False)
        path.write_bytes(gzip.compress(data, 1) if number % 3 else data)
        try:
            found = read_volume(path)
            expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except (RuntimeError, InputError):  # no place, or one that ITK cannot hold
            continue
        assert found.array.dtype == expected.dtype
        np.testing.assert_array_equal(found.array, expected)
        compared += 1
    assert compared > 50


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_itk_writes_is_read_as_by_itk(tmp_path, ending, compressed):
    rng = np.random.default_rng(3)
    for number, dtype in enumerate(TYPES.values()):
        image = sitk.GetImageFromArray((rng.random((2, 3, 4)) * 99).astype(dtype))
        image.SetSpacing(np.exp(rng.normal(size=3)).tolist())
        image.SetOrigin(rng.normal(0, 100, 3).tolist())
        image.SetDirection(np.linalg.qr(rng.normal(size=(3, 3)))[0].ravel().tolist())
        path = tmp_path / f"{number}{ending}"
        sitk.WriteImage(image, str(path), useCompression=compressed)
        like_itk(path)


@pytest.mark.parametrize(
    "fields",
    [
        "space: right-anterior-superior|space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)|space origin: (1.1,2.2,3.3)",
        "space: RAS|space directions: (0,0.7,0) (0.8,0,0) (0,0,-2.5)|space origin: (1.1,2.2,3.3)",
        "space: LAS|space directions: (0.42,0.56,0) (-0.64,0.48,0) (0,0,2.5)|space origin: (-1.1,2.2,3.3)",
        "space: scanner-xyz|space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)",
        "space dimension: 3|space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)|space origin: (1,2,3)",
        "spacings: 0.7 0.8 2.5",
        "spacings: -0.7 0.8 3",
        "spacings: 0.7 0.8 2.5|axis mins: 1 2 3",
        "spacings: 0.7 0.8 2.5|axis mins: 1 2 3|centers: node cell node",
        "spacings: 1 1 5|thicknesses: 1 1 5|kinds: space domain time",
        'spacings: 1 1 5|kinds: ??? none domain|labels: "x" "y" "z"',
        "spacings: 1 1 1|a key:=a value|# a remark|content: x: y",
    ],
)
def test_the_ways_of_a_nrrd_to_place_its_grid_are_itks(tmp_path, fields):
    lines = ["NRRD0005", "type: short", "dimension: 3", "sizes: 2 3 4", "endian: little", "encoding: raw"]
    path = tmp_path / "a.nrrd"
    for newline in ("\n", "\r\n"):
        path.write_bytes((newline.join(lines + fields.split("|")) + 2 * newline).encode() + bytes(range(48)))
        like_itk(path)


@pytest.mark.parametrize(
    "fields",
    [
        "TransformMatrix = 0.8 0.6 0 -0.6 0.8 0 0 0 1|Offset = 1.5 2.5 3.5|ElementSpacing = 0.7 0.8 2.5",
        "ElementSpacing = 1 2 3|Rotation = 0 1 0 -1 0 0 0 0 1|Position = 4 5 6",
        "ElementSpacing = 1 2 3|Orientation = 0 1 0 -1 0 0 0 0 1|Origin = 4 5 6|CenterOfRotation = 9 9 9",
        "ElementSize = 3 4 5|AnatomicalOrientation = LPS|DistanceUnits = mm",
        "ElementSize = 3 4 5|ElementSpacing = 1 -2 3",
        "ElementSpacing = 1 2 3|ElementNumberOfChannels = 1|BinaryData = T|Own = field|Comment = a = b: c",
        "ElementSpacing = 1 2 3|ElementByteOrderMSB = True",
    ],
)
def test_the_ways_of_a_metaimage_to_place_its_grid_are_itks(tmp_path, fields):
    lines = ["ObjectType = Image", "NDims = 3", *fields.split("|"), "DimSize = 2 3 4", "ElementType = MET_SHORT"]
    path = tmp_path / "a.mha"
    for sign in (" = ", "=", ": "):
        text = "\n".join([line.replace(" = ", sign, 1) for line in [*lines, "ElementDataFile = LOCAL"]]) + "\n"
        path.write_bytes(text.encode() + bytes(range(48)))
        like_itk(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("packer", ["isal", "zlib"])
def test_nifti_files_are_written_byte_for_byte_as_by_itk(tmp_path, monkeypatch, ending, packer):
    if packer == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)  # as if it were not installed
    else:
        pytest.importorskip("isal")
    rng = np.random.default_rng(8)
    ours, theirs = tmp_path / f"ours{ending}", tmp_path / f"theirs{ending}"
    for dtype in (*TYPES.values(), np.bool_):
        for _ in range(4):
            axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] if rng.random() < 0.5 else np.eye(3)[rng.permutation(3)]
            spacing, origin = np.exp(rng.normal(size=3)), rng.normal(0, 100, 3)
            grid = Geometry((4, 3, 2), tuple(spacing.tolist()), tuple(origin.tolist()), tuple(axes.ravel().tolist()))
            volume = Volume((rng.random(grid.shape) * 99).astype(dtype), grid)
            write_volume(volume, ours)
            sitk.WriteImage(volume.to_sitk(), str(theirs), useCompression=True)
            assert unpacked(ours) == unpacked(theirs)


def test_a_packed_file_is_the_same_each_time(tmp_path):
    volume = Volume(np.random.default_rng(1).random((5, 6, 7)), Geometry((7, 6, 5), (1.0, 1.0, 1.0)))
    paths = [tmp_path / "one.nii.gz", tmp_path / "other name.nii.gz"]
    for path in paths:
        write_volume(volume, path, names={"SMA": 5})
    assert paths[0].read_bytes() == paths[1].read_bytes()


def unpacked(path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
