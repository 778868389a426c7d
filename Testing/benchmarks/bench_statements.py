"""How true the statements about vessels are: shown fractions of readers against the readers' own masks.

Usage::

    python Testing/benchmarks/bench_statements.py collect --cases 140 --seed 50000 --raters 15 --table TABLE.csv.gz
    python Testing/benchmarks/bench_statements.py score TABLE.csv.gz

``statement_levels.csv.gz`` beside this file is such a table: 140 phantoms, seeds 50000 to 50139; nothing was fitted on
them.

``collect`` draws phantoms and segments them from the command line, with the demo bundle unless another is named, and
keeps, for each vessel, the levels of the score, what the map says, and the contact angle of each reader's own mask with
the true vessel. ``score`` splits the cases at random, fits statements on some with five of their readers, and compares
what they say of the others with all readers there; beside it stand the map's own reading, the fraction of the vessel's
name among the calibration cases (which knows nothing of the case), and one map for all angles.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle, bundle_path
from twintrack.calibration import read_calibrator
from twintrack.calibration.statements import (
    ANGLES_DEG,
    CaseStatements,
    StatementKey,
    Statements,
    StatementTable,
    VesselCounts,
    fit_statements,
)
from twintrack.calibration.statements.families import SingleMap
from twintrack.metrics.statement_scores import CONTACT, ENCASED, VesselReading, base_rates, pit_values, statement_scores

KEY = StatementKey("0" * 64, "predicted", 1.9)
FIT_RATERS = 5

TARGETS: dict[str, tuple[float | tuple[float, float], str]] = {
    "contact: |bias|": (0.03, "most"),
    "contact: calibration error": (0.05, "most"),
    "contact: logistic slope": ((0.75, 1.33), "between"),
    "contact: Brier skill": (0.82, "least"),
    "encased: |bias|": (0.03, "most"),
    "encased: calibration error": (0.05, "most"),
    "encased: logistic slope": ((0.75, 1.33), "between"),
    "encased: Brier skill": (0.85, "least"),
    "CRPS / 360": (0.015, "most"),
    "named, 4 of 5 see it": (0.85, "least"),
    "named, 3 of 5 see it": (0.75, "least"),
    "named, at most 1 of 5": (0.05, "most"),
    "|angle bias| (degrees)": (12.0, "most"),
    "within 10-90 %": ((0.75, 0.85), "between"),
}


@dataclass(frozen=True)
class Row:
    """One vessel of one case."""

    case: str
    vessel: str
    lesion_ml: float
    slice_mm: float
    site: str
    far: int
    levels: tuple[float, ...]
    angles_deg: tuple[float, ...]
    map_over: tuple[float, ...]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    collecting = steps.add_parser("collect")
    collecting.add_argument("--cases", type=int, default=140)
    collecting.add_argument("--seed", type=int, default=50000)
    collecting.add_argument("--raters", type=int, default=15)
    collecting.add_argument("--bundle", default="demo")
    collecting.add_argument("--rater-model", default="default")
    collecting.add_argument("--table", type=Path, required=True)
    scoring = steps.add_parser("score")
    scoring.add_argument("table", type=Path)
    scoring.add_argument("--fit", type=int, default=40, help="cases to fit on; the others are tested")
    scoring.add_argument("--splits", type=int, default=20)
    scoring.add_argument("--statements", type=Path, help="calibrator.json whose statements are tested instead")
    scoring.add_argument("--by", choices=["size", "slice", "vessel"], help="also apart by this")
    scoring.add_argument("--picture", type=Path, help="reliability and PIT, as PNG")
    arguments = parser.parse_args()
    if arguments.step == "collect":
        collect(arguments)
    else:
        score(arguments)


def collect(arguments: argparse.Namespace) -> None:
    """Segment phantoms from the command line, one after the other, and keep what is needed of them."""
    rows: list[Row] = []
    for seed in range(arguments.seed, arguments.seed + arguments.cases):
        with tempfile.TemporaryDirectory() as scratch:
            rows += _collect_case(seed, Path(scratch), arguments)
        print(f"phantom {seed}: {len(rows)} vessels so far", flush=True)
        write_table(rows, arguments.table)


def _collect_case(seed: int, work: Path, arguments: argparse.Namespace) -> list[Row]:
    from twintrack.invasion import rater_contact
    from twintrack.io.volumes import read_volume
    from twintrack.labels import VESSEL_VALUES

    command = [sys.executable, "-m", "twintrack"]
    drawn = ["--cases", "1", "--seed", str(seed), "--raters", str(arguments.raters), "--out", str(work / "drawn")]
    subprocess.run(
        [*command, "phantom", *drawn, "--rater-model", arguments.rater_model], check=True, stdout=subprocess.PIPE
    )
    folder = work / "drawn" / f"phantom_{seed:05d}"
    options = ["--bundle", arguments.bundle, "--device", "cpu", "--out", str(work / "result")]
    subprocess.run([*command, "segment", str(folder / "image.nii.gz"), *options], check=True, capture_output=True)
    found = json.loads((work / "result" / "invasion.json").read_text(encoding="utf-8"))
    lesion = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["lesion"]
    vessels = read_volume(folder / "vessels.nii.gz")
    contacts = [
        rater_contact(read_volume(path), vessels, VESSEL_VALUES, contact_mm=found["contact_mm"])
        for path in sorted(
            folder.glob("annotation_*.nii.gz"), key=lambda path: int(path.name.split("_")[1].split(".")[0])
        )
    ]
    # What the voxel map says is read off the same levels: it is a rising function of the score.
    with Bundle.open(bundle_path(arguments.bundle)) as bundle:
        voxels = read_calibrator(str(bundle.calibrator_path))
    rows = []
    for name, vessel in found["vessels"].items():
        known = [contact[name] for contact in contacts if contact.get(name) is not None]
        if vessel["score_levels"] is None or not known:
            continue
        gap_mm = 30.0 if vessel["score_gap_mm"] is None else vessel["score_gap_mm"]
        levels = np.asarray(vessel["score_levels"])
        rows.append(
            Row(
                f"phantom_{seed:05d}",
                name,
                lesion["volume_ml"],
                vessels.geometry.spacing_mm[2],
                lesion["site"],
                int(gap_mm > 3) + int(gap_mm > 10),
                tuple(vessel["score_levels"]),
                tuple(0.1 if one.angle_deg is None else one.angle_deg for one in known if one is not None),
                tuple(np.where(levels > 0, voxels(levels.astype(np.float32)), 0.0).tolist()),
            )
        )
    return rows


COLUMNS = ("case", "vessel", "lesion_ml", "slice_mm", "site", "far", "levels", "angles_deg", "map_over")


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write rows as a packed CSV; series of numbers are one cell, with spaces between."""
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for row in rows:
            cells = [getattr(row, name) for name in COLUMNS]
            writer.writerow(
                [" ".join(f"{value:.4g}" for value in cell) if isinstance(cell, tuple) else cell for cell in cells]
            )


def read_table(path: Path) -> list[Row]:
    """Read what `write_table` wrote."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return [_row(cells) for cells in csv.DictReader(stream)]


def _row(cells: Mapping[str, str]) -> Row:
    def series(name: str) -> tuple[float, ...]:
        return tuple(float(text) for text in cells[name].split())

    return Row(
        cells["case"],
        cells["vessel"],
        float(cells["lesion_ml"]),
        float(cells["slice_mm"]),
        cells["site"],
        int(cells["far"]),
        tuple(np.minimum.accumulate(series("levels")).tolist()),
        series("angles_deg"),
        series("map_over"),
    )


def table_of(rows: Sequence[Row], raters: int) -> StatementTable:
    """Return the table that a calibration on these rows, with the first `raters` of each case, has."""
    cases: dict[int, dict[str, VesselCounts]] = {}
    keys = {name: number for number, name in enumerate(sorted({row.case for row in rows}))}
    for row in rows:
        angles = np.asarray(row.angles_deg[:raters])
        counts = (angles[:, None] > np.asarray(ANGLES_DEG)).sum(axis=0)
        cases.setdefault(keys[row.case], {})[row.vessel] = VesselCounts(
            row.levels, row.far, tuple(counts.tolist()), len(angles)
        )
    return StatementTable(KEY, {key: CaseStatements(vessels, {}) for key, vessels in cases.items()})


def readings(rows: Sequence[Row], over: Sequence[Sequence[float]]) -> list[VesselReading]:
    """Return rows with what was shown of them."""
    return [
        VesselReading(row.case, row.vessel, tuple(one), row.angles_deg) for row, one in zip(rows, over, strict=True)
    ]


def told(statements: Statements, rows: Sequence[Row]) -> list[VesselReading]:
    """Return rows with what statements say of them."""
    return readings(rows, [statements.vessel(row.vessel, row.levels, row.far).fraction_over for row in rows])


def split_readings(
    rows: Sequence[Row], fit: int, splits: int, shipped: Statements | None
) -> list[dict[str, list[VesselReading]]]:
    """Return, for each split, the test cases' readings by each method."""
    names = sorted({row.case for row in rows})
    found = []
    for number in range(splits):
        order = np.random.default_rng(number).permutation(len(names))
        chosen = {names[place] for place in order[:fit]}
        fitting, testing = ([row for row in rows if (row.case in chosen) == side] for side in (True, False))
        table = table_of(fitting, FIT_RATERS)
        statements = shipped or fit_statements(table, resamples=0)
        assert statements is not None
        single = fit_statements(table, families=[SingleMap], resamples=0)
        assert single is not None
        known = readings(fitting, [row.levels for row in fitting])
        known = [VesselReading(one.case, one.vessel, one.fraction_over, one.angles_deg[:FIT_RATERS]) for one in known]
        plain = readings(testing, [row.map_over for row in testing])
        found.append(
            {
                "calibrated": told(statements, testing),
                "one map for all": told(single, testing),
                "the map": plain,
                "base rate": readings(testing, base_rates(plain, known).tolist()),
            }
        )
    return found


def score(arguments: argparse.Namespace) -> None:
    """Print the table of all splits."""
    rows = [row for row in read_table(arguments.table) if row.vessel != "PORTA_SMV"]
    shipped = None
    if arguments.statements is not None:
        shipped = read_calibrator(arguments.statements).statements
    splits = split_readings(rows, arguments.fit, arguments.splits, shipped)
    cases = len({row.case for row in rows})
    print(f"{cases} cases, {arguments.splits} splits into {arguments.fit} to fit and {cases - arguments.fit} to test")
    print_methods(splits)
    if arguments.by is not None:
        print_apart(splits, rows, arguments.by)
    if arguments.picture is not None:
        draw(splits, arguments.picture)


def measures(one: Mapping[str, list[VesselReading]], method: str) -> dict[str, float]:
    """Return the measures of one method on one split."""
    found = statement_scores(one[method])
    base = statement_scores(one["base rate"])
    named = [value["share"] for value in found["named"].values()]
    return {
        **_of_one(found["contact"], base["contact"], one[method], CONTACT, "contact"),
        **_of_one(found["encased"], base["encased"], one[method], ENCASED, "encased"),
        "CRPS / 360": found["crps"],
        "named, 4 of 5 see it": _number(named[0]),
        "named, 3 of 5 see it": _number(named[1]),
        "named, at most 1 of 5": _number(named[2]),
        "|angle bias| (degrees)": _number(found["angle_bias_deg"]),
        "within 10-90 %": _number(found["within_10_90"]),
    }


def _of_one(
    found: Mapping[str, Any], base: Mapping[str, Any], told: Sequence[VesselReading], column: int, name: str
) -> dict[str, float]:
    slope, _ = logistic_slope(told, column)
    return {
        f"{name}: |bias|": _number(found["bias"]),
        f"{name}: calibration error": _number(found["calibration_error"]),
        f"{name}: calibration error of a perfect method": perfect_error(told, column),
        f"{name}: logistic slope": slope,
        f"{name}: Brier": found["brier"],
        f"{name}: Brier skill": 1 - found["brier"] / base["brier"],
        f"{name}: AUC (most readers)": auc(told, column),
        f"{name}: readers where nothing is shown": _number(found["missed"]),
    }


def logistic_slope(told: Sequence[VesselReading], column: int) -> tuple[float, float]:
    """Return the slope of the readers' answers on the logit of what is shown, and its error with cases drawn anew."""
    from sklearn.linear_model import LogisticRegression

    used = [one for one in told if one.fraction_over[column] > 0.02]
    shown = np.array([one.fraction_over[column] for one in used])
    place = np.log(np.clip(shown, 1e-3, 0.999) / np.clip(1 - shown, 1e-3, 0.999))
    seen = np.array([one.observed[column] for one in used])
    number = np.array([len(one.angles_deg) for one in used], dtype=float)
    case = np.unique([one.case for one in used], return_inverse=True)[1]

    def slope(weight: NDArray[np.float64]) -> float:
        values = np.concatenate([place, place])[:, None]
        answers = np.concatenate([np.ones(len(used)), np.zeros(len(used))])
        weights = np.concatenate([seen * number * weight, (1 - seen) * number * weight])
        return float(LogisticRegression(C=np.inf).fit(values, answers, sample_weight=weights + 1e-12).coef_[0, 0])

    random = np.random.default_rng(0)
    drawn = [
        slope(np.bincount(random.integers(0, case.max() + 1, case.max() + 1), minlength=case.max() + 1)[case])
        for _ in range(20)
    ]
    return slope(np.ones(len(used))), float(np.std(drawn))


def perfect_error(told: Sequence[VesselReading], column: int, draws: int = 50) -> float:
    """Return the calibration error that true fractions would have, with readers who differ as these do."""
    from twintrack.metrics.statement_scores import calibration_error

    used = [one for one in told if one.fraction_over[column] > 0.02]
    shown, seen = (
        np.array([pick(one) for one in used])
        for pick in (lambda one: one.fraction_over[column], lambda one: one.observed[column])
    )
    # A beta distribution of the fractions about what is shown, as wide as they are.
    spread = max(float(((seen - shown) ** 2).sum() / np.maximum((shown * (1 - shown)).sum(), 1e-9)), 1e-3)
    strength = max(1 / spread - 1, 1e-3)
    random = np.random.default_rng(0)
    drawn = [
        calibration_error(shown, random.beta(strength * shown + 1e-6, strength * (1 - shown) + 1e-6))
        for _ in range(draws)
    ]
    return float(np.mean(drawn))


def auc(told: Sequence[VesselReading], column: int) -> float:
    """Return how well what is shown ranks the vessels that most readers see above the others."""
    from sklearn.metrics import roc_auc_score

    most = [bool(one.observed[column] > 0.5) for one in told]
    return (
        float(roc_auc_score(most, [one.fraction_over[column] for one in told])) if len(set(most)) > 1 else float("nan")
    )


def print_methods(splits: Sequence[Mapping[str, list[VesselReading]]]) -> None:
    """Print each measure, mean over the splits, beside its target and the other methods."""
    methods = list(splits[0])
    found = {method: [measures(one, method) for one in splits] for method in methods}
    print(f"{'':48s}{'target':>14s}" + "".join(f"{method:>20s}" for method in methods))
    for name in found["calibrated"][0]:
        values = {method: np.array([one[name] for one in found[method]]) for method in methods}
        cells = "".join(f"{np.nanmean(value):12.3f} ± {np.nanstd(value):5.3f}" for value in values.values())
        print(f"{name:48s}{_target(name):>14s}{cells}  {_verdict(name, float(np.nanmean(values['calibrated'])))}")


def print_apart(splits: Sequence[Mapping[str, list[VesselReading]]], rows: Sequence[Row], by: str) -> None:
    """Print the main measures of groups of cases or vessels."""
    group = {(row.case, row.vessel): _group(row, by) for row in rows}
    for name in sorted(set(group.values())):
        apart = [{m: [r for r in told if group[r.case, r.vessel] == name] for m, told in one.items()} for one in splits]
        parts = [statement_scores(one["calibrated"]) for one in apart]
        base = [statement_scores(one["base rate"]) for one in apart]
        cells = [f"{by} {name:12s} {np.mean([one['vessels'] for one in parts]):6.0f} vessels"]
        for kind in ("contact", "encased"):
            bias = np.nanmean([_number(one[kind]["bias"]) for one in parts])
            brier, trivial = (np.mean([one[kind]["brier"] for one in some]) for some in (parts, base))
            cells.append(f"{kind}: bias {bias:+.3f}, Brier {brier:.4f} ({trivial:.4f})")
        cells.append(f"CRPS {np.mean([one['crps'] for one in parts]):.4f}")
        cells.append(f"within 10-90 {np.nanmean([_number(one['within_10_90']) for one in parts]):.2f}")
        print("  ".join(cells))


def _group(row: Row, by: str) -> str:
    if by == "vessel":
        return row.vessel
    if by == "slice":
        return f"{row.slice_mm:g} mm"
    return "under 6 mL" if row.lesion_ml < 6 else "6 to 18 mL" if row.lesion_ml < 18 else "over 18 mL"


def draw(splits: Sequence[Mapping[str, list[VesselReading]]], path: Path) -> None:
    """Draw readers against what is shown, and the histogram of the randomised PIT."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4.4), constrained_layout=True)
    for axis, column, title in ((axes[0], CONTACT, "contact"), (axes[1], ENCASED, "more than 180°")):
        for method, color, marker in (("the map", "#d55e00", "s"), ("calibrated", "#0072b2", "o")):
            told = [reading for one in splits for reading in one[method]]
            shown = np.array([one.fraction_over[column] for one in told])
            seen = np.array([one.observed[column] for one in told])
            edges = np.linspace(0, 1, 11)
            place = np.clip(np.digitize(shown, edges) - 1, 0, 9)
            points = [(shown[place == n].mean(), seen[place == n].mean()) for n in range(10) if (place == n).sum() > 20]
            axis.plot(*zip(*points, strict=True), marker=marker, color=color, label=method)
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        axis.set(xlabel="fraction of readers shown", ylabel="readers' own masks", title=title, xlim=(0, 1), ylim=(0, 1))
        axis.legend(frameon=False)
    told = [reading for one in splits for reading in one["calibrated"] if reading.fraction_over[CONTACT] > 0.02]
    axes[2].hist(pit_values(told), bins=20, density=True, color="#0072b2")
    axes[2].axhline(1, color="0.6", linewidth=1)
    axes[2].set(xlabel="randomised PIT of a reader's angle", title="uniform if statements are true")
    figure.savefig(path, dpi=120)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _target(name: str) -> str:
    if name not in TARGETS:
        return ""
    value, kind = TARGETS[name]
    if isinstance(value, tuple):
        return f"{value[0]:g} - {value[1]:g}"
    return f"{'<=' if kind == 'most' else '>='} {value:g}"


def _verdict(name: str, value: float) -> str:
    if name not in TARGETS:
        return ""
    target, kind = TARGETS[name]
    value = abs(value) if "|" in name else value
    met = (
        target[0] <= value <= target[1] if kind == "between" else value <= target if kind == "most" else value >= target
    )  # type: ignore[index, operator]
    return "" if met else "missed"


if __name__ == "__main__":
    main()
