"""Reading and slimming network checkpoints without ever running code that a file brings along."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack.bundle.checkpoint_file import check_checkpoint
from twintrack.errors import BundleError

if TYPE_CHECKING:
    import torch

__all__ = ["read_checkpoint", "slim_checkpoint"]

_REFUSED_NAME = re.compile(r"GLOBAL (\S+)|but got <class '([^']+)'>")
"""Where torch's messages name what a checkpoint asked for and was not given."""

_DAMAGE = (
    *(RuntimeError, EOFError, ValueError, OSError),
    *(AttributeError, KeyError, IndexError, TypeError, AssertionError, OverflowError, struct.error),
)
"""What torch raises for files that are no checkpoint, or only a part of one."""

_WRAPPERS = ("module.", "_orig_mod.")
"""What distributed training and ``torch.compile`` put before the name of every weight."""


def read_checkpoint(path: Path, *, foreign: bool = False) -> dict[str, Any]:
    """Read a checkpoint as data only.

    Parameters
    ----------
    path : pathlib.Path
        An nnU-Net ``checkpoint_final.pth`` or a bundle's slim form of it.
    foreign : bool
        Whether the file comes straight from nnU-Net's training. Then the few numpy types in which nnU-Net keeps its
        training log (scalars, plain arrays and their dtypes) are let through; in a bundle nothing but tensors is.

    Returns
    -------
    dict
        The checkpoint; ``"network_weights"`` is a dict of dense CPU tensors by name.

    Raises
    ------
    BundleError
        If the file is missing, damaged, has no network weights, or holds anything that is not on the list.
    """
    import torch

    if not path.is_file():
        raise BundleError("no such checkpoint", code="file-missing", path=path)
    check_checkpoint(path, foreign=foreign)
    try:
        with _numpy_allowed() if foreign else nullcontext():
            checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED_NAME.search(str(error))
        if refused:
            name = refused.group(1) or refused.group(2)
            raise BundleError(
                f"refused, because it would load {name!r}, which is not weights; get a plain nnU-Net checkpoint",
                code="checkpoint-refused",
                path=path,
            ) from error
        raise BundleError(
            "not a checkpoint of network weights, or damaged", code="checkpoint-damaged", path=path
        ) from error
    except _DAMAGE as error:
        raise BundleError(
            "not a checkpoint of network weights, or damaged", code="checkpoint-damaged", path=path
        ) from error
    weights = checkpoint.get("network_weights") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise BundleError(
            "has no 'network_weights'; give an nnU-Net v2 checkpoint", code="checkpoint-damaged", path=path
        )
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise BundleError(
                f"the entry {name!r} of 'network_weights' is not a dense tensor", code="checkpoint-damaged", path=path
            )
    return dict(checkpoint)


def _numpy_allowed() -> AbstractContextManager[Any]:
    """Let through numpy scalars and plain arrays, under the module names of numpy 1 and 2."""
    import torch

    core = getattr(np, "_core", None) or np.core
    scalar, reconstruct = core.multiarray.scalar, core.multiarray._reconstruct
    allowed: list[Any] = [np.dtype, np.ndarray]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed += [(scalar, f"{module}.scalar"), (reconstruct, f"{module}._reconstruct")]
    allowed += [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    context: AbstractContextManager[Any] = torch.serialization.safe_globals(allowed)
    return context


def slim_checkpoint(checkpoint: dict[str, Any], *, configuration: str, half: bool, where: str) -> dict[str, Any]:
    """Return what a bundle keeps of an nnU-Net checkpoint: the weights and how they may be mirrored.

    Parameters
    ----------
    checkpoint : dict
        As read by `read_checkpoint`.
    configuration : str
        Name of the nnU-Net configuration, kept so that nnU-Net itself can read the result too.
    half : bool
        Store floating-point weights as float16.
    where : str
        The file, for messages.

    Raises
    ------
    BundleError
        If a weight is not finite, or too large for float16.
    """
    import torch

    tensor_of: dict[tuple[object, ...], torch.Tensor] = {}
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in _unwrapped(checkpoint["network_weights"]).items():
        # nnU-Net's decoder lists the encoder's tensors a second time: keep them one tensor, or the file doubles.
        key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if key not in tensor_of:
            copied = tensor.detach().contiguous().clone()
            if copied.is_floating_point():
                copied = copied.to(torch.float16 if half else torch.float32)
                if not bool(torch.isfinite(copied).all()):
                    raise BundleError(
                        f"{where}: weight {name!r} is not finite" + (" as float16" if half else ""),
                        code="weights-not-finite",
                    )
            tensor_of[key] = copied
        weights[name] = tensor_of[key]
    axes = checkpoint.get("inference_allowed_mirroring_axes")
    if axes is not None and (not isinstance(axes, list | tuple) or not all(axis in (0, 1, 2) for axis in axes)):
        raise BundleError(f"mirroring axes {axes!r} are not axes of a volume", code="mirroring-axes", path=where)
    return {
        "network_weights": weights,
        "trainer_name": str(checkpoint.get("trainer_name", "")),
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": None if axes is None else tuple(int(axis) for axis in axes),
    }


def _unwrapped(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take off the names of wrappers that all weights have in common."""
    while prefix := next((p for p in _WRAPPERS if all(name.startswith(p) for name in weights)), None):
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return dict(weights)
