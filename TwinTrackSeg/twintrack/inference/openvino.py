"""A member's network compiled by OpenVINO: on a CPU several times faster than torch, with the same numbers.

The compiled form is kept in the user's cache folder, named after everything it depends on, so that a bundle is
converted once for each computer.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import CPU
from twintrack.inference.nnunet_model import Member, Stage, TorchNetwork

if TYPE_CHECKING:
    import torch

__all__ = ["CompilationError", "CompiledNetwork", "cache_folder", "compile_member", "openvino_present"]

TOLERANCE = 1e-3
"""Largest difference from torch's logits, relative to their largest, with which a compiled network is believed."""

CACHE_BYTES = 4 * 1024**3
"""When the cache holds more, the entries that were used longest ago go."""

_ENTRY = re.compile(r"[0-9a-f]{40}([.]blob|-[A-Za-z0-9_]+[.]partial)")
"""Names that entries, and drafts of them, have in the cache; the folder may hold other files too."""

_RESULT = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""What the compiled form depends on, unlike the number of threads. Full precision: the fast low-precision forms change
the probabilities."""

_HASH_BYTES = 32
"""An entry is the hash of what follows, one byte with the axes that the member is mirrored along, OpenVINO's form."""

_log = logging.getLogger(__name__)


class CompilationError(Exception):
    """OpenVINO cannot run this network here; the caller goes on with torch."""


class CompiledNetwork:
    """A network with fixed patch size, called like the torch module that it was made from."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of (batch, 1, a, b, c), float32."""
        results = []
        for patch in patches:
            values = self._request.infer([np.ascontiguousarray(patch[None])])
            results.append(next(iter(values.values())))
        return np.concatenate(results) if len(results) > 1 else results[0]


def openvino_present() -> bool:
    """Whether OpenVINO is installed and works on this computer."""
    try:
        with _no_telemetry():
            import openvino
        return "CPU" in openvino.Core().available_devices
    except (ImportError, OSError, RuntimeError) as error:
        _log.debug("no OpenVINO: %s", error)
        return False


def compile_member(load: Callable[[], Member], stage: Stage, name: str, weights_sha256: str) -> Member:
    """Return a member compiled for this CPU, from the cache or newly converted and compared with torch.

    Parameters
    ----------
    load : callable
        Returns the member with a `TorchNetwork` on the CPU; not called, and torch not imported, when the cache has it.
    stage : Stage
        Its plans.
    name : str
        The member's name.
    weights_sha256 : str
        Hash of the file its weights come from.

    Raises
    ------
    CompilationError
        If it cannot be converted, or gives other values than torch.
    """
    with _no_telemetry():
        import openvino
    try:
        core = openvino.Core()
        entry = cache_folder() / f"{_key(core, openvino.__version__, stage, weights_sha256)}.blob"
        found = _from_cache(core, entry)
        if found is None:
            member = load()
            assert isinstance(member.network, TorchNetwork)
            module = member.network.module
            model = _convert(module, stage)
            _compare(core, model, module, stage)
            model.reshape([1, 1, *stage.patch])
            found = core.compile_model(model, "CPU", _properties()), member.mirror_axes
            _to_cache(*found, entry)
        return Member(name, CompiledNetwork(found[0]), found[1], CPU)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise CompilationError(_first_line(error)) from error


def cache_folder() -> Path:
    """Return the folder of compiled networks; it need not exist."""
    from platformdirs import user_cache_path

    return user_cache_path("twintrack", appauthor=False) / "compiled"


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep OpenVINO's telemetry package from being imported: it reports each import to its makers over the network.

    Without the package OpenVINO uses the stub that it brings for this case.
    """
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _properties() -> dict[str, Any]:
    """Return how a network is compiled and run; the number of threads is the environment's or OpenVINO's choice."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return _RESULT | ({"INFERENCE_NUM_THREADS": int(threads)} if threads.isdecimal() and int(threads) else {})


def _convert(network: torch.nn.Module, stage: Stage) -> Any:
    """Trace and convert the network, with free sizes."""
    import warnings

    import openvino
    import torch

    # The trace records operations, not sizes, so the smallest input that passes all down-samplings will do.
    example = torch.zeros((1, 1, *_smallest_patch(stage)))
    with torch.no_grad(), warnings.catch_warnings(), _own_logging():
        warnings.simplefilter("ignore")  # on Python 3.14 torch advises against tracing
        traced = torch.jit.trace(network, example, check_trace=False)
        try:
            return openvino.convert_model(traced, input=[-1, 1, -1, -1, -1])
        except Exception as error:  # the converter's own kinds derive from nothing narrower
            raise CompilationError(_first_line(error)) from error


@contextmanager
def _own_logging() -> Iterator[None]:
    """Keep the program's log as it is: OpenVINO's converter silences the root logger, for good where it fails."""
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _smallest_patch(stage: Stage) -> tuple[int, int, int]:
    """Twice the overall stride along each axis, at most the patch: instance norm needs more than one voxel."""
    a, b, c = (min(2 * step, edge) for step, edge in zip(stage.architecture.steps, stage.patch, strict=True))
    return (a, b, c)


def _compare(core: Any, model: Any, network: torch.nn.Module, stage: Stage) -> None:
    import torch

    patch = np.random.default_rng(0).normal(size=(1, 1, *_smallest_patch(stage))).astype(np.float32)
    model.reshape(list(patch.shape))
    found = CompiledNetwork(core.compile_model(model, "CPU", _properties()))(patch)
    with torch.no_grad():
        expected = network(torch.from_numpy(patch)).numpy()
    largest = float(np.abs(expected).max())
    error = float(np.abs(found - expected).max())
    if not error <= TOLERANCE * max(largest, 1.0):
        raise CompilationError(f"its values differ from torch's by {error:.2g}, where the largest is {largest:.2g}")


def _key(core: Any, version: str, stage: Stage, weights_sha256: str) -> str:
    parts = [
        "2",
        weights_sha256,
        str(stage.mirroring),
        (stage.folder / "plans.json").read_bytes().hex(),
        str(stage.patch),
        version,
        str(core.get_property("CPU", "FULL_DEVICE_NAME")),
        str(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        str(sorted(_RESULT.items())),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def _from_cache(core: Any, entry: Path) -> tuple[Any, tuple[int, ...]] | None:
    """Load an entry whose hash is right, and its mirroring axes; a damaged one must not reach native code."""
    try:
        content = entry.read_bytes()
        if hashlib.sha256(content[_HASH_BYTES:]).digest() != content[:_HASH_BYTES]:
            return None
        with suppress(OSError):  # a folder that cannot be written to can still be read
            entry.touch()
        axes = content[_HASH_BYTES]
        compiled = core.import_model(content[_HASH_BYTES + 1 :], "CPU", _properties())
        return compiled, tuple(axis for axis in range(3) if axes >> axis & 1)
    except (OSError, RuntimeError) as error:
        _log.debug("nothing in the cache: %s", error)
        return None


def _to_cache(compiled: Any, mirror_axes: tuple[int, ...], entry: Path) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = bytes([sum(1 << axis for axis in mirror_axes)]) + bytes(compiled.export_model().getvalue())
        descriptor, name = tempfile.mkstemp(dir=entry.parent, prefix=f"{entry.stem}-", suffix=".partial")
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(hashlib.sha256(content).digest())
                stream.write(content)
            draft.replace(entry)
        finally:
            draft.unlink(missing_ok=True)
        _prune(entry.parent)
    except (OSError, RuntimeError) as error:
        _log.info("the compiled network cannot be kept: %s", error)


def _prune(folder: Path) -> None:
    """Remove the entries used longest ago beyond `CACHE_BYTES`, and drafts of killed runs; nothing of another name."""
    own = [path for path in folder.iterdir() if _ENTRY.fullmatch(path.name) and path.is_file()]
    entries = sorted(own, key=lambda path: path.stat().st_mtime, reverse=True)
    left = CACHE_BYTES
    for path in entries:
        left -= path.stat().st_size
        if left < 0:
            path.unlink(missing_ok=True)
