"""The forward of one network: each switch alone and all together, against a matrix product on the same device."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from gpu_check.inputs import Model, wait
from twintrack.inference.cuda_network import EAGER_CALLS, CudaNetwork, GraphMemory
from twintrack.inference.execution import Execution, Precision
from twintrack.inference.nnunet_model import Stage, TorchNetwork, build_network, load_member, open_stage
from twintrack.system.capacity import is_out_of_memory

__all__ = ["forward_rows", "full_float32", "matrix_tflops", "switches"]

REPEAT_S = 0.5
"""How long forwards are repeated."""


def switches() -> dict[str, Execution]:
    """Return the ways to run a forward: plain, each switch on top of it, and all; float32 is the reference."""
    plain = Execution.plain()
    return {
        "float32": replace(plain, precision=Precision.FLOAT32),
        "plain": plain,
        "half weights": replace(plain, precision=Precision.HALF),
        "channels last": replace(plain, channels_last=True),
        "cudnn benchmark": replace(plain, benchmark=True),
        "CUDA graph": replace(plain, graph=True),
        "events": replace(plain, events=True),
        "all": Execution(),
        "all but channels last": replace(Execution(), channels_last=False),
    }


@contextmanager
def full_float32() -> Iterator[None]:
    """Let float32 be float32: by default cuDNN rounds its inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def matrix_tflops(device: str, dtype: torch.dtype, size: int) -> float:
    """Return the speed of a product of two square matrices."""
    a, b = (torch.randn((size, size), device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    with full_float32():
        return 2 * size**3 / _seconds(device, lambda: torch.mm(a, b, out=product), warm_up=2)[1] / 1e12


def forward_rows(
    model: Model, device: str, batches: Sequence[int], matrix: float | None, left_s: Callable[[], float]
) -> list[dict[str, Any]]:
    """Return a row for each switch, and for the plain way and all together one for each size of batch."""
    stage = open_stage(model.bundle, "fine")
    member = load_member(stage, model.bundle.folds["fine"][0], device).network
    assert isinstance(member, TorchNetwork)
    flops = _flops(stage)
    middle = 4 if 4 in batches else batches[0]
    wanted = [(name, middle) for name in switches()]
    wanted += [(name, batch) for batch in batches if batch != middle for name in ("plain", "all")]
    rows = []
    reference = _probabilities(member, stage, device, Execution(Precision.FLOAT32, *(False,) * 6), middle)
    for name, batch in wanted:
        row: dict[str, Any] = {"network": model.name, "way": name, "batch": batch}
        keys = ("ms_a_patch", "tflops", "of_matrix_product", "warm_up_s", "peak_mb", "p_max", "p_mean")
        row |= dict.fromkeys(keys)
        rows.append(row)
        # On a CPU these ways are no ways of the product; float32 alone shows that this runs.
        if (device != "cuda" and (name, batch) != ("float32", middle)) or left_s() <= 0:
            continue
        try:
            row |= _measured(member, stage, device, switches()[name], batch, flops, matrix)
            if batch == middle:
                difference = (_probabilities(member, stage, device, switches()[name], middle) - reference).abs()
                row |= {"p_max": float(difference.max()), "p_mean": float(difference.mean())}
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            row["ms_a_patch"] = "out of memory"
        if device == "cuda":
            torch.cuda.empty_cache()
    return rows


def _measured(
    member: TorchNetwork,
    stage: Stage,
    device: str,
    execution: Execution,
    batch: int,
    flops: float,
    matrix: float | None,
) -> dict[str, Any]:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    network = _network(member, stage, device, execution, batch)
    patches = _patches(stage, device, batch)
    with full_float32() if execution.precision is Precision.FLOAT32 else _unchanged():
        warm_up_s, seconds = _seconds(device, lambda: network(patches), warm_up=EAGER_CALLS + 2)
    speed = flops * batch / seconds / 1e12
    return {
        "ms_a_patch": 1000 * seconds / batch,
        "tflops": speed,
        "of_matrix_product": None if matrix is None else speed / matrix,
        "warm_up_s": warm_up_s,
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None,
        "recorded": network.graph is not None,
    }


@contextmanager
def _unchanged() -> Iterator[None]:
    yield


def _probabilities(member: TorchNetwork, stage: Stage, device: str, execution: Execution, batch: int) -> torch.Tensor:
    """Return the probabilities of one patch, by a recording where there is one."""
    network = _network(member, stage, device, execution, batch)
    patches = _patches(stage, device, batch)
    with full_float32() if execution.precision is Precision.FLOAT32 else _unchanged():
        for _ in range(EAGER_CALLS + 1 if execution.graph else 1):
            logits = network(patches)[:1]
    return (logits.sigmoid() if stage.overlapping else logits.softmax(dim=1)).cpu()


def _network(member: TorchNetwork, stage: Stage, device: str, execution: Execution, batch: int) -> CudaNetwork:
    module = copy.deepcopy(member.module)  # it is changed
    return CudaNetwork(module, stage.patch, execution, batch, GraphMemory(), device)


def _patches(stage: Stage, device: str, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((batch, 1, *stage.patch), generator=generator).to(device)


def _flops(stage: Stage) -> float:
    """Return the operations of one patch's convolutions, a multiplication and an addition each."""
    from torch.utils.flop_counter import FlopCounterMode

    network = build_network(stage)  # without memory
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty((1, 1, *stage.patch), device="meta"))
    return float(counter.get_total_flops())


def _seconds(device: str, call: Callable[[], Any], warm_up: int) -> tuple[float, float]:
    """Return the seconds of all warm-up calls, and those of one call after it, by events on a card."""
    start = time.perf_counter()
    for _ in range(warm_up):
        call()
    wait(device)
    first = time.perf_counter() - start
    start = time.perf_counter()
    call()
    wait(device)
    repeats = int(min(max(REPEAT_S / max(time.perf_counter() - start, 1e-6), 1), 100))
    if device == "cuda":
        begun, over = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(repeats):
            call()
        over.record()
        over.synchronize()
        return first, begun.elapsed_time(over) / 1000 / repeats
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return first, (time.perf_counter() - start) / repeats
