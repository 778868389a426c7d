"""Make the demo bundle from the trained networks: fit its calibrator, write it, and score it on unseen phantoms.

Usage, after ``train.py`` has trained the coarse model and the three fine members::

    python tools/demo_bundle/build.py --coarse FIRST --fine SECOND

or, with the networks of the present bundle, when something after them has changed::

    python tools/demo_bundle/build.py --again

It scores the calibration phantoms, fits the calibrator, writes the bundle below ``TwinTrackSeg/twintrack/data`` and
prints the table of held-out results, which it also keeps as ``tools/demo_bundle/held_out.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.bundle.model_bundle import Bundle
from twintrack.calibration import Calibrator, ScoreSketch, write_calibrator
from twintrack.imaging.ct_features import InputRange, features_of
from twintrack.inference import NetworkStore, localize, score_ensemble
from twintrack.phantom import PhantomCase, make_phantom
from twintrack.studies.calibrate import fit_sketch
from twintrack.studies.make_bundle.create import BundleCard, StageSource, create_bundle

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "TwinTrackSeg" / "twintrack" / "data" / "demo_bundle"
RESULTS = {
    "coarse": "Dataset801_PhantomCoarse/PhantomTrainer__nnUNetPlans__3d_fullres",
    "fine": "Dataset802_PhantomFine/PhantomTrainer__nnUNetPlans__3d_fullres",
}
DESCRIPTION = (
    "DEMO: small networks trained on synthetic phantoms only. They know no patient; on a real CT their output means "
    "nothing. They exist to try the software."
)


def main() -> None:
    """Fit, write and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coarse", type=Path, help="the folder in which the coarse model was trained")
    parser.add_argument("--fine", type=Path, help="the folder in which the fine members were trained")
    parser.add_argument("--again", action="store_true", help="take the networks of the present bundle")
    arguments = parser.parse_args()
    if arguments.again == bool(arguments.coarse and arguments.fine):
        parser.error("give --coarse and --fine, or --again")
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        if arguments.again:
            shutil.copytree(TARGET, work / "present")
            results = {stage: work / "present" / stage for stage in RESULTS}
        else:
            results = {stage: getattr(arguments, stage) / "results" / RESULTS[stage] for stage in RESULTS}
        inputs = InputRange.over(
            features_of(make_phantom(seed, raters=1).ct.to_lps()) for seed in range(*config["calibration_seeds"])
        )
        make_bundle(config, results, work / "raw", None, inputs)
        store = NetworkStore("cpu")
        with Bundle.open(work / "raw") as bundle:
            calibrator, apart = fit(config, bundle, store)
            rows = [evaluate(seed, config, bundle, store, calibrator) for seed in range(*config["test_seeds"])]
        write_calibrator(calibrator, work / "calibrator.json")
        shutil.rmtree(TARGET, ignore_errors=True)
        make_bundle(config, results, TARGET, work / "calibrator.json", inputs.joined(apart))
    report(rows)


def make_bundle(
    config: dict[str, Any], results: dict[str, Path], out: Path, calibrator: Path | None, inputs: InputRange
) -> None:
    """Write the bundle to `out`."""
    card = BundleCard(
        name="twintrack-demo",
        version="1.1",
        license="Apache-2.0",
        description=DESCRIPTION,
        intended_use="Trying and testing the software on phantoms. Research use only, not a medical device.",
        demo=True,
        raters=config["raters"],
        vessel_labels={"PORTA": "portal_vein", "SMV": "smv", "AORTA": "aorta", "CELIAC": "celiac", "SMA": "sma"},
        roi_margin_mm=config["roi_margin_mm"],
        roi_probability=config["roi_probability"],
        inputs=inputs,
    )
    create_bundle(
        StageSource(results["coarse"], ("0",)),
        StageSource(results["fine"], tuple(str(fold) for fold in config["fine"]["folds"])),
        card,
        out=out,
        calibrator=calibrator,
        half=True,
    )


def fit(config: dict[str, Any], bundle: Bundle, store: NetworkStore) -> tuple[Calibrator, InputRange]:
    """Score the calibration phantoms and fit the map to their raters; return it and how far the members disagreed."""
    sketch, apart = ScoreSketch.empty(), []
    for seed in range(*config["calibration_seeds"]):
        case = make_phantom(seed, raters=config["raters"])
        roi = localize(case.ct, bundle, store=store)
        found = score_ensemble(case.ct, roi, bundle, store=store)
        apart.append({"disagreement_ml": found.disagreement_ml or 0.0})
        score = found.score_volume(case.ct.geometry)
        sketch.add(score.array, [mask.array for mask in case.annotations])
        print(f"calibration phantom {seed} scored", flush=True)
    calibrator = fit_sketch(sketch)
    print("calibrator:", calibrator.warnings or "no warning", flush=True)
    return calibrator, InputRange.over(apart)


def evaluate(
    seed: int, config: dict[str, Any], bundle: Bundle, store: NetworkStore, calibrator: Calibrator
) -> dict[str, Any]:
    """Score one held-out phantom."""
    case = make_phantom(seed, raters=config["raters"])
    roi = localize(case.ct, bundle, store=store)
    found = score_ensemble(case.ct, roi, bundle, store=store)
    drawn = np.sum([mask.array for mask in case.annotations], axis=0)
    truth = case.true_mhr.array[roi.slices]
    calibrated = np.where(roi.mask, calibrator(found.score), 0)
    inside, ambiguous = roi.mask, roi.mask & (truth > 0.1) & (truth < 0.9)
    majority = drawn > config["raters"] / 2
    predicted = roi.paste(calibrated, case.ct.geometry) >= 0.5
    row = {
        "seed": seed,
        "site": case.lesion.site,
        "volume_ml": case.lesion.volume_ml,
        "shift": asdict(case.lesion)["shift"],
        "roi_recall": _recall(drawn > 0, roi.paste(roi.mask, case.ct.geometry)),
        "dice": 2 * np.sum(predicted & majority) / (np.sum(predicted) + np.sum(majority)),
        "mae_score": np.abs(found.score - truth)[inside].mean(),
        "mae_mhr": np.abs(calibrated - truth)[inside].mean(),
        "mae_score_ambiguous": np.abs(found.score - truth)[ambiguous].mean(),
        "mae_mhr_ambiguous": np.abs(calibrated - truth)[ambiguous].mean(),
    } | _vessel_dice(case, found, roi)
    row = {key: value if isinstance(value, (int, str)) else round(float(value), 5) for key, value in row.items()}
    print(row, flush=True)
    return row


def report(rows: list[dict[str, Any]]) -> None:
    """Print means and extremes, and keep the rows."""
    (HERE / "held_out.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{'':22} {'mean':>9} {'min':>9} {'max':>9}")
    for key in [key for key in rows[0] if key not in ("seed", "site")]:
        values = [row[key] for row in rows]
        print(f"{key:22} {np.mean(values):9.4f} {np.min(values):9.4f} {np.max(values):9.4f}")
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    print(f"bundle: {size / 1e6:.2f} MB")


def _recall(union: np.ndarray, mask: np.ndarray) -> float:
    return float((union & mask).sum() / union.sum())


def _vessel_dice(case: PhantomCase, found: Any, roi: Any) -> dict[str, float]:
    dice = {}
    for name, value in found.vessel_values.items():
        truth = case.vessels.array[roi.slices] == {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5}[name]
        predicted = found.vessels == value
        dice[f"dice_{name}"] = 2 * np.sum(truth & predicted) / max(1, np.sum(truth) + np.sum(predicted))
    return dice


if __name__ == "__main__":
    main()
