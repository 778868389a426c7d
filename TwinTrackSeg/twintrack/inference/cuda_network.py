"""A network on a CUDA card, called again and again with patches of one size: what can be done once is done once."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack.inference.arrays import Array
from twintrack.inference.execution import Execution, Precision
from twintrack.inference.nnunet_model import Member, Stage, TorchNetwork
from twintrack.system.capacity import is_out_of_memory

if TYPE_CHECKING:
    import torch

__all__ = ["CudaNetwork", "GraphMemory", "fitting_batch", "free_card_bytes", "member_on_card"]

EAGER_CALLS = 2
"""Forwards of a network before it is recorded: in them cuDNN chooses its algorithms, which no recording must hold."""

SHARE_OF_FREE = 0.5
"""How much of the card's free memory a batch may take; sums of tiles, the CT and the libraries want some as well."""

_log = logging.getLogger(__name__)


class GraphMemory:
    """Memory that the recorded forwards of several networks share, since one of them is played at a time.

    A recording computes in memory of its own that nobody else gets. The results of each are copied before another one
    is played, so that one such memory serves all networks that are loaded.
    """

    def __init__(self) -> None:
        self._users: weakref.WeakSet[CudaNetwork] = weakref.WeakSet()

    def pool(self) -> Any:
        """Return the handle of the memory that a living recording computes in; None where there is none."""
        return next((user.graph.pool() for user in self._users if user.graph is not None), None)

    def add(self, user: CudaNetwork) -> None:
        """Take note of a network with a recording."""
        self._users.add(user)


class CudaNetwork:
    """A torch module that predicts patches of one size on a CUDA card without waiting for it.

    Parameters
    ----------
    module : torch.nn.Module
        The network in evaluation mode, in float32, on `device`; changed in place.
    patch : tuple of int
        Size of a patch.
    execution : Execution
        How it runs.
    batch : int
        Most patches in a call.
    memory : GraphMemory
        Of all networks that are loaded.
    device : str
        torch's name of where it runs.

    Attributes
    ----------
    graph : torch.cuda.CUDAGraph or None
        The recorded forward, once there is one.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        patch: tuple[int, int, int],
        execution: Execution,
        batch: int,
        memory: GraphMemory,
        device: str = "cuda",
    ) -> None:
        import torch

        self._module = _arranged(module, execution)
        self._execution, self._memory = execution, memory
        half = execution.precision is Precision.HALF
        place = torch.device(device)
        self._input = torch.zeros((batch, 1, *patch), dtype=torch.float16 if half else torch.float32, device=place)
        if execution.channels_last:
            # Of one channel both layouts are the same numbers; by its strides the first layer tells which is meant.
            strides = list(self._input.stride())
            self._input = self._input.as_strided(self._input.shape, (strides[0], 1, *strides[2:]))
        self._output: torch.Tensor | None = None
        self._records, self._calls = execution.graph, 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, patches: Array) -> Array:
        """Return the logits of (batch, 1, a, b, c), float32, in memory of their own."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(patches)) if isinstance(patches, np.ndarray) else patches
        count = tensor.shape[0]
        with torch.inference_mode():
            self._input[:count].copy_(tensor)
            # One size of batch, so that cuDNN chooses once and one recording does: what is left in the places behind
            # the last tiles is computed with them.
            size = len(self._input) if self._records or self._execution.benchmark else count
            logits = self._forward(self._input[:size])[:count]
            # The next call overwrites what a recording gives.
            copied = logits.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        if not self._execution.events and copied.is_cuda:
            torch.cuda.synchronize()
        return copied

    def _forward(self, patches: torch.Tensor) -> torch.Tensor:
        if self.graph is None and self._records and self._calls >= EAGER_CALLS:
            self._record()
        if self.graph is not None and self._output is not None:
            self.graph.replay()
            return self._output
        self._calls += 1
        with _choosing(self._execution.benchmark):
            return self._eager(patches)

    def _eager(self, patches: torch.Tensor) -> torch.Tensor:
        import torch

        # The cache of cast weights is for weights that are trained, and must not reach from a recording into the next.
        autocast = self._execution.precision is Precision.AUTOCAST
        with torch.autocast("cuda", dtype=torch.float16, enabled=autocast, cache_enabled=False):
            return self._module(patches)

    def _record(self) -> None:
        """Record the forward of a whole batch; where that cannot be, go on without."""
        import torch

        try:
            graph = torch.cuda.CUDAGraph()
            # The outer context: a recording that fails leaves its own stream the current one. "thread_local": another
            # thread may read the next case meanwhile.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                _choosing(self._execution.benchmark),
                torch.cuda.graph(graph, pool=self._memory.pool(), capture_error_mode="thread_local"),
            ):
                output = self._eager(self._input)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            _log.info("the forward cannot be recorded: %s", error)
            self._records = False
            return
        self.graph, self._output = graph, output
        self._memory.add(self)


def member_on_card(member: Member, stage: Stage, execution: Execution, batch: int, memory: GraphMemory) -> Member:
    """Return a member with a `TorchNetwork` on a CUDA card as one with a `CudaNetwork`, which takes its module over."""
    assert isinstance(member.network, TorchNetwork)
    network = CudaNetwork(member.network.module, stage.patch, execution, batch, memory, member.device)
    return replace(member, network=network)


def fitting_batch(stage: Stage, execution: Execution, free_bytes: int | None) -> int:
    """Return how many patches to predict together: a power of two, at most `execution.batch`, that fits into memory.

    Parameters
    ----------
    stage : Stage
        The networks' plans.
    execution : Execution
        How they run.
    free_bytes : int or None
        The card's free memory; None if nobody knows, and then it is tried.
    """
    most = 1 << (max(execution.batch, 1).bit_length() - 1)
    if free_bytes is None:
        return most
    one = stage.architecture.activation_bytes(stage.patch, stage.heads)  # of float32
    if execution.precision is not Precision.FLOAT32:
        one //= 2
    while most > 1 and most * one > SHARE_OF_FREE * free_bytes:
        most //= 2
    return most


def free_card_bytes() -> int | None:
    """Return the memory of the current CUDA card that this process can still take; None if that is not known."""
    import torch

    try:
        free, _ = torch.cuda.mem_get_info()
    except (RuntimeError, AssertionError):  # torch is not built for CUDA, or the driver does not tell
        return None
    # What torch keeps for later is this process's too.
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _arranged(module: torch.nn.Module, execution: Execution) -> torch.nn.Module:
    """Turn weights into the numbers and the layout that they are used in."""
    import torch

    for part in module.modules():
        normalizes = isinstance(part, torch.nn.InstanceNorm3d | torch.nn.BatchNorm3d)
        # cuDNN normalises float16 by weights of float32, and autocast leaves them so too.
        if execution.precision is Precision.HALF and not normalizes:
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.half()
        if execution.channels_last and isinstance(part, torch.nn.InstanceNorm3d) and not part.track_running_stats:
            # Bound to the parameters, not to the module: a circle would keep a network's memory for a while.
            own = partial(_norm_by_sample, weight=part.weight, bias=part.bias, eps=part.eps)
            part.forward = own  # type: ignore[method-assign]
    if execution.channels_last:
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return module


def _norm_by_sample(
    values: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """Normalise each channel of each sample by its own mean and spread, in whatever layout it lies.

    torch's instance normalisation takes (sample, channel) for one axis, for which it copies what lies channels last.
    Of one sample it is the normalisation of a batch, which leaves the layout alone.
    """
    import torch

    normed = [
        torch.nn.functional.batch_norm(values[n : n + 1], None, None, weight, bias, training=True, eps=eps)
        for n in range(len(values))
    ]
    return normed[0] if len(normed) == 1 else torch.cat(normed)


@contextmanager
def _choosing(benchmark: bool) -> Iterator[None]:
    """Let cuDNN try its algorithms, or not, and leave the setting of the process as it was."""
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = benchmark
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
