"""Moving the threshold through MRML: this module's look-ups against rebuilding segment, surface and vessel readouts.

The usual way, with Slicer's own functions and the engine's fastest measurement of one outline, runs on the same scene
in the same process: ``updateSegmentBinaryLabelmapFromArray``, a new closed surface, and every vessel measured again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import types
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "mrml"), str(HERE.parent.parent / "TwinTrackSeg")]

SHAPE = (120, 200, 200)
"""(z, y, x) voxels of the region."""

RADIUS_MM = 60.0
"""Where the map reaches 0: its levels fill the region as a large tumour does."""

VESSELS = {
    "PORTA": (20.0, 0.0),
    "SMV": (-20.0, 5.0),
    "AORTA": (0.0, 38.0),
    "CELIAC": (12.0, -22.0),
    "SMA": (-8.0, 25.0),
}
"""Middle of each vessel beside the tumour's, (x, y) in mm; all run along z."""

TARGET = 30.0


def main() -> int:
    """Print the table; return 1 where the ratio misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=10)
    moves = parser.parse_args().moves
    result = _scene()
    levels = np.linspace(0.25, 0.75, moves)
    drag = [_timed(lambda t=t: result.outline.setThreshold(float(t), settled=False)) for t in levels]
    settle = [_timed(lambda t=t: result.outline.setThreshold(float(t), settled=True)) for t in levels[:3]]
    usual = [_timed(lambda t=t: _usual(result, float(t))) for t in levels[:3]]
    fast, slow = statistics.median(drag), statistics.median(usual)
    print(f"region {' x '.join(str(n) for n in reversed(SHAPE))} voxels, {len(VESSELS)} vessels, median of moves")
    print(f"{'overlay, contour, volume, readouts':40s} {1000 * fast:9.1f} ms")
    print(f"{'the same and voxels, lesions (drag ended)':40s} {1000 * statistics.median(settle):9.1f} ms")
    print(f"{'usual way':40s} {1000 * slow:9.1f} ms")
    print(f"ratio {slow / fast:.1f} (target {TARGET:g})")
    return 0 if slow / fast >= TARGET else 1


def _timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _scene():
    """Return a result in a scene, with five vessels and the record of a real measurement."""
    import json
    import tempfile

    from mrml_environment import preparedScene

    import slicer
    from twintrack.invasion import measure_invasion
    from twintrack.io.volumes import write_volume
    from twintrack.volume import Geometry, Volume
    from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume

    preparedScene()
    geometry = Geometry((SHAPE[2], SHAPE[1], SHAPE[0]), (0.8, 0.8, 1.0))
    z, y, x = (axis * step for axis, step in zip(np.indices(SHAPE), (1.0, 0.8, 0.8), strict=True))
    z, y, x = (axis - axis.max() / 2 for axis in (z, y, x))
    noise = 0.02 * np.sin(x / 3) * np.sin(y / 4) * np.sin(z / 5)
    mhr = np.clip(1 - np.sqrt(x**2 + y**2 + z**2) / RADIUS_MM + noise, 0, 1).astype(np.float32)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for value, (middle_x, middle_y) in enumerate(VESSELS.values(), start=2):
        labels[np.hypot(x - middle_x, y - middle_y) < 5] = value
    names = {name: value for value, name in enumerate(VESSELS, start=2)}
    ct = nodeFromVolume(Volume(np.zeros(SHAPE, np.int16), geometry), "CT")
    probability, vessels = Volume(mhr, geometry), Volume(labels, geometry)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_volume(probability, folder / "probability.nii.gz")
        write_volume(vessels, folder / "segmentation.nii.gz")
        record = {"schema": 1, "threshold": 0.5, "labels": {"tumor": 1, **names}, "bundle": {"raters": 5}}
        (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
        measured = measure_invasion(probability, vessels, names).to_json()
        (folder / "invasion.json").write_text(json.dumps(measured), encoding="utf-8")
        result = TwinTrackSegLogic(["unused"]).loadResult(folder, ct)
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLScene(slicer.mrmlScene)
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
    slicer.modules = types.SimpleNamespace(  # what slicer.util asks for
        volumes=types.SimpleNamespace(logic=lambda: volumes),
        segmentations=types.SimpleNamespace(logic=lambda: segmentations),
    )
    result.usual = (vessels, names)
    return result


def _usual(result, threshold: float) -> None:
    import slicer.util

    from twintrack.invasion import measure_invasion
    from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, volumeFromNode

    vessels, names = result.usual
    mask = volumeFromNode(result.nodes.mhr).array >= threshold
    node = result.nodes.segmentation
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, "tumor", result.nodes.ct)
    node.RemoveClosedSurfaceRepresentation()
    node.CreateClosedSurfaceRepresentation()
    outline = vessels.with_array(mask.astype(np.float32))
    assert outline.geometry == geometryFromNode(result.nodes.ct)
    measure_invasion(outline, vessels, names, thresholds=(0.5,))


if __name__ == "__main__":
    sys.exit(main())
