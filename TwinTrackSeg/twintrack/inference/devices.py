"""The processors there are, and the one that networks run on; what is done where it is too small: `network_store`."""

from __future__ import annotations

import ctypes
import logging
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import InputError
from twintrack.inference.arrays import CPU
from twintrack.system.capacity import available_memory, total_memory

__all__ = ["DEVICES", "Processor", "describe_processor", "find_processors", "may_have_gpu", "select_device"]

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What a user may ask for."""

_log = logging.getLogger(__name__)


def may_have_gpu() -> bool:
    """Whether it takes torch to find out if there is a graphics card that torch can use; False: there is none.

    Without NVIDIA's driver library torch finds no CUDA, without the device of AMD's driver no ROCm, and on macOS only
    torch itself can tell. Where anything is in doubt, torch is to be asked.
    """
    if sys.platform not in ("linux", "win32"):
        return True
    if sys.platform == "linux" and Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def select_device(request: str = "auto") -> str:
    """Choose the device for the networks.

    ``auto`` takes CUDA, else MPS, if a small 3-D convolution really works there, else the CPU: a driver that is too
    old or an operation that is missing shows only when something runs.

    Parameters
    ----------
    request : str
        One of `DEVICES`.

    Returns
    -------
    str
        torch's name of it.

    Raises
    ------
    InputError
        If `request` is unknown, or names a device that is absent or does not work.
    """
    if request not in DEVICES:
        raise InputError(f"device {request!r} is not known; choose one of {', '.join(DEVICES)}", code="device-unknown")
    if request == CPU or (request == "auto" and not may_have_gpu()):
        return CPU
    candidates = ("cuda", "mps") if request == "auto" else (request,)
    for name in candidates:
        problem = _problem_with(name)
        if problem is None:
            return name
        if request != "auto":
            raise InputError(
                f"device {name!r} cannot be used, because {problem}; use --device auto or cpu", code="device-unusable"
            )
        _log.debug("not using %s: %s", name, problem)
    return CPU


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


@dataclass(frozen=True)
class Processor:
    """Something that networks can run on.

    Attributes
    ----------
    device : str
        torch's name of it: ``cpu``, ``cuda:0``, ``mps``.
    title : str
        Its maker's name for it; empty where nobody says.
    total_bytes, free_bytes : int or None
        Memory that it has and memory that could be taken now; None where that is not known.
    """

    device: str
    title: str = ""
    total_bytes: int | None = None
    free_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return asdict(self)


def find_processors() -> tuple[Processor, ...]:
    """Return the processors in the order in which ``auto`` tries them: CUDA, MPS, CPU.

    No memory of a graphics card is taken for it: a worker that waits for its first run must leave it to others.

    Raises
    ------
    ImportError
        If torch is not installed and there may be a graphics card.
    """
    if not may_have_gpu():
        return (_main(),)
    import torch

    found = []
    with suppress(RuntimeError, AssertionError):  # a driver that does not fit torch
        if torch.cuda.is_available():
            found += [_graphics_card(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(_apple())
    return (*found, _main())


def describe_processor(device: str) -> Processor:
    """Return the processor that torch calls `device`, with its memory now."""
    if device == CPU:
        return _main()
    wanted = "cuda:0" if device == "cuda" else device
    return next((each for each in find_processors() if each.device == wanted), Processor(wanted))


def _main() -> Processor:
    total, free = total_memory(), available_memory()
    # What could be taken may lie in the swap file, which helps nobody here.
    return Processor(CPU, "", total, free if total is None or free is None else min(total, free))


def _graphics_card(index: int) -> Processor:
    import torch

    properties = torch.cuda.get_device_properties(index)
    free = _free_bytes(str(getattr(properties, "uuid", "")))
    return Processor(f"cuda:{index}", properties.name, int(properties.total_memory), free)


def _apple() -> Processor:
    """Describe the graphics unit of an Apple computer, which shares the main memory."""
    import torch

    most = int(torch.mps.recommended_max_memory()) if hasattr(torch.mps, "recommended_max_memory") else None
    free = None if most is None else max(0, most - int(torch.mps.driver_allocated_memory()))
    return Processor("mps", "", most, free)


def _free_bytes(uuid: str) -> int | None:
    """Return the free memory of the card `uuid`, asked of the driver: torch would take some to ask.

    Not known (None) without the driver's library, or for a part of a card, which the library counts otherwise.
    """
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return None
        card, memory = ctypes.c_void_p(), (ctypes.c_uint64 * 3)()  # total, free, used
        named = library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode("ascii"), ctypes.byref(card)) == 0
        told = named and library.nvmlDeviceGetMemoryInfo(card, ctypes.byref(memory)) == 0
        library.nvmlShutdown()
        return int(memory[1]) if told else None
    except (OSError, AttributeError, UnicodeError) as error:
        _log.debug("the driver does not tell the free memory: %s", error)
        return None
