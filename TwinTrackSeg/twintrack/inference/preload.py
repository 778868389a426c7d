"""Importing ahead of the first run what every run needs."""

from __future__ import annotations

import importlib

from twintrack.inference.openvino import openvino_present

__all__ = ["import_packages"]

MODULES = (
    "torch",
    "acvl_utils.cropping_and_padding.padding",
    "dynamic_network_architectures.architectures.unet",
    "nnunetv2.inference.sliding_window_prediction",
    "nnunetv2.preprocessing.cropping.cropping",
    "nnunetv2.preprocessing.normalization.default_normalization_schemes",
    "nnunetv2.utilities.get_network_from_plans",
    "nnunetv2.utilities.label_handling.label_handling",
    "nnunetv2.utilities.plans_handling.plans_handler",
)
"""What the functions of this package import when they are called."""


def import_packages() -> None:
    """Import the packages that the networks need, so that the first run does not wait for them.

    Raises
    ------
    ImportError
        Names the package that is missing; OpenVINO may be.
    """
    for name in MODULES:
        importlib.import_module(name)
    openvino_present()
