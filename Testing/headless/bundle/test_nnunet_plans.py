"""A stranger's plans and labels can name only parts that are on the list, and mean what they mean to nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expected_errors import raises_error
from twintrack.bundle.nnunet_plans import architecture_name, check_plans, label_channels
from twintrack.errors import BundleError


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (("network_class_name",), "os.system", ("network-unsupported", "'os.system'")),
        (
            ("network_class_name",),
            "x.dynamic_network_architectures.architectures.unet.PlainConvUNet",
            ("network-unsupported",),
        ),
        (("arch_kwargs", "conv_op"), "os.system", ("network-part-refused", "'conv_op'", "'os.system'")),
        (("arch_kwargs", "nonlin"), "torch.hub.load", ("network-part-refused", "'nonlin'", "'torch.hub.load'")),
        (("arch_kwargs", "norm_op"), "torch.nn.modules.os.system", ("network-part-refused",)),
        (("_kw_requires_import",), ["n_stages"], ("network-part-refused", "'n_stages'")),
        (("_kw_requires_import",), ["conv_op", ["nonlin"]], ("network-part-refused",)),
    ],
)
def test_plans_can_name_only_parts_that_are_on_the_list(
    fine_results: Path, path: tuple[str, ...], value: object, error: tuple[str, ...]
) -> None:
    plans = json.loads((fine_results / "plans.json").read_text())
    entry = plans["configurations"]["3d_fullres"]["architecture"]
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with raises_error(BundleError, *error):
        check_plans(plans, "3d_fullres", "plans.json")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"preprocessor_name": "Mine"}, ("plans-unsupported", "'Mine'")),
        ({"resampling_fn_data": "system"}, ("plans-unsupported", "resampling_fn_data", "'system'")),
        ({"normalization_schemes": ["Mine"]}, ("plans-unsupported", "normalization_schemes")),
        ({"patch_size": [64, 64]}, ("patch-size", "3-D")),
        ({"patch_size": [0, 64, 64]}, ("patch-size",)),
        ({"spacing": [1.0, 1.0, float("nan")]}, ("plans-malformed",)),
        ({"previous_stage": "3d_lowres"}, ("plans-unsupported",)),
        ({"inherits_from": "3d_fullres"}, ("plans-malformed",)),
        ({"inherits_from": "gone"}, ("configuration-unknown", "'gone'")),
    ],
)
def test_plans_that_this_engine_cannot_run_are_refused(
    fine_results: Path, changes: dict[str, Any], error: tuple[str, ...]
) -> None:
    plans = json.loads((fine_results / "plans.json").read_text())
    plans["configurations"]["3d_fullres"].update(changes)
    with raises_error(BundleError, *error):
        check_plans(plans, "3d_fullres", "plans.json")


def test_inherited_configurations_are_merged_with_the_childs_values_on_top(fine_results: Path) -> None:
    plans = json.loads((fine_results / "plans.json").read_text())
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "patch_size": [8, 8, 8]}
    merged = check_plans(plans, "mine", "plans.json")
    assert merged["patch_size"] == [8, 8, 8]
    assert merged["spacing"] == [3.0, 1.5, 1.5]


@pytest.mark.parametrize("labels", [{"background": 0, "b": 2, "a": 1}, {"background": 0, "all": [1, 2], "b": [2]}])
def test_channels_are_those_of_nnunets_label_manager(labels: dict[str, Any]) -> None:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager(labels, [1, 2])
    channels = label_channels({"labels": labels, "regions_class_order": [1, 2]})
    for name, value in labels.items():
        if manager.has_regions and value != 0:
            assert manager.foreground_regions[channels[name]] == tuple(value)
        elif not manager.has_regions:
            assert manager.all_labels[channels[name]] == value
    assert len(set(channels.values())) == manager.num_segmentation_heads


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_the_public_two_stage_models_plans_are_accepted_in_both_formats(test_data: Path, stage: str) -> None:
    plans = json.loads((test_data / "reference/panorama_plans" / stage / "plans.json").read_text())
    configuration = check_plans(plans, "3d_fullres", "plans.json")
    assert architecture_name(configuration, "plans.json") == "PlainConvUNet"
    with raises_error(BundleError, "patch-size", "3-D"):
        check_plans(plans, "2d", "plans.json")
