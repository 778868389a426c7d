"""Fit a calibrator on the cases of manifests, or on sketches of them, and apply one to a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twintrack.errors import InputError, TwinTrackError
from twintrack.io.manifest import ManifestInputs, ManifestRow, ManifestRows, read_annotations, scan_manifest
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.raters import same_voxels, same_voxels_warning
from twintrack.system.atomic import atomic_path, check_output_files
from twintrack.system.json_file import read_json
from twintrack.system.paths import file_sha256
from twintrack.volume import Volume, fractions

if TYPE_CHECKING:
    from twintrack.calibration import Calibrator, ScoreSketch
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.studies.map_cases import MapCases

__all__ = ["apply_to_file", "calibration_inputs", "fit_sketch", "sketch_cases", "sketch_rows"]

_log = logging.getLogger(__name__)

Scorer = Callable[[ManifestRow, Progress, CancelToken], Volume]
"""Gives the pooled score of a row."""

ONE_FILE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Endings of volume files that keep their voxels with the header."""

FEWEST_CASES = 2
"""One case says nothing about the next."""

MOST_NAMED = 20
"""Cases that a warning names, and pairs of raters that are warned of."""

CALIBRATED = "probability.nii.gz"
SCORE = "score.nii.gz"
RESULT = "result.json"
"""Names in a result folder: the map, the score (with ``--keep-score``), and where it is said what the map is."""


class AlikeRaters(NamedTuple):
    """Two raters who marked the very same voxels of a case."""

    case: str
    raters: tuple[str, str]


def calibration_inputs(sources: Sequence[str | Path], bundle_path: str | Path | None) -> ManifestInputs:
    """Return all files that a calibration reads: manifests, what they name, sketches and the bundle.

    Raises
    ------
    InputError
        If a manifest cannot be used.
    """
    manifests = [path for path in map(Path, sources) if path.suffix.lower() != ".npz"]
    further = [*map(Path, sources), *(() if bundle_path is None else (Path(bundle_path),))]
    return ManifestInputs(tuple(_rows(manifest, bundle_path) for manifest in manifests), tuple(further))


def sketch_cases(
    sources: Sequence[str | Path],
    *,
    bundle_path: str | Path | None = None,
    domain: str = "roi",
    weighting: str = "voxel",
    device: str = "auto",
    map_cases: MapCases | None = None,
    warn: Callable[[str], None] = _log.warning,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> ScoreSketch:
    """Add up the sketches of all cases, one case in memory at a time.

    Parameters
    ----------
    sources : sequence of path
        Manifests, with rows of ``score`` (or, with `bundle_path`, ``image``) and ``annotation_<NAME>`` of every rater;
        and sketches of other cases (``.npz``), made with the same `domain` and `weighting`.
    bundle_path : path, optional
        Bundle that scores the ``image`` of each row.
    domain, weighting : str
        As in `twintrack.calibration.ScoreSketch`.
    device : str
        Where the bundle's networks run.
    map_cases : MapCases
        Shares the cases out; by default one after the other in this process.
    warn : callable
        Told, at the end, of raters whose masks are the very same; with the names of the cases, which no sketch holds.

    Raises
    ------
    InputError
        If a manifest, a sketch or a file in a manifest cannot be used; the message names the row and the file.
    """
    from twintrack.calibration import ScoreSketch, load_sketch

    cancel = cancel or CancelToken()
    sketch = ScoreSketch.empty(domain=domain, weighting=weighting)
    manifests = [path for path in map(Path, sources) if path.suffix.lower() != ".npz"]
    for path in map(Path, sources):
        if path not in manifests:
            stored = load_sketch(path)
            with _named(str(path)):
                sketch = sketch + stored
    studies = [_rows(manifest, bundle_path) for manifest in manifests]
    cases, done = sum(map(len, studies)), 0
    alike: list[AlikeRaters | str] = []
    with _scorer(bundle_path if studies and map_cases is None else None, device) as score_of:
        for rows in studies:
            share = part(progress, done / cases, (done + len(rows)) / cases)
            if map_cases is None:
                _add_rows(sketch, rows, score_of, alike, share, cancel)
            else:
                bundle = None if bundle_path is None else str(Path(bundle_path).expanduser().absolute())
                work = partial(sketch_rows, bundle_path=bundle, domain=domain, weighting=weighting, device=device)
                sketch = sketch + map_cases(work, rows, share, cancel, alike.extend)
            done += len(rows)
    _warn_of(alike, warn)
    digests = {file_sha256(manifest) for manifest in manifests}
    return replace(sketch, manifests=sketch.manifests | digests)


def _warn_of(found: Sequence[AlikeRaters | str], warn: Callable[[str], None]) -> None:
    """Warn of what was done to masks, and of each pair of raters once."""
    by_pair: dict[tuple[str, str], list[str]] = {}
    notes = [told for told in found if isinstance(told, str)]
    for note in notes[:MOST_NAMED]:
        warn(note)
    if len(notes) > MOST_NAMED:
        warn(f"{len(notes) - MOST_NAMED} more masks were brought to the grid of their case")
    for alike in (told for told in found if not isinstance(told, str)):
        by_pair.setdefault(alike.raters, []).append(alike.case)
    for (one, other), cases in islice(by_pair.items(), MOST_NAMED):
        more = f" and {len(cases) - MOST_NAMED} more" if len(cases) > MOST_NAMED else ""
        warn(same_voxels_warning(one, other, ", ".join(cases[:MOST_NAMED]) + more))


def _add_rows(
    sketch: ScoreSketch,
    rows: ManifestRows,
    score_of: Scorer,
    alike: list[AlikeRaters | str],
    progress: Progress,
    cancel: CancelToken,
) -> None:
    """Add the cases of a manifest to a sketch, one after the other."""
    for number, row in enumerate(rows):
        cancel.check()
        step = part(progress, number / len(rows), (number + 1) / len(rows))
        step(0.0, f"reading {row.case}")
        alike += _add(sketch, row, score_of(row, step, cancel))


def sketch_rows(
    rows: Sequence[ManifestRow], *, bundle_path: str | Path | None, domain: str, weighting: str, device: str
) -> tuple[list[AlikeRaters | str], ScoreSketch]:
    """Add up the sketches of some rows; the networks stay in the process for the next ones. See `sketch_cases`."""
    from twintrack.calibration import ScoreSketch

    alike: list[AlikeRaters | str] = []
    sketch = ScoreSketch.empty(domain=domain, weighting=weighting)
    with _scorer(bundle_path, device, keep=True) as score_of:
        for row in rows:
            alike += _add(sketch, row, score_of(row, no_progress, CancelToken()))
    return alike, sketch


def fit_sketch(
    sketch: ScoreSketch,
    *,
    target: str = "mhr",
    rater: str | None = None,
    bins: int | None = 250,
    resamples: int = 1000,
    seed: int = 0,
    where: str = "the sketch",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Calibrator:
    """Fit a calibrator with its band.

    Parameters
    ----------
    sketch : ScoreSketch
        All calibration cases.
    target, rater
        As in `twintrack.calibration.fit_calibrator`.
    bins : int or None
        Number of bins; None chooses it by leave-case-out cross-validation.
    resamples, seed
        As in `twintrack.calibration.bootstrap_band`; without resamples there is no band.
    where : str
        Where the cases come from, for messages.

    Raises
    ------
    InputError
        If there are fewer than 2 cases, or nothing can be fitted on them.
    """
    from twintrack.calibration import bootstrap_band, fit_calibrator, select_bins

    if sketch.cases < FEWEST_CASES:
        raise InputError(f"{where}: holds {sketch.cases} case; a calibrator needs at least {FEWEST_CASES}")
    choosing, resampling = part(progress, 0.0, 0.5), part(progress, 0.5, 1.0)
    with _named(where):
        selection = None
        if bins is None:
            selection = select_bins(sketch, target=target, rater=rater, progress=choosing, cancel=cancel)
            bins = selection.chosen
        calibrator = fit_calibrator(sketch, target=target, rater=rater, bins=bins)
        band = None
        if resamples > 0:
            band = bootstrap_band(
                sketch,
                target=target,
                rater=rater,
                bins=bins,
                resamples=resamples,
                seed=seed,
                progress=resampling,
                cancel=cancel,
            )
    return replace(calibrator, selection=selection, band=band)


def apply_to_file(
    score_path: str | Path, calibrator_path: str | Path, out: str | Path, *, overwrite: bool = False
) -> Calibrator:
    """Write the calibrated map of a score volume, on the score's grid; return the calibrator.

    Where the score is 0 the map is 0, unless the calibrator was fitted on all voxels.

    Raises
    ------
    InputError
        If the score is no volume in [0, 1], the calibrator is invalid, or `out` is no name of a volume in one file.
    OutputError
        If another file lies there (unless `overwrite`), or it is the score or the calibrator.
    """
    from twintrack.calibration import read_calibrator

    if not str(out).endswith(ONE_FILE_ENDINGS):  # with capital letters SimpleITK writes other files or none
        raise InputError(f"{out}: not the name of a volume in one file; use one that ends with .nii.gz")
    inputs = (score_path, calibrator_path)
    check_output_files(out, inputs=inputs, overwrite=overwrite)
    calibrator = read_calibrator(calibrator_path)
    score = _read_score(Path(score_path))
    mapped = calibrator(score.array.astype(np.float32, copy=False))
    with atomic_path(out, inputs=inputs, overwrite=overwrite) as partial:
        write_volume(score.with_array(mapped), partial)
    return calibrator


def _rows(manifest: Path, bundle_path: str | Path | None) -> ManifestRows:
    return scan_manifest(manifest, needs=("image",) if bundle_path else ("score",), annotated=True)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say in the message of an error what the trouble is with, unless it says so."""
    try:
        yield
    except TwinTrackError as error:
        if str(error).startswith(where):
            raise
        raise type(error)(f"{where}: {error}") from error


@contextmanager
def _scorer(bundle_path: str | Path | None, device: str, *, keep: bool = False) -> Iterator[Scorer]:
    """Yield what gives the pooled score of a row: its file, or a bundle whose networks are kept for the next row.

    With `keep` the process keeps them for later rows too.
    """
    from twintrack.bundle.model_bundle import Bundle

    if bundle_path is None:
        yield _stored_score
        return
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.io.ct import load_ct
    from twintrack.pipeline import segment
    from twintrack.settings import SegmentSettings

    settings = SegmentSettings(calibrate=False, device=device)
    with Bundle.open(bundle_path) as bundle:
        store = (_loaded_model() if keep else LoadedModel()).store(settings)

        def score_of(row: ManifestRow, progress: Progress, cancel: CancelToken) -> Volume:
            with _named(row.where):
                ct = load_ct(row.files["image"], row.series).volume
                return segment(ct, bundle, settings, store=store, progress=progress, cancel=cancel).score

        yield score_of


@lru_cache(maxsize=1)
def _loaded_model() -> LoadedModel:
    """Return the model that the process keeps for later rows."""
    from twintrack.inference.loaded_model import LoadedModel

    return LoadedModel()


def _stored_score(row: ManifestRow, progress: Progress, cancel: CancelToken) -> Volume:  # noqa: ARG001
    """Read the score of a row."""
    path = row.files["score"]
    with _named(row.where):
        score = _read_score(path)
    return Volume(score.array.astype(np.float32, copy=False), score.geometry)


def _add(sketch: ScoreSketch, row: ManifestRow, score: Volume) -> list[AlikeRaters | str]:
    """Add a case to a sketch; return the raters whose masks are the very same, and what was done to masks."""
    with _named(row.where):
        read, notes = read_annotations(row, score.geometry)
        masks = {rater: mask.array for rater, mask in read.items()}
        sketch.add(score.array, masks)
    return [*(AlikeRaters(row.case, pair) for pair in same_voxels(masks)), *notes]


def _read_score(path: Path) -> Volume:
    """Read a score within [0, 1]; refuse a map that is calibrated already."""
    _refuse_calibrated(path)
    score = read_volume(path)
    try:
        return score.with_array(fractions(score.array, "a score"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _refuse_calibrated(path: Path) -> None:
    """Refuse the map of a result folder, unless the folder says that nothing was calibrated."""
    for place in {path, Path(os.path.realpath(path))}:
        document = place.with_name(RESULT)
        if place.name != CALIBRATED or not document.is_file():
            continue
        try:
            result = read_json(document)
        except (OSError, ValueError):
            continue
        if isinstance(result, dict) and result.get("calibrator") is not None:
            there = f"give {SCORE} beside it" if place.with_name(SCORE).is_file() else f"give its {SCORE}"
            how = "" if place.with_name(SCORE).is_file() else "segment again with --keep-score and "
            raise InputError(f"{path}: is a calibrated map of twintrack, not a score; {how}{there}")
