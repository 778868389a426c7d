"""The experiment on several raters: all strategies trained on the same cases, compared on cases that none has seen."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twintrack import __version__
from twintrack.metrics.size_ranks import size_rank_p_value
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.studies.raters.comparison import AFTER, BEFORE, METRICS, compare, summarize_runs
from twintrack.studies.raters.one_run import (
    CaseChoice,
    RunChoice,
    angles_of,
    open_cases,
    planned,
    prepared_cases,
    run_once,
)
from twintrack.studies.raters.report import FILES, write_report
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.paths import file_sha256
from twintrack.training import Strategy, check_raters, raters_of

__all__ = ["COMPARED", "RatersSettings", "run_raters"]

COMMAND = "raters"

RUN_FOLDER = "runs"
"""Folder in the result folder with what is kept of every training."""

COMPARED = (
    (Strategy.RATER_SPECIFIC, Strategy.LABEL_SAMPLING, ("mr_ece", "mae_ambiguous", "ged_v", "d_ece", "tdsc")),
    (Strategy.SOFT, Strategy.SINGLE, ("mr_ece", "mae_ambiguous", "ged_v_levels", "tdsc")),
    (Strategy.RATER_SPECIFIC, Strategy.SINGLE, ("mr_ece", "mae_ambiguous", "tdsc")),
    (Strategy.ORDINAL, Strategy.SINGLE, ("mr_ece", "mae_ambiguous", "tdsc")),
    (Strategy.ORDINAL, Strategy.SOFT, ("mr_ece", "mae_ambiguous", "tdsc")),
    (Strategy.HEADS, Strategy.RATER_SPECIFIC, ("mr_ece", "mae_ambiguous", "ged_v", "tdsc")),
    (Strategy.HARMONIZER, Strategy.SOFT, ("mr_ece", "mae_ambiguous", "ged_v", "tdsc")),
    (Strategy.HARMONIZER, Strategy.RATER_SPECIFIC, ("mr_ece", "ged_v", "own_dice", "other_dice")),
    (Strategy.HARMONIZER, Strategy.HEADS, ("ged_v", "own_dice")),
)
"""Pairs of strategies whose ratios are told, and of which metrics: fixed before anything was measured."""


@dataclass(frozen=True)
class RatersSettings:
    """What can be chosen for one experiment.

    Attributes
    ----------
    strategies : tuple of Strategy
        Those to compare.
    seeds : int
        Trainings of each strategy.
    members : int
        Networks of a training; of each rater where they belong to raters, and as many in all for label sampling.
    preset : str
        Size of the networks.
    epochs : int or None
        Instead of the preset's.
    rater : str or None
        Of the strategy ``single``; by default the one in the middle.
    bootstrap : int
        Resamples of the test cases.
    seed : int
        First training seed; also chooses the phantoms.
    device : str
        See `twintrack.settings.DEVICES`.
    jobs : int
        Trainings at a time, each on one core.
    """

    strategies: tuple[Strategy, ...] = tuple(Strategy)
    seeds: int = 1
    members: int = 1
    preset: str = "tiny"
    epochs: int | None = None
    rater: str | None = None
    bootstrap: int = 2000
    seed: int = 0
    device: str = "auto"
    jobs: int = 2


def run_raters(
    out: str | Path,
    cases: CaseChoice,
    settings: RatersSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Train, calibrate and score every strategy, and write the comparison; return the result folder.

    What is done of a training is kept in the folder ``runs`` and found again by its cases, settings and version, so a
    run that was killed goes on.

    Parameters
    ----------
    out : path
        Result folder; `twintrack.studies.raters.report.FILES` names what is written when all trainings are done.
    cases : CaseChoice
        Phantoms or a manifest.
    settings : RatersSettings, optional
        Numbers of the experiment.
    overwrite : bool
        Whether other files at the places of the result's are replaced.

    Raises
    ------
    InputError
        If the cases or a setting cannot be used.
    Cancelled
        If `cancel` was triggered; what is done stays.
    """
    settings, token = settings or RatersSettings(), cancel or CancelToken()
    found = open_cases(cases)
    raters = raters_of([case.training for case in found.train])
    rater = settings.rater or raters[len(raters) // 2]
    choices = [
        RunChoice(
            strategy.value,
            settings.seed + place,
            members=settings.members,
            preset=settings.preset,
            rater=rater,
            device=settings.device,
            epochs=settings.epochs,
        )
        for place in range(settings.seeds)
        for strategy in settings.strategies
    ]
    for choice in choices:
        planned(choice, raters)  # refuses before anything is written
    if cases.manifest is not None and len(raters) < 2:
        check_raters(Strategy.SOFT, dict.fromkeys(raters, len(found.train)), None)
    inputs = () if cases.manifest is None else (Path(cases.manifest),)
    check_output_folder(out, FILES, command=COMMAND, inputs=inputs, overwrite=overwrite)
    folder = Path(out) / RUN_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepared_cases(folder, choices[0], cases, part(progress, 0.0, 0.05))
    cases_of = {name: sum(name in case.raters for case in prepared.cases) for name in raters}
    warnings = list(check_raters(Strategy.RATER_SPECIFIC, cases_of, size_rank_p_value(prepared.sizes)))
    angles_of(folder, cases, token, part(progress, 0.05, 0.1), jobs=settings.jobs)
    done = _all_runs(folder, choices, cases, settings, part(progress, 0.1, 0.97), token)
    progress(0.97, "resampling cases")
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    told: dict[str, list[str]] = {}
    for choice, result in zip(choices, done, strict=True):
        runs.setdefault(choice.strategy, {})[choice.seed] = result["records"]
        for text in result["warnings"]:
            told.setdefault(text, []).append(choice.strategy)
    summary = {
        **_about(cases, settings, raters, rater),
        "networks": {choice.strategy: result["networks"] for choice, result in zip(choices, done, strict=True)},
        "strategies": summarize_runs(runs, resamples=settings.bootstrap, seed=settings.seed),
        "comparisons": _comparisons(runs, settings),
        "statements": {
            choice.strategy: result["statements"]
            for choice, result in zip(choices, done, strict=True)
            if choice.seed == settings.seed
        },
        "warnings": warnings + [f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in told.items()],
    }
    with atomic_folder(out, command=COMMAND, last="summary.json", inputs=inputs, overwrite=overwrite) as target:
        write_report(target, summary, runs, [case.name for case in found.test])
    progress(1.0, "experiment written")
    return Path(out)


def _all_runs(
    folder: Path,
    choices: Sequence[RunChoice],
    cases: CaseChoice,
    settings: RatersSettings,
    progress: Progress,
    cancel: CancelToken,
) -> list[dict[str, Any]]:
    """Return the results in the order of the choices; several processes, where more than one is asked for.

    Statements are told of the first training seed alone.
    """
    first = [choice.seed == settings.seed for choice in choices]
    if settings.jobs == 1:
        results = []
        for number, choice in enumerate(choices):
            cancel.check()
            own = part(progress, number / len(choices), (number + 1) / len(choices))
            results.append(run_once(folder, choice, cases, own, cancel, with_statements=first[number]))
        return results
    found: dict[int, dict[str, Any]] = {}
    # Processes that begin anew: a fork would share torch's threads.
    with ProcessPoolExecutor(settings.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        begun = {
            pool.submit(run_once, folder, choice, cases, with_statements=first[place]): place
            for place, choice in enumerate(choices)
        }
        try:
            for future in as_completed(begun):
                place = begun[future]
                found[place] = future.result()
                choice = choices[place]
                progress(
                    len(found) / len(choices),
                    f"{choice.strategy}, seed {choice.seed} done ({len(found)} of {len(choices)})",
                )
                cancel.check()
        finally:
            for future in begun:
                future.cancel()
    return [found[place] for place in range(len(choices))]


def _comparisons(runs: Mapping[str, Any], settings: RatersSettings) -> list[dict[str, Any]]:
    return [
        one
        for strategy, against, metrics in COMPARED
        if strategy.value in runs and against.value in runs
        for metric in metrics
        for when in (BEFORE, AFTER)
        if (
            one := compare(
                runs, strategy.value, against.value, metric, when, resamples=settings.bootstrap, seed=settings.seed
            )
        )
        is not None
    ]


def _about(cases: CaseChoice, settings: RatersSettings, raters: Sequence[str], rater: str) -> dict[str, Any]:
    """Return what the experiment was made of, for ``summary.json``."""
    found = open_cases(cases)
    data: dict[str, Any] = {"kind": found.source}
    if cases.manifest is not None:
        data |= {"name": Path(cases.manifest).name, "sha256": file_sha256(Path(cases.manifest))}
    else:
        data |= {"panel_seed": cases.panel_seed, "case_seed": cases.seed}
    if found.panel is not None:
        data["habits"] = {name: asdict(habits) for name, habits in found.panel.habits.items()}
    return {
        "schema": 1,
        "version": __version__,
        "data": data,
        "cases": {name: len(getattr(found, name)) for name in ("train", "calibration", "test")},
        "raters": list(raters),
        "single_rater": rater,
        "preset": settings.preset,
        "epochs": settings.epochs,
        "seeds": [settings.seed + place for place in range(settings.seeds)],
        "bootstrap": settings.bootstrap,
        "metrics": {metric.name: metric.title for metric in METRICS},
    }
