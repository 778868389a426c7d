"""``twintrack bundle``: what the options become, text for people, JSON for programs, one sentence for every refusal."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from twintrack.bundle.describe import WIDTH, bundle_text
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.cli.app import run_command
from twintrack.studies.make_bundle.card import RESEARCH_USE
from twintrack.system.paths import file_sha256

pytestmark = pytest.mark.network


@pytest.fixture
def create(coarse_results: Path, fine_results: Path):
    """Return a function that runs ``bundle create`` with the tiny models."""

    def run(out: Path, *options: object) -> int:
        command = ["bundle", "create", "--coarse", coarse_results, "--fine", fine_results, "--out", out, *options]
        return run_command([str(word) for word in command])

    return run


def refusal(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one error line of a command that ended with `code`."""
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_every_option_lands_in_the_bundle(create, tmp_path: Path) -> None:
    calibrator = demo_bundle_path() / "calibrator.json"
    options = {
        "--folds": "2, 0",
        "--version-label": "2.1",
        "--intended-use": "Trying this out.",
        "--raters": 7,
        "--roi-margin-mm": 15,
        "--roi-component-fraction": 0.5,
        "--roi-probability": 0.3,
        "--contact-mm": 2.2,
        "--calibrator": calibrator,
    }
    assert create(tmp_path / "b", "--mirroring", "--half", *(word for pair in options.items() for word in pair)) == 0
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.folds["fine"] == ("2", "0")
    assert (bundle.name, bundle.version, bundle.intended_use) == ("b", "2.1", "Trying this out.")
    assert (bundle.raters, bundle.mirroring) == (7, True)
    assert (bundle.roi_margin_mm, bundle.roi_component_fraction, bundle.roi_probability) == (15, 0.5, 0.3)
    assert bundle.contact_mm == 2.2
    assert bundle.calibrator_path is not None


def test_weights_raters_and_the_card_of_the_training_land_in_the_bundle(
    create, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"strategy": "rater-specific", "raters": ["A", "B"], "cases": {"train": 12}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    options = ["--tumor-labels", "tumor, pancreas=0.25", "--rater-members", "A=0+2, B=1"]
    assert create(tmp_path / "b", *options, "--training", tmp_path / "card.json") == 0
    capsys.readouterr()
    assert run_command(["bundle", "show", str(tmp_path / "b")]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["tumor_weights"] == {"tumor": 1, "pancreas": 0.25}
    assert about["rater_members"] == [{"id": "A", "members": ["0", "2"]}, {"id": "B", "members": ["1"]}]
    assert about["training"] == card
    assert run_command(["bundle", "verify", str(tmp_path / "b")]) == 0


def test_what_is_not_said_gets_careful_defaults(create, tmp_path: Path) -> None:
    assert create(tmp_path / "b.zip") == 0
    with Bundle.open(tmp_path / "b.zip") as bundle:
        assert (bundle.name, bundle.license, bundle.intended_use) == ("b", "unknown", RESEARCH_USE)
        assert (bundle.demo, bundle.raters, bundle.mirroring) == (False, None, False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--folds", "0,5"], "has no fold_5; the folds that are there: 0, 1, 2"),
        (["--checkpoint", "checkpoint_best.pth"], "has no checkpoint_best.pth"),
        (["--tumor-labels", "lesion"], "has no label 'lesion'"),
        (["--tumor-labels", "tumor=1.5"], "a weight above 0 and at most 1"),
        (["--tumor-labels", "tumor=half"], "a weight above 0 and at most 1"),
        (["--tumor-labels", "tumor,tumor=0.5"], "give each label once"),
        (["--rater-members", "A=0+1"], "the member '2' belongs to no rater"),
        (["--rater-members", "A"], "expected NAME=VALUE"),
        (["--rater-labels", "A=gland"], "has the label 'gland'"),
        (["--training", "gone.json"], "gone.json"),
        (["--roi-probability", "1.5"], "'roi_probability' must be a number from 0 to 1"),
        (["--contact-mm", "9"], "must be from 0.5 to 5 mm, got 9"),
        (["--folds", ""], "an argument (--folds) is empty"),
        (["--folds", "0,0"], "folds must be different numbers"),
        (["--coarse-folds", "../0"], "folds must be different numbers"),
        (["--vessel-labels", "SMA=sma,SMA=portal vein"], "names a vessel twice"),
        (["--raters", "0"], "--raters"),
        (["--fingerprint", "gone.json"], "gone.json: no such file"),
        (["--calibrator", "gone.json"], "gone.json"),
    ],
)
def test_every_wrong_option_gets_one_sentence_and_leaves_nothing(
    create, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in refusal(capsys, create(tmp_path / "b", *options))
    assert list(tmp_path.iterdir()) == []


def test_verify_explains_each_refusal_in_one_sentence_for_folder_and_zip(
    create, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(tmp_path / "b", "--calibrator", demo_bundle_path() / "calibrator.json") == 0
    capsys.readouterr()

    def broken(name: str, change) -> list[Path]:
        folder = Path(shutil.copytree(tmp_path / "b", tmp_path / name))
        change(folder)
        packed = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in folder.rglob("*"):
                if path.is_file():
                    archive.write(path, path.relative_to(folder).as_posix())
        return [folder, packed]

    def refit(folder: Path, **changes: object) -> None:
        """Change the calibrator together with its hash, as somebody who makes bundles by hand may."""
        calibrator, document = folder / "calibrator.json", json.loads((folder / "bundle.json").read_text())
        calibrator.write_text(json.dumps(json.loads(calibrator.read_text()) | changes))
        document["files"]["calibrator.json"] = file_sha256(calibrator)
        (folder / "bundle.json").write_text(json.dumps(document))

    cases = {
        "unreadable": (lambda b: refit(b, schema=7), "calibrator.json: not a valid calibrator"),
        "refitted": (lambda b: refit(b, pooling="mean-logits"), "was fitted on scores pooled by mean-logits"),
        "missing": (lambda b: (b / "fine/plans.json").unlink(), "fine/plans.json is missing"),
        "altered": (lambda b: (b / "calibrator.json").write_text("{}"), "calibrator.json was altered"),
        "extra": (lambda b: (b / "run.py").write_text("print()"), "run.py is not listed"),
    }
    for name, (change, words) in cases.items():
        for path in broken(name, change):
            line = refusal(capsys, run_command(["bundle", "verify", str(path)]))
            assert words in line
            assert str(path) in line
    assert run_command(["bundle", "verify", str(tmp_path / "b")]) == 0


def test_show_is_json_for_programs(bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--json"]):
        assert run_command(["bundle", "show", str(bundle_folder), *options]) == 0
        about = json.loads(capsys.readouterr().out)
        assert about["name"] == "tiny"
    assert run_command(["bundle", "verify", str(bundle_folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["intact"]
    assert not told["calibrated"]
    assert told["sha256"] == about["sha256"]


def test_show_is_text_on_a_terminal(
    bundle_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run_command(["bundle", "show", str(bundle_folder)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("  bundle        tiny 1.0\n")
    assert "no: gives network scores" in shown
    assert run_command(["bundle", "show", "--json", str(bundle_folder)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"


def test_the_text_tells_what_matters_within_its_width(bundle_folder: Path) -> None:
    demo = bundle_text(Bundle.open(demo_bundle_path()).describe())
    calibrator = json.loads((demo_bundle_path() / "calibrator.json").read_text())
    upper = sum(score > 0.05 for score in calibrator["knots"]["score"])
    assert f"{calibrator['bins']} bins, {upper} of them above score 0.05" in " ".join(demo.split())
    tiny = bundle_text(Bundle.open(bundle_folder).describe())
    assert "DEMO: phantoms only" in demo
    assert "yes, 5 raters" in demo
    assert "SMA = sma" in tiny
    assert "checkpoint_final.pth of nnUNetTrainer_Custom" in tiny
    assert "40 HU on average (sd 90), 99 % from -150 to 250" in tiny
    assert all(len(line) <= WIDTH for line in (demo + "\n" + tiny).splitlines())
