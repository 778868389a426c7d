"""The strategy ``harmonizer`` with and without its parts, on phantoms whose raters have habits.

Run with ``python Testing/benchmarks/bench_harmonizer.py --out FOLDER`` (run it again to go on). Trained on the cases of
``twintrack experiment raters``: as it is, without the energy distance, and without the noise harmonizer. What was hoped
for before anything was measured stands beside each number. ``--experiment FOLDER`` takes ``comparison.csv`` of that
command's result, so that the other strategies stand beside on the same test cases.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import multiprocessing
import resource
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from harmonizer_report import CLEAN, COUNTS, write_report
from numpy.typing import NDArray
from sample_measures import (
    DEGRADATIONS,
    degraded,
    dice_table,
    entropy_sums,
    mean_distance,
    nested_outlines,
    sample_curve,
)

from twintrack.inference.slices import SliceScorer
from twintrack.studies.raters.cases import StudyCase
from twintrack.studies.raters.one_run import (
    BLOCKS,
    CaseChoice,
    RunChoice,
    harmonizer_settings,
    open_cases,
    prepared_cases,
)
from twintrack.studies.raters.scores import level_sets
from twintrack.system.json_file import read_json
from twintrack.training import Layout, Prepared, Strategy
from twintrack.training.harmonizer import HarmonizerPlan, train_harmonizer
from twintrack.training.harmonizer_settings import HarmonizerSettings

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "harmonizer": {},
    "without energy": {"energy_weight": 0.0},
    "without harmonizer": {"harmonize": "off"},
}
"""What is changed of the preset: the whole, equation 8 without its last term, and features that nothing modulates."""

PICTURED = ("harmonizer", "without energy")
OUTLINE = 0.5


@dataclass(frozen=True)
class Choice:
    """What is measured.

    Attributes
    ----------
    cases : CaseChoice
        As ``experiment raters`` has them.
    degraded : int
        Test cases that are made worse, the first ones.
    epochs : int or None
        Instead of the preset's.
    """

    cases: CaseChoice
    degraded: int
    epochs: int | None = None


def main() -> None:
    """Run, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("harmonizer-output"))
    parser.add_argument("--experiment", type=Path, help="result folder of twintrack experiment raters")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--degraded", type=int, default=50, help="test cases that are made worse")
    for split, count in (("train", 150), ("calibration", 100), ("test", 150)):
        parser.add_argument(f"--{split}", type=int, default=count, help=f"{split} cases")
    asked = parser.parse_args()
    cases = CaseChoice(train=asked.train, calibration=asked.calibration, test=asked.test)
    choice = Choice(cases, asked.degraded, asked.epochs)
    asked.out.mkdir(parents=True, exist_ok=True)
    prepared_cases(asked.out, RunChoice(Strategy.SOFT.value, 0), cases)
    wanted = [(variant, seed) for seed in range(asked.seeds) for variant in VARIANTS]
    begun = time.monotonic()
    run = functools.partial(one_run, asked.out, choice)
    with ProcessPoolExecutor(asked.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, *each) for each in wanted]):
            print(future.result(), f"after {(time.monotonic() - begun) / 60:.1f} min", flush=True)
    runs = {
        variant: {seed: read_json(_path(asked.out, variant, seed)) for seed in range(asked.seeds)}
        for variant in VARIANTS
    }
    others = (
        {} if asked.experiment is None else energy_distances(asked.experiment, [row["case"] for row in _rows(runs)])
    )
    write_report(asked.out, runs, others, {name: _path(asked.out, name, 0).with_suffix(".npz") for name in PICTURED})


def one_run(out: Path, choice: Choice, variant: str, seed: int) -> str:
    """Train one network and measure it on the test cases, unless that is done; return a line about it."""
    import torch

    torch.set_num_threads(1)
    path = _path(out, variant, seed)
    asked = {"cases": asdict(choice.cases), "degraded": choice.degraded, "epochs": choice.epochs}
    if path.is_file() and read_json(path)["asked"] == asked:
        return f"{variant}, seed {seed}: kept"
    prepared = prepared_cases(out, RunChoice(Strategy.SOFT.value, 0), choice.cases)
    settings = settings_of(choice, variant)
    layout = Layout(Strategy.HARMONIZER, prepared.raters, prepared.anatomy)
    folder = out / "trained" / path.stem
    before = time.process_time()
    trained = train_harmonizer(prepared, HarmonizerPlan(layout, settings, seed=seed), folder, device="cpu")
    train_s = time.process_time() - before
    earlier_s = read_json(path)["train_cpu_s"] if path.is_file() else 0.0  # of a network that is only measured anew
    scorer = SliceScorer(folder)
    window_hu = _window_hu(prepared)
    means = [np.mean([sizes[name] for sizes in prepared.sizes]) for name in prepared.raters]
    order = sorted(range(len(means)), key=lambda place: -means[place])
    found = open_cases(choice.cases, out / BLOCKS)
    worse = choice.degraded if variant != "without energy" else 0
    rows = []
    for number, case in enumerate(found.test):
        rows.append(measured(scorer, case, prepared.raters, order, window_hu, worse=number < worse))
    if seed == 0 and variant in PICTURED:
        keep_outlines(path.with_suffix(".npz"), scorer, found.test, prepared.raters)
    content = {
        "asked": asked,
        "train_cpu_s": train_s + earlier_s,
        "score_cpu_s": time.process_time() - before - train_s,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "alarms": trained.alarms,
        "raters": prepared.raters,
        "order": order,
        "window_hu": window_hu,
        "rows": rows,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{variant}, seed {seed}: {train_s:.0f} CPU s; {'; '.join(trained.alarms) or 'no alarm'}"


def settings_of(choice: Choice, variant: str) -> HarmonizerSettings:
    """Return the preset tiny with what the variant changes."""
    return replace(
        harmonizer_settings(RunChoice(Strategy.HARMONIZER.value, 0, epochs=choice.epochs)), **VARIANTS[variant]
    )


def measured(
    scorer: SliceScorer,
    case: StudyCase,
    raters: Sequence[str],
    order: Sequence[int],
    window_hu: tuple[float, float],
    *,
    worse: bool,
) -> dict[str, Any]:
    """Return what is measured on a case, ready for JSON."""
    ct = case.training.read().ct
    truth, _vessels = case.truth()
    masks = [truth.annotations[name].array != 0 for name in raters]
    chances, personas = scorer(ct, samples=max(COUNTS))
    samples, own = chances > OUTLINE, personas > OUTLINE
    score = chances[:16].mean(axis=0)
    tables = {"personas": dice_table(list(own), masks), "nested": dice_table(nested_outlines(score, order), masks)}
    voxel_ml = ct.geometry.voxel_ml
    row: dict[str, Any] = {
        "case": case.name,
        "curve": sample_curve(list(samples), masks, COUNTS),
        "levels": sample_curve(level_sets(score, len(masks)), masks, (len(masks),))[len(masks)],
        "levels16": sample_curve(level_sets(score, 16), masks, (16,))[16],
        "one": sample_curve([score > OUTLINE], masks, (1,))[1],
        "diversity": [mean_distance(list(samples[:16])), mean_distance(masks)],
        "persona_ml": [float(np.count_nonzero(mask)) * voxel_ml for mask in own],
        "rater_ml": [float(np.count_nonzero(mask)) * voxel_ml for mask in masks],
        "entropy": entropy_sums(score, masks),
        "dice": {CLEAN: _majority_dice(score, masks)},
    }
    for name, table in tables.items():
        row[name] = [float(np.trace(table)) / len(table), float(table[~np.eye(len(table), dtype=bool)].mean())]
    if worse:
        for kind, amount in DEGRADATIONS:
            rng = np.random.default_rng([int(case.name.rsplit("_", 1)[-1]), round(100 * amount)])
            bad = ct.with_array(degraded(ct.array, window_hu, kind, amount, rng))
            seen = scorer(bad, samples=16, raters=False)[0]
            row["dice"][f"{kind} {amount:g}"] = _majority_dice(seen.mean(axis=0), masks)
    return row


def keep_outlines(path: Path, scorer: SliceScorer, cases: Sequence[StudyCase], raters: Sequence[str]) -> None:
    """Keep outlines of the case on which raters differ most among the first 30, and its CT, for a picture."""
    drawn = [[case.truth()[0].annotations[name].array != 0 for name in raters] for case in cases[:30]]
    apart = [mean_distance(masks) if all(mask.any() for mask in masks) else 0.0 for masks in drawn]
    number = int(np.argmax(apart))
    ct = cases[number].training.read().ct
    chances, personas = scorer(ct, samples=16)
    outlines = {"samples": chances > OUTLINE, "personas": personas > OUTLINE, "raters": np.stack(drawn[number])}
    np.savez_compressed(path, allow_pickle=False, ct=ct.array, **outlines)


def energy_distances(folder: Path, cases: Sequence[str]) -> dict[str, dict[int, list[dict[str, float]]]]:
    """Return what ``comparison.csv`` of an experiment says before calibration, by strategy and seed, of the cases."""
    found: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            if line["calibration"] == "before":
                numbers = {name: float(line[name] or "nan") for name in ("ged_v", "ged_u", "own_dice", "other_dice")}
                found.setdefault(line["strategy"], {}).setdefault(int(line["seed"]), {})[line["case"]] = numbers
    return {
        strategy: {seed: [rows[case] for case in cases] for seed, rows in seeds.items()}
        for strategy, seeds in found.items()
    }


def _majority_dice(score: NDArray[np.floating], masks: Sequence[NDArray[np.bool_]]) -> float | None:
    """Return the Dice score with what more than half of the raters mark; None where that is nothing."""
    majority = np.mean(masks, axis=0) > OUTLINE
    return float(dice_table([score > OUTLINE], [majority])[0, 0]) if majority.any() else None


def _window_hu(prepared: Prepared) -> tuple[float, float]:
    """Return the window to which the network cuts a CT: percentiles 0.5 and 99.5 of the training foreground."""
    properties = prepared.plans["foreground_intensity_properties_per_channel"]["0"]
    return float(properties["percentile_00_5"]), float(properties["percentile_99_5"])


def _rows(runs: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return list(next(iter(next(iter(runs.values())).values()))["rows"])


def _path(out: Path, variant: str, seed: int) -> Path:
    return out / f"{variant.replace(' ', '-')}_{seed}.json"


if __name__ == "__main__":
    main()
