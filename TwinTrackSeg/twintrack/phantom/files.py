"""Phantom cases as files, with the manifest that the other commands read."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twintrack.errors import InputError
from twintrack.io.splits import SPLITS
from twintrack.io.volumes import write_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom.case import LABELS, PhantomCase, lesions_of, make_phantom
from twintrack.phantom.panel import RaterPanel, draw_panel
from twintrack.phantom.raters import RATER_MODELS
from twintrack.progress.callbacks import CancelToken, Progress, no_progress
from twintrack.system.atomic import atomic_folder, check_output_folder

__all__ = ["TRUTH", "write_case", "write_cohort"]

COMMAND = "phantom"
MANIFEST = "manifest.csv"

TRUTH = "truth.json"
"""File beside a phantom's CT that says what was drawn."""

STRUCTURES = {name: value for name, value in LABELS.items() if value}
"""Names in the anatomy map."""


def write_case(case: PhantomCase, folder: Path, rater_model: str = "default") -> dict[str, Path]:
    """Write one case, whose raters are of `rater_model`, into `folder`; return each file's path by manifest column."""
    folder.mkdir(parents=True, exist_ok=True)
    volumes = {"image": case.ct, "vessels": case.vessels, "anatomy": case.anatomy, "true_mhr": case.true_mhr}
    volumes |= {f"true_rater_{name}": chance for name, chance in case.true_raters.items()}
    volumes |= {f"annotation_{name}": mask for name, mask in zip(case.raters, case.annotations, strict=True)}
    paths = {column: folder / f"{column}.nii.gz" for column in volumes}
    for column, volume in volumes.items():
        write_volume(volume, paths[column], names={"vessels": VESSEL_VALUES, "anatomy": STRUCTURES}.get(column))
    truth: dict[str, Any] = {"schema": 1, "seed": case.seed, "rater_model": rater_model}
    truth["lesions"] = [asdict(lesion) for lesion in case.lesions]
    if case.lesion is not None:
        truth["lesion"] = asdict(case.lesion)
    if case.panel is not None:
        habits = {name: asdict(each) for name, each in case.panel.habits.items()}
        truth["panel"] = {"seed": case.panel.seed, "raters": habits}
    (folder / TRUTH).write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return paths


def write_cohort(
    folder: Path,
    *,
    cases: int,
    raters: int,
    seed: int,
    healthy: float = 0.0,
    rater_model: str = "default",
    panel_seed: int | None = None,
    split: Sequence[int] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Write `cases` phantoms with the seeds ``seed``, ``seed + 1``, ... and return the path of ``manifest.csv``.

    They appear when all of them are complete, in the place of the phantoms of an earlier run.

    The manifest has the columns ``case, image, vessels, anatomy, true_mhr, annotation_1 ... annotation_N`` with paths
    relative to `folder`; ``true_mhr`` is the known expectation that only a phantom has. With `healthy`, the share of
    patients without a tumour (see `lesions_of`), it also has the column ``lesions``, their number. `rater_model` is one
    of `RATER_MODELS`.

    With `panel_seed`, the raters are the same persons in all cases (see `draw_panel`), whatever `seed` is: the columns
    are ``annotation_A``, ``annotation_B``, ..., with ``true_rater_A``, ``true_rater_B``, ... for the chance that this
    very rater marks a voxel; ``true_mhr`` is the mean of these, and ``truth.json`` lists the habits.

    With `split`, the manifest has that column: the first of these numbers of cases train, then come those that
    calibrate, then those that test.

    Raises
    ------
    InputError
        If a number is not in its range or there is no such rater model.
    OutputError
        If something else lies there (unless `overwrite`), or the files cannot be written.
    """
    if rater_model not in RATER_MODELS:
        raise InputError(
            f"there is no rater model {rater_model!r}; choose one of {', '.join(RATER_MODELS)}",
            code="rater-model-unknown",
        )
    if split is not None and (len(split) != len(SPLITS) or min(split) < 0 or sum(split) != cases):
        raise InputError(
            f"the split must be numbers of {', '.join(SPLITS)} cases that add up to {cases}, got "
            f"{','.join(map(str, split))}",
            code="phantom-split",
        )
    model = RATER_MODELS[rater_model]
    panel = None if panel_seed is None else draw_panel(raters, seed=panel_seed, model=model)
    names = [f"phantom_{seed + number:05d}" for number in range(cases)]
    check_output_folder(folder, (*names, MANIFEST), command=COMMAND, overwrite=overwrite)
    with atomic_folder(folder, command=COMMAND, last=MANIFEST, overwrite=overwrite) as partial:
        _write_cases(
            partial,
            names,
            raters=raters,
            seed=seed,
            healthy=healthy,
            rater_model=rater_model,
            panel=panel,
            splits=[name for name, count in zip(SPLITS, split or (), strict=False) for _ in range(count)],
            progress=progress,
            cancel=cancel or CancelToken(),
        )
    progress(1.0, f"{cases} phantoms written")
    return folder / MANIFEST


def _write_cases(
    folder: Path,
    names: Sequence[str],
    *,
    raters: int,
    seed: int,
    healthy: float,
    rater_model: str,
    panel: RaterPanel | None,
    splits: Sequence[str],
    progress: Progress,
    cancel: CancelToken,
) -> None:
    rows: list[dict[str, str]] = []
    for number, name in enumerate(names):
        cancel.check()
        progress(number / len(names), f"drawing {name}")
        lesions = lesions_of(seed + number, healthy)
        if panel is None:
            case = make_phantom(seed + number, raters=raters, model=RATER_MODELS[rater_model], lesions=lesions)
        else:
            case = make_phantom(seed + number, panel=panel, lesions=lesions)
        paths = write_case(case, folder / name, rater_model)
        row = {"case": name} | {column: path.relative_to(folder).as_posix() for column, path in paths.items()}
        row |= {"split": splits[number]} if splits else {}
        rows.append(row | ({"lesions": str(len(case.lesions))} if healthy else {}))
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
