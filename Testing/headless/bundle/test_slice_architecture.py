from __future__ import annotations

import copy

import pytest

from expected_errors import raises_error
from twintrack.bundle.slice_architecture import SliceArchitecture, read_slice_architecture
from twintrack.errors import BundleError

ARCHITECTURE = SliceArchitecture((8, 16, 32), raters=3, harmonize="encoder", thin_start=True, bank=32)
CONFIGURATION = {"patch_size": [1, 64, 48], "architecture": ARCHITECTURE.to_json()}


def test_what_is_written_is_read():
    assert read_slice_architecture(CONFIGURATION, "plans.json") == ARCHITECTURE


@pytest.mark.parametrize("name", ["dynamic_network_architectures.architectures.unet.PlainConvUNet", None, 5])
def test_another_network_is_none_of_slices(name):
    entry = {**CONFIGURATION["architecture"], "network_class_name": name}
    assert read_slice_architecture({**CONFIGURATION, "architecture": entry}, "plans.json") is None
    assert read_slice_architecture({}, "plans.json") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", [8]),
        ("features", [8, 2000]),
        ("features", "8, 16"),
        ("raters", 0),
        ("raters", 33),
        ("latent", True),
        ("latent", 6.0),
        ("harmonize", "everywhere"),
        ("thin_start", 1),
        ("bank", None),
        ("surprise", 1),
    ],
)
def test_a_number_out_of_range_is_named(name, value):
    configuration = copy.deepcopy(CONFIGURATION)
    configuration["architecture"]["arch_kwargs"][name] = value
    with raises_error(BundleError, "slice-architecture", name, path="plans.json"):
        read_slice_architecture(configuration, "plans.json")


@pytest.mark.parametrize("patch", [[1, 64, 50], [2, 64, 64], [64, 64]])
def test_a_patch_is_one_slice_that_can_be_halved(patch):
    with raises_error(BundleError, "slice-architecture", "patch_size"):
        read_slice_architecture({**CONFIGURATION, "patch_size": patch}, "plans.json")


def test_parameters_are_not_promised_too_many():
    torch = pytest.importorskip("torch")
    from twintrack.harmonizer import HarmonizerNetwork

    with torch.device("meta"):
        network = HarmonizerNetwork(ARCHITECTURE, 2)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert 0.5 * count < ARCHITECTURE.parameters(3) < 2 * count
