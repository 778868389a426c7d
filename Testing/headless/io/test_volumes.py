"""Volumes go through files as they are, and bad files are refused by name."""

from __future__ import annotations

import gzip
import re

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from expected_errors import raises_error
from twintrack.errors import InputError, OutputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume


def oblique() -> Geometry:
    """A grid whose axes are permuted, flipped and then turned about a slanted axis."""
    from scipy.spatial.transform import Rotation

    axes = np.eye(3)[:, (1, 0, 2)] * (1, -1, 1)
    turned = Rotation.from_rotvec(np.deg2rad(12.0) * np.array([0.6, 0.0, 0.8])).as_matrix() @ axes
    return Geometry((5, 7, 4), (0.7, 0.9, 2.5), (-31.5, 12.25, 80.0), tuple(turned.ravel()))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_volume_survives_each_file_format(tmp_path, ending):
    geometry = oblique()
    volume = Volume(np.random.default_rng(1).normal(size=geometry.shape).astype(np.float32), geometry)
    path = tmp_path / f"a volume{ending}"
    write_volume(volume, path)
    back = read_volume(path)
    assert np.array_equal(back.array, volume.array)
    assert back.geometry.same_grid(geometry)


@pytest.mark.parametrize(("ending", "kind"), [(".nii.gz", "f4"), (".nii", "f4"), (".nrrd", "i2"), (".mha", "u1")])
def test_voxels_are_read_into_the_memory_that_is_given_for_them(tmp_path, ending, kind):
    geometry, path, given = oblique(), tmp_path / f"a{ending}", []
    array = np.random.default_rng(2).integers(0, 90, geometry.shape).astype(kind)
    write_volume(Volume(array, geometry), path)

    def room(found: Geometry, type_) -> np.ndarray:
        assert found.same_grid(geometry)
        given.append(np.empty(found.shape, type_))
        return given[0]

    read = read_volume(path, room=room)
    assert read.array is given[0]
    assert np.array_equal(read.array, array)
    assert read.array.dtype == array.dtype


@pytest.mark.parametrize(("stored", "scale"), [(">f4", 1.0), ("<f4", 2.0), ("<i2", 0.5), (">i4", 0.25)])
def test_what_is_turned_or_scaled_comes_into_the_memory_that_is_given_too(tmp_path, stored, scale):
    header = nib.Nifti1Header(endianness=stored[0])
    header.set_data_dtype(stored)
    image = nib.Nifti1Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4), header)
    image.header.set_slope_inter(scale, 0)
    nib.save(image, tmp_path / "a.nii")
    room = np.empty((4, 3, 2), np.float32)
    assert read_volume(tmp_path / "a.nii", room=lambda _found, _type: room).array is room
    assert np.array_equal(np.sort(room, axis=None), scale * np.arange(24))
    assert np.array_equal(room, read_volume(tmp_path / "a.nii").array)


def test_what_the_room_refuses_is_not_read(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(Volume(np.zeros(oblique().shape, np.int16), oblique()), path)
    path.write_bytes(path.read_bytes()[:-9])

    def refuse(_found: Geometry, type_) -> np.ndarray:
        raise InputError(f"holds {type_}", code="result-malformed")

    with raises_error(InputError, "result-malformed", "int16"):
        read_volume(path, room=refuse)
    with raises_error(InputError, "voxels-cut-off"):
        read_volume(path)


def write_sitk(path, image) -> None:
    sitk.WriteImage(image, str(path))


def test_bad_files_are_refused_with_their_name(tmp_path):
    with raises_error(InputError, "file-missing", "nothing.nii.gz"):
        read_volume(tmp_path / "nothing.nii.gz")
    text = tmp_path / "notes.nii.gz"
    text.write_text("not an image")
    with raises_error(InputError, "not-an-image", "notes.nii.gz"):
        read_volume(text)
    picture = tmp_path / "picture.png"
    write_sitk(picture, sitk.Image(8, 8, sitk.sitkUInt8))
    with raises_error(InputError, "volume-ending", "picture.png"):
        read_volume(picture)


def test_flat_and_color_images_are_refused(tmp_path):
    flat, color = tmp_path / "flat.nrrd", tmp_path / "colour.nrrd"
    write_sitk(flat, sitk.Image(8, 8, sitk.sitkInt16))
    write_sitk(color, sitk.Image([8, 8, 8], sitk.sitkVectorUInt8, 3))
    with raises_error(InputError, "volume-dimensions", "flat.nrrd"):
        read_volume(flat)
    with raises_error(InputError, "volume-dimensions", "colour.nrrd"):
        read_volume(color)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, ending, bad):
    array = np.zeros((4, 4, 4), dtype=np.float32)
    array[1, 2, 3] = bad
    path = tmp_path / f"broken{ending}"
    write_sitk(path, sitk.GetImageFromArray(array))
    with raises_error(InputError, "values-not-finite"):
        read_volume(path)


def test_an_unwritable_place_is_an_output_error(tmp_path):
    volume = Volume(np.zeros((2, 2, 2)), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    with raises_error(OutputError, "not-writable"):
        write_volume(volume, tmp_path / "missing folder" / "x.nii.gz")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_a_nifti_file_that_is_cut_off_is_refused_and_not_filled_up(tmp_path, name, dtype):
    array = np.random.default_rng(0).integers(1, 200, (20, 30, 40)).astype(dtype)
    path = tmp_path / name
    write_volume(Volume(array, Geometry((40, 30, 20), (1.0, 1.0, 2.0))), path)
    np.testing.assert_array_equal(read_volume(path).array, array)
    whole = path.read_bytes()
    for kept in (0.4, 0.999):
        path.write_bytes(whole[: int(kept * len(whole))])
        with raises_error(InputError, "voxels-cut-off") as said:
            read_volume(path)
        there, needed = (int(number.replace(",", "")) for number in re.findall(r"(?<= )\d[\d,]*(?= )", str(said.value)))
        assert needed == 352 + array.nbytes
        assert there / needed == pytest.approx(kept, abs=0.05)


def test_a_compressed_file_with_a_wrong_checksum_is_refused(tmp_path):
    array = np.random.default_rng(0).integers(1, 200, (80, 90, 100)).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    write_volume(Volume(array, Geometry((100, 90, 80), (1.0, 1.0, 2.0))), path)
    whole = bytearray(path.read_bytes())
    whole[-8] ^= 1  # of the checksum
    path.write_bytes(whole)
    with raises_error(InputError, "voxels-damaged"):
        read_volume(path)


def test_a_file_compressed_in_several_parts_is_whole(tmp_path):
    array = np.random.default_rng(0).integers(1, 200, (20, 30, 40)).astype(np.int16)
    path = tmp_path / "ct.nii.gz"
    write_volume(Volume(array, Geometry((40, 30, 20), (1.0, 1.0, 2.0))), path)
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain[:10_000]) + gzip.compress(plain[10_000:]) + gzip.compress(b""))
    np.testing.assert_array_equal(read_volume(path).array, array)


def test_a_name_that_cannot_be_written_is_one_sentence_and_nothing_else(tmp_path, capfd):
    with raises_error(OutputError, "not-writable"):
        write_volume(
            Volume(np.zeros((2, 2, 2), np.uint8), Geometry((2, 2, 2), (1.0, 1.0, 1.0))),
            tmp_path / ("x" * 250 + ".nii.gz"),
        )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "fields", "spacing"),
    [
        ("a.nrrd", 'space: LPS|space directions: (700,0,0) (0,800,0) (0,0,2500)|space units: "um" "um" "um"', True),
        ("a.nrrd", 'space: LPS|space directions: (0.07,0,0) (0,0.08,0) (0,0,0.25)|space units: "cm" "cm" "cm"', True),
        ("a.nrrd", 'spacings: 0.0007 0.0008 0.0025|units: "m" "m" "m"', True),
        ("a.nrrd", 'spacings: 0.7 0.8 2.5|units: "mm" "mm" "mm"', True),
        ("a.nrrd", "spacings: 0.7 0.8 2.5", True),
        ("a.nrrd", 'spacings: 0.7 0.8 2.5|units: "inch" "inch" "inch"', ("unit-unknown", "'inch'")),
        ("a.nrrd", "space: LPS|space directions: (700,0,0) (0,800,0) (0,0,2500)", ("spacing-range", "CT")),
        ("a.nrrd", "space: LPS|space origin: (1,2,3)", ("spacing-missing",)),
        ("a.nrrd", "thicknesses: 1 1 5", ("spacing-missing",)),
        ("a.nrrd", "spacings: 0.7 nan 2.5", ("spacing-missing",)),
        ("a.mha", "ElementSpacing = 700 800 2500|DistanceUnits = um", True),
        ("a.mha", "ElementSpacing = 0.07 0.08 0.25|DistanceUnits = cm", True),
        ("a.mha", "ElementSize = 0.7 0.8 2.5", True),
        ("a.mha", "ElementSpacing = 0.7 0.8 2.5|DistanceUnits = parsec", ("unit-unknown", "'parsec'")),
        ("a.mha", "ElementSpacing = 700 800 2500", ("spacing-range", "CT")),
        ("a.mha", "Offset = 1 2 3", ("spacing-missing",)),
    ],
)
def test_units_are_honoured_and_a_missing_spacing_is_refused(tmp_path, name, fields, spacing):
    if name.endswith("nrrd"):
        lines = ["NRRD0005", "type: short", "dimension: 3", "sizes: 2 3 4", "endian: little", "encoding: raw"]
        text = "\n".join([*lines, *fields.split("|"), "", ""])
    else:
        lines = ["ObjectType = Image", "NDims = 3", "DimSize = 2 3 4", "ElementType = MET_SHORT"]
        text = "\n".join([*lines, *fields.split("|"), "ElementDataFile = LOCAL", ""])
    path = tmp_path / name
    path.write_bytes(text.encode() + bytes(48))
    if spacing is True:
        assert read_volume(path).geometry.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    else:
        with raises_error(InputError, *spacing):
            read_volume(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_sheared_axes_of_other_formats_are_put_upright_too(tmp_path, name):
    step_mm = 2.5 * np.tan(np.deg2rad(15.0))
    if name == "a.nrrd":
        head = (
            "NRRD0005\ntype: float\ndimension: 3\nsizes: 12 14 10\nendian: little\nencoding: raw\nspace: LPS\n"
            f"space directions: (0.8,0,0) (0,0.9,0) (0,{step_mm},2.5)\nspace origin: (5,6,7)\n\n"
        )
    else:
        length = np.hypot(step_mm, 2.5)
        head = (
            "ObjectType = Image\nNDims = 3\nDimSize = 12 14 10\nElementType = MET_FLOAT\n"
            f"ElementSpacing = 0.8 0.9 {length}\nOffset = 5 6 7\n"
            f"TransformMatrix = 1 0 0 0 1 0 0 {step_mm / length} {2.5 / length}\nElementDataFile = LOCAL\n"
        )
    k, j, i = np.indices((10, 14, 12)).astype(float)
    lps = np.stack([5 + 0.8 * i, 6 + 0.9 * j + step_mm * k, 7 + 2.5 * k], -1)
    values = (lps @ [3.0, 5.0, 7.0]).astype("<f4")
    (tmp_path / name).write_bytes(head.encode() + values.tobytes())
    found = read_volume(tmp_path / name)
    places = found.geometry.to_lps_mm(np.argwhere(np.ones(found.array.shape))[:, ::-1])
    up = (places[:, 2] - 7) / 2.5
    across = (places[:, 1] - 6 - step_mm * up) / 0.9
    inside = (across > -1e-3) & (across < 13.001)
    assert inside.sum() > 1500
    np.testing.assert_allclose(found.array.ravel()[inside], places[inside] @ [3.0, 5.0, 7.0], atol=0.02)
    assert found.geometry.spacing_mm == pytest.approx((0.8, 0.9, 2.5))
