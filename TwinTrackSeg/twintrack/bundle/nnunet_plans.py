"""Checks of a stranger's nnU-Net ``plans.json`` and ``dataset.json`` before anything acts on them.

nnU-Net turns names found in these files into imports. Only the names listed here are let through, so that a model file
can choose among known parts and can never bring in code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twintrack.bundle.architecture import ARCHITECTURES, MAX_PATCH_EDGE, read_architecture
from twintrack.bundle.fingerprint import INTENSITIES, plans_intensities
from twintrack.bundle.slice_architecture import read_slice_architecture
from twintrack.errors import BundleError

__all__ = [
    "ARCHITECTURES",
    "NORMALIZATIONS",
    "architecture_name",
    "check_dataset",
    "check_plans",
    "has_regions",
    "label_channels",
    "resolve_configuration",
]

NORMALIZATIONS = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
)
"""Intensity schemes of nnU-Net that a CT model may use."""

SPACING_MM = (0.05, 20.0)
"""Voxel edges of a network: the finest CT has 0.1 mm, and the coarsest model that is known 9 mm."""

MAX_HU = 100_000.0
"""No intensity of a CT comes near it."""

MAX_LABELS = 256
MAX_NAME = 200
"""Labels of a data set, and characters of a name."""

_RANGE = tuple[float, float]
_COMMON: dict[str, _RANGE | tuple[object, ...]] = {
    "is_seg": (False,),
    "force_separate_z": (None, True, False),
    "separate_z_anisotropy_threshold": (1.0, 100.0),
}
RESAMPLERS: dict[str, dict[str, _RANGE | tuple[object, ...]]] = {
    "resample_data_or_seg_to_shape": {**_COMMON, "order": (0, 1, 2, 3, 4, 5), "order_z": (0, 1, 2, 3, 4, 5)},
    "resample_torch_fornnunet": {
        **_COMMON,
        "num_threads": (1.0, 256.0),
        "memefficient_seg_resampling": (False, True),
        "mode": ("linear", "nearest", "nearest-exact"),
        "aniso_axis_mode": ("linear", "nearest", "nearest-exact"),
    },
}
"""nnU-Net's functions for resampling an image, with the values that each of their options may have."""

_RANGES = ("separate_z_anisotropy_threshold", "num_threads")
RESAMPLER_KEYS = ("resampling_fn_data", "resampling_fn_probabilities")


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
        raise BundleError(
            "has no 'configurations'; it is not an nnU-Net v2 plans file", code="plans-malformed", path=where
        )
    chain: list[dict[str, Any]] = []
    current: object = name
    while current is not None:
        entry = configurations.get(current) if isinstance(current, str) else None
        if not isinstance(entry, dict):
            known = ", ".join(sorted(configurations))
            raise BundleError(
                f"has no configuration {current!r}; it has {known}", code="configuration-unknown", path=where
            )
        if len(chain) > len(configurations):
            raise BundleError(f"configuration {name!r} inherits from itself", code="plans-malformed", path=where)
        chain.append(entry)
        if "inherits_from" in entry and not isinstance(entry["inherits_from"], str):
            raise BundleError(
                f"'inherits_from' must name a configuration, got {entry['inherits_from']!r}; leave it out if "
                "there is none",
                code="plans-malformed",
                path=where,
            )
        current = entry.get("inherits_from")
    merged: dict[str, Any] = {}
    for entry in reversed(chain):
        merged.update(entry)
    return merged


def architecture_name(configuration: Mapping[str, Any], where: str) -> str:
    """Return which network a resolved configuration asks for: one of `ARCHITECTURES`, or a network of slices.

    Raises
    ------
    BundleError
        If it asks for another class, or for parts or numbers that are not allowed.
    """
    slices = read_slice_architecture(configuration, where)
    return read_architecture(configuration, where).name if slices is None else slices.name


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
        raise BundleError(
            f"label manager {plans['label_manager']!r} is not supported", code="plans-unsupported", path=where
        )
    if configuration.get("preprocessor_name") != "DefaultPreprocessor":
        raise BundleError(
            f"preprocessor {configuration.get('preprocessor_name')!r} is not supported",
            code="plans-unsupported",
            path=where,
        )
    if configuration.get("previous_stage") is not None:
        raise BundleError(
            f"{configuration_name!r} is a cascade, which needs another model's output",
            code="plans-unsupported",
            path=where,
        )
    for key in RESAMPLER_KEYS:
        _check_resampler(configuration, key, where)
    schemes = configuration.get("normalization_schemes")
    if not isinstance(schemes, list) or len(schemes) != 1 or schemes[0] not in NORMALIZATIONS:
        raise BundleError(
            f"normalization_schemes must be one of {', '.join(NORMALIZATIONS)}, got {schemes!r}",
            code="plans-unsupported",
            path=where,
        )
    return configuration


def _check_resampler(configuration: Mapping[str, Any], key: str, where: str) -> None:
    name, options = configuration.get(key), configuration.get(f"{key}_kwargs")
    if not isinstance(name, str) or name not in RESAMPLERS or not isinstance(options, dict):
        raise BundleError(
            f"{key} {name!r} is not supported; use one of {', '.join(RESAMPLERS)} with a table",
            code="plans-unsupported",
            path=where,
        )
    allowed = RESAMPLERS[name]
    for option, value in options.items():
        values = allowed.get(option, ())
        if option in _RANGES:
            right = _number(value) and values[0] <= value <= values[1]
        else:
            right = any(value is one or (type(value) is type(one) and value == one) for one in values)
        if not right:
            raise BundleError(
                f"{key}_kwargs holds {option!r} = {value!r}, which is not on the list of options",
                code="plans-unsupported",
                path=where,
            )


def _check_numbers(plans: Mapping[str, Any], configuration: Mapping[str, Any], where: str) -> None:
    patch, spacing = configuration.get("patch_size"), configuration.get("spacing")
    if not _three(patch, int) or min(patch) < 1 or max(patch) > MAX_PATCH_EDGE:  # type: ignore[arg-type]
        raise BundleError(
            f"patch_size must be three numbers from 1 to {MAX_PATCH_EDGE} (a 3-D model), got {patch!r}",
            code="patch-size",
            path=where,
        )
    low, high = SPACING_MM
    if not _three(spacing, (int, float)) or not all(low <= s <= high for s in spacing):  # type: ignore[union-attr]
        raise BundleError(
            f"spacing must be three lengths from {low:g} to {high:g} mm, got {spacing!r}",
            code="plans-malformed",
            path=where,
        )
    for key in ("transpose_forward", "transpose_backward"):
        if not _three(plans.get(key), int) or sorted(plans[key]) != [0, 1, 2]:
            raise BundleError(
                f"{key} must be an order of the axes 0, 1, 2, got {plans.get(key)!r}",
                code="plans-malformed",
                path=where,
            )
    _check_intensities(plans, where)
    use_mask = configuration.get("use_mask_for_norm")
    if not isinstance(use_mask, list) or len(use_mask) != 1 or not isinstance(use_mask[0], bool):
        raise BundleError(
            f"use_mask_for_norm must be [true] or [false], got {use_mask!r}", code="plans-malformed", path=where
        )


def _check_intensities(plans: Mapping[str, Any], where: str) -> None:
    """Refuse training intensities by which no CT can be normalised."""
    found = plans_intensities(plans)
    if not isinstance(found, dict) or not all(_number(found.get(key)) for key in INTENSITIES):
        raise BundleError(
            f"the training intensities ({', '.join(INTENSITIES)}) of channel 0 are missing",
            code="plans-intensities",
            path=where,
        )
    for key in INTENSITIES:
        if not abs(found[key]) <= MAX_HU:
            raise BundleError(
                f"the training intensity {key!r} must lie within {MAX_HU:g} HU, got {found[key]!r}",
                code="plans-intensities",
                path=where,
            )
    if not found["std"] >= 1e-3:
        raise BundleError(
            f"the training intensity 'std' must be above 0, got {found['std']!r}", code="plans-intensities", path=where
        )
    if not found["percentile_00_5"] < found["percentile_99_5"]:
        raise BundleError(
            "the training intensity 'percentile_00_5' must lie below 'percentile_99_5'",
            code="plans-intensities",
            path=where,
        )


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
        raise BundleError(
            f"the model must take one channel, the CT; it takes {channels!r}", code="dataset-channels", path=where
        )
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or labels.get("background") != 0:
        raise BundleError("'labels' must map names to values, with background 0", code="dataset-labels", path=where)
    if len(labels) > MAX_LABELS:
        raise BundleError(
            f"names {len(labels)} labels, more than the {MAX_LABELS} that are allowed",
            code="dataset-labels",
            path=where,
        )
    for name, value in labels.items():
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            raise BundleError(
                f"label {name[:MAX_NAME]!r} must be a printable name of at most {MAX_NAME} letters",
                code="dataset-labels",
                path=where,
            )
        values = value if isinstance(value, list) else [value]
        right = 0 < len(values) <= MAX_LABELS
        if not right or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 256 for v in values):
            raise BundleError(
                f"label {name!r} must be a whole number from 0 to 255 or a list of them",
                code="dataset-labels",
                path=where,
            )
    _check_ignored(labels, where)
    if has_regions(labels):
        order = dataset.get("regions_class_order")
        right = isinstance(order, list) and all(isinstance(v, int) and 0 <= v < 256 for v in order)
        if not right or len(order) != len(label_channels(dataset)):  # type: ignore[arg-type]
            raise BundleError(
                "a model of regions needs 'regions_class_order' with one label a region",
                code="dataset-labels",
                path=where,
            )


def _check_ignored(labels: Mapping[str, Any], where: str) -> None:
    """Refuse an ``ignore`` label that nnU-Net's label manager does not take."""
    if "ignore" not in labels:
        return
    known = [v for name, value in labels.items() if name != "ignore" for v in _as_list(value)]
    if isinstance(labels["ignore"], list) or labels["ignore"] != max(known) + 1:
        raise BundleError(
            f"the label 'ignore' must be {max(known) + 1}, one above the others, got {labels['ignore']!r}",
            code="dataset-labels",
            path=where,
        )


def has_regions(labels: Mapping[str, Any]) -> bool:
    """Whether the labels of a ``dataset.json`` are regions that may overlap, in place of one label a voxel."""
    return any(isinstance(value, list) and len(value) > 1 for value in labels.values())


def label_channels(dataset: Mapping[str, Any]) -> dict[str, int]:
    """Return which output channel of the network scores each label name of a checked ``dataset.json``.

    Models of exclusive labels have one channel a label value (softmax), models of overlapping regions one channel a
    region without background (sigmoid). This follows nnU-Net's label manager.
    """
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    if has_regions(labels):
        regions = [name for name, value in labels.items() if set(_as_list(value)) != {0}]
        return {name: channel for channel, name in enumerate(regions)}
    values = sorted({_as_list(value)[0] for value in labels.values()})
    return {name: values.index(_as_list(value)[0]) for name, value in labels.items()}


def _as_list(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]
