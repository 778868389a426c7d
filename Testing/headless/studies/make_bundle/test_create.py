"""Bundles are made from nnU-Net's results folders, complete or not at all, and never run a stranger's code."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from expected_errors import raises_error
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.cli.app import run_command
from twintrack.errors import BundleError, InputError, OutputError

MakeBundle = Callable[..., Path]


class Evil:
    """Unpickling this runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.marker}'",))


@pytest.fixture
def results(fine_results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fine_results, tmp_path / fine_results.name))


def change_checkpoint(folder: Path, change: Callable[[dict[str, Any]], None], fold: int = 0) -> Path:
    path = folder / f"fold_{fold}" / "checkpoint_final.pth"
    checkpoint = read_checkpoint(path, foreign=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


def test_weights_are_kept_bit_for_bit_and_the_optimizer_is_not(bundle_folder: Path, fine_results: Path) -> None:
    kept = read_checkpoint(bundle_folder / "fine/fold_1/checkpoint_final.pth")
    trained = read_checkpoint(fine_results / "fold_1/checkpoint_final.pth", foreign=True)
    assert set(kept) == {"network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes"}
    assert kept["network_weights"].keys() == trained["network_weights"].keys()
    for name, tensor in trained["network_weights"].items():
        assert torch.equal(kept["network_weights"][name], tensor)


@pytest.mark.slow
def test_one_model_serves_as_both_stages(make_results, tmp_path: Path) -> None:
    results = str(make_results({"background": 0, "pancreas": 1, "tumor": 2}, seed=3))
    made = ["bundle", "create", "--coarse", results, "--fine", results, "--folds", "0", "--license", "CC0-1.0"]
    made += ["--organ-labels", "pancreas", "--tumor-labels", "tumor", "--out", str(tmp_path / "both")]
    assert run_command(made) == 0
    with Bundle.open(tmp_path / "both") as bundle:
        assert len(bundle.folds["coarse"]) == len(bundle.folds["fine"]) == 1


def test_half_precision_halves_the_weights(make_bundle: MakeBundle, bundle_folder: Path, tmp_path: Path) -> None:
    half = make_bundle(out=tmp_path / "half", half=True)
    name = "fine/fold_0/checkpoint_final.pth"
    small, full = (read_checkpoint(folder / name)["network_weights"] for folder in (half, bundle_folder))
    assert all(tensor.dtype == torch.float16 for tensor in small.values())
    for key, tensor in full.items():
        assert torch.equal(small[key], tensor.half())

    def stored(weights: dict[str, torch.Tensor]) -> int:
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in weights.values()}.values())

    assert stored(small) * 2 == stored(full)


def test_the_encoder_that_nnunet_lists_twice_is_stored_once(bundle_folder: Path) -> None:
    weights = read_checkpoint(bundle_folder / "fine/fold_0/checkpoint_final.pth")["network_weights"]
    twins = [name for name in weights if name.startswith("decoder.encoder.")]
    assert twins
    for name in twins:
        assert weights[name].data_ptr() == weights[name.removeprefix("decoder.")].data_ptr()


def test_a_checkpoint_with_code_in_it_is_refused_by_name_and_does_nothing(
    results: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    change_checkpoint(results, lambda checkpoint: checkpoint.update(note=Evil(marker)), fold=2)
    with raises_error(BundleError, "checkpoint-refused", "fold_2"):
        make_bundle(fine=results, out=tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_or_too_large_for_half_are_refused(
    results: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    def enlarge(checkpoint: dict[str, Any]) -> None:
        next(iter(checkpoint["network_weights"].values())).fill_(1e5)

    change_checkpoint(results, enlarge)
    make_bundle(fine=results, out=tmp_path / "full")
    with raises_error(BundleError, "weights-not-finite", "float16"):
        make_bundle(fine=results, out=tmp_path / "half", half=True)


def test_weights_trained_with_other_plans_than_the_file_beside_them_are_refused(
    results: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    plans = json.loads((results / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [2.0, 1.5, 1.5]
    (results / "plans.json").write_text(json.dumps(plans))
    with raises_error(BundleError, "plans-differ"):
        make_bundle(fine=results, out=tmp_path / "out")


def test_a_failure_leaves_nothing_behind(results: Path, make_bundle: MakeBundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with raises_error(InputError, "fold-missing", "fold_7"):
        make_bundle(fine=results, folds=("0", "7"), out=home / "out")
    with raises_error(InputError, "label-unknown", "'lesion'", "'tumor'", "'pancreas'", "'sma'"):
        make_bundle(fine=results, tumor_weights={"lesion": 1.0}, out=home / "out")
    with raises_error(InputError, "folder-missing"):
        make_bundle(fine=tmp_path / "nowhere", out=home / "out")
    assert list(home.iterdir()) == []


def test_an_existing_bundle_is_never_overwritten(make_bundle: MakeBundle, bundle_folder: Path) -> None:
    before = (bundle_folder / "bundle.json").read_bytes()
    with raises_error(OutputError, "place-taken"):
        make_bundle(out=bundle_folder)
    assert (bundle_folder / "bundle.json").read_bytes() == before


def test_a_bundle_can_be_written_as_a_zip(make_bundle: MakeBundle, bundle_folder: Path, tmp_path: Path) -> None:
    path = make_bundle(out=tmp_path / "tiny.zip")
    assert zipfile.is_zipfile(path)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]
    with Bundle.open(path) as bundle:
        assert bundle.describe()["stages"] == Bundle.open(bundle_folder).describe()["stages"]


def test_a_calibrator_is_taken_along_and_must_be_one(make_bundle: MakeBundle, tmp_path: Path) -> None:
    calibrator = tmp_path / "mine.json"
    shutil.copy(demo_bundle_path() / "calibrator.json", calibrator)
    path = Bundle.open(make_bundle(calibrator=calibrator, out=tmp_path / "with")).calibrator_path
    assert path is not None
    assert path.read_bytes() == calibrator.read_bytes()
    for content in ("no", '{"knots_x": [0, 1]}'):
        calibrator.write_text(content)
        with pytest.raises(InputError, match=r"mine.json"):
            make_bundle(calibrator=calibrator, out=tmp_path / "bad")


def test_tumor_regions_that_overlap_add_up_to_one(
    make_bundle: MakeBundle, region_results: Path, tmp_path: Path
) -> None:
    values = {"fine": region_results, "folds": ("0", "1"), "vessel_labels": {}}
    assert Bundle.open(make_bundle(**values, out=tmp_path / "one")).members == 2
    with raises_error(BundleError, "regions-overlap"):
        make_bundle(**values, tumor_weights={"tumor": 1.0, "gland": 1.0}, out=tmp_path / "two")
