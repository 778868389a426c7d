"""`twintrack experiment table1`: from images to the table, and on from where it was stopped."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.calibration import ScoreSketch, fit_calibrator, read_calibrator
from twintrack.cli.app import run_command
from twintrack.errors import Cancelled, InputError
from twintrack.inference import NetworkStore
from twintrack.io.volumes import read_volume, write_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.metrics import evaluate_case
from twintrack.pipeline import segment
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.settings import SegmentSettings
from twintrack.studies.table1.cache import ExperimentStore
from twintrack.studies.table1.cases import StudyCase, StudyVolumes, manifest_cases, phantom_cases
from twintrack.studies.table1.report import FILES
from twintrack.studies.table1.run import Table1Settings, run_table1
from twintrack.studies.table1.score_cases import ExperimentRun
from twintrack.system.ownership import RECORD
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.slow

ROWS = ["none", "single-rater", "hard-label", "mhr"]
SETTINGS = Table1Settings(bins=40, bootstrap=100, rater="2", device="cpu")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Four crops of one phantom around its tumour, each with other noise and other raters, so that it takes seconds."""
    folder = tmp_path_factory.mktemp("experiment")
    whole = phantom_cases(2, 2)[0][0].read()
    z, y, x = np.nonzero(whole.annotations["1"].array)
    lines = ["case,image,split,annotation_1,annotation_2,vessels"]
    for number, split in enumerate(("calibration", "calibration", "test", "test")):
        box = tuple(slice(max(int(a.min()) - m, 0), int(a.max()) + m) for a, m in ((z, 9 + number), (y, 30), (x, 30)))
        spacing = whole.ct.geometry.spacing_mm
        cells = [f"c{number}", f"{number}_ct.nii.gz", split]
        ct = whole.ct.array[box]
        grid = Geometry(ct.shape[::-1], spacing)
        noise = np.random.default_rng(number).normal(0, 4, ct.shape)
        write_volume(Volume((ct + noise).astype(np.int16), grid), folder / cells[1])
        for rater in (1, 2):
            mask = whole.annotations[str(1 + (number + rater) % 5)].array[box]
            cells.append(f"{number}_a{rater}.nii.gz")
            write_volume(Volume(mask, grid), folder / cells[-1])
        cells.append(f"{number}_v.nii.gz")
        write_volume(Volume(whole.vessels.array[box], grid), folder / cells[-1])
        lines.append(",".join(cells))
    (folder / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "m.csv"


@pytest.fixture(scope="module")
def out(manifest) -> Path:
    """The experiment on it, with the demo bundle."""
    return run_table1(manifest.parent / "out", SETTINGS, bundle_path=demo_bundle_path(), manifest=manifest)


def metrics(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def kept(out: Path, ending: str) -> list[Path]:
    return sorted((out / "cases").glob(f"*{ending}"))


@pytest.mark.render
def test_all_files_are_there_with_a_line_for_every_row_of_every_test_case(out):
    assert {path.name for path in out.iterdir()} == {*FILES, "cases", RECORD}
    assert [(row["calibration"], row["case"]) for row in metrics(out)] == [(n, c) for n in ROWS for c in ("c2", "c3")]
    assert [len(kept(out, ending)) for ending in (".npz", ".nii.gz", ".json")] == [2, 2, 2 + 4]  # and all vessels


def test_the_calibrators_are_those_of_the_calibration_cases(out, manifest):
    sketch = ScoreSketch.empty()
    with Bundle.open(demo_bundle_path()) as bundle:
        for case in manifest_cases(manifest)[0]:
            volumes = case.read()
            score = segment(volumes.ct, bundle, SegmentSettings(calibrate=False, device="cpu")).score
            sketch = sketch + ScoreSketch.of_case(score.array, [mask.array for mask in volumes.annotations.values()])
    for target, rater in (("mhr", None), ("hard-label", None), ("single-rater", "2")):
        expected = fit_calibrator(sketch, target=target, rater=rater, bins=40)
        found = read_calibrator(out / "calibrators" / f"{target}.json")
        np.testing.assert_allclose(found.knots_x, expected.knots_x, atol=1e-6)
        np.testing.assert_allclose(found.knots_y, expected.knots_y, atol=1e-6)
        assert (found.target, found.rater, found.cases) == (target, rater, 2)


@pytest.mark.process
def test_every_row_is_the_score_under_its_calibrator(out, manifest):
    rows = {(row["calibration"], row["case"]): row for row in metrics(out)}
    case = manifest_cases(manifest)[1][0]
    volumes = case.read()
    (path,) = (path for path in kept(out, ".nii.gz") if path.name.startswith("c2."))
    score = read_volume(path)
    assert score.array.max() > 0.5
    for name in ROWS:
        array = score.array if name == "none" else read_calibrator(out / "calibrators" / f"{name}.json")(score.array)
        found = evaluate_case(score.with_array(array), volumes.annotations, volumes.vessels)
        expected = found.row(tuple(VESSEL_VALUES))
        assert {key: value for key, value in rows[name, "c2"].items() if key not in ("calibration", "case")} == {
            key: "" if value is None else repr(value) for key, value in expected.items()
        }


@pytest.mark.process
def test_the_summary_averages_over_the_test_cases(out):
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["calibration_cases"], summary["test_cases"], summary["bins"]) == (2, 2, 40)
    assert summary["data"]["kind"] == "manifest"
    assert summary["single_rater"] == "2"
    for name in ROWS:
        column = [float(row["tdsc"]) for row in metrics(out) if row["calibration"] == name]
        assert summary["rows"][name]["metrics"]["tdsc"]["mean"] == pytest.approx(np.mean(column))
    assert any("demo bundle knows synthetic phantoms only" in warning for warning in summary["warnings"])
    text = (out / "table1.md").read_text(encoding="utf-8")
    assert "| MHR (TwinTrack) |" in text
    # Two cases are too few to calibrate statements on; the map's reading stands there, and why nothing else does.
    assert summary["vessels"]["methods"]["map"]["cases"] == 2
    assert "## Statements about vessels" in text
    assert "No statements were calibrated: only" in text


@pytest.mark.render
def test_a_second_run_computes_no_case_again_and_repairs_what_is_damaged(out, manifest):
    before = {name: (out / name).read_bytes() for name in ("metrics.csv", "summary.json", "table1.md", "table1.tex")}
    (record,) = (
        path for path in kept(out, ".json") if path.name.startswith("c2.") and "rows" in path.read_text("utf-8")
    )
    damaged = [kept(out, ".npz")[0], record]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:100])
    times = {path: path.stat().st_mtime_ns for path in (out / "cases").iterdir()}
    run_table1(out, SETTINGS, bundle_path=demo_bundle_path(), manifest=manifest)
    again = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert again >= {path.name for path in damaged}
    assert {name.split(".")[0] for name in again} == {"c0", "c2"}
    assert {name: (out / name).read_bytes() for name in before} == before


@pytest.mark.render
def test_other_bins_make_new_metrics_from_the_kept_scores(out, manifest, tmp_path):
    import shutil

    shutil.copytree(out, tmp_path / "out")
    times = {path.name: path.stat().st_mtime_ns for path in kept(tmp_path / "out", "z")}
    settings = Table1Settings(bins=8, bootstrap=50, device="cpu")
    run_table1(tmp_path / "out", settings, bundle_path=demo_bundle_path(), manifest=manifest)
    assert {path.name: path.stat().st_mtime_ns for path in kept(tmp_path / "out", "z")} == times
    none = [
        [row["tdsc"] for row in metrics(folder) if row["calibration"] == "none"] for folder in (out, tmp_path / "out")
    ]
    assert none[0] == none[1]
    assert len(read_calibrator(tmp_path / "out" / "calibrators" / "mhr.json").knots_x) <= 8


def test_cancelling_leaves_no_table_but_the_cases_that_are_done(manifest, tmp_path):
    token = CancelToken()
    seen: list[float] = []

    def progress(done: float, text: str) -> None:
        seen.append(done)
        if "c1" in text:
            token.cancel()

    with pytest.raises(Cancelled):
        run_table1(
            tmp_path, SETTINGS, bundle_path=demo_bundle_path(), manifest=manifest, progress=progress, cancel=token
        )
    assert {path.name.split(".")[0] for path in (tmp_path / "cases").iterdir()} == {"c0"}
    assert {path.name for path in tmp_path.iterdir()} == {"cases"}
    assert seen == sorted(seen)


@pytest.mark.process
def test_a_case_in_which_no_organ_is_found_has_an_empty_map(manifest, out, tmp_path):
    volumes = manifest_cases(manifest)[1][0].read()
    air = StudyVolumes(
        volumes.ct.with_array(np.full(volumes.ct.array.shape, -1000, np.int16)), volumes.annotations, None
    )
    case = StudyCase("air", "line 1", "air", lambda: air, frozenset({1, 2}))
    calibrators = {name: read_calibrator(out / "calibrators" / f"{name}.json") for name in ROWS[1:]}
    with Bundle.open(demo_bundle_path()) as bundle:
        store, networks = ExperimentStore(tmp_path), NetworkStore("cpu")
        run = ExperimentRun(bundle, networks, store, device="cpu", cancel=CancelToken())
        (found,) = run.score([case], calibrators, no_progress)
    for name in ROWS:
        assert (found.rows[name]["predicted_ml"], found.rows[name]["tdsc"]) == (0, 0)


def test_what_cannot_be_run_is_refused_before_any_case(manifest, tmp_path):
    with raises_error(InputError, "bundle-needed"):
        run_table1(tmp_path, SETTINGS, manifest=manifest)
    with raises_error(InputError, "rater-unknown"):
        run_table1(tmp_path, Table1Settings(rater="3"), bundle_path=demo_bundle_path(), manifest=manifest)
    with raises_error(InputError, "rater-unknown"):
        run_table1(tmp_path, Table1Settings(rater="6"))
    with raises_error(InputError, "resamples-range"):
        Table1Settings(bootstrap=0)
    assert list(tmp_path.iterdir()) == []


def test_the_command_explains_what_does_not_go_together(manifest, tmp_path, capsys):
    assert (
        run_command(["experiment", "table1", "--out", str(tmp_path), "--manifest", str(manifest), "--cases", "3"]) == 2
    )
    assert capsys.readouterr().err.startswith("error: --cases and --tests count phantoms")
    assert run_command(["experiment", "table1", "--out", str(tmp_path), "--manifest", str(tmp_path / "no.csv")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert run_command(["experiment", "table1", "--out", str(tmp_path), "--tests", "1"]) == 2
    assert "--tests" in capsys.readouterr().err
