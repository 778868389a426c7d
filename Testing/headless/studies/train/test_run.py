from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from expected_errors import raises_error

from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.errors import OutputError
from twintrack.io.volumes import read_volume
from twintrack.phantom import write_cohort
from twintrack.studies.train.run import TrainSettings, train_bundle, work_folder
from twintrack.training import PRESETS, Preset, Strategy

pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.network, pytest.mark.slow]

SPLITS = ("train", "train", "calibration", "calibration", "test")

TINIEST = replace(
    PRESETS[Preset.TINY], fine=replace(PRESETS[Preset.TINY].fine, epochs=2, iterations=2, patch_size=(8, 32, 32))
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Phantoms of one panel of three raters, the last of whom did not read the first case."""
    folder = tmp_path_factory.mktemp("phantoms")
    path = write_cohort(folder, cases=len(SPLITS), raters=3, seed=61_000, panel_seed=0)
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row, split in zip(rows, SPLITS, strict=True):
        row["split"] = split
    rows[0]["annotation_C"] = ""
    columns = [name for name in rows[0] if not name.startswith("true")]
    manifest = folder / "train.csv"
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def trained(cases: Path, out: Path, strategy: Strategy, told: list[str]) -> Path:
    settings = TrainSettings(strategy, Preset.TINY, device="cpu")
    return train_bundle(cases, out, settings, coarse=demo_bundle_path(), numbers=TINIEST, warn=told.append)


@pytest.mark.parametrize(
    ("strategy", "schema_weights", "members"),
    [(Strategy.SOFT, {"tumor": 1.0}, 1), (Strategy.HEADS, dict.fromkeys(("rater_A", "rater_B", "rater_C"), 1 / 3), 1)],
)
def test_masks_of_raters_become_a_bundle_that_segments(cases, tmp_path, strategy, schema_weights, members):
    from twintrack.api import segment
    from twintrack.studies.make_bundle.create import check_bundle

    told: list[str] = []
    out = trained(cases, tmp_path / "my", strategy, told)
    with Bundle.open(out) as bundle:
        check_bundle(bundle)
        assert bundle.tumor_weights == pytest.approx(schema_weights)
        assert bundle.members == members
        assert bundle.demo  # its stage 1 knows phantoms only
        assert set(bundle.vessel_labels) == {"PORTA", "SMV", "AORTA", "CELIAC", "SMA"}
        assert bundle.calibrator_path is not None
        card = bundle.training
        assert bundle.inputs.cases == 2
        assert [rater.id for rater in bundle.rater_members] == (["A", "B", "C"] if strategy is Strategy.HEADS else [])
    assert card["strategy"] == strategy.value
    assert card["cases"] == {"train": 2, "calibration": 2, "test": 1}
    assert card["cases_by_rater"] == {"A": 2, "B": 2, "C": 1}
    assert set(card["metrics"]) == {"tdsc", "ece", "brier", "mhr_gap"}
    assert any("fewer than 5" in text for text in told)
    work = work_folder(out)
    assert (work / "networks" / "log.csv").is_file()
    assert not list(work.rglob("*.npy")), "patients' images are left behind"
    found = segment(read_volume(cases.parent / "phantom_61004" / "image.nii.gz"), out)
    assert 0 <= found.probability.array.min() <= found.probability.array.max() <= 1
    with raises_error(OutputError, "place-taken"):
        trained(cases, out, strategy, told)


def test_a_training_with_other_settings_does_not_go_on(cases, tmp_path):
    class Killed(BaseException):
        pass

    def kill(fraction: float, text: str) -> None:
        if text.startswith("network"):
            raise Killed

    settings = TrainSettings(Strategy.SOFT, Preset.TINY, device="cpu")
    with pytest.raises(Killed):
        train_bundle(cases, tmp_path / "my", settings, coarse=demo_bundle_path(), numbers=TINIEST, progress=kill)
    work = work_folder(tmp_path / "my")
    assert (work / "cases" / "prepared.json").is_file()
    with raises_error(OutputError, "training-differs", path=work):
        train_bundle(cases, tmp_path / "my", replace(settings, seed=1), coarse=demo_bundle_path(), numbers=TINIEST)
    assert (work / "cases" / "prepared.json").is_file()
    assert np.load(next((work / "cases" / "arrays").glob("*_seg.npy")), allow_pickle=False).shape[0] == 4
