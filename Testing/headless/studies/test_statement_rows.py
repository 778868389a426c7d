"""Statements from manifests: which rows give any, what vouches for a score, and what bad input ends in."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytic_vessels import make_tube
from expected_errors import raises_error
from twintrack.calibration import load_sketch, save_sketch, write_calibrator
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.results.measure_again import measure_files
from twintrack.studies.calibrate import fit_sketch, sketch_cases
from twintrack.studies.statement_rows import StatementOptions
from twintrack.system.paths import file_sha256
from twintrack.volume import Geometry, Volume

NETWORKS = "ab" * 32
NAMES = {"SMA": 5}


def write_case(folder: Path, number: int, *, networks: str | None = NETWORKS, raters: int = 3) -> dict[str, str]:
    """Write a result folder with its score and vessels, and raters who see a wider or a narrower contact."""
    random = np.random.default_rng(number)
    angle, level = float(random.uniform(40, 320)), float(random.uniform(0.2, 0.95))
    tube = make_tube(radius_mm=5.0, angle_deg=angle, spacing_mm=(2.0, 2.0, 2.0), level=level, size_mm=32.0, seed=number)
    vessel = tube.vessel.with_array(np.where(tube.vessel.array > 0, 5, 0).astype(np.uint8))
    case = folder / f"case{number}"
    case.mkdir(parents=True)
    # As a softmax gives it: nowhere exactly 0 where the networks looked.
    score = tube.probability.with_array(np.maximum(tube.probability.array, 1e-4).astype(np.float32))
    write_volume(score, case / "score.nii.gz")
    write_volume(vessel, case / "vessels.nii.gz", names=NAMES)
    if networks is not None:
        write_result(case, networks)
    row = {"case": f"c{number}", "score": f"case{number}/score.nii.gz", "vessels": f"case{number}/reference.nii.gz"}
    write_volume(vessel, case / "reference.nii.gz", names=NAMES)
    for rater in range(raters):
        seen = raters == 1 or random.uniform() < level
        drawn = make_tube(
            radius_mm=5.0, angle_deg=angle * seen, spacing_mm=(2.0, 2.0, 2.0), size_mm=32.0, seed=number
        ).probability
        row[f"annotation_{rater + 1}"] = f"case{number}/rater{rater}.nii.gz"
        mask = (drawn.array >= 0.5).astype(np.uint8)
        write_volume(drawn.with_array(mask), case / f"rater{rater}.nii.gz")
    return row


def write_result(case: Path, networks: str) -> None:
    """Write what `twintrack segment --keep-score` says beside a score."""
    said = {
        "settings": {},
        "bundle": {"networks_sha256": networks},
        "score_sha256": file_sha256(case / "score.nii.gz"),
        "vessels_sha256": file_sha256(case / "vessels.nii.gz"),
    }
    (case / "result.json").write_text(json.dumps(said), encoding="utf-8")


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("cohort")
    return folder, [write_case(folder, number) for number in range(12)]


@pytest.fixture(scope="module")
def calibrator(cohort: tuple[Path, list[dict[str, str]]]) -> Any:
    folder, rows = cohort
    return fit_sketch(sketch_cases([write_manifest(folder / "all.csv", rows)]), bins=10, resamples=3)


@pytest.mark.slow
def test_a_manifest_with_vessels_gives_statements(calibrator: Any) -> None:
    found = calibrator.statements
    assert (found.key.networks_sha256, found.key.vessel_source, found.key.contact_mm) == (NETWORKS, "predicted", 1.9)
    assert (found.cases, found.raters, found.rater_names) == (12, 3, ("1", "2", "3"))
    assert len(found.resampled) == 3


@pytest.mark.slow
def test_tables_of_two_manifests_are_one_and_a_case_counts_once(
    cohort: tuple[Path, list[dict[str, str]]], calibrator: Any, tmp_path: Path
) -> None:
    folder, rows = cohort
    halves = [write_manifest(folder / f"half{n}.csv", part) for n, part in enumerate((rows[:6], rows[6:]))]
    save_sketch(sketch_cases([halves[0]]), tmp_path / "first.npz")
    joined = sketch_cases([tmp_path / "first.npz", halves[1]])
    assert joined.statements == sketch_cases([folder / "all.csv"]).statements
    twice = sketch_cases([tmp_path / "first.npz", folder / "all.csv"])
    assert len(twice.statements.cases) == 12
    assert load_sketch(tmp_path / "first.npz").statements == sketch_cases([halves[0]]).statements
    assert fit_sketch(joined, bins=10, resamples=0).statements.fitted == calibrator.statements.fitted


def test_a_score_that_nothing_vouches_for_gives_none_and_is_named(tmp_path: Path) -> None:
    rows = [write_case(tmp_path, number, networks=None) for number in range(2)]
    told: list[str] = []
    sketch = sketch_cases([write_manifest(tmp_path / "m.csv", rows)], warn=told.append)
    assert sketch.statements is None
    assert any("c0, c1" in text and "result.json" in text for text in told)


def test_an_altered_score_is_not_vouched_for(tmp_path: Path) -> None:
    row = write_case(tmp_path, 1)
    place = tmp_path / row["score"]
    score = read_volume(place)
    write_volume(score.with_array((0.5 * score.array).astype(np.float32)), place)
    told: list[str] = []
    assert sketch_cases([write_manifest(tmp_path / "m.csv", [row])], warn=told.append).statements is None
    assert told


@pytest.mark.slow
def test_scores_of_two_networks_are_refused_in_one_sentence(tmp_path: Path) -> None:
    rows = [write_case(tmp_path, 1), write_case(tmp_path, 2, networks="cd" * 32)]
    with raises_error(InputError, "statements-differ"):
        sketch_cases([write_manifest(tmp_path / "m.csv", rows)])


@pytest.mark.slow
def test_given_vessels_are_another_source(cohort: tuple[Path, list[dict[str, str]]], tmp_path: Path) -> None:
    folder, rows = cohort
    given = [row | {"predicted_vessels": row["vessels"]} for row in rows[:2]]
    sketch = sketch_cases([write_manifest(folder / "given.csv", given)], statements=StatementOptions(contact_mm=2.5))
    assert (sketch.statements.key.vessel_source, sketch.statements.key.contact_mm) == ("given", 2.5)


def test_reference_vessels_elsewhere_are_refused_with_row_and_file(tmp_path: Path) -> None:
    row = write_case(tmp_path, 1)
    far = Geometry((24, 24, 24), (1.5, 1.5, 1.5), (500.0, 0.0, 0.0))
    write_volume(Volume(np.full((24, 24, 24), 5, dtype=np.uint8), far), tmp_path / row["vessels"], names=NAMES)
    with raises_error(InputError, "grid-differs", "m.csv", "reference.nii.gz"):
        sketch_cases([write_manifest(tmp_path / "m.csv", [row])])


@pytest.mark.slow
def test_too_few_cases_fit_a_map_and_no_statements_and_say_so(cohort: tuple[Path, list[dict[str, str]]]) -> None:
    folder, rows = cohort
    found = fit_sketch(sketch_cases([write_manifest(folder / "few.csv", rows[:4])]), bins=10, resamples=0)
    assert found.statements is None
    assert any("statements about vessels need 10" in warning for warning in found.warnings)


@pytest.mark.slow
def test_one_rater_is_enough(tmp_path: Path) -> None:
    rows = [write_case(tmp_path, number, raters=1) for number in range(10)]
    found = fit_sketch(sketch_cases([write_manifest(tmp_path / "m.csv", rows)]), bins=10, resamples=0)
    assert found.statements.raters == 1


@pytest.mark.slow
def test_invasion_states_only_what_a_result_vouches_for(
    cohort: tuple[Path, list[dict[str, str]]], calibrator: Any, tmp_path: Path
) -> None:
    folder, rows = cohort
    file = tmp_path / "calibrator.json"
    write_calibrator(calibrator, file)
    case = folder / "case3"
    score, vessels = case / "score.nii.gz", case / "vessels.nii.gz"
    stated = measure_files(score, vessels, None, tmp_path / "score.json", calibrator=file)
    assert stated["statements"] == stated["vessels"]["SMA"]["statements"] == "calibrated"
    any_tumour = calibrator.statements.other("any_tumour", float(read_volume(score).array.max()))
    most = 1.0 if any_tumour is None else float(any_tumour)
    expected = calibrator.statements.vessel("SMA", tuple(stated["vessels"]["SMA"]["score_levels"]), 0, most)
    assert stated["vessels"]["SMA"]["p_contact"] == pytest.approx(expected.p_contact, abs=1e-3)
    plain = measure_files(score, vessels, None, tmp_path / "plain.json")
    mask = measure_files(case / "rater0.nii.gz", vessels, None, tmp_path / "mask.json", calibrator=file)
    given = measure_files(score, folder / rows[3]["vessels"], None, tmp_path / "given.json", calibrator=file)
    wide = measure_files(score, vessels, None, tmp_path / "wide.json", calibrator=file, contact_mm=3.0)
    for other, said in ((plain, ""), (mask, "vouches"), (given, "given"), (wide, "contact distance")):
        assert other["statements"] == other["vessels"]["SMA"]["statements"] == "map"
        assert other["statements_note"].startswith("read from the map, not calibrated")
        assert said in other["statements_note"]
