from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.calibration import read_calibrator
from twintrack.errors import OutputError
from twintrack.io.volumes import read_volume
from twintrack.phantom import write_cohort
from twintrack.studies.train import run
from twintrack.studies.train.finish import ensemble_bundle, pseudonyms, rater_entries, vessels_of
from twintrack.studies.train.inputs import read_cases
from twintrack.studies.train.run import TrainSettings, train_bundle, work_folder
from twintrack.system.locks import try_lock
from twintrack.training import PRESETS, Layout, Member, Preset, Strategy, plan_members

pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.network, pytest.mark.slow]

TINIEST = replace(
    PRESETS[Preset.TINY], fine=replace(PRESETS[Preset.TINY].fine, epochs=2, iterations=2, patch_size=(8, 32, 32))
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Phantoms of one panel of three raters, the last of whom did not read the first case."""
    folder = tmp_path_factory.mktemp("phantoms")
    path = write_cohort(folder, cases=5, raters=3, seed=61_000, panel_seed=0, split=(2, 2, 1))
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["organ"] = f"{row['anatomy']}#pancreas"
    rows[0]["annotation_C"] = ""
    # Vessels of networks that have learnt nothing would take longer to measure than all the rest.
    columns = [name for name in rows[0] if not name.startswith("true") and name not in ("anatomy", "vessels")]
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
        assert read_calibrator(bundle.calibrator_path).selection is not None  # as many bins as the cases carry
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
    layout = Layout(strategy, ("A", "B", "C"), ("pancreas",))
    with Bundle.open(demo_bundle_path()) as demo:
        again = ensemble_bundle(work / "networks", layout, (Member("0"),), demo, tmp_path / "again")
    with Bundle.open(again) as scoring, Bundle.open(out) as bundle:
        assert scoring.networks_sha256 == bundle.networks_sha256
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
    descriptor = try_lock(work / run.LOCK)
    try:
        with raises_error(OutputError, "training-runs", path=work):
            train_bundle(cases, tmp_path / "my", settings, coarse=demo_bundle_path(), numbers=TINIEST)
    finally:
        os.close(descriptor)
    with raises_error(OutputError, "training-differs", path=work):
        train_bundle(cases, tmp_path / "my", replace(settings, seed=1), coarse=demo_bundle_path(), numbers=TINIEST)
    assert (work / "cases" / "prepared.json").is_file()
    assert np.load(next((work / "cases" / "arrays").glob("*_seg.npy")), allow_pickle=False).shape[0] == 4


def test_cases_that_are_all_phantoms_are_known_for_that(cases, tmp_path):
    assert read_cases(cases).phantoms
    text = cases.read_text(encoding="utf-8").splitlines()
    image = tmp_path / "ct.nii.gz"
    shutil.copy(cases.parent / "phantom_61000" / "image.nii.gz", image)
    header, first = text[0].split(","), text[1].split(",")
    first[header.index("image")] = str(image)
    other = cases.with_name("one_real.csv")
    other.write_text("\n".join([text[0], ",".join(first), *text[2:]]) + "\n", encoding="utf-8")
    assert not read_cases(other).phantoms


def test_labels_that_are_vessels_are_found_by_their_names():
    found = vessels_of(("pancreas", "portal_vein", "smv", "aorta", "PORTA_SMV", "label_7", "SMV"))
    assert found == {"PORTA": "portal_vein", "SMV": "smv", "AORTA": "aorta", "PORTA_SMV": "PORTA_SMV"}


def test_names_of_people_do_not_reach_the_bundle():
    assert pseudonyms(("Dr. Miller", "B")) == {"Dr. Miller": "A", "B": "B"}
    assert pseudonyms(("reader_2", "X")) == {"reader_2": "reader_2", "X": "X"}
    for kept in (("1", "2"), ("R1", "r12"), ("Observer-03", "z"), ("expert7",)):
        assert pseudonyms(kept) == dict(zip(kept, kept, strict=True))
    for named in (("A", "smith"), ("JD",), ("reader_jo", "B"), ("miller_2",), ("1234567",)):
        assert list(pseudonyms(named).values()) == ["A", "B"][: len(named)]


def test_networks_and_outputs_of_raters_are_told_by_pseudonyms():
    ids = {"Dr. Miller": "A", "Dr. Smith": "B"}
    members = plan_members(Strategy.RATER_SPECIFIC, tuple(ids), rater=None, members=2)
    layout = Layout(Strategy.RATER_SPECIFIC, ("A", "B"), ())
    assert rater_entries(layout, members, ids) == [
        {"id": "A", "members": ["0", "2"]},
        {"id": "B", "members": ["1", "3"]},
    ]
    heads = replace(layout, strategy=Strategy.HEADS)
    assert rater_entries(heads, members, ids) == [{"id": "A", "label": "rater_A"}, {"id": "B", "label": "rater_B"}]
    assert rater_entries(replace(layout, strategy=Strategy.SOFT), members, ids) == []
