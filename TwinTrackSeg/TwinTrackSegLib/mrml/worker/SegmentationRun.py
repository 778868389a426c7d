"""One segmentation of one volume node: private folder, request to the worker, clean-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twintrack.errors import TwinTrackError
from twintrack.system.case_label import as_case_label
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice
from TwinTrackSegLib.mrml.VolumeConversion import checkCt, volumeFromNode
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings
from TwinTrackSegLib.mrml.worker.TemporaryFiles import temporaryFolder, writeNrrd
from TwinTrackSegLib.mrml.worker.WorkerEvents import Processor, processorOf
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerProcess

__all__ = ["SegmentationRun"]

CT_FILE = "ct.nrrd"
VESSEL_FILE = "vessels.nrrd"


class SegmentationRun:
    """A started run. `poll` until it returns False, then take `resultFolder`, then `close`.

    Parameters
    ----------
    node : vtkMRMLScalarVolumeNode
        The CT.
    settings : RunSettings
        What is asked for.
    ensureWorker : callable
        Returns the worker that carries out the run; called once the input is ready.
    vessels : VesselChoice, optional
        Segments to be used as vessels.

    Raises
    ------
    twintrack.errors.TwinTrackError
        If the node is no CT, the files cannot be written or the process cannot be started; nothing is left behind.
    """

    def __init__(
        self,
        node: Any,
        settings: RunSettings,
        ensureWorker: Callable[[], WorkerProcess],
        vessels: VesselChoice | None = None,
    ) -> None:
        checkCt(node)
        self.node = node
        self.settings = settings
        self.vessels = vessels
        self.remainingSec: float | None = None
        self.processor: Processor | None = None
        self.notes: list[str] = []
        self._temporary = temporaryFolder()
        try:
            writeNrrd(volumeFromNode(self.node), self.folder / CT_FILE)
            names = None
            if vessels is not None:
                labels, names = vessels.labels(node)
                writeNrrd(labels, self.folder / VESSEL_FILE)
            self._worker = ensureWorker()
            self._worker.submit(self._request(names))
        except BaseException:
            self._temporary.close()
            raise

    @property
    def folder(self) -> Path:
        """The run's private folder; gone after `close`."""
        return self._temporary.path

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
            remaining = event.get("remaining_s")
            self.remainingSec = float(remaining) if _isSeconds(remaining) else None
            self.processor = processorOf(event.get("device")) or self.processor
            self.notes = _lines(event.get("notes"), self.notes)
            onProgress(float(event["fraction"]), str(event.get("message", "")))
        return running

    def resultFolder(self) -> Path:
        """Return the folder with the results of an ended run, or raise as `WorkerProcess.outcome` does."""
        try:
            return Path(self._worker.outcome())
        except TwinTrackError as error:
            # The user knows the volume's name, not the private file.
            error.rename(self.folder / CT_FILE, f"volume '{self.node.GetName()}'")
            raise

    def cancel(self) -> None:
        """Ask the worker to stop; it is killed after the grace time by `poll`."""
        self._worker.cancel()

    def close(self) -> None:
        """Remove the private folder; a worker that is still at the run is ended first, any other stays."""
        _events, running = self._worker.poll()
        if running:
            self._worker.kill()
        self._temporary.close()

    def _request(self, vessels: dict[str, int] | None) -> dict[str, Any]:
        return {
            "schema": 1,
            "input": str(self.folder / CT_FILE),
            "out": str(self.folder / "result"),
            "vessels": None if vessels is None else str(self.folder / VESSEL_FILE),
            "vessel_names": vessels,
            "calibrate": True,
            "dicom": False,
            "case": as_case_label(self.node.GetName() or ""),
            **asdict(self.settings),
        }


def _lines(value: object, before: list[str]) -> list[str]:
    """Return the lines that an event holds, or those of the event before."""
    return [str(line) for line in value] if isinstance(value, list) else before


def _isSeconds(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < 1e9
