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

from twintrack.errors import InputError, locating
from twintrack.io.manifest import ManifestInputs, ManifestRow, ManifestRows, read_annotations, scan_manifest
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.raters import same_voxels, same_voxels_warning
from twintrack.studies.statement_rows import (
    Scored,
    StatementOptions,
    scored_by_bundle,
    scored_from_file,
    statements_of_row,
)
from twintrack.system.atomic import atomic_path, check_output_files
from twintrack.system.json_file import read_json
from twintrack.system.paths import file_sha256
from twintrack.volume import Volume, fractions

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator, ScoreSketch
    from twintrack.calibration.statements import Statements
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.settings import SegmentSettings
    from twintrack.studies.map_cases import MapCases

__all__ = ["apply_to_file", "bundle_statements", "calibration_inputs", "fit_sketch", "sketch_cases", "sketch_rows"]

_log = logging.getLogger(__name__)

Scorer = Callable[[ManifestRow, Progress, CancelToken], Scored]
"""Gives the pooled score of a row."""

ONE_FILE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Endings of volume files that keep their voxels with the header."""

MOST_RESAMPLES = 100
"""Resamples of the cases for the intervals of statements; each is kept."""

VESSEL_COLUMNS = ("vessels", "predicted_vessels")

FEWEST_CASES = 2
"""One case says nothing about the next."""

MOST_NAMED = 20
"""Cases that a warning names, and pairs of raters that are warned of."""

CALIBRATED = "probability.nii.gz"
SCORE = "score.nii.gz"
RESULT = "result.json"
"""Names in a result folder: the map, the score (with ``--keep-score``), and where it is said what the map is."""


class NoStatements(NamedTuple):
    """A case with reference vessels of which no levels could be measured."""

    case: str
    reason: str


class AlikeRaters(NamedTuple):
    """Two raters who marked the very same voxels of a case."""

    case: str
    raters: tuple[str, str]


Told = AlikeRaters | NoStatements | str
"""What must be known of a case."""


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
    statements: StatementOptions | None = None,
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
    statements : StatementOptions, optional
        How statements are measured of rows with reference ``vessels``.
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
    options = statements or StatementOptions()
    sketch = ScoreSketch.empty(domain=domain, weighting=weighting)
    manifests = [path for path in map(Path, sources) if path.suffix.lower() != ".npz"]
    for path in map(Path, sources):
        if path not in manifests:
            stored = load_sketch(path)
            with locating(path=path):
                sketch = sketch + stored
    studies = [_rows(manifest, bundle_path) for manifest in manifests]
    cases, done = sum(map(len, studies)), 0
    alike: list[Told] = []
    with _scorer(bundle_path if studies and map_cases is None else None, device, options) as score_of:
        for rows in studies:
            share = part(progress, done / cases, (done + len(rows)) / cases)
            if map_cases is None:
                _add_rows(sketch, rows, score_of, options, alike, share, cancel)
            else:
                bundle = None if bundle_path is None else str(Path(bundle_path).expanduser().absolute())
                work = partial(
                    sketch_rows,
                    bundle_path=bundle,
                    domain=domain,
                    weighting=weighting,
                    device=device,
                    statements=options,
                )
                sketch = sketch + map_cases(work, rows, share, cancel, alike.extend)
            done += len(rows)
    _warn_of(alike, warn)
    digests = {file_sha256(manifest) for manifest in manifests}
    return replace(sketch, manifests=sketch.manifests | digests)


def _warn_of(found: Sequence[Told], warn: Callable[[str], None]) -> None:
    """Warn of what was done to masks, and of each pair of raters once."""
    by_pair: dict[tuple[str, str], list[str]] = {}
    notes = [told for told in found if isinstance(told, str)]
    for note in notes[:MOST_NAMED]:
        warn(note)
    if len(notes) > MOST_NAMED:
        warn(f"{len(notes) - MOST_NAMED} more masks were brought to the grid of their case")
    reasons: dict[str, list[str]] = {}
    for told in found:
        if isinstance(told, NoStatements):
            reasons.setdefault(told.reason, []).append(told.case)
    for reason, cases in reasons.items():
        more = f" and {len(cases) - MOST_NAMED} more" if len(cases) > MOST_NAMED else ""
        warn(f"no statements are calibrated on {', '.join(cases[:MOST_NAMED])}{more}: {reason}")
    for alike in (told for told in found if isinstance(told, AlikeRaters)):
        by_pair.setdefault(alike.raters, []).append(alike.case)
    for (one, other), cases in islice(by_pair.items(), MOST_NAMED):
        more = f" and {len(cases) - MOST_NAMED} more" if len(cases) > MOST_NAMED else ""
        warn(same_voxels_warning(one, other, ", ".join(cases[:MOST_NAMED]) + more))


def _add_rows(
    sketch: ScoreSketch,
    rows: ManifestRows,
    score_of: Scorer,
    options: StatementOptions,
    alike: list[Told],
    progress: Progress,
    cancel: CancelToken,
) -> None:
    """Add the cases of a manifest to a sketch, one after the other."""
    for number, row in enumerate(rows):
        cancel.check()
        step = part(progress, number / len(rows), (number + 1) / len(rows))
        step(0.0, f"reading {row.case}")
        alike += _add(sketch, row, score_of(row, step, cancel), options)


def sketch_rows(
    rows: Sequence[ManifestRow],
    *,
    bundle_path: str | Path | None,
    domain: str,
    weighting: str,
    device: str,
    statements: StatementOptions,
) -> tuple[list[Told], ScoreSketch]:
    """Add up the sketches of some rows; the networks stay in the process for the next ones. See `sketch_cases`."""
    from twintrack.calibration import ScoreSketch

    alike: list[Told] = []
    sketch = ScoreSketch.empty(domain=domain, weighting=weighting)
    with _scorer(bundle_path, device, statements, keep=True) as score_of:
        for row in rows:
            alike += _add(sketch, row, score_of(row, no_progress, CancelToken()), statements)
    return alike, sketch


def fit_sketch(
    sketch: ScoreSketch,
    *,
    target: str = "mhr",
    rater: str | None = None,
    bins: int | None = 250,
    resamples: int = 1000,
    seed: int = 0,
    prior: Statements | None = None,
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
    prior : Statements, optional
        A bundle's own statements, to which those of a site shrink; those of other networks are not used.
    where : str
        Where the cases come from, for messages.

    Raises
    ------
    InputError
        If there are fewer than 2 cases, or nothing can be fitted on them.
    """
    from twintrack.calibration import bootstrap_band, fit_calibrator, select_bins

    if sketch.cases < FEWEST_CASES:
        raise InputError(
            f"holds {sketch.cases} case; a calibrator needs at least {FEWEST_CASES}", code="too-few-cases", where=where
        )
    choosing, resampling = part(progress, 0.0, 0.5), part(progress, 0.5, 0.9)
    with locating(where=where):
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
        statements, lacking = _statements(sketch, prior, resamples, seed, part(progress, 0.9, 1.0), cancel)
    return replace(
        calibrator,
        selection=selection,
        band=band,
        statements=statements,
        warnings=(*calibrator.warnings, *lacking, *(() if statements is None else statements.warnings)),
    )


def bundle_statements(bundle_path: str | Path | None) -> Statements | None:
    """Return the statements that a bundle brings; None without a bundle, a calibrator or statements.

    Raises
    ------
    BundleError, InputError
        If the bundle or its calibrator cannot be read.
    """
    from twintrack.bundle.archive import read_bundle_document
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.bundle.schema import parse_bundle_json
    from twintrack.calibration import read_calibrator

    if bundle_path is None:
        return None
    path = Path(bundle_path).expanduser()
    if "calibrator.json" not in parse_bundle_json(read_bundle_document(path), str(path))["files"]:
        return None  # found without unpacking a zip of gigabytes once more
    with Bundle.open(bundle_path) as bundle:
        return None if bundle.calibrator_path is None else read_calibrator(bundle.calibrator_path).statements


def _statements(
    sketch: ScoreSketch,
    prior: Statements | None,
    resamples: int,
    seed: int,
    progress: Progress,
    cancel: CancelToken | None,
) -> tuple[Statements | None, tuple[str, ...]]:
    """Fit the statements of the cases that have vessels; or say why there are none."""
    from twintrack.calibration.statements import fit_statements, lacking_cases

    table = sketch.statements
    if table is None:
        return None, ()
    lacking = lacking_cases(table)
    if lacking is not None:
        return None, (lacking,)
    fitting = prior if prior is not None and prior.key.differs_from(table.key) is None else None
    found = fit_statements(
        table,
        prior=fitting,
        resamples=min(resamples, MOST_RESAMPLES),
        seed=seed,
        rater_names=sketch.rater_names,
        progress=progress,
        cancel=cancel,
    )
    return found, ()


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
        raise InputError(
            "not the name of a volume in one file; use one that ends with .nii.gz", code="volume-ending", path=out
        )
    inputs = (score_path, calibrator_path)
    check_output_files(out, inputs=inputs, overwrite=overwrite)
    calibrator = read_calibrator(calibrator_path)
    score = _read_score(Path(score_path))
    mapped = calibrator(score.array.astype(np.float32, copy=False))
    with atomic_path(out, inputs=inputs, overwrite=overwrite) as partial:
        write_volume(score.with_array(mapped), partial)
    return calibrator


def _rows(manifest: Path, bundle_path: str | Path | None) -> ManifestRows:
    return scan_manifest(
        manifest, needs=("image",) if bundle_path else ("score",), annotated=True, optional=VESSEL_COLUMNS
    )


@contextmanager
def _scorer(
    bundle_path: str | Path | None, device: str, options: StatementOptions, *, keep: bool = False
) -> Iterator[Scorer]:
    """Yield what gives the pooled score of a row: its file, or a bundle whose networks are kept for the next row.

    With `keep` the process keeps them for later rows too.
    """
    from twintrack.bundle.model_bundle import Bundle

    if bundle_path is None:
        yield partial(_stored_score, options=options)
        return
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.io.ct import load_ct
    from twintrack.pipeline import segment
    from twintrack.settings import SegmentSettings

    plain = SegmentSettings(calibrate=False, device=device, contact_mm=options.contact_mm)
    with Bundle.open(bundle_path) as bundle:
        store = (_loaded_model() if keep else LoadedModel()).store(plain)

        def score_of(row: ManifestRow, progress: Progress, cancel: CancelToken) -> Scored:
            settings = _with_vessels(plain, row, bundle, options)
            with locating(where=row.where):
                ct = load_ct(row.files["image"], row.series, row.acquisition).volume
                found = segment(ct, bundle, settings, store=store, progress=progress, cancel=cancel)
                return scored_by_bundle(found, bundle, given=settings.vessels is not None)

        yield score_of


def _with_vessels(
    settings: SegmentSettings, row: ManifestRow, bundle: Bundle, options: StatementOptions
) -> SegmentSettings:
    """Return the settings with the vessels of a row; none where the bundle predicts them, or none are needed."""
    if "vessels" not in row.files:
        return settings
    if "predicted_vessels" in row.files:
        return replace(settings, vessels=str(row.files["predicted_vessels"]), curvas_numbers=True)
    if bundle.vessel_labels:
        return settings
    names = None if options.vessel_names is None else dict(options.vessel_names)
    return replace(settings, vessels=str(row.files["vessels"]), vessel_names=names, curvas_numbers=True)


@lru_cache(maxsize=1)
def _loaded_model() -> LoadedModel:
    """Return the model that the process keeps for later rows."""
    from twintrack.inference.loaded_model import LoadedModel

    return LoadedModel()


def _stored_score(
    row: ManifestRow,
    progress: Progress,  # noqa: ARG001
    cancel: CancelToken,  # noqa: ARG001
    *,
    options: StatementOptions,
) -> Scored:
    """Read the score of a row."""
    path = row.files["score"]
    with locating(where=row.where):
        score = _read_score(path)
        return scored_from_file(row, Volume(score.array.astype(np.float32, copy=False), score.geometry), options)


def _add(sketch: ScoreSketch, row: ManifestRow, scored: Scored, options: StatementOptions) -> list[Told]:
    """Add a case to a sketch; return the raters whose masks are the very same, and what was done to masks."""
    score = scored.score
    with locating(where=row.where):
        read, notes = read_annotations(row, score.geometry)
        masks = {rater: mask.array for rater, mask in read.items()}
        known = len(sketch.case_keys)
        sketch.add(score.array, masks)
        # A case without any score above 0 has no key, and says nothing of levels.
        if len(sketch.case_keys) > known:
            table = statements_of_row(row, scored, read, sketch.case_keys[-1], options)
            if table is not None:
                sketch.statements = table if sketch.statements is None else sketch.statements + table
    untold = [NoStatements(row.case, scored.reason)] if "vessels" in row.files and scored.reason is not None else []
    return [*(AlikeRaters(row.case, pair) for pair in same_voxels(masks)), *untold, *notes]


def _read_score(path: Path) -> Volume:
    """Read a score within [0, 1]; refuse a map that is calibrated already."""
    _refuse_calibrated(path)
    score = read_volume(path)
    with locating(path=path):
        return score.with_array(fractions(score.array, "a score"))


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
            raise InputError(
                f"is a calibrated map of twintrack, not a score; {how}{there}", code="score-calibrated", path=path
            )
