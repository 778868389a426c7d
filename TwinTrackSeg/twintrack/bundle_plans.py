"""Checks of a stranger's nnU-Net ``plans.json`` and ``dataset.json`` before anything acts on them.

nnU-Net turns names found in these files into imports. Only the names listed here are let through, so that a model file
can choose among known parts and can never bring in code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from twintrack.bundle_fingerprint import INTENSITIES, plans_intensities
from twintrack.errors import BundleError

__all__ = [
    "ARCHITECTURES",
    "NORMALIZATIONS",
    "architecture_name",
    "check_dataset",
    "check_plans",
    "label_channels",
    "resolve_configuration",
]

ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
"""Network classes of ``dynamic_network_architectures.architectures.unet`` that a model may use."""

NORMALIZATIONS = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
)
"""Intensity schemes of nnU-Net that a CT model may use."""

RESAMPLERS = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "resample_torch_simple")
RESAMPLER_KEYS = ("resampling_fn_data", "resampling_fn_probabilities")

_ARCHITECTURE = re.compile(rf"dynamic_network_architectures\.architectures\.\w+\.({'|'.join(ARCHITECTURES)})")
_OPERATORS = {
    "conv_op": re.compile(r"torch\.nn\.(modules\.\w+\.)?Conv3d"),
    "norm_op": re.compile(r"torch\.nn\.(modules\.\w+\.)?(InstanceNorm3d|BatchNorm3d)"),
    "dropout_op": re.compile(r"torch\.nn\.(modules\.\w+\.)?Dropout3d"),
    "nonlin": re.compile(r"torch\.nn\.(modules\.\w+\.)?(LeakyReLU|ReLU|PReLU|ELU|SELU|GELU|SiLU|Mish)"),
    "block": re.compile(r"dynamic_network_architectures\.building_blocks\.residual\.(BasicBlockD|BottleneckD)"),
}


def resolve_configuration(plans: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return the configuration `name` of `plans` with everything it inherits.

    Parameters
    ----------
    plans : mapping
        Content of ``plans.json``.
    name : str
        For example ``"3d_fullres"``.
    where : str
        The file, for messages.

    Raises
    ------
    BundleError
        If the configuration is missing or inherits from itself.
    """
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict):
        raise BundleError(f"{where}: has no 'configurations'; it is not an nnU-Net v2 plans file")
    chain: list[dict[str, Any]] = []
    current: object = name
    while current is not None:
        entry = configurations.get(current) if isinstance(current, str) else None
        if not isinstance(entry, dict):
            known = ", ".join(sorted(configurations))
            raise BundleError(f"{where}: has no configuration {current!r}; it has {known}")
        if len(chain) > len(configurations):
            raise BundleError(f"{where}: configuration {name!r} inherits from itself")
        chain.append(entry)
        current = entry.get("inherits_from")
    merged: dict[str, Any] = {}
    for entry in reversed(chain):
        merged.update(entry)
    return merged


def architecture_name(configuration: Mapping[str, Any], where: str) -> str:
    """Return which of `ARCHITECTURES` a resolved configuration asks for, in the old or the new plans format.

    Raises
    ------
    BundleError
        If it asks for another class, or for parts outside the allow-list.
    """
    if "architecture" not in configuration:
        old = configuration.get("UNet_class_name")
        if old not in ARCHITECTURES:
            raise BundleError(f"{where}: network class {old!r} is not supported; use one of {', '.join(ARCHITECTURES)}")
        return str(old)
    architecture = configuration["architecture"]
    if not isinstance(architecture, dict) or not isinstance(architecture.get("arch_kwargs"), dict):
        raise BundleError(f"{where}: 'architecture' must be a table with 'arch_kwargs'")
    found = _ARCHITECTURE.fullmatch(str(architecture.get("network_class_name")))
    if found is None:
        raise BundleError(
            f"{where}: network class {architecture.get('network_class_name')!r} is not supported; use one of "
            f"{', '.join(ARCHITECTURES)}"
        )
    _check_operators(architecture, where)
    return found.group(1)


def _check_operators(architecture: Mapping[str, Any], where: str) -> None:
    imported = architecture.get("_kw_requires_import", [])
    if not isinstance(imported, list):
        raise BundleError(f"{where}: '_kw_requires_import' must be a list of names")
    for key in imported:
        allowed = _OPERATORS.get(str(key))
        value = architecture["arch_kwargs"].get(str(key))
        if allowed is None or not (value is None or (isinstance(value, str) and allowed.fullmatch(value))):
            raise BundleError(f"{where}: the network part {key!r} = {value!r} is not on the list of allowed parts")


def check_plans(plans: Mapping[str, Any], configuration_name: str, where: str) -> dict[str, Any]:
    """Check that a plans file describes a 3-D model this engine runs; return its resolved configuration.

    Raises
    ------
    BundleError
        Names the entry that is missing, malformed or not allowed.
    """
    configuration = resolve_configuration(plans, configuration_name, where)
    _check_numbers(plans, configuration, where)
    architecture_name(configuration, where)
    if plans.get("label_manager", "LabelManager") != "LabelManager":
        raise BundleError(f"{where}: label manager {plans['label_manager']!r} is not supported")
    if configuration.get("preprocessor_name") != "DefaultPreprocessor":
        raise BundleError(f"{where}: preprocessor {configuration.get('preprocessor_name')!r} is not supported")
    if configuration.get("previous_stage") is not None:
        raise BundleError(f"{where}: {configuration_name!r} is a cascade, which needs another model's output")
    for key in RESAMPLER_KEYS:
        if configuration.get(key) not in RESAMPLERS or not isinstance(configuration.get(f"{key}_kwargs"), dict):
            raise BundleError(f"{where}: {key} {configuration.get(key)!r} is not supported")
    schemes = configuration.get("normalization_schemes")
    if not isinstance(schemes, list) or len(schemes) != 1 or schemes[0] not in NORMALIZATIONS:
        raise BundleError(f"{where}: normalization_schemes must be one of {', '.join(NORMALIZATIONS)}, got {schemes!r}")
    return configuration


def _check_numbers(plans: Mapping[str, Any], configuration: Mapping[str, Any], where: str) -> None:
    patch, spacing = configuration.get("patch_size"), configuration.get("spacing")
    if not _three(patch, int) or min(patch) < 1 or max(patch) > 1024:  # type: ignore[arg-type]
        raise BundleError(f"{where}: patch_size must be three numbers from 1 to 1024 (a 3-D model), got {patch!r}")
    if not _three(spacing, (int, float)) or not all(0 < s < 100 for s in spacing):  # type: ignore[union-attr]
        raise BundleError(f"{where}: spacing must be three lengths in mm, got {spacing!r}")
    for key in ("transpose_forward", "transpose_backward"):
        if not _three(plans.get(key), int) or sorted(plans[key]) != [0, 1, 2]:
            raise BundleError(f"{where}: {key} must be an order of the axes 0, 1, 2, got {plans.get(key)!r}")
    intensities = plans_intensities(plans)
    if not isinstance(intensities, dict) or not all(_number(intensities.get(key)) for key in INTENSITIES):
        raise BundleError(f"{where}: the training intensities ({', '.join(INTENSITIES)}) of channel 0 are missing")
    use_mask = configuration.get("use_mask_for_norm")
    if not isinstance(use_mask, list) or len(use_mask) != 1 or not isinstance(use_mask[0], bool):
        raise BundleError(f"{where}: use_mask_for_norm must be [true] or [false], got {use_mask!r}")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _three(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(v, kind) and _number(v) for v in value)


def check_dataset(dataset: Mapping[str, Any], where: str) -> None:
    """Check that a ``dataset.json`` has one input channel and usable labels.

    Raises
    ------
    BundleError
        Names what is wrong.
    """
    channels = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(channels, dict) or len(channels) != 1:
        raise BundleError(f"{where}: the model must take one channel, the CT; it takes {channels!r}")
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or labels.get("background") != 0:
        raise BundleError(f"{where}: 'labels' must map names to values, with background 0")
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 256 for v in values):
            raise BundleError(f"{where}: label {name!r} must be a whole number from 0 to 255 or a list of them")
    if _has_regions(labels):
        order = dataset.get("regions_class_order")
        if not isinstance(order, list) or len(order) != len(label_channels(dataset)):
            raise BundleError(f"{where}: a model of regions needs 'regions_class_order' with one entry a region")


def _has_regions(labels: Mapping[str, Any]) -> bool:
    return any(isinstance(value, list) and len(value) > 1 for value in labels.values())


def label_channels(dataset: Mapping[str, Any]) -> dict[str, int]:
    """Return which output channel of the network scores each label name of a checked ``dataset.json``.

    Models of exclusive labels have one channel a label value (softmax), models of overlapping regions one channel a
    region without background (sigmoid). This follows nnU-Net's label manager.
    """
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    if _has_regions(labels):
        regions = [name for name, value in labels.items() if set(_as_list(value)) != {0}]
        return {name: channel for channel, name in enumerate(regions)}
    values = sorted({_as_list(value)[0] for value in labels.values()})
    return {name: values.index(_as_list(value)[0]) for name, value in labels.items()}


def _as_list(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]
