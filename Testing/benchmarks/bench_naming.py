"""How right names by anatomy are: drawn patients of three templates, in every condition, beside a naive way.

    python Testing/benchmarks/bench_naming.py --first-seed 1000 --seeds 4
    python Testing/benchmarks/bench_naming.py --size

A name is wrong where less than half of its voxels belong to the vessel. The upper limit is that of the one-sided 95 %
interval (Clopper and Pearson) of the share of wrong names among those given. The naive way takes the two uppermost
pieces in front of the same aorta for celiac trunk and SMA, and cuts the largest piece of vein at its middle height.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from twintrack.invasion.naming import NAMED, name_vessels
from twintrack.invasion.naming.great_vessels import find_aorta
from twintrack.invasion.naming.grid import Grid
from twintrack.volume import Geometry, Volume
from vessel_anatomy.conditions import CLEAN, CONDITIONS, LabelledCase, make_case
from vessel_anatomy.drawing import CODES, draw
from vessel_anatomy.templates import TEMPLATES

SHOWN = ("AORTA", "CELIAC", "SMA", "PORTA", "SMV", "PORTA_SMV", "CHA", "SPLENIC_ARTERY", "SPLENIC_VEIN")

Score = tuple[float, float, str | None]
"""Dice, precision and confidence."""


def truth_of(case: LabelledCase, name: str) -> NDArray[np.bool_]:
    parts = ("PORTA", "SMV") if name == "PORTA_SMV" else (name,)
    return np.isin(case.truth, [CODES[part] for part in parts])


def score(case: LabelledCase, labels: NDArray[np.uint8], name: str, confidence: str | None) -> Score:
    named, truth = labels == NAMED[name], truth_of(case, name)
    both = float((named & truth).sum())
    return 2 * both / float(named.sum() + truth.sum()), both / float(named.sum()), confidence


def naive(case: LabelledCase) -> NDArray[np.uint8]:
    """Name by order and size alone."""
    labels = np.zeros(case.labels.array.shape, np.uint8)
    arteries = np.isin(case.labels.array, [case.names[name] for name in ("ARTERIES", "AORTA") if name in case.names])
    grid = Grid.around(arteries, case.labels.geometry)
    here = None if grid is None else grid.down(arteries)
    aorta = None if grid is None or here is None else find_aorta(here, grid)
    if grid is not None and here is not None and aorta is not None:
        small = np.where(aorta.mask, NAMED["AORTA"], np.where(here, 255, 0)).astype(np.uint8)
        pieces, count = ndimage.label(here & ~aorta.mask)
        near = ndimage.binary_dilation(aorta.mask)
        front = []
        for one in range(1, count + 1):
            place = grid.lps_mm(np.argwhere((pieces == one) & near))
            if len(place) and place[:, 1].mean() < aorta.at(float(place[:, 2].mean()))[1] - 0.6 * aorta.radius_mm:
                front.append((-float(place[:, 2].max()), one))
        for name, (_, one) in zip(("CELIAC", "SMA"), sorted(front), strict=False):
            small[pieces == one] = NAMED[name]
        values = grid.up(small, arteries)
        labels[arteries] = np.where(values == 255, 0, values)
    veins = case.labels.array == case.names.get("VEINS", -1)
    pieces, _ = ndimage.label(veins)
    sizes = np.bincount(pieces.ravel())[1:]
    # The second largest is the portal system: the cava is larger.
    if len(sizes) > 1:
        index = np.argwhere(pieces == int(np.argsort(-sizes)[1]) + 1)
        middle = np.median(index[:, 0])
        labels[tuple(index.T)] = np.where(index[:, 0] > middle, NAMED["PORTA"], NAMED["SMV"])
    return labels


def compare(first_seed: int, seeds: int, conditions: list[str]) -> None:
    ours: dict[str, dict[str, list[Score | None]]] = defaultdict(lambda: defaultdict(list))
    theirs: dict[str, list[Score]] = defaultdict(list)
    spent = []
    for condition in conditions:
        for template in TEMPLATES:
            for seed in range(first_seed, first_seed + seeds):
                case = make_case(condition, template, seed)
                began = time.process_time()
                found = name_vessels(case.labels, case.names)
                spent.append(time.process_time() - began)
                for name in SHOWN:
                    said = found.vessels[name]
                    one = score(case, found.labels.array, name, said.confidence) if said.named else None
                    ours[condition][name].append(one)
                    if one is not None and one[1] < 0.5:
                        print(f"wrong: {condition}, {template}, seed {seed}: {name}, precision {one[1]:.2f}")
                labels = naive(case)
                for name in ("AORTA", "CELIAC", "SMA", "PORTA", "SMV"):
                    if (labels == NAMED[name]).any():
                        theirs[name].append(score(case, labels, name, None))
        row = [f"{_cell(ours[condition][name])}" for name in SHOWN[:6]]
        print(f"| {condition} | {' | '.join(row)} |", flush=True)
    print("\nname: median Dice where named in clean cases, share named there; over all conditions: named of cases,")
    print("median Dice, names that are wrong with the upper limit, wrong among those said to be sure; the naive way's")
    for name in SHOWN:
        clean = [one for condition in CLEAN for one in ours.get(condition, {}).get(name, [])]
        every = [one for by_name in ours.values() for one in by_name[name]]
        named = [one for one in every if one is not None]
        good = [one[0] for one in clean if one is not None]
        wrong = sum(one[1] < 0.5 for one in named)
        sure = [one for one in named if one[2] == "high"]
        other = theirs.get(name, [])
        print(
            f"{name}: clean {np.median(good) if good else float('nan'):.3f}, {len(good)}/{len(clean)} named; "
            f"all {len(named)}/{len(every)}, {np.median([one[0] for one in named]) if named else float('nan'):.3f}, "
            f"wrong {wrong} (at most {100 * upper(wrong, len(named)):.1f} %), "
            f"of the {len(sure)} sure ones {sum(one[1] < 0.5 for one in sure)}; "
            f"naive: wrong {sum(one[1] < 0.5 for one in other)} of {len(other)}"
        )
    print(f"processor: median {np.median(spent):.2f} s, largest {max(spent):.2f} s a map")


def upper(wrong: int, count: int) -> float:
    """Return the upper end of the one-sided 95 % interval of a share."""
    return float(stats.beta.ppf(0.95, wrong + 1, count - wrong)) if count > wrong else 1.0


def _cell(scores: list[Score | None]) -> str:
    named = [one for one in scores if one is not None]
    if not named:
        return f"0/{len(scores)}"
    wrong = sum(one[1] < 0.5 for one in named)
    return (
        f"{len(named)}/{len(scores)} {np.median([one[0] for one in named]):.2f}{f' ({wrong} WRONG)' if wrong else ''}"
    )


def measure_size() -> None:
    """Name one map of 512 x 512 x 400 voxels in a process of its own; tell its processor time and memory."""
    spacing = (0.75, 0.75, 0.8)
    anatomy = draw("usual", 1000, spacing_mm=spacing, low_mm=(-190, -190, -150), high_mm=(194, 194, 170))
    labels = np.zeros(anatomy.truth.shape, np.uint8)
    labels[anatomy.truth > 0] = 2
    labels[
        np.isin(anatomy.truth, [CODES[name] for name in ("AORTA", "CELIAC", "SMA", "CHA", "SPLENIC_ARTERY", "artery")])
    ] = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npy"
        np.save(path, labels)
        subprocess.run([sys.executable, __file__, "--named-file", str(path)], check=True)


def name_file(path: Path) -> None:
    labels = np.load(path)
    z, y, x = labels.shape
    volume = Volume(labels, Geometry((x, y, z), (0.75, 0.75, 0.8), (-190.0, -190.0, -150.0)))
    before = most_mib()
    began = time.process_time()
    found = name_vessels(volume, {"ARTERIES": 1, "VEINS": 2})
    spent = time.process_time() - began
    print(f"{x} x {y} x {z}: {spent:.2f} s of the processor, {most_mib():.0f} MiB at most ({before:.0f} before)")
    print("named:", ", ".join(found.values))


def most_mib() -> float:
    """Return the largest memory of this process so far, which the parent's does not count for."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=4, help="patients of each template in each condition")
    parser.add_argument("--conditions", nargs="*", default=list(CONDITIONS))
    parser.add_argument("--size", action="store_true", help="time and memory of a map of 512 x 512 x 400 voxels")
    parser.add_argument("--named-file", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.named_file is not None:
        name_file(chosen.named_file)
    elif chosen.size:
        measure_size()
    else:
        compare(chosen.first_seed, chosen.seeds, chosen.conditions)


if __name__ == "__main__":
    main()
