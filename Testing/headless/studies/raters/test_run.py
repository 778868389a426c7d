"""The experiment as a whole, at its smallest."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expected_errors import raises_error
from twintrack.cli.app import run_command
from twintrack.errors import InputError, OutputError
from twintrack.studies.raters import one_run
from twintrack.studies.raters import run as run_module
from twintrack.studies.raters.cases import phantom_cases
from twintrack.studies.raters.one_run import CaseChoice, RunChoice, planned, run_once
from twintrack.studies.raters.run import RatersSettings, run_raters
from twintrack.training import Strategy
from twintrack.training.harmonizer_settings import HARMONIZER_PRESETS
from twintrack.training.presets import Preset

pytestmark = [pytest.mark.network, pytest.mark.slow]

CASES = CaseChoice(train=6, calibration=3, test=3, raters=3, panel_seed=4)
SETTINGS = RatersSettings(
    strategies=(Strategy.SINGLE, Strategy.RATER_SPECIFIC), epochs=1, bootstrap=50, jobs=1, device="cpu"
)

SHORT = HARMONIZER_PRESETS[Preset.TINY].shortened(1, 1, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_raters(tmp_path_factory.mktemp("experiment") / "out", CASES, SETTINGS)


def test_every_strategy_and_case_is_in_the_files(folder: Path) -> None:
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 3
    assert {row["strategy"] for row in rows} == {"single", "rater-specific"}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["networks"] == {"single": 1, "rater-specific": 3}
    assert summary["single_rater"] == "B"
    assert set(summary["data"]["habits"]) == {"A", "B", "C"}
    named = {(one["strategy"], one["against"], one["metric"]) for one in summary["comparisons"]}
    assert ("rater-specific", "single", "mae_ambiguous") in named
    assert "rater-specific" in (folder / "table.md").read_text(encoding="utf-8")
    assert all((folder / name).is_file() for name in ("reliability.png", "raters.png"))


def test_what_is_done_is_not_done_again_and_gives_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "comparison.csv").read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*.json")}
    assert len(kept) == 3  # two trainings, and the vessels' angles

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("twintrack.studies.raters.one_run.train_members", refuse)
    run_raters(folder, CASES, SETTINGS, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (folder / "comparison.csv").read_bytes() == before


def test_the_same_seed_trains_the_same_networks(folder: Path, tmp_path: Path) -> None:
    kept = json.loads(next((folder / "runs").glob("single_0.*.json")).read_text(encoding="utf-8"))
    again = run_once(tmp_path, RunChoice("single", 0, rater="B", device="cpu", epochs=1), CASES)
    assert again["records"] == kept["records"]


def test_a_network_of_slices_is_scored_by_its_samples_and_its_raters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_run, "harmonizer_settings", lambda _choice: SHORT)
    monkeypatch.setattr("twintrack.training.harmonizer.COLLAPSED", 100.0)  # an alarm whatever it has learnt
    folder = run_raters(tmp_path / "out", CASES, replace(SETTINGS, strategies=(Strategy.HARMONIZER,)))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["networks"] == {"harmonizer": 1}
    (kept,) = (folder / "runs").glob("harmonizer_0.*.json")
    result = json.loads(kept.read_text(encoding="utf-8"))
    assert any("posterior collapse" in text for text in result["warnings"])
    for record in result["records"]["before"]:
        assert set(record["rater_dice"]) == {"A", "B", "C"}
        assert record["values"]["own_dice"] is not None
    assert not list((folder / "runs").glob("harmonizer_0.*/"))  # the network is not kept


def test_another_length_shortens_both_phases_alike() -> None:
    whole = one_run.harmonizer_settings(RunChoice("harmonizer", 0))
    half = one_run.harmonizer_settings(RunChoice("harmonizer", 0, epochs=whole.stage.epochs // 2))
    assert half.stage.epochs == whole.stage.epochs // 2
    assert half.personal_epochs == whole.personal_epochs // 2
    assert half.stage.iterations == whole.stage.iterations


def test_label_sampling_gets_as_many_networks_as_the_raters_have_together() -> None:
    raters = ("A", "B", "C")
    counts = {
        strategy: len(planned(RunChoice(strategy.value, 0, members=2), raters))
        for strategy in (Strategy.LABEL_SAMPLING, Strategy.RATER_SPECIFIC, Strategy.SOFT)
    }
    assert counts == {Strategy.LABEL_SAMPLING: 6, Strategy.RATER_SPECIFIC: 6, Strategy.SOFT: 2}


def test_no_phantom_is_in_two_splits_or_two_sets() -> None:
    from twintrack.phantom import Slab

    found = [phantom_cases(4, 3, 2, raters=2, panel_seed=0, slab=Slab(), seed=seed) for seed in (0, 1)]
    names = [case.name for cases in found for split in (cases.train, cases.calibration, cases.test) for case in split]
    assert len(set(names)) == len(names) == 2 * 9


def test_a_file_in_the_place_of_the_result_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.md").write_text("mine", encoding="utf-8")
    with raises_error(OutputError, "place-taken"):
        run_raters(tmp_path / "out", CASES, SETTINGS)
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "out" / run_module.RUN_FOLDER).exists()


def test_a_folder_of_somebody_else_among_the_runs_is_not_removed(tmp_path: Path) -> None:
    mine = tmp_path / "out" / run_module.RUN_FOLDER / "prepared" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    with raises_error(OutputError, "place-taken", path=mine.parent):
        run_raters(tmp_path / "out", CASES, SETTINGS)
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("option", "value"), [("--strategies", "soft,hard"), ("--cases", "1 2 3")])
def test_a_wrong_option_is_refused_before_anything_is_written(tmp_path: Path, option: str, value: str) -> None:
    answer = run_command(["experiment", "raters", "--out", str(tmp_path / "out"), option, *value.split()])
    assert answer == 2
    assert not (tmp_path / "out").exists()


def test_a_manifest_without_training_cases_is_refused(tmp_path: Path) -> None:
    lines = ["case,image,split,annotation_A,annotation_B"]
    for number, split in enumerate(("calibration", "test")):
        files = [f"{kind}_{number}.nii.gz" for kind in ("ct", "a", "b")]
        for name in files:
            (tmp_path / name).touch()
        lines.append(",".join((str(number), files[0], split, *files[1:])))
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    with raises_error(InputError, "too-few-cases"):
        run_raters(tmp_path / "out", CaseChoice(str(tmp_path / "m.csv")), SETTINGS)
    assert not (tmp_path / "out").exists()
