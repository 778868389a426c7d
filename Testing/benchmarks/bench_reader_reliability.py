"""Whether the vessel readouts hold for readers: predicted fractions against what phantom readers' own masks show.

The map is the phantom's true mean human response, so that what is checked is not the network but the step from a map to
a statement on readers: that readers are nested, and that a level therefore is a fraction of readers. For every vessel
near the tumour the same measure is applied to each reader's own mask; the table compares p_contact, p_encased and the
expected angle with the readers' shares and mean angle. By default the readers are as the demo bundle's were: half of
their variance is a tendency of their own (nested), half is hand noise; ``--nested`` makes them nested but for slips.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from twintrack.imaging.plane_contact import bounding_box
from twintrack.invasion.centerline import center_lines
from twintrack.invasion.contact import vessel_wall
from twintrack.invasion.geometry import Neighborhood
from twintrack.invasion.sections import cross_sections
from twintrack.invasion.wall import VesselWall
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom import PhantomCase, make_phantom
from twintrack.phantom.raters import RaterModel

FIRST_SEED = 700_000
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
MARGIN_MM = 25.0


@dataclass(frozen=True)
class Row:
    """One vessel: predictions, and what each reader's mask shows."""

    name: str
    p_contact: float
    p_encased: float
    expected_deg: float
    p10_deg: float
    p90_deg: float
    readers_deg: np.ndarray


def walls(case: PhantomCase, value: int) -> list[VesselWall]:
    """Measure one vessel with the map and with each reader's mask, on the same cross-sections."""
    maps = [case.true_mhr.array, *(mask.array.astype(np.float32) for mask in case.annotations)]
    anywhere = np.max(maps, axis=0)
    box = bounding_box(anywhere >= 0.01)
    if box is None:
        return []
    margin = np.ceil(MARGIN_MM / np.asarray(case.vessels.geometry.spacing_mm[::-1])).astype(int)
    start = np.array([s.start for s in box]) - margin
    window = tuple(slice(max(a, 0), s.stop + m) for a, s, m in zip(start, box, margin, strict=True))
    labelled, count = ndimage.label(case.vessels.array[window] == value, structure=np.ones((3, 3, 3)))
    if count == 0:
        return []
    piece = labelled == 1 + np.argmax(np.bincount(labelled.ravel())[1:])
    near = Neighborhood.around(anywhere, np.pad(piece, 2), case.vessels.geometry, np.maximum(start, 0) - 2)
    inside = near.vessel > 0
    branches = [cross_sections(near, line, inside) for line in center_lines(near, inside)]
    found = []
    for array in maps:
        own = Neighborhood.around(array, np.pad(piece, 2), case.vessels.geometry, np.maximum(start, 0) - 2)
        found.append(vessel_wall(own, branches, None))
    return found


def rows_of(case: PhantomCase) -> list[Row]:
    rows = []
    levels = (np.arange(400) + 0.5) / 400
    for name, value in VESSEL_VALUES.items():
        found = walls(case, value)
        if not found or found[0].level_over(0.0) < 0.02:
            continue
        p10, p90 = found[0].angles_deg(np.array([0.9, 0.1]))
        readers = np.array([wall.angles_deg(np.array([0.5]))[0] for wall in found[1:]])
        expected = float(found[0].angles_deg(levels).mean())
        rows.append(Row(name, found[0].level_over(0.0), found[0].level_over(180.0), expected, p10, p90, readers))
    return rows


def reliability(predicted: np.ndarray, seen: np.ndarray) -> None:
    """Print predicted against seen fractions by bins, and the mean gap weighted by the vessels in each."""
    gap = 0.0
    for low, high in pairwise(BINS):
        part = (predicted >= low) & ((predicted < high) | (high == 1.0))
        if part.any():
            gap += abs(seen[part].mean() - predicted[part].mean()) * part.mean()
            error = seen[part].std() / np.sqrt(part.sum())
            means = f"{predicted[part].mean():.3f}   {seen[part].mean():.3f} ± {error:.3f}"
            print(f"  {low:4.2f}-{high:4.2f}  {part.sum():4d}   {means}")
    means = f"{predicted.mean():.3f}   {seen.mean():.3f}"
    print(f"  all        {len(predicted):4d}   {means}   expected calibration error {gap:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vessels", type=int, default=200, help="vessels near a tumour to look at")
    parser.add_argument("--raters", type=int, default=9, help="readers of each case")
    parser.add_argument("--nested", action="store_true", help="readers who differ by their tendency only")
    options = parser.parse_args()
    model = replace(RaterModel(), tendency_share=1.0, stop_early=0.0, overlook=0.0) if options.nested else RaterModel()
    rows: list[Row] = []
    seed = FIRST_SEED
    while len(rows) < options.vessels:
        rows += rows_of(make_phantom(seed, raters=options.raters, model=model))
        seed += 1
    kind = "nested" if options.nested else "half tendency, half hand noise"
    print(f"{len(rows)} vessels of {seed - FIRST_SEED} phantoms, {options.raters} readers each ({kind})")
    print("  predicted   n   mean p   readers' share")
    for name, limit in (("p_contact", 0.0), ("p_encased", 180.0)):
        print(name)
        reliability(
            np.array([getattr(row, name) for row in rows]), np.array([(row.readers_deg > limit).mean() for row in rows])
        )
    expected = np.array([row.expected_deg for row in rows])
    means = np.array([row.readers_deg.mean() for row in rows])
    inside = np.mean(
        [((row.readers_deg >= row.p10_deg - 3) & (row.readers_deg <= row.p90_deg + 3)).mean() for row in rows]
    )
    gap, together = np.abs(expected - means).mean(), np.corrcoef(expected, means)[0, 1]
    print(f"expected angle {expected.mean():.0f}°, readers' mean {means.mean():.0f}°, ", end="")
    print(f"mean absolute gap {gap:.0f}°, correlation {together:.3f}")
    print(f"readers within the 10th to 90th percentile (and 3°): {100 * inside:.0f} % (80 % if all holds)")


if __name__ == "__main__":
    main()
