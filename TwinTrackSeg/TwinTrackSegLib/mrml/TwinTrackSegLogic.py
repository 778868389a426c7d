"""The module's logic: run the model on a volume node, bring the result into the scene, export it."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer
from twintrack.errors import InputError
from twintrack.progress.callbacks import no_progress
from TwinTrackSegLib.mrml.display.Views import MODULE_NAME
from TwinTrackSegLib.mrml.result.CtOrigin import ctOrigin
from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice
from TwinTrackSegLib.mrml.worker.Interpreter import defaultWorkerCommand
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings
from TwinTrackSegLib.mrml.worker.SegmentationRun import SegmentationRun
from TwinTrackSegLib.mrml.worker.WorkerEvents import Processor
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerSupervisor

__all__ = ["TwinTrackSegLogic"]


class TwinTrackSegLogic:
    """Runs one segmentation at a time in a worker process that stays for the next. All calls belong on the main thread.

    Start a run with `start` and call `poll` from a timer until it returns False, or call `wait` instead; `segment` does
    both. The result is then in the scene and in `result`. The worker ends with `close`, or with the logic itself.

    Parameters
    ----------
    workerCommand : sequence of str, optional
        Program and arguments that run the engine's worker, which takes requests from its standard input.
    graceSec : float
        Seconds between asking the worker to cancel and killing it.
    """

    def __init__(self, workerCommand: Sequence[str] | None = None, graceSec: float = 5.0) -> None:
        self.workerCommand = list(workerCommand or defaultWorkerCommand())
        self.graceSec = graceSec
        self.result: SceneResult | None = None
        self._run: SegmentationRun | None = None
        self._supervisor = WorkerSupervisor()
        weakref.finalize(self, self._supervisor.end)  # also when Python ends
        self._lastLog: list[str] = []
        self._onProgress: Callable[[float, str], None] = no_progress

    def getParameterNode(self) -> Any:
        """Return the module's parameter node, one in every scene."""
        node = slicer.mrmlScene.GetSingletonNode(MODULE_NAME, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(MODULE_NAME)
            node.SetName(MODULE_NAME)
            node = slicer.mrmlScene.AddNode(node)
        node.SetAttribute("ModuleName", MODULE_NAME)  # closing a scene clears the attributes of a node that stays
        return node

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return self._run is not None

    @property
    def log(self) -> list[str]:
        """What the worker of the current or last run wrote beside its events, last lines only."""
        return self._run.log if self._run is not None else self._lastLog

    @property
    def remainingSec(self) -> float | None:
        """Seconds that the run will still take, as the model tells; None as long as it is too early to tell."""
        return self._run.remainingSec if self._run is not None else None

    @property
    def processors(self) -> tuple[Processor, ...]:
        """What the worker found to run on, in the order in which ``auto`` tries them; empty until it said so."""
        worker = self._supervisor.worker
        return worker.processors if worker is not None else ()

    @property
    def processor(self) -> Processor | None:
        """What the current run runs on; None until the worker said so."""
        return self._run.processor if self._run is not None else None

    @property
    def notes(self) -> list[str]:
        """What the current run had to do for lack of memory, in the worker's words."""
        return self._run.notes if self._run is not None else []

    def prepare(self) -> None:
        """Start the worker, if there is none, so that it has imported what it needs when a run is asked for.

        Raises
        ------
        twintrack.errors.TwinTrackError
            If it cannot be started.
        """
        if not self.running:
            self._supervisor.ensure(self.workerCommand, self.graceSec)

    @property
    def waiting(self) -> bool:
        """Whether there is a worker, ready or not."""
        return self._supervisor.worker is not None

    @property
    def prepared(self) -> bool:
        """Whether a worker waits for a run and has said that it is ready."""
        worker = self._supervisor.worker
        return worker is not None and worker.ready

    def start(
        self,
        volumeNode: Any,
        settings: RunSettings,
        onProgress: Callable[[float, str], None] = no_progress,
        vessels: VesselChoice | None = None,
    ) -> None:
        """Start the model on `volumeNode`, with the segments `vessels` as vessels if given; returns at once.

        Raises
        ------
        twintrack.errors.TwinTrackError
            If the input is no CT, a run is going on already, or the worker cannot be started.
        """
        if self.running:
            raise InputError("a segmentation is running already; wait for it or cancel it", code="run-in-progress")
        self._run = SegmentationRun(
            volumeNode, settings, lambda: self._supervisor.ensure(self.workerCommand, self.graceSec), vessels
        )
        self._onProgress = onProgress

    def poll(self) -> bool:
        """Deliver progress and, at the end of the run, load its result; return whether the run is still going on.

        Raises
        ------
        twintrack.errors.Cancelled
            If the run was cancelled.
        twintrack.errors.TwinTrackError
            If it failed; the sentence is for the user.
        """
        run = self._run
        if run is None:
            return False
        if run.poll(self._onProgress):
            return True
        try:
            folder = run.resultFolder()
            if not slicer.mrmlScene.IsNodePresent(run.node):
                raise InputError(
                    "the CT was removed from the scene during the run; the result is dropped", code="ct-removed"
                )
            self.result = loadResult(folder, run.node, run.vessels, ctOrigin(run.node))
        finally:
            self.abort()
        return False

    def wait(self, timeoutSec: float | None = None, intervalSec: float = 0.05) -> SceneResult:
        """Block until the run ends and return its result; raises as `poll` does, or TimeoutError (the run goes on)."""
        deadline = None if timeoutSec is None else time.monotonic() + timeoutSec
        while self.poll():
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the segmentation is not done after {timeoutSec:g} s")
            time.sleep(intervalSec)
        if self.result is None:
            raise InputError("there is no segmentation to wait for; start one", code="no-run")
        return self.result

    def segment(
        self,
        volumeNode: Any,
        settings: RunSettings,
        onProgress: Callable[[float, str], None] = no_progress,
        vessels: VesselChoice | None = None,
    ) -> SceneResult:
        """Run the model on `volumeNode` and return the result; blocks. For scripts and tests."""
        self.start(volumeNode, settings, onProgress, vessels)
        return self.wait()

    def cancel(self) -> None:
        """Ask the run to stop; `poll` then raises Cancelled, at the latest after the grace time."""
        if self._run is not None:
            self._run.cancel()

    def abort(self) -> None:
        """End the run at once, if there is one, and remove its private folder."""
        if self._run is not None:
            run, self._run = self._run, None
            self._lastLog = run.log
            run.close()

    def close(self) -> None:
        """End the run, if there is one, and the worker: for scene close and exit. Another run starts a new worker."""
        self.abort()
        self._supervisor.end()

    def loadResult(self, folder: str | Path, volumeNode: Any) -> SceneResult:
        """Bring a result folder of ``twintrack segment`` into the scene (see `ResultLoader.loadResult`)."""
        self.result = loadResult(Path(folder), volumeNode)
        return self.result

    def exportDicomSeg(
        self, path: str | Path, series: str | Path | None = None, result: SceneResult | None = None
    ) -> Path:
        """Write `result` (by default the last one) to the DICOM-SEG file `path`; see `DicomExport.exportDicomSeg`."""
        from TwinTrackSegLib.mrml.export.DicomExport import exportDicomSeg

        result = result or self.result
        if result is None:
            raise InputError("there is no result to export; segment a CT first", code="no-result")
        return exportDicomSeg(result, path, series)
