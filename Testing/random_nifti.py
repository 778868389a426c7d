"""Small NIfTI files with any type, scale, byte order and pair of matrices."""

from __future__ import annotations

import numpy as np

from twintrack.io.nifti import _HEADER

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


def random_nifti(rng: np.random.Generator, *, sheared: bool = True) -> bytes:
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
    affine[:, :3] += rng.normal(0, rng.choice([0, 0, 1e-6, 1e-4, 0.1 if sheared else 1e-6]), (3, 3)) * spacing
    affine[:, 0] *= rng.choice([1, 1, -1])
    header["srow"] = affine.ravel()
    header["scl_slope"], header["scl_inter"] = SCALES[rng.integers(len(SCALES))]
    voxels = rng.normal(0, 300, size.prod())
    if dtype.kind != "f":
        voxels = np.clip(voxels, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return header.tobytes() + bytes(max(int(header["vox_offset"]), 348) - 348) + voxels.astype(dtype).tobytes()
