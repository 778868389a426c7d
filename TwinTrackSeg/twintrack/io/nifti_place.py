"""Where a NIfTI file lies: the rule for its two matrices, their codes and its unit of length.

The sform counts where its code is set, else the qform where its code is; without either nothing says which way up the
image is, and it is refused. So read nibabel, nnU-Net's NIfTI reader, FSL and TotalSegmentator; ITK decides otherwise,
which is why it is not asked.

References
----------
https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE"
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.io.file_grid import FileGrid, check_spacing, grid_of
from twintrack.volume import Geometry

__all__ = ["place_of"]

_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Length of the units in mm, by the lower three bits of ``xyzt_units``; 0 is not stated, and taken as mm."""

_UNIT_NAMES = {1: "metres", 3: "micrometres"}

_LEAST_VOLUME = 1e-6
"""Least determinant of axes of unit length: less is no volume."""

_ROUNDED_QUATERNION = 1e-4
"""So much more than 1 may the squares of a quaternion be."""

_SAME_SPACING = 0.01
"""Relative difference of voxel edges that is not told."""

_EXACT = 1e-5
"""Relative difference up to which ``pixdim`` is the edge length that the matrix holds, free of its rounding."""

_FARTHEST_MM = 1e6
"""No image lies farther from the origin."""

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def place_of(header: Any, size: tuple[int, int, int]) -> tuple[Geometry, FileGrid | None, tuple[str, ...]]:
    """Return the grid of a file's voxels in LPS mm, the way to an upright one where they are sheared, and notes.

    Parameters
    ----------
    header : numpy record
        With ``pixdim``, ``xyzt_units``, both codes, ``quatern``, ``qoffset`` and ``srow``.
    size : tuple of int
        Voxels along (i, j, k).

    Raises
    ------
    InputError
        If it does not say where the image lies, or states a grid that no CT has; without naming the file.
    """
    unit = int(header["xyzt_units"]) & 7
    mm = _MM.get(unit, 1.0)
    sform, qform = _sform(header), _qform(header)
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not has_sform and not has_qform:
        raise InputError(
            "does not say how it lies in the patient (sform_code and qform_code are 0), so that left and right are not "
            "known; write its affine with a code, or convert the original series again",
            code="place-unknown",
        )
    affine = sform if has_sform and sform is not None else qform if has_qform else None
    if affine is None:
        raise InputError(
            "states no usable place (its axes have no length, no direction or no number); write its affine again, "
            "or convert the original series again",
            code="place-unknown",
        )
    affine = affine.copy()
    affine[:3] *= mm
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    check_spacing(lengths, _UNIT_NAMES.get(unit, ""))
    stated = np.abs(np.where(np.isfinite(header["pixdim"][1:4]), header["pixdim"][1:4], 0).astype(float)) * mm
    notes = []
    if affine is not qform and has_sform and sform is None:
        notes.append("The file's sform is no affine though its code is set; its qform was taken.")
    elif has_sform and has_qform and qform is not None:
        notes += _disagreement(affine, _scaled(qform, mm), size)
    elif has_sform and stated.min() > 0 and np.any(np.abs(stated / lengths - 1) > _SAME_SPACING):
        edges = [" x ".join(f"{value:.4g}" for value in values) for values in (stated, lengths)]
        notes.append(
            f"The file states voxels of {edges[0]} mm and, in its sform, of {edges[1]} mm; the sform was taken."
        )
    exact = np.where((stated > 0) & (np.abs(stated / lengths - 1) <= _EXACT), stated, lengths)
    affine[:3, :3] *= exact / lengths
    geometry, grid, said = grid_of(size, _RAS_TO_LPS @ affine)
    return geometry, grid, (*said, *_closer(grid), *notes)


def _scaled(affine: NDArray[np.float64], mm: float) -> NDArray[np.float64]:
    return np.vstack([affine[:3] * mm, affine[3:]])


def _sform(header: Any) -> NDArray[np.float64] | None:
    """Return the matrix of ``srow``; None where it places nothing."""
    affine = np.vstack([np.asarray(header["srow"], dtype=float).reshape(3, 4), [0, 0, 0, 1]])
    return affine if _is_place(affine) else None


def _qform(header: Any) -> NDArray[np.float64] | None:
    """Return the matrix of the quaternion, ``pixdim`` and the offset; None where they place nothing."""
    b, c, d = (float(value) for value in header["quatern"])
    lengths = np.abs(np.asarray(header["pixdim"][1:4], dtype=float))
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest >= -_ROUNDED_QUATERNION:
        return None
    norm = np.sqrt(1.0 - min(rest, 0.0))
    a, b, c, d = np.sqrt(max(rest, 0.0)), b / norm, c / norm, d / norm
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * lengths * [1, 1, -1 if header["pixdim"][0] < 0 else 1]
    affine[:3, 3] = header["qoffset"]
    return affine if _is_place(affine) else None


def _closer(grid: FileGrid | None) -> list[str]:
    """Say by how much a sheared file is too short if dcm2niix made it.

    It states the distance of slices across them as the distance along the slanted axis, so that the slices of a series
    tilted by 18.5 degrees, 2.5 mm apart along the table, lie 2.371 mm apart (seen with 1.0.20260724 and the public
    series of neurolabusc/dcm_qa_ct).
    """
    if grid is None or grid.layout is None:
        return []
    cosine = float(grid.read.spacing_mm[grid.axis] / np.linalg.norm(grid.affine[:3, grid.axis]))
    if 1 - cosine <= _SAME_SPACING:
        return []
    return [
        f"If dcm2niix made the file, its slices lie {100 * (1 - cosine):.0f} % closer together than the DICOM series "
        "states, and volumes are too small by as much; give the series where there is one."
    ]


def _is_place(affine: NDArray[np.float64]) -> bool:
    if not np.all(np.abs(affine) <= _FARTHEST_MM):  # False for what is no number
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.min() > 0 and abs(np.linalg.det(affine[:3, :3] / lengths)) > _LEAST_VOLUME)


def _disagreement(taken: NDArray[np.float64], other: NDArray[np.float64], size: tuple[int, int, int]) -> list[str]:
    """Say by how much the two matrices place a corner differently, if that is more than a voxel."""
    corners = np.array(list(itertools.product((0, 1), repeat=3))) * (np.asarray(size) - 1)
    apart = (taken - other)[:3, :3] @ corners.T + (taken - other)[:3, 3:]
    off_mm = float(np.linalg.norm(apart, axis=0).max())
    if off_mm <= float(np.linalg.norm(taken[:3, :3], axis=0).min()):
        return []
    return [
        f"The file places its voxels twice, up to {off_mm:.1f} mm apart (sform and qform); the sform was taken, as "
        "nibabel, nnU-Net and FSL do; other programs may show the image at the other place."
    ]
