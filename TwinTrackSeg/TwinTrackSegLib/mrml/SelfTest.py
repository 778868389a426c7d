"""A small made-up CT and a result for it, to try the scene side without the model (in Slicer's self test and in ours).

The CT is water in air with a bright vessel; the MHR falls off linearly with the distance from the tumour's centre, so
every level is a sphere of known radius.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer
from twintrack.io.ct import ct_sha256
from twintrack.io.volumes import write_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS, segmentMask, volumeFromNode

__all__ = [
    "ANGLE_AT_LEVELS",
    "LEVELS",
    "RADIUS_MM",
    "checkExampleResult",
    "exampleCenterMm",
    "makeExampleCt",
    "writeExampleResult",
]

SHAPE = (24, 48, 56)
"""(z, y, x) voxels."""

RADIUS_MM = 15.0
"""Where the MHR reaches 0; the level p is a sphere of radius ``RADIUS_MM * (1 - p)``."""

VESSEL_RADIUS_MM = 4.0
VESSEL_OFFSET_MM = np.array([12.0, 0.0, 0.0])
LABELS = {"tumor": 1, "SMA": 6}
VESSEL_LABELS = {"SMA": VESSEL_VALUES["SMA"]}
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
ANGLE_AT_LEVELS = (240.0, 200.0, 120.0, 40.0, 0.0)


def makeExampleCt(ijkToRas: NDArray[np.float64] | None = None, name: str = "Example CT") -> Any:
    """Add a CT volume node (int16 HU) to the scene, by default on 1 x 1 x 2 mm axial voxels."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    matrix = np.diag([-1.0, -1.0, 2.0, 1.0]) if ijkToRas is None else ijkToRas
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    slicer.util.updateVolumeFromArray(node, np.full(SHAPE, -1000, dtype=np.int16))
    ct = volumeFromNode(node)
    _z, y, x = np.indices(SHAPE)
    body = ((x - SHAPE[2] / 2) / 26) ** 2 + ((y - SHAPE[1] / 2) / 22) ** 2 < 1
    ct.array[body] = 40
    ct.array[_vessel(ct) & body] = 180
    slicer.util.arrayFromVolumeModified(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    return node


def exampleCenterMm(volume: Volume) -> NDArray[np.float64]:
    """Return the tumour's centre in LPS mm: the middle of the grid."""
    return volume.geometry.to_lps_mm((np.array(volume.geometry.size) - 1) / 2)


def writeExampleResult(folder: Path, volumeNode: Any, threshold: float = 0.5) -> Path:
    """Write a result folder for `volumeNode`, with the files and fields of ``twintrack segment``."""
    ct = volumeFromNode(volumeNode)
    folder.mkdir(parents=True, exist_ok=True)
    mhr = np.clip(1 - _distanceMm(ct, exampleCenterMm(ct)) / RADIUS_MM, 0, 1).astype(np.float32)
    vessel = _vessel(ct)
    labels = np.where(vessel, np.uint8(6), np.uint8(0))
    labels[mhr >= threshold] = 1
    write_volume(ct.with_array(mhr), folder / "probability.nii.gz")
    write_volume(ct.with_array(labels), folder / "segmentation.nii.gz", names=LABELS)
    whole = np.where(vessel, np.uint8(VESSEL_VALUES["SMA"]), np.uint8(0))
    write_volume(ct.with_array(whole), folder / "vessels.nii.gz", names=VESSEL_LABELS)
    (folder / "result.json").write_text(
        json.dumps(_resultJson(mhr, ct, threshold, volumeNode.GetName())), encoding="utf-8"
    )
    (folder / "invasion.json").write_text(json.dumps(_invasionJson(ct)), encoding="utf-8")
    return folder


def _points(volume: Volume) -> NDArray[np.float64]:
    z, y, x = np.indices(volume.array.shape)
    return volume.geometry.to_lps_mm(np.stack([x, y, z], axis=-1))


def _distanceMm(volume: Volume, center: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(_points(volume) - center, axis=-1))


def _vessel(volume: Volume) -> NDArray[np.bool_]:
    """Return a straight tube along the slice normal, beside the tumour."""
    along = volume.geometry.direction_matrix[:, 2]
    offset = _points(volume) - (exampleCenterMm(volume) + volume.geometry.direction_matrix @ VESSEL_OFFSET_MM)
    across = offset - (offset @ along)[..., None] * along
    return np.asarray(np.linalg.norm(across, axis=-1) <= VESSEL_RADIUS_MM)


def _resultJson(mhr: NDArray[np.float32], ct: Volume, threshold: float, case: str) -> dict[str, Any]:
    ml = ct.geometry.voxel_ml
    return {
        "schema": 1,
        "version": "0",
        "bundle": {"name": "example", "version": "0", "sha256": "0" * 64, "demo": True, "raters": 5},
        "calibrator": {"target": "mhr", "bins": 250},
        "device": "none",
        "input": {
            "spacing_mm": list(ct.geometry.spacing_mm),
            "size": list(ct.geometry.size),
            "source": "file",
            "case": case,
            "sha256": ct_sha256(ct),
            "created": "2026-01-01T00:00:00Z",
        },
        "roi": {"start": [0, 0, 0], "stop": list(ct.geometry.size)},
        "threshold": threshold,
        "volume_ml": {"expected": float(mhr.sum()) * ml, "at_threshold": float((mhr >= threshold).sum()) * ml},
        "lesions": [],
        "seconds": {},
        "labels": LABELS,
        "vessel_values": VESSEL_LABELS,
    }


def _invasionJson(ct: Volume) -> dict[str, Any]:
    sma = {
        "present": True,
        "angle_deg": list(ANGLE_AT_LEVELS),
        "contact_length_mm": [20.0, 16.0, 10.0, 4.0, 0.0],
        "expected_angle_deg": 120.0,
        "p_contact": 0.8,
        "p_encased": 0.35,
        "angle_p10_deg": 0.0,
        "angle_p90_deg": 240.0,
        "category": "abutment",
        "worst_section": _section(ct),
        "protocol_deg": {"axial": [0.0] * 5, "coronal": [0.0] * 5, "sagittal": [0.0] * 5},
    }
    return {"schema": 1, "thresholds": list(LEVELS), "vessels": {"SMA": sma, "CELIAC": {"present": False}}}


def _section(ct: Volume) -> dict[str, Any]:
    """Return the section through the middle of the vessel."""
    axes = ct.geometry.direction_matrix
    middle = exampleCenterMm(ct) + axes @ VESSEL_OFFSET_MM
    return {
        "level": 0.5,
        "angle_deg": 120.0,
        "position_lps_mm": middle.tolist(),
        "position_ras_mm": (middle * LPS_SIGNS).tolist(),
        "direction_ras": (axes[:, 2] * LPS_SIGNS).tolist(),
    }


def checkExampleResult(logic: Any) -> None:
    """Load the example result with `logic` and check what must hold in any scene.

    Raises
    ------
    RuntimeError
        If something does not hold; the message says what.
    """
    node = makeExampleCt()
    with tempfile.TemporaryDirectory() as folder:
        result = logic.loadResult(writeExampleResult(Path(folder) / "result", node), node)
    for threshold in (0.2, 0.5):
        result.outline.setThreshold(threshold)
        expectedMl = 4 / 3 * np.pi * (RADIUS_MM * (1 - threshold)) ** 3 / 1000
        if abs(result.outline.volumeMl - expectedMl) > 0.05 * expectedMl:
            raise RuntimeError(f"tumour at {threshold} has {result.outline.volumeMl:.2f} mL, expected {expectedMl:.2f}")
        if not np.array_equal(segmentMask(result.nodes.segmentation, "SMA", node), _vessel(volumeFromNode(node))):
            raise RuntimeError(f"the tumour at {threshold} changes the vessel that it overlaps")
    if len(result.nodes.contours) != 4:
        raise RuntimeError(f"expected 4 iso-contours, found {len(result.nodes.contours)}")
    if result.outline.readouts[0].category != "abutment":
        raise RuntimeError(f"the vessel's category is {result.outline.readouts[0].category!r}, expected 'abutment'")
