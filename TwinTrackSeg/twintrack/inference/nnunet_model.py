"""Models as nnU-Net describes them: plans and labels of a stage, and its members' networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.bundle.architecture import read_architecture
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import CHECKPOINT_NAME, Bundle
from twintrack.bundle.nnunet_plans import check_dataset, check_plans, label_channels
from twintrack.errors import BundleError
from twintrack.system.capacity import lacking_memory

if TYPE_CHECKING:
    import torch

__all__ = [
    "Member",
    "Stage",
    "build_network",
    "check_weights",
    "load_member",
    "load_network",
    "member_axes",
    "open_stage",
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
    plans, configuration, labels : object
        nnU-Net's ``PlansManager``, ``ConfigurationManager`` and ``LabelManager``.
    channels : mapping of str to int
        Output channel of each label (or region) name.
    mirroring : bool
        Whether predictions are averaged over mirrored inputs.
    """

    folder: Path
    plans: Any
    configuration: Any
    labels: Any
    channels: Mapping[str, int]
    mirroring: bool

    @property
    def patch(self) -> tuple[int, int, int]:
        """Patch size along the network's axes, in voxels."""
        a, b, c = self.configuration.patch_size
        return (int(a), int(b), int(c))

    @property
    def axes(self) -> tuple[int, int, int]:
        """Network axis ``n`` is axis ``axes[n]`` of (z, y, x)."""
        a, b, c = self.plans.transpose_forward
        return (int(a), int(b), int(c))

    @property
    def heads(self) -> int:
        """Number of output channels."""
        return int(self.labels.num_segmentation_heads)


@dataclass(frozen=True)
class Member:
    """One trained network, ready to predict.

    Attributes
    ----------
    name : str
        Its fold folder, for messages.
    network : callable
        Takes patches (batch, 1, a, b, c), float32 on `device`, and returns their logits (batch, channel, a, b, c): the
        torch module in evaluation mode, or its compiled form.
    mirror_axes : tuple of int
        Network axes to mirror along for averaging; empty for none.
    device : torch.device
        Where it runs.
    """

    name: str
    network: Callable[[torch.Tensor], torch.Tensor]
    mirror_axes: tuple[int, ...]
    device: torch.device


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
    """Check plans and labels and hand them to nnU-Net's managers."""
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    check_plans(plans, name, str(folder / "plans.json"))
    check_dataset(dataset, str(folder / "dataset.json"))
    manager = PlansManager(plans)
    with warnings.catch_warnings():
        # The public PANORAMA coarse model has plans in the old format, which nnU-Net reads with a warning.
        warnings.filterwarnings("ignore", message="Detected old nnU-Net plans format")
        configuration = manager.get_configuration(name)
    try:
        labels = LabelManager(dataset["labels"], dataset.get("regions_class_order"))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(
            f"nnU-Net does not take these labels ({error})", code="dataset-labels", path=folder / "dataset.json"
        ) from error
    return Stage(folder, manager, configuration, labels, label_channels(dataset), mirroring)


def build_network(stage: Stage) -> torch.nn.Module:
    """Build a stage's network without memory for its weights (on torch's ``meta`` device).

    Raises
    ------
    BundleError
        If the plans do not describe a network that can be built.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    where = str(stage.folder / "plans.json")
    name = read_architecture(stage.configuration.configuration, where).name
    try:
        with torch.device("meta"):
            network: torch.nn.Module = get_network_from_plans(
                f"dynamic_network_architectures.architectures.unet.{name}",
                stage.configuration.network_arch_init_kwargs,
                stage.configuration.network_arch_init_kwargs_req_import,
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


def load_member(stage: Stage, fold: str, device: torch.device) -> Member:
    """Load one member's weights, whatever precision they are stored in, as float32.

    Raises
    ------
    BundleError
        If the checkpoint is missing, holds more than data, or does not fit the network of the plans; or if that needs
        more memory than is free.
    """
    _check_memory(stage, device.type)
    checkpoint, path = _read(stage, fold)
    network = _with_weights(stage, checkpoint, path)
    return Member(f"fold_{fold}", network.to(device), _mirror_axes(stage, checkpoint, path), device)


def load_network(stage: Stage, fold: str) -> torch.nn.Module:
    """Load one member's torch module on the CPU; see `load_member`."""
    _check_memory(stage, "cpu")
    return _with_weights(stage, *_read(stage, fold))


def _check_memory(stage: Stage, device: str) -> None:
    """Refuse a network for which there is too little main memory; a GPU's own is tried, and the CPU comes after it."""
    where = str(stage.folder / "plans.json")
    architecture = read_architecture(stage.configuration.configuration, where)
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


def member_axes(stage: Stage, fold: str) -> tuple[int, ...]:
    """Return the network axes that one member's predictions are mirrored along; none unless the bundle asks for it.

    Raises
    ------
    BundleError
        If the checkpoint is missing, refused or names no axes of a volume.
    """
    return _mirror_axes(stage, *_read(stage, fold)) if stage.mirroring else ()


def _read(stage: Stage, fold: str) -> tuple[dict[str, Any], Path]:
    path = stage.folder / f"fold_{fold}" / CHECKPOINT_NAME
    return read_checkpoint(path), path


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
    import torch

    for name, folds in bundle.folds.items():
        stage = open_stage(bundle, name)
        for fold in folds:
            load_member(stage, fold, torch.device("cpu"))
