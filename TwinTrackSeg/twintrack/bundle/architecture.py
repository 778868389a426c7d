"""The network that a stranger's plans describe: every number in its range, and its memory known before it is built."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from twintrack.errors import BundleError

__all__ = ["ARCHITECTURES", "Architecture", "read_architecture"]

ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
"""Network classes of ``dynamic_network_architectures.architectures.unet`` that a model may use."""

MAX_STAGES = 12
"""Resolutions of a network; ten halvings make one voxel of the largest patch."""

MAX_FEATURES = 2048
"""Channels of a stage; nnU-Net's planners give 320 or 512 at most."""

MAX_CONVOLUTIONS = 32
"""Convolutions or residual blocks of a stage; nnU-Net's planners give 6 at most."""

MAX_KERNEL = 11
MAX_STRIDE = 4
"""Edges of kernels, which must be odd, and steps; nnU-Net's planners give 1 or 3, and 1 or 2."""

MIN_PATCH_VOXELS = 512
MAX_PATCH_EDGE = 1024
"""Smallest and largest patch; smaller ones would cut a CT into millions."""

MAX_PARAMETERS = 2_000_000_000
"""Numbers of a network, 8 GB; the largest of nnU-Net's presets has 0.2 of them."""

WORKSPACE_BYTES = 150_000_000
"""What torch and its libraries take for themselves when a network runs for the first time."""

_ARCHITECTURE = re.compile(rf"dynamic_network_architectures\.architectures\.\w+\.({'|'.join(ARCHITECTURES)})")
_OPERATORS = {
    "conv_op": re.compile(r"torch\.nn\.(modules\.\w+\.)?Conv3d"),
    "norm_op": re.compile(r"torch\.nn\.(modules\.\w+\.)?(InstanceNorm3d|BatchNorm3d)"),
    "dropout_op": re.compile(r"torch\.nn\.(modules\.\w+\.)?Dropout3d"),
    "nonlin": re.compile(r"torch\.nn\.(modules\.\w+\.)?(LeakyReLU|ReLU|PReLU|ELU|SELU|GELU|SiLU|Mish)"),
    "block": re.compile(r"dynamic_network_architectures\.building_blocks\.residual\.(BasicBlockD|BottleneckD)"),
}

_OPTIONS: dict[str, dict[str, tuple[float, float] | type[bool] | tuple[str, ...]]] = {
    "norm_op_kwargs": {"eps": (1e-12, 1.0), "momentum": (0.0, 1.0), "affine": bool, "track_running_stats": bool},
    "dropout_op_kwargs": {"p": (0.0, 1.0), "inplace": bool},
    "nonlin_kwargs": {
        **{"inplace": bool, "negative_slope": (-10.0, 10.0), "alpha": (-10.0, 10.0), "init": (-10.0, 10.0)},
        **{"num_parameters": (1, 1), "approximate": ("none", "tanh")},
    },
}
"""Options of the parts, each true or false, a range or a list of words."""

_COUNTS = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
_LISTS = {"features_per_stage": MAX_FEATURES, "kernel_sizes": MAX_KERNEL, "strides": MAX_STRIDE}
_ENTRIES = {
    *("n_stages", "n_conv_per_stage_decoder", "conv_bias", "deep_supervision", *_LISTS),
    *_OPERATORS.keys() - {"block"},
    *_OPTIONS,
}
_OWN_ENTRIES = {
    "PlainConvUNet": {"n_conv_per_stage", "nonlin_first"},
    "ResidualEncoderUNet": {"n_blocks_per_stage", "block", "bottleneck_channels", "stem_channels"},
}

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Architecture:
    """A U-Net of ``dynamic_network_architectures`` in numbers.

    Attributes
    ----------
    name : str
        One of `ARCHITECTURES`.
    features : tuple of int
        Channels of each stage, the finest first.
    kernels, strides : tuple of tuple of int
        Of each stage, along the network's axes.
    counts : tuple of int
        Convolutions, or residual blocks, of each stage of the encoder.
    decoder_counts : tuple of int
        Convolutions of each stage of the decoder, the coarsest first.
    bias, affine : bool
        Whether convolutions have a bias, and normalisations a weight and a bias.
    slopes : int
        Parameters of each activation function: 1 for PReLU, else 0.
    bottleneck : tuple of int or None
        Channels within the blocks of each stage (BottleneckD); None for plain blocks.
    stem : int
        Channels of the stem of a residual encoder.
    """

    name: str
    features: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    counts: tuple[int, ...]
    decoder_counts: tuple[int, ...]
    bias: bool
    affine: bool
    slopes: int
    bottleneck: tuple[int, ...] | None
    stem: int

    @property
    def steps(self) -> Triple:
        """Product of the strides along each axis."""
        a, b, c = (prod(column) for column in zip(*self.strides, strict=True))
        return (a, b, c)

    def parameters(self, heads: int) -> int:
        """Return the number of parameters of the network with `heads` output channels.

        It adds up what the classes PlainConvEncoder, ResidualEncoder (with its BasicBlockD and BottleneckD) and
        UNetDecoder of ``dynamic_network_architectures.building_blocks`` make.
        """
        residual = self.name == "ResidualEncoderUNet"
        before = self.stem if residual else 1
        total = self._convolution(1, self.stem, self.kernels[0]) + self.slopes if residual else 0
        for stage, after in enumerate(self.features):
            if residual:
                total += self._block(before, after, stage)
                total += (self.counts[stage] - 1) * self._block(after, after, stage)
            else:
                total += self._stack(before, after, stage, self.counts[stage])
            before = after
        for stage, count in zip(range(len(self.features) - 2, -1, -1), self.decoder_counts, strict=True):
            below, here = self.features[stage + 1], self.features[stage]
            total += below * here * prod(self.strides[stage + 1]) + (here if self.bias else 0)
            total += self._stack(2 * here, here, stage, count)
            total += (here + 1) * heads
        return total

    def _convolution(self, before: int, after: int, kernel: Sequence[int], *, bias: bool | None = None) -> int:
        """Parameters of one convolution with its normalisation."""
        with_bias = self.bias if bias is None else bias
        return before * after * prod(kernel) + after * (int(with_bias) + 2 * int(self.affine))

    def _stack(self, before: int, after: int, stage: int, count: int) -> int:
        kernel = self.kernels[stage]
        further = (count - 1) * self._convolution(after, after, kernel)
        return self._convolution(before, after, kernel) + further + count * self.slopes

    def _block(self, before: int, after: int, stage: int) -> int:
        kernel = self.kernels[stage]
        # Both kinds project what they skip with a convolution that has no bias.
        skip = self._convolution(before, after, (1, 1, 1), bias=False) if before != after else 0
        if self.bottleneck is None:
            path = self._convolution(before, after, kernel) + self._convolution(after, after, kernel)
            return path + skip + 2 * self.slopes
        inside = self.bottleneck[stage]
        path = self._convolution(before, inside, (1, 1, 1)) + self._convolution(inside, inside, kernel)
        return path + self._convolution(inside, after, (1, 1, 1)) + skip + 3 * self.slopes

    def activation_bytes(self, patch: Sequence[int], heads: int) -> int:
        """Return the memory in bytes, but for the parameters, that one patch takes on its way through the network.

        Nothing is kept for gradients. In the encoder (``forward`` of PlainConvEncoder and ResidualEncoder) the outputs
        of all stages stay, beside the input and the output of the convolution at hand, and, in a residual block, what
        it skips. In the decoder (``forward`` of UNetDecoder) they all stay too, with the coarser stage's output, the
        concatenation of twice the channels, and the input and output at hand. Of float32 there are 4 bytes each. The
        libraries of a processor may turn an input and an output into another layout: these two count twice.
        """
        residual = self.name == "ResidualEncoderUNet"
        voxels, sizes = prod(patch), []
        held = voxels * (self.stem if residual else 1)  # the input of the first stage
        peak = 0
        for stage, (features, stride) in enumerate(zip(self.features, self.strides, strict=True)):
            # The first convolution of a BottleneckD works before the stride.
            inside = 0 if self.bottleneck is None else voxels * self.bottleneck[stage]
            voxels //= prod(stride)
            sizes.append(voxels * features)
            peak = max(peak, held + 2 * inside + (5 if residual else 4) * sizes[-1])
            held += sizes[-1]
        for stage in range(len(sizes) - 2, -1, -1):
            peak = max(peak, held + sizes[stage + 1] + 6 * sizes[stage])
        return 4 * max(peak, held + 3 * sizes[0] + 2 * heads * prod(patch)) + WORKSPACE_BYTES


def read_architecture(configuration: Mapping[str, Any], where: str) -> Architecture:
    """Return the network that a resolved configuration asks for, in the old or the new plans format.

    Raises
    ------
    BundleError
        Names the entry that is missing, not allowed or out of its range.
    """
    if "architecture" not in configuration:
        name, given = _from_old_format(configuration, where)
    else:
        name, given = _from_new_format(configuration["architecture"], where)
    _check_entries(name, given, where)
    architecture = _read(name, given, where)
    _check_patch(architecture, configuration.get("patch_size"), where)
    return architecture


def _from_old_format(configuration: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Return name and arguments as nnU-Net's ConfigurationManager makes them of the old format's entries."""
    name = configuration.get("UNet_class_name")
    if name not in ARCHITECTURES:
        raise BundleError(
            f"network class {name!r} is not supported; use one of {', '.join(ARCHITECTURES)}",
            code="network-unsupported",
            path=where,
        )
    needed = ("UNet_base_num_features", "unet_max_num_features", "n_conv_per_stage_encoder", "num_pool_per_axis")
    for key in (*needed, "n_conv_per_stage_decoder", "pool_op_kernel_sizes", "conv_kernel_sizes"):
        if key not in configuration:
            raise BundleError(
                f"has neither 'architecture' nor {key!r}, so its network is not described",
                code="network-undescribed",
                path=where,
            )
    base = _whole(configuration["UNet_base_num_features"], MAX_FEATURES, "UNet_base_num_features", where)
    most = _whole(configuration["unet_max_num_features"], MAX_FEATURES, "unet_max_num_features", where)
    counts = configuration["n_conv_per_stage_encoder"]
    if not isinstance(counts, list) or not 2 <= len(counts) <= MAX_STAGES:
        raise BundleError(
            f"n_conv_per_stage_encoder must list 2 to {MAX_STAGES} stages", code="network-number", path=where
        )
    return str(name), {
        "n_stages": len(counts),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(counts))],
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        _COUNTS[str(name)]: counts,
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    }


def _from_new_format(architecture: object, where: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(architecture, dict) or not isinstance(architecture.get("arch_kwargs"), dict):
        raise BundleError("'architecture' must be a table with 'arch_kwargs'", code="network-undescribed", path=where)
    wanted, given = architecture.get("network_class_name"), architecture["arch_kwargs"]
    found = _ARCHITECTURE.fullmatch(str(wanted))
    if found is None:
        raise BundleError(
            f"network class {wanted!r} is not supported; use one of {', '.join(ARCHITECTURES)}",
            code="network-unsupported",
            path=where,
        )
    imported = architecture.get("_kw_requires_import", [])
    if not isinstance(imported, list) or len({str(key) for key in imported}) < len(imported):
        raise BundleError("'_kw_requires_import' must be a list of different names", code="network-parts", path=where)
    for key in imported:
        allowed, value = _OPERATORS.get(str(key)), given.get(str(key))
        if allowed is None or not (value is None or (isinstance(value, str) and allowed.fullmatch(value))):
            raise BundleError(
                f"the network part {key!r} = {value!r} is not on the list of allowed parts",
                code="network-part-refused",
                path=where,
            )
        if key not in given:
            raise BundleError(
                f"'_kw_requires_import' names {key!r}, which 'arch_kwargs' lacks", code="network-parts", path=where
            )
    for key in _OPERATORS:
        if given.get(key) is not None and key not in imported:
            raise BundleError(
                f"the network part {key!r} must stand in '_kw_requires_import'", code="network-parts", path=where
            )
    if given.get("conv_op") is None:
        raise BundleError("the network part 'conv_op' is missing", code="network-parts", path=where)
    return found.group(1), given


def _check_entries(name: str, given: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that the network's class does not have, and options of its parts out of their ranges."""
    unknown = sorted(set(given) - _ENTRIES - _OWN_ENTRIES[name])
    if unknown:
        raise BundleError(
            f"'arch_kwargs' holds {unknown[0]!r}, which {name} does not know", code="network-option-refused", path=where
        )
    for key in ("conv_bias", "deep_supervision", "nonlin_first"):
        if not isinstance(given.get(key, False), bool):
            raise BundleError(
                f"{key} must be true or false, got {given[key]!r}", code="network-option-refused", path=where
            )
    for key, options in _OPTIONS.items():
        table = given.get(key)
        if table is None:
            if key == "dropout_op_kwargs" and given.get("dropout_op") is not None:
                raise BundleError(
                    f"{key} must be a table, because there is a dropout_op", code="network-option-refused", path=where
                )
            continue
        if not isinstance(table, dict):
            raise BundleError(
                f"{key} must be a table or null, got {table!r}", code="network-option-refused", path=where
            )
        for option, value in table.items():
            if option not in options or not _allowed(value, options[option]):
                raise BundleError(
                    f"{key} holds {option!r} = {value!r}, which is not on the list of options",
                    code="network-option-refused",
                    path=where,
                )


def _allowed(value: object, allowed: tuple[float, float] | type[bool] | tuple[str, ...]) -> bool:
    if isinstance(allowed, type):
        return isinstance(value, bool)
    if isinstance(value, str):
        return value in allowed
    low, high = allowed
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and isinstance(low, int | float) and low <= value <= high  # type: ignore[operator]


def _read(name: str, given: Mapping[str, Any], where: str) -> Architecture:
    stages = _whole(given.get("n_stages"), MAX_STAGES, "n_stages", where, least=2)
    features = _wholes(given, "features_per_stage", stages, MAX_FEATURES, where)
    bottleneck = None
    if str(given.get("block", "")).endswith("BottleneckD"):
        bottleneck = _wholes(given, "bottleneck_channels", stages, MAX_FEATURES, where)
    elif name == "ResidualEncoderUNet" and given.get("bottleneck_channels") is not None:
        _wholes(given, "bottleneck_channels", stages, MAX_FEATURES, where)
    stem = given.get("stem_channels")
    normed, options = given.get("norm_op") is not None, given.get("norm_op_kwargs") or {}
    affine = options.get("affine", "BatchNorm" in str(given.get("norm_op")))  # torch's own defaults
    architecture = Architecture(
        name=name,
        features=features,
        kernels=_triples(given, "kernel_sizes", stages, MAX_KERNEL, where),
        strides=_triples(given, "strides", stages, MAX_STRIDE, where),
        counts=_wholes(given, _COUNTS[name], stages, MAX_CONVOLUTIONS, where),
        decoder_counts=_wholes(given, "n_conv_per_stage_decoder", stages - 1, MAX_CONVOLUTIONS, where),
        bias=given.get("conv_bias", False),
        affine=normed and affine,
        slopes=int(str(given.get("nonlin")).endswith(".PReLU")),
        bottleneck=bottleneck,
        stem=features[0] if stem is None else _whole(stem, MAX_FEATURES, "stem_channels", where),
    )
    if any(edge % 2 == 0 for kernel in architecture.kernels for edge in kernel):
        raise BundleError("kernel_sizes must be odd", code="network-number", path=where)
    if architecture.strides[0] != (1, 1, 1):
        raise BundleError(
            "strides must begin with 1, or the output would be smaller than the patch",
            code="network-number",
            path=where,
        )
    if architecture.parameters(1) > MAX_PARAMETERS:
        raise BundleError(
            f"the network would have {architecture.parameters(1):,} parameters, more than the "
            f"{MAX_PARAMETERS:,} that are allowed",
            code="network-too-large",
            path=where,
        )
    return architecture


def _check_patch(architecture: Architecture, patch: Any, where: str) -> None:
    """Refuse a patch that the network cannot halve as often as it wants to; `patch` is three whole numbers."""
    steps = architecture.steps
    if prod(patch) < MIN_PATCH_VOXELS:
        raise BundleError(
            f"patch_size must have at least {MIN_PATCH_VOXELS} voxels, got {patch!r}", code="patch-size", path=where
        )
    if any(edge % step for edge, step in zip(patch, steps, strict=True)):
        raise BundleError(
            f"patch_size {patch!r} must be a multiple of {list(steps)}, by which the network's strides divide",
            code="patch-size",
            path=where,
        )
    if patch == list(steps):
        raise BundleError(
            f"patch_size {patch!r} leaves a single voxel after the network's strides, which cannot be normalized",
            code="patch-size",
            path=where,
        )


def _whole(value: object, most: int, key: str, where: str, *, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BundleError(
            f"{key} must be a whole number from {least} to {most}, got {value!r}", code="network-number", path=where
        )
    return value


def _wholes(given: Mapping[str, Any], key: str, count: int, most: int, where: str) -> tuple[int, ...]:
    """Read one number for each of `count` stages, or one for all."""
    values = given.get(key)
    if not isinstance(values, list):
        return (_whole(values, most, key, where),) * count
    if len(values) != count:
        raise BundleError(
            f"{key} must have {count} entries for this number of stages, it has {len(values)}",
            code="network-number",
            path=where,
        )
    return tuple(_whole(value, most, key, where) for value in values)


def _triples(given: Mapping[str, Any], key: str, count: int, most: int, where: str) -> tuple[Triple, ...]:
    """Read three numbers for each stage; one number stands for three."""
    values = given.get(key)
    rows = values if isinstance(values, list) else [values] * count
    if len(rows) != count:
        raise BundleError(
            f"{key} must have {count} entries for this number of stages, it has {len(rows)}",
            code="network-number",
            path=where,
        )
    triples = []
    for row in rows:
        edges = row if isinstance(row, list) else [row] * 3
        if len(edges) != 3:
            raise BundleError(
                f"{key} must have three numbers a stage (a 3-D model), got {row!r}", code="network-number", path=where
            )
        a, b, c = (_whole(edge, most, key, where) for edge in edges)
        triples.append((a, b, c))
    return tuple(triples)
