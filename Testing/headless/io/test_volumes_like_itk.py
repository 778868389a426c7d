"""Volumes are read as ITK reads them: the same voxels, and the same grid to the last bit."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from twintrack.errors import InputError
from twintrack.io.nifti import _HEADER
from twintrack.io.volumes import read_volume
from twintrack.volume import Volume

TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
SCALES = [(1, 0), (0, 0), (2, 0), (1, -1024), (0.5, 3.25), (0, 7), (np.nan, 3), (1e-20, 0), (-1.5, 2), (10 / 3, 1 / 3)]


def rotation(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix and its quaternion (b, c, d)."""
    a, *bcd = turned = rng.normal(size=4) * rng.choice([1, 1e-3, 0], size=4) + [1e-9, 0, 0, 0]
    a, *bcd = turned / np.linalg.norm(turned) * (1 if a >= 0 else -1)
    b, c, d = bcd
    matrix = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ]
    return np.array(matrix), np.array(bcd)


def random_nifti(rng: np.random.Generator) -> bytes:
    """Return a small file with any pair of codes, and forms that agree, nearly agree, or do not."""
    order = rng.choice(["<", ">"])
    header = np.zeros((), _HEADER.newbyteorder(order))
    code = int(rng.choice(list(TYPES)))
    dtype = np.dtype(order + TYPES[code])
    size = rng.integers(1, 5, 3)
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", rng.choice([0, 348, 352, 400])
    header["datatype"], header["bitpix"] = code, 8 * dtype.itemsize
    header["dim"] = (rng.choice([3, 3, 4, 7]), *size, 1, 1, 1, 1)
    spacing = np.exp(rng.normal(0, 0.5, 3)) * rng.choice([1, 1, 0.001]) if rng.random() < 0.7 else np.ones(3)
    header["pixdim"] = (rng.choice([1, -1, 0]), *spacing, 0, 0, 0, 0)
    header["xyzt_units"] = rng.choice([0, 1, 2, 3, 10])
    header["qform_code"], header["sform_code"] = rng.choice([0, 1, 2, 4], 2)
    matrix, header["quatern"] = rotation(rng)
    header["qoffset"] = rng.normal(0, 100, 3)
    affine = np.c_[matrix * spacing * [1, 1, -1 if header["pixdim"][0] < 0 else 1], header["qoffset"]]
    affine[:, 3] += rng.choice([0, 0, 1e-5, 5])
    affine[:, :3] += rng.normal(0, rng.choice([0, 0, 1e-6, 1e-4, 0.1]), (3, 3))
    affine[:, 0] *= rng.choice([1, 1, -1])
    header["srow"] = affine.ravel()
    header["scl_slope"], header["scl_inter"] = SCALES[rng.integers(len(SCALES))]
    voxels = rng.normal(0, 300, size.prod())
    if dtype.kind != "f":
        voxels = np.clip(voxels, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return header.tobytes() + bytes(max(int(header["vox_offset"]), 348) - 348) + voxels.astype(dtype).tobytes()


def like_itk(path) -> bool | None:
    """Compare with ITK; None where ITK finds no grid."""
    try:
        expected = Volume.from_sitk(sitk.ReadImage(str(path)))
    except (RuntimeError, InputError):
        with pytest.raises(InputError):
            read_volume(path)
        return None
    found = read_volume(path)
    assert found.geometry == expected.geometry
    assert found.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(found.array, expected.array)
    return True


def test_nifti_files_with_any_forms_types_scales_and_orders_are_read_as_by_itk(tmp_path):
    rng = np.random.default_rng(20)
    outcomes = []
    for number in range(120):
        path = tmp_path / f"{number}.nii{'.gz' if number % 3 else ''}"
        data = random_nifti(rng)
        path.write_bytes(gzip.compress(data, 1) if number % 3 else data)
        outcomes.append(like_itk(path))
    assert outcomes.count(True) > 80
    assert outcomes.count(None) > 4


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
        assert like_itk(path)


@pytest.mark.parametrize(
    "fields",
    [
        "space: right-anterior-superior|space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)|space origin: (1.1,2.2,3.3)",
        "space: RAS|space directions: (0,0.7,0) (0.8,0,0) (0,0,-2.5)|space origin: (1.1,2.2,3.3)",
        "space: LAS|space directions: (0.42,0.56,0) (-0.64,0.48,0) (0,0,2.5)|space origin: (-1.1,2.2,3.3)",
        "space: scanner-xyz|space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)",
        "space dimension: 3|space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)|space origin: (1,2,3)",
        "space: LPS|space origin: (1,2,3)",
        "spacings: 0.7 0.8 2.5",
        "spacings: -0.7 0.8 nan",
        "spacings: 0.7 0.8 2.5|axis mins: 1 2 3",
        "spacings: 0.7 0.8 2.5|axis mins: 1 2 3|centers: node cell node",
        "thicknesses: 1 1 5|kinds: space domain time",
        'kinds: ??? none domain|labels: "x" "y" "z"',
        "a key:=a value|# a remark|content: x: y",
    ],
)
def test_the_ways_of_a_nrrd_to_place_its_grid_are_itks(tmp_path, fields):
    lines = ["NRRD0005", "type: short", "dimension: 3", "sizes: 2 3 4", "endian: little", "encoding: raw"]
    path = tmp_path / "a.nrrd"
    for newline in ("\n", "\r\n"):
        path.write_bytes((newline.join(lines + fields.split("|")) + 2 * newline).encode() + bytes(range(48)))
        assert like_itk(path)


@pytest.mark.parametrize(
    "fields",
    [
        "TransformMatrix = 0.8 0.6 0 -0.6 0.8 0 0 0 1|Offset = 1.5 2.5 3.5|ElementSpacing = 0.7 0.8 2.5",
        "Rotation = 0 1 0 -1 0 0 0 0 1|Position = 4 5 6",
        "Orientation = 0 1 0 -1 0 0 0 0 1|Origin = 4 5 6|CenterOfRotation = 9 9 9",
        "ElementSize = 3 4 5|AnatomicalOrientation = LPS|DistanceUnits = m",
        "ElementSize = 3 4 5|ElementSpacing = 1 -2 3",
        "ElementNumberOfChannels = 1|BinaryData = T|Own = field|Comment = a = b: c",
        "ElementByteOrderMSB = True",
    ],
)
def test_the_ways_of_a_metaimage_to_place_its_grid_are_itks(tmp_path, fields):
    lines = ["ObjectType = Image", "NDims = 3", *fields.split("|"), "DimSize = 2 3 4", "ElementType = MET_SHORT"]
    path = tmp_path / "a.mha"
    for sign in (" = ", "=", ": "):
        text = "\n".join([line.replace(" = ", sign, 1) for line in [*lines, "ElementDataFile = LOCAL"]]) + "\n"
        path.write_bytes(text.encode() + bytes(range(48)))
        assert like_itk(path)
