"""Read derived objects with software that other people wrote: dcmqi (two versions), highdicom, dcmtk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twintrack.dicom import DicomSeries
from twintrack.io.volumes import read_volume
from twintrack.volume import Geometry, Volume

DCMQI_VERSIONS = ("current", "old")
"""The version of the test environment, and the one that 3D Slicer pins, in the folder TWINTRACK_OLD_DCMQI."""


def dcmqi(name: str, version: str = "current") -> str:
    """Return the path of a program of dcmqi; skips the test where it is not installed."""
    folder = None
    if version == "old":
        folder = os.environ.get("TWINTRACK_OLD_DCMQI")
        if not folder:
            pytest.skip("TWINTRACK_OLD_DCMQI does not name the folder of the programs of dcmqi 0.4.0")
    program = shutil.which(name, path=folder)
    if program is None:
        pytest.skip(f"{name} (dcmqi) is not installed")
    return program


def _run(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr


def segments_by_dcmqi(path: Path, folder: Path, version: str = "current") -> dict[int, Volume]:
    """Return each segment of a DICOM-SEG by its number."""
    program = dcmqi("segimage2itkimage", version)
    folder.mkdir()
    _run([program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd", "-p", "s"])
    found: dict[int, Volume] = {}
    meta = json.loads((folder / "s-meta.json").read_text(encoding="utf-8"))
    groups = meta["segmentAttributes"]
    for group, item in zip(
        groups, sorted(folder.glob("s-*.nrrd"), key=lambda p: int(p.stem.split("-")[1])), strict=True
    ):
        volume = read_volume(item)
        for attributes in group:
            number = int(attributes["labelID"])
            found[number] = volume.with_array(volume.array == number)
    return found


def map_by_dcmqi(path: Path, folder: Path, version: str = "current") -> Volume:
    """Return the values of a parametric map."""
    program = dcmqi("paramap2itkimage", version)
    folder.mkdir()
    _run([program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd"])
    return read_volume(next(folder.glob("*.nrrd")))


def report_by_dcmqi(path: Path, folder: Path, version: str = "current") -> dict[str, Any]:
    """Return the content of a TID 1500 structured report."""
    program = dcmqi("tid1500reader", version)
    folder.mkdir()
    _run([program, "--inputDICOM", str(path), "--outputMetadata", str(folder / "report.json")])
    content: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return content


def segments_by_highdicom(path: Path) -> dict[int, Volume]:
    """Return each segment of a DICOM-SEG by its number."""
    import highdicom as hd

    segmentation = hd.seg.segread(str(path))
    return {
        int(number): from_highdicom(
            segmentation.get_volume(segment_numbers=[number], combine_segments=True, relabel=True)
        )
        for number in segmentation.segment_numbers
    }


def from_highdicom(volume: Any) -> Volume:
    """Return a volume of highdicom, whose arrays run (slice, row, column) and whose affine maps that order."""
    affine = volume.affine[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = tuple((affine[:3, :3] / spacing).ravel())
    size = volume.array.shape[::-1]
    return Volume(volume.array, Geometry(size, tuple(spacing), tuple(affine[:3, 3]), cosines))


def values_on_grid(found: Volume, series: DicomSeries) -> np.ndarray:
    """Place what covers only some slices into the series' grid (z, y, x), by its own geometry alone."""
    grid = series.volume.geometry
    result = np.zeros(series.volume.array.shape, dtype=found.array.dtype)
    k, j, i = np.indices(found.array.shape).reshape(3, -1)
    index = grid.to_index(found.geometry.to_lps_mm(np.stack([i, j, k], axis=-1)))
    assert np.abs(index - np.rint(index)).max() < 1e-3
    x, y, z = np.rint(index).astype(int).T
    result[z, y, x] = found.array[k, j, i]
    return result
