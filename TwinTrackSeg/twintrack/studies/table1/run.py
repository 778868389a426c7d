"""The paper's experiment: one segmenter, four calibration targets, all metrics on cases that the fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack import __version__
from twintrack.errors import InputError, locating
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.raters import checked_name, name_order
from twintrack.studies.table1.cache import ExperimentStore
from twintrack.studies.table1.cases import StudyCase, manifest_cases, phantom_cases
from twintrack.studies.table1.report import FILES, REFERENCE, UNCALIBRATED, write_report
from twintrack.studies.table1.score_cases import ExperimentRun
from twintrack.studies.table1.vessel_statements import summarize_statements
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.paths import file_sha256

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.calibration import Calibrator, ScoreSketch
    from twintrack.calibration.statements import Statements

__all__ = ["CASES", "TESTS", "Table1Settings", "run_table1"]

CASES, TESTS = 40, 64
"""Calibration and test cases of the paper."""

COMMAND = "table1"
MOST_NAMED = 8
"""Raters that a message names."""

CASE_FOLDER = "cases"
"""Folder in the result folder with what is kept of every case."""


@dataclass(frozen=True)
class Table1Settings:
    """What can be chosen for one experiment.

    Attributes
    ----------
    cases, tests : int
        Phantoms to calibrate and to test on; not used with a manifest.
    bins : int
        Equal-mass bins of every calibrator.
    rater : str
        Name of the rater of the row ``single-rater``.
    bootstrap, seed : int
        Resamples of the test cases; the seed also chooses among disjoint sets of phantoms.
    device : str
        See `twintrack.settings.DEVICES`.
    """

    cases: int = CASES
    tests: int = TESTS
    bins: int = 250
    rater: str = "1"
    bootstrap: int = 5000
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rater", checked_name(self.rater))
        if self.bootstrap < 1:
            raise InputError(
                f"the number of bootstrap resamples must be at least 1, got {self.bootstrap}", code="resamples-range"
            )
        if self.seed < 0:
            raise InputError(f"the seed must not be negative, got {self.seed}", code="seed-range")


def run_table1(
    out: str | Path,
    settings: Table1Settings | None = None,
    *,
    bundle_path: str | Path | None = None,
    manifest: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Fit the paper's calibrators on the calibration cases, score the test cases with each; return the result folder.

    One case is in memory at a time, the networks are loaded once. What is done of a case is kept in the folder
    ``cases`` and found again by its content, the bundle and the version, so a run that was killed goes on.

    Parameters
    ----------
    out : path
        Result folder; `twintrack.studies.table1.report.FILES` names what is written when all cases are done.
    settings : Table1Settings, optional
        Numbers of the experiment.
    bundle_path : path, optional
        The segmenter; the demo bundle by default, which knows phantoms only.
    manifest : path, optional
        Real cases instead of phantoms, see `twintrack.studies.table1.cases.manifest_cases`.
    overwrite : bool
        Whether other files at the places of the result's are replaced; never those that are read.

    Raises
    ------
    InputError, BundleError
        If the manifest, a file in it, the bundle or a setting cannot be used.
    Cancelled
        If `cancel` was triggered.
    """
    from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
    from twintrack.inference import NetworkStore

    settings = settings or Table1Settings()
    if manifest is None:
        first, second = phantom_cases(settings.cases, settings.tests, seed=settings.seed)
    elif bundle_path is None:
        raise InputError(
            "real cases need a bundle that knows patients (--bundle); the demo one does not",
            code="bundle-needed",
            path=manifest,
        )
    else:
        first, second = manifest_cases(manifest)
    where = str(manifest or "phantoms")
    given = [Path(path) for path in (manifest, bundle_path) if path is not None]
    inputs = (*given, *(path for case in (*first, *second) for path in case.files))
    check_output_folder(out, FILES, command=COMMAND, inputs=inputs, overwrite=overwrite)
    if not any(settings.rater in case.raters for case in first):
        names = sorted({rater for case in first for rater in case.raters}, key=name_order)
        shown = f"{', '.join(names[:MOST_NAMED])}{' ...' if len(names) > MOST_NAMED else ''}"
        raise InputError(
            f"rater {settings.rater} drew no calibration case; choose another one: {shown}",
            code="rater-unknown",
            where=where,
        )
    share = 0.98 * len(first) / (len(first) + len(second))
    bundle = Bundle.open(bundle_path or demo_bundle_path())
    try:
        run = ExperimentRun(
            bundle,
            NetworkStore(settings.device),
            ExperimentStore(Path(out) / CASE_FOLDER, inputs),
            device=settings.device,
            cancel=cancel or CancelToken(),
        )
        sketch = run.sketch(first, part(progress, 0.0, share))
        calibrators = _fit(sketch, settings, manifest)
        found = run.score(second, calibrators, part(progress, share, 0.98))
        about = _about(settings, bundle, manifest, first, second)
        vessels = summarize_statements(
            run.vessels_of(first),
            run.vessels_of(second),
            calibrators[REFERENCE],
            _bundle_statements(bundle),
            bundle.networks_sha256,
        )
    finally:
        bundle.close()
    if not any(case.rows[UNCALIBRATED]["raters_ml"] for case in found):
        raise InputError(
            "no annotation of any test case holds tumour, so there is nothing to compare with",
            code="no-tumour-marked",
            where=where,
        )
    progress(0.98, "resampling cases")
    with atomic_folder(out, command=COMMAND, last="summary.json", inputs=inputs, overwrite=overwrite) as folder:
        write_report(folder, found, calibrators, {**about, "vessels": vessels})
    progress(1.0, "experiment written")
    return Path(out)


def _bundle_statements(bundle: Bundle) -> Statements | None:
    from twintrack.calibration import read_calibrator

    return None if bundle.calibrator_path is None else read_calibrator(bundle.calibrator_path).statements


def _fit(sketch: ScoreSketch, settings: Table1Settings, manifest: str | Path | None) -> dict[str, Calibrator]:
    """Return the calibrators by the name of their row, in the paper's order."""
    from twintrack.calibration import fit_calibrator

    digest = None if manifest is None else file_sha256(Path(manifest))
    rows = {"single-rater": settings.rater, "hard-label": None, "mhr": None}
    with locating(where=str(manifest or "phantoms")):
        return {
            target: fit_calibrator(sketch, target=target, rater=rater, bins=settings.bins, manifest_sha256=digest)
            for target, rater in rows.items()
        }


def _about(
    settings: Table1Settings,
    bundle: Bundle,
    manifest: str | Path | None,
    first: Sequence[StudyCase],
    second: Sequence[StudyCase],
) -> dict[str, Any]:
    """Return what the experiment was made of, for ``summary.json``."""
    if manifest is None:
        data = {"kind": "phantoms", "calibration": [first[0].name, first[-1].name]}
        data["test"] = [second[0].name, second[-1].name]
    else:
        data = {"kind": "manifest", "name": Path(manifest).name, "sha256": file_sha256(Path(manifest))}
    return {
        "schema": 1,
        "version": __version__,
        "data": data,
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256, "demo": bundle.demo},
        "calibration_cases": len(first),
        "test_cases": len(second),
        "bins": settings.bins,
        "single_rater": settings.rater,
        "bootstrap": settings.bootstrap,
        "seed": settings.seed,
    }
