"""Write and re-read a DICOM-SEG of 10 overlapping segments on 512 x 512 x 300 voxels, beside dcmqi on the same masks.

Run with ``python Testing/benchmarks/bench_dicom.py``; ``--slices 60`` is a quick look. Both programs start from masks
on disk and a series on disk and end with a file; both objects are read again by highdicom, and must hold every voxel.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from twintrack.dicom import Algorithm, read_series, write_ct_series, write_segmentation
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume

PLANE, SEGMENTS = 512, 10
CODES = {
    "SegmentedPropertyCategoryCodeSequence": {
        "CodeValue": "91723000",
        "CodingSchemeDesignator": "SCT",
        "CodeMeaning": "Anatomical Structure",
    },
    "SegmentedPropertyTypeCodeSequence": {
        "CodeValue": "59820001",
        "CodingSchemeDesignator": "SCT",
        "CodeMeaning": "Blood Vessel",
    },
}


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Return the wall seconds of a call, and the CPU seconds of it and the programs that it starts."""
    start, spent = time.perf_counter(), sum(os.times()[:4])
    what()
    return time.perf_counter() - start, sum(os.times()[:4]) - spent


def make_case(folder: Path, slices: int) -> list[Path]:
    """Write a CT series and the masks: spheres that overlap their neighbours."""
    geometry = Geometry((PLANE, PLANE, slices), (0.8, 0.8, 1.0), (-200.0, -200.0, -500.0))
    noise = np.random.default_rng(0).integers(-1000, 1000, geometry.shape, dtype=np.int16)
    write_ct_series(Volume(noise, geometry), folder / "ct", description="benchmark")
    k, j, i = np.ogrid[:slices, :PLANE, :PLANE]
    masks = []
    for number in range(SEGMENTS):
        radius, center = 20 + 5 * number, slices * (number + 3) / (SEGMENTS + 6)
        mask = (i - 180 - 12 * number) ** 2 + (j - 256) ** 2 + (2 * (k - center)) ** 2 < radius**2
        masks.append(folder / f"mask-{number}.nrrd")
        write_volume(Volume(mask, geometry), masks[-1])
    return masks


def write_ours(folder: Path, masks: list[Path]) -> None:
    series = read_series(folder / "ct")
    segments = {f"vessel {number}": read_volume(path) for number, path in enumerate(masks)}
    write_segmentation(segments, series, folder / "ours.dcm", algorithm=Algorithm("b", "1", "0" * 64), threshold=0.5)


def write_theirs(folder: Path, masks: list[Path], program: str) -> None:
    attributes = [
        [{"labelID": 1, "SegmentAlgorithmType": "AUTOMATIC", "SegmentAlgorithmName": "b", **CODES}] for _ in masks
    ]
    meta = {"SeriesDescription": "b", "SeriesNumber": "1", "InstanceNumber": "1", "segmentAttributes": attributes}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    command = [program, "--inputImageList", ",".join(map(str, masks)), "--inputDICOMDirectory", str(folder / "ct")]
    command += [
        "--inputMetadata",
        str(folder / "meta.json"),
        "--skip",
        "1",
        "--outputDICOM",
        str(folder / "theirs.dcm"),
    ]
    subprocess.run(command, check=True, capture_output=True)


def read_again(path: Path, masks: list[Path]) -> None:
    """Read all segments; each must have the voxels of its mask."""
    import highdicom as hd

    segmentation = hd.seg.segread(str(path))
    for number, mask in enumerate(masks, start=1):
        found = segmentation.get_volume(segment_numbers=[number], combine_segments=True, relabel=True)
        if int(found.array.sum()) != int(read_volume(mask).array.sum()):
            raise SystemExit(f"{path}: segment {number} lost voxels")


def read_by_dcmqi(path: Path, folder: Path, program: str) -> None:
    folder.mkdir(exist_ok=True)
    command = [program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    slices = parser.parse_args().slices
    writer, reader = shutil.which("itkimage2segimage"), shutil.which("segimage2itkimage")
    if writer is None or reader is None:
        sys.exit("dcmqi is not installed; pip install dcmqi")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        masks = make_case(folder, slices)
        rows = {}
        for who, write in (
            ("twintrack", lambda: write_ours(folder, masks)),
            ("dcmqi", lambda: write_theirs(folder, masks, writer)),
        ):
            path = folder / ("ours.dcm" if who == "twintrack" else "theirs.dcm")
            written, read = timed(write), timed(lambda path=path: read_again(path, masks))
            by_dcmqi = timed(lambda path=path: read_by_dcmqi(path, folder / "out", reader))
            rows[who] = (*written, *read, *by_dcmqi, path.stat().st_size / 1e6)
    print(f"{SEGMENTS} segments on {PLANE} x {PLANE} x {slices}")
    columns = ("write s", "(CPU)", "highdicom reads", "(CPU)", "dcmqi reads", "(CPU)", "MB")
    print(" " * 10 + "".join(f"{column:>17}" for column in columns))
    rows["ratio"] = tuple(ours / theirs for ours, theirs in zip(rows["twintrack"], rows["dcmqi"], strict=True))
    for who, row in rows.items():
        print(f"{who:10}" + "".join(f"{value:17.3f}" for value in row))


if __name__ == "__main__":
    main()
