"""A bundle of the strategy ``harmonizer``, from a manifest to the files of a result."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.bundle.describe import bundle_text
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.cli.app import run_command
from twintrack.errors import BundleError
from twintrack.io.volumes import read_volume
from twintrack.phantom import write_cohort
from twintrack.results.schema import read_result_json
from twintrack.studies.make_bundle.create import check_bundle
from twintrack.studies.train.run import TrainSettings, train_bundle
from twintrack.training import HARMONIZER_PRESETS, Preset, Strategy, harmonizer

pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.network, pytest.mark.slow]

TINIEST = HARMONIZER_PRESETS[Preset.TINY].shortened(2, 1, 3)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Phantoms of one panel of three raters."""
    folder = tmp_path_factory.mktemp("phantoms")
    path = write_cohort(folder, cases=5, raters=3, seed=61_000, panel_seed=0, split=(2, 2, 1))
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["organ"] = f"{row['anatomy']}#pancreas"
    columns = [name for name in rows[0] if not name.startswith("true") and name not in ("anatomy", "vessels")]
    manifest = folder / "train.csv"
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return manifest


@pytest.fixture(scope="module")
def trained(cases, tmp_path_factory) -> tuple[Path, list[str]]:
    """Every diversity counts as too small here, so that there is an alarm to tell."""
    told: list[str] = []
    out = tmp_path_factory.mktemp("trained") / "my"
    settings = TrainSettings(Strategy.HARMONIZER, Preset.TINY, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harmonizer, "COLLAPSED", 1e9)
        train_bundle(cases, out, settings, coarse=demo_bundle_path(), slices=TINIEST, warn=told.append)
    return out, told


def test_the_bundle_says_what_it_is(trained):
    out, told = trained
    document = json.loads((out / "bundle.json").read_text(encoding="utf-8"))
    assert document["schema"] == 3
    assert document["fine"]["kind"] == "slices"
    with Bundle.open(out) as bundle:
        check_bundle(bundle)
        about = bundle.describe()
        assert bundle.slices
    assert [entry["id"] for entry in about["rater_members"]] == ["A", "B", "C"]
    assert about["stages"]["fine"]["architecture"] == "HarmonizerNetwork"
    assert {"sample_diversity", "rater_diversity", "tdsc", "ece"} <= set(about["training"]["metrics"])
    alarms = about["training"]["alarms"]
    assert "posterior collapse" in alarms[0]
    assert set(alarms) <= set(told)


def test_verify_and_show_know_it(trained, capsys):
    out, _ = trained
    assert run_command(["bundle", "verify", str(out)]) == 0
    assert "intact" in capsys.readouterr().out
    with Bundle.open(out) as bundle:
        shown = bundle_text(bundle.describe())
    assert "a network of slices, which draws samples" in shown
    assert "persona 2" in shown


def test_a_result_holds_samples_and_raters(cases, trained, tmp_path):
    out, _ = trained
    image = cases.parent / "phantom_61004" / "image.nii.gz"
    arguments = ["segment", str(image), "--bundle", str(out), "--device", "cpu", "--no-panel", "--no-calibration"]
    asked = ["--samples", "16", "--raters", "--keep-score"]
    assert run_command([*arguments, *asked, "--out", str(tmp_path / "one")]) == 0
    result = read_result_json(tmp_path / "one" / "result.json")
    samples = read_volume(tmp_path / "one" / "samples.nii.gz")
    ct = read_volume(image)
    assert samples.array.dtype == np.uint16
    assert samples.array.shape == ct.array.shape
    assert result["samples"]["file"] == "samples.nii.gz"
    assert result["samples"]["count"] == 16
    volumes = [np.count_nonzero(samples.array & (1 << bit)) * ct.geometry.voxel_ml for bit in range(16)]
    assert result["samples"]["volumes_ml"] == pytest.approx(volumes)
    assert [entry["id"] for entry in result["rater_maps"]] == ["A", "B", "C"]
    assert (tmp_path / "one" / "disagreement.nii.gz").is_file()
    # Another run, with fewer: the score is the same whatever is asked for beside it, and so are the samples.
    assert run_command([*arguments, "--keep-score", "--samples", "3", "--out", str(tmp_path / "few")]) == 0
    scores = [read_volume(tmp_path / folder / "score.nii.gz").array for folder in ("one", "few")]
    assert np.array_equal(*scores)
    few = read_volume(tmp_path / "few" / "samples.nii.gz").array
    assert np.array_equal(few, samples.array & 0b111)


def test_samples_of_another_bundle_are_refused_in_one_sentence(cases, tmp_path, capsys):
    image = cases.parent / "phantom_61004" / "image.nii.gz"
    command = ["segment", str(image), "--bundle", "demo", "--samples", "4", "--out", str(tmp_path / "out")]
    assert run_command(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--samples" in line
    assert "--strategy harmonizer" in line
    assert not (tmp_path / "out").exists()


def rewritten(source: Path, target: Path, change) -> Path:
    shutil.copytree(source, target)
    document = json.loads((target / "bundle.json").read_text(encoding="utf-8"))
    change(document)
    (target / "bundle.json").write_text(json.dumps(document), encoding="utf-8")
    return target


def test_a_bundle_whose_kind_and_network_differ_is_refused(trained, tmp_path):
    out, _ = trained

    def plain(document) -> None:
        del document["fine"]["kind"], document["rater_members"]

    def older(document) -> None:
        document["schema"] = 2

    def unknown(document) -> None:
        document["fine"]["kind"] = "cubes"

    def coarse(document) -> None:
        document["coarse"]["kind"] = "slices"

    def shared(document) -> None:
        document["rater_members"][0]["persona"] = 1

    def fewer(document) -> None:
        del document["rater_members"][2]

    for change, code in (
        (plain, "slice-architecture"),
        (older, "rater-members"),
        (unknown, "bundle-entry"),
        (coarse, "bundle-entry"),
        (shared, "rater-members"),
        (fewer, "slice-architecture"),
    ):
        with raises_error(BundleError, code):
            Bundle.open(rewritten(out, tmp_path / change.__name__, change))


def test_members_are_refused_before_anything_is_written(cases, tmp_path, capsys):
    out = tmp_path / "my"
    command = ["train", str(cases), "--out", str(out), "--strategy", "harmonizer", "--members", "2"]
    assert run_command([*command, "--coarse", "demo"]) == 2
    assert "--members" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
