"""Memory of loading a result of a 512 x 512 x 300 CT into the scene, and the time the module takes to import."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "mrml"), str(HERE.parent.parent / "TwinTrackSeg")]

SHAPE = (300, 512, 512)
"""(z, y, x) voxels."""

MEBI = 2.0**20


def main() -> int:
    """Print the table; return 1 if a second full-size float volume was allocated, be it for a moment."""
    from mrml_environment import preparedScene

    scene = preparedScene()
    start = time.perf_counter()
    from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

    imported = time.perf_counter() - start
    from twintrack.io.volumes import write_volume
    from twintrack.volume import Geometry, Volume
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume

    # As Slicer loads a CT from DICOM: i to the left, j to the back, k upwards.
    geometry = Geometry((SHAPE[2], SHAPE[1], SHAPE[0]), (0.7, 0.7, 1.0))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        _write(folder, geometry, Volume, write_volume)
        ct = nodeFromVolume(Volume(np.zeros(SHAPE, np.int16), geometry), "CT")
        before = _resident()
        with _Peak() as peak:
            TwinTrackSegLogic(["unused"]).loadResult(folder, ct)
        after = _resident()
    scene.Clear(False)
    full = np.prod(SHAPE) * 4 / MEBI
    print(f"import of the logic                  {imported:6.2f} s")
    print(f"one full-size float volume           {full:6.0f} MiB")
    print(f"kept after loading                   {after - before:6.0f} MiB ({(after - before) / full:.2f} volumes)")
    print(f"highest while loading                {peak.highest - before:6.0f} MiB")
    return 0 if after - before < 1.3 * full and peak.highest - before < 1.6 * full else 1


def _write(folder: Path, geometry, volume, write) -> None:
    mhr = np.zeros(SHAPE, dtype=np.float32)
    z, y, x = np.indices((100, 120, 120))
    distance = np.sqrt((z - 50.0) ** 2 + (0.7 * (y - 60.0)) ** 2 + (0.7 * (x - 60.0)) ** 2)
    mhr[100:200, 200:320, 200:320] = np.clip(1 - distance / 40, 0, 1)
    write(volume(mhr, geometry), folder / "probability.nii.gz")
    write(volume((mhr >= 0.5).astype(np.uint8), geometry), folder / "segmentation.nii.gz")
    (folder / "result.json").write_text(json.dumps({"schema": 1, "threshold": 0.5, "labels": {"tumor": 1}}))


def _resident() -> float:
    """Return the process's resident memory in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MEBI


class _Peak:
    """Highest resident memory, looked at every few milliseconds by a thread."""

    def __enter__(self):
        self.highest, self._on = _resident(), True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._on:
            self.highest = max(self.highest, _resident())
            time.sleep(0.005)

    def __exit__(self, *_error) -> None:
        self._on = False
        self._thread.join()


if __name__ == "__main__":
    sys.exit(main())
