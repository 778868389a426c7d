"""Error of contact angle, length and area for every kind of vessel and tumour on its own, on three grids.

Each kind of `analytic.KINDS` is drawn in random poses; the same shapes in the same poses on every grid. The truth comes
from the shapes, with tumour within the contact distance of the wall as contact; the engine is asked for the same
distance, or left to its own with `--default-contact`. An error of the angle over 60 degrees is silent if neither a
reason nor a note says anything that bears on it.

Columns: `n` cases, `none` of them without a measured angle (they count nowhere else), then for the angle in degrees the
mean absolute error, the bias, the largest error and the silent ones; for length and area the mean absolute error, bias
and largest error in percent of the truth; `missed` contacts over 20 degrees that read 0. Of kinds without contact only
the angle tells; its error is what was measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analytic import GRIDS, KINDS, AnalyticCase, contact, make_case, tissue_levels, touch_levels
from twintrack.invasion import DEFAULT_CONTACT_MM, measure_invasion

CONTACT_MM = 1.5
SILENT_DEG = 60.0
MISSED_DEG = 20.0

BESIDE_THE_POINT = ("the volume's edge cuts the vessel", "stray pieces of the vessel mask")
"""Notes that do not say that the angle may be wrong."""


@dataclass(frozen=True)
class Row:
    """One measured case; None where nothing was measured."""

    kind: str
    grid: str
    number: int
    true_deg: float
    true_mm: float
    true_mm2: float
    angle_deg: float | None
    length_mm: float | None
    area_mm2: float | None
    category: str | None
    said: tuple[str, ...]
    seconds: float

    @property
    def error_deg(self) -> float | None:
        return None if self.angle_deg is None else self.angle_deg - self.true_deg

    @property
    def silent(self) -> bool:
        """Whether a grossly wrong angle comes without a word about it."""
        told = any(not any(part in text for part in BESIDE_THE_POINT) for text in self.said)
        return self.error_deg is not None and abs(self.error_deg) > SILENT_DEG and not told


def by_engine(kind: str, grid: str, number: int, case: AnalyticCase, true_mm: float, asked_mm: float) -> Row:
    """Measure with `measure_invasion`."""
    start = time.process_time()
    result = measure_invasion(case.probability, case.vessel, {"V": 1}, thresholds=[0.5], contact_mm=asked_mm)
    seconds = time.process_time() - start
    found, truth = result.vessels["V"], case.truth(true_mm)
    said = (*((found.reason,) if found.reason else ()), *found.notes)
    return Row(
        kind, grid, number, truth.angle_deg, truth.length_mm, truth.area_mm2,
        found.angle_deg[0], found.contact_length_mm[0], found.contact_area_mm2[0],
        found.category.value if found.category else None, said, seconds,
    )  # fmt: skip


def by_rays(kind: str, grid: str, number: int, case: AnalyticCase, true_mm: float) -> Row:
    """Measure with rays from the true wall into the drawn map, which shows about what the grid itself takes away."""
    start = time.process_time()
    wall = case.wall_lps(true_mm)
    values = (0.0, 0.0, 0.0)
    if wall is not None:
        hidden = None if case.shape.overwrites else case.lumen
        found = contact(wall, touch_levels(wall, tissue_levels(case.probability, hidden), true_mm))
        values = (found.angle_deg, found.length_mm, found.area_mm2)
    seconds, truth = time.process_time() - start, case.truth(true_mm)
    return Row(kind, grid, number, truth.angle_deg, truth.length_mm, truth.area_mm2, *values, None, (), seconds)


def summary(rows: list[Row]) -> dict[str, Any]:
    """Return the numbers of one line of the table; None where there is nothing to take them of."""
    measured = [row for row in rows if row.angle_deg is not None]
    with_contact = [row for row in measured if row.true_mm > 0]
    result: dict[str, Any] = {
        "n": len(rows),
        "none": len(rows) - len(measured),
        "angle_deg": _errors([row.angle_deg - row.true_deg for row in measured]),
        "silent": sum(row.silent for row in rows),
        "length_percent": _errors([100 * (row.length_mm / row.true_mm - 1) for row in with_contact]),
        "area_percent": _errors([100 * (row.area_mm2 / row.true_mm2 - 1) for row in with_contact]),
        "missed": sum(row.true_deg > MISSED_DEG and row.angle_deg == 0 for row in rows),
        "over_180": sum(row.category == "encasement" for row in rows),
        "truly_over_180": sum(row.true_deg > 180 for row in rows),
        "said": Counter(text for row in rows for text in row.said),
    }
    return result


def _errors(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    array = np.asarray(values)
    worst = float(array[np.argmax(np.abs(array))])
    return {"mean_absolute": float(np.abs(array).mean()), "bias": float(array.mean()), "worst": worst}


def line(name: str, found: dict[str, Any]) -> str:
    def three(key: str, width: int) -> str:
        values = found[key]
        if values is None:
            return " ".join(["-".rjust(width)] * 3)
        return f"{values['mean_absolute']:{width}.1f} {values['bias']:+{width}.1f} {values['worst']:+{width}.0f}"

    return (
        f"{name:14s} {found['n']:3d} {found['none']:4d} | {three('angle_deg', 6)} {found['silent']:6d} | "
        f"{three('length_percent', 5)} | {three('area_percent', 5)} | {found['missed']:6d}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=20, help="cases for each kind and grid")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--grids", nargs="+", choices=list(GRIDS), default=list(GRIDS), metavar="GRID")
    parser.add_argument("--contact-mm", type=float, default=CONTACT_MM, help="distance that is contact, for the truth")
    parser.add_argument("--default-contact", action="store_true", help="do not give the engine the distance")
    parser.add_argument("--hard", action="store_true", help="maps of 0 and 1, as of a single reader")
    parser.add_argument("--rays", action="store_true", help="not the engine but the slow measure from the true wall")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", type=int, default=0, help="also list the cases with the largest errors")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    asked_mm = DEFAULT_CONTACT_MM if options.default_contact else options.contact_mm
    rows: list[Row] = []
    table: dict[str, dict[str, Any]] = {}
    for grid in options.grids:
        print(f"\n{grid} ({' x '.join(map(str, GRIDS[grid]))} mm)")
        print(f"{'':14s} {'n':>3s} {'none':>4s} | {'MAE °':>6s} {'bias':>6s} {'worst':>6s} silent | ", end="")
        print(f"{'len %':>5s} {'bias':>5s} {'worst':>5s} | {'area%':>5s} {'bias':>5s} {'worst':>5s} | missed")
        for kind in options.kinds:
            cases = (
                (kind, grid, number, make_case(kind, number, GRIDS[grid], seed=options.seed, hard=options.hard))
                for number in range(options.poses)
            )
            if options.rays:
                some = [by_rays(*case, options.contact_mm) for case in cases]
            else:
                some = [by_engine(*case, options.contact_mm, asked_mm) for case in cases]
            rows += some
            table.setdefault(grid, {})[kind] = summary(some)
            print(line(kind, table[grid][kind]), flush=True)
    seconds = sum(row.seconds for row in rows)
    print(f"\nsilent errors: {sum(row.silent for row in rows)} of {len(rows)}; {seconds / len(rows):.2f} s a case")
    if "exactly 180" in options.kinds and not options.rays:
        exact = [row for row in rows if row.kind == "exactly 180"]
        print(f"exactly 180: {sum(row.category == 'encasement' for row in exact)} of {len(exact)} called encasement")
    for row in sorted(rows, key=lambda row: -abs(row.error_deg or 0.0))[: options.worst]:
        print(row)
    if options.json:
        settings = {key: str(value) for key, value in vars(options).items()}
        text = json.dumps({"settings": settings, "table": table, "rows": [asdict(row) for row in rows]}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
