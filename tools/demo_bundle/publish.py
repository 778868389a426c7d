"""Make the demo bundle of one that was trained on the phantoms, and score it on others that nothing was fitted on.

Usage, from the repository's root, after `cases.py` and ``twintrack train FOLDER/cases.csv --out FOLDER/demo``::

    python tools/demo_bundle/publish.py --trained FOLDER/demo
    python tools/demo_bundle/publish.py                        # score the present bundle again

It writes the bundle below ``TwinTrackSeg/twintrack/data``, the logs of its networks below ``tools/demo_bundle/logs``,
and prints the table of held-out results, which it also keeps as ``tools/demo_bundle/held_out.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.bundle.model_bundle import Bundle
from twintrack.calibration import read_calibrator
from twintrack.imaging.ct_features import InputRange
from twintrack.inference import NetworkStore, localize, score_ensemble
from twintrack.phantom import PhantomCase, make_phantom
from twintrack.studies.make_bundle.card import BundleCard
from twintrack.studies.make_bundle.create import StageSource, create_bundle
from twintrack.studies.train.run import work_folder

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "TwinTrackSeg" / "twintrack" / "data" / "demo_bundle"
LOGS = HERE / "logs"
VERSION = "2.0"
DESCRIPTION = (
    "DEMO: small networks trained on synthetic phantoms only. They know no patient; on a real CT their output means "
    "nothing. They exist to try the software."
)
DISAGREEMENT_CASES = 20
"""Calibration phantoms whose members' disagreement says what is usual."""


def main() -> None:
    """Write, and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, help="the bundle that was trained; its .training folder lies beside it")
    arguments = parser.parse_args()
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    if arguments.trained is not None:
        publish(config, arguments.trained)
    store = NetworkStore("cpu")
    with Bundle.open(TARGET) as bundle:
        report([evaluate(seed, config, bundle, store) for seed in range(*config["test_seeds"])])


def publish(config: dict[str, Any], trained: Path) -> None:
    """Replace the demo bundle by the trained one, under its own name, and keep the logs."""
    with Bundle.open(trained) as bundle:
        card = BundleCard(
            name="twintrack-demo",
            version=VERSION,
            license="Apache-2.0",
            description=DESCRIPTION,
            intended_use="Trying and testing the software on phantoms. Research use only, not a medical device.",
            demo=True,
            raters=config["raters"],
            tumor_weights=bundle.tumor_weights,
            organ_labels=bundle.organ_labels,
            vessel_labels=bundle.vessel_labels,
            roi_margin_mm=bundle.roi_margin_mm,
            roi_component_fraction=bundle.roi_component_fraction,
            roi_probability=bundle.roi_probability,
            inputs=_inputs(config, bundle),
            training=bundle.training,
        )
        stages = [StageSource(bundle.stage_folder(name), bundle.folds[name]) for name in ("coarse", "fine")]
        shutil.rmtree(TARGET, ignore_errors=True)
        create_bundle(*stages, card, out=TARGET, calibrator=bundle.calibrator_path, half=True)
    shutil.rmtree(LOGS, ignore_errors=True)
    for stage, folder in (("fine", "networks"), ("coarse", "stage1")):
        (LOGS / stage).mkdir(parents=True)
        for name in ("log.csv", "loss.png"):
            shutil.copy(work_folder(trained) / folder / name, LOGS / stage / name)


def _inputs(config: dict[str, Any], bundle: Bundle) -> InputRange | None:
    """Return what the CTs looked like in training, and how far the members disagreed on calibration phantoms."""
    store, apart = NetworkStore("cpu"), []
    first = config["phantoms"]["calibration"]["seed"]
    for seed in range(first, first + DISAGREEMENT_CASES):
        ct = make_phantom(seed, raters=1).ct
        found = score_ensemble(ct, localize(ct, bundle, store=store), bundle, store=store)
        apart.append({"disagreement_ml": found.disagreement_ml or 0.0})
    return None if bundle.inputs is None else bundle.inputs.joined(InputRange.over(apart))


def evaluate(seed: int, config: dict[str, Any], bundle: Bundle, store: NetworkStore) -> dict[str, Any]:
    """Score one held-out phantom."""
    assert bundle.calibrator_path is not None
    calibrator = read_calibrator(bundle.calibrator_path)
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
