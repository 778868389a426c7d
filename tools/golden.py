"""Run the main jobs on phantoms and compare what they give with what an earlier version gave: ``make golden``.

The first run records, later ones compare: volumes and the numbers of JSON and CSV files within 1e-6, pixels of DICOM
objects exactly, words of JSON and CSV files exactly but for times, identities and paths. The recorded folder belongs to
one machine and is not committed: networks round differently elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk

TOLERANCE = 1e-6
FIRST_SEED = 41000
"""Phantoms that nothing was trained, calibrated or tested on."""

PASSING = (
    "seconds",
    "_s",
    "created",
    "study_date",
    "run",
    "sha256",
    "uid",
    "written_by",
    "host",
    "finished",
    "version",
    "hash",
    "key",
    "made",
    "files",
)
"""Parts of the names of values that differ from run to run."""

SKIPPED = (".dcm", ".png", ".html", ".tex", ".parquet", ".npz", ".twintrack-files.json", ".twintrack-run")
"""Not compared as text; DICOM objects are compared by their pixels."""


def run_jobs(folder: Path) -> None:
    """Run the commands; their results lie in folders below `folder`."""
    study = folder / "study"
    small = ["--device", "cpu", "--backend", "torch"]
    bundle = ["--bundle", str(_demo_bundle())]
    _command("demo", "--out", folder / "demo", "--device", "cpu")
    _command("phantom", "--cases", "3", "--raters", "3", "--seed", FIRST_SEED, "--out", study)
    _command(
        "calibrate", study / "manifest.csv", *bundle, "--device", "cpu", "--bootstrap", "20", "--out", study / "c.json"
    )
    _command("cohort", study / "manifest.csv", *bundle, *small, "--keep-score", "--out", folder / "cohort")
    with (study / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["probability"] = str(folder / "cohort" / "cases" / row["case"] / "probability.nii.gz")
    maps = study / "maps.csv"
    with maps.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _command("evaluate", maps, "--bootstrap", "20", "--out", folder / "evaluation")


def _demo_bundle() -> Path:
    return Path(__file__).resolve().parents[1] / "TwinTrackSeg" / "twintrack" / "data" / "demo_bundle"


def _command(*words: object) -> None:
    print("==", *words)
    subprocess.run([sys.executable, "-m", "twintrack", *map(str, words)], check=True)


def differences(recorded: Path, found: Path) -> Iterator[str]:
    """Yield a line for all that is not as it was recorded."""
    names = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (recorded, found)]
    for name in sorted(names[0] ^ names[1]):
        yield f"{name}: {'is missing' if name in names[0] else 'is new'}"
    for name in sorted(names[0] & names[1]):
        before, now = recorded / name, found / name
        if name.name.endswith((".nii.gz", ".nii")):
            yield from _volume_differs(name, before, now)
        elif name.suffix == ".dcm":
            yield from _pixels_differ(name, before, now)
        elif name.name.endswith(SKIPPED):
            continue
        elif name.suffix == ".json":
            values = [json.loads(path.read_text(encoding="utf-8")) for path in (before, now)]
            yield from (f"{name}: {line}" for line in _values_differ("", *values))
        elif name.suffix == ".csv":
            tables = [list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in (before, now)]
            yield from (f"{name}: {line}" for line in _values_differ("", *tables))


def _volume_differs(name: Path, before: Path, now: Path) -> Iterator[str]:
    images = [sitk.ReadImage(str(path)) for path in (before, now)]
    arrays = [sitk.GetArrayFromImage(image).astype(np.float64) for image in images]
    if arrays[0].shape != arrays[1].shape or images[0].GetOrigin() != images[1].GetOrigin():
        yield f"{name}: lies on another grid"
    elif (largest := float(np.abs(arrays[0] - arrays[1]).max())) > TOLERANCE:
        yield f"{name}: differs by up to {largest:g}"


def _pixels_differ(name: Path, before: Path, now: Path) -> Iterator[str]:
    sets = [pydicom.dcmread(path) for path in (before, now)]
    for keyword in ("PixelData", "FloatPixelData"):
        if sets[0].get(keyword) != sets[1].get(keyword):
            yield f"{name}: {keyword} differs"


def _values_differ(place: str, before: Any, now: Any) -> Iterator[str]:
    """Yield a line for each value that differs and is not of the kind that differs from run to run."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if not any(part in key.lower() for part in PASSING):
                yield from _values_differ(f"{place}/{key}", before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, pair in enumerate(zip(before, now, strict=True)):
            yield from _values_differ(f"{place}/{number}", *pair)
    elif not _same(before, now):
        yield f"{place} is {str(now)[:80]}, was {str(before)[:80]}"


def _same(before: Any, now: Any) -> bool:
    try:
        return math.isclose(float(before), float(now), rel_tol=TOLERANCE, abs_tol=TOLERANCE) or before == now
    except (TypeError, ValueError):
        texts = [re.sub(r"/\S*|\\S*", "PATH", str(value)) for value in (before, now)]
        return texts[0] == texts[1]


def main() -> int:
    """Record, or compare with what was recorded; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the recorded results are, or are to be")
    folder = parser.parse_args().folder
    # One place for all runs, because results name their inputs.
    with tempfile.TemporaryDirectory(prefix="golden-") as place:
        run_jobs(Path(place))
        if not folder.exists():
            shutil.copytree(place, folder)
            print(f"{folder}: recorded")
            return 0
        found = list(differences(folder, Path(place)))
    for line in found:
        print(line)
    print(f"{len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
