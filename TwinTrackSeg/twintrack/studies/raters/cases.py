"""The cases of the experiment: blocks of phantoms with a known truth, or the rows of a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twintrack.errors import InputError
from twintrack.imaging.boxes import box_from, grown
from twintrack.io.manifest import read_manifest
from twintrack.io.splits import rows_by_split
from twintrack.labels import VESSEL_VALUES, vessel_of
from twintrack.phantom import RaterPanel, Slab, draw_panel
from twintrack.studies.raters.blocks import BlockStore
from twintrack.studies.raters.scores import CaseTruth
from twintrack.training import CaseVolumes, TrainingCase, row_case
from twintrack.volume import Volume

__all__ = ["FEWEST_CASES", "StudyCase", "StudyCases", "manifest_cases", "phantom_cases"]

FEWEST_CASES = 2
"""Calibration and test cases at least: one says nothing about the next."""

FIRST_SEED = 2_000_000
"""Far from all seeds whose phantoms anything else was trained, calibrated or tested on."""

SPLIT_STRIDE = 10_000
"""Seeds of one split."""

REGION_MM = 25.0
"""Margin around the organ of a manifest's case within which it is scored."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class StudyCase:
    """A case that is read when it is needed.

    Attributes
    ----------
    training : TrainingCase
        Its name, raters and volumes.
    truth : callable
        Returns what predictions are compared with, and the reference vessels where they are known.
    """

    training: TrainingCase
    truth: Callable[[], tuple[CaseTruth, Volume | None]]

    @property
    def name(self) -> str:
        """Unique."""
        return self.training.name


@dataclass(frozen=True)
class StudyCases:
    """All cases, by what they are for.

    Attributes
    ----------
    train, calibration, test : tuple of StudyCase
        No patient is in two of them.
    panel : RaterPanel or None
        Of phantoms with a fixed panel.
    source : str
        For people: what the cases are.
    """

    train: tuple[StudyCase, ...]
    calibration: tuple[StudyCase, ...]
    test: tuple[StudyCase, ...]
    panel: RaterPanel | None
    source: str


def phantom_cases(
    train: int,
    calibration: int,
    test: int,
    *,
    raters: int,
    panel_seed: int | None,
    slab: Slab,
    seed: int = 0,
    keep: Path | None = None,
) -> StudyCases:
    """Return blocks of phantoms.

    Parameters
    ----------
    train, calibration, test : int
        How many of each.
    raters : int
        Of each case.
    panel_seed : int or None
        What the panel is drawn from; None: raters who are others in each case, whose names mean nothing.
    slab : Slab
        Size of the blocks.
    seed : int
        Chooses among disjoint sets of phantoms.
    keep : Path, optional
        Folder in which a block that was made is kept: every strategy asks for it anew.

    Raises
    ------
    InputError
        If there are too few or too many.
    """
    for count, split in ((train, "training"), (calibration, "calibration"), (test, "test")):
        if not FEWEST_CASES <= count <= SPLIT_STRIDE:
            raise InputError(
                f"the number of {split} cases must be {FEWEST_CASES} to {SPLIT_STRIDE}, got {count}", code="case-count"
            )
    panel = None if panel_seed is None else draw_panel(raters, seed=panel_seed)
    splits = []
    store = BlockStore(slab, panel, raters, keep)
    for place, count in enumerate((train, calibration, test)):
        first = FIRST_SEED + SPLIT_STRIDE * (3 * seed + place)
        splits.append(tuple(_phantom(first + number, raters, panel, slab, store) for number in range(count)))
    source = "synthetic phantoms" if panel is not None else "synthetic phantoms of raters without habits"
    return StudyCases(splits[0], splits[1], splits[2], panel, source)


def manifest_cases(manifest: str | Path) -> StudyCases:
    """Return the cases of a manifest with ``case``, ``image``, ``split`` and ``annotation_<ID>``.

    Raises
    ------
    InputError
        If the manifest cannot be used, or a split holds too few cases; the row is named.
    """
    rows = rows_by_split(read_manifest(manifest, needs=("image", "split"), annotated=True, texts=("split",)))
    for name in ("train", "calibration", "test"):
        if len(rows[name]) < FEWEST_CASES:
            raise InputError(
                f"holds {len(rows[name])} {name} cases (column split); at least {FEWEST_CASES} are needed",
                code="too-few-cases",
                path=manifest,
            )
    splits = [tuple(_of_row(row_case(row)) for row in rows[name]) for name in ("train", "calibration", "test")]
    return StudyCases(splits[0], splits[1], splits[2], None, f"cases of {Path(manifest).name}")


def region_of(volumes: CaseVolumes) -> Box | None:
    """Return the box (z, y, x) around the organ within which a case is scored; None for the whole CT.

    The organ is the reference's, so that ways of training are compared and no stage 1 with them.
    """
    organ = volumes.organ
    if organ is None:
        return None
    found = box_from(organ.array, 1)
    if found is None:
        return None
    margin = max(int(np.ceil(REGION_MM / step)) for step in volumes.ct.geometry.spacing_mm)
    return grown(found, margin, margin, volumes.ct.array.shape)


def _phantom(seed: int, raters: int, panel: RaterPanel | None, slab: Slab, store: BlockStore) -> StudyCase:
    def truth() -> tuple[CaseTruth, Volume | None]:
        block = store(seed)
        return CaseTruth(block.masks, block.true_mhr, block.true_raters), block.vessels

    names = tuple(panel.habits) if panel is not None else tuple(str(n) for n in range(1, raters + 1))
    about = f"phantom {seed}, {raters} raters, {panel}, {slab}"
    case = TrainingCase(f"phantom_{seed}", lambda: store(seed).volumes(), names, f"phantom of seed {seed}", about)
    return StudyCase(case, truth)


def _of_row(case: TrainingCase) -> StudyCase:
    def truth() -> tuple[CaseTruth, Volume | None]:
        volumes = case.read()
        return CaseTruth(volumes.masks), _vessels(volumes)

    return StudyCase(case, truth)


def _vessels(volumes: CaseVolumes) -> Volume | None:
    """Return the reference vessels with the values of `VESSEL_VALUES`; None where the labels name none."""
    if volumes.anatomy is None:
        return None
    known = {vessel: value for name, value in volumes.anatomy.names.items() if (vessel := vessel_of(name)) is not None}
    if not known:
        return None
    found = np.zeros(volumes.anatomy.volume.array.shape, np.uint8)
    for vessel, value in known.items():
        if vessel in VESSEL_VALUES:
            found[volumes.anatomy.volume.array == value] = VESSEL_VALUES[vessel]
    return volumes.anatomy.volume.with_array(found)
