"""Networks that are loaded once and kept, where they run, and what to do when the device is too small for them."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from twintrack.bundle.model_bundle import CHECKPOINT_NAME, STAGES, Bundle
from twintrack.errors import InputError
from twintrack.inference.arrays import CPU
from twintrack.inference.cuda_network import GraphMemory, fitting_batch, free_card_bytes, member_on_card
from twintrack.inference.devices import select_device
from twintrack.inference.execution import Execution
from twintrack.inference.nnunet_model import Member, Stage, load_member, open_stage
from twintrack.inference.openvino import CompilationError, compile_member, openvino_present
from twintrack.settings import BACKENDS
from twintrack.system.capacity import is_out_of_memory

__all__ = ["NetworkStore"]

EXECUTION = Execution()
"""How networks run on a GPU; ``tools/gpu_check.py`` tells what each part of it brings."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class NetworkStore:
    """Loads members and keeps them.

    Parameters
    ----------
    device : str
        See `twintrack.inference.devices.select_device`.
    backend : str
        What runs them on a CPU: ``torch``, ``openvino``, or ``auto`` for OpenVINO where it is installed and gives
        torch's numbers.
    keep : bool
        Whether members stay loaded for the next run; without, only one is in memory at a time.
    execution : Execution, optional
        How they run on a GPU.

    Attributes
    ----------
    device : str
        torch's name of where the networks run now.
    sums : str
        The same of where tiles are summed up.
    batch : int
        Most patches predicted together.
    execution : Execution
        How members run on a GPU: without what pays later, where they do not stay loaded.
    notes : list of str
        Every step away from the first choice of this run, in words.
    """

    def __init__(
        self,
        device: str = "auto",
        backend: str = "auto",
        *,
        keep: bool = True,
        execution: Execution | None = None,
    ) -> None:
        self._keep = keep
        wanted = execution or EXECUTION
        self.execution = wanted if keep else wanted.once()
        self._batches: dict[tuple[tuple[int, int, int], int], int] = {}
        self._in_use: int | None = None  # the batch of the stage at hand, on a GPU
        self._graph_memory = GraphMemory()
        self._members: dict[tuple[str, ...], Member] = {}
        self._requested = ("", "")
        self.notes: list[str] = []
        self.start(device, backend)

    def start(self, device: str, backend: str) -> None:
        """Begin a run: forget the troubles of the run before, and its networks if another device is asked for.

        Raises
        ------
        InputError
            If the device or the backend is unknown or cannot be used.
        """
        if backend not in BACKENDS:
            raise InputError(
                f"the backend must be one of {', '.join(BACKENDS)}, got {backend!r}", code="backend-unknown"
            )
        if self._requested != (device, backend) or self.notes:
            chosen = select_device(device)
            compiles = chosen == CPU and backend != "torch" and openvino_present()
            if backend == "openvino" and not compiles:
                raise InputError(
                    "OpenVINO is not installed, or the networks run on a GPU; install openvino or use --backend auto",
                    code="openvino-missing",
                )
            # Only now: the same request, made again after it was refused, must be refused again.
            self._members.clear()
            self._batches.clear()
            self._requested = (device, backend)
            self.device, self._compiles = chosen, compiles
        gpu = self.device == "cuda"
        self.batch = self.execution.batch if gpu else 1
        self.sums = self.device if gpu else CPU
        self.notes = []

    @property
    def backend(self) -> str:
        """What runs the networks: ``openvino`` or ``torch``."""
        return "openvino" if self._compiles else "torch"

    @property
    def prepares_on(self) -> str:
        """Where a CT is normalised and resampled; torch's name of it."""
        return self.device if self.execution.prepare_on_card else CPU

    @property
    def labels_on(self) -> str:
        """Where the likeliest vessel of each voxel is found; torch's name of it."""
        return self.sums if self.execution.label_on_card else CPU

    @property
    def queued(self) -> bool:
        """Whether members return before they are done."""
        return self.device == "cuda" and self.execution.events

    def batch_for(self, stage: Stage) -> int:
        """Return how many patches of a stage are predicted together."""
        if self.device != "cuda":
            return self.batch
        key = (stage.patch, stage.heads)
        if key not in self._batches:
            self._batches[key] = fitting_batch(stage, replace(self.execution, batch=self.batch), free_card_bytes())
        self._in_use = self._batches[key]
        return self._in_use

    def member(self, bundle: Bundle, stage: Stage, name: str, fold: str) -> Member:
        """Return a member of the bundle's stage `name`, loading it if need be.

        Raises
        ------
        BundleError
            If its weights cannot be used.
        """
        key = (bundle.sha256, name, fold)
        if key not in self._members:
            stale = [other for other in self._members if not self._keep or other[0] != bundle.sha256]
            for other in stale:
                del self._members[other]
            self._members[key] = self._load(bundle, stage, name, fold)
        return self._members[key]

    def load_all(self, bundle: Bundle) -> None:
        """Load every member of the bundle ahead of the first run.

        Raises
        ------
        BundleError
            If its weights cannot be used.
        """
        for name in STAGES:
            stage = open_stage(bundle, name)
            for fold in bundle.folds[name]:
                self.member(bundle, stage, name, fold)

    def _load(self, bundle: Bundle, stage: Stage, name: str, fold: str) -> Member:
        if stage.slices is not None:
            return load_member(stage, fold, self.device)  # torch runs it everywhere
        if self._compiles:
            digest = bundle.files[f"{name}/fold_{fold}/{CHECKPOINT_NAME}"]
            try:
                return compile_member(functools.partial(load_member, stage, fold), stage, f"fold_{fold}", digest)
            except CompilationError as error:
                self.note(f"OpenVINO cannot run this model ({error}); torch runs it")
                self._compiles = False
                self._members.clear()  # one run, one backend
        member = load_member(stage, fold, self.device)
        if self.device != "cuda":
            return member
        return member_on_card(member, stage, self.execution, self.batch_for(stage), self._graph_memory)

    def step_down(self, error: Exception) -> None:
        """Take the next step down after `error`: fewer tiles at a time, sums in main memory, then the CPU.

        Raises
        ------
        InputError
            If nothing is left to try.
        """
        if self._compiles:
            self.note(f"OpenVINO failed ({_reason(error)}); torch runs the networks")
            self._compiles = False
        elif (batch := self.batch if self._in_use is None else min(self.batch, self._in_use)) > 1:
            self.batch = batch // 2
            self.note(f"the GPU ran out of memory; {self.batch} tile{'s' * (self.batch > 1)} at a time")
        elif not self._leave_gpu("tiles are summed in main memory", "one tile of this model"):
            raise InputError(
                f"too little memory for one tile of this model ({_reason(error)}); close other programs",
                code="no-memory",
            ) from error
        self._forget()

    def with_room(self, step: Callable[[], T]) -> T:
        """Do a step of a run; where memory of the GPU runs out in it, again with sums in main memory, then on the CPU.

        `step_down` is for the tiles, and is taken there; this is for all that is done before and after them.

        Raises
        ------
        RuntimeError, MemoryError
            If main memory is short.
        """
        while True:
            try:
                return step()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._leave_gpu("it is done in main memory", "this CT"):
                    raise
            # Outside of the handler: the error's frames hold what filled the memory.
            self._forget()

    def note(self, text: str) -> None:
        """Take down a step away from the first choice; once, if both stages take it."""
        if text not in self.notes:
            _log.warning("%s", text)
            self.notes.append(text)

    def _leave_gpu(self, instead: str, what: str) -> bool:
        """Use less of the GPU, then none; whether there was one to leave."""
        if self.sums != CPU:
            self.sums = CPU
            self.note(f"the GPU ran out of memory; {instead}")
        elif self.device != CPU:
            self.device = CPU
            self._compiles = self._requested[1] != "torch" and openvino_present()
            self.note(f"the GPU has too little memory for {what}; the CPU runs it")
        else:
            return False
        return True

    def _forget(self) -> None:
        self._members.clear()
        self._batches.clear()
        self._in_use = None
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
