"""A model that stays in memory from one case to the next: the one way to keep networks loaded."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from contextlib import suppress
from pathlib import Path

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError
from twintrack.inference.devices import may_have_gpu
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.openvino import openvino_present
from twintrack.settings import SegmentSettings

__all__ = ["LoadedModel", "import_packages", "model_of_process", "return_memory"]


class LoadedModel:
    """Networks that stay loaded, and the bundle that they are of, where it is known.

    Parameters
    ----------
    bundle : Bundle, optional
        Opened, and so verified, once; without, each run opens its own, and the networks of the last one stay.

    Attributes
    ----------
    turn : threading.Lock
        To be held while the networks run, where a process has several threads: one case at a time.
    """

    def __init__(self, bundle: Bundle | None = None) -> None:
        self.bundle = bundle
        self.turn = threading.Lock()
        self._making = threading.Lock()  # not `turn`: a case is read while another has its turn
        self._store: NetworkStore | None = None

    @classmethod
    def open(cls, path: str | Path, sha256: str, *, since: str) -> LoadedModel:
        """Open the bundle with the hash `sha256`; `since` tells which run began with it, such as ``the run``.

        Raises
        ------
        BundleError
            If it cannot be opened here, or is another one.
        """
        bundle = Bundle.open(path)
        if bundle.sha256 != sha256:
            bundle.close()
            raise BundleError(
                f"is another bundle than {since} began with; start it again", code="bundle-changed", path=path
            )
        return cls(bundle)

    def store(self, settings: SegmentSettings) -> NetworkStore:
        """Return the networks, made for these settings at the first call; a run starts them anew when it has its turn.

        Raises
        ------
        InputError
            If the device or the backend cannot be used.
        """
        with self._making:
            if self._store is None:
                self._store = NetworkStore(settings.device, settings.backend)
            return self._store

    def drop(self) -> None:
        """Let go of the networks; the next run loads them again."""
        self._store = None


_models: dict[str, LoadedModel] = {}
_opening = threading.Lock()


def model_of_process(path: str | Path, sha256: str) -> LoadedModel:
    """Return the model of a bundle, opened at the first call in this process; one model is loaded at a time.

    Raises
    ------
    BundleError
        As `LoadedModel.open`.
    """
    with _opening:
        if sha256 not in _models:
            model = LoadedModel.open(path, sha256, since="the run")
            _models.clear()
            _models[sha256] = model
        return _models[sha256]


def return_memory() -> None:
    """Give back what the last run needed and the next one need not have."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError, OSError):  # a C library other than GNU's
            ctypes.CDLL(None).malloc_trim(0)


FOR_ALL = ("scipy.ndimage",)
FOR_TORCH = (
    "torch",
    "dynamic_network_architectures.architectures.unet",
    "nnunetv2.utilities.get_network_from_plans",
    "nnunetv2.utilities.plans_handling.plans_handler",
)
"""What the functions of this package import when they are called: always, and where torch runs or builds a network."""


def import_packages() -> None:
    """Import the packages that the networks need, so that the first run does not wait for them.

    Where OpenVINO is installed and there is no graphics card, torch is needed for networks alone that are not compiled
    yet, and then imported by the first run.

    Raises
    ------
    ImportError
        Names the package that is missing; OpenVINO may be.
    """
    for name in FOR_ALL if openvino_present() and not may_have_gpu() else FOR_ALL + FOR_TORCH:
        importlib.import_module(name)
