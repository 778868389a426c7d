"""One segmentation of one volume node: private folder, request file, worker process, clean-up."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import slicer
import twintrack
from twintrack.errors import TwinTrackError
from TwinTrackSegLib.mrml.VolumeConversion import checkCt, volumeFromNode, writeNrrd
from TwinTrackSegLib.mrml.WorkerProcess import WorkerProcess

__all__ = ["RunSettings", "SegmentationRun", "defaultWorkerCommand"]

CT_FILE = "ct.nrrd"


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked for.

    Attributes
    ----------
    bundle : str
        Path of the model bundle (folder or zip).
    threshold : float
        MHR at which the working outline is drawn.
    roi : str or tuple of int
        ``"auto"``, ``"full"`` or a voxel index box (i0, i1, j0, j1, k0, k1), ends exclusive.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    bundle: str
    threshold: float = 0.5
    roi: str | tuple[int, int, int, int, int, int] = "auto"
    device: str = "auto"


class SegmentationRun:
    """A started run. `poll` until it returns False, then take `resultFolder`, then `close`.

    Raises
    ------
    twintrack.errors.TwinTrackError
        If the node is no CT, the files cannot be written or the process cannot be started; nothing is left behind.
    """

    def __init__(self, node: Any, settings: RunSettings, command: Sequence[str], graceSec: float = 5.0) -> None:
        checkCt(node)
        self.node = node
        self.settings = settings
        self._temporary = tempfile.TemporaryDirectory(
            prefix="TwinTrackSeg-", dir=_temporaryRoot(), ignore_cleanup_errors=True
        )
        try:
            request = self._writeRequest()
            self._worker = WorkerProcess([*command, str(request)], workerEnvironment(), graceSec)
        except BaseException:
            self._temporary.cleanup()
            raise

    @property
    def folder(self) -> Path:
        """The run's private folder; gone after `close`."""
        return Path(self._temporary.name)

    @property
    def log(self) -> list[str]:
        """The last lines that the worker wrote beside its events."""
        return list(self._worker.log)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._worker.pid

    def poll(self, onProgress: Callable[[float, str], None]) -> bool:
        """Report the progress since the last call to `onProgress`; return whether the run is still going on."""
        events, running = self._worker.poll()
        for event in events:
            onProgress(float(event["fraction"]), str(event.get("message", "")))
        return running

    def resultFolder(self) -> Path:
        """Return the folder with the results of an ended run, or raise as `WorkerProcess.outcome` does."""
        try:
            return Path(self._worker.outcome())
        except TwinTrackError as error:
            # The user knows the volume's name, not the private file.
            sentence = str(error).replace(str(self.folder / CT_FILE), f"volume '{self.node.GetName()}'")
            raise type(error)(sentence) from error

    def cancel(self) -> None:
        """Ask the worker to stop; it is killed after the grace time by `poll`."""
        self._worker.cancel()

    def close(self) -> None:
        """End the worker if it still runs and remove the private folder."""
        _events, running = self._worker.poll()
        if running:
            self._worker.kill()
            self._worker.poll()
        self._temporary.cleanup()

    def _writeRequest(self) -> Path:
        writeNrrd(volumeFromNode(self.node), self.folder / CT_FILE)
        request = {
            "schema": 1,
            "input": str(self.folder / CT_FILE),
            "out": str(self.folder / "result"),
            "vessels": None,
            "vessel_names": None,
            "calibrate": True,
            "keep_score": False,
            "dicom": False,
            **asdict(self.settings),
        }
        path = self.folder / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        return path


def defaultWorkerCommand() -> list[str]:
    """Return the command of the engine's worker: Slicer's Python where there is one, else this interpreter."""
    return [shutil.which("PythonSlicer") or sys.executable, "-m", "twintrack.worker"]


def workerEnvironment() -> dict[str, str]:
    """Return this process's environment, with the engine importable and plain UTF-8 pipes."""
    environment = dict(os.environ)
    root = str(Path(twintrack.__file__).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([root, inherited]) if inherited else root
    environment["PYTHONUTF8"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _temporaryRoot() -> str | None:
    """Return Slicer's own temporary folder, or None for the system's."""
    app = getattr(slicer, "app", None)
    return str(app.temporaryPath) if app is not None else None
