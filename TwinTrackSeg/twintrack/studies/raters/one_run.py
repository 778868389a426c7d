"""One strategy and one training seed: train, fit the calibrator, score the test cases; kept, to be done once."""

from __future__ import annotations

import functools
import json
import logging
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from twintrack import __version__
from twintrack.calibration import ScoreSketch, fit_calibrator
from twintrack.errors import OutputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.settings import DEVICES
from twintrack.studies.raters.cases import StudyCase, StudyCases, manifest_cases, phantom_cases, region_of
from twintrack.studies.raters.comparison import AFTER, BEFORE
from twintrack.studies.raters.predict import EnsembleScorer, SampleScorer, Scorer
from twintrack.studies.raters.scores import CaseTruth, RaterPrediction, case_scores
from twintrack.studies.raters.vessels import case_statements, rater_angles, statement_summary
from twintrack.studies.table1.cache import content_key
from twintrack.system.atomic import atomic_path
from twintrack.system.json_file import read_json
from twintrack.training import (
    PRESETS,
    EnsemblePlan,
    Layout,
    Member,
    Prepared,
    Preset,
    StageSettings,
    Strategy,
    plan_members,
    prepare_tumor,
    train_members,
)
from twintrack.training.harmonizer import HarmonizerPlan, train_harmonizer
from twintrack.training.harmonizer_settings import HARMONIZER_PRESETS, HarmonizerSettings
from twintrack.volume import Volume

__all__ = ["SLAB_SPACING_ZYX_MM", "CaseChoice", "RunChoice", "angles_of", "open_cases", "planned", "run_once"]

RECORDS = 1
"""Counted up when what is kept of a run changes its meaning."""

SLAB_SPACING_ZYX_MM = (2.5, 1.6, 1.6)
"""Voxels of the networks for blocks of phantoms: those of the blocks, so that nothing is resampled."""

SLAB_EPOCHS, SLAB_RATE = 40, 4e-3
"""Length and first learning rate of the preset tiny on blocks of phantoms."""

PREPARED, ANGLES, BLOCKS = "prepared", "angles.json", "blocks"

CASES_A_CHUNK = 5
"""Handed to a process at a time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseChoice:
    """Which cases; anything else than numbers and a path is made from it where it is needed.

    Attributes
    ----------
    manifest : str or None
        Real cases; None for phantoms, to which the rest applies.
    train, calibration, test, raters : int
        How many.
    panel_seed : int or None
        None: raters without habits.
    seed : int
        Chooses among disjoint sets of phantoms.
    """

    manifest: str | None = None
    train: int = 150
    calibration: int = 100
    test: int = 150
    raters: int = 5
    panel_seed: int | None = 4
    seed: int = 0


@dataclass(frozen=True)
class RunChoice:
    """One training.

    Attributes
    ----------
    strategy : str
        See `twintrack.training.Strategy`.
    seed : int
        Of the training.
    members : int
        Networks; of each rater where they belong to raters, and as many in all for label sampling.
    preset : str
        See `twintrack.training.Preset`.
    rater : str or None
        Of the strategy ``single``.
    device : str
        See `twintrack.settings.DEVICES`.
    epochs : int or None
        Instead of the preset's.
    """

    strategy: str
    seed: int
    members: int = 1
    preset: str = "tiny"
    rater: str | None = None
    device: str = DEVICES[0]
    epochs: int | None = None


@functools.lru_cache(maxsize=1)
def open_cases(choice: CaseChoice, keep: Path | None = None) -> StudyCases:
    """Return the cases of a choice; phantoms that were made are kept in the folder `keep`.

    Raises
    ------
    InputError
        If the manifest or a number cannot be used.
    """
    if choice.manifest is not None:
        return manifest_cases(choice.manifest)
    from twintrack.phantom import Slab

    return phantom_cases(
        choice.train,
        choice.calibration,
        choice.test,
        raters=choice.raters,
        panel_seed=choice.panel_seed,
        slab=Slab(),
        seed=choice.seed,
        keep=keep,
    )


def stage_of(choice: RunChoice, cases: CaseChoice) -> StageSettings:
    """Return the networks' size and the length of training."""
    stage = PRESETS[Preset(choice.preset)].fine
    if cases.manifest is None:
        stage = replace(stage, spacing_mm=SLAB_SPACING_ZYX_MM)
        if choice.preset == Preset.TINY.value:
            stage = replace(stage, epochs=SLAB_EPOCHS, rate=SLAB_RATE)
    return stage if choice.epochs is None else replace(stage, epochs=choice.epochs)


def harmonizer_settings(choice: RunChoice) -> HarmonizerSettings:
    """Return the numbers of the strategy ``harmonizer``; its second phase is as much shorter as the first."""
    settings = HARMONIZER_PRESETS[Preset(choice.preset)]
    if choice.epochs is None:
        return settings
    personal = max(1, round(settings.personal_epochs * choice.epochs / settings.stage.epochs))
    return settings.shortened(choice.epochs, personal, settings.stage.iterations)


def planned(choice: RunChoice, raters: Sequence[str]) -> tuple[Member, ...]:
    """Return the networks of a run; for label sampling as many as the raters' own are together.

    Raises
    ------
    InputError
        If the rater is unknown or there are too many.
    """
    strategy = Strategy(choice.strategy)
    several = len(raters) if strategy is Strategy.LABEL_SAMPLING else 1
    rater = choice.rater if strategy is Strategy.SINGLE else None
    return plan_members(strategy, raters, rater=rater, members=choice.members * several)


def prepared_cases(folder: Path, choice: RunChoice, cases: CaseChoice, progress: Progress = no_progress) -> Prepared:
    """Return the training cases, prepared in the folder of runs once for all strategies."""
    found = open_cases(cases, folder / BLOCKS)
    target = folder / PREPARED
    key = content_key(RECORDS, *(case.training.content for case in found.train), stage_of(choice, cases).spacing_mm)
    stamp = folder / f"{PREPARED}.key"
    if target.exists() and not stamp.is_file():
        raise OutputError(
            "is not of this experiment; choose another result folder, or remove it", code="place-taken", path=target
        )
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != key:
        shutil.rmtree(target, ignore_errors=True)
        stamp.write_text(key, encoding="utf-8")  # first: what a killed run left there is the experiment's own
    training = [case.training for case in found.train]
    return prepare_tumor(training, target, stage_of(choice, cases), progress=progress)


def angles_of(
    folder: Path, choice: CaseChoice, cancel: CancelToken, progress: Progress = no_progress, *, jobs: int = 1
) -> dict[str, Any]:
    """Return each rater's contact angle with each reference vessel, by the name of the case; measured once."""
    found = open_cases(choice, folder / BLOCKS)
    cases = (*found.calibration, *found.test)
    path = folder / f"{content_key(RECORDS, *(case.training.content for case in cases))}.{ANGLES}"
    if path.is_file():
        return dict(read_json(path))
    names = [case.name for case in cases]
    angles = {}
    for number, (name, own) in enumerate(zip(names, _measured_angles(folder, choice, len(cases), jobs), strict=True)):
        cancel.check()
        progress((number + 1) / len(cases), f"vessels of {name}")
        if own is not None:
            angles[name] = own
    _write(path, angles)
    return angles


def _measured_angles(
    folder: Path, choice: CaseChoice, count: int, jobs: int
) -> Iterator[dict[str, list[float]] | None]:
    """Yield what `_angles_of_case` gives, by several processes where more than one is asked for."""
    measure = functools.partial(_angles_of_case, folder, choice)
    if jobs == 1:
        yield from map(measure, range(count))
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(measure, range(count), chunksize=CASES_A_CHUNK)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _angles_of_case(folder: Path, choice: CaseChoice, place: int) -> dict[str, list[float]] | None:
    """Return the angles of the case at a place among calibration and test cases; None where no vessel is known."""
    found = open_cases(choice, folder / BLOCKS)
    truth, vessels = (*found.calibration, *found.test)[place].truth()
    return None if vessels is None else rater_angles(truth, vessels)


def run_once(
    folder: Path,
    choice: RunChoice,
    cases: CaseChoice,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    *,
    with_statements: bool = True,
) -> dict[str, Any]:
    """Train, calibrate and score, or return what is kept of it.

    Parameters
    ----------
    folder : Path
        Of all runs.
    choice, cases
        What to train on what.
    progress, cancel
        Told, and checked, for every step and case.
    with_statements : bool
        Whether the vessels' statements are fitted and scored; it takes a third of the scoring.

    Returns
    -------
    dict
        ``records``: by `BEFORE` and `AFTER` what `case_scores` gives of each test case; ``calibrator``; ``statements``;
        ``networks``: how many; ``warnings``.
    """
    import torch

    torch.set_num_threads(1)
    token = cancel or CancelToken()
    found = open_cases(cases, folder / BLOCKS)
    names = [case.training.content for split in (found.train, found.calibration, found.test) for case in split]
    without = () if with_statements else ("no statements",)
    sizes = harmonizer_settings(choice) if choice.strategy == Strategy.HARMONIZER.value else stage_of(choice, cases)
    key = content_key(RECORDS, __version__, asdict(choice), sizes, *names, *without)
    path = folder / f"{choice.strategy}_{choice.seed}.{key}.json"
    if path.is_file():
        return dict(read_json(path))
    prepared = prepared_cases(folder, choice, cases)
    layout = Layout(Strategy(choice.strategy), prepared.raters, prepared.anatomy)
    members = planned(choice, prepared.raters)
    trained = folder / f"{choice.strategy}_{choice.seed}.{key}"
    told: tuple[str, ...] = ()
    scorer: Scorer
    if layout.strategy is Strategy.HARMONIZER:
        drawn = HarmonizerPlan(layout, harmonizer_settings(choice), seed=choice.seed)
        own = part(progress, 0.0, 0.8)
        told = train_harmonizer(prepared, drawn, trained, device=choice.device, progress=own, cancel=token).alarms
        scorer = SampleScorer(trained, prepared.raters, cancel=token)
    else:
        plan = EnsemblePlan(layout, members, stage_of(choice, cases), seed=choice.seed)
        train_members(prepared, plan, trained, device=choice.device, progress=part(progress, 0.0, 0.8), cancel=token)
        scorer = EnsembleScorer(trained, layout, members, cancel=token)
    angles = angles_of(folder, cases, token) if with_statements else {}
    result = _scored(scorer, found, angles, part(progress, 0.8, 1.0))
    result["networks"] = len(members)
    result["warnings"] += told
    _write(path, result)
    shutil.rmtree(trained)
    return result


def _scored(scorer: Scorer, cases: StudyCases, angles: dict[str, Any], progress: Progress) -> dict[str, Any]:
    sketch, first = ScoreSketch.empty(), {}
    for number, case in enumerate(cases.calibration):
        progress(number / len(cases.calibration) / 3, f"scoring {case.name}")
        prediction, truth, vessels = _predicted(scorer, case)
        sketch.add(prediction.score, {name: mask.array for name, mask in truth.annotations.items()})
        if vessels is not None and case.name in angles:
            first[case.name] = case_statements(prediction, truth, vessels, angles[case.name])
    calibrator = fit_calibrator(sketch)
    records: dict[str, list[dict[str, Any]]] = {BEFORE: [], AFTER: []}
    second = {}
    for number, case in enumerate(cases.test):
        progress(1 / 3 + 2 * number / len(cases.test) / 3, f"scoring {case.name}")
        prediction, truth, vessels = _predicted(scorer, case)
        records[BEFORE].append(case_scores(prediction, truth))
        records[AFTER].append(case_scores(prediction, truth, np.asarray(calibrator(prediction.score))))
        if vessels is not None and case.name in angles:
            second[case.name] = case_statements(prediction, truth, vessels, angles[case.name])
    statements = statement_summary(first, second, calibrator) if first and second else None
    return {"records": records, "statements": statements, "warnings": list(calibrator.warnings)}


def _predicted(scorer: Scorer, case: StudyCase) -> tuple[RaterPrediction, CaseTruth, Volume | None]:
    volumes = case.training.read()
    truth, vessels = case.truth()
    return scorer(volumes.ct, region_of(volumes)), truth, vessels


def _write(path: Path, content: Any) -> None:
    with atomic_path(path, overwrite=True, mark=False) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
