"""The model that stays in a worker's process from one case to the next."""

from __future__ import annotations

import threading
from pathlib import Path

from twintrack.bundle import Bundle
from twintrack.errors import BundleError
from twintrack.worker_run import KeptNetworks

__all__ = ["KeptModel", "kept_model"]


class KeptModel:
    """An opened bundle, its networks, and whose turn it is to use them.

    Attributes
    ----------
    bundle : Bundle
        Opened, and so verified, once.
    networks : KeptNetworks
        Loaded at the first case, and kept.
    making : threading.Lock
        Held while `networks` is asked for its store. It is not `turn`: a case is read while another has its turn.
    turn : threading.Lock
        Held while the networks run: one case at a time, whatever the number of a worker's threads.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.networks = KeptNetworks()
        self.making = threading.Lock()
        self.turn = threading.Lock()


_models: dict[str, KeptModel] = {}
_opening = threading.Lock()


def kept_model(path: str | Path, sha256: str) -> KeptModel:
    """Return the model of a bundle, opened at the first call in this process; one model is kept at a time.

    Raises
    ------
    BundleError
        If the bundle cannot be opened here, or is not the one with the hash `sha256`.
    """
    with _opening:
        if sha256 not in _models:
            bundle = Bundle.open(path)
            if bundle.sha256 != sha256:
                bundle.close()
                raise BundleError(f"{path}: is another bundle than the run began with; start the run again")
            _models.clear()
            _models[sha256] = KeptModel(bundle)
        return _models[sha256]
