"""The example result with the maps of two readers: each half of a reader's probability is a sphere of known radius."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from twintrack.io.volumes import write_volume
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.SelfTest import exampleCenterMm, writeExampleResult
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

__all__ = ["CAREFUL", "GENEROUS", "RADII_MM", "RAMP_MM", "distanceMm", "writeRaterResult"]

CAREFUL, GENEROUS = "heron", "osprey"
"""Ids that are found nowhere else by chance."""

RADII_MM = {CAREFUL: 4.0, GENEROUS: 10.0}
"""The vessel's wall is 8 mm from the tumour's middle: the careful reader stays away from it."""

RAMP_MM = 4.0
"""Over it a reader's probability falls from 1 to 0."""


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
