"""Result folders whose JSON says other things than a run wrote there."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzzing import shapes
from fuzzing.harness import Kind

RESULT: dict[str, Any] = {
    **{"schema": 1, "version": "1", "device": "cpu", "threshold": 0.5, "warnings": ["w"], "calibrator": None},
    "bundle": {"name": "b", "version": "1", "sha256": "0" * 64, "license": "L", "demo": True, "raters": 5},
    **{"input": {"size": [24, 24, 6], "spacing_mm": [1.5, 1.6, 3.0], "source": "dicom"}, "labels": {"tumor": 1}},
    "vessel_values": {"SMA": 5},
    **{"roi": {"start": [0, 0, 0], "stop": [1, 2, 3]}, "seconds": {"read": 1.0}, "suitability": {"outside": []}},
    **{"volume_ml": {"expected": 1.0, "at_threshold": 1.0, "p10": 0.5, "p90": 2.0}},
    "lesions": [{"volume_ml": 1.0, "longest_diameter_mm": 10.0, "max_probability": 0.7, "centroid_mm": [1, 2, 3]}],
}
INVASION: dict[str, Any] = {
    **{"schema": 1, "thresholds": [0.2, 0.5], "resectability": None},
    "vessels": {
        "SMA": {
            **{"present": True, "angle_deg": [90.0, None], "contact_length_mm": [5.0, 0.0], "category": "abutment"},
            **{"expected_angle_deg": 40.0, "p_contact": 0.7, "p_encased": None},
        },
        "AORTA": {"present": False},
    },
}


def prepare(folder: Path) -> None:
    """Write a series, and the volumes of its result."""
    from fuzzing.volumes import array
    from twintrack.dicom import write_ct_series
    from twintrack.io.volumes import write_volume
    from twintrack.volume import Geometry, Volume

    geometry = Geometry((24, 24, 6), (1.5, 1.6, 3.0), (-10.0, 5.0, 7.0))
    write_ct_series(Volume(array()[:6], geometry), folder / "ct", description="seed")
    probability = np.zeros(geometry.shape, np.float32)
    probability[2:4, 8:14, 8:14] = 0.7
    (folder / "volumes").mkdir()
    write_volume(Volume(probability, geometry), folder / "volumes" / "probability.nii.gz")
    write_volume(Volume((probability > 0.5).astype(np.uint8), geometry), folder / "volumes" / "segmentation.nii.gz")
    vessels = np.zeros(geometry.shape, np.uint8)
    vessels[1:5, 12:16, 9:12] = 5
    write_volume(Volume(vessels, geometry), folder / "volumes" / "vessels.nii.gz", names={"SMA": 5})


def make(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a result folder."""
    result = shutil.copytree(seeds / "volumes", folder / "result")
    sound = rng.random() < 0.2
    content = RESULT if sound else shapes.bent(rng, RESULT)
    (result / "result.json").write_bytes(shapes.as_bytes(rng, content))
    if rng.random() < 0.7:
        content = shapes.bent(rng, INVASION) if sound or rng.random() < 0.5 else INVASION
        (result / "invasion.json").write_bytes(shapes.as_bytes(rng, content))
    if rng.random() < 0.1:
        name = rng.choice(("probability.nii.gz", "segmentation.nii.gz", "vessels.nii.gz", "result.json"))
        whole = (result / name).read_bytes()
        (result / name).write_bytes(rng.choice((b"", whole[: len(whole) // 2])))
    return result


def read(made: object, folder: Path) -> None:
    """Export the result: its map, segmentation and report."""
    from twintrack.results.dicom_objects import export_result

    export_result(Path(str(made)), folder.parents[1] / "seeds" / "ct", folder / "out")


def command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Export the result."""
    return ["export", str(made), "--series", str(folder.parents[1] / "seeds" / "ct"), "--out", str(folder / "out")], b""


def load() -> None:
    """Import what reads results and writes objects."""
    import highdicom.sr  # noqa: F401
    import SimpleITK  # noqa: F401

    import twintrack.dicom.read.series
    import twintrack.results.dicom_objects  # noqa: F401


RESULT_KIND = Kind("result", prepare, make, read, command, load)
