"""A stand-in for a GPU with little memory: tensors lie in main memory and say ``cuda``, larger ones are refused.

What torch itself does when a GPU is full happens where it happens there, at the allocation: an operation whose result
is larger than the limit raises ``torch.OutOfMemoryError``; NVIDIA's libraries, which take memory of their own, fail in
their own words, in the functions that are named. Nothing of the engine or of nnU-Net is replaced but the question
whether there is a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from twintrack.inference import network_store as store_module
from twintrack.inference.execution import Execution, Precision

__all__ = ["use_small_gpu"]

EXECUTION = Execution(Precision.FLOAT32, channels_last=False, benchmark=False, graph=False, events=False)

CHOSEN, GPU, CPU = torch.device("cuda"), torch.device("cuda", 0), torch.device("cpu")


class OnGpu(torch.Tensor):
    """A tensor that claims to lie on the GPU; results of operations on it do too."""


class _SmallGpu(TorchFunctionMode):
    def __init__(self, limit_bytes: float, fails_in: Collection[str]) -> None:
        super().__init__()
        self._limit_bytes, self._fails_in = limit_bytes, frozenset(fails_in)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        here = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if func is torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU if isinstance(here, OnGpu) else func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        wanted = kwargs.get("device")
        if name in ("to", "cpu", "cuda"):
            wanted = next((item for item in (*args[1:], wanted) if isinstance(item, torch.device)), None)
            wanted = CPU if name == "cpu" else wanted
            args = (here, *(CPU if item in (CHOSEN, GPU) else item for item in args[1:]))
        if kwargs.get("device") in (CHOSEN, GPU):
            kwargs["device"] = CPU
        result = func(*args, **kwargs)
        if wanted is not None and isinstance(result, torch.Tensor):
            result = result.as_subclass(OnGpu if wanted.type == "cuda" else torch.Tensor)
        self._check(result)
        return result

    def _check(self, result: Any) -> None:
        if isinstance(result, OnGpu):
            size = result.nelement() * result.element_size()
            if size > self._limit_bytes:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes.")
            if self._fails_in & set(_callers()):
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def _callers() -> list[str]:
    frame, names = sys._getframe(), []
    while frame.f_back is not None:
        frame = frame.f_back
        names.append(frame.f_code.co_name)
    return names


def use_small_gpu(limit_bytes: float, fails_in: Collection[str] = ()) -> None:
    """Give this process, until it ends, a GPU on which no tensor may be larger than `limit_bytes`.

    In the functions `fails_in`, and in what they call, every operation on it fails as NVIDIA's libraries do.
    """
    store_module.select_device = lambda _request: "cuda"  # type: ignore[assignment]
    store_module.EXECUTION = EXECUTION
    _SmallGpu(limit_bytes, fails_in).__enter__()
