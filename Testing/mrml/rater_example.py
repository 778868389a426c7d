"""The example result with the maps of two readers, and with samples: each outline is a sphere of known radius."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from twintrack.io.volumes import write_volume
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.SelfTest import exampleCenterMm, writeExampleResult
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

__all__ = [
    "CAREFUL",
    "GENEROUS",
    "RADII_MM",
    "RAMP_MM",
    "SAMPLE_RADII_MM",
    "distanceMm",
    "writeRaterResult",
    "writeSampleResult",
]

CAREFUL, GENEROUS = "heron", "osprey"
"""Ids that are found nowhere else by chance."""

RADII_MM = {CAREFUL: 4.0, GENEROUS: 10.0}
"""The vessel's wall is 8 mm from the tumour's middle: the careful reader stays away from it."""

RAMP_MM = 4.0
"""Over it a reader's probability falls from 1 to 0."""


SAMPLE_RADII_MM = (7.0, 4.0, 9.5)
"""Of the first sample and those after it, in no order of size."""


def distanceMm(volume: Volume) -> np.ndarray:
    """Return how far each voxel (z, y, x) is from the tumour's middle."""
    z, y, x = np.indices(volume.array.shape)
    points = volume.geometry.to_lps_mm(np.stack([x, y, z], axis=-1))
    return np.linalg.norm(points - exampleCenterMm(volume), axis=-1)


def writeRaterResult(folder: Path, volumeNode) -> Path:
    """Write the example result of a CT with what ``twintrack segment --raters`` adds to it."""
    writeExampleResult(folder, volumeNode)
    (folder / "raters").mkdir()
    ct, entries, maps = volumeFromNode(volumeNode), [], []
    for rater, radius in RADII_MM.items():
        maps.append(np.clip(0.5 + (radius - distanceMm(ct)) / RAMP_MM, 0, 1).astype(np.float32))
        file = f"raters/{rater}.nii.gz"
        write_volume(ct.with_array(maps[-1]), folder / file)
        volume_ml = float(np.count_nonzero(maps[-1] >= 0.5)) * ct.geometry.voxel_ml
        entries.append({"id": rater, "file": file, "volume_ml": volume_ml})
    write_volume(ct.with_array(np.std(maps, axis=0)), folder / "disagreement.nii.gz")
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    (folder / "result.json").write_text(json.dumps(record | {"rater_maps": entries}), encoding="utf-8")
    return folder


def writeSampleResult(folder: Path, volumeNode, write=writeRaterResult) -> Path:
    """Write the example result with what ``twintrack segment --samples 3`` adds to what `write` writes."""
    write(folder, volumeNode)
    ct, bits, volumes_ml = volumeFromNode(volumeNode), 0, []
    for bit, radius in enumerate(SAMPLE_RADII_MM):
        inside = distanceMm(ct) <= radius
        bits = bits + inside.astype(np.uint16) * np.uint16(2**bit)
        volumes_ml.append(float(np.count_nonzero(inside)) * ct.geometry.voxel_ml)
    write_volume(ct.with_array(bits), folder / "samples.nii.gz")
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    record["samples"] = {"file": "samples.nii.gz", "count": len(SAMPLE_RADII_MM), "volumes_ml": volumes_ml}
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
