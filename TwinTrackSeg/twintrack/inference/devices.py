"""Which processor the networks run on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from twintrack.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["DEVICES", "select_device"]

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What a user may ask for."""

_log = logging.getLogger(__name__)


def select_device(request: str = "auto") -> torch.device:
    """Choose the device for the networks.

    ``auto`` takes CUDA, else MPS, if a small 3-D convolution really works there, else the CPU: a driver that is too
    old or an operation that is missing shows only when something runs.

    Parameters
    ----------
    request : str
        One of `DEVICES`.

    Raises
    ------
    InputError
        If `request` is unknown, or names a device that is absent or does not work.
    """
    import torch

    if request not in DEVICES:
        raise InputError(f"device {request!r} is not known; choose one of {', '.join(DEVICES)}")
    if request == "cpu":
        return torch.device("cpu")
    candidates = ("cuda", "mps") if request == "auto" else (request,)
    for name in candidates:
        problem = _problem_with(name)
        if problem is None:
            return torch.device(name)
        if request != "auto":
            raise InputError(f"device {name!r} cannot be used, because {problem}; use --device auto or cpu")
        _log.debug("not using %s: %s", name, problem)
    return torch.device("cpu")


def _problem_with(name: str) -> str | None:
    import torch

    present = torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()
    if not present:
        return "this computer or this build of torch has none"
    try:
        device = torch.device(name)
        with torch.inference_mode():
            weight = torch.ones((1, 1, 3, 3, 3), device=device)
            result = torch.nn.functional.conv3d(torch.ones((1, 1, 4, 4, 4), device=device), weight).cpu()
    except (RuntimeError, NotImplementedError) as error:
        return f"a small convolution fails on it ({str(error).splitlines()[0]})"
    return (
        None if bool(torch.allclose(result, torch.full_like(result, 27.0))) else "a small convolution comes out wrong"
    )
