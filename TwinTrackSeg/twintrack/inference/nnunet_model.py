"""Models as nnU-Net describes them: plans and labels of a stage, and its members' networks.

Plans and labels are JSON and are read here without nnU-Net's packages; they and torch are imported where a network is
built from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack.bundle.architecture import Architecture, read_architecture
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.fingerprint import plans_intensities
from twintrack.bundle.model_bundle import CHECKPOINT_NAME, Bundle
from twintrack.bundle.nnunet_plans import check_dataset, check_plans, has_regions, label_channels
from twintrack.bundle.slice_architecture import SliceArchitecture, read_slice_architecture
from twintrack.errors import BundleError
from twintrack.inference.arrays import CPU, Array
from twintrack.system.capacity import lacking_memory

if TYPE_CHECKING:
    import torch

__all__ = [
    "Member",
    "Stage",
    "TorchNetwork",
    "build_network",
    "check_weights",
    "load_member",
    "nnunet_managers",
    "open_stage",
    "read_stage",
]

PARAMETER_BYTES = 8
"""Memory for each parameter: as it is read, and as float32 where it was stored in another precision."""


@dataclass(frozen=True)
class Stage:
    """One nnU-Net model without its weights.

    Attributes
    ----------
    folder : pathlib.Path
        Folder of ``plans.json``, ``dataset.json`` and the fold folders.
    plans, dataset : dict
        Content of these files, checked.
    name : str
        nnU-Net's name of the configuration, such as ``3d_fullres``.
    configuration : dict
        That entry of the plans with all that it inherits.
    channels : mapping of str to int
        Output channel of each label (or region) name.
    mirroring : bool
        Whether predictions are averaged over mirrored inputs.
    """

    folder: Path
    plans: dict[str, Any]
    dataset: dict[str, Any]
    name: str
    configuration: dict[str, Any]
    channels: Mapping[str, int]
    mirroring: bool

    @property
    def patch(self) -> tuple[int, int, int]:
        """Patch size along the network's axes, in voxels."""
        a, b, c = self.configuration["patch_size"]
        return (int(a), int(b), int(c))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along the network's axes, in mm."""
        a, b, c = self.configuration["spacing"]
        return (float(a), float(b), float(c))

    @property
    def axes(self) -> tuple[int, int, int]:
        """Network axis ``n`` is axis ``axes[n]`` of (z, y, x)."""
        a, b, c = self.plans["transpose_forward"]
        return (int(a), int(b), int(c))

    @property
    def heads(self) -> int:
        """Number of output channels."""
        return len(set(self.channels.values()))

    @property
    def overlapping(self) -> bool:
        """Whether outputs are regions of their own (sigmoid) in place of one label a voxel (softmax)."""
        return has_regions(self.dataset["labels"])

    def labels_of(self, name: str) -> frozenset[int]:
        """Return the label values that a label or region name stands for."""
        value = self.dataset["labels"][name]
        return frozenset(value if isinstance(value, list) else [value])

    @property
    def architecture(self) -> Architecture:
        """nnU-Net's network in numbers."""
        return read_architecture(self.configuration, str(self.folder / "plans.json"))

    @property
    def slices(self) -> SliceArchitecture | None:
        """A network of slices in numbers; None where it is one of nnU-Net's."""
        return read_slice_architecture(self.configuration, str(self.folder / "plans.json"))

    @property
    def normalization(self) -> str:
        """nnU-Net's name of the scheme by which intensities are normalised."""
        return str(self.configuration["normalization_schemes"][0])

    @property
    def masked_normalization(self) -> bool:
        """Whether a scheme that looks at the whole volume looks at the voxels other than 0 alone."""
        return bool(self.configuration["use_mask_for_norm"][0])

    @property
    def intensities(self) -> Mapping[str, float]:
        """Intensities of the training voxels inside labels, in HU: see `twintrack.bundle.fingerprint.INTENSITIES`."""
        found: Mapping[str, float] = plans_intensities(self.plans)
        return found


@dataclass(frozen=True)
class Member:
    """One trained network, ready to predict.

    Attributes
    ----------
    name : str
        Its fold folder, for messages.
    network : callable
        Takes patches (batch, 1, a, b, c), float32 in the memory of `device`, and returns their logits, float32, (batch,
        channel, a, b, c): see `TorchNetwork`, `twintrack.inference.cuda_network.CudaNetwork` and
        `twintrack.inference.openvino.CompiledNetwork`.
    mirror_axes : tuple of int
        Network axes to mirror along for averaging; empty for none.
    device : str
        torch's name of where it runs.
    """

    name: str
    network: Callable[[Array], Array]
    mirror_axes: tuple[int, ...]
    device: str


class TorchNetwork:
    """A torch module in evaluation mode that is called with arrays of `twintrack.inference.arrays`.

    In float32 and over when it returns, as on a CPU; for a CUDA card see `twintrack.inference.cuda_network`.

    Parameters
    ----------
    module : torch.nn.Module
        The network, on `device`.
    device : str
        torch's name of where it runs.
    """

    def __init__(self, module: torch.nn.Module, device: str) -> None:
        self.module = module
        self._device = device

    def __call__(self, patches: Array) -> Array:
        """Return the logits of (batch, 1, a, b, c), float32."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(patches)) if isinstance(patches, np.ndarray) else patches
        with torch.no_grad():
            logits = self.module(tensor).float()
        return logits.numpy() if self._device == CPU else logits


def open_stage(bundle: Bundle, stage: str) -> Stage:
    """Read the plans and labels of a bundle's ``"coarse"`` or ``"fine"`` model.

    Raises
    ------
    BundleError
        If they are not usable.
    """
    plans = bundle.read_json(stage, "plans.json")
    dataset = bundle.read_json(stage, "dataset.json")
    return read_stage(bundle.stage_folder(stage), plans, dataset, bundle.configurations[stage], bundle.mirroring)


def read_stage(folder: Path, plans: dict[str, Any], dataset: dict[str, Any], name: str, mirroring: bool) -> Stage:
    """Check plans and labels."""
    configuration = check_plans(plans, name, str(folder / "plans.json"))
    check_dataset(dataset, str(folder / "dataset.json"))
    return Stage(folder, plans, dataset, name, configuration, label_channels(dataset), mirroring)


def nnunet_managers(stage: Stage) -> tuple[Any, Any]:
    """Return nnU-Net's ``PlansManager`` and ``ConfigurationManager`` for a stage."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(stage.plans)
    with warnings.catch_warnings():
        # The public PANORAMA coarse model has plans in the old format, which nnU-Net reads with a warning.
        warnings.filterwarnings("ignore", message="Detected old nnU-Net plans format")
        return manager, manager.get_configuration(stage.name)


def build_network(stage: Stage) -> torch.nn.Module:
    """Build a stage's network without memory for its weights (on torch's ``meta`` device).

    Raises
    ------
    BundleError
        If the plans do not describe a network that can be built.
    """
    import torch

    if (slices := stage.slices) is not None:
        from twintrack.harmonizer import HarmonizerNetwork

        with torch.device("meta"):
            return HarmonizerNetwork(slices, stage.heads - 1).eval()  # all classes but the tumour
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    where = str(stage.folder / "plans.json")
    name = stage.architecture.name
    configuration = nnunet_managers(stage)[1]
    try:
        with torch.device("meta"):
            network: torch.nn.Module = get_network_from_plans(
                f"dynamic_network_architectures.architectures.unet.{name}",
                configuration.network_arch_init_kwargs,
                configuration.network_arch_init_kwargs_req_import,
                1,
                stage.heads,
                allow_init=False,
                deep_supervision=False,
            )
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError, KeyError) as error:
        raise BundleError(
            f"the network it describes cannot be built ({error})", code="network-not-built", path=where
        ) from error
    return network.eval()


def load_member(stage: Stage, fold: str, device: str = CPU) -> Member:
    """Load one member's weights, whatever precision they are stored in, as float32.

    Raises
    ------
    BundleError
        If the checkpoint is missing, holds more than data, or does not fit the network of the plans; or if that needs
        more memory than is free.
    """
    import torch

    _check_memory(stage, device)
    path = stage.folder / f"fold_{fold}" / CHECKPOINT_NAME
    checkpoint = read_checkpoint(path)
    module = _with_weights(stage, checkpoint, path).to(torch.device(device))
    return Member(f"fold_{fold}", TorchNetwork(module, device), _mirror_axes(stage, checkpoint, path), device)


def _check_memory(stage: Stage, device: str) -> None:
    """Refuse a network for which there is too little main memory; a GPU's own is tried, and the CPU comes after it."""
    where = str(stage.folder / "plans.json")
    architecture: Architecture | SliceArchitecture = stage.slices or stage.architecture
    needed = PARAMETER_BYTES * architecture.parameters(stage.heads)
    if device != "cuda":
        needed += architecture.activation_bytes(stage.patch, stage.heads)
    lacking = lacking_memory(needed)
    if lacking is not None:
        patch = " x ".join(map(str, stage.patch))
        raise BundleError(
            f"the network with its patch of {patch} voxels {lacking}; close other programs, or use a computer "
            "with more memory",
            code="no-memory",
            path=where,
        )


def _with_weights(stage: Stage, checkpoint: dict[str, Any], path: Path) -> torch.nn.Module:
    network = build_network(stage)
    _check_shapes(network, checkpoint["network_weights"], path)
    weights = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in checkpoint["network_weights"].items()
    }
    try:
        network.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
        raise BundleError(
            f"the weights do not fit the network of plans.json ({first})", code="weights-misfit", path=path
        ) from error
    return network.requires_grad_(False)


def _check_shapes(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse weights of other names or shapes before any is turned into float32."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, shape in wanted.items():
        if name not in weights:
            raise BundleError(
                f"the weights do not fit the network of plans.json (it lacks {name})", code="weights-misfit", path=path
            )
        if tuple(weights[name].shape) != shape:
            raise BundleError(
                f"the weights do not fit the network of plans.json (size mismatch for {name}: "
                f"{tuple(weights[name].shape)} in place of {shape})",
                code="weights-misfit",
                path=path,
            )
    for name in weights:
        if name not in wanted:
            raise BundleError(
                f"the weights do not fit the network of plans.json (it has {name} beside them)",
                code="weights-misfit",
                path=path,
            )


def _mirror_axes(stage: Stage, checkpoint: dict[str, Any], path: Path) -> tuple[int, ...]:
    axes = checkpoint.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, list | tuple) or not all(type(axis) is int and axis in (0, 1, 2) for axis in axes):
        raise BundleError(f"mirroring axes {axes!r} are not axes of a volume", code="mirroring-axes", path=path)
    return tuple(sorted(set(axes))) if stage.mirroring else ()


def check_weights(bundle: Bundle) -> None:
    """Load every member of a bundle once, to find weights that do not fit their plans.

    Raises
    ------
    BundleError
        Names the first checkpoint that cannot be used.
    """
    for name, folds in bundle.folds.items():
        stage = open_stage(bundle, name)
        for fold in folds:
            load_member(stage, fold)
