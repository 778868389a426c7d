"""What a bundle says is checked, and every file is what it was, in a folder and in a zip."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

import twintrack
from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.errors import BundleError


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copied"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "bundle.json"
    document = json.loads(path.read_text())
    for key, value in changes.items():
        if value is KeyError:
            del document[key]
        else:
            document[key] = value
    path.write_text(json.dumps(document))


def rehash(folder: Path, name: str) -> None:
    files = json.loads((folder / "bundle.json").read_text())["files"]
    files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit(folder, files=files)


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


@pytest.mark.slow
def test_a_sound_bundle_opens_with_what_it_was_made_with(bundle_folder: Path) -> None:
    bundle = Bundle.open(bundle_folder)
    assert bundle.folds == {"coarse": ("0",), "fine": ("0", "1", "2")}
    assert bundle.members == 3
    assert bundle.roi_margin_mm == 20.0
    assert bundle.calibrator_path is None
    assert bundle.sha256 == hashlib.sha256((bundle_folder / "bundle.json").read_bytes()).hexdigest()


def test_what_a_bundle_may_leave_out_has_defaults(copied: Path) -> None:
    edit(copied, roi_component_fraction=KeyError, roi_probability=KeyError, fingerprint=KeyError)
    bundle = Bundle.open(copied)
    assert (bundle.roi_component_fraction, bundle.roi_probability, bundle.fingerprints) == (0.1, None, {})
    assert bundle.describe()["stages"]["fine"]["fingerprint"] is None


def test_options_of_the_region_are_kept(make_bundle, tmp_path: Path) -> None:
    values = {"roi_component_fraction": 1.0, "roi_probability": 0.25, "roi_margin_mm": 12.5, "mirroring": True}
    bundle = Bundle.open(make_bundle(out=tmp_path / "options", **values))
    assert {key: getattr(bundle, key) for key in values} == values
    assert {key: bundle.describe()[key] for key in values} == values


def test_the_contact_distance_may_be_left_out(copied: Path) -> None:
    edit(copied, contact_mm=KeyError)
    assert Bundle.open(copied).contact_mm is None
    edit(copied, contact_mm=2)
    with Bundle.open(copied) as bundle:
        assert (bundle.contact_mm, bundle.describe()["contact_mm"]) == (2.0, 2.0)


def test_vessel_values_follow_the_order_of_the_readouts_and_not_of_the_file(bundle_folder: Path) -> None:
    assert Bundle.open(bundle_folder).vessel_values == {"PORTA": 1, "SMA": 5}


def test_the_description_is_json_and_names_models_and_labels(bundle_folder: Path) -> None:
    description = json.loads(json.dumps(Bundle.open(bundle_folder).describe()))
    assert description["stages"]["fine"]["patch_size"] == [16, 32, 32]
    assert description["stages"]["fine"]["labels"]["tumor"] == 1
    assert description["stages"]["coarse"]["training_intensities"]["mean"] == 40.0
    assert description["calibrated"] is False


@pytest.mark.parametrize("name", ["fine/fold_1/checkpoint_final.pth", "coarse/plans.json", "fine/dataset.json"])
def test_one_changed_byte_is_found_and_named(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with raises_error(BundleError, "bundle-file-altered", name):
        Bundle.open(copied)


def test_a_missing_fold_is_named(copied: Path) -> None:
    shutil.rmtree(copied / "fine" / "fold_2")
    with raises_error(BundleError, "bundle-file-missing", "fine/fold_2/checkpoint_final.pth"):
        Bundle.open(copied)


def test_a_fold_that_is_not_hashed_is_refused(copied: Path) -> None:
    edit(copied, fine={"folds": ["0", "1", "2", "3"]})
    with raises_error(BundleError, "bundle-file-unlisted", "fine/fold_3"):
        Bundle.open(copied)


def test_a_file_that_is_not_listed_is_refused_but_litter_of_file_managers_is_not(copied: Path) -> None:
    (copied / "fine" / ".DS_Store").write_bytes(b"x")
    (copied / "._bundle.json").write_bytes(b"x")
    Bundle.open(copied)
    (copied / "fine" / "extra.py").write_text("print()")
    with raises_error(BundleError, "bundle-file-unlisted", "fine/extra.py"):
        Bundle.open(copied)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"schema": 4}, ("schema-unknown",)),
        ({"schema": 2}, ("bundle-entry", "'tumor_weights'")),
        ({"schema": KeyError}, ("bundle-entry", "'schema'")),
        ({"name": " "}, ("bundle-entry", "'name'")),
        ({"demo": 1}, ("bundle-entry", "'demo'")),
        ({"tumor_labels": []}, ("bundle-entry", "'tumor_labels'")),
        ({"tumor_labels": ["lesion"]}, ("label-unknown", "'lesion'")),
        ({"tumor_labels": ["background"]}, ("label-unknown", "'background'")),
        ({"organ_labels": ["tumor"]}, ("label-unknown", "'tumor'")),
        ({"vessel_labels": {"SMA": "artery"}}, ("label-unknown", "'artery'")),
        ({"vessel_labels": {"SMA": "sma", "SMV": "sma"}}, ("vessels-share-label",)),
        ({"roi_margin_mm": -1}, ("bundle-entry", "'roi_margin_mm'")),
        ({"roi_margin_mm": float("nan")}, ("json-unreadable", "NaN")),
        ({"roi_margin_mm": 10**400}, ("json-unreadable", "401")),
        ({"roi_margin_mm": True}, ("bundle-entry", "'roi_margin_mm'")),
        ({"roi_component_fraction": 1.5}, ("bundle-entry", "'roi_component_fraction'")),
        ({"roi_component_fraction": None}, ("bundle-entry", "'roi_component_fraction'")),
        ({"roi_probability": "half"}, ("bundle-entry", "'roi_probability'")),
        ({"roi_probability": float("nan")}, ("json-unreadable", "NaN")),
        ({"contact_mm": 0}, ("bundle-entry", "'contact_mm'", "0.5")),
        ({"contact_mm": True}, ("bundle-entry", "'contact_mm'", "0.5")),
        ({"contact_mm": "2 mm"}, ("bundle-entry", "'contact_mm'", "0.5")),
        ({"fingerprint": []}, ("bundle-entry", "'fingerprint'")),
        ({"fingerprint": {"middle": {}}}, ("bundle-entry", "'fingerprint'")),
        ({"fingerprint": {"fine": {}}}, ("fingerprint-malformed", "'intensities_hu'")),
        ({"fine": {"folds": ["0", "1", "2"], "trainer": 3}}, ("bundle-entry", "'trainer'", "'fine'")),
        ({"pooling": "median"}, ("bundle-entry", "'median'")),
        ({"raters": 0}, ("bundle-entry", "'raters'")),
        ({"fine": {"folds": ["../x"]}}, ("bundle-entry", "'folds'", "'fine'")),
        ({"fine": {"folds": ["0", "0"]}}, ("bundle-entry", "'folds'", "'fine'")),
        ({"configuration": {"coarse": "3d_fullres"}}, ("bundle-entry",)),
        ({"configuration": {"coarse": "3d_fullres", "fine": "3d_lowres"}}, ("configuration-unknown", "'3d_lowres'")),
        ({"files": {"../secret": "0" * 64}}, ("bundle-entry",)),
        ({"files": {"coarse/plans.json": "abc"}}, ("bundle-entry", "SHA", "256", "64")),
        ({"networks_sha256": "abc"}, ("bundle-entry", "SHA", "256", "64")),
    ],
)
def test_every_wrong_entry_gets_its_own_sentence(copied: Path, changes: dict[str, Any], error: tuple[str, ...]) -> None:
    edit(copied, **changes)
    with raises_error(BundleError, *error):
        Bundle.open(copied)


def test_the_networks_hash_knows_networks_and_nothing_else(copied: Path) -> None:
    with Bundle.open(copied) as bundle:
        before = bundle.networks_sha256
    edit(copied, name="another name", description="other words", roi_margin_mm=33.0)
    with Bundle.open(copied) as bundle:
        assert bundle.networks_sha256 == before == bundle.describe()["networks_sha256"]
    edit(copied, mirroring=not bundle.mirroring, networks_sha256=before)
    with Bundle.open(copied) as bundle:
        assert bundle.networks_sha256 != before  # what is written there is for other programs


def test_what_training_left_is_told_how_it_becomes_a_bundle(make_results) -> None:
    results = make_results({"background": 0, "tumor": 1}, seed=3)
    for folder in (results, results.parent):
        with raises_error(BundleError, "not-a-bundle", "bundle.json", "twintrack bundle create"):
            Bundle.open(folder)


def test_things_that_are_no_bundle_say_so(tmp_path: Path) -> None:
    with raises_error(BundleError, "bundle-missing"):
        Bundle.open(tmp_path / "nowhere")
    with raises_error(BundleError, "not-a-bundle", "bundle.json"):
        Bundle.open(tmp_path)
    (tmp_path / "bundle.json").write_text("{not json")
    with raises_error(BundleError, "json-unreadable", "JSON"):
        Bundle.open(tmp_path)
    (tmp_path / "text.zip").write_text("not a zip")
    with raises_error(BundleError, "archive-damaged"):
        Bundle.open(tmp_path / "text.zip")


@pytest.mark.parametrize("prefix", ["", "tiny bundle/"])
def test_a_zip_is_the_same_bundle_and_leaves_nothing_behind(bundle_folder: Path, tmp_path: Path, prefix: str) -> None:
    with Bundle.open(zipped(bundle_folder, tmp_path / "tiny.zip", prefix)) as bundle:
        unpacked = bundle.path
        assert bundle.sha256 == Bundle.open(bundle_folder).sha256
        assert unpacked.is_dir()
    assert not unpacked.exists()


def test_an_altered_file_in_a_zip_is_named_with_the_zip(copied: Path, tmp_path: Path) -> None:
    (copied / "coarse" / "dataset.json").write_text("{}")
    with raises_error(BundleError, "bundle-file-altered", "tiny.zip", "coarse/dataset.json"):
        Bundle.open(zipped(copied, tmp_path / "tiny.zip"))


def test_the_demo_bundle_is_found_or_its_absence_is_said() -> None:
    if not (Path(twintrack.__file__).parent / "data" / "demo_bundle").exists():
        with pytest.raises(BundleError, match="demo bundle"):
            demo_bundle_path()
    else:
        assert Bundle.open(demo_bundle_path()).demo
