"""An example result whose vessels have their names by anatomy: four tubes, one without a name, one that is not sure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.invasion import measure_invasion
from twintrack.invasion.naming import NAMED, NamedVessels, VesselName, naming_sentence, with_names
from twintrack.io.volumes import read_volume, write_volume
from TwinTrackSegLib.mrml.SelfTest import writeExampleResult
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

__all__ = ["TUBES", "writeNamedResult"]

TUBES = {"AORTA": (-14.0, 0.0), "SMA": (9.0, 0.0), "CELIAC": (0.0, 9.0), "SMV": (0.0, -16.0)}
"""Middle of each vessel beside the tumour's, in mm along the first two axes."""

RADIUS_MM = 3.0
LOW = "CELIAC"


def writeNamedResult(folder: Path, volumeNode: Any) -> Path:
    """Write the example result with arteries and veins as the model's classes, and their names by anatomy."""
    writeExampleResult(folder, volumeNode)
    ct, mhr = volumeFromNode(volumeNode), read_volume(folder / "probability.nii.gz")
    named, classes = (np.zeros(ct.array.shape, np.uint8) for _ in range(2))
    place = np.stack(np.indices(ct.array.shape)[::-1], axis=-1) * ct.geometry.spacing_mm
    middle = (np.array(ct.geometry.size) - 1) / 2 * ct.geometry.spacing_mm
    for name, (x, y) in TUBES.items():
        tube = np.hypot(place[..., 0] - middle[0] - x, place[..., 1] - middle[1] - y) <= RADIUS_MM
        named[tube], classes[tube] = NAMED[name], 2 if name == "SMV" else 3
    classes[:, 0, :] = 3  # an artery without a name
    found = _naming(ct.with_array(named))
    write_volume(ct.with_array(classes), folder / "vessels.nii.gz")
    write_volume(found.labels, folder / "named_vessels.nii.gz", names=found.values)
    (folder / "naming.json").write_text(json.dumps(found.to_json()), encoding="utf-8")
    measured = with_names(measure_invasion(mhr, found.labels, found.values), found)
    (folder / "invasion.json").write_text(json.dumps(measured.to_json()), encoding="utf-8")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result |= {"vessel_values": {"VEINS": 2, "ARTERIES": 3}, "named_vessel_values": found.values}
    result |= {"labels": {"tumor": 1, "VEINS": 2, "ARTERIES": 3}, "warnings": [naming_sentence(found)]}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


def _naming(labels: Any) -> NamedVessels:
    vessels = {}
    for name in NAMED:
        if name in TUBES:
            confidence = "low" if name == LOW else "high"
            vessels[name] = VesselName(True, confidence, "where it lies and how it runs", {"radius_mm": RADIUS_MM}, 1.0)
        else:
            vessels[name] = VesselName(False, None, "no place where three veins meet", {}, 0.0)
    return NamedVessels(labels, vessels, 1.0, ())
