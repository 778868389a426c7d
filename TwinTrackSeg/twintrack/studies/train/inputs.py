"""What a training reads: the rows of a manifest by split, and whether there is room for what is made of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

from twintrack.errors import InputError, OutputError
from twintrack.io.manifest import ManifestRow, read_manifest
from twintrack.io.splits import rows_by_split
from twintrack.io.volumes import stored_geometry
from twintrack.phantom import TRUTH
from twintrack.raters import name_order
from twintrack.system.capacity import lacking_memory
from twintrack.training.cases import COLUMNS, TrainingCase, row_case
from twintrack.training.presets import PROCESS_BYTES, StageSettings, training_bytes
from twintrack.volume import Geometry

__all__ = ["ManifestCases", "check_room", "read_cases"]

FEWEST = 2
"""Cases of each split that is needed: one says nothing about the next."""

NNUNET_FILES = ("plans.json", "dataset.json", "nnUNetPlans.json", "imagesTr", "fold_0", "fold_all")
"""Entries of folders that nnU-Net makes or reads."""

CROP_SHARE = 0.3
"""Largest part of a CT that is cut out around the organ, as a rule."""

CHECKPOINT_BYTES = 400e6
"""Room for the checkpoints of the largest network that the planner chooses, with its optimizer's state."""


@dataclass(frozen=True)
class ManifestCases:
    """Rows of a manifest by what they are for.

    Attributes
    ----------
    train : tuple of TrainingCase
        Cases to learn from.
    calibration, test : tuple of ManifestRow
        Cases to calibrate on, and to measure on; of the latter there may be none.
    images : tuple of Path
        CTs of the cases to learn from.
    knows_organ : bool
        Whether a column of them may say where the organ is.
    raters : tuple of str
        Everybody who drew any case.
    phantoms : bool
        Whether all cases to learn from are phantoms that ``twintrack phantom`` wrote.
    """

    train: tuple[TrainingCase, ...]
    calibration: tuple[ManifestRow, ...]
    test: tuple[ManifestRow, ...]
    images: tuple[Path, ...]
    knows_organ: bool
    raters: tuple[str, ...]
    phantoms: bool


def read_cases(manifest: Path) -> ManifestCases:
    """Read and check a manifest: ``case, image, split, annotation_<NAME>`` and what else `COLUMNS` names.

    Raises
    ------
    InputError
        If it cannot be used, is a folder of nnU-Net, lacks a split, has a patient in two splits, or fills a column for
        some cases alone.
    """
    _refuse_folder(manifest)
    rows = read_manifest(manifest, needs=("image", "split"), annotated=True, texts=("split",), optional=COLUMNS)
    splits = rows_by_split(rows)
    for split in ("train", "calibration"):
        if len(splits[split]) < FEWEST:
            raise InputError(
                f"holds {len(splits[split])} cases of the split {split}; at least {FEWEST} are needed, so write "
                f"{split} into the column split of some",
                code="too-few-cases",
                path=manifest,
            )
    for column in COLUMNS:
        lacking = [row for row in splits["train"] if column not in row.files]
        if lacking and len(lacking) < len(splits["train"]):
            raise InputError(
                f"the column {column} is empty, but filled for other training cases; fill it for all of them or for "
                "none: a structure that is not marked would be learnt as not there",
                code="cell-empty",
                where=lacking[0].where,
            )
    train, first = splits["train"], splits["train"][0]
    return ManifestCases(
        tuple(map(row_case, train)),
        splits["calibration"],
        splits["test"],
        images=tuple(row.files["image"] for row in train),
        knows_organ="organ" in first.files or "anatomy" in first.files,
        raters=tuple(sorted({rater for row in rows for rater in row.annotations}, key=name_order)),
        phantoms=all((row.files["image"].parent / TRUTH).is_file() for row in train),
    )


def _refuse_folder(manifest: Path) -> None:
    if not manifest.is_dir():
        return
    if any((manifest / name).exists() for name in NNUNET_FILES) or any(manifest.glob("*__*__*")):
        raise InputError(
            "is a folder of nnU-Net, not a manifest; a trained model becomes a bundle with twintrack bundle create "
            "--coarse FOLDER --fine FOLDER --out BUNDLE",
            code="nnunet-folder",
            path=manifest,
        )
    raise InputError(
        "is a folder; give a manifest, a CSV with case, image, split and annotation_<NAME>",
        code="not-a-manifest",
        path=manifest,
    )


def check_room(
    images: Sequence[Path], raters: int, stages: Sequence[StageSettings], work: Path, *, channels: int, device: str
) -> None:
    """Refuse a training for which memory or disk space is short, by the headers of the CTs.

    Parameters
    ----------
    images : sequence of path
        CTs of the training cases; of those that are no volume files nothing is known.
    raters : int
        Masks of each.
    stages : sequence of StageSettings
        The stages that are trained.
    work : Path
        Folder that will hold the prepared cases.
    channels : int
        Outputs of the largest network.
    device : str
        Where the networks are trained: on a graphics card its own memory counts.

    Raises
    ------
    InputError, OutputError
        With what is needed and what is free.
    """
    grids = [grid for grid in map(stored_geometry, images) if grid is not None]
    largest = max((prod(grid.size) for grid in grids), default=0)
    step = max(training_bytes(stage, channels) for stage in stages)
    _check_card(device, step)
    # CT in single precision and as integers, anatomy, masks twice, and the copies of one case on the way.
    lacking = lacking_memory(PROCESS_BYTES + max(largest * (14 + 2 * raters), step if device == "cpu" else 0))
    if lacking is not None:
        raise InputError(
            f"the training {lacking}; choose a smaller --preset, crop the CTs, or use a computer with more memory",
            code="no-memory",
        )
    needed = CHECKPOINT_BYTES if any(stage.spacing_mm is None for stage in stages) else 0.0
    needed += sum(_prepared_bytes(grid, raters, stage) for grid in grids for stage in stages)
    place = next(p for p in (work.absolute(), *work.absolute().parents) if os.path.lexists(p))
    with suppress(OSError):
        free = shutil.disk_usage(place).free
        if free < needed:
            raise OutputError(
                f"the prepared cases need about {needed / 1e9:.1f} GB of disk space, and {free / 1e9:.1f} GB are free; "
                "free some, or choose another place for --out",
                code="no-disk-space",
                path=work,
            )


def _prepared_bytes(grid: Geometry, raters: int, stage: StageSettings) -> float:
    """Return the room that one case takes at most: cut out, and resampled."""
    cut = CROP_SHARE * prod(grid.size) * (3 + raters)
    millimetres = prod(n * mm for n, mm in zip(grid.size, grid.spacing_mm, strict=True))
    spacing = grid.spacing_mm if stage.spacing_mm is None else stage.spacing_mm
    return cut + millimetres / prod(spacing) * (5 + raters)


def _check_card(device: str, needed: float) -> None:
    from twintrack.inference.devices import describe_processor

    free = None if device == "cpu" else describe_processor(device).free_bytes
    if free is not None and free < needed:
        raise InputError(
            f"the training needs about {needed / 1e9:.1f} GB on the device {device}, and {free / 1e9:.1f} GB are free; "
            "choose a smaller --preset, or --device cpu",
            code="no-memory",
        )
