"""Masks and vessel maps as other programs write them: what the command makes of each, beside an independent reader.

Each mask is one rater's of the same phantom, written in another way; the Dice of the map above 0.5 (`dsc`) is computed
from the file by SimpleITK and numpy too. Each vessel map is the phantom's; the largest contact angle must be that of
the map as the phantom writes it, or the file must be refused (exit code 2).
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from twintrack.labels import VESSEL_VALUES
from twintrack.phantom import make_phantom, write_case

SEED = 41007
"""A phantom whose tumour touches vessels, and that nothing was trained or tuned on."""


def variants(mask: sitk.Image, folder: Path) -> dict[str, Path]:
    """Write the mask in the ways of other programs."""
    found = np.argwhere(sitk.GetArrayViewFromImage(mask))
    low, high = (found.min(axis=0) - 1).tolist(), (found.max(axis=0) + 2).tolist()
    moved = sitk.Image(mask)
    moved.SetOrigin([value + 0.005 for value in mask.GetOrigin()])
    images = {
        "as it is.nii.gz": mask,
        "cropped.seg.nrrd": mask[low[2] : high[2], low[1] : high[1], low[0] : high[0]],
        "flipped.nii.gz": sitk.DICOMOrient(mask, "RAS"),
        "origin off.mha": moved,
        "value 255.nrrd": mask * 255,
        "float64.nii.gz": sitk.Cast(mask, sitk.sitkFloat64),
    }
    for name, image in images.items():
        sitk.WriteImage(image, str(folder / name), True)
    return {name: folder / name for name in images}


def run(*words: object) -> tuple[int, str]:
    """Run the command; return its exit code and the end of what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "twintrack", *map(str, words)], capture_output=True, text=True, check=False
    )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def independent_dsc(probability: sitk.Image, path: Path) -> float:
    """Dice of the map above 0.5 and a mask that ITK brings onto its grid."""
    mask = sitk.Resample(sitk.ReadImage(str(path)), probability, sitk.Transform(), sitk.sitkNearestNeighbor)
    one, other = sitk.GetArrayViewFromImage(probability) > 0.5, sitk.GetArrayViewFromImage(mask) != 0
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


def main() -> int:
    """Print both tables; 1 if a number differs from the independent one."""
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = write_case(make_phantom(SEED), folder / "case")
        probability = sitk.ReadImage(str(paths["true_mhr"]))
        print(f"{'mask':24} {'exit':>4} {'dsc':>10} {'SimpleITK':>10}")
        for name, path in variants(sitk.ReadImage(str(paths["annotation_1"])), folder).items():
            manifest = folder / "m.csv"
            manifest.write_text(f"case,probability,annotation_A\nc,{paths['true_mhr']},{path}\n")
            code, said = run("evaluate", manifest, "--bootstrap", 1, "--out", folder / "out", "--overwrite")
            with (folder / "out" / "metrics.csv").open(encoding="utf-8") as stream:
                dsc = float(next(csv.DictReader(stream))["dsc"]) if code == 0 else float("nan")
            expected = independent_dsc(probability, path)
            wrong += not abs(dsc - expected) < 1e-9
            print(f"{name:24} {code:4} {dsc:10.6f} {expected:10.6f}  {'' if code == 0 else said}")
        vessels = sitk.ReadImage(str(paths["vessels"]))
        bare = folder / "bare numbers.nii.gz"
        sitk.WriteImage(vessels, str(bare), True)
        organs = folder / "organs 1 to 5.nii.gz"
        sitk.WriteImage(sitk.BinaryDilate(vessels != 0, (9, 9, 4)) * 1 + (vessels == 3) * 2, str(organs), True)
        numbers = ",".join(f"{name}={value}" for name, value in VESSEL_VALUES.items())
        print(f"\n{'vessel map':44} {'exit':>4} largest contact angle, degrees")
        for name, words in {
            "the phantom's own, names inside": [paths["vessels"]],
            "bare numbers": [bare],
            "bare numbers, named by --vessel-names": [bare, "--vessel-names", numbers],
            "other structures with the same numbers": [organs, "--vessel-names", numbers],
            "the CT": [paths["image"], "--vessel-names", numbers],
            "a rater's mask": [paths["annotation_1"], "--vessel-names", "PORTA=1"],
        }.items():
            out = folder / "v.json"
            code, said = run("invasion", paths["true_mhr"], "--vessels", *words, "--out", out, "--overwrite")
            angles = ""
            if code == 0:
                read = json.loads(out.read_text(encoding="utf-8"))["vessels"]
                angles = ", ".join(f"{key} {value['angle_deg'][0]:.0f}" for key, value in read.items())
            print(f"{name:44} {code:4} {angles or said}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
