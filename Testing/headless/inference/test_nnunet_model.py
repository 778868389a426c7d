"""Networks come from either plans format, with either architecture, and bring in nothing that is not needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from twintrack.bundle.model_bundle import Bundle
from twintrack.bundle.nnunet_plans import check_plans
from twintrack.inference.nnunet_model import build_network, check_weights, load_member, open_stage, read_stage

pytestmark = pytest.mark.network


def in_old_format(plans: dict[str, Any]) -> dict[str, Any]:
    """Write the tiny plans as nnU-Net up to 2.2 wrote them."""
    old = json.loads(json.dumps(plans))
    configuration = old["configurations"]["3d_fullres"]
    network = configuration.pop("architecture")["arch_kwargs"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": network["features_per_stage"][0],
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": network["n_conv_per_stage"],
        "n_conv_per_stage_decoder": network["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [1, 2, 2],
        "pool_op_kernel_sizes": network["strides"],
        "conv_kernel_sizes": network["kernel_sizes"],
    }
    return old


def test_old_and_new_plans_give_the_same_network_without_a_warning(
    fine_results: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    results = tmp_path / fine_results.name
    shutil.copytree(fine_results, results)
    plans = json.loads((results / "plans.json").read_text())
    (results / "plans.json").write_text(json.dumps(in_old_format(plans)))
    patch = torch.randn((1, 1, 16, 32, 32), generator=torch.Generator().manual_seed(0))
    outputs = []
    for source in (fine_results, results):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Bundle.open(make_bundle(fine=source, out=tmp_path / f"b{len(outputs)}")) as bundle:
                network = load_member(open_stage(bundle, "fine"), "0").network.module
        outputs.append(network(patch))
    assert torch.equal(*outputs)


def test_residual_encoder_plans_load_their_weights(make_results: Any, make_bundle: Any, fine_results: Path) -> None:
    plans = json.loads((fine_results / "plans.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    architecture["arch_kwargs"]["n_blocks_per_stage"] = architecture["arch_kwargs"].pop("n_conv_per_stage")
    results = make_results(bundle_labels(fine_results), plans=plans)
    folder = make_bundle(fine=results, folds=("0",), out=results.parent / "residual")
    with Bundle.open(folder) as bundle:
        check_weights(bundle)
        network = load_member(open_stage(bundle, "fine"), "0").network.module
    assert type(network).__name__ == "ResidualEncoderUNet"
    assert network(torch.zeros((1, 1, 16, 32, 32))).shape == (1, 5, 16, 32, 32)


def bundle_labels(results: Path) -> dict[str, Any]:
    return dict(json.loads((results / "dataset.json").read_text())["labels"])


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_the_public_two_stage_models_networks_are_built_as_planned(test_data: Path, name: str) -> None:
    folder = test_data / "reference" / "panorama_plans" / name
    plans, dataset = (json.loads((folder / file).read_text()) for file in ("plans.json", "dataset.json"))
    stage = read_stage(folder, plans, dataset, "3d_fullres", False)
    planned = check_plans(plans, "3d_fullres", "plans.json")
    patch = torch.empty((1, 1, *planned["patch_size"]), device="meta")
    with torch.no_grad():
        assert build_network(stage)(patch).shape == (1, len(dataset["labels"]), *planned["patch_size"])


def test_the_public_models_plans_make_a_bundle_whose_weights_fit(
    test_data: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    reference = test_data / "reference" / "panorama_plans"
    for name in ("coarse", "fine"):
        results = tmp_path / name / "nnUNetTrainer_Loss_CE_checkpoints__nnUNetPlans__3d_fullres"
        shutil.copytree(reference / name, results)
        plans, dataset = (json.loads((results / file).read_text()) for file in ("plans.json", "dataset.json"))
        network = build_network(read_stage(results, plans, dataset, "3d_fullres", False)).to_empty(device="cpu")
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        (results / "fold_0").mkdir()
        checkpoint = {"network_weights": network.state_dict(), "init_args": {"configuration": "3d_fullres"}}
        torch.save(checkpoint, results / "fold_0" / "checkpoint_final.pth")
    coarse, fine = (next((tmp_path / name).iterdir()) for name in ("coarse", "fine"))
    with Bundle.open(
        make_bundle(coarse=coarse, fine=fine, folds=("0",), vessel_labels={}, half=True, out=tmp_path / "public")
    ) as bundle:
        check_weights(bundle)
        assert bundle.describe()["stages"]["fine"]["patch_size"] == [48, 128, 288]


RUN = """
import sys
import numpy as np
from twintrack.bundle.model_bundle import Bundle
import twintrack.inference
assert "torch" not in sys.modules and "nnunetv2" not in sys.modules, "heavy imports at import time"
from twintrack.inference import localize, roi_full, score_ensemble
from twintrack.volume import Geometry, Volume
noise = np.random.default_rng(0).normal(0, 100, (16, 32, 32)).astype(np.float32)
ct = Volume(noise, Geometry((32, 32, 16), (1.5, 1.5, 3.0)))
with Bundle.open(sys.argv[1]) as bundle:
    localize(ct, bundle, device="cpu")
    score_ensemble(ct, roi_full(ct.geometry), bundle, device="cpu")
heavy = {"torch._dynamo", "torchvision", "timm", "multiprocessing.pool", "nnunetv2.inference.predict_from_raw_data"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_a_run_imports_no_more_than_it_needs_and_writes_nothing_to_standard_output(bundle_folder: Path) -> None:
    run = subprocess.run([sys.executable, "-c", RUN, str(bundle_folder)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert run.stderr.strip().splitlines()[-1] == "[]"
