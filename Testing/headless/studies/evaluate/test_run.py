"""`twintrack evaluate`: from a manifest to tables."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import Cancelled, InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.metrics import evaluate_case
from twintrack.progress.callbacks import CancelToken
from twintrack.studies.evaluate import run as evaluation
from twintrack.studies.evaluate.run import FILES, evaluate_manifest
from twintrack.system.ownership import RECORD
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.render

GRID = Geometry((46, 44, 40), (0.8, 0.8, 2.0), (10.0, -20.0, 5.0))
"""Far enough from the first slice, row and column for the protocol's calibration error."""
PROTOCOL = ["case", "tdsc", "dsc", "ece", "crps", "vi_porta", "vi_smv", "vi_aorta", "vi_celiac", "vi_sma"]


def ball(radius_mm: float, shift_mm: float = 0.0) -> np.ndarray:
    z, y, x = (axis * step for axis, step in zip(np.indices(GRID.shape), (2.0, 0.8, 0.8), strict=True))
    return (z - 60) ** 2 + (y - 25.6) ** 2 + (x - 26 - shift_mm) ** 2 <= radius_mm**2


def case_volumes(number: int, *, raters: int = 3) -> dict[str, Volume]:
    """Return the volumes of a case by manifest column; cases differ in their tumour's size."""
    size = 4.0 + 0.5 * number
    p = np.select([ball(size - 1), ball(size), ball(size + 1)], [0.97, 0.6, 0.2], 0.0).astype(np.float32)
    vessels = np.zeros(GRID.shape, np.uint8)
    vessels[:, 30:34, 39:43] = 5
    arrays = {"probability": p, "vessels": vessels, "score": np.sqrt(p)}
    arrays |= {f"annotation_{i}": ball(size, 0.8 * i - 1.6).astype(np.uint8) for i in range(1, raters + 1)}
    return {column: Volume(array, GRID) for column, array in arrays.items()}


def write_manifest(folder: Path, cases: list[dict[str, Volume]], name: str = "manifest.csv") -> Path:
    """Write volumes and a manifest; a case may lack any column."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = sorted({column for volumes in cases for column in volumes})
    lines = [["case", *columns]]
    for number, volumes in enumerate(cases):
        for column, volume in volumes.items():
            write_volume(volume, folder / f"{name}_{number}_{column}.nii.gz")
        lines.append(
            [f"c{number}", *(f"{name}_{number}_{column}.nii.gz" if column in volumes else "" for column in columns)]
        )
    with (folder / name).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(lines)
    return folder / name


def read_metrics(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> tuple[Path, Path]:
    """A manifest with four cases and the folder of its evaluation."""
    folder = tmp_path_factory.mktemp("evaluate")
    manifest = write_manifest(folder, [case_volumes(number) for number in range(4)])
    return manifest, evaluate_manifest(manifest, folder / "out", bootstrap=400, seed=3)


def test_metrics_are_those_of_the_single_cases_in_full_precision(evaluated):
    manifest, out = evaluated
    rows = read_metrics(out / "metrics.csv")
    assert list(rows[0])[:10] == PROTOCOL
    assert [row["case"] for row in rows] == ["c0", "c1", "c2", "c3"]
    files = read_metrics(manifest)[2]
    volumes = {column: read_volume(manifest.parent / file) for column, file in files.items() if column != "case"}
    annotations = {rater: volumes[f"annotation_{rater}"] for rater in (1, 2, 3)}
    found = evaluate_case(volumes["probability"], annotations, volumes["vessels"])
    expected = found.row(["PORTA", "SMV", "AORTA", "CELIAC", "SMA"])
    assert {name: float(value) for name, value in rows[2].items() if name != "case"} == expected


def test_all_files_are_written_and_nothing_else(evaluated):
    _, out = evaluated
    assert {path.name for path in out.iterdir()} == {*FILES, RECORD} - {"metrics_compare.csv"}


def test_the_summary_holds_means_over_cases_and_intervals_around_them(evaluated):
    _, out = evaluated
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    rows = read_metrics(out / "metrics.csv")
    assert (summary["schema"], summary["cases"], summary["bootstrap"], summary["seed"]) == (1, 4, 400, 3)
    assert summary["manifest"]["name"] == "manifest.csv"
    assert list(summary["metrics"]) == list(rows[0])[1:]
    for name, value in summary["metrics"].items():
        column = [float(row[name]) for row in rows]
        assert value["mean"] == pytest.approx(np.mean(column))
        assert min(column) - 1e-12 <= value["low"] <= value["mean"] + 1e-12
        assert value["mean"] - 1e-12 <= value["high"] <= max(column) + 1e-12


def test_the_tables_show_the_paper_s_columns_with_the_summary_s_numbers(evaluated):
    _, out = evaluated
    metrics = json.loads((out / "summary.json").read_text(encoding="utf-8"))["metrics"]
    text = (out / "summary.md").read_text(encoding="utf-8")
    assert "| Method | TDSC ↑ | ECE ↓ | CRPS ↓ | PORTA ↓ | SMV ↓ | AORTA ↓ | CELIAC ↓ | SMA ↓ |" in text
    tdsc = metrics["tdsc"]
    assert f"| evaluated | {tdsc['bootstrap_mean']:.3f} |" in text
    assert f"| evaluated | {tdsc['bootstrap_mean']:.3f} [{tdsc['low']:.3f}, {tdsc['high']:.3f}] |" in text
    assert "†" not in text
    latex = (out / "summary.tex").read_text(encoding="utf-8")
    assert r"TDSC $\uparrow$" in latex
    assert f"{metrics['crps']['bootstrap_mean']:.1f}" in latex


def test_cases_are_also_summarized_by_the_size_of_their_tumor(evaluated):
    _, out = evaluated
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    (part,) = summary["strata"]["parts"]
    # Balls of 4 to 5.5 mm radius.
    assert (part["name"], part["cases"], part["names"]) == ("up to 20 mm", 4, ["c0", "c1", "c2", "c3"])
    assert part["metrics"] == summary["metrics"]
    text = (out / "summary.md").read_text(encoding="utf-8")
    assert f"| up to 20 mm (4) | {summary['metrics']['tdsc']['bootstrap_mean']:.3f} |" in text


def test_every_stratum_has_the_means_of_its_own_cases(tmp_path):
    cases = [case_volumes(0), case_volumes(1), case_volumes(2)]
    wide = Geometry(GRID.size, (2.4, 2.4, 6.0), GRID.origin_mm)
    for column, volume in cases[2].items():
        cases[2][column] = Volume(volume.array, wide)
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    small, large = json.loads((out / "summary.json").read_text(encoding="utf-8"))["strata"]["parts"]
    rows = read_metrics(out / "metrics.csv")
    assert (small["names"], large["names"]) == (["c0", "c1"], ["c2"])
    assert large["name"] == "20 to 40 mm"
    assert small["metrics"]["crps"]["mean"] == pytest.approx((float(rows[0]["crps"]) + float(rows[1]["crps"])) / 2)
    assert large["metrics"]["crps"]["mean"] == pytest.approx(float(rows[2]["crps"]))
    assert large["metrics"]["crps"]["low"] is None


def test_lesions_of_all_cases_together_have_one_calibration_error(evaluated):
    _, out = evaluated
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))["detection"]
    # One ball a case, with a peak of 0.97, which matches the shifted balls of all three raters.
    assert found["candidates"] == 4
    assert found["d_ece"]["mean"] == pytest.approx(0.03, abs=1e-6)
    assert (found["d_ece"]["low"], found["d_ece"]["high"]) == pytest.approx((0.03, 0.03), abs=1e-6)
    assert [float(row["d_ece"]) for row in read_metrics(out / "metrics.csv")] == pytest.approx([0.03] * 4, abs=1e-6)


def test_a_second_run_gives_the_same_files(evaluated, tmp_path):
    manifest, out = evaluated
    again = evaluate_manifest(manifest, tmp_path / "out", bootstrap=400, seed=3)
    for name in ("metrics.csv", "summary.json", "summary.md", "summary.tex"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_the_reliability_picture_is_drawn(evaluated):
    from PIL import Image

    with Image.open(evaluated[1] / "reliability.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 600
    # The colours of score and map; nothing else in the picture has them.
    for color in ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)):
        assert (np.abs(pixels - color).sum(axis=2) < 12).sum() > 100


def worse_method(folder: Path, cases: int) -> Path:
    """A manifest of the same cases with maps that are too low."""
    worse = []
    for number in range(cases):
        volumes = case_volumes(number)
        volumes["probability"] = Volume(0.45 * volumes["probability"].array, GRID)
        worse.append(volumes)
    return write_manifest(folder, worse, "other.csv")


def test_methods_have_the_names_they_are_given(evaluated, tmp_path):
    other = worse_method(tmp_path / "worse", 4)
    out = evaluate_manifest(
        evaluated[0], tmp_path / "out", bootstrap=50, compare=other, name="Twin & Track", compare_name="nnU-Net"
    )
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["name"], summary["compare"]["name"]) == ("Twin & Track", "nnU-Net")
    text = (out / "summary.md").read_text(encoding="utf-8")
    assert "| Twin & Track |" in text
    assert "| nnU-Net |" in text
    assert "evaluated" not in text
    assert r"Twin \& Track" in (out / "summary.tex").read_text(encoding="utf-8")
    for name in ("", "a|b", "x" * 61, "two\nlines"):
        with raises_error(InputError, "method-name"):
            evaluate_manifest(evaluated[0], tmp_path / "none", name=name)


def test_four_cases_have_no_mark_however_clear_the_difference(evaluated, tmp_path):
    other = worse_method(tmp_path / "worse", 4)
    out = evaluate_manifest(evaluated[0], tmp_path / "out", bootstrap=200, compare=other)
    difference = json.loads((out / "summary.json").read_text(encoding="utf-8"))["compare"]["difference"]
    assert difference["tdsc"]["low"] > 0
    assert (difference["tdsc"]["p_value"], difference["tdsc"]["p_adjusted"]) == (None, None)
    table = (out / "summary.md").read_text(encoding="utf-8").split("† significantly worse")[0]
    assert "†" not in table


def test_tables_of_calibration_have_a_constant_map_beside_the_method(evaluated):
    _, out = evaluated
    text = (out / "summary.md").read_text(encoding="utf-8")
    assert "| Metric | evaluated | constant (base rate) |" in text
    rows = read_metrics(out / "metrics.csv")
    for row in rows:
        rate = float(row["base_rate"])
        # Against the mean of the raters a constant with their own rate has no gap, and every rater's rate is near.
        assert float(row["mhr_gap_constant"]) == pytest.approx(0, abs=1e-6)
        assert float(row["ece_corrected_constant"]) == pytest.approx(float(row["rater_gap_constant"]), abs=1e-6)
        assert float(row["brier_constant"]) == pytest.approx(rate * (1 - rate), rel=1e-3)
        assert float(row["brier"]) < float(row["brier_constant"])


def test_a_worse_method_is_marked_where_the_paired_test_says_so(tmp_path):
    manifest = write_manifest(tmp_path / "ours", [case_volumes(number % 4) for number in range(10)])
    worse = []
    for number in range(10):
        volumes = case_volumes(number % 4)
        volumes["probability"] = Volume(0.45 * volumes["probability"].array, GRID)
        worse.append(volumes)
    other = write_manifest(tmp_path / "worse", worse, "other.csv")
    out = evaluate_manifest(manifest, tmp_path / "out", bootstrap=2000, compare=other)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    ours, theirs = (read_metrics(out / name) for name in ("metrics.csv", "metrics_compare.csv"))
    gap = np.mean([float(a["tdsc"]) - float(b["tdsc"]) for a, b in zip(ours, theirs, strict=True)])
    difference = summary["compare"]["difference"]["tdsc"]
    assert difference["mean"] == pytest.approx(gap)
    assert difference["p_value"] == pytest.approx(2 / 2**10)
    assert difference["p_value"] < difference["p_adjusted"] < 0.05
    assert difference["low"] > 0
    lines = (out / "summary.md").read_text(encoding="utf-8").splitlines()
    ours_line, theirs_line = (next(x for x in lines if x.startswith(f"| {n}")) for n in ("evaluated", "compared with"))
    assert theirs_line.split("|")[2].endswith("† ")
    assert not ours_line.split("|")[2].endswith("† ")
    assert ours_line.split("|")[2].strip().startswith("**")
    assert theirs_line.split("|")[2].strip().startswith("*")
    assert not theirs_line.split("|")[2].strip().startswith("**")


def test_cases_of_the_compared_manifest_are_matched_by_name_and_not_by_order(evaluated, tmp_path):
    manifest, _ = evaluated
    lines = manifest.read_text(encoding="utf-8").splitlines()
    turned = manifest.with_name("turned.csv")
    turned.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n", encoding="utf-8")
    out = evaluate_manifest(manifest, tmp_path / "out", bootstrap=50, compare=turned)
    difference = json.loads((out / "summary.json").read_text(encoding="utf-8"))["compare"]["difference"]
    assert all(value["mean"] == value["low"] == value["high"] == 0 for value in difference.values())


def test_other_cases_in_the_compared_manifest_are_refused(evaluated, tmp_path):
    other = write_manifest(tmp_path / "fewer", [case_volumes(0)], "other.csv")
    with raises_error(InputError, "cases-differ", "c1", "c2", "c3"):
        evaluate_manifest(evaluated[0], tmp_path / "out", compare=other)


def test_missing_vessels_and_raters_leave_cells_empty_but_count_elsewhere(tmp_path):
    cases = [case_volumes(0), case_volumes(1), case_volumes(2)]
    del cases[0]["vessels"], cases[1]["annotation_2"]
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    rows = read_metrics(out / "metrics.csv")
    assert rows[0]["vi_sma"] == rows[0]["vi_corrected_sma"] == ""
    assert float(rows[1]["vi_sma"]) >= 0
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["metrics"]["vi_sma"]["cases"] == 2
    assert summary["metrics"]["tdsc"]["cases"] == 3


def test_a_cohort_without_vessels_shows_dashes(tmp_path):
    cases = [case_volumes(0), case_volumes(1)]
    for volumes in cases:
        del volumes["vessels"], volumes["score"]
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    assert "| – | – | – | – | – |" in (out / "summary.md").read_text(encoding="utf-8")
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["metrics"]["vi_porta"] is None


def test_one_case_is_scored_without_an_interval_and_says_so(tmp_path):
    out = evaluate_manifest(write_manifest(tmp_path, [case_volumes(0)]), tmp_path / "out", bootstrap=50)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["metrics"]["tdsc"]["low"] is None
    assert summary["warnings"] == ["one case only: no interval over cases can be given"]
    assert summary["warnings"][0] in (out / "summary.md").read_text(encoding="utf-8")


def test_a_case_without_tumor_is_data_and_is_named(tmp_path):
    cases = [case_volumes(0, raters=2), case_volumes(1, raters=2)]
    for rater in (1, 2):
        cases[1][f"annotation_{rater}"] = Volume(np.zeros(GRID.shape, np.uint8), GRID)
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    (warning,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["warnings"]
    assert warning.startswith("no rater marked tumour in c1")
    row = read_metrics(out / "metrics.csv")[1]
    assert row["hd95_mm"] == row["ece"] == ""
    assert float(row["ece_corrected"]) > 0


def test_where_the_protocol_s_box_is_empty_its_error_is_missing_and_a_warning_says_why(tmp_path):
    cases = [case_volumes(0), case_volumes(1)]
    for column, volume in cases[1].items():
        moved = np.pad(volume.array[:, 10:], ((0, 0), (0, 30), (0, 0)))
        cases[1][column] = Volume(moved, Geometry((46, 64, 40), GRID.spacing_mm))
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [row["ece"] == "" for row in read_metrics(out / "metrics.csv")] == [False, True]
    assert summary["metrics"]["ece"]["cases"] == 1
    assert summary["metrics"]["ece_corrected"]["cases"] == 2
    (warning,) = summary["warnings"]
    assert warning.startswith("c1: the protocol's ECE is not defined (tumour lies within 20 voxels")


def test_one_rater_has_scores_but_the_volume_score_says_nothing(tmp_path):
    cases = [case_volumes(number, raters=1) for number in (0, 1)]
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    rows = read_metrics(out / "metrics.csv")
    assert [float(row["crps"]) for row in rows] == [0, 0]
    assert all(float(row["crps_corrected"]) > 0 for row in rows)
    (warning,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["warnings"]
    assert warning.startswith("one rater only in c0, c1")


def test_maps_that_are_empty_are_scored_as_such(tmp_path):
    cases = [case_volumes(number) for number in (0, 1)]
    for volumes in cases:
        volumes["probability"] = Volume(np.zeros(GRID.shape, np.float32), GRID)
        del volumes["score"]
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=50)
    assert [float(row["tdsc"]) for row in read_metrics(out / "metrics.csv")] == [0, 0]
    assert (out / "reliability.png").exists()
    detection = json.loads((out / "summary.json").read_text(encoding="utf-8"))["detection"]
    assert detection == {"candidates": 0, "d_ece": None}


def test_a_cohort_without_any_tumor_is_refused(tmp_path):
    volumes = case_volumes(0, raters=1) | {"annotation_1": Volume(np.zeros(GRID.shape, np.uint8), GRID)}
    with raises_error(InputError, "no-tumour-marked", "manifest.csv"):
        evaluate_manifest(write_manifest(tmp_path, [volumes, volumes]), tmp_path / "out")


OTHER_GRID = Geometry(GRID.size, (0.8, 0.8, 2.5), GRID.origin_mm)


@pytest.mark.parametrize(
    ("column", "volume", "message"),
    [
        (
            "annotation_2",
            Volume(np.arange(np.prod(GRID.shape), dtype=np.uint16).reshape(GRID.shape) % 3, GRID),
            "annotation_2 is one of the values 1, 2",
        ),
        (
            "annotation_1",
            Volume(np.zeros(GRID.shape, np.uint8), OTHER_GRID),
            "annotation_1 has as many voxels as the image, but of another size",
        ),
        (
            "vessels",
            Volume(np.ones(GRID.shape, np.uint8), OTHER_GRID),
            "the vessel map has as many voxels as the image",
        ),
        (
            "vessels",
            Volume(np.full(GRID.shape, 0.5, np.float32), GRID),
            "holds values between whole numbers",
        ),
        ("score", Volume(np.zeros(GRID.shape, np.float32), OTHER_GRID), "score lies on another grid"),
        ("binary", Volume(np.full(GRID.shape, 0.5, np.float32), GRID), "holds values between whole numbers"),
        ("probability", Volume(np.full(GRID.shape, 1.5, np.float32), GRID), "between 0 and 1, got 1.5"),
        ("probability", Volume(np.full(GRID.shape, np.nan, np.float32), GRID), "not finite"),
        ("score", Volume(np.full(GRID.shape, -0.5, np.float32), GRID), "the score must lie between 0 and 1"),
    ],
)
def test_bad_volumes_are_refused_with_row_and_file(tmp_path, column, volume, message):
    good, bad = case_volumes(0), case_volumes(1)
    if column == "binary":
        good["binary"] = Volume((good["probability"].array > 0.5).astype(np.uint8), GRID)
    manifest = write_manifest(tmp_path, [good, bad | {column: volume}])
    with pytest.raises(InputError) as caught:
        evaluate_manifest(manifest, tmp_path / "out")
    text = str(caught.value)
    assert text.startswith(f"{manifest}, line 3: ")
    assert text.count(f"manifest.csv_1_{column}.nii.gz") == (2 if "#" in text else 1)  # once more as an example
    assert message in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("column", ["probability", "annotation_1", "vessels", "score"])
def test_missing_files_are_refused_with_row_and_file(tmp_path, column):
    manifest = write_manifest(tmp_path, [case_volumes(0), case_volumes(1)])
    (tmp_path / f"manifest.csv_1_{column}.nii.gz").unlink()
    with raises_error(InputError, "file-missing", "manifest.csv", "_1_", column, "nii.gz"):
        evaluate_manifest(manifest, tmp_path / "out")


def test_missing_columns_are_named(tmp_path):
    volumes = case_volumes(0)
    del volumes["probability"]
    with raises_error(InputError, "column-missing", "probability", "segment"):
        evaluate_manifest(write_manifest(tmp_path, [volumes]), tmp_path / "out")


def test_progress_never_falls_and_cancelling_leaves_nothing(evaluated, tmp_path):
    manifest, _ = evaluated
    seen: list[float] = []
    evaluate_manifest(manifest, tmp_path / "out", bootstrap=10, progress=lambda done, text: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    token = CancelToken()
    with pytest.raises(Cancelled):
        evaluate_manifest(manifest, tmp_path / "no", progress=lambda done, text: token.cancel(), cancel=token)
    assert not (tmp_path / "no").exists()


def test_the_command_evaluates_and_explains_what_it_cannot(evaluated, tmp_path, capsys):
    from twintrack.cli.app import main

    with pytest.raises(SystemExit) as done:
        main(["evaluate", str(evaluated[0]), "--out", str(tmp_path / "out"), "--bootstrap", "20", "--seed", "1"])
    assert done.value.code == 0
    assert "4 cases" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert written["bootstrap"] == 20
    with pytest.raises(SystemExit):
        main(
            [
                "evaluate",
                str(evaluated[0]),
                "--out",
                str(tmp_path / "out"),
                "--bootstrap",
                "20",
                "--seed",
                "1",
                "--json",
            ]
        )
    assert json.loads(capsys.readouterr().out)["metrics"] == written["metrics"]
    with pytest.raises(SystemExit) as done:
        main(["evaluate", str(tmp_path / "absent.csv"), "--out", str(tmp_path / "none")])
    assert done.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def _table(single_rater):
    table = evaluation._Table(io.StringIO())
    table.cases, table.single_rater = [f"c{number}" for number in range(23)], single_rater
    return table


def test_a_warning_about_many_cases_names_some_and_counts_the_rest():
    single_rater = [f"c{number}" for number in range(23)]
    (warning,) = evaluation._warnings(_table(single_rater), ())
    assert "c19 and 3 more" in warning
    assert "c20" not in warning
    (few,) = evaluation._warnings(_table(single_rater[:20]), ())
    assert "c18, c19:" in few


def test_raters_who_did_not_read_every_case_stand_in_the_head_of_the_summary(tmp_path):
    cases = [case_volumes(number) for number in range(3)]
    del cases[0]["annotation_2"], cases[1]["annotation_2"], cases[2]["annotation_1"]
    manifest = write_manifest(tmp_path, cases)
    text = manifest.read_text(encoding="utf-8").replace("annotation_2,", "annotation_Dr. B,", 1).splitlines()
    lines = [f"{line},{'' if number else 'annotation_never'}" for number, line in enumerate(text)]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = evaluate_manifest(manifest, tmp_path / "out", bootstrap=20)
    warnings = json.loads((out / "summary.json").read_text(encoding="utf-8"))["warnings"]
    expected = [
        "rater 1 is missing in 1 of 3 cases",
        "rater Dr. B is missing in 2 of 3 cases",
        "rater never is missing in 3 of 3 cases",
    ]
    assert warnings == expected
    text = (out / "summary.md").read_text(encoding="utf-8")
    assert text.index("- rater Dr. B is missing in 2 of 3 cases") < text.index("| Method |")


def test_the_same_voxels_of_two_raters_are_warned_of_and_two_empty_readings_are_not(tmp_path):
    cases = [case_volumes(number) for number in range(3)]
    cases[1]["annotation_3"] = cases[1]["annotation_1"]
    for rater in (1, 2):
        cases[2][f"annotation_{rater}"] = Volume(np.zeros(GRID.shape, np.uint8), GRID)
    out = evaluate_manifest(write_manifest(tmp_path, cases), tmp_path / "out", bootstrap=20)
    warnings = json.loads((out / "summary.json").read_text(encoding="utf-8"))["warnings"]
    assert warnings == ["raters 1 and 3 marked the very same voxels in c1; check that no mask stands under two names"]


def test_how_a_manifest_was_read_stands_in_the_summary(evaluated, tmp_path):
    manifest, out = evaluated
    other = manifest.with_name("other.csv")
    other.write_bytes(manifest.read_text(encoding="utf-8").replace(",", ";").encode("utf-16"))
    found = evaluate_manifest(other, tmp_path / "out", bootstrap=400, seed=3)
    assert (found / "metrics.csv").read_bytes() == (out / "metrics.csv").read_bytes()
    summary = json.loads((found / "summary.json").read_text(encoding="utf-8"))
    assert summary["manifest"]["read"] == "with semicolons, as UTF-16"
    assert "read" not in json.loads((out / "summary.json").read_text(encoding="utf-8"))["manifest"]


def test_raters_may_have_any_names_and_the_numbers_stay_the_same(evaluated, tmp_path):
    manifest, out = evaluated
    for name, names in (("zero", "012"), ("letters", "zAb")):
        text = manifest.read_text(encoding="utf-8")
        for number, rater in zip("123", names, strict=True):
            text = text.replace(f"annotation_{number},", f"annotation-{rater},")
        other = manifest.with_name(f"{name}.csv")
        other.write_text(text.replace("annotation-", "annotation_"), encoding="utf-8")
        found = evaluate_manifest(other, tmp_path / name, bootstrap=10)
        assert (found / "metrics.csv").read_bytes() == (out / "metrics.csv").read_bytes()


def test_cases_that_lost_their_leading_zeros_are_told_from_others(evaluated, tmp_path):
    text = evaluated[0].read_text(encoding="utf-8")
    for name, zeros in (("texts.csv", "00"), ("numbers.csv", "")):
        written = "".join(
            f"{zeros}{line[1:]}\n" if line.startswith("c") else f"{line}\n" for line in text.splitlines()[1:]
        )
        evaluated[0].with_name(name).write_text(f"{text.splitlines()[0]}\n{written}", encoding="utf-8")
    numbers = evaluated[0].with_name("numbers.csv")
    with raises_error(InputError, "zeros-lost", path=numbers):
        evaluate_manifest(evaluated[0].with_name("texts.csv"), tmp_path / "out", compare=numbers)
    with raises_error(InputError, "cases-differ", path=numbers):
        evaluate_manifest(evaluated[0], tmp_path / "out", compare=numbers)
